//! Groups: many findings, few notifications.
//!
//! A clock is given, none is read. Invariants: the first finding of a group is told at once; within one interval a
//! group makes at most [`AT_ONCE_MAX`] notifications at once and one after the wait, whatever comes; each finding that
//! joined is in exactly one notification; bounded.

use crate::notice::{ITEMS_MAX, Item, Kind, Notice, OTHERS_MAX};
use countersign_event::FindingState;
use serde::{Deserialize, Serialize};

/// Notifications of a group within an interval that do not wait: the first finding's, and one more for a finding that
/// is worse than all before or about another service, or for the end of the whole.
pub const AT_ONCE_MAX: u32 = 2;
/// Most groups remembered; at the bound the one that was told of the longest ago goes, what it holds is sent first.
pub const GROUPS_MAX: usize = 4096;
/// Services remembered of a group's current interval.
const SERVICES_MAX: usize = 16;

/// When a group's route tells.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) wait_ns: u64,
    pub(crate) interval_ns: u64,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) receivers: Vec<String>,
    pub(crate) wait_ns: u64,
    pub(crate) interval_ns: u64,
    /// Notifications made.
    pub(crate) revision: u64,
    pub(crate) started_ns: u64,
    /// When people were last told, and when the current burst began.
    pub(crate) told_ns: u64,
    burst_ns: u64,
    at_once: u32,
    services: Vec<String>,
    /// Worst severity told, and findings in all.
    worst: u64,
    total: u64,
    /// Matters that are open.
    pub(crate) open: u64,
    /// The last headline, for receivers that want to be told again and again.
    pub(crate) headline: String,
    /// Revision and first finding of the first notification, that later ones refer to.
    root: Option<(u64, String)>,
    /// When what waits is told.
    pub(crate) due_ns: Option<u64>,
    pub(crate) pending: Pending,
}

/// What waits for the next notification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) count: u64,
    worst: u64,
    items: Vec<Item>,
    others: Vec<u64>,
    first_index: u64,
    last_index: u64,
    /// The last that came was the end of the last open matter.
    ended: bool,
}

/// How a finding changes the number of open matters of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Opens,
    Repeats,
    Resolves,
}

impl Group {
    pub(crate) fn new(labels: Vec<(String, String)>, receivers: Vec<String>, now_ns: u64) -> Group {
        Group { labels, receivers, started_ns: now_ns, ..Group::default() }
    }

    /// Takes in a finding. `true`: tell now.
    pub(crate) fn join(&mut self, item: Item, step: Step, pace: Pace, now_ns: u64) -> bool {
        (self.wait_ns, self.interval_ns) = (pace.wait_ns, pace.interval_ns);
        match step {
            Step::Opens => self.open += 1,
            Step::Resolves => self.open = self.open.saturating_sub(1),
            Step::Repeats => {}
        }
        let over = self.revision == 0 || now_ns.saturating_sub(self.told_ns) >= self.interval_ns;
        if over && self.pending.count == 0 {
            (self.burst_ns, self.at_once, self.worst) = (now_ns, 0, 0);
            self.services.clear();
        }
        let closes = step == Step::Resolves && self.open == 0;
        let news =
            step != Step::Resolves && (item.severity > self.worst || self.is_new_service(&item.service));
        let at_once = self.at_once == 0 || self.at_once < AT_ONCE_MAX && news;
        self.pending.push(item);
        self.pending.ended = closes;
        if at_once && !closes {
            self.at_once += 1;
            return true;
        }
        // The end of the whole is told after the wait: it may be one of a flap.
        let due = if closes && self.at_once < AT_ONCE_MAX {
            self.at_once += 1;
            now_ns.saturating_add(self.wait_ns)
        } else {
            let waited = self.burst_ns.saturating_add(self.wait_ns);
            if now_ns < waited { waited } else { self.told_ns.saturating_add(self.interval_ns).max(now_ns) }
        };
        self.due_ns = Some(self.due_ns.map_or(due, |set| set.min(due)));
        false
    }

    fn is_new_service(&mut self, service: &str) -> bool {
        self.at_once > 0 && !self.services.iter().any(|s| s == service) && self.services.len() < SERVICES_MAX
    }

