//! The collector's parsers from outside: fuzz bodies from seeds, the sample cases, the trust rules.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../score/mod.rs"]
mod score;

mod als;
mod audit;
mod denied;
mod edge;
mod edge_rig;
mod files;
mod fluent;
mod fuzz;
mod hec;
mod hooks;
mod kafka;
mod kills;
mod loki;
mod mapping;
mod nats;
mod nats_rig;
mod otlp;
mod otlp_push;
mod platforms;
mod producers;
mod push;
#[path = "../../../event/tests/it/random.rs"]
mod random;
mod samples;
mod seeds_platforms;
mod seeds_web;
mod trust;
