//! nginx: a `log_format` compiled, and the formats of projects that ship nginx with one of their own.
//!
//! Source: nginx, ngx_http_log_module and ngx_http_core_module, "Embedded Variables"; ingress-nginx, "Log format".
//! `$name` and `${name}` are variables; all else stands as it is. A variable that no module defines may be the
//! operator's own (`map`, `set`): it goes to `unmapped` by its name, and the compiler tells the nearest known one.
//!
//! Escapes are those of `escape=default`; with `escape=json` the line is JSON and read as such, with `escape=none` a
//! field ends at the first border all the same. `$remote_addr` is the server's own view (after ngx_http_realip it is
//! what a proxy said; `$realip_remote_addr` then is the socket's). `$remote_user` is the client's claim.

use super::{Clock, Compiled, Known, Role, read_known};
use crate::formats::{Format, Record};
use crate::plan::{Builder, Escape, FormatError, Span};
use crate::{Draft, Fault};
use std::net::IpAddr;
use std::sync::LazyLock;

const SECOND: u64 = 1_000_000_000;

/// Variables and what they mean. Those without a meaning are known, and go to `unmapped`.
const VARIABLES: &[(&str, Role)] = &[
    ("remote_addr", Role::Client),
    ("remote_port", Role::ClientPort),
    ("remote_user", Role::User),
    ("realip_remote_addr", Role::Rest),
    ("proxy_protocol_addr", Role::Rest),
    ("binary_remote_addr", Role::Rest),
    ("server_addr", Role::Local),
    ("server_port", Role::LocalPort),
    ("server_name", Role::Rest),
    ("time_local", Role::Time(Clock::Clf)),
    ("time_iso8601", Role::Time(Clock::Iso)),
    ("msec", Role::Time(Clock::Unix(1_000_000_000))),
    ("request", Role::Request),
    ("request_method", Role::Method),
    ("request_uri", Role::Uri),
    ("uri", Role::Rest),
    ("document_uri", Role::Rest),
    ("args", Role::Query),
    ("query_string", Role::Query),
    ("is_args", Role::Skip),
    ("server_protocol", Role::Protocol),
    ("scheme", Role::Scheme),
    ("https", Role::Rest),
    ("host", Role::Host),
    ("http_host", Role::Host),
    ("hostname", Role::Rest),
    ("status", Role::Status),
    ("body_bytes_sent", Role::Sent),
    ("bytes_sent", Role::Rest),
    ("request_length", Role::Received),
    ("content_length", Role::Rest),
    ("content_type", Role::Rest),
    ("request_time", Role::Took(SECOND)),
    ("request_completion", Role::Rest),
    ("request_id", Role::RequestId),
    ("req_id", Role::RequestId),
    ("http_x_request_id", Role::Header),
    ("http_referer", Role::Header),
    ("http_user_agent", Role::Header),
    ("http_x_forwarded_for", Role::Forwarded),
    ("proxy_add_x_forwarded_for", Role::Forwarded),
    ("http_traceparent", Role::Trace),
    ("opentelemetry_trace_id", Role::Trace),
    ("otel_trace_id", Role::Trace),
    ("otel_span_id", Role::Span),
    ("sent_http_grpc_status", Role::GrpcStatus),
    ("sent_trailer_grpc_status", Role::GrpcStatus),
    ("upstream_addr", Role::Upstream),
    ("upstream_status", Role::Rest),
    ("upstream_response_time", Role::TookUpstream(SECOND)),
    ("upstream_connect_time", Role::Rest),
    ("upstream_header_time", Role::Rest),
    ("upstream_response_length", Role::Rest),
    ("upstream_bytes_received", Role::Rest),
    ("upstream_bytes_sent", Role::Rest),
    ("upstream_cache_status", Role::Rest),
    ("proxy_host", Role::Rest),
    ("proxy_upstream_name", Role::Service),
    ("proxy_alternative_upstream_name", Role::Rest),
    ("service_name", Role::Rest),
    ("namespace", Role::Rest),
    ("ingress_name", Role::Rest),
    ("ssl_protocol", Role::TlsVersion),
    ("ssl_cipher", Role::Cipher),
    ("ssl_server_name", Role::Sni),
    ("ssl_session_reused", Role::Resumed),
    ("ssl_client_s_dn", Role::PeerSubject),
    ("ssl_client_verify", Role::Rest),
    ("ssl_client_fingerprint", Role::Rest),
    ("connection", Role::Rest),
    ("connection_requests", Role::Rest),
    ("pipe", Role::Rest),
    ("pid", Role::Rest),
    ("gzip_ratio", Role::Rest),
    ("geoip_country_code", Role::Rest),
    ("protocol", Role::Transport),
    ("bytes_received", Role::Received),
    ("session_time", Role::Took(SECOND)),
    ("ssl_preread_server_name", Role::Sni),
];

