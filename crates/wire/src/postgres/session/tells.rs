//! What the server answers, paired with what was asked.

use super::super::message::{Failure, Reader, columns, failure, parameter_types, tag_rows};
use super::super::record::{CopyWay, ERROR_TEXT_MAX, End, Error, Executed, Message};
use super::super::statement::{Column, NAME_SHOWN, Statement};
use super::{Pending, Phase, Script, Session, shown};
use crate::postgres::facts::Control;
use std::sync::Arc;

/// Columns of a result that are kept.
const COLUMNS_MAX: usize = 256;

impl Session {
    /// One message of the server; `payload` may be only its front.
    pub(super) fn answered(&mut self, tag: u8, len: u32, payload: &[u8], t: u64) {
        if !matches!(tag, b'A' | b'N' | b'S' | b'K' | b'R' | b'Z') {
            self.touch(u64::from(len) + 1, tag == b'D', t);
        }
        match tag {
            b'D' => {}
            b'd' => self.copy_message(payload, false, t),
            b'1' => self.pop(|p| matches!(p, Pending::Parse { .. })),
            b'2' => self.pop(|p| matches!(p, Pending::Bind { .. })),
            b'3' => {
                self.pop(|p| matches!(p, Pending::CloseStatement { .. } | Pending::ClosePortal { .. }));
            }
            b't' => self.parameters(payload),
            b'T' => self.described(Some(payload)),
            b'n' => self.described(None),
            b'C' => self.completed(payload, t),
            b'I' => self.completed(&[], t),
            b's' => self.suspended(t),
            b'G' => self.begin_copy(CopyWay::In, t),
            b'H' => self.begin_copy(CopyWay::Out, t),
            b'W' => self.begin_copy(CopyWay::Both, t),
            b'V' => self.called(t),
            b'E' => self.failed(payload, t),
            b'Z' => self.cycle_over(payload, t),
            b'A' => self.notified(payload, len, t),
            b'S' => self.status(payload),
            b'K' => self.key(payload),
            b'R' => self.authentication(payload, t),
            _ => {}
        }
    }

    /// Passes over ends of copies that the server no longer waited for.
    pub(super) fn settle(&mut self) {
        while matches!(self.queue.front(), Some(Pending::CopyEnd { .. })) {
            self.queue.pop_front();
        }
    }

    /// What is running.
    pub(super) fn head_run(&mut self) -> Option<&mut Executed> {
        self.settle();
        match self.queue.front_mut()? {
            Pending::Execute(run) | Pending::Function(run) => Some(run),
            Pending::Query(script) => Some(&mut script.run),
            _ => None,
        }
    }

    /// The running statement of a simple Query.
    pub(super) fn head_part(&self) -> Option<Arc<Statement>> {
        match self.queue.front()? {
            Pending::Query(script) => script.parts.front().cloned(),
            _ => None,
        }
    }

    fn touch(&mut self, bytes: u64, row: bool, t: u64) {
        if let Some(run) = self.head_run() {
            run.bytes.1 += bytes;
            run.rows += u64::from(row);
            if run.at.1.is_none() {
                run.at.1 = Some(t);
            }
        }
    }

    fn pop(&mut self, is: impl Fn(&Pending) -> bool) {
        self.settle();
        if self.queue.front().is_some_and(is) {
            self.queue.pop_front();
        }
    }

    fn parameters(&mut self, payload: &[u8]) {
        self.settle();
        if let Some(Pending::DescribeStatement(Some(statement), _)) = self.queue.front() {
            let _ = statement.resolved.set(parameter_types(payload).collect());
        }
    }

    /// RowDescription or NoData: of a Describe, or of a simple Query's statement.
    fn described(&mut self, payload: Option<&[u8]>) {
        self.settle();
        let list: Arc<[Column]> = columns(payload.unwrap_or_default())
            .take(COLUMNS_MAX)
            .map(|c| Column { name: shown(c.name, NAME_SHOWN), table: c.table, type_oid: c.type_oid })
            .collect();
        match self.queue.front() {
            Some(Pending::DescribeStatement(statement, _)) => {
                let _ = statement.as_ref().map(|s| s.columns.set(list));
                self.queue.pop_front();
            }
            Some(Pending::DescribePortal(portal, _)) => {
                let _ = portal.as_ref().map(|p| p.columns.set(list));
                self.queue.pop_front();
            }
            Some(Pending::Query(script)) => {
                let _ = script.parts.front().map(|s| s.columns.set(list));
            }
            _ => {}
        }
    }

