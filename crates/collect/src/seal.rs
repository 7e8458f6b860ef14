//! From a draft to an event that may be recorded: capped, cleaned, bounded, with the digest of what came.
//!
//! One place, so that no parser can forget: levels never exceed the input's, no secret leaves, every text fits
//! its bound and says when it was cut.

mod fit;

pub(crate) use fit::clipped;

use crate::formats::Format;
use crate::formats::own::Own;
use crate::{Draft, Fault, Over};
use countersign_event::fields::bound;
use countersign_event::{
    Capture, CaptureConf, CaptureMode, DigestAlg, Event, Principal, RawBytes, Rec, TimeBasis, Unmapped,
    Verified,
};
use countersign_ledger::DigestKey;
use countersign_redact::{REDACTED, Scanner, assigned};
use ring::hmac;
use std::sync::{Arc, LazyLock};

/// Which records keep their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepRaw {
    /// Those that were not understood, in part or at all.
    #[default]
    Unparsed,
    /// Every one.
    All,
    /// None: length and digest only.
    None,
}

/// Where records come from, and how far that is trusted.
#[derive(Clone, Debug)]
pub struct Input {
    /// The operator's name; also the route of its events.
    pub name: String,
    /// Realm of names without one of their own: cluster, account, host.
    pub realm: String,
    /// [`Verified::Claimed`], or [`Verified::Asserted`] if the channel is authenticated and the configuration says so.
    pub level: Verified,
    /// How records arrive.
    pub mode: CaptureMode,
    /// Whose credential delivered them, as a principal id; empty = nobody's.
    pub deliverer: String,
    /// Which bytes are kept.
    pub keep_raw: KeepRaw,
    /// What an envelope (syslog, container log, journal) carries; `None` = find out.
    pub inner: Option<&'static Format>,
    /// The operator's own format, where `format` or `inner` is [`crate::formats::own::OWN`].
    pub own: Option<Arc<Own>>,
}

impl Input {
    /// An input of which nothing is trusted.
    pub fn new(name: &str) -> Input {
        Input {
            name: name.to_owned(),
            realm: name.to_owned(),
            level: Verified::Claimed,
            mode: CaptureMode::Push,
            deliverer: String::new(),
            keep_raw: KeepRaw::default(),
            inner: None,
            own: None,
        }
    }
}

/// What removes secrets and makes digests; one a process.
#[derive(Debug)]
pub struct Keeper {
    scanner: Arc<Scanner>,
    digest: Digests,
}

/// Whose key digests are made with.
#[derive(Debug)]
enum Digests {
    Own(hmac::Key),
    Ledger(DigestKey),
}

impl Keeper {
    /// With the tenant's digest key: a plain digest of a short record could be guessed.
    pub fn new(scanner: Scanner, digest_key: &[u8; 32]) -> Keeper {
        Keeper {
            scanner: Arc::new(scanner),
            digest: Digests::Own(hmac::Key::new(hmac::HMAC_SHA256, digest_key)),
        }
    }

    /// With the digest key of the ledger's tenant.
    pub fn of(scanner: Arc<Scanner>, digest_key: DigestKey) -> Keeper {
        Keeper { scanner, digest: Digests::Ledger(digest_key) }
    }

    /// The keyed digest of `bytes`.
    pub(crate) fn digest(&self, bytes: &[u8]) -> Option<[u8; 32]> {
        match &self.digest {
            Digests::Own(key) => hmac::sign(key, bytes).as_ref().try_into().ok(),
            Digests::Ledger(key) => Some(key.hmac(bytes)),
        }
    }
}

