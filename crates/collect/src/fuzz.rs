//! Fuzz bodies: arbitrary bytes in, a panic only where an invariant is broken. `fuzz/` wraps them for `cargo fuzz`;
//! stable tests run them from seeds.

use crate::formats::{FORMATS, Record};
use crate::frame::{self, Framer};
use crate::{Input, Keeper, observe, otlp, proto};
use countersign_event::{CaptureConf, Verified};
use countersign_redact::Scanner;
use std::sync::LazyLock;

static KEEPER: LazyLock<Keeper> = LazyLock::new(|| Keeper::new(Scanner::default(), &[7; 32]));

/// The first byte chooses a format (or detection), the rest is a record.
///
/// # Panics
/// When an event cannot be encoded, or says more than its input may: that is a bug.
pub fn collect_record(bytes: &[u8]) {
    let Some((choice, record)) = bytes.split_first() else { return };
    let format = FORMATS.get(usize::from(*choice) % (FORMATS.len() + 1));
    let mut input = Input::new("fuzz");
    input.level = Verified::Asserted;
    let mut event = observe(record, format, &input, &KEEPER, 1_790_000_000_000_000_000);
    "input:fuzz".clone_into(&mut event.core.agent);
    event.core.eid = [1; 16];
    event.core.stream = [2; 16];
    event.core.seq = 1;
    let known = event.who.who.iter().chain(&event.who.obo).chain(&event.who.also);
    assert!(
        known.clone().all(|principal| principal.verified <= Verified::Asserted),
        "no level above the input's"
    );
    let encoded = event.encode();
    assert!(encoded.is_ok(), "{encoded:?}");
    let capture = event.body.cap.as_ref();
    let raw_only = capture.and_then(|c| c.conf) == Some(CaptureConf::RawOnly);
    assert!(!raw_only || (event.core.outcome.is_none() && event.who.who.is_none()), "nothing is guessed");
}

/// The first byte chooses a framer, the rest is a stream: however it is split, the records are the same.
///
/// # Panics
/// When a split changes them, or a record is longer than it may be: that is a bug.
pub fn collect_frame(bytes: &[u8]) {
    let Some((choice, stream)) = bytes.split_first() else { return };
    let framer = || -> Box<dyn Framer> {
        match choice % 4 {
            0 => Box::new(frame::Lines::default()),
            1 => Box::new(frame::Octets::default()),
            2 => Box::new(frame::Csv::default()),
            _ => Box::new(frame::Journal::default()),
        }
    };
    let whole = frame::collect(&mut *framer(), stream, stream.len());
    assert!(whole.0.iter().all(|(record, _)| record.len() <= frame::RECORD_MAX), "a record has a bound");
    for step in [1, 2, 7] {
        assert_eq!(frame::collect(&mut *framer(), stream, step), whole, "in pieces of {step}");
    }
}

/// The first byte chooses a batch by name or a bare array, the rest is its text.
///
/// # Panics
/// When spans overlap, leave the text, or come behind a fault: that is a bug.
pub fn split(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let member = (choice & 1 == 1).then_some("items");
    let (mut end, mut over) = (0, false);
    for element in crate::json::split::elements(text, member) {
        assert!(!over, "a fault is the last thing");
        match element {
            Ok(span) => {
                assert!(
                    end <= span.start && span.start < span.end && span.end <= text.len(),
                    "in order, inside"
                );
                end = span.end;
            }
            Err(fault) => {
                assert!(fault.offset <= text.len(), "a place in the text");
                over = true;
            }
        }
    }
}
/// The first byte chooses logs or traces, the rest is a request of OTLP in Protobuf or JSON: what is decoded is the
/// same after being encoded in Protobuf, and each record of it is read on its own.
///
/// # Panics
/// When something is lost, or an event says more than it may: that is a bug.
pub fn collect_otlp(bytes: &[u8]) {
    let Some((choice, request)) = bytes.split_first() else { return };
    if choice % 2 == 0 {
        otlp_request::<otlp::LogRecord>(request, otlp::Signal::Logs);
    } else {
        otlp_request::<otlp::Span>(request, otlp::Signal::Traces);
    }
}

fn otlp_request<T: otlp::Item>(request: &[u8], signal: otlp::Signal) {
    if let Ok(decoded) = otlp::from_protobuf::<T>(request) {
        let encoded = otlp::to_protobuf(&decoded);
        let again = otlp::from_protobuf::<T>(&encoded);
        // NaN is not equal to itself, but to its own bytes.
        assert!(again.is_ok_and(|again| otlp::to_protobuf(&again) == encoded), "decoding loses something");
    }
    let Ok(records) = otlp::split(signal, request) else { return };
    for bytes in records {
        let record = Record::new(&bytes, 0);
        let parsed = match signal {
            otlp::Signal::Logs => otlp::map::log_record(&record),
            otlp::Signal::Traces => otlp::map::span_record(&record).map(|(draft, _)| draft),
        };
        let Ok(draft) = parsed else { continue };
        let input = Input::new("fuzz");
        let mut event = crate::seal(draft, "otlp", &bytes, &input, &KEEPER, 1_790_000_000_000_000_000);
        "input:fuzz".clone_into(&mut event.core.agent);
        (event.core.eid, event.core.stream, event.core.seq) = ([1; 16], [2; 16], 1);
        let encoded = event.encode();
        assert!(encoded.is_ok(), "{encoded:?}");
    }
}