    /// CommandComplete, or EmptyQueryResponse with an empty tag.
    fn completed(&mut self, payload: &[u8], t: u64) {
        let tag = Reader::new(payload).text().unwrap_or(payload);
        let rows = tag_rows(tag);
        let words = tag.split(|b| *b == b' ').filter(|w| !w.first().is_some_and(u8::is_ascii_digit));
        let tag = String::from_utf8_lossy(&words.collect::<Vec<_>>().join(&b' ')).into_owned();
        self.settle();
        let mut run = match self.queue.front_mut() {
            // A replication stream ends with two completions.
            Some(Pending::Query(script)) if script.replicated => return,
            Some(Pending::Query(script)) => {
                script.replicated = self.copy.as_ref().is_some_and(|c| c.way == Some(CopyWay::Both));
                part_ended(script, t)
            }
            Some(Pending::Execute(_)) => match self.queue.pop_front() {
                Some(Pending::Execute(run)) => *run,
                _ => return,
            },
            _ => return,
        };
        (run.tag, run.tag_rows) = (tag, rows);
        self.end_copy(&mut run);
        self.count_portal(&mut run);
        self.control(&mut run);
        self.finish(run, End::Done, t);
    }

    fn suspended(&mut self, t: u64) {
        self.settle();
        if matches!(self.queue.front(), Some(Pending::Execute(_)))
            && let Some(Pending::Execute(mut run)) = self.queue.pop_front()
        {
            run.suspended = true;
            self.count_portal(&mut run);
            self.finish(*run, End::Done, t);
        }
    }

    fn count_portal(&mut self, run: &mut Executed) {
        run.portal_rows = run.portal.as_ref().map_or(run.rows, |portal| portal.add_rows(run.rows));
    }

    /// What a completed statement did to the session's own statements.
    fn control(&mut self, run: &mut Executed) {
        let Some(statement) = run.statement.clone() else { return };
        let number = run.number;
        match statement.control() {
            Control::None => {}
            Control::Prepare(name, inner) => {
                run.prepared = shown(name.as_bytes(), NAME_SHOWN);
                let _ = self.maps.prepare(name.as_bytes(), Arc::clone(inner), number);
            }
            Control::Execute(name) => {
                run.prepared = shown(name.as_bytes(), NAME_SHOWN);
                let found = self.maps.statements.get(name.as_bytes());
                run.inner = found.map(|named| Arc::clone(&named.value));
            }
            Control::Deallocate(name) => {
                run.prepared = shown(name.as_bytes(), NAME_SHOWN);
                let key = name.as_bytes();
                if self.maps.statements.get(key).is_some_and(|named| named.number <= number) {
                    self.maps.statements.remove(key);
                }
            }
            Control::DeallocateAll => self.maps.statements.retain(|_, named| named.number > number),
            Control::DiscardAll => {
                self.maps.statements.retain(|_, named| named.number > number);
                self.maps.portals.retain(|_, named| named.number > number);
            }
        }
    }

    fn called(&mut self, t: u64) {
        self.settle();
        if matches!(self.queue.front(), Some(Pending::Function(_)))
            && let Some(Pending::Function(run)) = self.queue.pop_front()
        {
            self.queue.push_front(Pending::Cycle { number: run.number });
            self.finish(*run, End::Done, t);
        }
    }

