//! What the joined event of two halves says.

use super::{Id, Known, SpanRecord, Spans, State, late};
use crate::otlp::SpanKind;
use crate::otlp::map::called_by;
use countersign_event::{Event, Principal, Unmapped};

impl Spans {
    /// A SERVER span whose parent is known.
    pub(super) fn join(&mut self, parent: Id, span: Option<SpanRecord>, out: &mut Vec<Event>) {
        let Some(span) = span else { return };
        let twin = self.release(parent);
        let of = self.eid(&parent);
        let Some(known) = self.known.get_mut(&parent) else {
            return out.push(span.event);
        };
        if known.kind != SpanKind::Client {
            return out.push(called(span, known));
        }
        match (&twin, &known.state) {
            // The client was told alone: this is its other half, late.
            (None, State::Told) => out.push(late(called(span, known), of)),
            _ => {
                known.state = State::Joined;
                let mut event = called(span, known);
                if let Some(twin) = twin {
                    absorb(&mut event, twin.event);
                }
                out.push(event);
            }
        }
    }

    /// SERVER spans that waited for this parent.
    pub(super) fn adopt(&mut self, parent: Id, out: &mut Vec<Event>) {
        for child in self.children.remove(&parent).unwrap_or_default() {
            if let Some(span) = self.release(child) {
                self.join(parent, Some(span), out);
            }
        }
    }

    /// A CLIENT span that has children already: they wait for it, or they were told alone.
    pub(super) fn late_client(&mut self, id: Id, own: Option<SpanRecord>, out: &mut Vec<Event>) {
        let Some(own) = own else { return };
        let children = self.children.get(&id).cloned().unwrap_or_default();
        let waits =
            |child: &Id| matches!(self.known.get(child).map(|known| &known.state), Some(State::Held(_)));
        if !children.iter().any(waits) {
            let of = children.first().map(|child| self.eid(child));
            out.push(match of {
                Some(of) => late(own.event, of),
                None => own.event,
            });
            return;
        }
        // The first of them takes this one's content; all of them its service and latency.
        for (place, child) in
            children.iter().filter(|child| waits(child)).copied().collect::<Vec<_>>().iter().enumerate()
        {
            let Some(span) = self.release(*child) else { continue };
            let Some(known) = self.known.get_mut(&id) else { continue };
            known.state = State::Joined;
            let mut event = called(span, known);
            if place == 0 {
                absorb(&mut event, own.event.clone());
            }
            out.push(event);
        }
        self.children.remove(&id);
    }
}

/// The server's event with its caller: who it was, and how long it took for a client.
fn called(span: SpanRecord, parent: &Known) -> Event {
    let mut event = span.event;
    let client = parent.kind == SpanKind::Client;
    let own = span.service.as_ref().map(|service| service.svc.as_str());
    if let Some(caller) = &parent.service
        && (client || own != Some(caller.svc.as_str()))
    {
        name_caller(&mut event, caller.clone());
    }
    if client {
        latency(&mut event, span.facts.times, parent.times);
    }
    event
}

/// The caller stands in front; where the server named the same one, once.
fn name_caller(event: &mut Event, caller: Principal) {
    let same = event.who.who.as_ref().is_some_and(|who| !who.svc.is_empty() && who.svc == caller.svc);
    if same {
        event.who.who = Some(caller);
    } else {
        called_by(event, caller);
    }
}

/// Both latencies: the server's own is in `dur`. Where the server began before the client or ended after it, the
/// clocks differ: by the mean of both differences, give or take half of what the two times differ.
fn latency(event: &mut Event, server: (u64, u64), client: (u64, u64)) {
    let Some(whole) = client.1.checked_sub(client.0) else { return };
    event.core.lat = Some([server.0.saturating_sub(client.0).min(whole), 0, whole]);
    if server.0 >= client.0 && server.1 <= client.1 {
        return;
    }
    let Some(own) = server.1.checked_sub(server.0) else { return };
    let (begin, end) =
        (i128::from(server.0) - i128::from(client.0), i128::from(server.1) - i128::from(client.1));
    if let Ok(offset) = i64::try_from((begin + end) / 2) {
        event.core.skew = Some((offset, whole.abs_diff(own) / 2));
    }
}

/// What the client's half says beside: kept under `/caller`.
fn absorb(event: &mut Event, client: Event) {
    for (pointer, value) in client.content.unmapped {
        event.content.unmapped.insert(format!("/caller{pointer}"), value);
    }
    let digest = client.body.raw.as_ref().and_then(|raw| raw.digest);
    if let Some(digest) = digest {
        event.content.unmapped.insert("/caller/digest".to_owned(), Unmapped::Bytes(digest.to_vec()));
    }
    if let Some(id) = client.links.parent {
        event.content.unmapped.insert("/caller/parentSpanId".to_owned(), Unmapped::Bytes(id.to_vec()));
    }
    if let Some(outcome) = client.core.outcome {
        match event.core.outcome {
            None => event.core.outcome = Some(outcome),
            // The two sides saw different ends (the client gave up): both are kept.
            Some(own) if own != outcome => {
                let token = format!("\"{}\"", outcome.word());
                event.content.unmapped.insert("/caller/outcome".to_owned(), Unmapped::Token(token));
            }
            Some(_) => {}
        }
    }
    if let Some(from) = client.peer.src.clone() {
        let src = event.peer.src.get_or_insert_default();
        for (own, other) in [
            (&mut src.workload, from.workload),
            (&mut src.ns, from.ns),
            (&mut src.node, from.node),
            (&mut src.zone, from.zone),
        ] {
            if own.is_empty() {
                *own = other;
            }
        }
    }
    if let Some(capture) = &mut event.body.cap {
        capture.merged = Some(2);
    }
}
