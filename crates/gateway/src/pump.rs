//! The data path: what happens to the bytes of one connection. Runs on a data thread; knows the framer's
//! verdicts, never a message's meaning.

mod answers;
mod closing;
mod connect;
pub(crate) mod door;
mod flow;
pub(crate) mod gap;
mod greet;
mod h2;
mod http;
pub(crate) mod io;
mod login;
mod mcp;
pub(crate) mod postgres;
mod queue;
mod reading;
pub(crate) mod serve;
mod stream;
mod strict;
mod timers;
pub(crate) mod worker;

pub(crate) use serve::serve;
pub(crate) use worker::{Route, Worker};
