//! What makes things happen: demand, timers, and steps one after the other.

use super::call::{Call, Draft, End};
use super::rhythm::PEAK;
use super::rng::Rng;
use super::topology::{Effect, What};
use super::world::World;
use super::{MILLI, SECOND};

/// Something that acts at times of its own.
pub(super) trait Actor {
    /// Acts at `now`; what it does is over at `now` or later. Returns when it acts next, if ever.
    fn act(&mut self, now: u64, world: &World, out: &mut Vec<Draft>) -> Option<u64>;
}

/// An actor and when it first acts.
pub(super) type Entry = (u64, Box<dyn Actor>);

/// Probability that a call is followed by one more of its kind within seconds, and most calls in such a clump: one
/// request from above is rarely one call below, so traffic is burstier than a Poisson process.
const CLUMP: f64 = 0.2;
const CLUMP_MAX: u32 = 8;
/// Probability that a call that failed on the server's side is tried again.
const RETRY: f64 = 0.6;

/// Writes down a call, and its retry (same request, same id) where it failed.
pub(super) fn emit(world: &World, call: &Call, rng: &mut Rng, out: &mut Vec<Draft>) {
    let first = world.draft(call, rng);
    if matches!(call.end, End::Unavailable | End::Broken | End::Timeout) && rng.chance(RETRY) {
        let mut again = call.clone();
        again.at = call.at + call.dur + 100 * MILLI + rng.below(700 * MILLI);
        world.fare(&mut again, rng);
        again.label = call.label.or(again.label);
        let mut second = world.draft(&again, rng);
        second.event.who = first.event.who.clone();
        second.event.peer.retries = Some(1);
        out.push(second);
    }
    out.push(first);
}

/// Whether a call that would be made at `now` is made, with what holds on its edge.
fn kept(effects: &[Effect], now: u64, rng: &mut Rng) -> bool {
    effects.iter().all(|effect| match effect.what {
        What::Keep(share) => {
            let gone = (1.0 - share) * effect.share(now);
            gone <= 0.0 || !rng.chance(gone)
        }
        _ => true,
    })
}

/// Demand on an edge: clumps of calls, the clumps a Poisson process whose rate follows the edge's rhythm.
pub(super) struct Demand {
    pub(super) edge: usize,
    /// Mean calls a second.
    pub(super) rate: f64,
    pub(super) to: u64,
    /// Grows from nothing at this moment on.
    pub(super) ramp_from: Option<u64>,
    pub(super) label: Option<usize>,
    pub(super) rng: Rng,
}

impl Demand {
    pub(super) fn next(&mut self, now: u64) -> Option<u64> {
        let wait = self.rng.exponential(1.0 / (self.rate * PEAK));
        let next = now.saturating_add((wait * SECOND as f64) as u64 + 1);
        (next < self.to).then_some(next)
    }

    fn clump(&mut self, now: u64, world: &World, out: &mut Vec<Draft>) {
        let mut at = now;
        for _ in 0..CLUMP_MAX {
            if let Some(mut call) = world.call(self.edge, at, &mut self.rng) {
                call.label = self.label.or(call.label);
                emit(world, &call, &mut self.rng, out);
            }
            at += (self.rng.lognormal(0.4, 1.0) * SECOND as f64) as u64;
            if !self.rng.chance(CLUMP) || at >= self.to {
                return;
            }
        }
    }
}

impl Actor for Demand {
    fn act(&mut self, now: u64, world: &World, out: &mut Vec<Draft>) -> Option<u64> {
        let edge = &world.edges[self.edge];
        let mut share = edge.rhythm.at(now) / PEAK;
        if let Some(from) = self.ramp_from {
            share *= now.saturating_sub(from) as f64 / self.to.saturating_sub(from).max(1) as f64;
        }
        // A clump holds 1 / (1 - CLUMP) calls in the mean.
        if self.rng.chance(share * (1.0 - CLUMP)) && kept(&edge.effects, now, &mut self.rng) {
            self.clump(now, world, out);
        }
        self.next(now)
    }
}

/// Calls at equal times, as most machines make them.
pub(super) struct Timer {
    pub(super) edge: usize,
    /// ns.
    pub(super) period: u64,
    /// Deviation of a wait, as a share of the period.
    pub(super) jitter: f64,
    /// Moment that it would act without jitter.
    pub(super) due: u64,
    pub(super) to: u64,
    pub(super) label: Option<usize>,
    pub(super) rng: Rng,
}

impl Actor for Timer {
    fn act(&mut self, now: u64, world: &World, out: &mut Vec<Draft>) -> Option<u64> {
        if kept(&world.edges[self.edge].effects, now, &mut self.rng)
            && let Some(mut call) = world.call(self.edge, now, &mut self.rng)
        {
            call.label = self.label.or(call.label);
            emit(world, &call, &mut self.rng, out);
        }
        self.due += self.period;
        let shift = self.rng.range(-self.jitter, self.jitter) * self.period as f64;
        let next = self.due.saturating_add_signed(shift as i64).max(now + 1);
        (next < self.to).then_some(next)
    }
}

/// What one step does: its number, its moment.
pub(super) type Step = Box<dyn FnMut(&World, u64, u64, &mut Rng, &mut Vec<Draft>)>;

/// A number of steps one after the other.
pub(super) struct Steps {
    pub(super) done: u64,
    pub(super) count: u64,
    /// Mean time between two, ns, and the share of it that is left to chance.
    pub(super) gap: u64,
    pub(super) jitter: f64,
    pub(super) rng: Rng,
    pub(super) step: Step,
}

impl Actor for Steps {
    fn act(&mut self, now: u64, world: &World, out: &mut Vec<Draft>) -> Option<u64> {
        (self.step)(world, now, self.done, &mut self.rng, out);
        self.done += 1;
        let wait = self.gap as f64 * (1.0 + self.rng.range(-self.jitter, self.jitter));
        (self.done < self.count).then_some(now + wait.max(1.0) as u64)
    }
}

/// `count` steps from `from` on.
pub(super) fn steps(
    from: u64,
    count: u64,
    (gap, jitter): (u64, f64),
    rng: Rng,
    step: impl FnMut(&World, u64, u64, &mut Rng, &mut Vec<Draft>) + 'static,
) -> Entry {
    (from, Box::new(Steps { done: 0, count, gap, jitter, rng, step: Box::new(step) }))
}

/// One thing at one moment.
pub(super) fn once(at: u64, draft: impl FnOnce(&World) -> Draft + 'static) -> Entry {
    let mut draft = Some(draft);
    steps(at, 1, (1, 0.0), Rng::new(0), move |world, _, _, _, out| {
        out.extend(draft.take().map(|make| make(world)));
    })
}
