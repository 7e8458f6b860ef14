//! What an independent observer saw of connections, as an event: rec `platform`, kind `l4`, operation
//! [`OPERATION`], and back. The one place where both directions stand, so that collector and detector agree.
//!
//! Not an audit record of a call: a witness (the kernel, a flow counter, a database) knows who is connected, not what
//! is said. Invariants: an event tells changes since the one before it of the same witness ([`Report::began`]: there
//! is none); what [`to_events`] writes, [`from_event`] reads back as it was, in bounded events; texts are clipped, and
//! what is malformed in a foreign event is left out and counted, never guessed.

use crate::cbor::Value;
use crate::fields::detail::l4;
use crate::{Class, Event, Kind, Rec, Transport};
use std::net::{IpAddr, SocketAddr};

/// `core.op` of such an event.
pub const OPERATION: &str = "witness.connections";
/// Most connections in one event.
pub const PART_MAX: usize = 500;
/// Longest name of a witness, a user, an application or a protocol, bytes.
pub const TEXT_MAX: usize = 128;

/// One connection that a witness saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The end that opened it; `None` = a socket without addresses on the callee's own machine.
    pub src: Option<IpAddr>,
    /// Its port, where the witness knows it.
    pub src_port: Option<u16>,
    /// The end that was called.
    pub dst: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// What is spoken, as far as the witness knows: `postgres`; empty = unknown.
    pub proto: String,
    /// The name that the callee knows the caller by; empty = unknown.
    pub user: String,
    /// The name that the caller gives itself; empty = none.
    pub app: String,
    /// Its calling end is a gateway's own: what goes over it is recorded there.
    pub through: bool,
    /// Bytes both ways so far.
    pub bytes: Option<u64>,
    /// When it was opened, UTC ns.
    pub since_ns: Option<u64>,
}

/// What one event of a witness says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Which witness: `proc:web-1`.
    pub witness: String,
    /// The first event of a run of the witness: nothing that it said before is open any more.
    pub began: bool,
    /// Opened since the last event, or of which more bytes are known.
    pub open: Vec<Connection>,
    /// Over since the last event.
    pub ended: Vec<Connection>,
    /// Connections that the witness has seen and cannot list, for its bound.
    pub unlisted: u64,
    /// Entries that could not be read. Only [`from_event`] sets it.
    pub malformed: u64,
}

impl Connection {
    /// Between two addresses, nothing else known.
    pub fn tcp(src: SocketAddr, dst: SocketAddr) -> Connection {
        Connection {
            src: Some(src.ip().to_canonical()),
            src_port: Some(src.port()),
            dst: canonical(dst),
            transport: Transport::Tcp,
            proto: String::new(),
            user: String::new(),
            app: String::new(),
            through: false,
            bytes: None,
            since_ns: None,
        }
    }

    fn to_value(&self) -> Value {
        let mut pairs: Vec<(Value, Value)> = Vec::with_capacity(6);
        let mut put = |key: u64, value: Value| {
            if !value.is_empty() {
                pairs.push((Value::Uint(key), value));
            }
        };
        put(0, self.source().into());
        put(1, canonical(self.dst).to_string().into());
        put(2, self.transport.code().into());
        for (key, text) in [(3, &self.proto), (4, &self.user), (5, &self.app)] {
            put(key, clip(text).into());
        }
        if self.through {
            put(6, true.into());
        }
        for (key, number) in [(7, self.bytes), (8, self.since_ns)] {
            number.into_iter().for_each(|n| put(key, n.into()));
        }
        Value::Map(pairs)
    }

    /// The calling end in one word: address and port, address, or nothing.
    fn source(&self) -> String {
        match (self.src, self.src_port) {
            (Some(ip), Some(port)) => SocketAddr::new(ip.to_canonical(), port).to_string(),
            (Some(ip), None) => ip.to_canonical().to_string(),
            (None, _) => String::new(),
        }
    }

    fn from_value(value: &Value) -> Option<Connection> {
        let Value::Map(pairs) = value else { return None };
        let get = |key: u64| pairs.iter().find(|(k, _)| *k == Value::Uint(key)).map(|(_, value)| value);
        let text = |key: u64| get(key).and_then(Value::as_text).unwrap_or_default();
        let (src, src_port) = match text(0) {
            "" => (None, None),
            word => match word.parse::<SocketAddr>() {
                Ok(address) => (Some(address.ip().to_canonical()), Some(address.port())),
                Err(_) => (Some(word.parse::<IpAddr>().ok()?.to_canonical()), None),
            },
        };
        Some(Connection {
            src,
            src_port,
            dst: canonical(text(1).parse().ok()?),
            transport: Transport::from_code(get(2)?.as_uint()?)?,
            proto: clip(text(3)).to_owned(),
            user: clip(text(4)).to_owned(),
            app: clip(text(5)).to_owned(),
            through: get(6) == Some(&Value::Bool(true)),
            bytes: get(7).and_then(Value::as_uint),
            since_ns: get(8).and_then(Value::as_uint),
        })
    }
}

