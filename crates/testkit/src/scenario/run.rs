//! The run itself: an agenda of actors, the observers, and records on their way, merged into ledger order.

use super::actor::{Actor, Entry};
use super::attack::{self, Plan};
use super::background::background;
use super::call::Draft;
use super::labels::{LABEL_EVENTS_MAX, Label};
use super::observer::{Delivery, Observers, Troubles};
use super::world::World;
use super::{DAY, Scenario};
use countersign_event::Event;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One event as the ledger has it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Receive time of the ledger, UTC ns, never decreasing.
    pub ledger_ns: u64,
    /// The event, complete.
    pub event: Event,
    /// Index into [`Run::labels`] of what it belongs to.
    pub label: Option<usize>,
}

/// Something due at a moment; the earliest first, at the same moment in the order in which they came.
struct Due<T> {
    at: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Due<T>) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl<T> Eq for Due<T> {}
impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Due<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Due<T>) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A queue of what is due.
struct Queue<T> {
    heap: BinaryHeap<Due<T>>,
    count: u64,
}

impl<T> Queue<T> {
    fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), count: 0 }
    }
    fn push(&mut self, at: u64, what: T) {
        self.count += 1;
        self.heap.push(Due { at, number: self.count, what });
    }
    fn next_at(&self) -> u64 {
        self.heap.peek().map_or(u64::MAX, |due| due.at)
    }
    fn pop(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|due| (due.at, due.what))
    }
}

/// A run under way: an iterator over its records in ledger order.
pub struct Run {
    world: World,
    agenda: Queue<Box<dyn Actor>>,
    /// Calls under way, by when they are over.
    calls: Queue<Box<Draft>>,
    observers: Observers,
    /// Records on their way to the ledger.
    sent: Queue<Box<Delivery>>,
    labels: Vec<Label>,
    /// Records given out that belong to no attack.
    background: u64,
    drafts: Vec<Draft>,
    deliveries: Vec<Delivery>,
}

impl Run {
    pub(super) fn new(scenario: &Scenario) -> Run {
        let (start, end) = scenario.span();
        let (mut world, deploys) = World::new(scenario, (start, end));
        let (mut troubles, mut entries) = (Troubles::default(), Vec::<Entry>::new());
        let jobs = background(&mut world, &deploys, &mut troubles, &mut entries);
        let mut labels = Vec::new();
        let mut plan = Plan {
            world: &mut world,
            agenda: &mut entries,
            troubles: &mut troubles,
            labels: &mut labels,
            jobs: &jobs,
        };
        attack::stage(&mut plan, &scenario.mix);
        let mut agenda = Queue::new();
        for (at, actor) in entries {
            if at < end {
                agenda.push(at, actor);
            }
        }
        let observers = Observers::new(scenario.seed, start, troubles, scenario.faults);
        Run {
            world,
            agenda,
            calls: Queue::new(),
            observers,
            sent: Queue::new(),
            labels,
            background: 0,
            drafts: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// What was staged; complete with the ids of its events once the run is at its end.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Records given out so far that belong to no attack.
    pub fn background(&self) -> u64 {
        self.background
    }

    /// Seed of the run.
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// First and last moment of the run, UTC ns.
    pub fn span(&self) -> (u64, u64) {
        (self.world.start, self.world.end)
    }

    /// Days of the run.
    pub fn days(&self) -> f64 {
        (self.world.end - self.world.start) as f64 / DAY as f64
    }

    fn act(&mut self) {
        let Some((now, mut actor)) = self.agenda.pop() else { return };
        let next = actor.act(now, &self.world, &mut self.drafts);
        if let Some(next) = next.filter(|next| *next < self.world.end) {
            self.agenda.push(next.max(now), actor);
        }
        for draft in self.drafts.drain(..) {
            self.calls.push(draft.seen.max(now), Box::new(draft));
        }
    }

    fn observe(&mut self) {
        let Some((_, draft)) = self.calls.pop() else { return };
        self.observers.observe(*draft, &mut self.deliveries);
        for delivery in self.deliveries.drain(..) {
            self.sent.push(delivery.ledger_ns, Box::new(delivery));
        }
    }
}

impl Iterator for Run {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let (agenda, calls) = (self.agenda.next_at(), self.calls.next_at());
            if self.sent.next_at() <= agenda.min(calls) {
                let (ledger_ns, delivery) = self.sent.pop()?;
                let Delivery { event, label, .. } = *delivery;
                let label_of = label.and_then(|index| self.labels.get_mut(index));
                self.background += u64::from(label_of.as_ref().is_none_or(|label| !label.attack));
                if let Some(label) = label_of {
                    if label.events.len() < LABEL_EVENTS_MAX {
                        label.events.push(event.core.eid);
                    } else {
                        label.more += 1;
                    }
                }
                return Some(Record { ledger_ns, event, label });
            }
            if agenda <= calls { self.act() } else { self.observe() }
        }
    }
}
