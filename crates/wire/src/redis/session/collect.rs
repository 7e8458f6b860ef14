//! One command's arguments, as far as a result needs them.
//!
//! The beginnings of the first [`ARGS_KEPT`] arguments are kept while the command is read, and forgotten with
//! it. A script is not kept at all, only its digest is made.

use super::super::link::Head;
use super::super::request::Args;
use super::super::table::{self, Row};
use super::{Command, Effect, KEY_MAX, KEYS_MAX};
use ring::digest;

/// Arguments of which the beginning is kept.
const ARGS_KEPT: usize = 256;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Collect {
    pub(super) head: Head,
    /// Bytes of the command so far.
    pub(super) size: u64,
    text: Vec<u8>,
    /// Where each kept argument ends in `text`, and its whole length.
    ends: Vec<(usize, u64)>,
    script: Option<(u32, digest::Context)>,
}

impl Args for Collect {
    fn begin(&mut self, argc: u32) {
        self.head.begin(argc);
        self.forget();
    }

    fn arg(&mut self, index: u32, len: u64, at: Option<usize>) {
        self.head.arg(index, len, at);
        if self.ends.len() < ARGS_KEPT && self.ends.len() == index as usize {
            self.ends.push((self.text.len(), len));
        }
        if script_at(self).is_some_and(|at| at == index) {
            self.script = Some((index, digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)));
        }
    }

    fn bytes(&mut self, index: u32, piece: &[u8]) {
        self.head.bytes(index, piece);
        match &mut self.script {
            Some((at, context)) if *at == index => return context.update(piece),
            _ => {}
        }
        if self.ends.len() != index as usize + 1 {
            return;
        }
        let start = self.ends.len().checked_sub(2).and_then(|at| self.ends.get(at)).map_or(0, |e| e.0);
        let room = KEY_MAX.saturating_sub(self.text.len() - start).min(piece.len());
        self.text.extend_from_slice(piece.get(..room).unwrap_or_default());
        if let Some(last) = self.ends.last_mut() {
            last.0 = self.text.len();
        }
    }
}

/// Which argument is a script's text, once the ones before it are known.
fn script_at(collect: &Collect) -> Option<u32> {
    let is = |at: usize, word: &[u8]| collect.whole(at).is_some_and(|a| a.eq_ignore_ascii_case(word));
    match collect.ends.len() {
        2 if is(0, b"EVAL") || is(0, b"EVAL_RO") => Some(1),
        3 if is(0, b"SCRIPT") && is(1, b"LOAD") => Some(2),
        _ => None,
    }
}

impl Collect {
    fn forget(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.script = None;
    }

    /// The beginning of argument `at`, if it is kept.
    fn start(&self, at: usize) -> Option<&[u8]> {
        let end = self.ends.get(at)?.0;
        let start = at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |e| e.0);
        self.text.get(start..end)
    }

    /// Argument `at`, if it is kept whole.
    fn whole(&self, at: usize) -> Option<&[u8]> {
        let len = self.ends.get(at)?.1;
        self.start(at).filter(|a| a.len() as u64 == len)
    }

    /// The result's first half. Forgets the arguments.
    pub(super) fn command(&mut self) -> (Command, Effect) {
        let argc = self.head.argc;
        let n = argc as usize;
        let size = std::mem::take(&mut self.size);
        let mut command = Command { bytes: size, argc, ..Command::default() };
        let mut effect = Effect::default();
        // Beginnings serve for words: none that matters is longer than what is kept.
        let arg = |at: usize| self.start(at);
        let row = table::row(self.whole(0).unwrap_or_default(), self.whole(1));
        match row {
            Some(row) => {
                command.operation = row.name.replace('|', " ");
                command.class = Some(table::class_of(row, n, &|at| self.whole(at)));
                let found = table::keys(row.keys, n, KEYS_MAX, &arg);
                command.channels = found.channels;
                command.key_count = found.count as u64;
                command.keys_incomplete = found.incomplete;
                command.keys = found.at.iter().filter_map(|at| self.start(*at)).map(shown).collect();
                self.particulars(row, n, &mut command, &mut effect);
            }
            None => command.operation = plausible(self.whole(0), self.whole(1)),
        }
        if let Some((_, context)) = self.script.take() {
            command.script = Some(hex(context.finish().as_ref()));
        }
        self.forget();
        (command, effect)
    }

    fn particulars(&self, row: &Row, argc: usize, command: &mut Command, effect: &mut Effect) {
        let arg = |at: usize| self.start(at);
        effect.user = login(row.name, argc, &arg);
        match row.name {
            "CLIENT|SETNAME" => effect.client_name = arg(2).map(shown),
            "HELLO" => effect.client_name = after(argc, b"SETNAME", 2, &arg).map(shown),
            "EVALSHA" | "EVALSHA_RO" => {
                let sha = self.whole(1).filter(|a| a.len() == 40 && a.iter().all(u8::is_ascii_hexdigit));
                command.script = sha.map(|a| String::from_utf8_lossy(a).to_ascii_lowercase());
            }
            "FCALL" | "FCALL_RO" => command.function = self.whole(1).map(shown),
            _ => {}
        }
        if let Some(hit) = secrets(row.name, argc, &arg) {
            command.redacted.push(hit);
        }
    }
}