/// Any bytes as a message of Protobuf: what is read can be written again, byte for byte.
///
/// # Panics
/// When a field is lost: that is a bug.
pub fn collect_proto(bytes: &[u8]) {
    let (mut fields, mut again) = (proto::Fields::new(bytes), proto::Writer::new());
    let mut numbers = Vec::new();
    let end = loop {
        match fields.read_whole() {
            Ok(Some((_, wire, whole))) => {
                again.whole(whole);
                numbers.clear();
                // A list that is none is a fault, not a panic.
                let _ = proto::packed(wire, &mut numbers);
            }
            end => break end,
        }
    };
    let again = again.done();
    assert!(bytes.starts_with(&again), "a field is lost");
    assert!(end.is_err() || again.len() <= bytes.len(), "more than there was");
}

/// Any bytes as a block of Snappy: what it unfolds to is as long as it says, and within the bound.
///
/// # Panics
/// When it is not: that is a bug.
pub fn collect_snappy(bytes: &[u8]) {
    const MOST: usize = 1 << 16;
    let Ok(plain) = crate::snappy::unpack(bytes, MOST) else { return };
    assert!(plain.len() <= MOST && plain.len() <= bytes.len() * 64, "more than an element can give");
}

/// The first byte is the size of the pieces, the rest a stream of MessagePack: however it is split, the values end in
/// the same places, each becomes JSON or a fault, and as a message of Fluent's gives records that are JSON.
///
/// # Panics
/// When that does not hold: that is a bug.
pub fn collect_msgpack(bytes: &[u8]) {
    const MOST: usize = 1 << 16;
    let Some((step, stream)) = bytes.split_first() else { return };
    let ends = |step: usize| {
        let (mut frames, mut from, mut ends) = (crate::msgpack::Frames::default(), 0, Vec::new());
        for here in (0..=stream.len()).step_by(step.max(1)).chain([stream.len()]) {
            loop {
                match frames.next(stream.get(from..here).unwrap_or_default(), MOST) {
                    Ok(Some(length)) => {
                        from += length;
                        ends.push(from);
                    }
                    Ok(None) => break,
                    Err(fault) => return (ends, Some(fault)),
                }
            }
        }
        (ends, None)
    };
    let whole = ends(stream.len());
    assert_eq!(ends(usize::from(*step)), whole, "in pieces of {step}");
    let mut from = 0;
    for end in whole.0 {
        let value = stream.get(from..end).unwrap_or_default();
        assert_eq!(crate::msgpack::Reader::new(value).value(), Ok(value), "both see the same end");
        let mut json = String::new();
        if crate::msgpack::Reader::new(value).json(&mut json, MOST).is_ok() {
            is_json(&json);
        }
        let message = crate::receivers::fluent::message::read(value).unwrap_or_default();
        message.records.iter().for_each(|record| is_json(record));
        from = end;
    }
}

/// Panics where `text` is not JSON; one that is only deeper or wider than a record may be is.
fn is_json(text: &str) {
    let parsed = crate::json::Doc::parse_batch(text.as_bytes(), usize::MAX);
    assert!(parsed.as_ref().err().is_none_or(|fault| fault.rule.contains("bound")), "{parsed:?}");
}

/// The first byte chooses JSON or Protobuf, the rest is a request of Loki's push API: each of its records is JSON.
///
/// # Panics
/// When one is not: that is a bug.
pub fn collect_loki(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let records = match choice & 1 {
        0 => crate::receivers::loki::of_json(body),
        _ => crate::receivers::loki::of_protobuf(body),
    };
    records.unwrap_or_default().iter().for_each(|record| is_json(record));
}

/// The first byte is the size of the pieces, the rest a stream of gRPC messages: however it is split, they are the
/// same.
///
/// # Panics
/// When a split changes them: that is a bug.
pub fn collect_grpc(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else { return };
    let whole = crate::receivers::grpc::collect(stream, stream.len());
    assert_eq!(crate::receivers::grpc::collect(stream, usize::from(*step)), whole);
}

