//! Values of single fields of access logs: TLS, traces, principals, endings.

use crate::Draft;
use crate::draft::{endpoint, ip};
use countersign_event::cbor::Value;
use countersign_event::{Class, Endpoint, Event, Kind, LinkVia, Links, Outcome, StatusSpace, Tls};

/// Sets `place` if there is a value; says whether there is.
pub(super) fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is = value.is_some();
    if is {
        *place = value;
    }
    is
}

pub(super) fn tls(event: &mut Event) -> &mut Tls {
    event.peer.tls.get_or_insert_default()
}

pub(super) fn detail_text(draft: &mut Draft, key: u64, text: &str) {
    draft.event.content.detail.insert(key, Value::Text(text.to_owned()));
}

/// `12`, `0.037` or, with a unit of its own, `5013ms`: nanoseconds. `unit` counts where none is written.
pub(super) fn length(text: &str, unit: u64) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("ns", 1), ("us", 1_000), ("\u{b5}s", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    // HAProxy writes a plus where the session went on.
    let text = text.trim().trim_start_matches('+');
    let own = UNITS.iter().find_map(|(name, ns)| text.strip_suffix(name).map(|number| (number, *ns)));
    let (number, unit) = own.unwrap_or((text, unit));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.bytes().any(|b| !b.is_ascii_digit()) || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut ns = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        ns = ns.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(ns)
}

/// An address, an address with a port, a host with a port, a path of a socket, or a name.
pub(super) fn place(end: &mut Endpoint, text: &str) {
    if let Some(found) = endpoint(text) {
        end.ip = found.ip;
        end.port = found.port.or(end.port);
        return;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !text.starts_with("unix:") && port.parse::<u16>().is_ok() => {
            end.port = port.parse().ok();
            match ip(host) {
                Some(address) => end.ip = Some(address),
                None => host.clone_into(&mut end.host),
            }
        }
        _ => text.clone_into(&mut end.host),
    }
}

/// `TLSv1.2`, `TLS 1.3`, `tlsv12`, `1.2`, `SSLv3`.
pub(super) fn tls_version(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits: String = lower.chars().filter(char::is_ascii_digit).collect();
    Some(match (lower.starts_with("ssl"), digits.as_str()) {
        (true, "3") => 0x0300,
        (false, "1" | "10") => 0x0301,
        (false, "11") => 0x0302,
        (false, "12") => 0x0303,
        (false, "13") => 0x0304,
        // Go writes the number itself: 0x0304 = 772.
        (false, "769" | "770" | "771" | "772") => digits.parse().ok()?,
        _ => return None,
    })
}

