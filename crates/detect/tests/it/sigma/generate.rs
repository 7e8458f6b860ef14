//! Seeded rules, events and correlation vectors. Used here against a plain model, and by `crates/detect/oracle`
//! against a second engine, so nothing in here knows how either works.
//!
//! What the two engines are known to see differently (docs/reference/sigma.md, "Against rsigma") is left out
//! here and has vectors of its own in `meaning.rs` and `correlations.rs`.

use countersign_event::{Event, Kind, Principal, Rec, StatusSpace, Unmapped, Verified};
use std::fmt::Write as _;

/// First event's time, Unix seconds.
pub(crate) const BEGIN: i64 = 1_790_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const OPS: &[&str] = &["GET", "POST", "SELECT", "DROP TABLE", "publish", "get-object", "Delete"];
const SERVICES: &[&str] = &["orders", "Billing", "auth-api", "käse-dienst", "orders-db"];
const PATHS: &[&str] =
    &["/v1/orders/17", "/admin/Users", "/a*b?c", "/v1/export", "C:\\Windows\\cmd.exe", "/healthz"];
const USERS: &[&str] = &["spiffe://td/web", "spiffe://td/Batch", "db:admin", "jwt:https://idp#42"];
const ADDRESSES: &[&str] = &["10.0.0.7", "10.200.1.1", "192.168.1.9", "2001:db8::7", "8.8.8.8"];
const STATUS: &[&str] = &["200", "404", "500", "42P01"];
const STATEMENTS: &[&str] =
    &["SELECT * FROM users", "copy t from program 'sh -c id'", "GRANT ALL TO web", "select 1"];
const SECRETS: &[&str] = &["password", "Zebra", "kubectl exec"];
const COMMANDS: &[&str] = &["tool -enc abc", "tool /enc abc", "tool –enc abc", "tool enc", "run --all -x"];
const STAMPS: &[&str] = &[
    "2026-03-01T03:15:00Z",
    "2026-12-31 23:59:59",
    "2026-03-01T04:30:00+01:00",
    "2025-01-01T00:00:00.5Z",
    "never",
];

/// Own fields that hold one text, with values that events have there.
const TEXTS: &[(&str, &[&str])] = &[
    ("op", OPS),
    ("service", SERVICES),
    ("target.raw", PATHS),
    ("who", USERS),
    ("statement", STATEMENTS),
    ("src.ip", ADDRESSES),
    ("status", STATUS),
    ("app.name", SERVICES),
    ("app.cmd", COMMANDS),
];
const NUMBERS: &[&str] = &["duration", "rsp.size", "app.n", "status", "app.list"];

fn token(event: &mut Event, pointer: &str, token: String) {
    event.content.unmapped.insert(pointer.to_owned(), Unmapped::Token(token));
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn encoded(rng: &mut Rng) -> String {
    let before = ["", "x", "xy"][rng.below(3)];
    let text = format!("{before}{}", rng.pick(SECRETS));
    let bytes: Vec<u8> = if rng.one_in(2) {
        text.into_bytes()
    } else {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    base64(&bytes)
}

/// Base64, written out: the events owe nothing to the library that the engine uses.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ABC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let c = ABC[(n >> (18 - 6 * at) & 63) as usize] as char;
            out.push(if at <= chunk.len() { c } else { '=' });
        }
    }
    out
}

