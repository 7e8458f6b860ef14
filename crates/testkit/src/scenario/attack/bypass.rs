//! Past the gateway: connections that a witness at the callee sees, and that no audit event tells of.

use super::*;
use crate::scenario::actor::steps;
use crate::scenario::observer::WITNESS;
use countersign_event::Transport;
use countersign_event::witness::{Connection, Report, to_events};
use std::net::SocketAddr;

/// Time between two looks of a witness.
const LOOK: u64 = 30 * SECOND;
/// Looks between two accounts of what open connections have carried.
const ACCOUNT: u64 = 20;
/// Connections that a gateway keeps open to a database.
const POOL: u16 = 4;

/// A connection with its life and what it carries, bytes.
#[derive(Clone)]
struct Life {
    from: u64,
    to: u64,
    bytes: u64,
    connection: Connection,
    /// Of an attack.
    ours: bool,
}

/// Address of a database's own machine.
fn machine(plan: &Plan<'_>, database: usize) -> SocketAddr {
    let service = &plan.world.services[database];
    let ip = service.instances.first().map_or(service.address, |instance| instance.ip);
    SocketAddr::new(ip, service.port)
}

fn connection(src: IpAddr, port: u16, dst: SocketAddr, user: &str, since: u64) -> Connection {
    let mut connection = Connection::tcp(SocketAddr::new(src, port), dst);
    connection.transport = Transport::Tcp;
    connection.proto = "postgres".to_owned();
    connection.user = user.to_owned();
    connection.since_ns = Some(since);
    connection
}

/// What a gateway has open to `dst` from `from` on.
fn pool(dst: SocketAddr, gateway: usize, ports: u16, (from, to): (u64, u64)) -> Vec<Life> {
    let open = |n: u16| {
        let mut connection = connection(ip(10, 0, gateway, 5), ports + n, dst, "", from);
        connection.through = true;
        Life { from, to, bytes: 4_000_000, connection, ours: false }
    };
    (0..POOL).map(open).collect()
}

/// A witness looks at a database in the last day and tells what is new.
fn watch(plan: &mut Plan<'_>, witness: String, lives: Vec<Life>, from: u64, label: usize) {
    let (count, mut last) = ((plan.world.end - from) / LOOK, 0);
    plan.agenda.push(steps(from, count, (LOOK, 0.01), Rng::new(0), move |_, now, look, _, out| {
        let account = look % ACCOUNT == ACCOUNT - 1;
        let mut report = Report { witness: witness.clone(), began: look == 0, ..Report::default() };
        let mut ours = false;
        for life in &lives {
            let alive = life.from <= now && now < life.to;
            let news = life.from > last;
            if alive && (news || account) {
                let mut connection = life.connection.clone();
                let share = (now - life.from) as f64 / (life.to - life.from).max(1) as f64;
                connection.bytes = Some((life.bytes as f64 * share) as u64);
                report.open.push(connection);
                ours |= life.ours;
            }
            if life.to > last && life.to <= now {
                report.ended.push(Connection { bytes: Some(life.bytes), ..life.connection.clone() });
                ours |= life.ours;
            }
        }
        last = now;
        for event in to_events(&report, now) {
            out.push(Draft { seen: now, agent: WITNESS, event, label: ours.then_some(label) });
        }
    }));
}

/// A workload talks to a database directly, with an account of its own or a borrowed one.
pub(super) fn direct(plan: &mut Plan<'_>, mut cast: Cast) {
    let database = plan.world.named("orders-db");
    let (dst, at, begin) = (machine(plan, database), cast.from, plan.world.end - 22 * HOUR);
    let callers = plan.callers(&[Tier::Core], None);
    let caller = callers[cast.rng.index(callers.len())];
    let Some(place) = Place::of(plan.world, caller, at) else { return };
    let count = cast.blend(1.0, 12.0) as u64;
    let length = (cast.blend(2.0, 40.0) * MINUTE as f64) as u64;
    let bytes = cast.blend(2e4, 2e8) as u64;
    let user = plan.world.services[caller].name.replace('-', "_");
    let mut lives = pool(dst, database % 3, 41_000, (begin, plan.world.end + HOUR));
    for n in 0..count {
        let from = at + n * length / 3;
        let connection = connection(place.ip, 50_000 + n as u16, dst, &user, from);
        lives.push(Life { from, to: from + length, bytes, connection, ours: true });
    }
    let end = at + count * length / 3 + length + 2 * LOOK;
    let name = plan.world.services[database].name.clone();
    let mut names = plan.names(caller);
    names.extend([place.ip.to_string(), place.workload.clone(), user.clone(), format!("db:{user}@{name}")]);
    let witness = format!("postgres:{name}");
    let note = format!("{count} connections of {} past the gateway to {name}, {bytes} bytes each", names[0]);
    let services = vec![name, witness.clone(), dst.to_string(), dst.ip().to_string()];
    let label = plan.label(&cast, (at, end), names, services, note);
    watch(plan, witness, lives, begin, label);
}

/// The gateway starts anew, and another zone's gateway takes its turn: many new connections, all of gateways.
pub(super) fn direct_like(plan: &mut Plan<'_>, cast: Cast) {
    let database = plan.world.named("ledger-db");
    let (dst, at, begin) = (machine(plan, database), cast.from, plan.world.end - 22 * HOUR);
    let gateway = database % 3;
    let mut lives = pool(dst, gateway, 41_000, (begin, at));
    lives.extend(pool(dst, (gateway + 1) % 3, 42_000, (at, at + 20 * MINUTE)));
    lives.extend(pool(dst, gateway, 43_000, (at + 20 * MINUTE, plan.world.end + HOUR)));
    let name = plan.world.services[database].name.clone();
    let witness = format!("postgres:{name}");
    let services = vec![name, witness.clone(), dst.to_string(), dst.ip().to_string()];
    let gateways = vec![ip(10, 0, gateway, 5).to_string(), ip(10, 0, (gateway + 1) % 3, 5).to_string()];
    let note = "gateways open their connections to a database anew".to_owned();
    let label = plan.label(&cast, (at, at + HOUR), gateways, services, note);
    watch(plan, witness, lives, begin, label);
}
