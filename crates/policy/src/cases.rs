//! Test cases for policies: calls with the verdict that their author expects, as a JSON file.
//!
//! ```json
//! [ { "name": "payments reads orders", "expect": "allow", "by": ["payments-read-orders"],
//!     "principal": { "id": "spiffe://example.org/ns/shop/sa/payments", "kind": "workload", "verified": 4 },
//!     "protocol": "http/1.1", "operation": "GET", "class": "read",
//!     "service": "orders", "resource": "/orders/{id}" } ]
//! ```
//!
//! Pure: texts in, results out. A word that means nothing here is a problem, never a case that passes.

use crate::error::Problem;
use crate::set::PolicySet;
use crate::{Ground, Request, ground};
use countersign_event::{Auth, Class, Decision, Mode, Principal, PrincipalKind, Verdict, Verified};
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Largest file of cases, bytes.
pub const CASES_FILE_MAX: usize = 8 << 20;
/// Most ids on whose behalf a case's call is made.
const BEHALF_MAX: usize = 16;

/// One case and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// `allow` or `deny`.
    pub expected: String,
    /// What enforce mode says.
    pub decision: Decision,
    /// Whether verdict and, where stated, policies are as expected. An evaluation error is no expected deny.
    pub passed: bool,
}

/// Runs all cases of a file's text against a set, in enforce mode.
///
/// # Errors
/// The first case that is not well formed.
pub fn run(set: &PolicySet, file: &str, text: &str) -> Result<Vec<CaseResult>, Problem> {
    if text.len() > CASES_FILE_MAX {
        return Err(Problem::of_file(file, format!("larger than {CASES_FILE_MAX} bytes"), "split the file"));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| Problem {
        line: error.line(),
        column: error.column(),
        ..Problem::of_file(file, error.to_string(), "")
    })?;
    let Value::Array(cases) = value else {
        return Err(Problem::of_file(file, "the file is no list of cases", "write [ { \"name\": … } ]"));
    };
    let wrong = |n: usize, why: String| Problem::of_file(file, format!("case {}: {why}", n + 1), "");
    cases.iter().enumerate().map(|(n, case)| one(set, case).map_err(|why| wrong(n, why))).collect()
}

const KEYS: [&str; 17] = [
    "name",
    "expect",
    "by",
    "principal",
    "on_behalf_of",
    "protocol",
    "operation",
    "service",
    "resource",
    "type",
    "namespace",
    "class",
    "time_ns",
    "peer",
    "tls",
    "route",
    "purpose",
];
const PRINCIPAL_KEYS: [&str; 7] = ["id", "kind", "verified", "method", "groups", "iss", "svc"];

fn one(set: &PolicySet, case: &Value) -> Result<CaseResult, String> {
    let map = object(case, "case", &KEYS)?;
    let who = map.get("principal").filter(|p| !p.is_null()).map(principal).transpose()?;
    let behalf = match map.get("on_behalf_of") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= BEHALF_MAX => {
            list.iter().map(principal).collect::<Result<Vec<_>, _>>()?
        }
        Some(_) => return Err(format!("`on_behalf_of` is no list of at most {BEHALF_MAX} principals")),
    };
    let class = match text(map, "class")? {
        "" => None,
        word => Some(Class::from_word(word).ok_or_else(|| format!("no class `{word}`"))?),
    };
    let peer = match text(map, "peer")? {
        "" => None,
        peer => Some(peer.parse::<IpAddr>().map_err(|_| format!("`peer` {peer:?} is no address"))?),
    };
    let request = Request {
        principal: who.as_ref(),
        on_behalf_of: &behalf,
        protocol: text(map, "protocol")?,
        operation: text(map, "operation")?,
        service: text(map, "service")?,
        resource: text(map, "resource")?,
        resource_type: text(map, "type")?,
        namespace: text(map, "namespace")?,
        class,
        time_ns: number(map, "time_ns")?,
        peer,
        tls: match map.get("tls") {
            None => false,
            Some(tls) => tls.as_bool().ok_or("`tls` is neither true nor false")?,
        },
        route: text(map, "route")?,
        purpose: text(map, "purpose")?,
    };
    let expected = text(map, "expect")?;
    if !matches!(expected, "allow" | "deny") {
        return Err("`expect` is neither \"allow\" nor \"deny\"".to_owned());
    }
    let decision = set.decide_as(&request, Mode::Enforce);
    let verdict = match decision.verdict {
        Some(Verdict::Allow) => "allow",
        _ => "deny",
    };
    let mut by = texts(map, "by")?;
    by.sort_unstable();
    let named = by.is_empty() || by == decision.policies;
    let passed = verdict == expected && named && ground(&decision) != Ground::Error;
    let name = text(map, "name")?.to_owned();
    Ok(CaseResult { name, expected: expected.to_owned(), decision, passed })
}

fn principal(value: &Value) -> Result<Principal, String> {
    let map = object(value, "principal", &PRINCIPAL_KEYS)?;
    let id = text(map, "id")?;
    if id.is_empty() {
        return Err("a principal has no `id`".to_owned());
    }
    let level = number(map, "verified")?;
    let verified = Verified::from_code(level).filter(|v| !matches!(v, Verified::Other(_)));
    let mut who = Principal::new(id, verified.ok_or("`verified` is not 1, 2, 3 or 4")?);
    let unknown = |key: &str, word: &str| format!("no {key} `{word}`");
    match text(map, "kind")? {
        "" => {}
        word => who.kind = Some(PrincipalKind::from_word(word).ok_or_else(|| unknown("kind", word))?),
    }
    match text(map, "method")? {
        "" => {}
        word => who.auth = Some(Auth::from_word(word).ok_or_else(|| unknown("method", word))?),
    }
    who.groups = texts(map, "groups")?;
    (who.iss, who.svc) = (text(map, "iss")?.to_owned(), text(map, "svc")?.to_owned());
    Ok(who)
}

fn object<'a>(value: &'a Value, what: &str, keys: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let map = value.as_object().ok_or_else(|| format!("the {what} is no object"))?;
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("no key {key:?} in a {what}; known: {}", keys.join(", "))),
        None => Ok(map),
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match map.get(key) {
        None => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| format!("`{key}` is no text")),
    }
}

fn texts(map: &Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` is no list of texts");
    let Some(value) = map.get(key) else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

fn number(map: &Map<String, Value>, key: &str) -> Result<u64, String> {
    map.get(key).map_or(Ok(0), |value| value.as_u64().ok_or_else(|| format!("`{key}` is no whole number")))
}
