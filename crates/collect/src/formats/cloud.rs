//! What the audit records of platforms have in common: verbs in names of operations, principals, addresses.

use crate::Draft;
use crate::json::Val;
use countersign_event::{Class, IdentityFrom, Principal, PrincipalKind, Relation, Tls, Verified};
use std::borrow::Cow;

/// First words of operation names, lower case, and their class. A word that means different things in different
/// services (`batch`, `process`, `accept`, `test`) is not here: the class stays absent.
const VERBS: &[(&str, Class)] = &[
    ("get", Class::Read),
    ("list", Class::Read),
    ("describe", Class::Read),
    ("read", Class::Read),
    ("head", Class::Read),
    ("lookup", Class::Read),
    ("query", Class::Read),
    ("scan", Class::Read),
    ("search", Class::Read),
    ("select", Class::Read),
    ("watch", Class::Read),
    ("download", Class::Read),
    ("decrypt", Class::Execute),
    ("encrypt", Class::Execute),
    ("sign", Class::Execute),
    ("verify", Class::Execute),
    ("create", Class::Create),
    ("insert", Class::Create),
    ("run", Class::Create),
    ("allocate", Class::Create),
    ("register", Class::Create),
    ("import", Class::Create),
    ("copy", Class::Create),
    ("upload", Class::Create),
    ("put", Class::Modify),
    ("update", Class::Modify),
    ("modify", Class::Modify),
    ("patch", Class::Modify),
    ("set", Class::Modify),
    ("write", Class::Modify),
    ("add", Class::Modify),
    ("remove", Class::Modify),
    ("attach", Class::Modify),
    ("detach", Class::Modify),
    ("associate", Class::Modify),
    ("disassociate", Class::Modify),
    ("enable", Class::Modify),
    ("disable", Class::Modify),
    ("authorize", Class::Modify),
    ("revoke", Class::Modify),
    ("tag", Class::Modify),
    ("untag", Class::Modify),
    ("replace", Class::Modify),
    ("restore", Class::Modify),
    ("delete", Class::Delete),
    ("deletecollection", Class::Delete),
    ("terminate", Class::Delete),
    ("deregister", Class::Delete),
    ("purge", Class::Delete),
    ("invoke", Class::Execute),
    ("start", Class::Execute),
    ("stop", Class::Execute),
    ("reboot", Class::Execute),
    ("execute", Class::Execute),
    ("send", Class::Execute),
    ("publish", Class::Execute),
    ("action", Class::Execute),
    ("assume", Class::Authenticate),
    ("login", Class::Authenticate),
];

/// Class of an operation by the first word of its last part: `GetObject`, `storage.buckets.update`,
/// `Microsoft.Storage/storageAccounts/write`, `v1.JobService.InsertJob`. `None` = the word is not known.
pub(super) fn class(op: &str) -> Option<Class> {
    let last = op.rsplit(['.', '/']).next().unwrap_or(op);
    // The first word ends where a capital follows; an abbreviation or shouted name is one word.
    let shouted = !last.bytes().any(|b| b.is_ascii_lowercase());
    let inner = last.bytes().skip(1).position(|b| b.is_ascii_uppercase() && !shouted);
    let word = last.get(..inner.map_or(last.len(), |at| at + 1)).unwrap_or(last);
    let word = word.split(['_', '-', ':']).next().unwrap_or(word);
    VERBS.iter().find(|(verb, _)| verb.eq_ignore_ascii_case(word)).map(|(_, class)| *class)
}

/// An identity that a field of the record names.
pub(super) fn principal(id: String, name: &str, kind: Option<PrincipalKind>, level: Verified) -> Principal {
    Principal {
        kind,
        name: name.to_owned(),
        from: Some(IdentityFrom::RecordField),
        ..Principal::new(id, level)
    }
}

/// The same, on whose behalf the actor acted.
pub(super) fn behind(mut principal: Principal, rel: Relation) -> Principal {
    principal.rel = Some(rel);
    principal
}

/// The caller's address; what is none (a service's name, a word) is kept as its host.
pub(super) fn source(draft: &mut Draft, text: &str) {
    if !draft.src(text) {
        draft.event.peer.src.get_or_insert_default().host = text.to_owned();
    }
}

/// Text of the member at `path`, taken; empty texts are none.
pub(super) fn text<'a>(value: Val<'_, 'a>, path: &str) -> Option<Cow<'a, str>> {
    value.at(path).and_then(|member| member.filled())
}

/// The TLS version as platforms spell it (`TLSv1.3`, `TLS 1.2`, `1.3`), to its number on the wire (RFC 8446
/// section 4.1.2).
pub(super) fn tls_version(draft: &mut Draft, text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let version = match digits {
        "1" | "1.0" => 0x0301,
        "1.1" => 0x0302,
        "1.2" => 0x0303,
        "1.3" => 0x0304,
        _ => return false,
    };
    draft.event.peer.tls.get_or_insert_with(Tls::default).version = Some(version);
    true
}

/// Hexadecimal digits as bytes.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    let bytes = bytes.as_ref();
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operations_class_is_that_of_its_verb_or_unknown() {
        for (op, want) in [
            ("GetObject", Some(Class::Read)),
            ("google.cloud.bigquery.v2.JobService.InsertJob", Some(Class::Create)),
            ("storage.buckets.update", Some(Class::Modify)),
            ("MICROSOFT.STORAGE/STORAGEACCOUNTS/DELETE", Some(Class::Delete)),
            ("Microsoft.KeyVault/vaults/keys/recover/action", Some(Class::Execute)),
            ("GETTYSBURG", None),
            ("BatchGetItem", None),
            ("", None),
        ] {
            assert_eq!(class(op), want, "{op}");
        }
    }
}
