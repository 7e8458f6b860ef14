//! One call, and the event that an observer writes of it.

use super::credential::{Shown, account, by_account, shown};
use super::rng::Rng;
use super::topology::{Edge, Op, Service, Shape, Tier, What, namespace};
use super::world::World;
use super::{HOUR, observer};
use countersign_event::{
    Capture, CaptureConf, CaptureMode, Endpoint, Event, Kind, LinkVia, Outcome, Payload, Rec, Shared,
    StatusSpace, TimeBasis, Tls, Transport, Verified, Who,
};
use std::net::IpAddr;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fine,
    NotFound,
    Forbidden,
    Throttled,
    Broken,
    Unavailable,
    Timeout,
}

/// One call before it is written down.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) edge: usize,
    pub(super) op: usize,
    /// Number of the caller's instance, and of the callee's.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Start, UTC ns, and time taken, ns.
    pub(super) at: u64,
    pub(super) dur: u64,
    pub(super) object: u64,
    pub(super) end: End,
    pub(super) req: u64,
    pub(super) rsp: u64,
    pub(super) corr: [u8; 16],
    pub(super) label: Option<usize>,
}

/// A thing that an observer is about to record.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// When it was over, true UTC ns: the observer sees it then.
    pub(super) seen: u64,
    pub(super) agent: usize,
    pub(super) event: Event,
    pub(super) label: Option<usize>,
}

impl World {
    /// A usual call on `edge` at `at`; `None` where caller or callee has no instance alive.
    pub(super) fn call(&self, edge: usize, at: u64, rng: &mut Rng) -> Option<Call> {
        let here = &self.edges[edge];
        let op = rng.weighted(here.ops.iter().map(|op| op.weight));
        self.call_op(edge, op, at, rng)
    }

    /// A usual call of one operation.
    pub(super) fn call_op(&self, edge: usize, op: usize, at: u64, rng: &mut Rng) -> Option<Call> {
        let here = &self.edges[edge];
        let (callers, callees) = (self.services[here.caller].at(at), self.services[here.callee].at(at));
        let from = *callers.get(rng.index(callers.len()))?;
        let to = *callees.get(rng.index(callees.len()))?;
        let kind = &here.ops[op];
        // Few objects are asked for often, many seldom.
        let popular = rng.unit();
        let object = (kind.objects as f64 * popular * popular * popular) as u64;
        let size = |median: f64, rng: &mut Rng| {
            if median < 1.0 { 0 } else { rng.lognormal(median, 0.5) as u64 + 1 }
        };
        let (req, rsp) = (size(kind.req, rng), size(kind.rsp, rng));
        let mut call = Call {
            edge,
            op,
            from,
            to,
            at,
            dur: 0,
            object,
            end: End::Fine,
            req,
            rsp,
            corr: rng.bytes(),
            label: None,
        };
        self.fare(&mut call, rng);
        Some(call)
    }

    /// How long the call takes and how it ends, with what is going on at its time.
    pub(super) fn fare(&self, call: &mut Call, rng: &mut Rng) {
        let edge = &self.edges[call.edge];
        // Who is busy is a little slower.
        let (mut slow, mut errors) = (0.9 + 0.1 * edge.rhythm.at(call.at), edge.errors);
        for effect in &edge.effects {
            let share = effect.share(call.at);
            if share <= 0.0 {
                continue;
            }
            match effect.what {
                What::Keep(_) => {}
                What::Latency(factor) => slow *= 1.0 + (factor - 1.0) * share,
                What::Errors(more) => errors += more * share,
            }
            call.label = call.label.or(effect.label);
        }
        call.end = if rng.chance(errors) {
            [End::Unavailable, End::Broken, End::Unavailable, End::Timeout][rng.index(4)]
        } else if edge.ops[call.op].objects > 0 && rng.chance(0.004) {
            if rng.chance(0.1) { End::Forbidden } else { End::NotFound }
        } else {
            End::Fine
        };
        slow *= self.services[edge.callee].pace_at(call.at) * edge.ops[call.op].slow;
        call.dur = match call.end {
            End::Timeout => 5_000_000_000,
            End::Fine => rng.lognormal(edge.median * slow, edge.sigma) as u64,
            _ => rng.lognormal(edge.median * slow * 0.6, edge.sigma) as u64,
        }
        .max(50_000);
        if call.end != End::Fine {
            call.rsp = call.rsp.min(180);
        }
    }