/// A checkpoint of files, and up to the first NUL byte a pattern of paths: what is read can be written again, and a
/// pattern judges any path.
///
/// # Panics
/// When a mark is lost: that is a bug.
pub fn collect_files(bytes: &[u8]) {
    use crate::files::{checkpoint, glob::Pattern};
    let text = String::from_utf8_lossy(bytes);
    if let Ok(marks) = checkpoint::decode(&text) {
        assert_eq!(checkpoint::decode(&checkpoint::encode(marks.iter())), Ok(marks), "a mark is lost");
    }
    let (pattern, path) = text.split_once('\0').unwrap_or((&text, "/var/log/a.log"));
    if let Ok(pattern) = Pattern::new(pattern) {
        let _ = pattern.matches(std::path::Path::new(path));
    }
}

/// What a broker of Kafka gives: as record batches, where what is to be read next never goes back and each record lies
/// before it; as every answer; and as a frame of LZ4.
///
/// # Panics
/// When that does not hold: that is a bug.
pub fn collect_kafka(bytes: &[u8]) {
    use crate::consumers::kafka::batch::{Piece, read};
    use crate::consumers::kafka::{lz4, wire};
    const MOST: usize = 1 << 16;
    let whole = bytes::Bytes::copy_from_slice(bytes);
    for from in [0, 10] {
        let taken = read(whole.clone(), from, &[(1, 0)]);
        assert!(taken.next >= from, "it goes back");
        for piece in taken.pieces {
            if let Piece::Record(record) = piece {
                assert!(
                    (from..taken.next).contains(&record.offset),
                    "{record:?} is not before {}",
                    taken.next
                );
            }
        }
    }
    assert!(lz4::unpack(bytes, MOST).unwrap_or_default().len() <= MOST, "more than the bound");
    let _ = wire::read_metadata(whole.clone());
    let _ = wire::coordinator(whole.clone());
    let _ = wire::committed(whole.clone());
    let _ = wire::commit_answer(whole.clone());
    let _ = wire::offsets(whole.clone());
    let _ = wire::fetched(whole.clone());
    let _ = wire::sasl_mechanisms(whole.clone());
    let _ = wire::sasl_answer(whole);
}

/// The first byte is the size of the pieces, the rest what a NATS server says: however it is split, it is the same,
/// and headers of its messages are read within their bound.
///
/// # Panics
/// When a split changes it: that is a bug.
pub fn collect_nats(bytes: &[u8]) {
    use crate::consumers::nats::proto::{Frames, HEADERS_MAX, Headers, Op};
    let Some((step, stream)) = bytes.split_first() else { return };
    let read = |step: usize| {
        let (mut frames, mut buffer, mut ops) = (Frames::default(), bytes::BytesMut::new(), Vec::new());
        for part in stream.chunks(step.max(1)) {
            buffer.extend_from_slice(part);
            loop {
                match frames.next(&mut buffer) {
                    Ok(Some(op)) => ops.push(op),
                    Ok(None) => break,
                    Err(broken) => return (ops, Some(broken)),
                }
            }
        }
        (ops, None)
    };
    let whole = read(stream.len());
    assert_eq!(read(usize::from(*step)), whole, "in pieces of {step}");
    for op in whole.0 {
        match op {
            Op::Msg(message) => assert!(Headers::read(&message.headers).fields.len() <= HEADERS_MAX),
            Op::Info(json) => drop(crate::consumers::nats::api::ServerInfo::read(&json)),
            _ => {}
        }
    }
    let _ = crate::consumers::nats::api::Reply::read(stream);
    let _ = crate::consumers::nats::api::Place::read(&String::from_utf8_lossy(stream));
    let _ = crate::consumers::nats::login::Creds::read(&String::from_utf8_lossy(stream));
}

/// Any text as what each witness prints: read within its bounds, and what came out goes into an event and back.
///
/// # Panics
/// When it does not: that is a bug.
pub fn collect_witness(bytes: &[u8]) {
    use crate::witness::{Log, Seen, Watch, conntrack, nats, postgres, proc_net, redis};
    use countersign_event::witness::from_event;
    let text = String::from_utf8_lossy(bytes);
    let server = std::net::SocketAddr::from(([10, 0, 0, 9], 5432));
    let watch = Watch::new([server]);
    let readings: [Seen; 5] = [
        proc_net(&[&text], &watch),
        conntrack(&text, &watch),
        postgres(&text, server, &watch),
        redis(&text, server, 1_790_000_000_000_000_000, &watch),
        nats(&text, server, &watch),
    ];
    for seen in readings {
        let most = seen.connections.len();
        let events = Log::new("fuzz").events(seen, 1_790_000_000_000_000_000);
        let told: usize = events
            .iter()
            .filter_map(from_event)
            .map(|report| {
                assert_eq!(report.malformed, 0, "what was written is read");
                report.open.len()
            })
            .sum();
        assert!(told <= most, "nothing is told that was not seen");
        for mut event in events {
            "countersign:witness".clone_into(&mut event.core.agent);
            (event.core.eid, event.core.stream, event.core.seq) = ([1; 16], [2; 16], 1);
            assert!(event.encode().is_ok());
        }
    }
}
