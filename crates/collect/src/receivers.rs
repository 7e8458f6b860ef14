//! What listens: one file a protocol. Each turns what came into records, hands them to an [`Intake`], and answers
//! in the protocol's own words when they are durable, or that the sender should come again.

mod access;
mod als;
mod body;
mod bulk;
mod events;
pub(crate) mod grpc;
pub mod http;
mod otlp;
mod port;
mod reply;

pub use access::Access;
pub use port::{Deliverer, Port, now};
