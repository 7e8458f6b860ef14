//! Integration tests of `countersign-proof`: published vectors, three independent oracles, properties.

mod body;
mod evidence;
mod fixture;
mod fuzz;
mod note;
mod policy;
mod tile;
mod tlog_proof;
mod tree;
