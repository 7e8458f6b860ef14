//! Records of OCSF, of other products and of our own export, by the mapping table of [`countersign_event::map`].
//!
//! Source: OCSF 1.8.0, schema.ocsf.io; records of 1.0 to 1.8 have the same places for what is read. Inside a trusted
//! input the user, and the addresses, are asserted; the user of a login that failed, and forwarded addresses, are
//! claimed. A class outside the table gives what all classes share. Findings of other products are no findings of
//! ours. Our own export is observed again: [`crate::reobserve`].

use super::{Format, Record, cloud};
use crate::json::Val;
use crate::reobserve::reobserve;
use crate::time::Stamp;
use crate::{Draft, Fault, http};
use countersign_event::map::{Import, from_ocsf};
use countersign_event::{
    Class, Decision, Kind, Outcome, PrincipalKind, Rec, StatusSpace, TimeBasis, Verdict, Verified,
};

/// See the module.
pub const OCSF: Format = Format { name: "ocsf", what: "OCSF 1.x record, any class", looks, parse };

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| event.has("class_uid") && event.has("metadata") && event.has("time"))
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let root = record.object()?;
    let import = from_ocsf(record.bytes).map_err(|_| Fault::new(0, "no record of OCSF"))?;
    if import.ours {
        let draft = reobserve(import)?;
        root.take();
        return Ok(draft);
    }
    Ok(foreign(record, root, import))
}

/// The value at a JSON pointer of names and numbers.
fn at<'d, 'a>(root: Val<'d, 'a>, pointer: &str) -> Option<Val<'d, 'a>> {
    pointer.split('/').skip(1).try_fold(root, |value, name| match name.parse::<usize>() {
        Ok(number) => value.elements().nth(number),
        Err(_) => value.get(name),
    })
}

fn foreign(record: &Record<'_>, root: Val<'_, '_>, import: Import) -> Draft {
    let mut draft = Draft::new();
    let rec = import.event.core.rec;
    draft.event = import.event;
    // What no row took is spelled here as the source spelled it: by `Doc::unread`.
    draft.event.content.unmapped.clear();
    draft.event.core.rec = rec.or(Some(Rec::Interaction));
    for pointer in &import.taken {
        if let Some(value) = at(root, pointer) {
            value.take();
        }
    }
    let class = root.get("class_uid").and_then(|uid| uid.spelled().parse().ok()).unwrap_or(0);
    if matches!(class / 1000, 2 | 5) {
        // A finding or an inventory: something was logged, and no interaction.
        draft.event.core.rec = Some(Rec::Raw);
    }
    stamp(&mut draft);
    draft.source_id =
        root.at("metadata/uid").and_then(|uid| uid.peek()).map(|uid| uid.into_owned()).unwrap_or_default();
    web(&mut draft, root);
    operation(&mut draft, root);
    ending(&mut draft, root, class);
    who(&mut draft, root, record.realm, class);
    draft
}

fn stamp(draft: &mut Draft) {
    let time = draft.event.core.t_event.map(|ns| Stamp { ns, basis: TimeBasis::Stated });
    draft.time(time);
}

/// Whether a value of the record is spelled so.
fn is(root: Val<'_, '_>, path: &str, token: &str) -> bool {
    root.at(path).is_some_and(|value| value.spelled() == token)
}

/// The URL of a request of HTTP as path, template and names of its query.
fn web(draft: &mut Draft, root: Val<'_, '_>) {
    if draft.event.core.kind != Some(Kind::Http) {
        return;
    }
    let url = root.at("http_request/url");
    if let Some(url) = url {
        let whole = url.get("url_string").or_else(|| url.get("path")).and_then(|text| text.filled());
        if let Some(text) = whole {
            http::target(draft, &text);
        }
        if let (Some(host), true) = (url.get("hostname"), draft.event.peer.dst.is_none())
            && let Some(name) = host.filled()
        {
            http::host(draft, &name);
        }
    }
    let method = &draft.event.core.op;
    if draft.event.core.class.is_none() {
        draft.event.core.class = http::class(method);
    }
}

/// The verb, where the class has no place of its own for it.
fn operation(draft: &mut Draft, root: Val<'_, '_>) {
    if draft.event.core.op.is_empty()
        && let Some(name) = cloud::text(root, "activity_name")
    {
        draft.event.core.op = name.into_owned();
    }
    let core = &mut draft.event.core;
    let by_kind = match core.kind {
        Some(Kind::L4 | Kind::Dns) => Some(Class::Connect),
        Some(Kind::CloudApi | Kind::Rpc) => cloud::class(&core.op),
        _ => None,
    };
    let by_kind = if core.kind == Some(Kind::Dns) { Some(Class::Read) } else { by_kind };
    core.class = core.class.or(by_kind);
}

