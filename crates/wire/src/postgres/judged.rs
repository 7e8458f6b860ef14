//! What a message would do, for a verdict before it passes: statements and portals by name, as the client
//! sent them.
//!
//! Used only while somebody asks. Not the decoder's maps: here what is not known for certain is an
//! operation without a class, which no rule for reads permits. Invariants: at most [`KEPT_MAX`] bytes;
//! every statement that reaches the server was judged at its Parse, and is judged again at each Execute.

use super::facts::{Control, Facts, Reading};
use super::message::{bind, execute, parse, subject};
use super::start::parameter;
use crate::stream::{Call, Judge};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Most bytes of names and facts that are kept. Beyond it what is prepared is unknown when it is executed.
const KEPT_MAX: usize = 1 << 20;
/// What an entry counts for besides its name and tables, bytes.
const ENTRY_WEIGHT: usize = 256;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Deny,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Judged {
    reading: Reading,
    user: String,
    database: String,
    accepted: bool,
    statements: HashMap<Vec<u8>, Arc<Facts>>,
    portals: HashMap<Vec<u8>, Arc<Facts>>,
    kept: usize,
}

impl Judged {
    /// The start-up packet has come.
    pub(super) fn begin(&mut self, parameters: &[u8]) {
        let text = |name| parameter(parameters, name).map(|v| String::from_utf8_lossy(v).into_owned());
        self.user = text("user").unwrap_or_default();
        self.database = text("database").unwrap_or_else(|| self.user.clone());
    }

    /// The server has accepted the login.
    pub(super) fn accepted(&mut self) {
        self.accepted = true;
    }

    /// The server told a setting.
    pub(super) fn setting(&mut self, name: &[u8], value: &[u8]) {
        if name == b"standard_conforming_strings" {
            self.reading.standard = value != b"off";
        }
    }

    /// Judges a whole message.
    pub(super) fn verdict(&mut self, tag: u8, payload: &[u8], judge: &mut dyn Judge) -> Verdict {
        match tag {
            b'Q' => self.query(payload, judge),
            b'P' => self.parse(payload, judge),
            b'B' => {
                self.bind(payload);
                Verdict::Pass
            }
            b'C' => {
                self.close(payload);
                Verdict::Pass
            }
            b'E' => {
                let name = execute(payload).map_or(&b""[..], |(name, _)| name);
                let facts = self.portals.get(name).cloned();
                self.ask(facts.as_deref(), "EXECUTE", judge)
            }
            _ => self.ask(None, "FUNCTION", judge),
        }
    }

    /// Judges a message too long to be held. A Bind is no operation; the rest is denied, and the judge sees
    /// an operation of which nothing is known.
    pub(super) fn too_long(&mut self, tag: u8, judge: &mut dyn Judge) -> Verdict {
        match tag {
            b'B' | b'C' => Verdict::Pass,
            _ => {
                self.ask(None, "OVERSIZE", judge);
                Verdict::Deny
            }
        }
    }

    fn query(&mut self, payload: &[u8], judge: &mut dyn Judge) -> Verdict {
        let text = String::from_utf8_lossy(payload.strip_suffix(b"\0").unwrap_or(payload));
        let all = self.reading.facts(&text);
        if all.is_empty() {
            return Verdict::Pass;
        }
        for facts in &all {
            if self.ask_statement(facts, judge) == Verdict::Deny {
                return Verdict::Deny;
            }
        }
        for facts in all {
            self.controlled(&facts);
        }
        self.forget(true, b"");
        self.forget(false, b"");
        Verdict::Pass
    }

    fn parse(&mut self, payload: &[u8], judge: &mut dyn Judge) -> Verdict {
        let Some(fields) = parse(payload) else { return self.ask(None, "PARSE", judge) };
        let text = String::from_utf8_lossy(fields.text);
        let mut all = self.reading.facts(&text);
        // More than one is an error at the server; none is an empty statement.
        let facts = if all.len() == 1 { all.pop() } else { None };
        let verdict = match &facts {
            Some(facts) => self.ask_statement(facts, judge),
            None if all.is_empty() => Verdict::Pass,
            None => self.ask(None, "PARSE", judge),
        };
        if verdict == Verdict::Pass {
            self.forget(true, fields.name);
            if let Some(facts) = facts {
                self.keep(true, fields.name, Arc::new(facts));
            }
        }
        verdict
    }

    fn bind(&mut self, payload: &[u8]) {
        let Some(fields) = bind(payload) else { return };
        let facts = self.statements.get(fields.statement).cloned();
        self.forget(false, fields.portal);
        if let Some(facts) = facts {
            self.keep(false, fields.portal, facts);
        }
    }

    fn close(&mut self, payload: &[u8]) {
        if let Some((kind, name)) = subject(payload) {
            self.forget(kind == b'S', name);
        }
    }

    /// A statement, or the one that it executes by name.
    fn ask_statement(&mut self, facts: &Facts, judge: &mut dyn Judge) -> Verdict {
        match &facts.control {
            Control::Execute(name) => {
                let inner = self.statements.get(name.as_bytes()).cloned();
                self.ask(inner.as_deref(), "EXECUTE", judge)
            }
            Control::Prepare(_, inner) => {
                let inner = Arc::clone(inner);
                self.ask(Some(&inner.facts), "PREPARE", judge)
            }
            _ => self.ask(Some(facts), "", judge),
        }
    }

    fn controlled(&mut self, facts: &Facts) {
        if let Control::Prepare(name, inner) = &facts.control {
            self.forget(true, name.as_bytes());
            self.keep(true, name.as_bytes(), Arc::new(inner.facts.clone()));
        }
    }

    fn ask(&self, facts: Option<&Facts>, otherwise: &'static str, judge: &mut dyn Judge) -> Verdict {
        let call = Call {
            user: Cow::Borrowed(if self.accepted { self.user.as_str() } else { "" }),
            operation: Cow::Borrowed(facts.map_or(otherwise, |f| f.operation.as_str())),
            class: facts.and_then(|f| f.class),
            namespace: Cow::Borrowed(&self.database),
            resource_type: "table",
            resources: facts.map_or(Vec::new(), |f| f.tables.clone()),
        };
        if judge.denies(&call) { Verdict::Deny } else { Verdict::Pass }
    }

    fn keep(&mut self, statement: bool, name: &[u8], facts: Arc<Facts>) {
        let more = weight(name, &facts);
        if self.kept + more > KEPT_MAX {
            return;
        }
        self.kept += more;
        let map = if statement { &mut self.statements } else { &mut self.portals };
        if let Some(old) = map.insert(name.to_vec(), facts) {
            self.kept -= weight(name, &old);
        }
    }

    fn forget(&mut self, statement: bool, name: &[u8]) {
        let map = if statement { &mut self.statements } else { &mut self.portals };
        if let Some(old) = map.remove(name) {
            self.kept -= weight(name, &old);
        }
    }
}

fn weight(name: &[u8], facts: &Facts) -> usize {
    ENTRY_WEIGHT + name.len() + facts.tables.iter().map(String::len).sum::<usize>()
}