/// Number of a cipher suite by the names of IANA and of OpenSSL.
pub(super) fn cipher(name: &str) -> Option<u64> {
    const NAMES: [(u64, &str, &str); 14] = [
        (0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        (0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        (0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
        (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
        (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
        (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    ];
    let number = NAMES.iter().find(|(_, iana, openssl)| name == *iana || name == *openssl);
    number.map(|(number, ..)| *number).or_else(|| name.parse().ok())
}

/// `r` and `.` of nginx, `1` and `0`, `true` and `false`.
pub(super) fn yes(text: &str) -> Option<bool> {
    match text {
        "r" | "1" | "true" => Some(true),
        "." | "0" | "false" => Some(false),
        _ => None,
    }
}

/// Exactly `N` bytes in hexadecimal digits; colons between them are allowed.
pub(super) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut digits = text.bytes().filter(|b| *b != b':').map(|b| char::from(b).to_digit(16));
    for byte in &mut out {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(out)
}

/// `00-<trace>-<span>-<flags>` (W3C Trace Context), or a trace id alone.
pub(super) fn trace(links: &mut Links, value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').take(5).collect();
    if let [_, trace, span, flags] = parts.as_slice() {
        let (trace, span) = (hex(trace).filter(|t| *t != [0; 16]), hex(span).filter(|s| *s != [0; 8]));
        if trace.is_none() || span.is_none() {
            return false;
        }
        (links.trace, links.span) = (trace, span);
        links.tflags = hex::<1>(flags).map(|[flags]| u64::from(flags));
        links.via = Some(LinkVia::Traceparent);
        return true;
    }
    let trace = hex(value).filter(|trace| *trace != [0; 16]);
    if trace.is_some() {
        (links.trace, links.via) = (trace, Some(LinkVia::VendorHeader));
    }
    trace.is_some()
}

/// Id of a principal named by a certificate. The trust domain of a SPIFFE id is lowered, nothing else.
pub(super) fn principal(name: &str, subject: bool) -> String {
    if let Some(rest) = name.strip_prefix("spiffe://") {
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return format!("spiffe://{}{path}", domain.to_ascii_lowercase());
    }
    if subject { format!("user:x509/{name}") } else { format!("user:mtls/{name}") }
}

/// Gives the name of the workload in a SPIFFE id of Istio.
pub(super) fn workload(id: &str, give: impl FnOnce(String)) {
    if let Some((_, name)) = id.split_once("/sa/").filter(|_| id.starts_with("spiffe://")) {
        give(name.to_owned());
    }
}

/// Names of gRPC's status codes, by code.
const GRPC: [&str; 17] = [
    "ok",
    "canceled",
    "unknown",
    "invalidargument",
    "deadlineexceeded",
    "notfound",
    "alreadyexists",
    "permissiondenied",
    "resourceexhausted",
    "failedprecondition",
    "aborted",
    "outofrange",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
    "unauthenticated",
];

/// Makes the exchange a call of gRPC: its status is how it ended, whatever HTTP says. `false` if it is no status.
pub(crate) fn grpc(draft: &mut Draft, status: &str) -> bool {
    let plain: String = status.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
    let plain = if plain == "cancelled" { "canceled".to_owned() } else { plain };
    let code = status.parse().ok().filter(|code| *code < GRPC.len());
    let Some(code) = code.or_else(|| GRPC.iter().position(|name| **name == plain)) else { return false };
    // Keys of `detail` are those of the kind; what HTTP's said stays by name.
    let details = std::mem::take(&mut draft.event.content.detail);
    for (key, value) in details {
        if let (countersign_event::fields::detail::http::SCHEME, Value::Text(scheme)) = (key, value) {
            draft.rest("scheme", &scheme);
        }
    }
    let core = &mut draft.event.core;
    (core.kind, core.class) = (Some(Kind::Grpc), Some(Class::Execute));
    "grpc".clone_into(&mut core.proto);
    let target = &mut *draft.event.target;
    if let Some((service, method)) = target.raw.trim_start_matches('/').split_once('/') {
        method.clone_into(&mut core.op);
        if target.svc.is_empty() {
            service.clone_into(&mut target.svc);
        }
        // A method is a name, not an id: the path is its own template.
        target.res.clone_from(&target.raw);
        target.id.clear();
    }
    core.status = Some((StatusSpace::Grpc, code.to_string()));
    core.outcome = Some(match code {
        0 => Outcome::Success,
        1 => Outcome::Cancelled,
        4 => Outcome::Timeout,
        7 | 16 => Outcome::Denied,
        2 | 12..=15 => Outcome::ServerError,
        _ => Outcome::CallerError,
    });
    true
}

/// How an exchange without a status ended, by Envoy's response flags (short names).
pub(super) fn flags_outcome(flags: &str) -> Option<Outcome> {
    flags.split(',').find_map(|flag| {
        Some(match flag {
            "DC" | "DR" => Outcome::Cancelled,
            "UT" | "SI" | "DT" | "UMSDR" => Outcome::Timeout,
            "UAEX" | "RL" | "RLSE" => Outcome::Denied,
            "DPE" | "IH" | "NR" => Outcome::CallerError,
            "UF" | "UH" | "UC" | "UO" | "UR" | "LR" | "LH" | "URX" | "NC" | "UPE" | "OM" | "DF" => {
                Outcome::ServerError
            }
            _ => return None,
        })
    })
}

/// The same by HAProxy's termination state ("Session state at disconnection"): its first letter says who ended it.
pub(super) fn termination_outcome(state: &str) -> Option<Outcome> {
    let mut letters = state.chars();
    Some(match (letters.next()?, letters.next()?) {
        ('-', '-') => Outcome::Success,
        ('C', _) => Outcome::Cancelled,
        ('c' | 's', _) => Outcome::Timeout,
        ('P', 'R') => Outcome::Denied,
        ('S' | 'R' | 'I' | 'P' | 'D', _) => Outcome::ServerError,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_carry_their_own_unit_or_the_field_s() {
        assert_eq!(length("0.037", 1_000_000_000), Some(37_000_000));
        assert_eq!(length("5013ms", 1), Some(5_013_000_000));
        assert_eq!(length("+12", 1_000_000), Some(12_000_000));
        assert_eq!(length("1.5s", 1), Some(1_500_000_000));
        assert_eq!(length("x", 1), None);
        assert_eq!(length("", 1), None);
        assert_eq!(length("99999999999999999999", 1), None);
    }

    #[test]
    fn traces_of_zeros_and_of_wrong_length_are_none() {
        let mut links = Links::default();
        assert!(trace(&mut links, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert_eq!((links.tflags, links.via), (Some(1), Some(LinkVia::Traceparent)));
        for bad in ["00-00000000000000000000000000000000-b7ad6b7169203331-01", "0af7", "-", "00-x-y-z"] {
            assert!(!trace(&mut Links::default(), bad), "{bad}");
        }
    }

    #[test]
    fn the_status_of_grpc_is_the_outcome_and_not_http_s() {
        for (status, outcome) in [
            ("7", Outcome::Denied),
            ("PermissionDenied", Outcome::Denied),
            ("OK", Outcome::Success),
            ("UNAVAILABLE", Outcome::ServerError),
        ] {
            let mut draft = Draft::new();
            crate::http::request(&mut draft, "POST", "/shop.Orders/Get", "HTTP/2");
            crate::http::status(&mut draft, 200);
            assert!(grpc(&mut draft, status));
            assert_eq!(draft.event.core.outcome, Some(outcome), "{status}");
            assert_eq!(draft.event.core.op, "Get");
        }
        assert!(!grpc(&mut Draft::new(), "17"));
    }
}
