//! An event that somebody else recorded, as a draft of ours.
//!
//! What it says happened stays; what only its observer could say (number, stream, time of observation, trust,
//! findings, links to its own records) is kept beside, in `unmapped` under `/countersign/`, and is never ours. So an
//! imported record can neither raise a level nor take part in our own pairs of intent and outcome.
//!
//! Only events over the frame from our own edge carry their levels; they do not come this way.

use crate::draft::json_text;
use crate::json::Doc;
use crate::{Draft, Fault};
use countersign_event::fields::bound;
use countersign_event::json::{hex, to_json};
use countersign_event::map::Import;
use countersign_event::{Core, Event, Other, Principal, Rec};
use std::fmt::Write as _;

/// Label of an event whose extension and mapped fields disagree.
pub const DISAGREEMENT: &str = "mapping_disagreement";

/// What only the first observer could say, by path in the event's JSON, and removed from what we say.
const THEIRS: &[&str] = &[
    "core/eid",
    "core/agent",
    "core/stream",
    "core/seq",
    "core/t_obs",
    "core/tenant",
    "core/config",
    "core/route",
    "core/sys",
    "core/other",
    "who/other",
    "peer/other",
    "target/other",
    "links/of",
    "links/conn",
    "links/conn_seq",
    "links/causal",
    "links/cause",
    "links/other",
    "content/other",
    "body/cap",
    "body/raw",
    "body/other",
];

/// Largest event that is observed again, bytes of its frame: what is kept beside must fit into its groups too.
pub const REOBSERVED_MAX: usize = 200 << 10;

/// The draft of an export of ours, read back.
///
/// # Errors
/// The event is larger than [`REOBSERVED_MAX`], or none.
pub fn reobserve(import: Import) -> Result<Draft, Fault> {
    let Import { event, disagreements, .. } = import;
    let size = event.encode().map_or(usize::MAX, |frame| frame.encoded_len());
    if size > REOBSERVED_MAX {
        return Err(Fault::new(0, "an exported event that is too large to be observed again"));
    }
    let mut draft = Draft::new();
    draft.source_id = hex(&event.core.eid);
    let spelled = to_json(&event);
    let rec = event.core.rec;
    let levels = levels(&event);
    draft.event = ours(event);
    if let Ok(doc) = Doc::parse(spelled.as_bytes()) {
        for path in THEIRS {
            if let Some(value) = doc.root().at(path) {
                draft.token(format!("/countersign/{path}"), value.spelled());
            }
        }
        if draft.event.core.rec != rec
            && let Some(rec) = doc.root().at("core/rec")
        {
            draft.token("/countersign/core/rec", rec.spelled());
        }
    }
    if let Some(levels) = levels {
        draft.token("/countersign/verified", &levels);
    }
    if !disagreements.is_empty() {
        draft.partial("the extension and the mapped fields disagree");
        if draft.event.core.labels.len() < bound::LABELS {
            draft.event.core.labels.push(DISAGREEMENT.to_owned());
        }
        let names: Vec<String> = disagreements.iter().map(|name| json_text(name)).collect();
        draft.token("/countersign/disagreements", format!("[{}]", names.join(",")));
    }
    Ok(draft)
}

/// Texts that only an event which was one before fills with what a stranger wrote: they are cleaned like the others.
pub(crate) fn other_texts(event: &mut Event, text: &mut dyn FnMut(&mut String)) {
    if let Some(decision) = &mut event.core.decision {
        [&mut decision.reason, &mut decision.purpose].into_iter().for_each(&mut *text);
        decision.policies.iter_mut().for_each(&mut *text);
    }
    event.core.labels.iter_mut().for_each(&mut *text);
    if let Some(who) = event.who.set_mut() {
        for principal in who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also) {
            [&mut principal.iss, &mut principal.svc, &mut principal.inst].into_iter().for_each(&mut *text);
            principal.groups.iter_mut().for_each(&mut *text);
        }
    }
    if let Some(peer) = event.peer.set_mut() {
        for end in [&mut peer.src, &mut peer.dst, &mut peer.up].into_iter().flatten() {
            [&mut end.host, &mut end.workload, &mut end.ns, &mut end.zone, &mut end.node]
                .into_iter()
                .for_each(&mut *text);
        }
        peer.hops.iter_mut().for_each(|(hop, _)| text(hop));
    }
    if let Some(target) = event.target.set_mut() {
        [&mut target.rtype, &mut target.region].into_iter().for_each(&mut *text);
        for more in &mut target.more {
            [&mut more.svc, &mut more.rtype, &mut more.ns, &mut more.region].into_iter().for_each(&mut *text);
            more.tags.iter_mut().for_each(&mut *text);
        }
    }
    if let Some(body) = event.body.set_mut() {
        for payload in [&mut body.req, &mut body.rsp].into_iter().flatten() {
            [&mut payload.reference, &mut payload.content_type].into_iter().for_each(&mut *text);
        }
    }
}

/// The levels as they came, `[who, obo…, also…]`; `None` = no identity.
fn levels(event: &Event) -> Option<String> {
    let all = event.who.who.iter().chain(&event.who.obo).chain(&event.who.also);
    let mut out = String::new();
    for principal in all {
        let _ = write!(out, "{}{}", if out.is_empty() { "[" } else { "," }, principal.verified.code());
    }
    (!out.is_empty()).then(|| out + "]")
}

