//! What is known of each command: its class, where its keys stand, what the server says of it.
//!
//! Not a check of arguments: a call that the server will refuse still has a row. Invariants: a command
//! without a row has no class and is never taken for a read; positions are found in time linear in the
//! number of arguments.

mod rows;

use crate::stream::OpClass;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Longest name of a command or sub-command, bytes. Longer ones have no row.
pub const NAME_MAX: usize = 32;
/// Arguments that are looked at for keys behind a keyword; beyond them keys count as incompletely known.
pub const SCAN_MAX: usize = 1 << 20;

/// Whether the server flags a command as writing or as read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `write`.
    Writes,
    /// `readonly`.
    Reads,
    /// Neither.
    Neither,
}

/// Where the keys stand among the arguments; the command's name is argument 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Nowhere.
    None,
    /// First, last (negative: counted from the end, -1 is the last argument), step.
    Range(i32, i32, i32),
    /// As [`Keys::Range`] with step 1, but channels.
    Channels(i32, i32),
    /// Argument `at` says how many keys follow it, each `step` arguments apart; `also` is one more (0: none).
    Counted {
        /// One more key, 0 for none.
        also: usize,
        /// Where the number stands.
        at: usize,
        /// Distance between keys.
        step: usize,
    },
    /// The first half of what follows the word `STREAMS`, looked for from `from` on.
    Streams {
        /// First argument that may be the word.
        from: usize,
    },
    /// Argument 1, and what follows `STORE`.
    Sort,
    /// Argument 1, and what follows `STORE` or `STOREDIST`, looked for from `from` on.
    GeoStore {
        /// First argument that may be the word.
        from: usize,
    },
    /// Argument 3, or where that is empty all that follows `KEYS`.
    Migrate,
}

/// What is known of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name in upper case, with the sub-command behind a space: `GET`, `CLIENT SETNAME`.
    pub name: &'static str,
    /// What it does in its plainest form; see [`class_of`].
    pub class: OpClass,
    /// The server's own flag.
    pub access: Access,
    /// Where its keys stand.
    pub keys: Keys,
}

/// Names of rows by the bare command (`CLIENT` too, for a container), then by sub-command.
struct Table {
    rows: HashMap<&'static str, Row>,
    containers: HashMap<&'static str, HashMap<&'static str, Row>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { rows: HashMap::new(), containers: HashMap::new() };
    for group in rows::GROUPS {
        for name in group.names.split_ascii_whitespace() {
            let row = |name| Row { name, class: group.class, access: group.access, keys: group.keys };
            match name.split_once('|') {
                None => _ = table.rows.insert(name, row(name)),
                Some((command, sub)) => {
                    _ = table.containers.entry(command).or_default().insert(sub, row(name));
                }
            }
        }
    }
    table
});

/// All rows, in no order. A sub-command's name has `|` in it.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.rows.values().chain(TABLE.containers.values().flat_map(HashMap::values))
}

/// Whether `name` (upper case) has sub-commands with rows of their own.
pub fn is_container(name: &str) -> bool {
    TABLE.containers.contains_key(name)
}

/// The row of a command given its first two arguments in any case.
pub fn row(command: &[u8], sub: Option<&[u8]>) -> Option<&'static Row> {
    let mut buf = [0; NAME_MAX];
    let name = upper(command, &mut buf)?;
    if let (Some(subs), Some(sub)) = (TABLE.containers.get(name), sub) {
        let mut buf = [0; NAME_MAX];
        return upper(sub, &mut buf).and_then(|sub| subs.get(sub));
    }
    TABLE.rows.get(name)
}

/// `text` in upper case, if it is short ASCII.
pub(super) fn upper<'a>(text: &[u8], buf: &'a mut [u8; NAME_MAX]) -> Option<&'a str> {
    let room = buf.get_mut(..text.len())?;
    room.copy_from_slice(text);
    room.make_ascii_uppercase();
    std::str::from_utf8(room).ok().filter(|t| t.is_ascii())
}

/// Positions of keys or channels in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Positions of arguments, ascending, at most as many as were asked for.
    pub at: Vec<usize>,
    /// How many there are in all.
    pub count: usize,
    /// They are channels.
    pub channels: bool,
    /// Some could not be told: an argument that says so was not seen or is no number.
    pub incomplete: bool,
}

impl Found {
    fn note(&mut self, at: usize, max: usize) {
        self.count += 1;
        if self.at.len() < max {
            self.at.push(at);
        }
    }
}

/// Where the keys of a call of `argc` arguments stand, at most `max` of them. `arg` gives an argument's bytes, or
/// `None` when they were not kept.
pub fn keys<'a>(keys: Keys, argc: usize, max: usize, arg: &dyn Fn(usize) -> Option<&'a [u8]>) -> Found {
    let mut found = Found::default();
    match keys {
        Keys::None => {}
        Keys::Range(first, last, step) => range(&mut found, argc, max, (first, last, step)),
        Keys::Channels(first, last) => {
            found.channels = true;
            range(&mut found, argc, max, (first, last, 1));
        }
        Keys::Counted { also, at, step } => counted(&mut found, argc, max, (also, at, step), arg),
        Keys::Streams { from } => streams(&mut found, argc, max, from, arg),
        Keys::Sort => {
            stored(&mut found, argc, max, 2, &[(b"LIMIT", 2), (b"GET", 1), (b"BY", 1)], &[b"STORE"], arg);
        }
        Keys::GeoStore { from } => stored(&mut found, argc, max, from, &[], &[b"STORE", b"STOREDIST"], arg),
        Keys::Migrate => migrate(&mut found, argc, max, arg),
    }
    found
}

