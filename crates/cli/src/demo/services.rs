//! What the demo's services do: a small shop. Each answers on its own socket and calls the next ones
//! through the gateway, under its own identity and in the trace of the request it serves.

use super::network::{NO_ANSWER, Network, Trace};
use super::server::{Handler, Incoming, Reply};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The services: a name, and how long the work of one takes, microseconds.
pub(super) const SERVICES: [(&str, u64, u64); 7] = [
    ("storefront", 100, 600),
    ("orders", 300, 1_800),
    ("payments", 1_500, 5_000),
    ("inventory", 100, 700),
    ("shipping", 200, 900),
    ("carrier", 2_000, 8_000),
    ("customers", 200, 1_200),
];

/// Orders that exist when the shop opens.
pub(super) const FIRST_ORDERS: u64 = 40;
/// Most orders at a time; the oldest are forgotten.
const ORDERS_MAX: usize = 10_000;
/// Customers in an export.
const EXPORT_ROWS: usize = 200;

/// One service's code.
struct Service {
    name: &'static str,
    work_us: (u64, u64),
    network: Arc<Network>,
    /// Used by `orders` alone.
    orders: Mutex<BTreeSet<u64>>,
}

/// The code of the service called `name`.
pub(super) fn handler(name: &'static str, work_us: (u64, u64), network: Arc<Network>) -> Handler {
    let orders = Mutex::new((1..=FIRST_ORDERS).collect());
    let service = Service { name, work_us, network, orders };
    Arc::new(move |request| service.answer(request))
}

