//! Calls of gRPC on HTTP/2 streams: names, deadline, messages each way, and the status that lives in trailers.
//!
//! Not protobuf, except for the fields that a route names ([`super::grpc_fields`]). A missing status is an
//! unknown outcome, never a guess.

use super::grpc_fields::PayloadFields;
use super::identify::H2Head;
use super::redact::{clean_text, looks_secret};
use crate::ring::Way;
use countersign_event::cbor::Value;
use countersign_event::{Class, Event, Kind, Outcome, StatusSpace};
use countersign_wire::grpc::{self, Messages};
use countersign_wire::http1::fields::Fields;
use std::sync::Arc;

/// Longest error text that is kept, bytes.
const MESSAGE_MAX: usize = 512;
/// Keys of `content.detail` for grpc.
const SENT: u64 = 0;
const RECEIVED: u64 = 1;
pub(super) const DEADLINE: u64 = 2;
pub(super) const RESET_CODE: u64 = 3;

/// Names the call that `head` begins. Which method it is stands in `core` only when it looks like a name.
pub(super) fn set_call(event: &mut Event, head: &H2Head<'_>) {
    event.core.kind = Some(Kind::Grpc);
    event.core.proto = "grpc".to_owned();
    event.core.class = Some(Class::Execute);
    event.content.detail.clear();
    event.core.op = match head.rpc() {
        Some((_, method)) if !looks_secret(method) => method.to_owned(),
        _ => "other".to_owned(),
    };
    if head.rpc().is_some() {
        // A method is a name, not an id: the path is its own template.
        let target = &mut *event.target;
        target.res.clone_from(&target.raw);
        target.id.clear();
    }
}

/// One call.
pub(super) struct Call {
    sent: Messages,
    received: Messages,
    /// Some of the bodies passed unseen: messages were not counted.
    blind: bool,
    deadline: Option<u64>,
    status: Option<u32>,
    message: String,
    redacted: u64,
    fields: Option<Arc<PayloadFields>>,
}

impl Call {
    pub(super) fn begin(fields: Fields<'_>, payload: Option<Arc<PayloadFields>>) -> Call {
        let messages = || match &payload {
            Some(_) => Messages::keeping(super::grpc_fields::MESSAGE_MAX),
            None => Messages::new(),
        };
        Call {
            sent: messages(),
            received: messages(),
            blind: false,
            deadline: fields.get("grpc-timeout").and_then(grpc::timeout),
            status: None,
            message: String::new(),
            redacted: 0,
            fields: payload,
        }
    }

    pub(super) fn data(&mut self, way: Way, bytes: &[u8]) {
        if !self.blind {
            if way == Way::Up { self.sent.feed(bytes) } else { self.received.feed(bytes) }
        }
    }

    /// Bytes passed unseen.
    pub(super) fn blind(&mut self, _way: Way) {
        self.blind = true;
    }

    /// Trailers, or the head of a response that has nothing else.
    pub(super) fn trailers(&mut self, fields: Fields<'_>) {
        self.status = fields.get("grpc-status").and_then(grpc::status);
        let message = fields.get("grpc-message").unwrap_or_default();
        let message = grpc::message(message, MESSAGE_MAX);
        (self.message, self.redacted) = clean_text(message.as_bytes(), MESSAGE_MAX);
    }

    /// The gateway answered.
    pub(super) fn answered(&mut self, status: u32) {
        self.status = Some(status);
    }

    /// What was counted so far.
    pub(super) fn counts(&self, event: &mut Event) {
        let detail = &mut event.content.detail;
        if !self.blind {
            detail.insert(SENT, Value::Uint(self.sent.whole()));
            detail.insert(RECEIVED, Value::Uint(self.received.whole()));
        }
        if let Some(deadline) = self.deadline {
            detail.insert(DEADLINE, Value::Uint(deadline));
        }
    }

    /// Completes the record. `own`: the gateway answered, and the outcome is already right; `cut`: there was no
    /// answer.
    pub(super) fn finish(self, event: &mut Event, own: bool, cut: bool) {
        self.counts(event);
        if let Some(status) = self.status {
            event.core.status = Some((StatusSpace::Grpc, status.to_string()));
        }
        if !own && !cut {
            event.core.outcome = self.status.and_then(outcome_of);
        }
        if event.content.err.is_empty() {
            event.content.err = self.message;
            if self.redacted > 0 {
                event.content.redacted.push(("grpc-message".to_owned(), self.redacted));
            }
        }
        if let Some(fields) = &self.fields {
            let path = event.target.raw.clone();
            fields.keep(event, &path, Way::Up, self.sent.first());
            fields.keep(event, &path, Way::Down, self.received.first());
        }
    }
}

/// By status code of gRPC; `None` = not defined, so unknown.
fn outcome_of(status: u32) -> Option<Outcome> {
    Some(match grpc::status_name(status)? {
        "OK" => Outcome::Success,
        "CANCELLED" => Outcome::Cancelled,
        "DEADLINE_EXCEEDED" => Outcome::Timeout,
        "PERMISSION_DENIED" | "UNAUTHENTICATED" => Outcome::Denied,
        "UNKNOWN" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS" => Outcome::ServerError,
        _ => Outcome::CallerError,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_not_defined_is_no_outcome() {
        assert_eq!(outcome_of(0), Some(Outcome::Success));
        assert_eq!(outcome_of(1), Some(Outcome::Cancelled));
        assert_eq!(outcome_of(4), Some(Outcome::Timeout));
        assert_eq!(outcome_of(16), Some(Outcome::Denied));
        assert_eq!(outcome_of(14), Some(Outcome::ServerError));
        assert_eq!(outcome_of(5), Some(Outcome::CallerError));
        assert_eq!(outcome_of(17), None);
    }
}
