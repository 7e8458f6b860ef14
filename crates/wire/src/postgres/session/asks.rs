//! What the client asks: statements and portals change here, at once, and are put back when the server says
//! that it did not go that way.

use super::super::message::{bind, execute, parse, subject};
use super::super::record::{End, Executed, Form};
use super::super::statement::{NAME_SHOWN, Portal, Statement};
use super::{Pending, Phase, SCRAM_PLUS, Script, Session, shown};
use std::collections::VecDeque;
use std::sync::Arc;

impl Session {
    /// One message of the client; `payload` may be only its front.
    pub(super) fn asked(&mut self, tag: u8, len: u32, payload: &[u8], t: u64) {
        self.number += 1;
        let judged = self.verdict.take();
        let carried = self.carried;
        let run =
            |form| Executed { carried, ..Executed::new(form, self.number, judged, t, u64::from(len) + 1) };
        match tag {
            b'd' => return self.copy_message(payload, true, t),
            b'c' | b'f' => return self.copy_ended(tag == b'f', t),
            b'p' => return self.password(payload),
            b'X' => return self.terminated = true,
            b'H' => return,
            b'S' if self.copying_in => return,
            b'S' => {
                self.skipping = false;
                let run = Box::new(run(Form::Sync));
                return self.push(Pending::Sync(run), t);
            }
            _ => {}
        }
        match tag {
            b'Q' => self.query(payload, len, run(Form::Simple), t),
            b'P' => self.parse(payload, len, run(Form::Parse), t),
            b'B' => self.bind(payload, run(Form::Bind), t),
            b'E' => self.execute(payload, run(Form::Extended), t),
            b'D' => self.describe(payload, run(Form::Describe), t),
            b'C' => self.close(payload, run(Form::Close), t),
            b'F' => self.function(payload, run(Form::Function), t),
            _ => self.lose("client message type", t),
        }
    }

    fn copy_ended(&mut self, failed: bool, t: u64) {
        if std::mem::take(&mut self.copying_in) {
            if let Some(running) = &mut self.copy {
                running.failed |= failed;
            }
        } else if !self.skipping && !self.queue.is_empty() {
            self.push(Pending::CopyEnd { failed }, t);
        }
    }

    /// Which SASL mechanism the client took. Nothing else of a password message is looked at, or held.
    fn password(&mut self, front: &[u8]) {
        if std::mem::take(&mut self.sasl)
            && let Some(opened) = &mut self.opened
        {
            opened.method = match front {
                SCRAM_PLUS => "scram-sha-256-plus",
                _ if front.starts_with(b"SCRAM-SHA-256\0") => "scram-sha-256",
                _ => "sasl",
            };
        }
    }

