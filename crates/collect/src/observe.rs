//! One record in, one event out, whatever it was; and the sum that must hold.

use crate::formats::own::name_of;
use crate::formats::{FORMATS, Format, Record};
use crate::json::Doc;
use crate::seal::seal_raw;
use crate::{Draft, Fault, Input, Keeper, RECORD_MAX, seal};
use countersign_event::{CaptureConf, CaptureMode, Event, Rec};

/// What happened to the records of an input. `received = recorded + rejected + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came.
    pub received: u64,
    /// Are in events, joined ones counted each.
    pub recorded: u64,
    /// Were refused, and the sender was told.
    pub rejected: u64,
    /// Were lost, and declared.
    pub dropped: u64,
    /// Of the recorded: not understood at all.
    pub raw: u64,
    /// Of the recorded: understood in part.
    pub partial: u64,
}

impl Counts {
    /// Counts a record that became `event`.
    pub fn record(&mut self, event: &Event) {
        let capture = event.body.cap.as_ref();
        if matches!(capture.and_then(|capture| capture.mode), Some(CaptureMode::Replay | CaptureMode::Inline))
            || event.core.rec == Some(Rec::Platform)
        {
            // Made of records that were counted when they came, or of none: what we saw or say ourselves.
            return;
        }
        let joined = capture.and_then(|capture| capture.merged).unwrap_or(1);
        self.received += joined;
        self.recorded += joined;
        match capture.and_then(|capture| capture.conf) {
            Some(CaptureConf::RawOnly) => self.raw += 1,
            Some(CaptureConf::Partial) => self.partial += 1,
            _ => {}
        }
    }

    /// Whether every record that came is accounted for.
    pub fn adds_up(&self) -> bool {
        self.received == self.recorded + self.rejected + self.dropped
    }
}

/// Makes the event of one record. `format` = what the configuration says it is; `None` = find out. Never fails:
/// what is not understood becomes a `raw` record. `now` is our clock, UTC ns.
pub fn observe(bytes: &[u8], format: Option<&Format>, input: &Input, keeper: &Keeper, now: u64) -> Event {
    let (name, parsed) = draft(bytes, format, input, now);
    match parsed {
        Ok(draft) => seal(draft, name, bytes, input, keeper, now),
        Err(fault) => seal_raw(name, fault, bytes, input, keeper, now),
    }
}

/// The format of a record, and what its parser made of it.
pub(crate) fn draft(
    bytes: &[u8],
    format: Option<&Format>,
    input: &Input,
    now: u64,
) -> (&'static str, Result<Draft, Fault>) {
    if bytes.len() > RECORD_MAX {
        let fault = Fault::new(RECORD_MAX, "longer than a record may be");
        return (format.map_or("unknown", |f| f.name), Err(fault));
    }
    with_record(bytes, input, now, |record| {
        let (name, mut parsed) = match format {
            Some(format) => (name_of(format, record.own), (format.parse)(record)),
            None => detect(record)
                .map_or(("unknown", Err(Fault::new(0, "no format known"))), |(f, d)| (f.name, Ok(d))),
        };
        if let Ok(draft) = &mut parsed {
            unread(record, draft);
        }
        (name, parsed)
    })
}

/// The first format that takes the record, with what it made of it. One that understood everything wins over one
/// that did not; of two alike the more particular.
pub fn detect(record: &Record<'_>) -> Option<(&'static Format, Draft)> {
    detect_among(record, |_| true)
}

/// As [`detect`], among the formats that `may`.
pub(crate) fn detect_among(
    record: &Record<'_>,
    may: impl Fn(&Format) -> bool,
) -> Option<(&'static Format, Draft)> {
    let mut second = None;
    for format in FORMATS.iter().filter(|format| may(format) && (format.looks)(record)) {
        match (format.parse)(record) {
            // That something was logged is less than half an understanding of what.
            Ok(draft) if draft.event.core.rec == Some(Rec::Raw) => {
                second.get_or_insert((format, draft));
            }
            Ok(draft) if draft.partial.is_none() => return Some((format, draft)),
            Ok(draft) => {
                second.get_or_insert((format, draft));
            }
            Err(_) => {}
        }
    }
    second
}

/// `bytes` as JSON, if they are an object or array.
pub(crate) fn json(bytes: &[u8]) -> Option<Doc<'_>> {
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) { Doc::parse(bytes).ok() } else { None }
}

/// Calls `with` with the record as bytes, text and JSON.
fn with_record<T>(bytes: &[u8], input: &Input, now: u64, with: impl FnOnce(&Record<'_>) -> T) -> T {
    let doc = json(bytes);
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let record = Record {
        json: doc.as_ref(),
        realm: &input.realm,
        inner: input.inner,
        own: input.own.as_deref(),
        ..Record::new(bytes, now)
    };
    with(&record)
}

/// What no rule of a JSON format read goes to `unmapped`.
pub(crate) fn unread(record: &Record<'_>, draft: &mut Draft) {
    let Some(doc) = record.json else { return };
    if doc.ambiguous() {
        draft.partial("a JSON object gives a name twice");
        let labels = &mut draft.event.core.labels;
        labels.push("ambiguous_json".to_owned());
    }
    doc.unread(&mut |pointer, token| draft.token(pointer, token));
}
