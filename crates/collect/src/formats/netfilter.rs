//! Linux netfilter's packet log (`LOG` of iptables and nftables, ulogd): `PREFIX IN=… OUT=… SRC=… DST=… PROTO=…`.
//!
//! One packet. What became of it only the rule's prefix tells, if its author wrote it there: a word like DROP or
//! ACCEPT is taken, any other prefix leaves the outcome unknown. Source: net/netfilter/nf_log_syslog.c.

use super::{Format, Record};
use crate::{Draft, Fault};
use countersign_event::{Class, Decision, Kind, Outcome, Verdict};

/// The row of the table.
pub const NETFILTER: Format =
    Format { name: "netfilter", what: "packets logged by iptables, nftables and ufw", looks, parse };

fn looks(record: &Record<'_>) -> bool {
    let text = record.text;
    (record.by("kernel") || record.by("ulogd"))
        && text.contains("IN=")
        && text.contains(" SRC=")
        && text.contains(" DST=")
        && text.contains(" PROTO=")
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let start = record.text.find("IN=").ok_or(Fault::new(0, "no interface"))?;
    let (prefix, fields) = record.text.split_at(start);
    let mut draft = Draft::new();
    // In brackets stands the packet that an ICMP error is about.
    let (fields, about) = fields.split_once('[').map_or((fields, ""), |(fields, about)| (fields, about));
    let get = |name: &str| fields.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_default();
    if !draft.src(get("SRC=")) || !draft.dst(get("DST=")) {
        return Err(Fault::new(start, "an address cannot be read"));
    }
    let port = |name: &str| get(name).parse().ok();
    if let Some(src) = &mut draft.event.peer.src {
        src.port = port("SPT=");
    }
    if let Some(dst) = &mut draft.event.peer.dst {
        dst.port = port("DPT=");
    }
    let protocol = get("PROTO=");
    draft.transport(protocol);
    let core = &mut draft.event.core;
    core.kind = Some(Kind::L4);
    core.class = Some(Class::Connect);
    core.proto = protocol.to_ascii_lowercase();
    "packet".clone_into(&mut core.op);
    for (number, word) in fields.split(' ').filter(|word| !word.is_empty()).enumerate() {
        match word.split_once('=') {
            Some(("SRC" | "DST" | "SPT" | "DPT" | "PROTO", _)) => {}
            // The second LEN is the UDP datagram's.
            Some((name, value)) if draft.event.content.unmapped.contains_key(&format!("/{name}")) => {
                draft.rest(&format!("{name}#{number}"), value);
            }
            Some((name, value)) if !value.is_empty() => draft.rest(name, value),
            Some(_) => {}
            None => draft.rest(word, ""),
        }
    }
    if !about.is_empty() {
        draft.rest("about", about.trim_end_matches([']', ' ']));
    }
    verdict(&mut draft, prefix);
    Ok(draft)
}

/// `[12.3] [UFW BLOCK] `: the kernel's clock, and what the rule's author wrote.
fn verdict(draft: &mut Draft, prefix: &str) {
    let prefix = prefix.trim();
    let rest = prefix.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let prefix = match rest {
        Some((clock, rest)) if clock.trim().parse::<f64>().is_ok() => {
            draft.rest("uptime", clock.trim());
            rest.trim()
        }
        _ => prefix,
    };
    if prefix.is_empty() {
        return;
    }
    draft.rest("prefix", prefix);
    let said = |words: &[&str]| {
        prefix
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| words.contains(&word.to_ascii_uppercase().as_str()))
    };
    let (refused, passed) = (
        said(&["DROP", "DROPPED", "BLOCK", "BLOCKED", "REJECT", "REJECTED", "DENY", "DENIED"]),
        said(&["ACCEPT", "ACCEPTED", "ALLOW", "ALLOWED", "PASS"]),
    );
    let verdict = match (refused, passed) {
        (true, false) => Verdict::Deny,
        (false, true) => Verdict::Allow,
        _ => return,
    };
    if refused {
        draft.outcome(Outcome::Denied);
    }
    draft.event.core.decision = Some(Decision { verdict: Some(verdict), ..Decision::default() }.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::Transport;

    fn draft(text: &str) -> Draft {
        parse(&Record::new(text.as_bytes(), 0)).unwrap()
    }

    #[test]
    fn a_packet_gives_its_ends_and_its_rule_what_became_of_it() {
        let draft = draft(
            "[12.5] [UFW BLOCK] IN=eth0 OUT= MAC=00:08 SRC=2001:db8::1 DST=2001:db8::2 LEN=60 TC=0 HOPLIMIT=50 PROTO=UDP SPT=53 DPT=5353 LEN=20 ",
        );
        let event = &draft.event;
        assert_eq!((event.core.outcome, event.peer.transport), (Some(Outcome::Denied), Some(Transport::Udp)));
        assert_eq!(event.peer.dst.as_ref().unwrap().port, Some(5353));
        assert!(event.content.unmapped.contains_key("/HOPLIMIT"));
    }

    #[test]
    fn a_prefix_that_says_nothing_leaves_the_outcome_open() {
        let draft = draft(
            "new-conn: IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=192.0.2.2 LEN=60 PROTO=ICMP TYPE=3 CODE=1 [SRC=192.0.2.2 DST=203.0.113.1 PROTO=TCP SPT=1 DPT=2 ]",
        );
        let event = &draft.event;
        assert_eq!((event.core.outcome, event.core.decision.as_ref()), (None, None));
        assert_eq!(event.peer.src.as_ref().unwrap().ip, "192.0.2.1".parse().ok());
        assert_eq!((event.peer.src.as_ref().unwrap().port, event.peer.transport), (None, None));
    }
}
