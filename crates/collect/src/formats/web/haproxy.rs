//! HAProxy: a `log-format` compiled, and its four predefined formats, with or without syslog's prefix.
//!
//! Source: HAProxy configuration manual, chapters 8.2 "Log formats" (`tcplog`, `httplog`, `httpslog`, CLF), 8.2.6
//! "Custom log format", 8.5 "Session state at disconnection". `%name` and `%{flags}name` are aliases, `%[expression]`
//! samples. Bytes that are not printable, and quotation marks, are `#HH`.
//!
//! The client's address is HAProxy's own view (after `option forwardfor` too; with the PROXY protocol it is what the
//! proxy before said). Captured headers are the client's; which header was captured the line does not say, so they go
//! to `unmapped`. `+` before a number (`option logasap`) means that the session went on.

use super::wrap::unwrapped;
use super::{Clock, Compiled, Known, Role, read_known};
use crate::formats::{Format, Record};
use crate::plan::{Builder, Escape, FormatError, Span};
use crate::{Draft, Fault};
use std::sync::LazyLock;

const MS: u64 = 1_000_000;

/// Aliases, the longer first where one begins with another's name is no matter: a name ends where letters end.
const ALIASES: &[(&str, Role)] = &[
    ("ci", Role::Client),
    ("cp", Role::ClientPort),
    ("fi", Role::Local),
    ("fp", Role::LocalPort),
    ("si", Role::Rest),
    ("sp", Role::Rest),
    ("bi", Role::Rest),
    ("bp", Role::Rest),
    ("f", Role::Rest),
    ("ft", Role::Rest),
    ("b", Role::Service),
    ("s", Role::Rest),
    ("t", Role::Time(Clock::Clf)),
    ("tr", Role::Time(Clock::Clf)),
    ("T", Role::Time(Clock::Clf)),
    ("trg", Role::Time(Clock::Clf)),
    ("Tl", Role::Rest),
    ("trl", Role::Time(Clock::Clf)),
    ("Ts", Role::Time(Clock::Unix(1_000_000_000))),
    ("ms", Role::Rest),
    ("Ta", Role::Took(MS)),
    ("Tt", Role::Took(MS)),
    ("Tr", Role::TookUpstream(MS)),
    ("TR", Role::Rest),
    ("Tc", Role::Rest),
    ("Td", Role::Rest),
    ("Tw", Role::Rest),
    ("Th", Role::Rest),
    ("Ti", Role::Rest),
    ("Tq", Role::Rest),
    ("Tu", Role::Rest),
    ("ST", Role::Status),
    ("B", Role::Sent),
    ("U", Role::Received),
    ("CC", Role::Rest),
    ("CS", Role::Rest),
    ("tsc", Role::Termination),
    ("ts", Role::Termination),
    ("ac", Role::Rest),
    ("fc", Role::Rest),
    ("bc", Role::Rest),
    ("sc", Role::Rest),
    ("rc", Role::Retries),
    ("sq", Role::Rest),
    ("bq", Role::Rest),
    ("hr", Role::Rest),
    ("hs", Role::Rest),
    ("hrl", Role::Rest),
    ("hsl", Role::Rest),
    ("r", Role::Request),
    ("HM", Role::Method),
    ("HU", Role::Uri),
    ("HP", Role::Uri),
    ("HPO", Role::Uri),
    ("HQ", Role::Query),
    ("HV", Role::Protocol),
    ("ID", Role::RequestId),
    ("sslv", Role::TlsVersion),
    ("sslc", Role::Cipher),
    ("lc", Role::Rest),
    ("pid", Role::Rest),
    ("rt", Role::Rest),
    ("H", Role::Rest),
    ("o", Role::Skip),
    ("OG", Role::Rest),
];

