//! Fuzz bodies: plain functions that must return for any input. Stable tests run them from seeds.

use crate::decode::causes::Causes;
use crate::decode::path::{Templates, clean};
use crate::decode::redact::clean_text;
use crate::decode::{Context, Decoder, RouteFacts, event};
use crate::recorder::{BodyKey, Durable, RecordError, Recorder};
use crate::ring::{ConnOpen, H2What, Ring, Tap, Way, What, Why};
use bytes::Bytes;
use countersign_event::Event;
use countersign_identity::{Identities, IdentityConfig};
use countersign_ledger::SystemClock;
use countersign_policy::PolicySet;
use countersign_wire::h2::Packed;
use countersign_wire::http1::{Framer, PieceKind};
use ring::hmac;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Cleans and templates `data` as a path, and cleans it as a header value.
pub fn cleaning(data: &[u8]) {
    let cleaned = clean(data);
    let mut templates = Templates::default();
    templates.learn(0, &cleaned.raw);
    let (template, id) = templates.of(0, &cleaned.raw);
    assert!(template.len() <= 1_024 && id.len() <= 256 && cleaned.raw.len() <= 4_096);
    let (text, _) = clean_text(data, 512);
    assert!(text.len() <= 512);
}

/// Frames `data` as requests (up to the first 0xff) and responses, and decodes what passed: as many events
/// as promises, and every one of them can be encoded.
pub fn record(data: &[u8]) {
    let (made, promised) = record_on(data, false);
    assert_eq!(made, promised, "one event for each promise");
}

/// As [`record`], on a route that speaks MCP: a message more than one in a body is an event more.
pub fn record_mcp(data: &[u8]) {
    let (made, promised) = record_on(data, true);
    assert!(made >= promised, "an event for each promise, {made} of {promised}");
}

/// Events made and promised.
fn record_on(data: &[u8], mcp: bool) -> (usize, usize) {
    let Some(mut decoder) = decoder(mcp) else { return (0, 0) };
    let half = data.iter().position(|b| *b == 0xff).unwrap_or(data.len());
    let (requests, responses) = data.split_at(half);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let open = ConnOpen { route: 0, src: address, dst: address, waiting: Arc::default(), gate: None };
    let waiting = Arc::clone(&open.waiting);
    let mut events = decoder.feed(Tap { conn: 1, t: 0, what: What::Open(Box::new(open)) });
    let mut promised = 0;
    let mut framer = Framer::default();
    for (way, bytes) in [(Way::Up, requests), (Way::Down, responses.get(1..).unwrap_or_default())] {
        let mut rest = Bytes::copy_from_slice(bytes);
        loop {
            let piece = match if way == Way::Up { framer.request(&rest) } else { framer.response(&rest) } {
                Ok(piece) if piece.len > 0 => piece,
                Err(rule) if way == Way::Up => {
                    let current = framer.open() > 0;
                    promised += usize::from(!current);
                    let what = What::Refused { head: rest.clone(), rule: rule.name(), status: 400, current };
                    events.extend(decoder.feed(Tap { conn: 1, t: 1, what }));
                    break;
                }
                _ => break,
            };
            let bytes = rest.split_to(piece.len);
            let end = piece.end;
            let what = match piece.kind {
                PieceKind::Head if way == Way::Up => {
                    promised += 1;
                    What::Request { head: bytes, end, decided: None }
                }
                PieceKind::Head => What::Response { head: bytes, end, closing: false },
                PieceKind::Data => {
                    waiting.fetch_add(bytes.len(), std::sync::atomic::Ordering::Relaxed);
                    What::Data { way, bytes, end }
                }
                PieceKind::Framing if end => What::End { way },
                _ => continue,
            };
            events.extend(decoder.feed(Tap { conn: 1, t: 2, what }));
        }
    }
    events.extend(decoder.feed(Tap { conn: 1, t: 3, what: What::Close { up: 0, down: 0, why: Why::Done } }));
    assert_eq!(waiting.load(std::sync::atomic::Ordering::Relaxed), 0, "all room is given back");
    let made = events.len();
    for mut event in events {
        event.core.agent = "a".to_owned();
        event.core.seq = 1;
        let encoded = event.encode();
        assert!(encoded.is_ok(), "{encoded:?}");
    }
    (made, promised)
}

/// Plays `data` as happenings on a few streams of HTTP/2 connection: as many events as promises, whatever their
/// order, and every one of them can be encoded.
pub fn h2_record(data: &[u8]) {
    play_h2(data, false);
    // As messages of MCP: a body may hold several, and then makes as many records.
    play_h2(data, true);
}

