//! MongoDB Atlas: the events of an organisation or a project.
//!
//! Source: Atlas Administration API, "Events". Inside a trusted input the user or key, and the address, are asserted.
//! Names of members are taken whatever their case, as stores fold them. An event says that something was done, not
//! how a request ended: it has no outcome.

use super::{Format, Record, cloud};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, time};
use countersign_event::{Auth, Class, Kind, PrincipalKind, Verified};
use std::borrow::Cow;

/// The row of the table.
pub const ATLAS: Format = Format {
    name: "mongodb-atlas",
    what: "MongoDB Atlas organisation and project events",
    looks: looks_atlas,
    parse: atlas,
};

fn fold<'a>(value: Val<'_, 'a>, name: &str) -> Option<Cow<'a, str>> {
    value.fold(name).and_then(|member| member.filled())
}

fn looks_atlas(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        event.fold("eventTypeName").is_some() && event.fold("created").is_some() && event.has("id")
    })
}

fn atlas(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let mut draft = Draft::new();
    let op = fold(event, "eventTypeName").ok_or(Fault::new(0, "no eventTypeName"))?;
    draft.event.core.kind = Some(Kind::CloudApi);
    draft.time(fold(event, "created").and_then(|text| time::rfc3339(&text)));
    draft.source_id = fold(event, "id").unwrap_or_default().into_owned();
    let (organisation, project) = (fold(event, "orgId"), fold(event, "groupId"));
    let realm = organisation.as_deref().or(project.as_deref()).unwrap_or(record.realm).to_owned();
    if let Some(name) = fold(event, "username") {
        draft.user(&realm, &name, None, Verified::Asserted);
    } else if let Some(key) = fold(event, "publicKey").or_else(|| fold(event, "apiKeyId")) {
        let who = draft.who(format!("key:{key}"), PrincipalKind::Service, Verified::Asserted);
        who.auth = Some(Auth::ApiKey);
    }
    if let Some(address) = fold(event, "remoteAddress") {
        cloud::source(&mut draft, &address);
    }
    let target = &mut *draft.event.target;
    "mongodb-atlas".clone_into(&mut target.svc);
    target.ns = realm;
    let named = [
        ("targetUsername", "user"),
        ("targetPublicKey", "api_key"),
        ("clusterName", "cluster"),
        ("whitelistEntry", "access_list"),
    ];
    for (name, rtype) in named {
        if let Some(name) =
            event.fold(name).filter(|value| value.kind() == Json::Text).and_then(|value| value.filled())
        {
            rtype.clone_into(&mut target.rtype);
            target.res = name.to_string();
            target.id = name.into_owned();
            break;
        }
    }
    draft.event.core.class = match op.rsplit('_').next() {
        Some("ADDED" | "CREATED") => Some(Class::Create),
        Some("DELETED" | "REMOVED") => Some(Class::Delete),
        Some("UPDATED" | "CHANGED" | "MODIFIED") => Some(Class::Modify),
        _ => None,
    };
    draft.event.core.op = op.into_owned();
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{draft, who};

    #[test]
    fn an_atlas_event_of_a_key_names_the_key() {
        let text = r#"{"created":"2024-03-13T12:08:33Z","eventTypeName":"CLUSTER_CREATED","id":"1","orgId":"o","publicKey":"pub","clusterName":"c1"}"#;
        let draft = draft(&ATLAS, text);
        assert_eq!((who(&draft).id.as_str(), draft.event.target.id.as_str()), ("key:pub", "c1"));
        assert_eq!(draft.event.core.class, Some(Class::Create));
    }
}
