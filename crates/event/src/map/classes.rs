//! Which OCSF class an event is, and what the class says of the event's kind.

use super::tree::{Json, get};

/// A class of OCSF that events are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// `class_uid`.
    pub uid: u64,
    /// `class_name`.
    pub name: &'static str,
    /// Kinds of the event that are written as it.
    pub kinds: &'static [&'static str],
    /// Its bit in a row's scope.
    pub(super) bit: u16,
}

impl Class {
    /// `category_uid`.
    pub fn category(&self) -> u64 {
        self.uid / 1000
    }
    /// The kind of every event of this class; `None` = several.
    pub(super) fn only_kind(&self) -> Option<&'static str> {
        if let [kind] = self.kinds { Some(kind) } else { None }
    }
    /// The kind that our own export leaves out, as the class says it. Network activity also takes what is opaque.
    pub(super) fn implied_kind(&self) -> Option<&'static str> {
        self.only_kind().filter(|_| self.bit != NETWORK)
    }
}

/// 0, what has no class of its own.
pub(super) const BASE: u16 = 1;
/// 4001
pub(super) const NETWORK: u16 = 2;
/// 4002
pub(super) const HTTP: u16 = 4;
/// 4003
pub(super) const DNS: u16 = 8;
/// 6003
pub(super) const API: u16 = 16;
/// 6005
pub(super) const DATA: u16 = 32;
/// 3002
pub(super) const AUTH: u16 = 64;
/// 6002
pub(super) const LIFE: u16 = 128;
/// 2004
pub(super) const FINDING: u16 = 256;
/// 6006
pub(super) const FILE: u16 = 512;
/// Every class.
pub(super) const ALL: u16 = 1023;
/// Classes with endpoints.
pub(super) const ENDS: u16 = NETWORK | HTTP | DNS | API | DATA | AUTH | FILE;
/// Classes of the network category.
pub(super) const NET: u16 = NETWORK | HTTP | DNS;

/// The classes that are written and read.
#[rustfmt::skip] // one row a line
pub const CLASSES: &[Class] = &[
    Class { uid: 0, name: "Base Event", kinds: &[], bit: BASE },
    Class { uid: 2004, name: "Detection Finding", kinds: &[], bit: FINDING },
    Class { uid: 3002, name: "Authentication", kinds: &["auth"], bit: AUTH },
    Class { uid: 4001, name: "Network Activity", kinds: &["l4"], bit: NETWORK },
    Class { uid: 4002, name: "HTTP Activity", kinds: &["http"], bit: HTTP },
    Class { uid: 4003, name: "DNS Activity", kinds: &["dns"], bit: DNS },
    Class { uid: 6002, name: "Application Lifecycle", kinds: &["lifecycle"], bit: LIFE },
    Class { uid: 6003, name: "API Activity", kinds: &["grpc", "rpc", "messaging", "cloud_api", "k8s_api", "secret", "tool", "policy"], bit: API },
    Class { uid: 6005, name: "Datastore Activity", kinds: &["sql", "kv", "doc", "object", "directory"], bit: DATA },
    Class { uid: 6006, name: "File Hosting Activity", kinds: &["file"], bit: FILE },
];

/// The class with this uid; `None` = none of those above.
pub(super) fn by_uid(uid: u64) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.uid == uid)
}

/// The class of an event in its JSON form: a finding whatever its kind, then by kind; what is opaque and has no
/// kind is network activity.
pub(super) fn of(event: &Json) -> &'static Class {
    let word = |path: &str| if let Some(Json::Text(word)) = get(event, path) { word.as_str() } else { "" };
    if word("core.rec") == "finding" {
        return &CLASSES[1];
    }
    let kind = word("core.kind");
    let by_kind = CLASSES.iter().find(|class| class.kinds.contains(&kind));
    match by_kind {
        Some(class) => class,
        None if word("core.rec") == "opaque" && get(event, "core.kind").is_none() => &CLASSES[3],
        None => &CLASSES[0],
    }
}