/// How it ended: a name of ours, the status of HTTP, what a policy did, else that it failed.
fn ending(draft: &mut Draft, root: Val<'_, '_>, class: u64) {
    let denied = is(root, "action_id", "2") || is(root, "disposition_id", "2");
    if denied {
        let decision = draft.event.core.decision.get_or_insert_with(|| Box::new(Decision::default()));
        decision.verdict.get_or_insert(Verdict::Deny);
    }
    let core = &mut draft.event.core;
    if core.outcome.is_none()
        && let Some((StatusSpace::Http, code)) = &core.status
    {
        core.outcome = code.parse().ok().and_then(http::outcome);
    }
    let failed = is(root, "status_id", "2");
    let meant = match class {
        _ if denied => Outcome::Denied,
        3002 | 3003 | 3005 => Outcome::Denied,
        // Who is to blame is not said: as of any other call that its server says has failed.
        _ => Outcome::CallerError,
    };
    if core.outcome.is_none() && (failed || denied) {
        core.outcome = Some(meant);
    }
}

/// The actor by a canonical id: a URI as it is, else a name in its realm.
fn who(draft: &mut Draft, root: Val<'_, '_>, realm: &str, class: u64) {
    let failed_login = class / 1000 == 3 && draft.event.core.outcome == Some(Outcome::Denied);
    let level = if failed_login { Verified::Claimed } else { Verified::Asserted };
    let user = if class == 3002 { "user" } else { "actor/user" };
    let domain = root.at(user).and_then(|user| user.get("domain")).and_then(|domain| domain.filled());
    let realm = domain.as_deref().unwrap_or(realm);
    let Some(found) = draft.event.who.who.clone() else { return };
    let is_uri = found.id.starts_with("arn:") || found.id.contains("://");
    let name = [&found.name, &found.id, &found.svc].into_iter().find(|name| !name.is_empty()).cloned();
    let Some(name) = name else {
        // A credential or a provider without a name is no identity.
        draft.event.who = Default::default();
        draft.partial("an actor without a name");
        return;
    };
    let id = if is_uri { found.id.clone() } else { format!("user:{realm}/{name}") };
    if !is_uri && !found.id.is_empty() && found.id != name {
        draft.said(format!("/{user}/uid"), &found.id);
    }
    let kind = found.kind.or(found
        .id
        .is_empty()
        .then_some(())
        .filter(|()| found.name.is_empty())
        .map(|()| PrincipalKind::Service));
    let mut principal = cloud::principal(id, &found.name, kind, level);
    (principal.auth, principal.iss, principal.cred) = (found.auth, found.iss, found.cred);
    (principal.svc, principal.groups) = (found.svc, found.groups);
    draft.event.who.who = Some(principal);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draft, who};
    use super::*;
    use countersign_event::Unmapped;

    const API: &str = r#"{"class_uid":6003,"class_name":"API Activity","category_uid":6,"activity_id":2,"type_uid":600302,
        "severity_id":1,"time":1700000000123,"status_id":2,"status":"Failure","api":{"operation":"GetObject",
        "request":{"uid":"R1"},"response":{"error":"AccessDenied","error_message":"no"},"service":{"name":"s3.amazonaws.com"}},
        "actor":{"user":{"uid":"AIDAX","name":"bob","type_id":1}},"src_endpoint":{"ip":"192.0.2.7","port":1234},
        "http_request":{"user_agent":"aws-cli"},"cloud":{"provider":"AWS","region":"eu-north-1","account":{"uid":"123"}},
        "metadata":{"version":"1.1.0","uid":"u-1","product":{"name":"CloudTrail","vendor_name":"AWS"}}}"#;

    #[test]
    fn an_api_call_of_a_cloud_comes_out_with_actor_address_and_outcome() {
        let draft = draft(&OCSF, API);
        let event = &draft.event;
        assert_eq!(event.core.kind, Some(Kind::CloudApi));
        assert_eq!((event.core.class, event.core.op.as_str()), (Some(Class::Read), "GetObject"));
        assert_eq!(
            (event.core.t_event, event.core.t_basis),
            (Some(1_700_000_000_123_000_000), Some(TimeBasis::Stated))
        );
        assert_eq!(event.core.outcome, Some(Outcome::CallerError));
        assert_eq!((who(&draft).id.as_str(), who(&draft).verified), ("user:r/bob", Verified::Asserted));
        let src = event.peer.src.as_ref().unwrap();
        assert_eq!((src.ip.unwrap().to_string().as_str(), src.port), ("192.0.2.7", Some(1234)));
        assert_eq!(
            (event.target.svc.as_str(), event.target.region.as_str()),
            ("s3.amazonaws.com", "eu-north-1")
        );
        assert_eq!((event.links.corr.as_str(), event.content.err.as_str()), ("R1", "no"));
        assert_eq!((draft.source_id.as_str(), draft.partial), ("u-1", None));
        let kept = &event.content.unmapped;
        assert_eq!(kept.get("/actor/user/uid"), Some(&Unmapped::Token("\"AIDAX\"".to_owned())));
        for pointer in ["/status_id", "/api/response/error", "/cloud/account/uid", "/metadata/product/name"] {
            assert!(kept.keys().any(|known| pointer.starts_with(known.as_str())), "{pointer}: {kept:?}");
        }
        assert!(!kept.contains_key("/api/operation"));
        assert_eq!((event.core.seq, event.core.agent.as_str()), (0, ""));
    }

    #[test]
    fn an_http_call_has_method_path_and_status() {
        let text = r#"{"class_uid":4002,"category_uid":4,"activity_id":6,"type_uid":400206,"severity_id":1,"time":1,
            "metadata":{"version":"1.3.0","product":{"name":"x"}},"http_request":{"http_method":"POST","version":"HTTP/1.1",
            "url":{"url_string":"https://shop.example/orders/17?x=1"},"x_forwarded_for":["198.51.100.1"]},
            "http_response":{"code":403},"src_endpoint":{"ip":"192.0.2.7"},"dst_endpoint":{"ip":"192.0.2.8","port":443}}"#;
        let draft = draft(&OCSF, text);
        let event = &draft.event;
        assert_eq!((event.core.op.as_str(), event.core.proto.as_str()), ("POST", "http/1.1"));
        assert_eq!((event.target.raw.as_str(), event.target.res.as_str()), ("/orders/17", "/orders/{id}"));
        assert_eq!(event.core.status, Some((StatusSpace::Http, "403".to_owned())));
        assert_eq!((event.core.outcome, event.core.class), (Some(Outcome::Denied), Some(Class::Create)));
        assert_eq!(event.peer.hops, [("198.51.100.1".to_owned(), Verified::Claimed)]);
        assert!(event.who.who.is_none());
    }

    #[test]
    fn the_user_of_a_failed_login_is_claimed() {
        let login = |status: u8| {
            format!(
                r#"{{"class_uid":3002,"activity_id":1,"activity_name":"Logon","type_uid":300201,"category_uid":3,"severity_id":1,"time":5,
                "status_id":{status},"user":{{"name":"eve","domain":"corp"}},"metadata":{{"version":"1.0.0"}},"src_endpoint":{{"ip":"192.0.2.7"}}}}"#
            )
        };
        let failed = draft(&OCSF, &login(2));
        assert_eq!(failed.event.core.outcome, Some(Outcome::Denied));
        assert_eq!((who(&failed).id.as_str(), who(&failed).verified), ("user:corp/eve", Verified::Claimed));
        assert_eq!(
            (failed.event.core.class, failed.event.core.op.as_str()),
            (Some(Class::Authenticate), "Logon")
        );
        let done = draft(&OCSF, &login(1));
        assert_eq!(
            (done.event.core.outcome, who(&done).verified),
            (Some(Outcome::Success), Verified::Asserted)
        );
    }

    #[test]
    fn findings_of_others_and_unknown_classes_are_no_interactions_that_we_name() {
        let of = |uid: u16| {
            draft(
                &OCSF,
                &format!(
                    r#"{{"class_uid":{uid},"activity_id":1,"time":5,"metadata":{{}},"finding_info":{{"uid":"f","title":"t"}}}}"#
                ),
            )
        };
        let finding = of(2004);
        assert_eq!((finding.event.core.rec, finding.event.core.sys.len()), (Some(Rec::Raw), 0));
        assert!(finding.event.content.unmapped.keys().any(|key| key.starts_with("/finding_info")));
        let unknown = of(1007);
        assert_eq!((unknown.event.core.kind, unknown.event.core.rec), (None, Some(Rec::Interaction)));
    }

    #[test]
    fn our_own_export_is_observed_again() {
        let mut event = countersign_event::Event::default();
        event.core.agent = "a".to_owned();
        event.core.seq = 1;
        event.core.op = "GET".to_owned();
        event.core.kind = Some(Kind::Http);
        let draft = draft(&OCSF, &countersign_event::map::to_ocsf(&event));
        assert_eq!((draft.event.core.op.as_str(), draft.event.core.agent.as_str()), ("GET", ""));
        assert_eq!(draft.source_id, "0".repeat(32));
    }
}
