//! Trace context carried by messages: W3C `traceparent`, B3 single and multi, request ids.
//!
//! What is read here is the caller's claim: it links records, it proves nothing. Malformed ids, all-zero
//! ones among them, are no ids.

/// Ids of a trace as the caller sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id; never all zero.
    pub trace: [u8; 16],
    /// The caller's span, which this call belongs to; never all zero.
    pub span: Option<[u8; 8]>,
    /// Parent of that span, where the carrier tells it.
    pub parent: Option<[u8; 8]>,
    /// Trace flags; bit 0 = sampled.
    pub flags: Option<u8>,
}

/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_LEN: usize = 55;
/// Longest request id that is taken, in bytes.
pub const REQUEST_ID_MAX: usize = 128;
/// Longest `tracestate`, in bytes, and most members (W3C section 3.3).
pub const TRACESTATE_MAX: usize = 512;
const TRACESTATE_MEMBERS_MAX: usize = 32;

/// `00-{trace}-{span}-{flags}`. A version above 00 is read by the rules of 00 (W3C section 4.3), `ff` is invalid.
pub fn traceparent(value: &[u8]) -> Option<TraceContext> {
    let (fixed, rest) = value.split_at_checked(55)?;
    let [v0, v1, b'-', middle @ ..] = fixed else { return None };
    let version = hex::<1>(&[*v0, *v1])?[0];
    let longer_is_fine = version != 0 && rest.first() == Some(&b'-');
    if version == 0xff || !(rest.is_empty() || longer_is_fine) {
        return None;
    }
    let (trace, tail) = middle.split_at_checked(32)?;
    let (span, flags) = tail.strip_prefix(b"-")?.split_at_checked(16)?;
    Some(TraceContext {
        trace: nonzero(hex(trace)?)?,
        span: Some(nonzero(hex(span)?)?),
        parent: None,
        flags: Some(hex::<1>(flags.strip_prefix(b"-")?)?[0]),
    })
}

/// A `traceparent` among the words of a name that a client gives itself: `application_name` (PostgreSQL keeps 63
/// bytes of it, so little else fits in) or `CLIENT SETNAME` (Redis). Two different ones are none.
pub fn named(name: &str) -> Option<TraceContext> {
    let words = name.split([' ', ';', ',', '/', '=', '|']).filter(|word| word.len() == TRACEPARENT_LEN);
    let mut found = words.filter_map(|word| traceparent(word.as_bytes()));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// Whether `tracestate` is a list of `key=value` within its bounds. Its content belongs to vendors and is not kept.
pub fn tracestate_is_valid(value: &[u8]) -> bool {
    if value.len() > TRACESTATE_MAX {
        return false;
    }
    let mut members = 0;
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty()).all(|member| {
        members += 1;
        let key = member.iter().position(|b| *b == b'=').unwrap_or(0);
        let visible = member.iter().all(|b| (0x20..=0x7e).contains(b));
        key > 0 && visible && members <= TRACESTATE_MEMBERS_MAX
    })
}

/// B3 single header: `{trace}-{span}[-{sampled}[-{parent}]]`. A lone sampling decision carries no ids.
pub fn b3_single(value: &[u8]) -> Option<TraceContext> {
    let mut parts = value.split(|b| *b == b'-');
    let trace = b3_trace(parts.next()?)?;
    let span = nonzero(hex::<8>(parts.next()?)?)?;
    let flags = match parts.next() {
        None => None,
        Some(b"1" | b"d") => Some(1),
        Some(b"0") => Some(0),
        Some(_) => return None,
    };
    let parent = match parts.next() {
        None => None,
        Some(id) => Some(nonzero(hex::<8>(id)?)?),
    };
    parts.next().is_none().then_some(TraceContext { trace, span: Some(span), parent, flags })
}