/// Without what only the first observer could say.
fn ours(event: Event) -> Event {
    let mut event = event;
    let rec = match event.core.rec {
        // What a platform says of itself is no interaction that we saw, and no finding of ours.
        Some(Rec::Finding | Rec::Platform | Rec::Gap | Rec::Other(_)) => Some(Rec::Raw),
        None => Some(Rec::Interaction),
        rec => rec,
    };
    let core = std::mem::take(&mut event.core);
    event.core = Core {
        t_event: core.t_event,
        t_basis: core.t_basis,
        skew: core.skew,
        dur: core.dur,
        rec,
        kind: core.kind,
        proto: core.proto,
        op: core.op,
        class: core.class,
        outcome: core.outcome,
        status: core.status,
        decision: core.decision,
        labels: core.labels,
        n: core.n,
        lat: core.lat,
        ..Core::default()
    };
    let links = &mut event.links;
    (links.of, links.conn, links.conn_seq) = (None, None, None);
    (links.causal, links.cause) = (Vec::new(), Vec::new());
    links.other = Other::default();
    event.content.other = Other::default();
    let plain = |principal: &mut Principal| principal.other = Other::default();
    if event.who != countersign_event::Who::default() {
        let who = &mut *event.who;
        who.other = Other::default();
        who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also).for_each(plain);
    }
    if !event.peer.other.is_empty() {
        event.peer.other = Other::default();
    }
    if !event.target.other.is_empty() {
        event.target.other = Other::default();
    }
    let body = &mut *event.body;
    (body.cap, body.raw, body.other) = (None, None, Other::default());
    for payload in [&mut body.req, &mut body.rsp].into_iter().flatten() {
        // Bytes that nobody here has cleaned of secrets.
        payload.excerpt.clear();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::cbor::Value;
    use countersign_event::map::{from_ocsf, to_ocsf};
    use countersign_event::{Unmapped, Verified};

    fn recorded() -> Event {
        let core = Core {
            agent: "spiffe://example.org/gw".to_owned(),
            stream: [1; 16],
            seq: 7,
            eid: [9; 16],
            t_obs: 1_790_000_000_000_000_000,
            rec: Some(Rec::Outcome),
            tenant: "acme".to_owned(),
            ..Core::default()
        };
        let mut event = Event { core, ..Event::default() };
        event.links.of = Some([3; 16]);
        event.who.who = Some(Principal::new("spiffe://example.org/a", Verified::Bound));
        event
    }

    fn token(draft: &Draft, pointer: &str) -> Option<String> {
        match draft.event.content.unmapped.get(pointer) {
            Some(Unmapped::Token(token)) => Some(token.clone()),
            _ => None,
        }
    }

    fn again(event: &Event) -> Draft {
        reobserve(from_ocsf(to_ocsf(event).as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_only_the_first_observer_could_say_is_kept_beside_and_is_not_ours() {
        let draft = again(&recorded());
        let core = &draft.event.core;
        assert_eq!(
            (core.agent.as_str(), core.seq, core.tenant.as_str(), draft.event.links.of),
            ("", 0, "", None)
        );
        assert_eq!(draft.source_id, "09".repeat(16));
        assert_eq!(token(&draft, "/countersign/core/agent").as_deref(), Some("\"spiffe://example.org/gw\""));
        assert_eq!(token(&draft, "/countersign/core/seq").as_deref(), Some("7"));
        assert_eq!(token(&draft, "/countersign/links/of"), Some(format!("\"{}\"", "03".repeat(16))));
        assert_eq!(token(&draft, "/countersign/verified").as_deref(), Some("[4]"));
        assert_eq!(draft.partial, None);
    }

    #[test]
    fn no_secret_comes_in_by_a_field_that_no_other_format_fills() {
        use crate::{Input, KeepRaw, Keeper, observe};
        let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        let mut event = recorded();
        event.core.decision = Some(Box::new(countersign_event::Decision {
            reason: format!("token {secret}"),
            ..Default::default()
        }));
        event.body.req =
            Some(countersign_event::Payload { excerpt: secret.as_bytes().to_vec(), ..Default::default() });
        event.who.who.as_mut().unwrap().svc = secret.to_owned();
        let keeper = Keeper::new(countersign_redact::Scanner::default(), &[7; 32]);
        let mut input = Input::new("x");
        input.keep_raw = KeepRaw::All;
        let event = observe(to_ocsf(&event).as_bytes(), None, &input, &keeper, 5);
        let shown = to_json(&event);
        assert!(!shown.contains(secret), "{shown}");
        assert!(event.body.req.as_ref().is_none_or(|payload| payload.excerpt.is_empty()));
        assert!(!event.content.redacted.is_empty());
    }

    #[test]
    fn a_finding_of_others_is_none_of_ours() {
        let mut event = recorded();
        event.core.rec = Some(Rec::Finding);
        event.core.sys.insert(4, Value::Uint(80));
        let draft = again(&event);
        assert_eq!((draft.event.core.rec, draft.event.core.sys.len()), (Some(Rec::Raw), 0));
        assert_eq!(token(&draft, "/countersign/core/rec").as_deref(), Some("\"finding\""));
        assert_eq!(token(&draft, "/countersign/core/sys").as_deref(), Some("{\"confidence\":80}"));
    }

    #[test]
    fn a_disagreement_is_named_and_makes_the_record_partial() {
        let mut event = recorded();
        event.core.t_obs += 1;
        let text = to_ocsf(&event).replace("1790000000000,", "1790000000001,");
        let draft = reobserve(from_ocsf(text.as_bytes()).unwrap()).unwrap();
        assert!(draft.partial.is_some());
        assert_eq!(draft.event.core.labels, [DISAGREEMENT]);
        assert!(token(&draft, "/countersign/disagreements").unwrap().contains("core.t_obs"));
    }
}