    /// What the call's caller shows.
    pub(super) fn shown(&self, call: &Call, rng: &mut Rng) -> Shown {
        let edge = &self.edges[call.edge];
        let caller = &self.services[edge.caller];
        if by_account(edge, caller) {
            let pod = caller.instances.get(call.from).map_or("", |instance| instance.pod.as_str());
            return account(caller, &self.services[edge.callee], pod);
        }
        shown(self.seed, (caller, (edge.caller, call.from)), call.at, rng)
    }

    /// The record of a call, complete but for what its observer adds.
    pub(super) fn draft(&self, call: &Call, rng: &mut Rng) -> Draft {
        let shown = self.shown(call, rng);
        self.draft_as(call, shown, rng)
    }

    /// The record of a call by somebody.
    pub(super) fn draft_as(&self, call: &Call, mut shown: Shown, rng: &mut Rng) -> Draft {
        let edge = &self.edges[call.edge];
        if observer::is_import(edge.agent) {
            // Whatever a record from elsewhere says of its own checks, nobody here has done them.
            shown.who.verified = shown.who.verified.min(Verified::Asserted);
        }
        let (caller, callee) = (&self.services[edge.caller], &self.services[edge.callee]);
        let mut event = Event::default();
        let (kind, proto) = match edge.shape {
            Shape::Http => (Kind::Http, "http/1.1"),
            Shape::Grpc => (Kind::Grpc, "grpc"),
            Shape::Sql => (Kind::Sql, "postgresql/3.0"),
            Shape::Kv => (Kind::Kv, "redis/3"),
        };
        let op = &edge.ops[call.op];
        let core = &mut event.core;
        core.t_event = Some(call.at as i64);
        core.t_basis = Some(TimeBasis::Measured);
        core.dur = Some(call.dur);
        core.rec = Some(Rec::Interaction);
        core.kind = Some(kind);
        core.proto = proto.to_owned();
        core.op.clone_from(&op.verb);
        core.class = Some(op.class);
        (core.outcome, core.status) = ending(call.end, edge.shape);
        core.lat = Some([call.dur / 50, call.dur / 10 * 8, call.dur / 50 * 49]);
        core.config = Some(*b"\x5c\x01\x9e\x44\x10\x7a\x33\x02");
        core.route.clone_from(&callee.name);
        aim(&mut event, callee, op, call.object, edge.shape);
        event.links.corr = countersign_event::json::hex(&call.corr);
        event.links.trace = Some(rng.bytes());
        event.links.via = Some(LinkVia::Traceparent);
        let hour = call.at / HOUR;
        event.links.conn = Some(
            Rng::of(self.seed, "connection", (call.edge as u64) << 40 ^ (call.from as u64) << 24 ^ hour)
                .bytes(),
        );
        event.peer = self.peer(edge, call, caller, callee, shown.cert).into();
        event.who = Shared::from(Who { who: Some(shown.who), ..Who::default() });
        let payload = |size: u64| Payload { size: Some(size), ..Payload::default() };
        event.body.req = (call.req > 0).then(|| payload(call.req));
        event.body.rsp = Some(payload(call.rsp));
        event.body.cap = Some(self.captures[usize::from(observer::is_import(edge.agent))].clone());
        Draft { seen: call.at + call.dur, agent: edge.agent, event, label: call.label }
    }

    fn peer(
        &self,
        edge: &Edge,
        call: &Call,
        caller: &Service,
        callee: &Service,
        cert: Option<[u8; 32]>,
    ) -> countersign_event::Peer {
        let port = 32_768 + (call.from as u64 * 7 + call.at / HOUR * 13) % 28_000;
        let mut src = Endpoint { port: Some(port as u16), ..Endpoint::default() };
        if let Some(instance) = caller.instances.get(call.from) {
            let moved = caller.nat_moves.iter().rev().find(|(from, _)| *from <= call.at).map(|(_, ip)| *ip);
            src.ip = Some(moved.or(caller.nat).unwrap_or(instance.ip));
            if caller.tier != Tier::Partner {
                src.workload.clone_from(&instance.pod);
                namespace(caller.tier).clone_into(&mut src.ns);
                src.node.clone_from(&instance.node);
                instance.zone.clone_into(&mut src.zone);
            }
        }
        let dst = Endpoint {
            ip: Some(callee.address),
            port: Some(callee.port),
            host: callee.name.clone(),
            ..Endpoint::default()
        };
        let up = callee.instances.get(call.to).filter(|_| callee.tier != Tier::Outside).map(|instance| {
            Endpoint { ip: Some(instance.ip), port: Some(callee.port), ..Endpoint::default() }
        });
        let tls = edge.tls.map(|version| Tls {
            version: Some(version),
            cipher: Some(if version == 0x0304 { 0x1301 } else { 0xc02f }),
            sni: callee.name.clone(),
            alpn: if edge.shape == Shape::Grpc { "h2" } else { "http/1.1" }.to_owned(),
            peer_cert: cert,
            ..Tls::default()
        });
        let transport = Some(Transport::Tcp);
        countersign_event::Peer { src: Some(src), dst: Some(dst), up, transport, tls, ..Default::default() }
    }
}

