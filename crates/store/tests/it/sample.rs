//! Seeded events: `gateway` makes what the gateway records all day, `wild` what nobody expects. No product
//! code; the same file serves unit tests, integration tests and the example.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::field_reassign_with_default,
    reason = "each user of this file needs a part of it"
)]

use countersign_event::cbor::Value;
use countersign_event::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// SplitMix64: small, seeded, good enough to make test data.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8 | 1)
    }
}

pub const T0: u64 = 1_790_000_000_000_000_000;
const SERVICES: [&str; 8] = ["orders", "billing", "users", "ledger", "search", "mail", "stock", "auth"];
const OPS: [(&str, Class); 4] =
    [("GET", Class::Read), ("POST", Class::Create), ("PUT", Class::Modify), ("DELETE", Class::Delete)];
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Success, "200"),
    (Outcome::Success, "201"),
    (Outcome::Success, "200"),
    (Outcome::Denied, "403"),
    (Outcome::CallerError, "404"),
    (Outcome::ServerError, "503"),
];

pub const STREAM: [u8; 16] = [7; 16];

/// Event number `seq` of a gateway: about 300 bytes as a frame.
pub fn gateway(rng: &mut Rng, seq: u64) -> Event {
    let mut e = Event::default();
    let t = T0 + seq * 10_000 + rng.below(5_000);
    e.core = Core {
        agent: "spiffe://example.org/gw".into(),
        stream: STREAM,
        seq,
        t_obs: t + 3_000_000,
        t_event: Some(t as i64),
        t_basis: Some(TimeBasis::Measured),
        dur: Some(400_000 + rng.below(9_000_000)),
        rec: Some(Rec::Interaction),
        kind: Some(Kind::Http),
        proto: "http/1.1".into(),
        config: Some([9; 8]),
        route: "public".into(),
        ..Core::default()
    };
    e.core.eid = eid(&e.core.agent, &e.core.stream, seq);
    let (op, class) = rng.pick(&OPS);
    e.core.op = op.into();
    e.core.class = Some(class);
    let (outcome, code) = rng.pick(&OUTCOMES);
    e.core.outcome = Some(outcome);
    e.core.status = Some((StatusSpace::Http, code.into()));
    e.core.decision = Some(
        Decision {
            verdict: Some(Verdict::Allow),
            mode: Some(Mode::Observe),
            policies: vec!["allow-all".into()],
            ..Decision::default()
        }
        .into(),
    );
    let caller = rng.pick(&SERVICES);
    let mut who = Principal::new(format!("spiffe://example.org/{caller}"), Verified::Bound);
    who.kind = Some(PrincipalKind::Workload);
    who.auth = Some(Auth::SpiffeSvid);
    who.iss = "example.org".into();
    who.cred = format!("x5t#S256:{:0>43}", caller);
    who.cred_exp = Some(1_790_003_600);
    who.from = Some(IdentityFrom::Tls);
    e.who.who = Some(who);
    let ip = |last: u64| Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last as u8)));
    let host = rng.below(40);
    e.peer.src =
        Some(Endpoint { ip: ip(host), port: Some(30_000 + rng.below(64) as u16), ..Endpoint::default() });
    e.peer.dst = Some(Endpoint { ip: ip(200), port: Some(8443), ..Endpoint::default() });
    let service = rng.pick(&SERVICES);
    e.peer.up = Some(Endpoint { ip: ip(100), port: Some(8080), host: service.into(), ..Endpoint::default() });
    e.peer.transport = Some(Transport::Tcp);
    e.peer.tls = Some(Tls {
        version: Some(0x0304),
        cipher: Some(0x1301),
        sni: "gw.example.org".into(),
        ..Tls::default()
    });
    e.target.svc = service.into();
    let id = rng.below(5_000);
    e.target.res = format!("/v1/{service}/{{id}}");
    e.target.raw = format!("/v1/{service}/{id}");
    e.links.trace = Some(Rng(seq / 7).bytes());
    e.links.span = Some(rng.bytes());
    e.links.parent = Some(rng.bytes());
    e.links.tflags = Some(1);
    e.links.via = Some(LinkVia::Traceparent);
    e.links.conn = Some(Rng(host ^ 0xabc).bytes());
    e.links.conn_seq = Some(seq / 40 + 1);
    e.body.req = Some(Payload { size: Some(rng.below(2_000)), ..Payload::default() });
    e.body.rsp = Some(Payload {
        size: Some(rng.below(20_000)),
        content_type: "application/json".into(),
        ..Payload::default()
    });
    e.body.cap = Some(Capture { mode: Some(CaptureMode::Inline), ..Capture::default() }.into());
    e
}

