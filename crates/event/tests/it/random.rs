//! Random events from a seed. `tidy` ones are already what decoding gives back; loose ones use what the
//! encoder puts in order or leaves out; wild ones also break rules now and then.

use countersign_event::cbor::Value;
use countersign_event::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    Tidy,
    Loose,
    Wild,
}

/// SplitMix64: small, and the same for ever.
pub(crate) struct Random {
    state: u64,
    manner: Manner,
}

impl Random {
    pub(crate) fn new(seed: u64, manner: Manner) -> Random {
        Random { state: seed, manner }
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn loose(&self) -> bool {
        self.manner >= Manner::Loose
    }
    /// Breaks a rule, seldom.
    fn wild(&mut self) -> bool {
        self.manner == Manner::Wild && self.one_in(150)
    }
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.one_in(3) { Some(make(self)) } else { None }
    }
    /// Numbers near every width of head.
    fn uint(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        let edge = [0, 1, 23, 24, 255, 256, 65535, 65536, u64::from(u32::MAX), u64::MAX];
        if self.one_in(3) {
            edge[self.below(edge.len())]
        } else {
            self.next().checked_shr(64 - bits).unwrap_or(0)
        }
    }
    fn int(&mut self) -> i64 {
        self.uint() as i64
    }
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
    fn id<const N: usize>(&mut self) -> [u8; N] {
        if self.loose() && self.one_in(8) { [0; N] } else { self.bytes::<N>().map(|byte| byte | 1) }
    }
    fn many(&mut self, most: usize) -> Vec<u8> {
        let len = self.len(most);
        (0..len).map(|_| self.next() as u8).collect()
    }
    /// Mostly short, sometimes at a head's edge or at the bound, and one above it when wild.
    fn len(&mut self, most: usize) -> usize {
        let len = match self.below(20) {
            0 => most,
            1 => 24,
            2 => 256,
            _ => self.below(12),
        };
        if self.wild() { most + 1 } else { len.min(most) }
    }
    fn text(&mut self, most: usize) -> String {
        const LETTERS: [&str; 12] = ["a", "b", "Z", "0", "/", "\"", "\\", "\n", "\u{1}", "ü", "☃", "😀"];
        let len = self.len(most.min(300));
        let mut text = String::new();
        while text.len() < len {
            let letter = LETTERS[self.below(LETTERS.len())];
            text.push_str(if text.len() + letter.len() > len { "x" } else { letter });
        }
        text
    }
    fn items<T>(&mut self, most: usize, make: impl Fn(&mut Random) -> T) -> Vec<T> {
        if !self.one_in(3) {
            return Vec::new();
        }
        let len = if self.wild() { most + 1 } else { self.below(4).min(most) };
        (0..len).map(|_| make(self)).collect()
    }
    fn set(&mut self, most: usize, each: usize) -> Vec<String> {
        let mut set = self.items(most, |r| r.text(each));
        if !self.loose() {
            set.sort();
            set.dedup();
        }
        set
    }
    /// Any enum value, unknown ones too.
    fn word<T: Copy>(&mut self, all: &[T], from_code: fn(u64) -> Option<T>) -> T {
        let word = if self.one_in(10) { from_code(self.uint()) } else { None };
        word.unwrap_or(all[self.below(all.len())])
    }
    fn value(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 5 } else { 7 };
        match self.below(kinds) {
            0 => Value::Uint(self.uint()),
            1 => Value::Nint(self.uint()),
            2 => Value::Bytes(self.many(40)),
            3 => Value::Text(self.text(40)),
            4 => Value::Bool(self.one_in(2)),
            5 => Value::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => {
                let mut pairs = Vec::new();
                for _ in 0..self.below(4) {
                    pairs.push((self.value(depth.min(2) - 1), self.field_value(depth - 1)));
                }
                if !self.loose() {
                    pairs.sort_by_cached_key(|(key, _)| cbor::encode(key).unwrap());
                    pairs.dedup_by(|a, b| a.0 == b.0);
                }
                pairs.retain(|(key, _)| !holds_map(key));
                Value::Map(pairs)
            }
        }
    }
    /// A value that a key may have.
    fn field_value(&mut self, depth: usize) -> Value {
        loop {
            let value = self.value(depth);
            if !value.is_empty() || self.wild() {
                return value;
            }
        }
    }
    fn other(&mut self, known: u64) -> Other {
        let mut key = known;
        let len = if self.one_in(6) { self.below(3) } else { 0 };
        let mut other = Other::default();
        for _ in 0..len {
            key = key.saturating_add(1 + self.uint() % 1000);
            other.push((key, self.field_value(4)));
        }
        if self.wild() {
            other.push((known, Value::Uint(0)));
        }
        other
    }
    fn keyed(&mut self) -> KeyedMap {
        let len = self.below(5);
        (0..len).map(|_| (self.uint() % 12, self.field_value(4))).collect()
    }

    pub(crate) fn event(&mut self) -> Event {
        let mut event = Event { core: self.core(), ..Event::default() };
        if self.one_in(2) {
            event.who = Who {
                who: self.maybe(|r| r.principal(false)),
                obo: self.items(16, |r| r.principal(true)),
                also: self.items(8, |r| r.principal(false)),
                other: self.other(2),
            }
            .into();
        }
        if self.one_in(2) {
            event.peer = self.peer().into();
        }
        if self.one_in(2) {
            event.target = self.target(false).into();
        }
        if self.one_in(2) {
            event.links = self.links();
        }
        if self.one_in(2) {
            event.content = self.content();
        }
        if self.one_in(2) {
            event.body = self.body().into();
        }
        event
    }

    fn core(&mut self) -> Core {
        let rec = self.maybe(|r| r.word(Rec::ALL, Rec::from_code));
        let platform = rec.is_some_and(|rec| rec.code() >= 11);
        let not_one = |n: u64| if n == 1 { 2 } else { n };
        Core {
            eid: self.bytes(),
            agent: format!("a{}", self.text(255)),
            stream: self.bytes(),
            seq: if self.wild() { 0 } else { self.uint().max(1) },
            t_obs: self.uint(),
            t_event: self.maybe(Random::int),
            t_basis: self.maybe(|r| r.word(TimeBasis::ALL, TimeBasis::from_code)),
            skew: self.maybe(|r| (r.int(), r.uint())),
            dur: self.maybe(Random::uint),
            rec,
            kind: self.maybe(|r| r.word(Kind::ALL, Kind::from_code)),
            proto: self.text(64),
            op: self.text(256),
            class: self.maybe(|r| r.word(Class::ALL, Class::from_code)),
            outcome: self.maybe(|r| r.word(Outcome::ALL, Outcome::from_code)),
            status: self.maybe(|r| (r.word(StatusSpace::ALL, StatusSpace::from_code), r.text(40))),
            decision: self
                .maybe(Random::decision)
                .filter(|decision| *decision != Decision::default())
                .map(Box::new),
            labels: self.set(32, 64),
            tenant: self.text(128),
            n: self.maybe(|r| if r.wild() { 1 } else { not_one(r.uint()) }),
            lat: self.maybe(|r| [r.uint(), r.uint(), r.uint()]),
            config: self.maybe(Random::bytes),
            route: self.text(128),
            sys: if platform || self.wild() { self.keyed() } else { KeyedMap::new() },
            other: self.other(24),
        }
    }
    fn decision(&mut self) -> Decision {
        Decision {
            verdict: self.maybe(|r| r.word(Verdict::ALL, Verdict::from_code)),
            mode: self.maybe(|r| r.word(Mode::ALL, Mode::from_code)),
            policies: self.set(8, 20),
            reason: self.text(40),
            purpose: self.text(40),
            other: self.other(4),
        }
    }
    fn principal(&mut self, in_obo: bool) -> Principal {
        Principal {
            kind: self.maybe(|r| r.word(PrincipalKind::ALL, PrincipalKind::from_code)),
            auth: self.maybe(|r| r.word(Auth::ALL, Auth::from_code)),
            iss: self.text(40),
            cred: self.text(256),
            cred_exp: self.maybe(Random::int),
            svc: self.text(40),
            inst: self.text(40),
            groups: self.set(64, 40),
            rel: if in_obo || self.wild() {
                self.maybe(|r| r.word(Relation::ALL, Relation::from_code))
            } else {
                None
            },
            name: self.text(40),
            from: self.maybe(|r| r.word(IdentityFrom::ALL, IdentityFrom::from_code)),
            other: self.other(12),
            ..Principal::new(self.text(1024), self.word(Verified::ALL, Verified::from_code))
        }
    }
    fn peer(&mut self) -> Peer {
        Peer {
            src: self.endpoint(),
            dst: self.endpoint(),
            up: self.endpoint(),
            transport: self.maybe(|r| r.word(Transport::ALL, Transport::from_code)),
            tls: self.maybe(Random::tls).filter(|tls| self.loose() || *tls != Tls::default()),
            hops: self.items(32, |r| (r.text(40), r.word(Verified::ALL, Verified::from_code))),
            ja4: self.text(40),
            retries: self.maybe(Random::uint),
            other: self.other(7),
        }
    }
    fn tls(&mut self) -> Tls {
        Tls {
            version: self.maybe(Random::uint),
            cipher: self.maybe(Random::uint),
            sni: self.text(40),
            alpn: self.text(10),
            peer_cert: self.maybe(Random::bytes),
            resumed: self.maybe(|r| r.one_in(2)),
            group: self.maybe(Random::uint),
            other: self.other(6),
        }
    }
    fn endpoint(&mut self) -> Option<Endpoint> {
        let loose = self.loose();
        let end = self.maybe(|r| Endpoint {
            ip: r.maybe(Random::ip),
            port: r.maybe(|r| r.uint() as u16),
            host: r.text(40),
            workload: r.text(40),
            ns: r.text(40),
            zone: r.text(40),
            node: r.text(40),
            other: r.other(6),
        });
        end.filter(|end| loose || *end != Endpoint::default())
    }
    fn ip(&mut self) -> IpAddr {
        match self.below(3) {
            0 => IpAddr::V4(Ipv4Addr::from(self.bytes::<4>())),
            1 => IpAddr::V6(Ipv6Addr::from(self.bytes::<16>())),
            _ if self.loose() => IpAddr::V6(Ipv4Addr::from(self.bytes::<4>()).to_ipv6_mapped()),
            _ => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
    fn target(&mut self, nested: bool) -> Target {
        Target {
            svc: self.text(256),
            res: self.text(1024),
            raw: self.text(4096),
            rtype: self.text(20),
            id: self.text(40),
            ns: self.text(40),
            region: self.text(10),
            more: if !nested || self.wild() { self.items(64, |r| r.target(true)) } else { Vec::new() },
            tags: self.set(10, 40),
            other: self.other(8),
        }
    }
    fn links(&mut self) -> Links {
        Links {
            trace: self.maybe(Random::id),
            span: self.maybe(Random::id),
            parent: self.maybe(Random::id),
            tflags: self.maybe(Random::uint),
            corr: self.text(256),
            sess: self.text(256),
            msg: self.text(256),
            of: self.maybe(Random::bytes),
            conn: self.maybe(Random::bytes),
            conn_seq: self.maybe(|r| if r.wild() { 0 } else { r.uint().max(1) }),
            via: self.maybe(|r| r.word(LinkVia::ALL, LinkVia::from_code)),
            causal: self.items(8, |r| {
                let score = if r.wild() { 1001 } else { r.uint() % 1001 };
                (r.bytes(), r.word(LinkVia::ALL, LinkVia::from_code), score)
            }),
            cause: self.items(8, |r| {
                let score = if r.wild() { 1001 } else { r.uint() % 1001 };
                let number = if r.wild() { 0 } else { r.uint().max(1) };
                (r.bytes(), number, score)
            }),
            other: self.other(12),
        }
    }
    fn content(&mut self) -> Content {
        let unmapped = self.items(6, |r| {
            let value = if r.one_in(4) {
                Unmapped::Bytes(r.many(20))
            } else {
                Unmapped::Token(format!("{}{}", if r.wild() { "" } else { "1" }, r.text(20)))
            };
            (r.text(20), value)
        });
        Content {
            detail: self.keyed(),
            stmt: self.text(65536),
            stmt_fp: self.maybe(Random::bytes),
            params: self.items(9, |r| r.text(20)),
            headers: self.items(64, |r| (r.text(20), r.text(20))),
            err: self.text(4096),
            unmapped: unmapped.into_iter().collect(),
            redacted: self.items(9, |r| (r.text(20), r.uint())),
            cut: self.items(9, |r| (r.uint(), r.uint())),
            other: self.other(8),
        }
    }
    fn body(&mut self) -> Body {
        let loose = self.loose();
        Body {
            req: self.maybe(Random::payload).filter(|payload| loose || *payload != Payload::default()),
            rsp: self.maybe(Random::payload).filter(|payload| loose || *payload != Payload::default()),
            cap: self
                .maybe(Random::capture)
                .filter(|cap| loose || *cap != Capture::default())
                .map(Shared::from),
            raw: self.maybe(Random::raw).filter(|raw| loose || *raw != RawBytes::default()).map(Box::new),
            change: self
                .maybe(Random::change)
                .filter(|change| loose || *change != Change::default())
                .map(Box::new),
            other: self.other(4),
        }
    }
    fn payload(&mut self) -> Payload {
        Payload {
            size: self.maybe(Random::uint),
            digest: self.maybe(Random::bytes),
            reference: self.text(40),
            truncated: self.maybe(|r| r.one_in(2)),
            content_type: self.text(40),
            excerpt: self.many(4096),
            alg: self.maybe(|r| r.word(DigestAlg::ALL, DigestAlg::from_code)),
            messages: self.maybe(Random::uint),
            digest_sent: self.maybe(Random::bytes),
            other: self.other(8),
        }
    }
    fn capture(&mut self) -> Capture {
        Capture {
            mode: self.maybe(|r| r.word(CaptureMode::ALL, CaptureMode::from_code)),
            fmt: self.text(20),
            parser: self.text(20),
            conf: self.maybe(|r| r.word(CaptureConf::ALL, CaptureConf::from_code)),
            source_id: self.text(40),
            offset: self.maybe(Random::uint),
            path: self.text(40),
            deliverer: self.text(40),
            level: self.maybe(|r| r.word(Verified::ALL, Verified::from_code)),
            merged: self.maybe(|r| if r.wild() { 1 } else { r.uint() & !1 }),
            changes: self.set(5, 20),
            other: self.other(10),
        }
    }
    fn raw(&mut self) -> RawBytes {
        RawBytes {
            digest: self.maybe(Random::bytes),
            length: self.maybe(Random::uint),
            reference: self.text(20),
            bytes: self.many(4000),
            alg: self.maybe(|r| r.word(DigestAlg::ALL, DigestAlg::from_code)),
            other: self.other(4),
        }
    }
    fn change(&mut self) -> Change {
        Change {
            before: self.maybe(Random::bytes),
            after: self.maybe(Random::bytes),
            alg: self.maybe(|r| r.word(DigestAlg::ALL, DigestAlg::from_code)),
            other: self.other(2),
        }
    }
}

/// Keys that hold maps are legal, but would hide their own duplicates from the generator.
fn holds_map(key: &Value) -> bool {
    match key {
        Value::Map(_) => true,
        Value::Array(items) => items.iter().any(holds_map),
        _ => false,
    }
}