impl Command {
    /// The name of a command that the table does not know is kept only if the server knows it: else it may be
    /// anything, a password typed in the wrong place.
    pub(super) fn settle_name(&mut self, accepted: bool) {
        if self.class.is_none() && !accepted {
            self.operation = String::new();
        }
    }
}

/// Name of a command without a row, if it can be one. Of a container the sub-command is left out: it is not
/// known to be one.
fn plausible(name: Option<&[u8]>, _sub: Option<&[u8]>) -> String {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match name {
        Some(name) if name.len() <= table::NAME_MAX && name.iter().all(fits) => {
            String::from_utf8_lossy(name).to_ascii_uppercase()
        }
        _ => String::new(),
    }
}

/// What follows the word `word`, looked for from `from` on.
fn after<'a>(
    argc: usize,
    word: &[u8],
    from: usize,
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    let at = (from..argc.min(ARGS_KEPT)).find(|at| arg(*at).is_some_and(|a| a.eq_ignore_ascii_case(word)))?;
    arg(at + 1)
}

/// The user that a command logs in as, if the server accepts it.
pub(in super::super) fn login<'a>(
    name: &str,
    argc: usize,
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) -> Option<String> {
    match (name, argc) {
        ("AUTH", 2) => Some("default".to_owned()),
        ("AUTH", 3) => arg(1).map(shown),
        ("HELLO", 5..) => after(argc, b"AUTH", 2, arg).map(shown),
        _ => None,
    }
}

/// Rule and number of secrets among the arguments. None of them is ever kept; they are counted.
fn secrets<'a>(
    name: &str,
    argc: usize,
    arg: &dyn Fn(usize) -> Option<&'a [u8]>,
) -> Option<(&'static str, u64)> {
    let is = |at: usize, word: &[u8]| arg(at).is_some_and(|a| a.eq_ignore_ascii_case(word));
    let count = |n: usize| u64::try_from(n).unwrap_or(0);
    let hit = match name {
        "AUTH" => ("redis.auth", count(argc.saturating_sub(1).min(1))),
        "HELLO" => ("redis.auth", count(usize::from(after(argc, b"AUTH", 2, arg).is_some()))),
        "ACL|SETUSER" => {
            let secret = |at: &usize| arg(*at).and_then(|a| a.first()).is_some_and(|b| b"><#!".contains(b));
            ("redis.acl", count((3..argc).filter(secret).count()))
        }
        "CONFIG|SET" => {
            let secret = |at: &usize| arg(*at).is_some_and(is_secret_setting);
            ("redis.config", count((2..argc).step_by(2).filter(secret).count()))
        }
        "MIGRATE" => {
            let given = (6..argc.min(ARGS_KEPT)).filter(|at| is(*at, b"AUTH") || is(*at, b"AUTH2")).count();
            ("redis.migrate", count(given))
        }
        _ => return None,
    };
    (hit.1 > 0).then_some(hit)
}

fn is_secret_setting(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_slice(), b"requirepass" | b"masterauth" | b"masteruser" | b"primaryauth")
        || name.ends_with(b"-pass")
        || name.ends_with(b"-key-file-pass")
}

/// Bytes as text: control characters, backslashes and what is no UTF-8 are escaped, so that different keys
/// never look the same. At most [`KEY_MAX`] bytes are shown.
pub(in super::super) fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.get(..KEY_MAX).unwrap_or(bytes);
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => escape(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

fn escape(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        out.push_str("\\x");
        out.push_str(&hex(&[*b]));
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS.get(usize::from(n)).map_or('0', |d| *d as char);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