fn text(rng: &mut Rng) -> String {
    rng.pick(&[
        "a",
        "",
        "GET",
        "orders",
        "Orders-DB",
        "a*b",
        "a\\b",
        "50%",
        "a_b",
        "Straße",
        "ſ",
        "K",
        "ΣΑΣ",
        "line\nbreak",
        "q\"uote",
        "it's",
        "x y",
        "(p)",
        "/v1/orders/7",
        "-5",
        "007",
        "500",
        "none",
        "spiffe://a/b",
        "404",
        "10.0.0.1",
        "ü",
        "\u{202e}rtl",
        "[x]",
        "{id}",
        "a.b",
        "OR",
        "NOT",
    ])
    .to_owned()
}
fn set(rng: &mut Rng) -> Vec<String> {
    let mut all: Vec<String> = (0..rng.below(4)).map(|_| text(rng)).filter(|t| !t.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}
fn some<T>(rng: &mut Rng, percent: u64, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.chance(percent).then(|| make(rng))
}
fn endpoint(rng: &mut Rng) -> Endpoint {
    Endpoint {
        ip: some(rng, 70, |r| {
            if r.chance(80) {
                IpAddr::V4(Ipv4Addr::new(10, r.below(3) as u8, 0, r.below(3) as u8))
            } else {
                IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, r.below(5) as u16))
            }
        }),
        port: some(rng, 60, |r| r.below(70) as u16),
        host: text(rng),
        workload: if rng.chance(50) { text(rng) } else { String::new() },
        ns: if rng.chance(20) { text(rng) } else { String::new() },
        zone: if rng.chance(10) { text(rng) } else { String::new() },
        ..Endpoint::default()
    }
}
fn principal(rng: &mut Rng) -> Principal {
    let mut p = Principal::new(text(rng), Verified::from_code(1 + rng.below(4)).unwrap_or(Verified::Claimed));
    p.kind = some(rng, 50, |r| PrincipalKind::from_code(1 + r.below(12)).unwrap_or(PrincipalKind::Service));
    p.auth = some(rng, 50, |r| r.pick(Auth::ALL));
    p.iss = text(rng);
    p.cred = text(rng);
    p.name = text(rng);
    p.groups = if rng.chance(10) { set(rng) } else { Vec::new() };
    p
}

