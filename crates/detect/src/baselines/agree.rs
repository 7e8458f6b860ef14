//! Whether two watchers that rest on different numbers found the same caller at the same time.

use crate::bytes::{Reader, Saved, Writer};
use crate::watch::{Key, Table};

/// Two findings on one caller within this are one matter, event time in ns.
pub const AGREE_NS: i64 = 900_000_000_000;
/// Callers remembered.
const CALLERS_MAX: usize = 16_384;
/// Inputs remembered of one.
const INPUTS_MAX: usize = 8;

/// Who was found by what, lately.
pub(super) struct Agreement {
    table: Table<Recent>,
}

#[derive(Default)]
struct Recent(Vec<(String, i64)>);

impl Agreement {
    pub(super) fn new() -> Agreement {
        Agreement { table: Table::new(CALLERS_MAX) }
    }

    /// Notes that `input` found this caller, and names another one that did within [`AGREE_NS`].
    pub(super) fn ask(&mut self, group: Key, input: &str, at_ns: i64) -> Option<String> {
        let (_, recent) = self.table.see(group, 0, at_ns, Recent::default);
        recent.0.retain(|(_, then)| at_ns.saturating_sub(*then) <= AGREE_NS);
        let other = recent.0.iter().find(|(name, _)| name != input).map(|(name, _)| name.clone());
        let room = recent.0.len() < INPUTS_MAX;
        match recent.0.iter_mut().find(|(name, _)| name == input) {
            Some((_, then)) => *then = at_ns.max(*then),
            None if room => recent.0.push((input.to_owned(), at_ns)),
            None => {}
        }
        other
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.table.write(out);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Agreement> {
        Some(Agreement { table: Table::read(CALLERS_MAX, from)? })
    }
}

impl Saved for Recent {
    const MIN_BYTES: usize = 4;

    fn write(&self, out: &mut Writer) {
        out.len(self.0.len());
        for (name, at_ns) in &self.0 {
            out.text(name);
            out.i64(*at_ns);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Recent> {
        let many = from.len(12)?;
        let each = (0..many).map(|_| Some((from.text()?, from.i64()?)));
        each.collect::<Option<Vec<_>>>().map(Recent)
    }
}