/// The event of a record that parser `format` made `draft` of. `now` is our clock, UTC ns.
pub fn seal(draft: Draft, format: &str, record: &[u8], input: &Input, keeper: &Keeper, now: u64) -> Event {
    let conf = draft.conf();
    let (merged, source_id, partial) = (draft.merged, draft.source_id, draft.partial);
    let (inner, private, over) = (draft.inner, draft.private, draft.over);
    let mut event = draft.event;
    cap(&mut event, input.level);
    if let (Some(why), true) = (partial, event.content.err.is_empty()) {
        event.content.err = format!("partly understood: {why}");
    }
    let kept = match input.keep_raw {
        KeepRaw::All => true,
        KeepRaw::Unparsed => conf != CaptureConf::Full,
        KeepRaw::None => false,
    };
    let kept = kept && !private;
    // Every text of the event is part of the record; where that has nothing secret as it stands and nothing that
    // was escaped, no text of it has.
    if memchr::memchr2(b'\\', b'%', record).is_some() || !keeper.scanner.find(record).is_empty() {
        clean(&mut event, &keeper.scanner);
    }
    hide_named(&mut event);
    let mut capture = capture_of(format, inner, input);
    capture.conf = Some(conf);
    capture.source_id = clipped(source_id, bound::LINK);
    capture.merged = (merged > 0).then_some(merged + 1);
    captured(&mut event, capture, record, keeper, kept);
    fit::fit(&mut event, over);
    finish(&mut event, input, now);
    event
}

/// The event of a record that nobody understood. `fault` says where the configured or likeliest format gave up.
pub(crate) fn seal_raw(
    format: &str,
    fault: Fault,
    record: &[u8],
    input: &Input,
    keeper: &Keeper,
    now: u64,
) -> Event {
    let mut event = Event::default();
    event.core.rec = Some(Rec::Raw);
    event.content.err = format!("not understood: {fault}");
    let mut capture = capture_of(format, "", input);
    capture.conf = Some(CaptureConf::RawOnly);
    captured(&mut event, capture, record, keeper, input.keep_raw != KeepRaw::None);
    finish(&mut event, input, now);
    event
}

/// How records of `format` come by `input`; `inner` is the format of what an envelope carried, or empty.
fn capture_of(format: &str, inner: &str, input: &Input) -> Capture {
    let fmt = if inner.is_empty() { format.to_owned() } else { [format, "/", inner].concat() };
    Capture {
        mode: Some(input.mode),
        parser: [&fmt, crate::formats::AT_VERSION].concat(),
        fmt,
        deliverer: clipped(input.deliverer.clone(), bound::PRINCIPAL_ID),
        level: Some(input.level),
        ..Capture::default()
    }
}

fn captured(event: &mut Event, capture: Capture, record: &[u8], keeper: &Keeper, kept: bool) {
    let mut raw = RawBytes {
        digest: keeper.digest(record),
        length: Some(record.len() as u64),
        alg: Some(DigestAlg::HmacSha256),
        ..RawBytes::default()
    };
    if kept {
        raw.bytes = match std::str::from_utf8(record) {
            Ok(_) => {
                let cleaned = keeper.scanner.clean(record, bound::RAW_BYTES);
                count(&mut event.content.redacted, cleaned.hits);
                cleaned.text.into_bytes()
            }
            // Bytes that are no text stay bytes, unless a secret is in them: then what stays is text.
            Err(_) if keeper.scanner.find(record).is_empty() => {
                record.get(..bound::RAW_BYTES).unwrap_or(record).to_vec()
            }
            Err(_) => {
                let cleaned = keeper.scanner.clean(record, bound::RAW_BYTES);
                count(&mut event.content.redacted, cleaned.hits);
                cleaned.text.into_bytes()
            }
        };
        if record.len() > bound::RAW_BYTES {
            event.content.cut.push((fit::id(6, 3), record.len() as u64));
        }
    }
    let body = &mut *event.body;
    body.cap = Some(capture.into());
    body.raw = Some(raw.into());
}

fn finish(event: &mut Event, input: &Input, now: u64) {
    event.core.t_obs = now;
    if event.core.t_event.is_none() {
        event.core.t_basis = Some(TimeBasis::Missing);
    }
    if event.core.route.is_empty() {
        event.core.route = clipped(input.name.clone(), bound::ROUTE);
    }
}