/// The events of a report, in order: more than one when it holds more than [`PART_MAX`] connections; one, to say that
/// the witness lives, when it holds none. `now_ns`: the witness's clock, UTC ns.
pub fn to_events(report: &Report, now_ns: u64) -> Vec<Event> {
    let opened = report.open.iter().map(|connection| (l4::OPEN, connection));
    let all: Vec<_> = opened.chain(report.ended.iter().map(|connection| (l4::ENDED, connection))).collect();
    let parts = all.len().div_ceil(PART_MAX).max(1);
    let mut events = Vec::with_capacity(parts);
    for part in 0..parts {
        let mut event = Event::default();
        event.core.t_obs = now_ns;
        event.core.rec = Some(Rec::Platform);
        event.core.kind = Some(Kind::L4);
        event.core.class = Some(Class::Meta);
        OPERATION.clone_into(&mut event.core.op);
        let detail = &mut event.content.detail;
        detail.insert(l4::WITNESS, clip(&report.witness).into());
        if part == 0 && report.began {
            detail.insert(l4::BEGAN, true.into());
        }
        if part == 0 && report.unlisted > 0 {
            detail.insert(l4::UNLISTED, report.unlisted.into());
        }
        for (key, connection) in all.iter().skip(part * PART_MAX).take(PART_MAX) {
            let list = detail.entry(*key).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items.push(connection.to_value());
            }
        }
        events.push(event);
    }
    events
}

/// What such an event says; `None` for any other.
pub fn from_event(event: &Event) -> Option<Report> {
    if event.core.rec != Some(Rec::Platform) || event.core.op != OPERATION {
        return None;
    }
    let detail = &event.content.detail;
    let mut report = Report {
        witness: clip(detail.get(&l4::WITNESS)?.as_text()?).to_owned(),
        began: detail.get(&l4::BEGAN) == Some(&Value::Bool(true)),
        unlisted: detail.get(&l4::UNLISTED).and_then(Value::as_uint).unwrap_or(0),
        ..Report::default()
    };
    for (key, list) in [(l4::OPEN, &mut report.open), (l4::ENDED, &mut report.ended)] {
        for value in detail.get(&key).and_then(Value::as_array).unwrap_or_default() {
            match Connection::from_value(value) {
                Some(connection) => list.push(connection),
                None => report.malformed += 1,
            }
        }
    }
    Some(report)
}

/// An address as it is compared: IPv4 inside IPv6 as IPv4, without scope and flow.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The first [`TEXT_MAX`] bytes, cut at a character's border.
fn clip(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(|b| IpAddr::from(b).to_canonical())
        ]
    }

    fn any_connection() -> impl Strategy<Value = Connection> {
        let ends = (proptest::option::of(any_ip()), any::<Option<u16>>(), any_ip(), any::<u16>());
        let names = ("[a-z]{0,9}", ".{0,40}", ".{0,40}");
        (ends, names, any::<bool>(), any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |((src, src_port, dst, port), (proto, user, app), through, bytes, since_ns)| Connection {
                src,
                src_port: src_port.filter(|_| src.is_some()),
                dst: SocketAddr::new(dst, port),
                transport: if through { Transport::Tcp } else { Transport::Udp },
                proto,
                user: clip(&user).to_owned(),
                app: clip(&app).to_owned(),
                through,
                bytes,
                since_ns,
            },
        )
    }

    fn encoded(mut event: Event) -> Event {
        (event.core.agent, event.core.seq) = ("countersign:witness".to_owned(), 1);
        (event.core.eid, event.core.stream) = ([1; 16], [2; 16]);
        Event::decode(&event.encode().unwrap()).unwrap()
    }

    #[test]
    fn the_largest_report_fits_its_events_and_comes_back_whole() {
        let long = |n: usize| Connection {
            user: "u".repeat(500),
            app: format!("{n}{}", "ü".repeat(100)),
            bytes: Some(u64::MAX),
            since_ns: Some(u64::MAX),
            ..Connection::tcp("[2001:db8::1]:65535".parse().unwrap(), "[2001:db8::2]:65535".parse().unwrap())
        };
        let open: Vec<Connection> = (0..3 * PART_MAX + 1).map(long).collect();
        let report = Report { witness: "w".repeat(300), began: true, open, ..Report::default() };
        let events = to_events(&report, 7);
        assert_eq!(events.len(), 4);
        let back: Vec<Report> = events.into_iter().map(|e| from_event(&encoded(e)).unwrap()).collect();
        assert_eq!(back.iter().map(|r| r.open.len()).sum::<usize>(), report.open.len());
        assert_eq!((back[0].began, back[1].began, back[0].witness.len()), (true, false, TEXT_MAX));
        assert!(back.iter().all(|r| r.malformed == 0));
    }

    #[test]
    fn a_report_of_nothing_is_a_sign_of_life_and_other_events_are_none() {
        let report = Report { witness: "proc".to_owned(), ..Report::default() };
        let events = to_events(&report, 7);
        assert_eq!(events.len(), 1);
        assert_eq!(from_event(&events[0]), Some(report));
        assert_eq!(from_event(&Event::default()), None);
        let mut forged = events[0].clone();
        forged.core.rec = Some(Rec::Interaction);
        assert_eq!(from_event(&forged), None);
    }

    #[test]
    fn what_is_malformed_is_counted_and_not_guessed() {
        let mut event = to_events(&Report { witness: "w".to_owned(), ..Report::default() }, 7).remove(0);
        let broken = vec![Value::Uint(1), Value::Map(vec![(Value::Uint(1), "nowhere".into())])];
        event.content.detail.insert(l4::OPEN, Value::Array(broken));
        let report = from_event(&event).unwrap();
        assert_eq!((report.open.len(), report.malformed), (0, 2));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            open in proptest::collection::vec(any_connection(), 0..20),
            ended in proptest::collection::vec(any_connection(), 0..20),
            began: bool, unlisted in 0..9u64,
        ) {
            let report = Report { witness: "w".to_owned(), began, open, ended, unlisted, malformed: 0 };
            let event = to_events(&report, 7).remove(0);
            prop_assert_eq!(from_event(&encoded(event)), Some(report));
        }
    }
}
