//! `POST /upload`: what `systemd-journal-upload` sends, entries of the Journal Export Format as one body that may go on
//! for as long as the journal does.
//!
//! Entries are made durable as they come, a bounded number at a time; while the ledger is slow nothing is read, which
//! is what holds a sender back. The answer comes at the end of the body, with success when everything in it is durable;
//! on any refusal the sender begins again behind the entry that it saved last, and what it sends twice is known by
//! `__CURSOR`.

use super::http::{Reply, text};
use super::port::{Deliverer, Port};
use crate::formats::journald::JOURNALD;
use crate::frame::{Framer, Journal, Step};
use crate::intake::Refusal;
use crate::{Input, observe};
use countersign_event::Event;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::sync::watch;

/// Entries and bytes that are made durable at once, about.
const BATCH: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;
/// How long entries wait for more of them.
const LINGER: Duration = Duration::from_millis(100);
/// How long a batch waits for a ledger that is busy before its sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Field id of `body.raw`, for `content.cut`.
const RAW: u64 = 6 * 256 + 3;

/// What came of one body so far.
struct Upload<'a> {
    port: &'a Port,
    input: Input,
    framer: Journal,
    buffer: Vec<u8>,
    events: Vec<Event>,
    bytes: usize,
    recorded: u64,
}

pub(super) async fn receive(
    port: &Port,
    deliverer: &Deliverer,
    mut body: Incoming,
    mut stop: watch::Receiver<bool>,
) -> Reply {
    let mut upload = Upload {
        port,
        input: port.input_of(deliverer),
        framer: Journal::default(),
        buffer: Vec::new(),
        events: Vec::new(),
        bytes: 0,
        recorded: 0,
    };
    loop {
        let waits = !upload.events.is_empty();
        let frame = tokio::select! {
            frame = body.frame() => Some(frame),
            () = tokio::time::sleep(LINGER), if waits => None,
            () = super::told(&mut stop) => {
                return text(StatusCode::SERVICE_UNAVAILABLE, "the input stops\n".into());
            }
        };
        let Some(frame) = frame else {
            if let Err(refusal) = upload.deliver().await {
                return again(&refusal);
            }
            continue;
        };
        let end = match &frame {
            Some(Ok(frame)) => {
                upload.buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                false
            }
            // The sender went away: what was whole is kept, the rest it sends again.
            Some(Err(error)) => {
                tracing::debug!(%error, "an upload of a journal broke off");
                let _ = upload.deliver().await;
                return text(StatusCode::BAD_REQUEST, "the body did not end\n".into());
            }
            None => true,
        };
        match upload.cut(end).await {
            Ok(None) if end => break,
            Ok(None) => {}
            Ok(Some(rule)) => {
                return text(StatusCode::BAD_REQUEST, format!("not the export format: {rule}\n"));
            }
            Err(refusal) => return again(&refusal),
        }
    }
    match upload.deliver().await {
        Ok(()) => text(StatusCode::OK, format!("{} entries are durable\n", upload.recorded)),
        Err(refusal) => again(&refusal),
    }
}

impl Upload<'_> {
    /// Makes events of the whole entries; gives the rule that the framing breaks, after what came before is durable.
    async fn cut(&mut self, end: bool) -> Result<Option<&'static str>, Refusal> {
        let mut at = 0;
        let broken = loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            match self.framer.step(rest, end) {
                Step::More => break None,
                Step::Record { record, taken, cut } => {
                    let record = rest.get(record).unwrap_or_default();
                    let mut event =
                        observe(record, Some(&JOURNALD), &self.input, &self.port.keeper, super::port::now());
                    if cut {
                        event.content.cut.push((RAW, crate::RECORD_MAX as u64));
                    }
                    self.bytes += record.len();
                    self.events.push(event);
                    at += taken;
                }
                Step::Skip { taken, .. } => at += taken,
                Step::Broken(rule) => {
                    // What cannot be told apart is one record, as it came.
                    let event =
                        observe(rest, Some(&JOURNALD), &self.input, &self.port.keeper, super::port::now());
                    self.bytes += rest.len();
                    self.events.push(event);
                    at = self.buffer.len();
                    break Some(rule);
                }
            }
            if self.events.len() >= BATCH || self.bytes >= BATCH_BYTES {
                self.deliver().await?;
            }
        };
        self.buffer.drain(..at);
        if broken.is_some() {
            self.deliver().await?;
        }
        Ok(broken)
    }

    async fn deliver(&mut self) -> Result<(), Refusal> {
        let (events, bytes) = (std::mem::take(&mut self.events), std::mem::take(&mut self.bytes));
        if events.is_empty() {
            return Ok(());
        }
        let count = events.len() as u64;
        self.port.deliver_when_room(events, bytes, true, PATIENCE).await?;
        self.recorded += count;
        Ok(())
    }
}

/// Not all is durable: the sender begins again where it was.
fn again(refusal: &Refusal) -> Reply {
    let (status, seconds) = super::http::again(refusal);
    let mut reply = text(status, format!("{refusal}; send it again\n"));
    if let Some(seconds) = seconds {
        reply.headers_mut().insert("retry-after", http::HeaderValue::from(seconds));
    }
    reply
}