fn range(found: &mut Found, argc: usize, max: usize, (first, last, step): (i32, i32, i32)) {
    let place = |n: i32| match usize::try_from(n) {
        Ok(n) => Some(n),
        Err(_) => argc.checked_sub(n.unsigned_abs() as usize),
    };
    let (Some(first), Some(last)) = (place(first), place(last)) else { return };
    let last = last.min(argc.saturating_sub(1));
    let step = usize::try_from(step).unwrap_or(1).max(1);
    if first > last || first >= argc {
        return;
    }
    found.count = (last - first) / step + 1;
    found.at = (first..=last).step_by(step).take(max).collect();
}

fn counted<'a>(
    found: &mut Found,
    argc: usize,
    max: usize,
    (also, at, step): (usize, usize, usize),
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) {
    if also > 0 && also < argc {
        found.note(also, max);
    }
    if at >= argc {
        return;
    }
    let Some(n) = arg(at).and_then(number) else {
        found.incomplete = true;
        return;
    };
    // A number that promises more than there is makes the server refuse the call.
    let room = (argc - at - 1).div_ceil(step.max(1));
    let n = usize::try_from(n).unwrap_or(usize::MAX).min(room);
    found.count += n;
    found.at.extend((0..n).map(|i| at + 1 + i * step).take(max.saturating_sub(found.at.len())));
}

fn streams<'a>(
    found: &mut Found,
    argc: usize,
    max: usize,
    from: usize,
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) {
    for at in from..argc.min(SCAN_MAX) {
        let Some(word) = arg(at) else { break };
        if word.eq_ignore_ascii_case(b"STREAMS") {
            let n = (argc - at - 1) / 2;
            found.count = n;
            found.at = (at + 1..=at + n).take(max).collect();
            return;
        }
    }
    found.incomplete = true;
}

/// Argument 1 and what follows one of `stores`; `skips` are words and how many arguments they take.
fn stored<'a>(
    found: &mut Found,
    argc: usize,
    max: usize,
    from: usize,
    skips: &[(&[u8], usize)],
    stores: &[&[u8]],
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) {
    if argc > 1 {
        found.note(1, max);
    }
    let mut target = None;
    let mut at = from;
    while at < argc {
        let Some(word) = arg(at) else {
            found.incomplete = true;
            return;
        };
        if stores.iter().any(|s| word.eq_ignore_ascii_case(s)) && at + 1 < argc {
            target = Some(at + 1);
            at += 1;
        } else if let Some((_, n)) = skips.iter().find(|(s, _)| word.eq_ignore_ascii_case(s)) {
            at += n;
        }
        at += 1;
    }
    // The last one counts, as on the server.
    if let Some(at) = target {
        found.note(at, max);
    }
}

fn migrate<'a>(found: &mut Found, argc: usize, max: usize, arg: &dyn Fn(usize) -> Option<&'a [u8]>) {
    match arg(3) {
        Some(b"") => {}
        Some(_) => return found.note(3, max),
        None if argc > 3 => return found.incomplete = true,
        None => return,
    }
    let mut at = 6;
    while at < argc {
        let Some(word) = arg(at) else { return found.incomplete = true };
        if word.eq_ignore_ascii_case(b"KEYS") {
            found.count = argc - at - 1;
            found.at = (at + 1..argc).take(max).collect();
            return;
        }
        at += match word {
            w if w.eq_ignore_ascii_case(b"AUTH") => 2,
            w if w.eq_ignore_ascii_case(b"AUTH2") => 3,
            _ => 1,
        };
    }
}

/// A decimal number without sign or space.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

/// What a call does: the row's class, or `Read` for the few writing commands whose present form is proved to
/// read only.
pub fn class_of<'a>(row: &Row, argc: usize, arg: &dyn Fn(usize) -> Option<&'a [u8]>) -> OpClass {
    let none_of = |words: &[&[u8]], from: usize| {
        (from..argc).all(|at| arg(at).is_some_and(|a| !words.iter().any(|w| a.eq_ignore_ascii_case(w))))
    };
    let reads = match row.name {
        "SORT" | "GEORADIUS" | "GEORADIUSBYMEMBER" => none_of(&[b"STORE", b"STOREDIST"], 2),
        "BITFIELD" => none_of(&[b"SET", b"INCRBY"], 2),
        "GETEX" => argc == 2,
        "HELLO" => {
            let logs_in = !none_of(&[b"AUTH"], 1);
            return if logs_in { OpClass::Authenticate } else { row.class };
        }
        _ => false,
    };
    if reads { OpClass::Read } else { row.class }
}