/// B3 multi headers: `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`.
pub fn b3_multi(
    trace: &[u8],
    span: Option<&[u8]>,
    parent: Option<&[u8]>,
    sampled: Option<&[u8]>,
) -> Option<TraceContext> {
    let id = |text: &[u8]| hex::<8>(text).and_then(nonzero);
    Some(TraceContext {
        trace: b3_trace(trace)?,
        span: span.and_then(id),
        parent: parent.and_then(id),
        flags: match sampled {
            Some(b"1" | b"true") => Some(1),
            Some(b"0" | b"false") => Some(0),
            _ => None,
        },
    })
}

/// A request id: 1 to [`REQUEST_ID_MAX`] visible ASCII characters.
pub fn request_id(value: &[u8]) -> Option<&str> {
    let fine = !value.is_empty() && value.len() <= REQUEST_ID_MAX;
    let visible = value.iter().all(|b| (0x21..=0x7e).contains(b));
    if fine && visible { std::str::from_utf8(value).ok() } else { None }
}

/// 16 or 8 bytes of hex; the short form fills the low half.
fn b3_trace(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() == 16 {
        let low: [u8; 8] = hex(text)?;
        let mut trace = [0; 16];
        trace[8..].copy_from_slice(&low);
        return nonzero(trace);
    }
    nonzero(hex(text)?)
}

/// Lower-case hex of exactly `N` bytes, as both specifications demand.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(out)
}

fn nibble(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    }
}

fn nonzero<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    id.iter().any(|b| *b != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_traceparent_and_refuses_what_the_specification_refuses() {
        let context = traceparent(GOOD).unwrap();
        assert_eq!(context.trace[..2], [0x0a, 0xf7]);
        assert_eq!(context.span.unwrap()[7], 0x31);
        assert_eq!(context.flags, Some(1));
        let with = |from: &str, to: &str| String::from_utf8_lossy(GOOD).replacen(from, to, 1);
        assert!(traceparent(with("00-", "01-").as_bytes()).is_some());
        assert!(traceparent(format!("{}-extra", with("00-", "cc-")).as_bytes()).is_some());
        for bad in [
            with("00-", "ff-"),
            with("0af7", "0AF7"),
            with("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            with("b7ad6b7169203331", "0000000000000000"),
            with("-01", "-0"),
            with("-01", "_01"),
            with("-01", "-01-extra"),
            with("-01", "-0g"),
            String::new(),
        ] {
            assert_eq!(traceparent(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn reads_a_traceparent_among_the_words_of_a_name() {
        let good = std::str::from_utf8(GOOD).unwrap();
        for name in [
            good.to_owned(),
            format!("shop/{good}"),
            format!("app=shop;trace={good}"),
            format!("{good} {good}"),
        ] {
            assert_eq!(named(&name), traceparent(GOOD), "{name}");
        }
        let other = good.replacen("0af7", "1af7", 1);
        for name in ["", "shop", &good[..54], &format!("x{good}"), &format!("{good} {other}")] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn reads_b3() {
        let single =
            b3_single(b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90").unwrap();
        assert_eq!(single.flags, Some(1));
        assert_eq!(single.parent.unwrap()[0], 0x05);
        assert_eq!(b3_single(b"0"), None);
        assert_eq!(b3_single(b"0000000000000000-e457b5a2e4d86bd1"), None);
        let short = b3_multi(b"64fe8b2a57d3eff7", Some(b"e457b5a2e4d86bd1"), None, Some(b"0")).unwrap();
        assert_eq!(short.trace[..8], [0; 8]);
        assert_eq!(short.flags, Some(0));
        assert_eq!(b3_multi(b"xyz", None, None, None), None);
    }

    #[test]
    fn bounds_tracestate_and_request_ids() {
        assert!(tracestate_is_valid(b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
        assert!(!tracestate_is_valid(b"rojo"));
        assert!(!tracestate_is_valid(&[b'a'; TRACESTATE_MAX + 1]));
        assert_eq!(request_id(b"req-1"), Some("req-1"));
        assert_eq!(request_id(b"a b"), None);
        assert_eq!(request_id(&[b'a'; REQUEST_ID_MAX + 1]), None);
    }
}