impl Service {
    fn answer(&self, request: &Incoming) -> Reply {
        thread::sleep(Duration::from_micros(self.network.range(self.work_us.0, self.work_us.1)));
        let path = request.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let trace = Trace::of(request.head.get("traceparent")).unwrap_or_else(|| self.network.trace());
        let at = (request.method.as_str(), parts.as_slice());
        let reply = match self.name {
            "storefront" => self.storefront(at, &trace),
            "orders" => self.orders(at, &trace),
            "payments" => payments(at),
            "inventory" => inventory(at),
            "shipping" => self.shipping(at, &trace),
            "carrier" => self.carrier(at),
            "customers" => customers(at),
            _ => None,
        };
        reply.unwrap_or_else(|| Reply::new(404, r#"{"error":"there is nothing here"}"#))
    }

    /// Calls the next service; an unanswered call counts as 502.
    fn ask(&self, trace: &Trace, door: &str, call: (&str, &str, &str)) -> u16 {
        match self.network.call(self.name, door, trace, call) {
            NO_ANSWER => 502,
            status => status,
        }
    }

    fn storefront(&self, at: (&str, &[&str]), trace: &Trace) -> Option<Reply> {
        let read = |door: &str, path: String| self.ask(trace, door, ("GET", &path, ""));
        let status = match at {
            ("GET", ["products", sku]) => read("inventory", format!("/v1/stock/{sku}")),
            ("GET", ["account", id]) => read("customers", format!("/v1/customers/{id}")),
            ("GET", ["orders", id]) => read("orders", format!("/v1/orders/{id}")),
            ("POST", ["checkout"]) => self.ask(trace, "orders", ("POST", "/v1/orders", r#"{"items":2}"#)),
            _ => return None,
        };
        Some(match status {
            200..=299 => Reply::new(status, r#"{"page":"shop"}"#),
            _ => Reply::new(status, r#"{"error":"something behind the shop did not work"}"#),
        })
    }

    fn orders(&self, at: (&str, &[&str]), trace: &Trace) -> Option<Reply> {
        match at {
            ("GET", ["v1", "orders"]) => {
                let open = self.orders.lock().unwrap_or_else(PoisonError::into_inner).len();
                Some(Reply::new(200, format!(r#"{{"open":{open}}}"#)))
            }
            ("POST", ["v1", "orders"]) => Some(self.place_order(trace)),
            (method @ ("GET" | "DELETE"), ["v1", "orders", id]) => {
                let id: u64 = id.parse().ok()?;
                let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                let known = if method == "DELETE" { orders.remove(&id) } else { orders.contains(&id) };
                known.then(|| match method {
                    "DELETE" => Reply::new(204, ""),
                    _ => Reply::new(200, format!(r#"{{"order":{id},"state":"open"}}"#)),
                })
            }
            _ => None,
        }
    }

    /// Stock, money and a parcel; the order stands only when all three do.
    fn place_order(&self, trace: &Trace) -> Reply {
        let steps = [
            ("inventory", "/v1/reservations", r#"{"sku":204,"n":2}"#),
            ("payments", "/v1/charges", r#"{"amount":"42.00","currency":"EUR"}"#),
            ("shipping", "/v1/parcels", r#"{"weight_g":900}"#),
        ];
        for (door, path, body) in steps {
            if self.ask(trace, door, ("POST", path, body)) != 201 {
                return Reply::new(503, format!(r#"{{"error":"{door} did not answer as it should"}}"#));
            }
        }
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let id = orders.last().copied().unwrap_or(FIRST_ORDERS) + 1;
        orders.insert(id);
        if orders.len() > ORDERS_MAX {
            orders.pop_first();
        }
        Reply::new(201, format!(r#"{{"order":{id}}}"#))
    }

    fn shipping(&self, at: (&str, &[&str]), trace: &Trace) -> Option<Reply> {
        let ("POST", ["v1", "parcels"]) = at else { return None };
        let label = self.ask(trace, "carrier", ("POST", "/v1/labels", r#"{"format":"a6"}"#));
        Some(match label {
            201 => Reply::new(201, r#"{"parcel":"on its way"}"#),
            _ => Reply::new(503, r#"{"error":"the carrier gave no label"}"#),
        })
    }

    fn carrier(&self, at: (&str, &[&str])) -> Option<Reply> {
        let ("POST", ["v1", "labels"]) = at else { return None };
        if self.network.carrier_down.load(Ordering::Relaxed) {
            return Some(Reply::new(503, r#"{"error":"down for maintenance"}"#));
        }
        Some(Reply::new(201, r#"{"label":"printed"}"#))
    }
}

fn payments(at: (&str, &[&str])) -> Option<Reply> {
    Some(match at {
        ("POST", ["v1", "charges" | "refunds"]) => Reply::new(201, r#"{"state":"settled"}"#),
        ("GET", ["v1", "charges"]) => Reply::new(200, r#"{"charges":[]}"#),
        ("GET", ["v1", "charges", _]) => Reply::new(200, r#"{"state":"settled"}"#),
        ("GET", ["v1", "cards", _]) => {
            Reply::new(403, r#"{"error":"card numbers never leave this service"}"#)
        }
        _ => return None,
    })
}

fn inventory(at: (&str, &[&str])) -> Option<Reply> {
    Some(match at {
        ("GET", ["v1", "stock", _]) => Reply::new(200, r#"{"in_stock":12}"#),
        ("PUT", ["v1", "stock", _]) => Reply::new(204, ""),
        ("POST", ["v1", "reservations"]) => Reply::new(201, r#"{"reserved":2}"#),
        _ => return None,
    })
}

fn customers(at: (&str, &[&str])) -> Option<Reply> {
    Some(match at {
        ("GET", ["v1", "customers", "export"]) => {
            let rows = vec![r#"{"customer":"a made-up name","city":"nowhere"}"#; EXPORT_ROWS];
            Reply::new(200, format!("[{}]", rows.join(",")))
        }
        ("GET", ["v1", "customers", _]) => Reply::new(200, r#"{"customer":"a made-up name"}"#),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::random::Random;
    use crate::demo::wire::Head;
    use std::collections::HashMap;

    fn ask(handler: &Handler, method: &str, path: &str) -> u16 {
        let (method, path) = (method.to_owned(), path.to_owned());
        handler(&Incoming { method, path, head: Head::default(), body: Vec::new() }).status
    }

    #[test]
    fn an_order_is_deleted_once_and_card_numbers_are_refused() {
        let network = Arc::new(Network::new(HashMap::new(), Random::new(7, 0)));
        let orders = handler("orders", (0, 0), Arc::clone(&network));
        assert_eq!(ask(&orders, "GET", "/v1/orders/17?x=1"), 200);
        assert_eq!(ask(&orders, "DELETE", "/v1/orders/17"), 204);
        assert_eq!(ask(&orders, "DELETE", "/v1/orders/17"), 404);
        assert_eq!(ask(&orders, "POST", "/v1/orders"), 503, "nobody answers behind it");
        let payments = handler("payments", (0, 0), Arc::clone(&network));
        assert_eq!(ask(&payments, "GET", "/v1/cards/9"), 403);
        let carrier = handler("carrier", (0, 0), Arc::clone(&network));
        assert_eq!(ask(&carrier, "POST", "/v1/labels"), 201);
        network.carrier_down.store(true, Ordering::Relaxed);
        assert_eq!(ask(&carrier, "POST", "/v1/labels"), 503);
        assert_eq!(ask(&carrier, "GET", "/"), 404);
    }
}