/// Samples whose meaning is plain.
const SAMPLES: &[(&str, Role)] = &[
    ("src", Role::Client),
    ("src_port", Role::ClientPort),
    ("dst", Role::Local),
    ("dst_port", Role::LocalPort),
    ("ssl_fc_sni", Role::Sni),
    ("ssl_fc_is_resumed", Role::Resumed),
    ("ssl_fc_protocol", Role::TlsVersion),
    ("ssl_fc_cipher", Role::Cipher),
    ("ssl_c_s_dn", Role::PeerSubject),
    ("method", Role::Method),
    ("capture.req.method", Role::Method),
    ("path", Role::Uri),
    ("url", Role::Uri),
    ("pathq", Role::Uri),
    ("capture.req.uri", Role::Uri),
    ("query", Role::Query),
    ("status", Role::Status),
    ("unique-id", Role::RequestId),
    ("req.hdr(host)", Role::Host),
    ("hdr(host)", Role::Host),
];

/// Compiles the text of a `log-format`.
///
/// # Errors
/// The place and the reason: an alias that there is not (with the nearest), brackets that do not end, two fields with
/// nothing between.
pub fn compile(format: &str) -> Result<Compiled, FormatError> {
    let mut builder = Builder::new(format, Escape::Hash)?;
    // `%{+Q}o` sets flags for all that follows.
    let (mut all_quoted, mut at) = (false, 0);
    while let Some(rest) = format.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("%%") {
            builder.literal("%");
            at += 2;
        } else if let Some(inner) = rest.strip_prefix("%[") {
            let end = bracket(inner).ok_or_else(|| FormatError::new(at, "`%[` without its `]`"))?;
            sample(&mut builder, at, inner.get(..end).unwrap_or_default(), all_quoted)?;
            at += end + 3;
        } else if rest.starts_with('%') {
            at += alias(&mut builder, at, rest, &mut all_quoted)?;
        } else if let Some(escaped) = rest.strip_prefix('\\').and_then(|rest| rest.get(..1)) {
            builder.literal(escaped);
            at += 2;
        } else {
            let end = rest.find(['%', '\\']).unwrap_or(rest.len()).max(1);
            builder.literal(rest.get(..end).unwrap_or(rest));
            at += end;
        }
    }
    let known: Vec<&str> = ALIASES.iter().map(|(name, _)| *name).collect();
    let mut compiled = Compiled::new(builder.done()?, &known);
    compiled.unknown.clear();
    Ok(compiled)
}