    fn failed(&mut self, payload: &[u8], t: u64) {
        let error = error_of(failure(payload));
        if let Some(mut opened) = self.opened.take() {
            opened.at.1 = t;
            opened.failure = Some(error);
            self.queue.clear();
            return self.told.push_back(Message::Opened(opened));
        }
        self.settle();
        let fail = |run: &mut Executed| run.error = Some(error.clone());
        match self.queue.pop_front() {
            None => self.last_words = Some(error),
            Some(Pending::Query(mut script)) => {
                let mut run = part_ended(&mut script, t);
                fail(&mut run);
                self.end_copy(&mut run);
                self.name_inner(&mut run);
                self.finish(run, End::Failed, t);
                let number = script.run.number;
                self.abandon(*script, End::NotRun, t);
                self.queue.push_front(Pending::Cycle { number });
            }
            Some(Pending::Function(mut run)) => {
                fail(&mut run);
                self.queue.push_front(Pending::Cycle { number: run.number });
                self.finish(*run, End::Failed, t);
            }
            Some(Pending::Sync(mut run)) => {
                fail(&mut run);
                self.queue.push_front(Pending::Cycle { number: run.number });
                self.finish(*run, End::Failed, t);
            }
            Some(waiting @ (Pending::Cycle { .. } | Pending::Startup | Pending::CopyEnd { .. })) => {
                self.queue.push_front(waiting);
                self.last_words = Some(error);
            }
            Some(mut extended) => {
                if let Some(run) = run_of(&mut extended) {
                    let mut run = run.clone();
                    fail(&mut run);
                    self.end_copy(&mut run);
                    self.name_inner(&mut run);
                    self.count_portal(&mut run);
                    self.finish(run, End::Failed, t);
                }
                // The server does away with the unnamed statement before it reads the new one.
                if let Pending::Parse { name, before, .. } = &mut extended
                    && name.is_empty()
                {
                    *before = None;
                }
                self.void(extended, t);
            }
        }
    }

    fn name_inner(&mut self, run: &mut Executed) {
        if let Some(statement) = &run.statement
            && let Control::Execute(name) = statement.control()
        {
            run.prepared = shown(name.as_bytes(), NAME_SHOWN);
            let found = self.maps.statements.get(name.as_bytes());
            run.inner = found.map(|named| Arc::clone(&named.value));
        }
    }

    /// `failed` and all up to the next Sync did not happen.
    fn void(&mut self, failed: Pending, t: u64) {
        let mut undone = vec![failed];
        loop {
            match self.queue.front() {
                None => {
                    self.skipping = true;
                    break;
                }
                Some(Pending::Sync(_)) => break,
                Some(_) => undone.extend(self.queue.pop_front()),
            }
        }
        for (at, pending) in undone.iter_mut().enumerate() {
            match pending {
                Pending::Execute(run) | Pending::Function(run) if at > 0 => {
                    let run = run.as_ref().clone();
                    self.finish(run, End::NotRun, t);
                }
                Pending::Query(script) => {
                    let script = script.as_mut();
                    let parts = std::mem::take(&mut script.parts);
                    let run = script.run.clone();
                    let whole = Script::new(parts, run);
                    self.abandon(whole, End::NotRun, t);
                }
                _ => {}
            }
        }
        for pending in undone.into_iter().rev() {
            self.undo(pending);
        }
    }

    /// Puts back what a message that did not happen had changed.
    fn undo(&mut self, pending: Pending) {
        match pending {
            // A Parse that failed still did away with the unnamed statement.
            Pending::Parse { name, before, .. } | Pending::CloseStatement { name, before, .. } => {
                match before {
                    Some(before) => self.maps.statements.insert(name, before),
                    None => self.maps.statements.remove(&name),
                };
            }
            Pending::Bind { name, before, .. } | Pending::ClosePortal { name, before, .. } => {
                match before {
                    Some(before) => self.maps.portals.insert(name, before),
                    None => self.maps.portals.remove(&name),
                };
            }
            Pending::Query(script) => {
                let (statement, portal) = script.before;
                statement.map(|named| self.maps.statements.insert(Vec::new(), named));
                portal.map(|named| self.maps.portals.insert(Vec::new(), named));
            }
            _ => {}
        }
    }

    /// The statements of a Query that have not ended, all with the same end.
    pub(super) fn abandon(&mut self, script: Script, end: End, t: u64) {
        let Script { parts, mut run, ended, .. } = script;
        if parts.is_empty() && !ended {
            return self.finish(run, end, t);
        }
        for statement in parts {
            if end == End::Unknown {
                self.end_copy(&mut run);
            }
            let mut next = Executed::new(run.form, run.number, run.judged, run.at.0, 0);
            next.carried = run.carried;
            let mut run = std::mem::replace(&mut run, next);
            run.statement = Some(statement);
            self.name_inner(&mut run);
            self.finish(run, end, t);
        }
    }