    /// The notification of what waits; `None` if nothing does.
    pub(crate) fn notice(&self, key: &str, now_ns: u64) -> Option<Notice> {
        let pending = &self.pending;
        if pending.count == 0 {
            return None;
        }
        let state = match self.revision {
            _ if pending.ended => FindingState::Resolved,
            0 => FindingState::Open,
            _ => FindingState::Updated,
        };
        let items = pending.items.iter().enumerate();
        Some(Notice {
            kind: Kind::Findings,
            group: key.to_owned(),
            revision: self.revision + 1,
            state: state.code(),
            severity: pending.worst,
            count: pending.count,
            total: self.total + pending.count,
            started_ns: self.started_ns,
            made_ns: now_ns,
            labels: self.labels.clone(),
            items: items
                .map(|(at, item)| if at == 0 { item.clone() } else { item.clone().short() })
                .collect(),
            others: pending.others.clone(),
            first_index: pending.first_index,
            last_index: pending.last_index,
            root: self.root.clone(),
            ..Notice::default()
        })
    }

    /// What waited is now in the receivers' queues.
    pub(crate) fn told(&mut self, notice: &Notice, now_ns: u64) {
        self.revision = notice.revision;
        if let (None, Some(first)) = (&self.root, notice.items.first()) {
            self.root = Some((notice.revision, first.eid.clone()));
        }
        self.total = notice.total;
        self.worst = self.worst.max(notice.severity);
        self.headline = crate::message::clip(&notice.headline(), 512).to_owned();
        for item in &notice.items {
            if !self.services.contains(&item.service) && self.services.len() < SERVICES_MAX {
                self.services.push(item.service.clone());
            }
        }
        // After a notification that an interval was waited for, a new one begins.
        if self.due_ns.is_some() && now_ns.saturating_sub(self.told_ns) >= self.interval_ns {
            (self.at_once, self.burst_ns) = (1, 0);
        }
        (self.told_ns, self.due_ns, self.pending) = (now_ns, None, Pending::default());
    }

    /// What was told last, to be told again.
    pub(crate) fn standing(&self, key: &str, now_ns: u64) -> Notice {
        Notice {
            kind: Kind::Findings,
            group: key.to_owned(),
            revision: self.revision,
            state: FindingState::Updated.code(),
            severity: self.worst,
            count: self.total,
            total: self.total,
            started_ns: self.started_ns,
            made_ns: now_ns,
            labels: self.labels.clone(),
            note: self.headline.clone(),
            ..Notice::default()
        }
    }

    /// Nothing waits, all its matters have resolved, and an interval has passed since. One with open matters is
    /// remembered, so that the end of some is not taken for the end of all.
    pub(crate) fn is_over(&self, now_ns: u64) -> bool {
        self.pending.count == 0 && self.open == 0 && now_ns.saturating_sub(self.told_ns) >= self.interval_ns
    }
}

