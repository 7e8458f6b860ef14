//! What the logs of logins have in common: who tried, and whether the server let them in.

use crate::Draft;
use crate::text::given;
use countersign_event::{Auth, Class, Kind, Outcome, PrincipalKind, Verified};

/// A try to log in as `id` (canonical). Accepted: the server says so, and the name is asserted. Else it is what the
/// caller claimed to be.
pub(crate) fn tried(draft: &mut Draft, id: String, name: &str, kind: PrincipalKind, accepted: Option<bool>) {
    let core = &mut draft.event.core;
    core.kind = Some(Kind::Auth);
    core.class = Some(Class::Authenticate);
    "login".clone_into(&mut core.op);
    core.outcome = match accepted {
        Some(true) => Some(Outcome::Success),
        Some(false) => Some(Outcome::Denied),
        None => None,
    };
    if given(name).is_some() {
        let level = if accepted == Some(true) { Verified::Asserted } else { Verified::Claimed };
        let who = draft.who(id, kind, level);
        name.clone_into(&mut who.name);
    }
}

/// A user of the machine or service `realm`.
pub(crate) fn user(draft: &mut Draft, realm: &str, name: &str, accepted: Option<bool>) {
    tried(draft, format!("user:{realm}/{name}"), name, PrincipalKind::User, accepted);
}

/// A user of the database server `server`.
pub(crate) fn database(draft: &mut Draft, server: &str, name: &str, accepted: Option<bool>) {
    tried(draft, format!("db:{name}@{server}"), name, PrincipalKind::Service, accepted);
    if let Some(who) = &mut draft.event.who.who {
        who.auth = Some(Auth::DbPassword);
    }
}

/// The text after `before` and before the next `after`.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}