/// No level above the input's, and none above `asserted` whatever the input.
fn cap(event: &mut Event, input: Verified) {
    let most = input.min(Verified::Asserted);
    let lower = |principal: &mut Principal| principal.verified = principal.verified.min(most);
    if let Some(who) = event.who.set_mut() {
        who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also).for_each(lower);
    }
    if let Some(peer) = event.peer.set_mut() {
        peer.hops.iter_mut().for_each(|(_, level)| *level = (*level).min(most));
    }
}

fn count<R: Into<String>>(redacted: &mut Vec<(String, u64)>, hits: impl IntoIterator<Item = (R, u64)>) {
    for (rule, n) in hits {
        let rule: String = rule.into();
        match redacted.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, hits)) => *hits += n,
            None => redacted.push((rule, n)),
        }
    }
}

/// Removes secrets from every text that a stranger may have written.
fn clean(event: &mut Event, scanner: &Scanner) {
    let mut hits = Vec::new();
    let mut text = |text: &mut String| {
        if !text.is_empty() && scanner.is_secret(text) {
            let cleaned = scanner.clean(text.as_bytes(), usize::MAX);
            count(&mut hits, cleaned.hits);
            *text = cleaned.text;
        }
    };
    if let Some(target) = event.target.set_mut() {
        for field in [&mut target.raw, &mut target.res, &mut target.id, &mut target.svc, &mut target.ns] {
            text(field);
        }
        target.tags.iter_mut().for_each(&mut text);
        for more in &mut target.more {
            [&mut more.raw, &mut more.res, &mut more.id].into_iter().for_each(&mut text);
        }
    }
    if let Some(who) = event.who.set_mut() {
        for principal in who.who.iter_mut().chain(&mut who.obo).chain(&mut who.also) {
            [&mut principal.id, &mut principal.name].into_iter().for_each(&mut text);
            // The id of an access key looks like a key, and is the public half that credentials are joined by.
            if !is_access_key_id(&principal.cred) {
                text(&mut principal.cred);
            }
        }
    }
    let content = &mut event.content;
    [&mut content.stmt, &mut content.err].into_iter().for_each(&mut text);
    content.params.iter_mut().for_each(&mut text);
    content.headers.iter_mut().for_each(|(_, value)| text(value));
    for value in content.unmapped.values_mut() {
        if let Unmapped::Token(token) = value {
            text(token);
        }
    }
    for value in content.detail.values_mut() {
        clean_value(value, &mut text);
    }
    let links = &mut event.links;
    [&mut links.corr, &mut links.sess, &mut links.msg].into_iter().for_each(&mut text);
    text(&mut event.core.op);
    crate::reobserve::other_texts(event, &mut text);
    count(&mut event.content.redacted, hits);
}

/// An AWS access key id: `AKIA`, `ASIA` and the like, 16 more letters and digits (IAM reference, "unique
/// identifiers"). The secret that belongs to it has another form.
fn is_access_key_id(cred: &str) -> bool {
    let shape = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    cred.len() == 20 && cred.starts_with('A') && cred.bytes().all(shape)
}

/// Adds what a record's carrier said beside it (a broker's headers) to `unmapped` of a sealed event, without secrets.
/// What the record itself says under the same name stays.
pub(crate) fn add_unmapped(
    event: &mut Event,
    fields: impl Iterator<Item = (String, Unmapped)>,
    keeper: &Keeper,
) {
    let mut beside = Event::default();
    beside.content.unmapped.extend(fields);
    clean(&mut beside, &keeper.scanner);
    hide_named(&mut beside);
    count(&mut event.content.redacted, std::mem::take(&mut beside.content.redacted));
    for (name, value) in std::mem::take(&mut beside.content.unmapped) {
        event.content.unmapped.entry(name).or_insert(value);
    }
    fit::fit(event, Over::default());
}

