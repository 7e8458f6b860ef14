//! The way of one finding: merged, inhibited or silenced; else told to the log and given to its groups.
//!
//! Invariant: under one lock from the judgement to the journal, so that what is on disk is always the state before or
//! after a finding. A message goes into its queue before the memory of it is kept: a crash in between may ring twice
//! under one id, never not at all.

use crate::alerts::Inner;
use crate::config::LOG;
use crate::group::{Group, Pace, Step};
use crate::inhibit;
use crate::journal::Kept;
use crate::memory::{Delta, Matter, Verdict};
use crate::message::{Alert, Stored, hex_16, message_id};
use crate::notice::{Item, Notice};
use crate::queue::Name;
use crate::receiver::{Pushed, Withheld};
use crate::route::{Plan, nanos};
use crate::state::Change;
use crate::subject::Subject;
use countersign_event::{Event, FindingState};

/// A receiver whose message is in memory alone.
struct Unsaved {
    receiver: String,
    finding: [u8; 16],
}

impl Inner {
    pub(crate) fn take(&self, event: &Event, index: u64) {
        let Some(alert) = Alert::of(event, index) else { return };
        let subject = Subject::of_alert(&alert);
        let fingerprint = subject.fingerprint(&self.seal);
        let takers = self.plan.takers(&subject);
        let now = self.now();
        let mut unsaved = Vec::new();
        let mut kept = self.kept();
        let parents = inhibit::changes(&kept.memory.parents, &subject, &fingerprint, now);
        let verdict = kept.memory.judge(&subject, &fingerprint, now, nanos(self.timing.repeat));
        let mut delta = Delta { handled: index.saturating_add(1), parents, ..Delta::default() };
        let told = match &verdict {
            Verdict::Tell { repeats, opens } => {
                let item = Item::of(&alert, &subject, &fingerprint, self.explain, *repeats);
                let step = step(&subject, *opens);
                for plan in takers.iter().filter(|plan| !plan.receivers.is_empty()) {
                    self.join(&mut kept, plan, &subject, item.clone(), step, now, &mut delta, &mut unsaved);
                }
                delta
                    .matters
                    .push((fingerprint.clone(), told_matter(&kept, &subject, &fingerprint, &item, now)));
                self.log.tell(&subject, &item.finding, index, *repeats)
            }
            Verdict::Merge => {
                // One that is handed over again after a crash is no repeat.
                if index >= kept.memory.handled
                    && let Some(known) = kept.memory.matters.get(&fingerprint)
                {
                    let repeats = known.repeats + 1;
                    delta.matters.push((fingerprint.clone(), Matter { repeats, ..known.clone() }));
                }
                self.withhold(&takers, Withheld::Merged, &subject, "")
            }
            Verdict::Inhibited(parent) => self.withhold(&takers, Withheld::Inhibited, &subject, parent),
            Verdict::Silenced(silence) => self.withhold(&takers, Withheld::Silenced, &subject, silence),
        };
        kept.apply(delta);
        drop(kept);
        if told {
            self.tell(&Change { finding: Some(event.core.eid), ..Change::new("alert.delivered", LOG) });
        }
        self.tell_unsaved(&unsaved);
    }

    fn withhold(&self, takers: &[&Plan], why: Withheld, subject: &Subject, by: &str) -> bool {
        self.log.withheld(why);
        for name in distinct(takers.iter().flat_map(|plan| &plan.receivers)) {
            if let Some(receiver) = self.receiver(name) {
                receiver.withheld(why);
            }
        }
        self.untold.add(why, &subject.rule, by);
        false
    }

    /// Puts a finding into the group of one route.
    #[expect(clippy::too_many_arguments, reason = "what one finding is, and what it changes")]
    fn join(
        &self,
        kept: &mut Kept,
        plan: &Plan,
        subject: &Subject,
        item: Item,
        step: Step,
        now: u64,
        delta: &mut Delta,
        unsaved: &mut Vec<Unsaved>,
    ) {
        let labels = plan.labels(subject);
        let key = plan.group(&labels, &self.seal);
        if !kept.memory.groups.contains_key(&key)
            && let Some(oldest) = kept.memory.oldest_group()
        {
            if let Some(group) = kept.memory.groups.get(&oldest)
                && let Some(notice) = group.notice(&oldest, now)
            {
                self.queue(&group.receivers, &notice, now, unsaved);
            }
            kept.apply(Delta { groups: vec![(oldest, None)], ..Delta::default() });
        }
        let mut group = kept
            .memory
            .groups
            .get(&key)
            .cloned()
            .unwrap_or_else(|| Group::new(labels, plan.receivers.clone(), now));
        if group.pending.count == 0 {
            // The configuration may have changed since.
            group.receivers.clone_from(&plan.receivers);
        }
        for receiver in group.receivers.iter().filter_map(|name| self.receiver(name)) {
            receiver.gathered(1);
        }
        let pace = Pace { wait_ns: plan.wait_ns, interval_ns: plan.interval_ns };
        if group.join(item, step, pace, now)
            && let Some(notice) = group.notice(&key, now)
        {
            self.queue(&group.receivers, &notice, now, unsaved);
            group.told(&notice, now);
        }
        delta.groups.push((key, Some(group)));
    }

