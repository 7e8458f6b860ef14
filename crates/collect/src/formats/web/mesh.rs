//! Service meshes that write their own: Linkerd's proxy (text and JSON) and Istio's ztunnel (logfmt and JSON).
//!
//! Sources: Linkerd, "HTTP Access Logging"; Istio, ztunnel `access` target. `client.id` and `src.identity` were
//! verified by the proxy (mutual TLS), and are asserted; ztunnel's identities are those of a connection, not of a
//! request. ztunnel writes one record when a connection ends; its time is then, so the beginning is `duration` before.

use super::json::{Table, object, table};
use super::{Clock, Exchange, Role};
use crate::formats::{Format, Record};
use crate::json::Val;
use crate::text::{Cursor, given};
use crate::{Draft, Fault};
use countersign_event::Outcome;
use std::borrow::Cow;

const LINKERD_FIELDS: Table = &[
    ("client.addr", Role::Client),
    ("client.id", Role::Peer),
    ("host", Role::Host),
    ("method", Role::Method),
    ("total_ns", Role::Took(1)),
    ("request_bytes", Role::Received),
    ("response_bytes", Role::Sent),
    ("status", Role::Status),
    ("timestamp", Role::Time(Clock::Iso)),
    ("trace_id", Role::Trace),
    ("uri", Role::Uri),
    ("user_agent", Role::Header),
    ("version", Role::Protocol),
];

/// Linkerd's access log in JSON.
pub const LINKERD_JSON: Format = Format {
    name: "linkerd-json",
    what: "access log of Linkerd's proxy in JSON",
    looks: |record| {
        record.json.is_some()
            && record.text.contains("\"client.addr\"")
            && record.text.contains("\"processing_ns\"")
    },
    parse: |record| {
        object(record, record.text, |record, root| {
            let mut exchange = Exchange::new(record);
            table(&mut exchange, root, LINKERD_FIELDS, true);
            exchange.done()
        })
    },
};

/// Linkerd's access log `apache`: the client's identity stands where Apache has `ident`, and the time is RFC 3339.
pub const LINKERD: Format = Format {
    name: "linkerd",
    what: "access log of Linkerd's proxy, format apache",
    looks: |record| {
        record.text.contains("Z] \"") && record.text.starts_with(|c: char| c.is_ascii_hexdigit() || c == '[')
    },
    parse: |record| {
        let mut line = Cursor::new(record.text.trim_end());
        let mut exchange = Exchange::new(record);
        let mut take = |role, name, text: &'_ str| {
            if given(text).is_some() {
                exchange.take(role, name, Cow::Owned(text.to_owned()));
            }
        };
        take(Role::Client, "client", line.word()?);
        take(Role::Peer, "client.id", line.word()?);
        take(Role::User, "user", line.word()?);
        take(Role::Time(Clock::Iso), "time", line.inside("[", "]")?);
        take(Role::Request, "request", line.quoted()?);
        take(Role::Status, "status", line.word()?);
        if !line.is_end() {
            take(Role::Rest, "rest", line.rest());
        }
        exchange.done()
    },
};

const ZTUNNEL_FIELDS: Table = &[
    ("src.addr", Role::Client),
    ("src.workload", Role::Skip),
    ("src.namespace", Role::Skip),
    ("src.identity", Role::Peer),
    ("dst.addr", Role::Local),
    ("dst.hbone_addr", Role::Upstream),
    ("dst.service", Role::Service),
    ("dst.workload", Role::Skip),
    ("dst.namespace", Role::Skip),
    ("dst.identity", Role::LocalPeer),
    ("bytes_sent", Role::Sent),
    ("bytes_recv", Role::Received),
    ("duration", Role::Took(1_000_000)),
    ("error", Role::Error),
];

/// ztunnel's connections.
pub const ZTUNNEL: Format = Format {
    name: "ztunnel",
    what: "connections of Istio's ztunnel, logfmt and JSON",
    looks: |record| {
        record.text.contains("src.addr")
            && (record.text.contains("connection ") || record.text.contains("\"access\""))
    },
    parse: |record| {
        if record.json.is_some() { object(record, record.text, ztunnel_json) } else { ztunnel(record) }
    },
};

/// `time⇥level⇥access⇥connection complete⇥name=value …`
fn ztunnel(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut head = record.text.splitn(5, '\t');
    let mut next = || head.next().ok_or(Fault::new(0, "no connection of ztunnel"));
    let (time, level, scope, message, pairs) = (next()?, next()?, next()?, next()?, next()?);
    if !scope.starts_with("access") || !message.starts_with("connection") {
        return Err(Fault::new(time.len() + level.len() + 2, "no connection of ztunnel"));
    }
    let mut exchange = Exchange::new(record);
    exchange.take(Role::Time(Clock::Iso), "time", Cow::Borrowed(time));
    exchange.take(Role::Rest, "level", Cow::Borrowed(level.trim()));
    let mut names = Names::default();
    let mut line = Cursor::new(pairs.trim_end());
    while !line.is_end() {
        let name = line.until("=")?;
        let value = if line.rest().starts_with('"') { line.quoted()? } else { line.word()? };
        let role =
            ZTUNNEL_FIELDS.iter().find(|(known, _)| *known == name).map_or(Role::Rest, |(_, role)| *role);
        names.keep(name, value);
        exchange.take(role, name, Cow::Borrowed(value));
        line.blanks();
    }
    names.done(exchange.done()?)
}