/// Families of variables: a header, argument or cookie of any name.
const FAMILIES: [&str; 8] = [
    "http_",
    "sent_http_",
    "sent_trailer_",
    "upstream_http_",
    "upstream_trailer_",
    "arg_",
    "cookie_",
    "upstream_cookie_",
];

/// Compiles the text of a `log_format`: its strings joined, without the `escape=` before them.
///
/// # Errors
/// The place and the reason: a `$` without a name, `${` that does not end, two variables with nothing between.
pub fn compile(format: &str) -> Result<Compiled, FormatError> {
    let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
    dollars(format, Escape::Backslash, &|name| role(name), &names)
}

fn role(name: &str) -> (String, Role) {
    if let Some((_, role)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        let header = name.strip_prefix("http_").filter(|_| *role == Role::Header);
        return (header.unwrap_or(name).replace('_', if header.is_some() { "-" } else { "_" }), *role);
    }
    (name.to_owned(), Role::Rest)
}

/// Compiles a format whose fields are `$name` or `${name}`. `role` gives the name to keep and what it means.
pub(crate) fn dollars(
    format: &str,
    escape: Escape,
    role: &dyn Fn(&str) -> (String, Role),
    known: &[&str],
) -> Result<Compiled, FormatError> {
    let mut builder = Builder::new(format, escape)?;
    let mut at = 0;
    while let Some(rest) = format.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(dollar) = rest.find('$') else {
            builder.literal(rest);
            break;
        };
        builder.literal(rest.get(..dollar).unwrap_or_default());
        at += dollar;
        let (name, length) = variable(rest.get(dollar + 1..).unwrap_or_default(), at)?;
        let (kept, role) = role(name);
        let list = matches!(role, Role::Upstream | Role::TookUpstream(_)) || name.starts_with("upstream_");
        let list = list || matches!(role, Role::Forwarded);
        builder.field(at, kept, role, if list { Span::List } else { Span::Plain })?;
        at += 1 + length;
    }
    let families = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family));
    let mut compiled = Compiled::new(builder.done()?, known);
    compiled.unknown.retain(|unknown| !families(&unknown.name));
    Ok(compiled)
}

/// The name behind a `$`, and its length with brackets.
fn variable(rest: &str, at: usize) -> Result<(&str, usize), FormatError> {
    if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}').ok_or_else(|| FormatError::new(at, "`${` without its `}`"))?;
        let name = inner.get(..end).unwrap_or_default();
        return if name.is_empty() {
            Err(FormatError::new(at, "`${}` names nothing"))
        } else {
            Ok((name, end + 2))
        };
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    match rest.get(..end).filter(|name| !name.is_empty()) {
        Some(name) => Ok((name, end)),
        None => Err(FormatError::new(at, "`$` without a name behind it")),
    }
}

static INGRESS: Known = LazyLock::new(|| {
    compile(
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
         \"$http_user_agent\" $request_length $request_time [$proxy_upstream_name] \
         [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time \
         $upstream_status $req_id",
    )
});
static NPMPLUS: Known = LazyLock::new(|| {
    compile(
        "[$time_local] $host $remote_addr $request_time \"$request\" $status $body_bytes_sent $bytes_sent \
         $http_referer $http_user_agent",
    )
});
static PROXY_MANAGER: Known = LazyLock::new(|| {
    compile(
        "[$time_local] $upstream_cache_status $upstream_status $status - $request_method $scheme $host \
         \"$request_uri\" [Client $remote_addr] [Length $body_bytes_sent] [Gzip $gzip_ratio] [Sent-to $server] \
         \"$http_user_agent\" \"$http_referer\"",
    )
});
static BUNKERWEB: Known = LazyLock::new(|| {
    compile(
        "$host $remote_addr - $request_id $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
         \"$http_referer\" \"$http_user_agent\"",
    )
});

/// ingress-nginx, default `log-format-upstream`.
pub const INGRESS_NGINX: Format = Format {
    name: "ingress-nginx",
    what: "access log of the Kubernetes controller ingress-nginx, default format",
    looks: |record| record.text.contains("] [") && record.text.contains("] \""),
    parse: |record| read_known(&INGRESS, record, record.text),
};
/// NPMplus.
pub const NPM_PLUS: Format = Format {
    name: "npmplus",
    what: "access log of NPMplus",
    looks: |record| {
        record.text.starts_with('[') && record.text.contains(" \"") && !record.text.contains(" [Client ")
    },
    parse: |record| read_known(&NPMPLUS, record, record.text),
};
/// nginx-proxy-manager, hosts that are proxied.
pub const NGINX_PROXY_MANAGER: Format = Format {
    name: "nginx-proxy-manager",
    what: "access log of nginx-proxy-manager for proxied hosts",
    looks: |record| record.text.starts_with('[') && record.text.contains("] [Length "),
    parse: proxy_manager,
};
/// BunkerWeb.
pub const BUNKER_WEB: Format = Format {
    name: "bunkerweb",
    what: "access log of BunkerWeb",
    looks: |record| bunkerweb(record).is_some(),
    parse: |record| {
        bunkerweb(record).ok_or(Fault::new(0, "no request id behind the address"))?;
        read_known(&BUNKERWEB, record, record.text)
    },
};

