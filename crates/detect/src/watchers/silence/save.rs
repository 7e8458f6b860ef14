//! The state of `silence` as bytes. Timers are not written: each key has its own.

use super::{Rhythm, Silence, Watched, Whose};
use crate::baselines::changes::Changes;
use crate::bytes::{Reader, Saved, Writer};
use crate::watch::{Opened, Table};
use std::cmp::Reverse;

pub(super) fn write(of: &Silence, out: &mut Writer) {
    of.sources.write(out);
    of.edges.write(out);
    of.changes.write(out);
}

pub(super) fn read(into: &mut Silence, from: &mut Reader<'_>) -> Option<()> {
    let sources = Table::read(into.sources.capacity(), from)?;
    let edges = Table::read(into.edges.capacity(), from)?;
    into.changes = Changes::read(from)?;
    (into.sources, into.edges) = (sources, edges);
    into.timers.clear();
    for (whose, table) in [(Whose::Source, &into.sources), (Whose::Edge, &into.edges)] {
        for key in table.keys() {
            let due = table.get(&key).map_or(0, |watched| watched.due_ns);
            if due != 0 {
                into.timers.push(Reverse((due, whose, key)));
            }
        }
    }
    Some(())
}

impl Saved for Watched {
    const MIN_BYTES: usize = Rhythm::MIN_BYTES + 106;

    fn write(&self, out: &mut Writer) {
        self.rhythm.write(out);
        out.i64(self.due_ns);
        out.i64(self.look_ns);
        out.i64(self.back_ns);
        out.u64(self.index);
        [&self.eid, &self.group, &self.service, &self.source].into_iter().for_each(|key| out.key(key));
        out.text(&self.name);
        out.text(&self.tenant);
        for opened in [&self.edge, &self.open] {
            out.bool(opened.is_some());
            if let Some(opened) = opened {
                opened.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Watched> {
        Some(Watched {
            rhythm: Rhythm::read(from)?,
            due_ns: from.i64()?,
            look_ns: from.i64()?,
            back_ns: from.i64()?,
            index: from.u64()?,
            eid: from.key()?,
            group: from.key()?,
            service: from.key()?,
            source: from.key()?,
            name: from.text()?,
            tenant: from.text()?,
            edge: opened(from)?,
            open: opened(from)?,
        })
    }
}

fn opened(from: &mut Reader<'_>) -> Option<Option<Box<Opened>>> {
    match from.bool()? {
        true => Some(Some(Box::new(Opened::read(from)?))),
        false => Some(None),
    }
}
