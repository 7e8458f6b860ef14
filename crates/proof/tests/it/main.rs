//! Integration tests of `countersign-proof`: published vectors, three independent oracles, properties.

mod note;
mod tile;
mod tree;