    fn cycle_over(&mut self, payload: &[u8], t: u64) {
        self.state = payload.first().copied().unwrap_or(0);
        if let Some(mut opened) = self.opened.take() {
            opened.at.1 = t;
            self.ready();
            self.told.push_back(Message::Opened(opened));
        }
        let mut number = self.number;
        while let Some(pending) = self.queue.pop_front() {
            match pending {
                Pending::Sync(run) => number = run.number,
                Pending::Cycle { number: n } => number = n,
                Pending::Query(script) => number = script.run.number,
                Pending::Startup => {}
                // The server has passed over it without a word: what it did is not known.
                Pending::Execute(run) | Pending::Function(run) => {
                    self.finish(*run, End::Unknown, t);
                    continue;
                }
                _ => continue,
            }
            break;
        }
        for run in &mut self.done {
            run.state = self.state;
        }
        self.flush();
        self.copy = None;
        if self.state == b'I' {
            self.transaction += 1;
            self.maps.transaction_over(number);
        }
    }

    fn notified(&mut self, payload: &[u8], len: u32, t: u64) {
        let mut reader = Reader::new(payload);
        let pid = reader.u32().unwrap_or(0);
        let channel = reader.text().unwrap_or_default();
        let payload = u64::from(len).saturating_sub(4 + 4 + channel.len() as u64 + 2);
        let channel = shown(channel, NAME_SHOWN);
        self.told.push_back(Message::Notified { at: t, channel, payload, pid });
    }

    fn status(&mut self, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        let (name, value) = (reader.text().unwrap_or_default(), reader.text().unwrap_or_default());
        match name {
            b"standard_conforming_strings" => self.reading.standard = value != b"off",
            b"application_name" => self.set_application(shown(value, NAME_SHOWN)),
            _ => {}
        }
    }

    fn key(&mut self, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        let Some(pid) = reader.u32() else { return };
        if let Some(opened) = &mut self.opened {
            opened.pid = Some(pid);
        }
        self.told.push_back(Message::Key { pid, key: reader.rest().to_vec() });
    }

    fn authentication(&mut self, payload: &[u8], t: u64) {
        if self.phase != Phase::Login {
            return;
        }
        let mut reader = Reader::new(payload);
        let code = reader.u32().unwrap_or(u32::MAX);
        if code == 3 {
            self.told.push_back(Message::ClearText { at: t });
        }
        self.sasl = code == 10;
        let Some(opened) = &mut self.opened else { return };
        match code {
            0 => {
                opened.accepted = true;
                if opened.method.is_empty() {
                    opened.method = "trust";
                }
            }
            3 => opened.method = "password",
            5 => opened.method = "md5",
            7 => opened.method = "gss",
            9 => opened.method = "sspi",
            10 => opened.method = "sasl",
            _ => {}
        }
    }
}

/// The next statement of `script` has ended at `t`; what follows it begins now.
fn part_ended(script: &mut Script, t: u64) -> Executed {
    let mut next = Executed::new(script.run.form, script.run.number, script.run.judged, t, 0);
    next.carried = script.run.carried;
    let mut run = std::mem::replace(&mut script.run, next);
    run.statement = script.parts.pop_front();
    script.ended = true;
    run
}

fn run_of(pending: &mut Pending) -> Option<&mut Executed> {
    match pending {
        Pending::Parse { run, .. }
        | Pending::Bind { run, .. }
        | Pending::CloseStatement { run, .. }
        | Pending::ClosePortal { run, .. }
        | Pending::DescribeStatement(_, run)
        | Pending::DescribePortal(_, run)
        | Pending::Execute(run) => Some(run),
        _ => None,
    }
}

fn error_of(failure: Failure<'_>) -> Error {
    let state = failure.state.get(..5).filter(|s| s.iter().all(u8::is_ascii_alphanumeric));
    Error {
        state: state.map_or(String::new(), |s| String::from_utf8_lossy(s).into_owned()),
        text: shown(failure.text, ERROR_TEXT_MAX),
        fatal: failure.is_fatal(),
    }
}