/// Fills in what was called.
fn aim(event: &mut Event, callee: &Service, op: &Op, object: u64, shape: Shape) {
    let target = &mut *event.target;
    target.svc.clone_from(&callee.name);
    target.res.clone_from(&op.res);
    if op.objects > 0 {
        target.id = (100_000 + object).to_string();
    }
    match shape {
        Shape::Http => {
            target.raw = if op.objects > 0 { op.res.replace("{id}", &target.id) } else { op.res.clone() };
        }
        Shape::Grpc => target.raw.clone_from(&op.res),
        Shape::Sql => {
            "table".clone_into(&mut target.rtype);
            target.ns = callee.name.replace('-', "_");
            event.content.stmt = match op.verb.as_str() {
                "INSERT" => format!("INSERT INTO {} VALUES (?, ?, ?)", op.res),
                "UPDATE" => format!("UPDATE {} SET state = ? WHERE id = ?", op.res),
                "SELECT" => format!("SELECT * FROM {} WHERE id = ?", op.res),
                verb => format!("{verb} {}", op.res),
            };
        }
        Shape::Kv => {
            "key".clone_into(&mut target.rtype);
            "0".clone_into(&mut target.ns);
        }
    }
}

/// Outcome and native status.
pub(super) fn ending(end: End, shape: Shape) -> (Option<Outcome>, Option<(StatusSpace, String)>) {
    let outcome = match end {
        End::Fine => Outcome::Success,
        End::NotFound | End::Throttled => Outcome::CallerError,
        End::Forbidden => Outcome::Denied,
        End::Broken | End::Unavailable => Outcome::ServerError,
        End::Timeout => Outcome::Timeout,
    };
    let index = [
        End::Fine,
        End::NotFound,
        End::Forbidden,
        End::Throttled,
        End::Broken,
        End::Unavailable,
        End::Timeout,
    ];
    let index = index.iter().position(|e| *e == end).unwrap_or(0);
    let status = match shape {
        Shape::Http => Some((StatusSpace::Http, ["200", "404", "403", "429", "500", "503", "504"][index])),
        Shape::Grpc => Some((StatusSpace::Grpc, ["0", "5", "7", "8", "13", "14", "4"][index])),
        Shape::Sql if index > 0 => {
            Some((StatusSpace::Sqlstate, ["", "02000", "42501", "53300", "XX000", "57P03", "57014"][index]))
        }
        Shape::Kv if index > 0 => {
            Some((StatusSpace::Redis, ["", "ERR", "NOPERM", "BUSY", "ERR", "LOADING", "ERR"][index]))
        }
        _ => None,
    };
    (Some(outcome), status.map(|(space, code)| (space, code.to_owned())))
}

/// How our own gateways capture, and how the mesh's log is received.
pub(super) fn captures() -> [Shared<Capture>; 2] {
    let cap = |mode, fmt: &str, parser: &str| Capture {
        mode: Some(mode),
        fmt: fmt.to_owned(),
        parser: parser.to_owned(),
        conf: Some(CaptureConf::Full),
        ..Capture::default()
    };
    let mut mesh = cap(CaptureMode::Push, "envoy-als", "envoy-als@1");
    mesh.level = Some(Verified::Asserted);
    [cap(CaptureMode::Inline, "", "gateway@0.1.0").into(), mesh.into()]
}

/// Sets where a record's caller is.
pub(super) fn set_source(event: &mut Event, ip: IpAddr, workload: &str, place: Option<(&str, &str)>) {
    if let Some(src) = &mut event.peer.src {
        src.ip = Some(ip);
        workload.clone_into(&mut src.workload);
        let (node, zone) = place.unwrap_or_default();
        node.clone_into(&mut src.node);
        zone.clone_into(&mut src.zone);
        if workload.is_empty() {
            src.ns.clear();
        }
    }
}