/// An event with anything in it that the format allows, odd numbers and unknown keys included.
pub fn wild(rng: &mut Rng, seq: u64) -> Event {
    let mut e = Event::default();
    e.core = Core {
        agent: rng.pick(&["input:a", "spiffe://example.org/gw"]).into(),
        stream: rng.pick(&[STREAM, [3; 16]]),
        seq,
        t_obs: if rng.chance(3) { u64::MAX } else { T0 + rng.below(1_000) * 1_000_000 },
        t_event: some(rng, 70, |r| if r.chance(5) { -1 } else { (T0 + r.below(1_000) * 1_000_000) as i64 }),
        t_basis: some(rng, 50, |r| r.pick(TimeBasis::ALL)),
        skew: some(rng, 10, |r| (-5, r.below(100))),
        dur: some(rng, 70, |r| r.pick(&[0, 1, 250_000_000, 250_000_001, 1 << 40, u64::MAX])),
        rec: some(rng, 90, |r| r.pick(Rec::ALL)),
        kind: some(rng, 90, |r| Kind::from_code(1 + r.below(25)).unwrap_or(Kind::Http)),
        proto: text(rng),
        op: text(rng),
        class: some(rng, 70, |r| r.pick(Class::ALL)),
        outcome: some(rng, 80, |r| Outcome::from_code(1 + r.below(8)).unwrap_or(Outcome::Success)),
        status: some(rng, 70, |r| {
            (
                r.pick(StatusSpace::ALL),
                r.pick(&["200", "404", "500", "599", "-1", "42P01", "", "0x1", "007"]).to_owned(),
            )
        }),
        labels: set(rng),
        tenant: text(rng),
        n: some(rng, 20, |r| 2 + r.below(50)),
        lat: some(rng, 20, |r| [r.below(9), r.below(9), r.below(9)]),
        config: some(rng, 20, |r| r.bytes()),
        route: text(rng),
        ..Core::default()
    };
    e.core.decision = some(rng, 30, |r| Decision {
        verdict: some(r, 60, |r| r.pick(Verdict::ALL)),
        policies: set(r),
        reason: text(r),
        ..Decision::default()
    })
    .map(Box::new);
    if e.core.decision.as_ref().is_some_and(|d| **d == Decision::default()) {
        e.core.decision = None;
    }
    e.core.eid = if rng.chance(30) { rng.bytes() } else { eid(&e.core.agent, &e.core.stream, seq) };
    if rng.chance(5) {
        e.core.other = vec![(40, Value::Uint(5))].into();
    }
    e.who.who = some(rng, 80, principal);
    e.who.obo = (0..if rng.chance(20) { 1 + rng.below(3) } else { 0 }).map(|_| principal(rng)).collect();
    e.peer.src = some(rng, 70, endpoint);
    e.peer.dst = some(rng, 70, endpoint);
    e.peer.tls = some(rng, 40, |r| Tls {
        version: some(r, 80, |r| r.pick(&[0x0303, 0x0304, 0x0300, 7])),
        cipher: some(r, 50, |r| r.below(5)),
        sni: text(r),
        ..Tls::default()
    });
    e.peer.transport = some(rng, 50, |r| r.pick(Transport::ALL));
    e.peer.hops =
        (0..rng.below(3)).map(|_| (text(rng), Verified::Claimed)).filter(|(t, _)| !t.is_empty()).collect();
    *e.target = Target {
        svc: text(rng),
        res: text(rng),
        raw: text(rng),
        rtype: text(rng),
        id: text(rng),
        ns: text(rng),
        ..Target::default()
    };
    e.target.tags = if rng.chance(10) { set(rng) } else { Vec::new() };
    e.links.trace = some(rng, 60, |r| r.pick(&[[1; 16], [2; 16], [0xab; 16]]));
    e.links.span = some(rng, 50, |r| r.bytes());
    e.links.corr = text(rng);
    e.links.sess = text(rng);
    e.links.conn_seq = some(rng, 40, |r| r.below(5));
    e.content.stmt = text(rng);
    e.content.err = text(rng);
    e.content.headers = (0..rng.below(3))
        .map(|_| ("user-agent".to_owned(), text(rng)))
        .filter(|(_, v)| !v.is_empty())
        .collect();
    if rng.chance(30) {
        e.content.detail.insert(rng.below(3), Value::Text("wss".into()));
        e.content.detail.insert(3, Value::Uint(rng.below(4)));
    }
    if rng.chance(20) {
        let token = rng.pick(&["\"x\"", "1.50", "null", "{}"]).to_owned();
        e.content.unmapped.insert("/foo".into(), Unmapped::Token(token));
        e.content.unmapped.insert("/a/b c".into(), Unmapped::Bytes(vec![1, 2]));
    }
    e.body.req = some(rng, 50, |r| Payload {
        size: some(r, 70, |r| r.pick(&[0, 1024, 10_240, u64::MAX])),
        digest: some(r, 40, |_| [5; 32]),
        alg: Some(DigestAlg::HmacSha256),
        messages: some(r, 10, |r| r.below(9)),
        ..Payload::default()
    });
    e.body.rsp = some(rng, 50, |r| Payload {
        size: Some(r.below(3)),
        truncated: some(r, 30, |r| r.chance(50)),
        ..Payload::default()
    });
    e.body.cap = some(rng, 40, |r| Capture {
        mode: some(r, 70, |r| r.pick(CaptureMode::ALL)),
        conf: some(r, 70, |r| r.pick(CaptureConf::ALL)),
        fmt: text(r),
        ..Capture::default()
    })
    .map(Shared::from);
    e
}