fn proxy_manager(record: &Record<'_>) -> Result<Draft, Fault> {
    // The method is a dash in the standard format: `- 404 404 - GET http …`.
    read_known(&PROXY_MANAGER, record, record.text)
}

/// An address as second word and an id of 32 hexadecimal digits as fourth tell it from Apache's formats.
fn bunkerweb(record: &Record<'_>) -> Option<()> {
    let mut words = record.text.split(' ');
    let (address, id) = (words.nth(1)?, words.nth(1)?);
    address.parse::<IpAddr>().ok()?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, with};
    use super::*;
    use countersign_event::Verified;

    #[test]
    fn an_operator_s_own_format_is_read_by_the_names_in_it() {
        let format = compile(
            "$remote_addr:$remote_port u=$remote_user t=$msec rt=$request_time urt=\"$upstream_response_time\" \
             ua=\"$upstream_addr\" \"$request\" $status $body_bytes_sent \"$http_x_forwarded_for\" $ssl_protocol \
             trace=${http_traceparent} $my_own",
        )
        .unwrap();
        let unknown: Vec<&str> = format.unknown.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(unknown, ["my_own"]);
        let draft = with(
            "192.0.2.1:4711 u=al\\x22ice t=1710331713.250 rt=0.120 urt=\"0.001, 0.100\" ua=\"10.0.0.1:80, 10.0.0.2:80\" \
             \"GET /a?b=\\x22 HTTP/1.1\" 200 17 \"203.0.113.9, 198.51.100.2\" TLSv1.3 \
             trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 mine",
            |record| format.parse(record),
        )
        .unwrap();
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        let src = event.peer.src.as_ref().unwrap();
        assert_eq!((src.ip, src.port), (Some("192.0.2.1".parse().unwrap()), Some(4711)));
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.name.as_str(), who.verified), ("al\"ice", Verified::Claimed));
        assert_eq!(
            (event.core.t_event, event.core.dur),
            (Some(1_710_331_713_250_000_000), Some(120_000_000))
        );
        assert_eq!(event.core.lat, Some([0, 100_000_000, 100_000_000]));
        assert_eq!(event.peer.up.as_ref().unwrap().ip, Some("10.0.0.2".parse().unwrap()));
        assert_eq!(event.peer.hops.len(), 2);
        assert!(event.peer.hops.iter().all(|(_, level)| *level == Verified::Claimed));
        assert_eq!(event.peer.tls.as_ref().unwrap().version, Some(0x0304));
        assert!(event.links.trace.is_some() && event.content.unmapped.contains_key("/my_own"));
    }

    #[test]
    fn a_slip_of_the_pen_is_told_with_the_nearest_name_and_a_broken_format_with_its_place() {
        let slip = compile("$remote_adr $status").unwrap();
        assert_eq!(slip.unknown[0].nearest.as_deref(), Some("remote_addr"));
        assert_eq!(compile("a $ b").unwrap_err().at, 2);
        assert_eq!(compile("$status${request").unwrap_err().at, 7);
        assert_eq!(compile("$status$request").unwrap_err().at, 7);
        assert!(compile("no variable").is_err());
        assert!(compile("$http_x_whatever $arg_x").unwrap().unknown.is_empty());
    }

    #[test]
    fn ingress_nginx_keeps_service_upstream_and_request_id() {
        let draft = parsed(
            &INGRESS_NGINX,
            "192.0.2.9 - - [13/Mar/2024:12:08:33 +0000] \"POST /cart HTTP/2.0\" 502 150 \"-\" \"curl/8\" 35 0.003 \
             [shop-cart-80] [] 10.1.2.3:8080, 10.1.2.4:8080 0, 150 0.001, 0.002 502, 502 9f3c0a7d",
        );
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        assert_eq!(event.target.svc, "shop-cart-80");
        assert_eq!(event.links.corr, "9f3c0a7d");
        assert_eq!(event.peer.up.as_ref().unwrap().port, Some(8080));
        assert_eq!(event.core.lat, Some([0, 2_000_000, 2_000_000]));
    }

    #[test]
    fn nginx_proxy_manager_s_own_form_is_read() {
        let draft = parsed(
            &NGINX_PROXY_MANAGER,
            "[24/Jan/2022:16:22:14 +0000] - 404 404 - GET https shop.example \"/a?b=1\" [Client 192.0.2.4] \
             [Length 552] [Gzip -] [Sent-to 10.0.0.2] \"curl/8\" \"-\"",
        );
        let event = &draft.event;
        assert_eq!((event.core.op.as_str(), event.target.raw.as_str()), ("GET", "/a"));
        assert_eq!(event.peer.dst.as_ref().unwrap().host, "shop.example");
        assert_eq!(event.core.status.as_ref().unwrap().1, "404");
    }
}
