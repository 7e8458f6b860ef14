//! How many findings of a watcher, tenant and day notify, are recorded, or are only counted.
//!
//! Invariant: what opened quietly also changes and ends quietly, and what was never recorded has no end either.

use crate::bytes::{Reader, Writer};
use countersign_event::FindingState;
use std::collections::BTreeMap;

/// Findings of a watcher, tenant and day that notify, unless configured.
pub(super) const A_DAY: u32 = 20;
/// Findings of a watcher, tenant and day that are recorded.
pub(super) const RECORDED_MAX: u32 = 1_000;
/// Tenants counted apart; further ones share one count.
const TENANTS_MAX: usize = 1_024;
/// Open findings of which it is remembered that they are quiet.
const QUIET_MAX: usize = 65_536;
const DAY_NS: u64 = 86_400_000_000_000;

/// What becomes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is recorded, and notifies if its severity does.
    Tell,
    /// It is recorded.
    Record,
    /// It is counted.
    Count,
}

pub(super) struct Allowance {
    a_day: u32,
    day: u64,
    /// By watcher and tenant: those that notify, and all.
    said: BTreeMap<(usize, String), (u32, u32)>,
    /// Open and not told: whether at least recorded.
    quiet: BTreeMap<[u8; 16], bool>,
    suppressed: u64,
}

impl Allowance {
    pub(super) fn new(a_day: u32) -> Allowance {
        Allowance { a_day, day: 0, said: BTreeMap::new(), quiet: BTreeMap::new(), suppressed: 0 }
    }

    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// A finding opens. `quiet` = it would not notify anyway.
    pub(super) fn ask(
        &mut self,
        watcher: usize,
        tenant: &str,
        ns: u64,
        id: &[u8; 16],
        quiet: bool,
    ) -> Allowed {
        if ns / DAY_NS != self.day {
            self.day = ns / DAY_NS;
            self.said.clear();
        }
        let known = self.said.contains_key(&(watcher, tenant.to_owned()));
        let tenant = if known || self.said.len() < TENANTS_MAX { tenant } else { "" };
        let (told, all) = self.said.entry((watcher, tenant.to_owned())).or_default();
        *all = all.saturating_add(1);
        let allowed = match () {
            () if *all > RECORDED_MAX.max(self.a_day) => Allowed::Count,
            () if quiet || *told >= self.a_day => Allowed::Record,
            () => {
                *told += 1;
                Allowed::Tell
            }
        };
        self.suppressed += u64::from(allowed == Allowed::Count);
        if allowed != Allowed::Tell && self.quiet.len() < QUIET_MAX {
            self.quiet.insert(*id, allowed == Allowed::Record);
        }
        allowed
    }

    /// A finding that opened before changes or ends.
    pub(super) fn goes_on(&mut self, id: &[u8; 16], state: FindingState) -> Allowed {
        let how = self.quiet.get(id).copied();
        if state == FindingState::Resolved {
            self.quiet.remove(id);
        }
        match how {
            None => Allowed::Tell,
            Some(true) => Allowed::Record,
            Some(false) => Allowed::Count,
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.day);
        out.u64(self.suppressed);
        out.len(self.said.len());
        for ((watcher, tenant), (told, all)) in &self.said {
            out.len(*watcher);
            out.text(tenant);
            out.u32(*told);
            out.u32(*all);
        }
        out.len(self.quiet.len());
        for (id, recorded) in &self.quiet {
            out.key(id);
            out.bool(*recorded);
        }
    }

    pub(super) fn read(a_day: u32, from: &mut Reader<'_>) -> Option<Allowance> {
        let mut new = Allowance::new(a_day);
        (new.day, new.suppressed) = (from.u64()?, from.u64()?);
        for _ in 0..from.len(16)? {
            let watcher = usize::try_from(from.u32()?).ok()?;
            new.said.insert((watcher, from.text()?), (from.u32()?, from.u32()?));
        }
        for _ in 0..from.len(17)? {
            new.quiet.insert(from.key()?, from.bool()?);
        }
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_allowance_findings_are_recorded_then_counted_and_end_as_they_began() {
        let mut allowance = Allowance::new(2);
        let id = |n: u32| (u128::from(n)).to_be_bytes();
        let mut said = Vec::new();
        for n in 0..RECORDED_MAX + 5 {
            said.push(allowance.ask(0, "", 5, &id(n), false));
        }
        assert_eq!(said[1..3], [Allowed::Tell, Allowed::Record]);
        assert_eq!(said[RECORDED_MAX as usize - 1..][..2], [Allowed::Record, Allowed::Count]);
        assert_eq!(allowance.suppressed(), 5);
        for (n, want) in [(0, Allowed::Tell), (5, Allowed::Record), (RECORDED_MAX + 1, Allowed::Count)] {
            assert_eq!(allowance.goes_on(&id(n), FindingState::Resolved), want);
        }
        assert_eq!(allowance.ask(0, "", DAY_NS, &id(9), false), Allowed::Tell, "a new day");
        assert_eq!(allowance.ask(1, "", DAY_NS, &id(9), false), Allowed::Tell, "another watcher");
    }
}