/// One event, each field there or not.
pub(crate) fn event(rng: &mut Rng) -> Event {
    let mut event = Event::default();
    (event.core.rec, event.core.kind) =
        (Some(Rec::Interaction), Some(rng.pick(&[Kind::Http, Kind::Sql, Kind::Kv])));
    event.core.t_event = Some((BEGIN + rng.below(10_000_000) as i64) * SECOND);
    let some =
        |rng: &mut Rng, all: &[&str]| if rng.one_in(5) { String::new() } else { (rng.pick(all)).to_owned() };
    event.core.op = some(rng, OPS);
    event.target.svc = some(rng, SERVICES);
    event.target.raw = some(rng, PATHS);
    event.content.stmt = some(rng, STATEMENTS);
    if !rng.one_in(5) {
        event.who.who = Some(Principal::new(rng.pick(USERS), rng.pick(Verified::ALL)));
    }
    if !rng.one_in(4) {
        let ip = rng.pick(ADDRESSES).parse().ok();
        event.peer.src = Some(countersign_event::Endpoint { ip, ..Default::default() });
    }
    if !rng.one_in(4) {
        event.core.status = Some((StatusSpace::Http, (rng.pick(STATUS)).to_owned()));
    }
    event.core.dur = (!rng.one_in(4)).then(|| rng.below(1000) as u64);
    for label in ["pii", "PCI", "internal"] {
        if rng.one_in(3) {
            event.core.labels.push(label.to_owned());
        }
    }
    if !rng.one_in(3) {
        event.body.rsp =
            Some(countersign_event::Payload { size: Some(rng.below(5000) as u64), ..Default::default() });
    }
    unmapped(rng, &mut event);
    event
}

fn unmapped(rng: &mut Rng, event: &mut Event) {
    if rng.one_in(2) {
        let value = match rng.below(5) {
            0 => quoted(&rng.below(100).to_string()),
            1 => format!("{}.5", rng.below(100)),
            2 => quoted("many"),
            _ => rng.below(100).to_string(),
        };
        token(event, "/app/n", value);
    }
    if rng.one_in(2) {
        token(event, "/app/name", quoted(rng.pick(SERVICES)));
    }
    if rng.one_in(2) {
        token(event, "/app/cmd", quoted(rng.pick(COMMANDS)));
    }
    if rng.one_in(3) {
        token(
            event,
            "/app/flag",
            (rng.pick(&["true", "false", "\"yes\"", "\"No\"", "\"maybe\""])).to_owned(),
        );
    }
    if rng.one_in(3) {
        token(event, "/app/nul", (rng.pick(&["null", "\"\"", "\"x\""])).to_owned());
    }
    if rng.one_in(3) {
        token(event, "/app/when", quoted(rng.pick(STAMPS)));
    }
    if rng.one_in(3) {
        let encoded = encoded(rng);
        token(event, "/app/b64", quoted(&encoded));
    }
    if rng.one_in(4) {
        token(event, "/app/list", "[5, 7, 42]".to_owned());
    }
}

