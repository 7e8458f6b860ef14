//! VPC flow logs, versions 2 to 7: the default order, an order of the operator's own, and JSON with the same names.
//!
//! Source: Amazon VPC user guide, "Flow log records". A record is one direction of a flow during some seconds, seen
//! by the network itself; nobody is named. `NODATA` says that nothing was there, `SKIPDATA` that records are missing:
//! neither is an interaction.

use crate::formats::web::json::{member_word, object};
use crate::formats::web::{Compiled, Known, Role, nginx};
use crate::formats::{Format, Record};
use crate::json::Val;
use crate::plan::{Escape, FormatError};
use crate::text::given;
use crate::{Draft, Fault, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Fields of all versions.
const FIELDS: &[&str] = &[
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
    "ecs-cluster-arn",
    "ecs-cluster-name",
    "ecs-container-instance-arn",
    "ecs-container-instance-id",
    "ecs-container-id",
    "ecs-second-container-id",
    "ecs-service-name",
    "ecs-task-definition-arn",
    "ecs-task-arn",
    "ecs-task-id",
    "reject-reason",
    "resource-id",
    "encryption-status",
];

/// Compiles the first line of a flow log's file (`version account-id …`) or the format that was configured
/// (`${version} ${account-id} …`).
///
/// # Errors
/// The place and the reason: a name that there is not (with the nearest), a bracket that does not end.
pub fn compile(format: &str) -> Result<Compiled, FormatError> {
    let mut at = 0;
    let mut braced = String::new();
    for word in format.split(' ') {
        let name = word.strip_prefix("${").and_then(|word| word.strip_suffix('}')).unwrap_or(word);
        if !word.is_empty() {
            if !FIELDS.contains(&name) {
                return Err(FormatError::unknown(at, name, FIELDS.iter().copied()));
            }
            if !braced.is_empty() {
                braced.push(' ');
            }
            braced.push_str(&format!("${{{name}}}"));
        }
        at += word.len() + 1;
    }
    nginx::dollars(&braced, Escape::None, &|name| (name.to_owned(), Role::Rest), FIELDS)
}

static DEFAULT: Known = LazyLock::new(|| {
    compile(
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status",
    )
});

/// The row of the table.
pub const VPC_FLOW: Format = Format {
    name: "aws-vpc-flow",
    what: "VPC flow log: default order, or JSON",
    looks: |record| match record.json {
        Some(_) => {
            ["\"srcAddr\"", "\"srcaddr\"", "\"src_addr\""].iter().any(|name| record.text.contains(name))
        }
        None => record.text.starts_with("2 ") && record.text.contains(" eni-"),
    },
    parse: |record| match record.json {
        Some(_) => object(record, record.text, json),
        None => match &*DEFAULT {
            Ok(compiled) => parse_with(compiled, record),
            Err(_) => Err(Fault::new(0, "a format of ours does not compile")),
        },
    },
};

/// Reads a line by what [`compile`] made.
///
/// # Errors
/// A field is missing, or the flow has no addresses.
pub fn parse_with(compiled: &Compiled, record: &Record<'_>) -> Result<Draft, Fault> {
    let mut flow = Flow::default();
    let line = record.text.trim_end();
    compiled.fields(line, &mut |_, name, value| flow.take(name, value))?;
    flow.done()
}

fn json<'a>(record: &Record<'a>, root: Val<'a, 'a>) -> Result<Draft, Fault> {
    let _ = record;
    let mut flow = Flow::default();
    for member in root.members() {
        let plain = |name: &str| {
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        };
        let name = plain(&member.name());
        let Some(ours) = FIELDS.iter().find(|known| plain(known) == name) else { continue };
        if let Some(word) = member_word(member).filter(|word| given(word).is_some()) {
            flow.take(ours, word);
        }
    }
    flow.done()
}

#[derive(Debug, Default)]
struct Flow<'a> {
    draft: Draft,
    start: Cow<'a, str>,
    end: Cow<'a, str>,
    status: Cow<'a, str>,
}