fn play_h2(data: &[u8], mcp: bool) {
    let Some(mut decoder) = decoder(mcp) else { return };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let open = ConnOpen { route: 0, src: address, dst: address, waiting: Arc::default(), gate: None };
    let waiting = Arc::clone(&open.waiting);
    let mut events = decoder.feed(Tap { conn: 1, t: 0, what: What::Open(Box::new(open)) });
    let (mut promised, mut rest) = (0, data);
    while let Some(([op, stream, len], tail)) = rest.split_first_chunk::<3>().map(|(h, t)| (*h, t)) {
        let (bytes, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        let way = if stream & 0x80 == 0 { Way::Up } else { Way::Down };
        let (stream, end) = (u32::from(stream % 4), op & 0x80 != 0);
        let what = match op % 8 {
            0 => H2What::Request { fields: packed(bytes), end, decided: None },
            1 => H2What::Response { fields: packed(bytes), end },
            2 => {
                waiting.fetch_add(bytes.len(), std::sync::atomic::Ordering::Relaxed);
                H2What::Data { way, bytes: Bytes::copy_from_slice(bytes), end }
            }
            3 => H2What::Trailers { way, fields: packed(bytes) },
            4 => H2What::Reset { way, code: u32::from(len) },
            5 => H2What::Answered { status: 502, why: "fuzz", refused: end, grpc: end.then_some(14) },
            6 => H2What::Progress,
            _ => H2What::Skipped { way, len: u64::from(len), end },
        };
        promised += usize::from(matches!(what, H2What::Request { .. } | H2What::Progress));
        events.extend(decoder.feed(Tap { conn: 1, t: u64::from(op), what: What::H2 { stream, what } }));
    }
    events.extend(decoder.feed(Tap { conn: 1, t: 9, what: What::Close { up: 0, down: 0, why: Why::Done } }));
    assert!(events.len() == promised || mcp && events.len() > promised, "one event for each promise");
    assert_eq!(waiting.load(std::sync::atomic::Ordering::Relaxed), 0, "all room is given back");
    for mut event in events {
        (event.core.agent, event.core.seq) = ("a".to_owned(), 1);
        let encoded = event.encode();
        assert!(encoded.is_ok(), "{encoded:?}");
    }
}

/// Fields of lines `name: value`.
fn packed(bytes: &[u8]) -> Box<Packed> {
    let mut fields = Packed::default();
    for line in bytes.split(|b| *b == b'\n') {
        let at = line.iter().skip(1).position(|b| *b == b':').map_or(line.len(), |at| at + 1);
        let (name, value) = line.split_at(at);
        fields.push(&String::from_utf8_lossy(name), value.get(1..).unwrap_or_default().trim_ascii());
    }
    Box::new(fields)
}

struct Nowhere;
impl Recorder for Nowhere {
    fn record(&self, _events: Vec<Event>) -> Result<(), RecordError> {
        Ok(())
    }
    fn owe(&self, _n: u64) -> Result<(), RecordError> {
        Ok(())
    }
    fn record_intents(&self, events: Vec<Event>, durable: Durable) -> Result<Vec<[u8; 16]>, RecordError> {
        durable(Some(Vec::new()));
        Ok(vec![[1; 16]; events.len()])
    }
    fn folded(&self, _n: u64) {}
    fn dropped(&self, _n: u64) -> Result<(), RecordError> {
        Ok(())
    }
}

fn decoder(mcp: bool) -> Option<Decoder> {
    let ring = Arc::new(Ring::new(1 << 20));
    let context = Context {
        routes: vec![RouteFacts {
            name: "fuzz".to_owned(),
            service: "svc".to_owned(),
            target: event::target("svc"),
            strict: false,
            purpose: Default::default(),
            record: Default::default(),
            capture: None,
            parameters: true,
            mcp,
            grpc: None,
        }],
        identities: Arc::new(Identities::new(IdentityConfig::default(), 0).ok()?),
        policy: PolicySet::allow_all(),
        key: BodyKey::Raw(hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])),
        clock: Arc::new(SystemClock::default()),
        config: [1; 8],
        body: event::captured(),
        run: [1; 8],
        templates: Default::default(),
        checks: Default::default(),
        mcp: Arc::default(),
        causes: Arc::new(Causes::new(vec![Arc::clone(&ring)], Arc::default(), &[])),
        ring: Arc::clone(&ring),
        wall_offset: 1_000_000_000,
        extra: 0,
        intents: Vec::new(),
    };
    let recorder = Arc::new(Nowhere);
    Some(Decoder::new(ring, recorder.clone(), recorder, Arc::default(), context))
}