impl Pending {
    fn push(&mut self, item: Item) {
        if self.count == 0 {
            self.first_index = item.index;
        }
        self.count += 1;
        self.last_index = item.index;
        let worse = item.severity > self.worst;
        self.worst = self.worst.max(item.severity);
        if self.items.len() < ITEMS_MAX {
            self.items.push(item);
            return;
        }
        let mut left = item.index;
        // A worse finding must not be hidden among the numbers by ten that came before it.
        if worse && let Some(last) = self.items.last_mut() {
            left = last.index;
            *last = item;
        }
        if self.others.len() < OTHERS_MAX {
            self.others.push(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;
    const PACE: Pace = Pace { wait_ns: 10 * S, interval_ns: 300 * S };

    fn item(index: u64) -> Item {
        Item { index, severity: 3, state: 1, service: "orders".into(), ..Item::default() }
    }
    fn group() -> Group {
        Group::new(vec![("rule".into(), "r".into())], vec!["ops".into()], 0)
    }
    /// Tells at once or when due; gives what was told.
    fn run(group: &mut Group, item: Option<(Item, Step)>, now: u64) -> Option<Notice> {
        let at_once = item.is_some_and(|(item, step)| group.join(item, step, PACE, now));
        if !at_once && group.due_ns.is_none_or(|due| due > now) {
            return None;
        }
        let notice = group.notice("g", now)?;
        group.told(&notice, now);
        Some(notice)
    }

    #[test]
    fn the_first_is_told_at_once_then_those_of_the_wait_then_one_an_interval() {
        let mut group = group();
        let mut told = Vec::new();
        // Ten thousand in twenty minutes.
        for n in 0..10_000 {
            told.extend(
                run(&mut group, Some((item(n), Step::Opens)), n * 120_000_000)
                    .map(|t| (n * 120_000_000 / S, t)),
            );
        }
        told.extend(run(&mut group, None, 2000 * S).map(|t| (2000, t)));
        assert_eq!(told.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 310, 610, 910, 2000]);
        assert_eq!(told.iter().map(|(_, t)| t.revision).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(told.iter().map(|(_, t)| t.count).sum::<u64>(), 10_000);
        let (first, second) = (&told[0].1, &told[1].1);
        assert_eq!((first.count, first.items.len(), first.state), (1, 1, 1));
        assert_eq!((second.items.len(), second.others.len(), second.state), (10, OTHERS_MAX, 2));
        assert_eq!(
            (second.first_index, second.last_index, second.total),
            (1, second.count, second.count + 1)
        );
    }

    #[test]
    fn one_worse_finding_or_another_service_rings_at_once_and_no_more() {
        let mut group = group();
        assert!(run(&mut group, Some((item(0), Step::Opens)), 0).is_some());
        assert!(run(&mut group, Some((item(1), Step::Opens)), S).is_none());
        let worse = Item { severity: 5, ..item(2) };
        let told = run(&mut group, Some((worse.clone(), Step::Opens)), 2 * S);
        assert_eq!(told.map(|t| (t.count, t.severity)), Some((2, 5)), "with what had joined before");
        let elsewhere = Item { service: "payments".into(), ..item(3) };
        assert!(
            run(&mut group, Some((elsewhere, Step::Opens)), 3 * S).is_none(),
            "the interval's two are used up"
        );
    }

    #[test]
    fn a_worse_finding_is_in_words_even_after_ten_others() {
        let mut group = group();
        for n in 0..30 {
            group.join(item(n), Step::Opens, PACE, 0);
        }
        group.pending.push(Item { severity: 5, ..item(99) });
        let notice = group.notice("g", 0);
        let notice =
            notice.as_ref().map(|n| (n.items.iter().any(|i| i.index == 99), n.items.len(), n.severity));
        assert_eq!(notice, Some((true, ITEMS_MAX, 5)));
    }

    #[test]
    fn the_end_of_all_matters_resolves_the_group_and_a_part_does_not() {
        let mut group = group();
        run(&mut group, Some((item(0), Step::Opens)), 0);
        run(&mut group, Some((item(1), Step::Opens)), S);
        let resolved = |n| (Item { state: 3, ..item(n) }, Step::Resolves);
        assert!(run(&mut group, Some(resolved(0)), 2 * S).is_none());
        let part = run(&mut group, None, 10 * S);
        assert_eq!(part.map(|t| (t.state, t.items[1].state, t.count)), Some((2, 3, 2)));
        assert!(run(&mut group, Some(resolved(1)), 20 * S).is_none());
        let end = run(&mut group, None, 30 * S);
        assert_eq!(end.map(|t| (t.state, t.count)), Some((3, 1)));
        assert!(group.is_over(330 * S) && !group.is_over(31 * S));
        let again = run(&mut group, Some((item(5), Step::Opens)), 400 * S);
        assert_eq!(again.map(|t| t.count), Some(1), "what comes back rings at once");
    }

    proptest! {
        #[test]
        fn each_finding_is_told_once_and_never_more_than_three_times_an_interval(
            steps in proptest::collection::vec((0..60u64, 1..=5u64, 0..4u8, 0..3u8), 1..200)
        ) {
            let mut group = group();
            let (mut now, mut joined, mut told) = (0, 0, Vec::new());
            let mut by_count = 0;
            for (n, (seconds, severity, service, step)) in steps.into_iter().enumerate() {
                for _ in 0..seconds {
                    now += S;
                    if let Some(t) = run(&mut group, None, now) { by_count += t.count; told.push(now); }
                }
                let step = [Step::Opens, Step::Repeats, Step::Resolves][usize::from(step)];
                let item = Item { severity, service: service.to_string(), ..item(n as u64) };
                joined += 1;
                if let Some(t) = run(&mut group, Some((item, step)), now) { by_count += t.count; told.push(now); }
            }
            prop_assert_eq!(by_count + group.pending.count, joined);
            prop_assert!(group.pending.count == 0 || group.due_ns.is_some_and(|due| due <= now + PACE.interval_ns));
            for at in &told {
                let within = told.iter().filter(|t| (*at..*at + PACE.interval_ns).contains(t)).count();
                prop_assert!(within <= 4, "{within} within an interval: {told:?}");
            }
        }
    }
}
