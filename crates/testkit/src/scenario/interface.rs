//! What services offer, and which of it a caller uses.

use super::rng::Rng;
use super::topology::{Op, Service, Shape, Tier};
use countersign_event::Class;

fn op(
    verb: &str,
    res: String,
    class: Class,
    objects: u64,
    (weight, req, rsp, slow): (f64, f64, f64, f64),
) -> Op {
    Op { verb: verb.to_owned(), res, class, objects, weight, req, rsp, slow }
}

/// The protocol of a callee, and the operations that a caller of it uses.
pub(super) fn interface(callee: &Service, rng: &mut Rng) -> (Shape, Vec<Op>) {
    let noun = callee.noun;
    let objects = 30 + rng.below(400);
    let (shape, mut ops) = match callee.tier {
        Tier::Sql => (
            Shape::Sql,
            vec![
                op("SELECT", noun.to_owned(), Class::Read, 0, (6.0, 180.0, 2400.0, 1.0)),
                op("INSERT", noun.to_owned(), Class::Create, 0, (2.0, 420.0, 20.0, 1.4)),
                op("UPDATE", noun.to_owned(), Class::Modify, 0, (1.5, 320.0, 20.0, 1.5)),
            ],
        ),
        Tier::Kv => (
            Shape::Kv,
            vec![
                op("GET", format!("{noun}:*"), Class::Read, objects, (8.0, 40.0, 600.0, 1.0)),
                op("SET", format!("{noun}:*"), Class::Modify, objects, (2.0, 640.0, 5.0, 1.0)),
            ],
        ),
        Tier::Outside => (
            Shape::Http,
            vec![op("POST", format!("/{noun}/submit"), Class::Create, 0, (1.0, 900.0, 350.0, 1.0))],
        ),
        Tier::Core if rng.chance(0.25) => {
            let method = |m: &str| format!("/prod.{}.v1.Api/{m}", callee.name.replace('-', "_"));
            let call = |m: &str, w| op(m, method(m), Class::Execute, 0, (w, 240.0, 900.0, 1.0));
            (Shape::Grpc, vec![call("Get", 6.0), call("List", 2.0), call("Update", 1.0)])
        }
        _ => (
            Shape::Http,
            vec![
                op("GET", format!("/{noun}/{{id}}"), Class::Read, objects, (6.0, 0.0, 1800.0, 1.0)),
                op("GET", format!("/{noun}"), Class::Read, 0, (1.5, 0.0, 9000.0, 1.8)),
                op("POST", format!("/{noun}"), Class::Create, 0, (1.5, 1100.0, 400.0, 1.6)),
                op("PUT", format!("/{noun}/{{id}}"), Class::Modify, objects, (1.0, 900.0, 200.0, 1.5)),
            ],
        ),
    };
    // A caller uses some of what there is, each with a weight of its own; always the first.
    let kept: Vec<bool> = ops.iter().enumerate().map(|(n, _)| n == 0 || rng.chance(0.6)).collect();
    let mut kept = kept.into_iter();
    ops.retain(|_| kept.next().unwrap_or(true));
    for op in &mut ops {
        op.weight *= rng.range(0.5, 1.5);
        op.req *= rng.lognormal(1.0, 0.3);
        op.rsp *= rng.lognormal(1.0, 0.4);
    }
    (shape, ops)
}