fn ztunnel_json<'a>(record: &Record<'a>, root: Val<'a, 'a>) -> Result<Draft, Fault> {
    let message = root.get("message").and_then(|message| message.peek());
    if !message.is_some_and(|message| message.starts_with("connection")) {
        return Err(Fault::new(0, "no connection of ztunnel"));
    }
    let mut exchange = Exchange::new(record);
    table(&mut exchange, root, &[("time", Role::Time(Clock::Iso))], false);
    let mut names = Names::default();
    for member in root.members() {
        if let Some(text) = member.peek() {
            names.keep(&member.name(), &text);
        }
    }
    table(&mut exchange, root, ZTUNNEL_FIELDS, false);
    names.done(exchange.done()?)
}

/// Workloads and namespaces of both ends.
#[derive(Debug, Default)]
struct Names {
    src: (String, String),
    dst: (String, String),
}

impl Names {
    fn keep(&mut self, name: &str, value: &str) {
        let place = match name {
            "src.workload" => &mut self.src.0,
            "src.namespace" => &mut self.src.1,
            "dst.workload" => &mut self.dst.0,
            "dst.namespace" => &mut self.dst.1,
            _ => return,
        };
        value.clone_into(place);
    }

    fn done(self, mut draft: Draft) -> Result<Draft, Fault> {
        let peer = &mut *draft.event.peer;
        for (end, names) in [(&mut peer.src, self.src), (&mut peer.dst, self.dst)] {
            if let Some(end) = end {
                (end.workload, end.ns) = names;
            }
        }
        let core = &mut draft.event.core;
        core.t_event =
            core.t_event.zip(core.dur).map(|(end, took)| end.saturating_sub_unsigned(took)).or(core.t_event);
        let error = draft.event.content.err.to_ascii_lowercase();
        draft.event.core.outcome = Some(if error.is_empty() {
            Outcome::Success
        } else if error.contains("policy") || error.contains("unauthorized") || error.contains("401") {
            Outcome::Denied
        } else if error.contains("timed out") || error.contains("timeout") {
            Outcome::Timeout
        } else {
            Outcome::ServerError
        });
        Ok(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;
    use countersign_event::{Auth, Kind, Verified};

    const ZT: &str = "2024-03-13T12:08:33.500000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.244.3.9:52462 src.workload=\"web-1\" src.namespace=\"shop\" src.identity=\"spiffe://cluster.local/ns/shop/sa/web\" dst.addr=10.244.3.8:15008 dst.hbone_addr=10.244.3.8:8080 dst.service=\"httpbin.shop.svc.cluster.local\" dst.workload=\"httpbin-1\" dst.namespace=\"shop\" dst.identity=\"spiffe://cluster.local/ns/shop/sa/httpbin\" direction=\"inbound\" bytes_sent=564 bytes_recv=156 duration=\"500ms\"";

    #[test]
    fn a_connection_of_ztunnel_names_both_ends_and_begins_before_it_ended() {
        let draft = parsed(&ZTUNNEL, ZT);
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!((event.core.kind, event.core.t_event), (Some(Kind::L4), Some(1_710_331_713_000_000_000)));
        let who = event.who.who.as_ref().unwrap();
        assert_eq!(
            (who.id.as_str(), who.verified, who.auth),
            ("spiffe://cluster.local/ns/shop/sa/web", Verified::Asserted, Some(Auth::SpiffeSvid))
        );
        assert_eq!(event.target.svc, "httpbin.shop.svc.cluster.local");
        assert_eq!(event.peer.src.as_ref().unwrap().workload, "web-1");
        let denied = parsed(&ZTUNNEL, &format!("{ZT} error=\"connection closed due to policy rejection\""));
        assert_eq!(denied.event.core.outcome, Some(Outcome::Denied));
    }

    #[test]
    fn linkerd_s_client_id_is_the_caller_in_both_forms() {
        let id = "traffic.booksapp.serviceaccount.identity.linkerd.cluster.local";
        let text = parsed(
            &LINKERD,
            &format!(
                "10.42.0.63:51160 {id} - [2022-08-23T20:28:20.071809491Z] \"GET http://webapp:7000/ HTTP/2.0\" 200"
            ),
        );
        let json = parsed(
            &LINKERD_JSON,
            &format!(
                r#"{{"client.addr":"10.42.0.70:32996","client.id":"{id}","host":"webapp:7000","method":"GET","processing_ns":"39826","request_bytes":"","response_bytes":"19627","status":200,"timestamp":"2022-08-23T20:33:42.321746212Z","total_ns":"14441135","trace_id":"","uri":"http://webapp:7000/","user_agent":"Go","version":"HTTP/2.0"}}"#
            ),
        );
        for draft in [text, json] {
            assert_eq!(draft.partial, None);
            let who = draft.event.who.who.as_ref().unwrap();
            assert!(
                who.id.ends_with(id) && who.verified == Verified::Asserted && who.auth == Some(Auth::Mtls)
            );
            assert_eq!(draft.event.peer.dst.as_ref().unwrap().host, "webapp");
        }
    }
}