/// What stands in `unmapped` under the name of a secret. Apart from its name, a value may look like any other.
fn hide_named(event: &mut Event) {
    let mut hits = 0;
    for (pointer, value) in &mut event.content.unmapped {
        if let Unmapped::Token(token) = value
            && token.len() >= assigned::VALUE_MIN + 2
            && token.starts_with(['"', '[', '{'])
            && secret_name(pointer)
            // Vault writes digests in place of secrets.
            && !token.starts_with("\"hmac-sha256:")
        {
            *token = format!("\"{REDACTED}\"");
            hits += 1;
        }
    }
    if hits > 0 {
        count(&mut event.content.redacted, [("assigned-secret", hits)]);
    }
}

/// Names of secrets by their last byte: most names end otherwise, and are not compared.
static NAMES_BY_END: LazyLock<Vec<Vec<&'static [u8]>>> = LazyLock::new(|| {
    let mut by_end = vec![Vec::new(); 256];
    for name in assigned::NAMES.iter().map(|name| name.as_bytes()) {
        if let Some(list) = name.last().and_then(|end| by_end.get_mut(usize::from(*end))) {
            list.push(name);
        }
    }
    by_end
});

/// Whether the last name of `pointer` is one of a secret: `/headers/Cookie`, `/a/client_secret/0`, `REQ(COOKIE)`.
fn secret_name(pointer: &str) -> bool {
    let named = |part: &&str| !part.bytes().all(|b| b.is_ascii_digit());
    let Some(part) = pointer.rsplit('/').find(named) else { return false };
    let name = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).as_bytes();
    if part.starts_with("cookie_") || part.starts_with("upstream_cookie_") {
        return true;
    }
    let Some(last) = name.last().map(u8::to_ascii_lowercase) else { return false };
    NAMES_BY_END.get(usize::from(last)).into_iter().flatten().any(|known| {
        if known.len() > name.len() {
            return false;
        }
        let (before, end) = name.split_at(name.len() - known.len());
        // `mytoken` is no name of a secret, `my_token` and `myToken` are.
        let inside = before.last().is_some_and(u8::is_ascii_lowercase)
            && end.first().is_some_and(u8::is_ascii_lowercase);
        !inside && end.eq_ignore_ascii_case(known)
    })
}

/// Values of `detail` nest at most as deep as the schema allows.
fn clean_value(value: &mut countersign_event::cbor::Value, text: &mut dyn FnMut(&mut String)) {
    use countersign_event::cbor::Value;
    match value {
        Value::Text(inner) => text(inner),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_value(item, text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_is_named_with_its_version() {
        let capture = capture_of("syslog", "combined", &Input::new("x"));
        assert_eq!(capture.fmt, "syslog/combined");
        assert_eq!(capture.parser, format!("syslog/combined@{}", crate::formats::VERSION));
    }

    #[test]
    fn names_of_secrets_are_known_in_pointers() {
        for name in [
            "/password",
            "/request/headers/Authorization/0",
            "/cs(Cookie)",
            "/http_cookie",
            "/cookie_sid",
            "/clientSecret",
            "/%REQ(X-API-KEY)%",
        ] {
            assert!(secret_name(name), "{name}");
        }
        for name in ["/mytoken", "/secretary", "/token_policies", "/0", "", "/path", "/cookies_count"] {
            assert!(!secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_secret_that_stands_apart_from_its_name_leaves_no_trace() {
        let keeper = Keeper::new(Scanner::default(), &[7; 32]);
        let mut input = Input::new("x");
        input.keep_raw = KeepRaw::None;
        let mut draft = Draft::new();
        draft.rest("http_cookie", "sid=hunter2");
        draft.token("/headers/Authorization", "[\"Basic hunter2\"]");
        draft.rest("client_token", "hmac-sha256:11aa");
        let event = seal(draft, "x", b"no name in here", &input, &keeper, 1);
        assert!(!format!("{event:?}").contains("hunter2"));
        assert!(format!("{event:?}").contains("hmac-sha256:11aa"));
        assert_eq!(event.content.redacted, [("assigned-secret".to_owned(), 2)]);
    }
}