    /// Puts a notification into the queues of its receivers.
    fn queue(&self, receivers: &[String], notice: &Notice, now_ns: u64, unsaved: &mut Vec<Unsaved>) {
        for receiver in receivers.iter().filter_map(|name| self.receiver(name)) {
            let id = |revision, first: &str| self.message(&receiver.name, &notice.group, revision, first);
            let first = notice.items.first().map_or("", |item| item.eid.as_str());
            let thread =
                notice.root.as_ref().map(|(revision, first)| id(*revision, first)).unwrap_or_default();
            let stored = stored(&Notice { thread, ..notice.clone() });
            let name = Name { created_ns: now_ns, id: id(notice.revision, first), count: notice.count };
            if receiver.push(name, &stored) == Pushed::Volatile {
                unsaved.push(Unsaved { receiver: receiver.name.clone(), finding: stored.finding });
            }
        }
    }

    /// The message's id at one receiver: group and revision, and the first finding in it, so that a group whose
    /// revision was forgotten never gives an old id to something new.
    fn message(&self, receiver: &str, group: &str, revision: u64, first: &str) -> String {
        let revision = revision.to_be_bytes();
        let parts = [b"group", receiver.as_bytes(), group.as_bytes(), &revision, first.as_bytes()];
        message_id(&self.seal, &parts)
    }

    /// Tells what is due in all groups; forgets those that are over.
    pub(crate) fn tell_due(&self) {
        let now = self.now();
        let mut unsaved = Vec::new();
        let mut kept = self.kept();
        let due = |group: &Group| group.due_ns.is_some_and(|due| due <= now);
        let ripe = kept.memory.groups.iter().filter(|(_, group)| due(group) || group.is_over(now));
        let ripe: Vec<(String, Group)> = ripe.map(|(key, group)| (key.clone(), group.clone())).collect();
        for (key, mut group) in ripe {
            let after = match group.notice(&key, now) {
                Some(notice) => {
                    self.queue(&group.receivers, &notice, now, &mut unsaved);
                    group.told(&notice, now);
                    Some(group)
                }
                None => None,
            };
            kept.apply(Delta { groups: vec![(key, after)], ..Delta::default() });
        }
        drop(kept);
        self.tell_unsaved(&unsaved);
    }

    fn tell_unsaved(&self, unsaved: &[Unsaved]) {
        for Unsaved { receiver, finding } in unsaved {
            tracing::warn!(target: "countersign::alert", receiver, "alert held in memory: the disk refused it");
            let error = "the disk refused it; it waits in memory and would not survive a crash";
            self.tell(&Change { finding: Some(*finding), error, ..Change::new("alert.unsaved", receiver) });
        }
    }

    /// Gives a message that its receiver does not take to the fallback receiver.
    pub(crate) fn fall_back(&self, from: &str, name: &Name, stored: &Stored, why: &str) {
        let Some(mut notice) = Notice::from_bytes(&stored.body) else { return };
        notice.note = format!("receiver {from} does not take this: {why}");
        let targets = self.fallback.iter().filter_map(|at| self.receivers.get(*at));
        for receiver in targets.filter(|receiver| receiver.name != from) {
            let id = message_id(&self.seal, &[b"fallback", receiver.name.as_bytes(), name.id.as_bytes()]);
            receiver.gathered(name.count);
            receiver.push(
                Name { created_ns: self.now(), id: id.clone(), count: name.count },
                &Stored { body: notice.to_bytes(), ..stored.clone() },
            );
            let finding = stored.finding();
            self.tell(&Change {
                finding,
                message: &id,
                error: &notice.note,
                count: name.count,
                ..Change::new("alert.fallback", &receiver.name)
            });
        }
    }
}

/// How a notification lies in a queue.
pub(crate) fn stored(notice: &Notice) -> Stored {
    let first = notice.items.first();
    Stored {
        finding: first.and_then(|item| hex_16(&item.eid)).unwrap_or_default(),
        index: first.map_or(notice.last_index, |item| item.index),
        body: notice.to_bytes(),
        ..Stored::default()
    }
}

fn step(subject: &Subject, opens: bool) -> Step {
    match (subject.state, opens) {
        (FindingState::Resolved, _) => Step::Resolves,
        (_, true) => Step::Opens,
        (_, false) => Step::Repeats,
    }
}

fn told_matter(kept: &Kept, subject: &Subject, fingerprint: &str, item: &Item, now_ns: u64) -> Matter {
    let known = kept.memory.matters.get(fingerprint).filter(|known| known.open);
    let open = subject.state != FindingState::Resolved;
    Matter {
        told_ns: now_ns,
        repeats: 0,
        worst: known.map_or(0, |known| known.worst).max(subject.severity.code()),
        open,
        finding: item.finding.clone(),
        rule: subject.rule.clone(),
        ack: known.and_then(|known| known.ack.clone()).filter(|_| open),
    }
}

fn distinct<'n>(names: impl Iterator<Item = &'n String>) -> Vec<&'n String> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
