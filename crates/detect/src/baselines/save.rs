//! The state of all watchers as bytes: what they share, then a section each behind its id, version and rule hash.
//!
//! Invariants: what is shared is read whole or not at all; a section of another version or with other parameters is
//! dropped, and its watcher begins anew.

use super::{Agreement, Allowance, Baselines, Changes, Groups};
use crate::bytes::{Reader, Writer};
use crate::clock::Clock;

const MAGIC: &[u8; 4] = b"CSB1";

pub(super) fn write(of: &Baselines) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(MAGIC);
    of.clock.write(&mut out);
    of.groups.write(&mut out);
    of.changes.write(&mut out);
    of.agreement.write(&mut out);
    of.allowance.write(&mut out);
    out.i64(of.advanced_ns);
    out.u64(of.checked_ns);
    out.u64(of.lost);
    out.len(of.watchers.len());
    for watched in &of.watchers {
        let mut section = Writer::new();
        watched.watcher.write(&mut section);
        out.text(watched.watcher.id());
        out.bytes(&watched.rule.hash);
        out.bytes(&section.done());
    }
    out.done()
}

pub(super) fn read(into: &mut Baselines, saved: &[u8]) -> Option<()> {
    let mut from = Reader::new(saved);
    if from.bytes()? != MAGIC {
        return None;
    }
    let clock = Clock::read(&mut from)?;
    let mut groups = Groups::new(into.config.learn_ns, into.config.learn_events);
    groups.read(&mut from)?;
    let changes = Changes::read(&mut from)?;
    let agreement = Agreement::read(&mut from)?;
    let allowance = Allowance::read(into.config.allowance, &mut from)?;
    let (advanced_ns, checked_ns, lost) = (from.i64()?, from.u64()?, from.u64()?);
    let mut sections = Vec::new();
    for _ in 0..from.len(12)? {
        sections.push((from.text()?, from.bytes()?, from.bytes()?));
    }
    (into.clock, into.groups, into.changes) = (clock, groups, changes);
    (into.agreement, into.allowance) = (agreement, allowance);
    (into.advanced_ns, into.checked_ns, into.lost) = (advanced_ns, checked_ns, lost);
    for watched in &mut into.watchers {
        let found =
            sections.iter().find(|(id, hash, _)| id == watched.watcher.id() && *hash == watched.rule.hash);
        if let Some((.., bytes)) = found {
            // One that cannot be read is left as it began.
            let _ = watched.watcher.read(&mut Reader::new(bytes));
        }
    }
    Some(())
}
