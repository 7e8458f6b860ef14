//! What fetches: one directory a protocol. Each asks a broker for messages, makes an event of each, and acknowledges
//! it when the event is durable.
//!
//! Not receivers: nobody connects to these. Invariants: a message is acknowledged after its event is behind the
//! ledger's fdatasync, never before; one that nobody understands is a `raw` record and acknowledged like any other, so
//! that none comes for ever; a message that left the broker before it could be read is a GAP, and an event says so.

pub mod kafka;
pub mod nats;

use crate::receivers::now;
use countersign_event::{Class, Event, Kind, LinkVia, Outcome, Rec};
use countersign_wire::trace::traceparent;

/// Longest reason in an event of our own, bytes.
const WHY_MAX: usize = 1_024;

/// Something that happened to an input that fetches from `place`, not a record of it.
fn told(place: &str, op: &str, why: &str, outcome: Outcome) -> Event {
    let mut event = Event::default();
    event.core.t_obs = now();
    event.core.rec = Some(Rec::Platform);
    event.core.kind = Some(Kind::Lifecycle);
    event.core.class = Some(Class::Admin);
    event.core.outcome = Some(outcome);
    op.clone_into(&mut event.core.op);
    "countersign".clone_into(&mut event.target.svc);
    event.target.res = crate::seal::clipped(place.to_owned(), WHY_MAX);
    event.content.err = crate::seal::clipped(why.to_owned(), WHY_MAX);
    event
}

/// Links an event by the `traceparent` of its message, where the record has no trace of its own.
fn link(event: &mut Event, header: &[u8]) {
    if event.links.trace.is_some() {
        return;
    }
    if let Some(context) = traceparent(header) {
        (event.links.trace, event.links.span) = (Some(context.trace), context.span);
        event.links.tflags = context.flags.map(u64::from);
        event.links.via = Some(LinkVia::MessageHeader);
    }
}
