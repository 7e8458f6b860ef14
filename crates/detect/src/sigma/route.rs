//! From a rule's log source to the events it is about.
//!
//! `product: countersign` with `category:` a kind of event is our own; besides it the log sources of the rules
//! that the field shares. Findings reach only rules that ask for them, so that rules do not feed on themselves.

use super::ast::LogSource;
use countersign_event::{Event, Kind, Rec};

/// Which events a log source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Everything but findings and the platform's own records.
    Every,
    /// Events of these kinds.
    Kinds(&'static [Kind]),
    /// Events read from a format whose name begins so.
    Format(&'static str),
    /// Findings.
    Findings,
    /// The platform's own records.
    Platform,
    /// No event has this log source.
    Nothing,
}

impl Route {
    pub(crate) fn of(logsource: &LogSource) -> Route {
        let LogSource { product, category, service } = logsource;
        match (product.as_str(), category.as_str(), service.as_str()) {
            ("countersign" | "", "finding", "") => Route::Findings,
            ("countersign", "platform", "") => Route::Platform,
            ("countersign" | "", "", "") => Route::Every,
            ("countersign", kind, "") => by_kind(kind),
            ("kubernetes", _, "audit" | "") => Route::Kinds(&[Kind::K8sApi]),
            ("aws", _, "cloudtrail") => Route::Format("cloudtrail"),
            ("gcp", _, "gcp.audit" | "") => Route::Format("gcp-audit"),
            ("azure", _, _) => Route::Format("azure"),
            ("nginx" | "apache" | "haproxy" | "traefik" | "envoy", _, _) => {
                Route::Kinds(&[Kind::Http, Kind::Grpc])
            }
            ("postgresql" | "mysql" | "mssql", _, _) => Route::Kinds(&[Kind::Sql]),
            ("redis", _, _) => Route::Kinds(&[Kind::Kv]),
            ("mongodb", _, _) => Route::Kinds(&[Kind::Doc]),
            ("kafka" | "rabbitmq" | "nats" | "mqtt", _, _) => Route::Kinds(&[Kind::Messaging]),
            ("", "webserver" | "proxy", "") => Route::Kinds(&[Kind::Http, Kind::Grpc]),
            ("", "database", _) => Route::Kinds(&[Kind::Sql, Kind::Kv, Kind::Doc]),
            ("", "dns", _) => Route::Kinds(&[Kind::Dns]),
            ("", "authentication", _) => Route::Kinds(&[Kind::Auth]),
            ("", "", "sshd") | ("linux", _, "sshd") => Route::Format("sshd"),
            ("", kind, "") => by_kind(kind),
            _ => Route::Nothing,
        }
    }

    pub(crate) fn takes(&self, event: &Event) -> bool {
        let rec = event.core.rec;
        let own = matches!(rec, Some(Rec::Finding | Rec::Platform));
        match self {
            Route::Every => !own,
            Route::Kinds(kinds) => !own && event.core.kind.is_some_and(|kind| kinds.contains(&kind)),
            Route::Format(name) => {
                let cap = event.body.cap.as_ref();
                !own && cap.is_some_and(|cap| cap.fmt.starts_with(name))
            }
            Route::Findings => rec == Some(Rec::Finding),
            Route::Platform => rec == Some(Rec::Platform),
            Route::Nothing => false,
        }
    }
}

fn by_kind(word: &str) -> Route {
    let at = Kind::ALL.iter().position(|kind| kind.word() == word);
    at.and_then(|at| Kind::ALL.get(at..=at)).map_or(Route::Nothing, Route::Kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(product: &str, category: &str, service: &str) -> Route {
        Route::of(&LogSource { product: product.into(), category: category.into(), service: service.into() })
    }

    #[test]
    fn a_category_is_a_kind_of_event_and_findings_are_asked_for() {
        assert_eq!(route("countersign", "sql", ""), Route::Kinds(&[Kind::Sql]));
        assert_eq!(route("", "", ""), Route::Every);
        assert_eq!(route("windows", "process_creation", ""), Route::Nothing);
        let mut event = Event::default();
        event.core.kind = Some(Kind::Sql);
        event.core.rec = Some(Rec::Finding);
        assert!(!route("countersign", "sql", "").takes(&event) && !Route::Every.takes(&event));
        assert!(route("countersign", "finding", "").takes(&event));
        event.core.rec = Some(Rec::Interaction);
        assert!(route("countersign", "sql", "").takes(&event) && route("", "database", "").takes(&event));
    }
}