/// A rule in our words and in those of the second engine, which does not resolve placeholders.
pub(crate) struct Pair {
    pub(crate) id: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

/// Values of the placeholders that rules use.
pub(crate) const PLACEHOLDERS: &[(&str, &[&str])] =
    &[("svc", &["orders", "billing"]), ("op", &["GET", "publish"])];

fn yaml(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A piece of a text, at its beginning, its end or inside.
fn piece(rng: &mut Rng, text: &str, end: bool, begin: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut low, mut high) = (rng.below(chars.len()), chars.len() - rng.below(chars.len()));
    if begin {
        low = 0;
    }
    if end {
        high = chars.len();
    }
    if low >= high {
        (low, high) = (0, chars.len());
    }
    let piece: String = chars[low..high].iter().collect();
    // In another case, and as a plain text where it holds what would be a wildcard.
    let piece = if rng.one_in(3) { piece.to_uppercase() } else { piece };
    piece.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?")
}

/// A value with wildcards that may match `text`.
fn wild(rng: &mut Rng, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = rng.below(chars.len());
    let before: String = chars[..at].iter().collect();
    let after: String = chars[at + 1..].iter().collect();
    let plain = |text: String| text.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?");
    let middle = rng.pick(&["*", "?", "*?", "**"]);
    let after: String = if rng.one_in(2) { after } else { after.chars().skip(rng.below(3)).collect() };
    format!("{}{middle}{}", plain(before), plain(after))
}

const FORMS: usize = 34;

/// One item, by number so that each form comes; in our words and in theirs.
fn item(rng: &mut Rng, form: usize) -> (String, String) {
    let (field, values) = rng.pick(TEXTS);
    let value = rng.pick(values);
    let both = |text: String| (text.clone(), text);
    let number = rng.below(1000);
    both(match form % FORMS {
        0 => format!("{field}: {}", yaml(&piece(rng, value, true, true))),
        1 => format!("{field}|contains: {}", yaml(&piece(rng, value, false, false))),
        2 => format!("{field}|startswith: {}", yaml(&piece(rng, value, false, true))),
        3 => format!("{field}|endswith: {}", yaml(&piece(rng, value, true, false))),
        4 => format!("{field}: {}", yaml(&wild(rng, value))),
        5 => format!("{field}|contains: {}", yaml(&wild(rng, value))),
        6 => format!("{field}|cased: {}", yaml(&piece(rng, value, true, true))),
        7 => format!("{field}|contains|cased: {}", yaml(&piece(rng, value, false, false))),
        8 => {
            let two =
                [piece(rng, value, false, false), piece(rng, value, false, false)].map(|text| yaml(&text));
            format!("{field}|contains|all: [{}]", two.join(", "))
        }
        9 => {
            let more = rng.pick(values);
            format!("{field}: [{}, {}]", yaml(&piece(rng, value, true, true)), yaml(&wild(rng, more)))
        }
        10 => format!("{field}|neq: {}", yaml(&piece(rng, value, true, true))),
        11 => format!("{field}|contains|neq: [{}, zzz]", yaml(&piece(rng, value, false, false))),
        12 => format!("{field}|re: {}", yaml(&format!("^{}.*", &regex_escape(value)[..1]))),
        13 => format!("{field}|re|i: {}", yaml(&regex_escape(value).to_uppercase())),
        14 => format!("{field}|re|i|m|s: {}", yaml("^[a-f].*[0-9x]$")),
        15 => format!(
            "src.ip|cidr: [{}]",
            rng.pick(&["10.0.0.0/8", "10.128.0.0/9", "'2001:db8::/32'", "0.0.0.0/0"])
        ),
        16 => format!("{}|gt: {number}", rng.pick(NUMBERS)),
        17 => format!("{}|gte: {number}", rng.pick(NUMBERS)),
        18 => format!("{}|lt: {number}", rng.pick(NUMBERS)),
        19 => format!("{}|lte: '{}.5'", rng.pick(NUMBERS), number % 100),
        20 => format!("{}: {}", rng.pick(NUMBERS), rng.pick(&[5, 42, 200, 404, 7])),
        21 => format!("{}|exists: {}", rng.pick(&["op", "app.n", "app.b64", "src.ip"]), rng.one_in(2)),
        22 => format!("{}: null", rng.pick(&["op", "app.nul", "app.n"])),
        23 => format!("app.flag: {}", rng.one_in(2)),
        24 => format!(
            "app.when|{}: {}",
            rng.pick(&["hour", "day", "month", "minute"]),
            rng.pick(&[1, 3, 12, 15, 30])
        ),
        25 => format!("time|{}", rng.pick(&["week: 39", "year: 2026", "hour: [1, 2, 3]", "day: '22'"])),
        26 => format!("app.b64|base64: {}", rng.pick(SECRETS)),
        27 => format!("app.b64|base64offset|contains: {}", rng.pick(SECRETS)),
        28 => format!("app.b64|wide|base64offset|contains: {}", rng.pick(SECRETS)),
        29 => format!("app.b64|{}|base64: {}", rng.pick(&["utf16le", "utf16be", "utf16"]), rng.pick(SECRETS)),
        30 => format!("app.cmd|windash|contains: {}", yaml(rng.pick(&[" -enc", "--all", "-x"]))),
        31 => format!(
            "service|fieldref{}: app.name",
            rng.pick(&["", "|cased", "|contains", "|startswith", "|neq"])
        ),
        32 => {
            format!("label{}: {}", rng.pick(&["", "|contains", "|cased"]), rng.pick(&["pii", "pci", "inter"]))
        }
        _ => {
            let (name, values) = rng.pick(PLACEHOLDERS);
            let field = if name == "svc" { "service" } else { "op" };
            let how = rng.pick(&["", "|contains", "|startswith"]);
            let theirs = format!("{field}{how}: [{}]", values.join(", "));
            return (format!("{field}{how}|expand: '%{name}%'"), theirs);
        }
    })
}

fn regex_escape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() || c == ' ' { c.to_string() } else { ".".to_owned() })
        .collect()
}

