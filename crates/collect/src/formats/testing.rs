//! What the tests of the JSON formats share.

use super::{Format, Record};
use crate::json::Doc;
use crate::{Draft, Fault};
use countersign_event::{Principal, Relation, Verified};

/// What `format` makes of `text`, unread fields in `unmapped`; realm `r`, 2024-06-01.
pub(super) fn parsed(format: &Format, text: &str) -> Result<Draft, Fault> {
    let doc = Doc::parse(text.as_bytes()).ok();
    let now = 1_717_200_000_000_000_000;
    let record = Record { json: doc.as_ref(), realm: "r", ..Record::new(text.as_bytes(), now) };
    assert!((format.looks)(&record), "{} does not know {text}", format.name);
    let mut draft = (format.parse)(&record)?;
    if let Some(doc) = &doc {
        doc.unread(&mut |pointer, token| draft.token(pointer, token));
    }
    Ok(draft)
}

/// The same for a record that must parse.
pub(super) fn draft(format: &Format, text: &str) -> Draft {
    parsed(format, text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

/// The actor.
pub(super) fn who(draft: &Draft) -> &Principal {
    draft.event.who.who.as_ref().unwrap()
}

/// The chain behind the actor.
pub(super) fn obo(draft: &Draft) -> Vec<(&str, Relation, Verified)> {
    draft.event.who.obo.iter().map(|p| (p.id.as_str(), p.rel.unwrap(), p.verified)).collect()
}
