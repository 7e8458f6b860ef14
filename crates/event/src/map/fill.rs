//! What OCSF requires where the event says nothing: `unknown`, 0, or what is known anyway.
//!
//! On the way back such a value is nothing again, but only in a record that carries our extension.

use super::classes::*;
use super::tree::{Json, get, put, text};

/// A value that stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filler {
    /// `unknown`
    Unknown,
    /// A number.
    Number(u64),
    /// A name.
    Word(&'static str),
    /// The event id in hexadecimal.
    Eid,
    /// The time of the event, else of its observation, in ms.
    Time,
}

/// One thing that OCSF requires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// Classes that require it.
    classes: u16,
    /// The object that requires it, if it is there; empty = the record itself.
    within: &'static str,
    /// One of these must be in it; paths.
    any: &'static [&'static str],
    /// Where the filler goes, behind `within`.
    at: &'static str,
    /// The filler.
    value: Filler,
}

use Filler::{Eid, Number, Time, Unknown, Word};

/// A row: classes, object, one of, place, filler.
const fn need(
    classes: u16,
    within: &'static str,
    any: &'static [&'static str],
    at: &'static str,
    value: Filler,
) -> Need {
    Need { classes, within, any, at, value }
}

const WITH_ACTOR: u16 = API | DATA | FILE;

/// Everything that the classes of [`CLASSES`] and the objects that we write require (OCSF 1.8.0: `requirement` and
/// `constraints`), outer before inner.
#[rustfmt::skip] // one row a line
pub(super) const NEEDS: &[Need] = &[
    need(ALL, "", &["time"], "time", Time),
    need(ALL, "", &["activity_id"], "activity_id", Number(0)),
    need(ALL, "", &["severity_id"], "severity_id", Number(1)),
    need(ALL, "", &["metadata.version"], "metadata.version", Word(super::OCSF_VERSION)),
    need(ALL, "metadata", &["product.name"], "product.name", Word("Countersign")),
    need(ALL, "metadata", &["product.vendor_name"], "product.vendor_name", Word("Countersign")),
    need(WITH_ACTOR, "", &["actor"], "actor.app_uid", Unknown),
    need(WITH_ACTOR, "", &["src_endpoint"], "src_endpoint.uid", Unknown),
    need(NETWORK | DNS, "", &["src_endpoint", "dst_endpoint"], "src_endpoint.uid", Unknown),
    need(API, "", &["api"], "api.operation", Unknown),
    need(HTTP, "", &["http_request", "http_response"], "http_request.uid", Eid),
    need(DATA, "", &["database", "databucket", "table"], "table.uid", Unknown),
    need(AUTH, "", &["user"], "user.uid", Unknown),
    need(AUTH, "", &["service", "dst_endpoint"], "service.uid", Unknown),
    need(LIFE, "", &["app"], "app.uid", Unknown),
    need(FINDING, "", &["finding_info"], "finding_info.uid", Eid),
    need(FILE, "", &["file"], "file.name", Unknown),
    need(ALL, "actor", &["user", "app_name", "app_uid", "session", "process", "invoked_by"], "app_uid", Unknown),
    need(ALL, "actor.user", &["uid", "name", "account"], "uid", Unknown),
    need(AUTH, "user", &["uid", "name", "account"], "uid", Unknown),
    need(ALL, "src_endpoint", &["ip", "name", "hostname", "uid", "svc_name"], "uid", Unknown),
    need(ALL, "dst_endpoint", &["ip", "name", "hostname", "uid", "svc_name"], "uid", Unknown),
    need(ALL, "connection_info", &["direction_id"], "direction_id", Number(0)),
    need(ALL, "tls", &["version"], "version", Unknown),
    need(ALL, "ja4_fingerprint_list.0", &["type_id"], "type_id", Number(1)),
    need(ALL, "api", &["operation"], "operation", Unknown),
    need(ALL, "api.request", &["uid"], "uid", Eid),
    need(ALL, "http_request.url", &["url_string", "path"], "path", Unknown),
    need(ALL, "http_response", &["code"], "code", Number(0)),
    need(ALL, "query_info", &["query_string"], "query_string", Unknown),
    need(ALL, "query_info", &["name", "uid"], "uid", Unknown),
    need(ALL, "database", &["type_id"], "type_id", Number(0)),
    need(ALL, "databucket", &["type_id"], "type_id", Number(0)),
    need(ALL, "query", &["hostname"], "hostname", Unknown),
    need(ALL, "resources.0", &["name", "uid"], "uid", Unknown),
    need(ALL, "file", &["name"], "name", Unknown),
    need(ALL, "file", &["type_id"], "type_id", Number(0)),
    need(ALL, "finding_info", &["uid"], "uid", Eid),
    need(ALL, "cloud", &["provider"], "provider", Unknown),
    need(ALL, "trace", &["uid"], "uid", Unknown),
    need(ALL, "trace.span", &["uid"], "uid", Unknown),
    need(ALL, "trace.span", &["start_time"], "start_time", Time),
    need(ALL, "trace.span", &["end_time"], "end_time", Time),
    need(ALL, "raw_data_hash", &["algorithm_id"], "algorithm_id", Number(0)),
    need(ALL, "raw_data_hash", &["value"], "value", Unknown),
];

/// Attributes that OCSF has in a profile alone, the profile, and the classes where it is one.
const PROFILES: &[(&str, &str, u16)] = &[
    ("actor", "host", BASE | NET | FINDING | LIFE),
    ("action_id", "security_control", ALL),
    ("authorizations", "security_control", ALL),
    ("cloud", "cloud", ALL),
    ("trace", "trace", HTTP | API),
];

impl Need {
    fn path(&self) -> String {
        if self.within.is_empty() { self.at.to_owned() } else { format!("{}.{}", self.within, self.at) }
    }
}

/// What fillers are made of.
pub(super) struct Known {
    pub(super) eid: Option<String>,
    pub(super) time: Option<i128>,
}

impl Filler {
    fn value(self, known: &Known) -> Option<Json> {
        Some(match self {
            Unknown => text("unknown"),
            Number(n) => Json::Int(i128::from(n)),
            Word(word) => text(word),
            Eid => text(known.eid.as_deref()?),
            Time => Json::Int(known.time?),
        })
    }
}

/// Puts in what is required and missing, and names the profiles that the record uses.
pub(super) fn fill(class: &Class, out: &mut Json, known: &Known) {
    for need in NEEDS.iter().filter(|need| need.classes & class.bit != 0) {
        let Some(home) = get(out, need.within) else { continue };
        if need.any.iter().all(|path| get(home, path).is_none())
            && let Some(value) = need.value.value(known)
        {
            put(out, &need.path(), value);
        }
    }
    let mut profiles = Vec::new();
    for (attribute, profile, classes) in PROFILES {
        let profile = text(profile);
        if classes & class.bit != 0 && get(out, attribute).is_some() && !profiles.contains(&profile) {
            profiles.push(profile);
        }
    }
    if !profiles.is_empty() {
        put(out, "metadata.profiles", Json::Array(profiles));
    }
}

/// Whether `value` at `path` is what [`fill`] puts there.
pub(super) fn is_filler(class: &Class, path: &str, value: &Json, known: &Known) -> bool {
    places(class).any(|(at, filler)| at == path && filler.value(known).as_ref() == Some(value))
}

/// Every place of a filler in a class.
pub(super) fn places(class: &Class) -> impl Iterator<Item = (String, Filler)> {
    let bit = class.bit;
    NEEDS.iter().filter(move |need| need.classes & bit != 0).map(|need| (need.path(), need.value))
}