    /// Text and, where it was not held whole, digest of a statement's message.
    fn text<'a>(&mut self, text: &'a [u8], whole: bool) -> (std::borrow::Cow<'a, str>, Option<[u8; 32]>) {
        let digest = self.long_text.take().map(|d| d.finish());
        (String::from_utf8_lossy(text), digest.filter(|_| !whole))
    }

    fn query(&mut self, payload: &[u8], len: u32, run: Executed, t: u64) {
        let whole = payload.len() + 4 == len as usize;
        let text = payload.strip_suffix(b"\0").unwrap_or(payload);
        let (text, digest) = self.text(text, whole);
        let mut parts: VecDeque<Arc<Statement>> = VecDeque::new();
        if whole {
            let read = self.reading.script(&text, &*self.digests);
            parts.extend(read.into_iter().map(Arc::new));
        } else {
            let mut statement = self.reading.front(&text, &*self.digests, u64::from(len).saturating_sub(5));
            statement.digest = digest;
            parts.push_back(Arc::new(statement));
        }
        if self.skipping {
            return self.abandon(Script::new(parts, run), End::NotRun, t);
        }
        // A simple Query does away with both that have no name.
        let mut script = Script::new(parts, run);
        script.before = (self.maps.statements.remove(&b""[..]), self.maps.portals.remove(&b""[..]));
        self.push(Pending::Query(Box::new(script)), t);
    }

    fn parse(&mut self, payload: &[u8], len: u32, run: Executed, t: u64) {
        let whole = payload.len() + 4 == len as usize;
        let mut rest = super::super::message::Reader::new(payload);
        let (name, text, types) = match parse(payload) {
            Some(parse) => (parse.name, parse.text, parse.types),
            None => (rest.text().unwrap_or_default(), rest.rest(), &[][..]),
        };
        let (text, digest) = self.text(text, whole);
        if self.skipping {
            return;
        }
        let mut statement = match whole {
            true => self.reading.single(&text, &*self.digests),
            false => self.reading.front(&text, &*self.digests, u64::from(len) - 5 - name.len() as u64),
        };
        statement.name = shown(name, NAME_SHOWN);
        statement.digest = digest;
        let four = types.as_chunks::<4>().0;
        statement.declared = four.iter().map(|oid| u32::from_be_bytes(*oid)).collect();
        let statement = Arc::new(statement);
        let mut run = Box::new(run);
        run.statement = Some(Arc::clone(&statement));
        run.prepared.clone_from(&statement.name);
        // A denied one never comes to be.
        if run.judged.is_some_and(|j| j.denied) {
            let before = self.maps.statements.get(name).cloned();
            return self.push(Pending::Parse { name: name.to_vec(), before, run }, t);
        }
        let before = self.maps.prepare(name, statement, self.number);
        self.push(Pending::Parse { name: name.to_vec(), before, run }, t);
    }

    fn bind(&mut self, payload: &[u8], run: Executed, t: u64) {
        if self.skipping {
            return;
        }
        let Some(fields) = bind(payload) else {
            // The server will say what it thinks of it.
            let run = Box::new(run);
            return self.push(Pending::Bind { name: Vec::new(), before: None, run }, t);
        };
        let statement = self.maps.statements.get(fields.statement).map(|named| Arc::clone(&named.value));
        let mut run = Box::new(run);
        run.prepared = shown(fields.statement, NAME_SHOWN);
        run.statement.clone_from(&statement);
        // Of a statement that nobody knows, parameters may be anything.
        let keep = self.options.parameters && statement.as_ref().is_some_and(|s| !s.facts.secret);
        let portal = Portal::new(statement, run.prepared.clone(), &fields, keep, run.bytes.0);
        let portal = Arc::new(portal);
        let before = self.maps.bind(fields.portal, portal, self.number);
        self.push(Pending::Bind { name: fields.portal.to_vec(), before, run }, t);
    }

    fn execute(&mut self, payload: &[u8], mut run: Executed, t: u64) {
        let name = execute(payload).map_or(&b""[..], |(name, _)| name);
        if let Some(portal) = self.maps.portals.get(name).map(|named| Arc::clone(&named.value)) {
            run.bytes.0 += portal.take_bytes();
            run.statement.clone_from(&portal.statement);
            run.prepared.clone_from(&portal.prepared);
            run.portal = Some(portal);
        }
        if self.skipping {
            return self.finish(run, End::NotRun, t);
        }
        self.push(Pending::Execute(Box::new(run)), t);
    }

    fn describe(&mut self, payload: &[u8], mut run: Executed, t: u64) {
        if self.skipping {
            return;
        }
        let pending = match subject(payload) {
            Some((b'P', name)) => {
                let portal = self.maps.portals.get(name).map(|named| Arc::clone(&named.value));
                run.statement = portal.as_ref().and_then(|p| p.statement.clone());
                Pending::DescribePortal(portal, Box::new(run))
            }
            found => {
                let name = found.map_or(&b""[..], |(_, name)| name);
                let statement = self.maps.statements.get(name).map(|named| Arc::clone(&named.value));
                run.statement.clone_from(&statement);
                run.prepared = shown(name, NAME_SHOWN);
                Pending::DescribeStatement(statement, Box::new(run))
            }
        };
        self.push(pending, t);
    }

    fn close(&mut self, payload: &[u8], run: Executed, t: u64) {
        if self.skipping {
            return;
        }
        let (kind, name) = subject(payload).unwrap_or((b'S', b""));
        let (run, key) = (Box::new(run), name.to_vec());
        let pending = match kind {
            b'P' => Pending::ClosePortal { before: self.maps.portals.remove(name), name: key, run },
            _ => Pending::CloseStatement { before: self.maps.statements.remove(name), name: key, run },
        };
        self.push(pending, t);
    }

    fn function(&mut self, payload: &[u8], mut run: Executed, t: u64) {
        run.function = payload.first_chunk().map(|oid| u32::from_be_bytes(*oid));
        if self.skipping {
            return self.finish(run, End::NotRun, t);
        }
        self.push(Pending::Function(Box::new(run)), t);
    }

    /// The login is over: anything may be asked.
    pub(super) fn ready(&mut self) {
        self.phase = Phase::Ready;
    }
}