const CONDITIONS: &[&str] = &[
    "a",
    "not a",
    "a and b",
    "a or b",
    "a and not b",
    "not (a and b)",
    "(a or b) and c",
    "not a and not 1 of b*",
    "1 of them",
    "any of them",
    "all of them",
    "2 of them",
    "1 of a* or c",
    "all of *",
    "not all of them",
    "a or b and c",
];

/// A rule; `at` decides which form of item and condition it has at least.
pub(crate) fn rule(rng: &mut Rng, at: usize) -> Pair {
    let id = format!("rule-{at}");
    let logsource = rng.pick(&[
        "",
        "",
        "logsource: {product: countersign, category: http}\n",
        "logsource: {category: sql}\n",
    ]);
    let mut texts = [String::new(), String::new()];
    for text in &mut texts {
        let _ = write!(text, "title: generated {at}\nid: {id}\n{logsource}detection:\n");
    }
    let mut push = |ours: &str, theirs: &str| {
        texts[0].push_str(ours);
        texts[1].push_str(theirs);
    };
    for (place, name) in ["a", "b", "c"].iter().enumerate() {
        let form = if place == 0 { at } else { rng.below(FORMS) };
        if place == 2 && rng.one_in(4) {
            let line =
                format!("  {name}: [{}, '{}']\n", rng.pick(&["select", "admin", "program"]), "g*t all");
            push(&line, &line);
            continue;
        }
        let (ours, theirs) = item(rng, form);
        match rng.below(3) {
            0 => {
                let next = form + 1 + rng.below(FORMS - 1);
                let (more, other) = item(rng, next);
                let key = |item: &str| item.split(':').next().map(str::to_owned);
                let same = key(&more) == key(&ours) || key(&other) == key(&theirs);
                let line = |one: &str, two: &str| {
                    if same {
                        format!("  {name}:\n    {one}\n")
                    } else {
                        format!("  {name}:\n    {one}\n    {two}\n")
                    }
                };
                push(&line(&ours, &more), &line(&theirs, &other));
            }
            1 => {
                let (more, other) = item(rng, form + 1);
                let line = |one: &str, two: &str| format!("  {name}:\n    - {one}\n    - {two}\n");
                push(&line(&ours, &more), &line(&theirs, &other));
            }
            _ => push(&format!("  {name}:\n    {ours}\n"), &format!("  {name}:\n    {theirs}\n")),
        }
    }
    let condition = match CONDITIONS.get(at % (CONDITIONS.len() + 1)) {
        Some(condition) => format!("  condition: {condition}\n"),
        None => "  condition: [a and b, c]\n".to_owned(),
    };
    push(&condition, &condition);
    // Theirs takes the filter's own detections for some of `*`.
    if at % 10 == 9 && !condition.contains("of *") {
        let filter = format!(
            "---\ntitle: filter {at}\nid: filter-{at}\nfilter:\n  rules: [{id}]\n  ok:\n    {}\n  condition: not ok\n",
            item(rng, 0).0
        );
        push(&filter, &filter);
    }
    let [ours, theirs] = texts;
    Pair { id, ours, theirs }
}