impl<'a> Flow<'a> {
    fn take(&mut self, name: &str, value: Cow<'a, str>) {
        let event = &mut self.draft.event;
        let src = |event: &mut countersign_event::Event| event.peer.src.take().unwrap_or_default();
        let understood = match name {
            "srcaddr" | "srcport" => {
                let mut end = src(event);
                let is = if name == "srcaddr" {
                    address(&mut end.ip, &value)
                } else {
                    port(&mut end.port, &value)
                };
                event.peer.src = Some(end);
                is
            }
            "dstaddr" => address(&mut event.peer.dst.get_or_insert_default().ip, &value),
            "dstport" => port(&mut event.peer.dst.get_or_insert_default().port, &value),
            "protocol" => {
                self.draft.transport(&value);
                self.draft.event.peer.transport.is_some()
            }
            "bytes" => value.parse().is_ok_and(|bytes| {
                event.content.detail.insert(detail::l4::UP, Value::Uint(bytes));
                true
            }),
            "account-id" => {
                value.as_ref().clone_into(&mut event.target.ns);
                true
            }
            "region" => {
                value.as_ref().clone_into(&mut event.target.region);
                true
            }
            "action" => {
                event.core.outcome = match value.to_ascii_uppercase().as_str() {
                    "ACCEPT" => Some(Outcome::Success),
                    "REJECT" => Some(Outcome::Denied),
                    _ => None,
                };
                event.core.outcome.is_some()
            }
            "start" | "end" | "log-status" => {
                let place = match name {
                    "start" => &mut self.start,
                    "end" => &mut self.end,
                    _ => &mut self.status,
                };
                *place = value;
                return;
            }
            _ => false,
        };
        if !understood {
            self.draft.rest(name, &value);
        }
    }

    fn done(mut self) -> Result<Draft, Fault> {
        let draft = &mut self.draft;
        let stamp = |text: &str| time::unix_seconds(text).or_else(|| time::rfc3339(text));
        let (start, end) = (stamp(&self.start), stamp(&self.end));
        draft.time(start);
        let took = start.zip(end).and_then(|(start, end)| u64::try_from(end.ns.checked_sub(start.ns)?).ok());
        draft.event.core.dur = took;
        if matches!(self.status.as_ref(), "NODATA" | "SKIPDATA") {
            // Nothing happened, or nobody knows what.
            draft.event.core.rec = None;
            draft.rest("log-status", &self.status);
            return Ok(self.draft);
        }
        let both =
            |end: &Option<countersign_event::Endpoint>| end.as_ref().is_some_and(|end| end.ip.is_some());
        if !both(&draft.event.peer.src) || !both(&draft.event.peer.dst) {
            return Err(Fault::new(0, "a flow without its addresses"));
        }
        let core = &mut draft.event.core;
        (core.kind, core.class) = (Some(Kind::L4), Some(Class::Connect));
        "flow".clone_into(&mut core.op);
        if core.outcome.is_none() {
            draft.partial("the record does not say what was done with the flow");
        }
        Ok(self.draft)
    }
}

fn address(place: &mut Option<std::net::IpAddr>, text: &str) -> bool {
    *place = crate::draft::ip(text);
    place.is_some()
}

fn port(place: &mut Option<u16>, text: &str) -> bool {
    *place = text.parse().ok();
    place.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::web::tests::{parsed, with};
    use countersign_event::Transport;

    #[test]
    fn the_default_order_is_read_and_a_rejected_flow_was_denied() {
        let draft = parsed(
            &VPC_FLOW,
            "2 123456789010 eni-1235b8ca123456789 172.31.9.69 2001:db8::7 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK",
        );
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::Denied), Some(60_000_000_000)));
        assert_eq!((event.peer.transport, event.target.ns.as_str()), (Some(Transport::Tcp), "123456789010"));
    }

    #[test]
    fn an_interval_without_data_is_no_interaction() {
        for status in ["NODATA", "SKIPDATA"] {
            let draft = parsed(
                &VPC_FLOW,
                &format!("2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - {status}"),
            );
            assert_eq!((draft.event.core.rec, draft.event.core.outcome), (None, None));
        }
    }

    #[test]
    fn an_order_of_the_operator_s_own_is_read_and_a_wrong_name_is_told() {
        let format =
            compile("${version} ${vpc-id} ${srcaddr} ${dstaddr} ${action} ${start} ${end} ${flow-direction}")
                .unwrap();
        let draft = with("5 vpc-1 10.0.0.1 10.0.0.2 ACCEPT 1418530010 1418530070 egress", |record| {
            parse_with(&format, record)
        })
        .unwrap();
        assert_eq!(draft.event.core.outcome, Some(Outcome::Success));
        assert_eq!(draft.event.content.unmapped.len(), 3);
        let error = compile("version srcadr").unwrap_err();
        assert_eq!((error.at, error.nearest.as_deref()), (8, Some("srcaddr")));
    }
}