fn bracket(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.bytes().position(|b| {
        match b {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        b == b']' && depth == 0
    })
}

fn sample(builder: &mut Builder<Role>, at: usize, expression: &str, quoted: bool) -> Result<(), FormatError> {
    let bare = expression.split(',').next().unwrap_or_default();
    let role = SAMPLES.iter().find(|(known, _)| *known == bare).map_or(Role::Rest, |(_, role)| *role);
    add(builder, at, expression, role, quoted)
}

/// One alias with its flags; gives its length.
fn alias(builder: &mut Builder<Role>, at: usize, rest: &str, all: &mut bool) -> Result<usize, FormatError> {
    let (mut flags, mut length) = ("", 1);
    if let Some(inner) = rest.strip_prefix("%{") {
        let end = inner.find('}').ok_or_else(|| FormatError::new(at, "`%{` without its `}`"))?;
        flags = inner.get(..end).unwrap_or_default();
        length = end + 3;
    }
    let behind = rest.get(length..).unwrap_or_default();
    if behind.starts_with('[') {
        // `%{+Q}[sample]`
        let inner = behind.get(1..).unwrap_or_default();
        let end = bracket(inner).ok_or_else(|| FormatError::new(at, "`%[` without its `]`"))?;
        sample(builder, at, inner.get(..end).unwrap_or_default(), quotes(flags, *all))?;
        return Ok(length + end + 2);
    }
    let end = behind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
    let name = behind.get(..end).unwrap_or_default();
    let Some((name, role)) = ALIASES.iter().find(|(known, _)| *known == name) else {
        let known = ALIASES.iter().map(|(name, _)| *name);
        return Err(FormatError::unknown(at, name, known));
    };
    if *name == "o" {
        *all = quotes(flags, *all);
        // It prints nothing, and the blank behind it neither.
        let blank = usize::from(behind.get(end..).unwrap_or_default().starts_with(' '));
        return Ok(length + end + blank);
    }
    // Captured cookies keep a name that says what they are, so that their values are hidden.
    let kept = match *name {
        "CC" => "request_cookie",
        "CS" => "answer_cookie",
        other => other,
    };
    add(builder, at, kept, *role, quotes(flags, *all))?;
    Ok(length + end)
}

fn quotes(flags: &str, now: bool) -> bool {
    if flags.contains("+Q") { true } else { now && !flags.contains("-Q") }
}

fn add(
    builder: &mut Builder<Role>,
    at: usize,
    name: &str,
    role: Role,
    quoted: bool,
) -> Result<(), FormatError> {
    let span = if matches!(name, "hr" | "hs") && !quoted { Span::Braced } else { Span::Plain };
    // CLF times stand in the brackets that the format string writes.
    if quoted {
        builder.literal("\"");
    }
    builder.field(at, name, role, span)?;
    if quoted {
        builder.literal("\"");
    }
    Ok(())
}

const HTTP_FORMAT: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc \
                           %sq/%bq %hr %hs %{+Q}r";
static HTTP: Known = LazyLock::new(|| compile(HTTP_FORMAT));
static HTTPS: Known = LazyLock::new(|| {
    compile(&format!(
        "{HTTP_FORMAT} %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] \
         %[ssl_fc_sni]/%sslv/%sslc"
    ))
});
static TCP: Known =
    LazyLock::new(|| compile("%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"));
static CLF: Known = LazyLock::new(|| {
    compile(
        "%{+Q}o %{-Q}ci - - [%{-Q}trg] %r %{-Q}ST %{-Q}B \"\" \"\" %{-Q}cp %{-Q}ms %ft %b %s %{-Q}TR %{-Q}Tw %{-Q}Tc \
         %{-Q}Tr %{-Q}Ta %tsc %{-Q}ac %{-Q}fc %{-Q}bc %{-Q}sc %{-Q}rc %{-Q}sq %{-Q}bq %CC %CS %hrl %hsl",
    )
});

/// `option httplog`, `option httpslog`, `option tcplog`.
pub const HAPROXY: Format = Format {
    name: "haproxy",
    what: "HAProxy's httplog, httpslog and tcplog, with or without syslog prefix",
    looks: |record| record.text.contains("] ") && record.text.matches('/').take(8).count() == 8,
    parse,
};
/// `option httplog clf`.
pub const HAPROXY_CLF: Format = Format {
    name: "haproxy-clf",
    what: "HAProxy's httplog in the common log format",
    looks: |record| record.text.contains(" \"\" \"\" ") && record.text.contains("] \""),
    parse: |record| {
        let (wrap, line) = unwrapped(record.text);
        let mut draft = read_known(&CLF, record, line.trim_end())?;
        wrap.keep(&mut draft);
        Ok(draft)
    },
};

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let (wrap, line) = unwrapped(record.text);
    let line = line.trim_end();
    // A request is quoted; behind it only HTTPS has anything.
    let mut draft = match (line.find(" \""), line.ends_with('"')) {
        (None, _) => read_known(&TCP, record, line)?,
        (Some(_), true) => read_known(&HTTP, record, line)?,
        (Some(_), false) => read_known(&HTTPS, record, line)?,
    };
    // HAProxy's `~` marks a frontend's TLS, `<NOSRV>` that no server was chosen.
    if draft.event.target.svc.starts_with('<') {
        draft.event.target.svc.clear();
    }
    wrap.keep(&mut draft);
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, with};
    use super::*;
    use countersign_event::{Kind, Outcome};

    const LINE: &str = r##"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html?a=%22 HTTP/1.1""##;

    #[test]
    fn httplog_is_read_with_syslog_s_prefix_and_without() {
        for prefix in
            ["", "Feb  6 12:14:14 localhost haproxy[14389]: ", "<134>Feb  6 12:14:14 haproxy[14389]: "]
        {
            let draft = parsed(&HAPROXY, &format!("{prefix}{LINE}"));
            let event = &draft.event;
            assert_eq!(draft.partial, None, "{prefix}");
            assert_eq!(
                (event.core.dur, event.core.lat),
                (Some(109_000_000), Some([0, 69_000_000, 69_000_000]))
            );
            assert_eq!((event.target.svc.as_str(), event.core.outcome), ("static", Some(Outcome::Success)));
            assert_eq!(event.peer.src.as_ref().unwrap().port, Some(33317));
        }
    }

    #[test]
    fn captured_headers_may_be_missing() {
        let draft = parsed(&HAPROXY, &LINE.replace("{1wt.eu} {} ", ""));
        assert_eq!(draft.partial, None);
        assert_eq!(draft.event.target.raw, "/index.html");
    }

    #[test]
    fn a_request_without_an_answer_ends_as_its_termination_says() {
        let line = |state: &str| LINE.replace("69/109 200", "-1/109 -1").replace("----", state);
        for (state, outcome) in [
            ("CR--", Some(Outcome::Cancelled)),
            ("sH--", Some(Outcome::Timeout)),
            ("PR--", Some(Outcome::Denied)),
            ("SC--", Some(Outcome::ServerError)),
        ] {
            assert_eq!(parsed(&HAPROXY, &line(state)).event.core.outcome, outcome, "{state}");
        }
        let bad = parsed(&HAPROXY, &line("cR--").replace("GET /index.html?a=%22 HTTP/1.1", "<BADREQ>"));
        assert_eq!(bad.event.core.op, "");
        assert!(bad.partial.is_some());
    }

    #[test]
    fn httpslog_tells_the_session_and_tcplog_is_a_connection() {
        let draft =
            parsed(&HAPROXY, &format!("{LINE} 0/0/0/0/1 shop.example/TLSv1.3/TLS_AES_128_GCM_SHA256"));
        let tls = draft.event.peer.tls.as_ref().unwrap();
        assert_eq!(
            (tls.version, tls.cipher, tls.sni.as_str(), tls.resumed),
            (Some(0x0304), Some(0x1301), "shop.example", Some(true))
        );
        let draft = parsed(
            &HAPROXY,
            "10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0",
        );
        assert_eq!(
            (draft.event.core.kind, draft.event.core.outcome),
            (Some(Kind::L4), Some(Outcome::Success))
        );
        assert_eq!(draft.event.peer.retries, Some(3));
    }

    #[test]
    fn clf_is_read() {
        let draft = parsed(
            &HAPROXY_CLF,
            r#"10.0.1.2 - - [13/Mar/2024:12:08:33 +0000] "GET /a HTTP/1.1" 200 17 "" "" 33317 655 "http-in" "static" "srv1" 10 0 30 69 109 "----" 1 1 1 1 0 0 0 "" "" "" """#,
        );
        assert_eq!(draft.partial, None);
        assert_eq!((draft.event.core.dur, draft.event.target.svc.as_str()), (Some(109_000_000), "static"));
    }

    #[test]
    fn an_operator_s_own_format_is_read_and_a_wrong_name_is_told() {
        let format =
            compile(r#"%[src]:%cp %{+Q}[capture.req.hdr(0)] "%HM %HU %HV" %ST sid=%ID %Ts"#).unwrap();
        let draft =
            with(r#"192.0.2.1:80 "curl #22x#22" "GET /a HTTP/2.0" 204 sid=abc 1710331713"#, |record| {
                format.parse(record)
            })
            .unwrap();
        assert_eq!((draft.event.core.proto.as_str(), draft.event.links.corr.as_str()), ("http/2", "abc"));
        assert!(format!("{:?}", draft.event.content.unmapped).contains("curl"));
        let error = compile("%ci %sslcx").unwrap_err();
        assert_eq!((error.at, error.nearest.as_deref()), (4, Some("sslc")));
        assert!(compile("%[src").is_err() && compile("%ci%cp").is_err());
    }
}
