//! The policies of a running installation: loaded whole, swapped whole, asked by all data threads.

use crate::adopt::Adoption;
use crate::cache::{Cache, key};
use crate::config::{FILES_MAX, Modes, PolicyConfig};
use crate::decide::{Ground, evaluate, evaluate_everything, ground, record, record_broken};
use crate::error::{PolicyError, Problem};
use crate::rules::{Condition, Rules, Sources};
use crate::{AllowAll, Policy, Request};
use arc_swap::ArcSwap;
use countersign_event::{Decision, Mode, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Stack of the thread that compiles policies, bytes: the validator recurses over trees whose depth
/// [`crate::statements::OPERATORS_MAX`] bounds, with large frames in unoptimised builds.
const STACK: usize = 128 << 20;

/// Compiled policies and the verdicts that hold while they do.
#[derive(Debug)]
struct Loaded {
    /// `Err` = could not be loaded, and no route enforces.
    rules: Result<Rules, PolicyError>,
    modes: Modes,
    cache: Cache,
}

/// Counters since the start; they survive reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyStats {
    /// Calls decided in shadow or enforce mode.
    pub decided: u64,
    /// Of these: answered from the cache.
    pub cached: u64,
    /// Of these: not remembered, since a policy looked at the time.
    pub momentary: u64,
    /// Refused.
    pub denied: u64,
    /// Would have been refused.
    pub would_deny: u64,
    /// Decisions with an evaluation error.
    pub errors: u64,
    /// Verdicts evicted to stay within the bound.
    pub evictions: u64,
    /// Bytes of the cache in use.
    pub cache_bytes: u64,
    /// Reloads that were taken over.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused_reloads: u64,
}

#[derive(Debug, Default)]
struct Counters {
    decided: AtomicU64,
    cached: AtomicU64,
    momentary: AtomicU64,
    denied: AtomicU64,
    would_deny: AtomicU64,
    errors: AtomicU64,
    evictions: AtomicU64,
    reloads: AtomicU64,
    refused_reloads: AtomicU64,
}

/// The policies of an installation.
#[derive(Debug)]
pub struct PolicySet {
    config: PolicyConfig,
    loaded: ArcSwap<Loaded>,
    counters: Counters,
    news: Mutex<News>,
}

/// What became of signed proposals since it was last asked.
#[derive(Debug, Default)]
struct News {
    /// In force, and refused, as of the last reading.
    known: Vec<Adoption>,
    fresh: Vec<Adoption>,
}

impl News {
    /// Files are read again and again: only what was not so before is news.
    fn read(&mut self, found: Vec<Adoption>) {
        let new = found.iter().filter(|a| !self.known.contains(a));
        self.fresh.extend(new.cloned());
        self.fresh.truncate(FILES_MAX);
        self.known = found;
    }
}

impl PolicySet {
    /// The set of an installation that configured none.
    pub fn allow_all() -> Arc<dyn Policy> {
        Arc::new(AllowAll)
    }

    /// Reads and compiles. Without an enforcing route, broken policies are no reason not to start: the set
    /// then decides nothing, says so in each record of a shadow route, and [`PolicySet::problem`] has the text.
    ///
    /// # Errors
    /// Any problem of a file, if any route enforces.
    pub fn load(config: PolicyConfig) -> Result<PolicySet, PolicyError> {
        let mut found = Vec::new();
        let rules = config.read_with(&mut found).and_then(|sources| compile(&sources));
        if rules.is_err() {
            found.retain(|adoption| !adoption.refused.is_empty());
        }
        let set = PolicySet::start(config, rules)?;
        set.note(found);
        Ok(set)
    }

    /// The same from texts instead of files; a reload reads `config`.
    ///
    /// # Errors
    /// As [`PolicySet::load`].
    pub fn from_sources(sources: &Sources, config: PolicyConfig) -> Result<PolicySet, PolicyError> {
        PolicySet::start(config, compile(sources))
    }

    fn start(config: PolicyConfig, rules: Result<Rules, Vec<Problem>>) -> Result<PolicySet, PolicyError> {
        let rules = match rules {
            Err(problems) if config.modes.any_enforces() => {
                return Err(PolicyError::new(problems, "not started, since a route enforces them"));
            }
            Err(problems) => {
                Err(PolicyError::new(problems, "no route enforces them, so calls pass without a verdict"))
            }
            Ok(rules) => Ok(rules),
        };
        let cache = Cache::new(config.cache_bytes);
        let loaded = Loaded { rules, modes: config.modes.clone(), cache };
        Ok(PolicySet {
            config,
            loaded: ArcSwap::from_pointee(loaded),
            counters: Counters::default(),
            news: Mutex::default(),
        })
    }

    /// Reads the files again and takes them over whole, with an empty cache; `Ok(true)` if they differ from
    /// those in force. Decisions under way keep the policies they began with.
    ///
    /// # Errors
    /// Any problem of a file; the policies in force stay.
    pub fn reload(&self) -> Result<bool, PolicyError> {
        let mut found = Vec::new();
        let rules = self.config.read_with(&mut found).and_then(|sources| compile(&sources));
        let replaced = self.replace(rules);
        // What is sound but stands beside something broken is not in force.
        if replaced.is_err() {
            found.retain(|adoption| !adoption.refused.is_empty());
        }
        self.note(found);
        replaced
    }

    /// [`PolicySet::reload`] from texts.
    ///
    /// # Errors
    /// As there.
    pub fn reload_from(&self, sources: &Sources) -> Result<bool, PolicyError> {
        self.replace(compile(sources))
    }

    fn note(&self, found: Vec<Adoption>) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).read(found);
    }

    /// What became of signed proposals since the last call: each to be recorded with [`Adoption::event`]. To be
    /// asked after loading and after each reload, also after one that was refused.
    pub fn adoptions(&self) -> Vec<Adoption> {
        std::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner).fresh)
    }

    fn replace(&self, rules: Result<Rules, Vec<Problem>>) -> Result<bool, PolicyError> {
        let rules = rules.map_err(|problems| {
            self.counters.refused_reloads.fetch_add(1, Ordering::Relaxed);
            PolicyError::new(problems, "the policies in force stay in force")
        })?;
        let before = self.loaded.load();
        let changed = before.rules.as_ref().map_or(true, |old| old.digest != rules.digest);
        self.counters.evictions.fetch_add(before.cache.evictions(), Ordering::Relaxed);
        let (modes, cache) = (before.modes.clone(), Cache::new(self.config.cache_bytes));
        drop(before);
        self.loaded.store(Arc::new(Loaded { rules: Ok(rules), modes, cache }));
        self.counters.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(changed)
    }

    /// The policy set's id: hex SHA-256 over all texts and the schema; empty if nothing could be loaded.
    pub fn digest(&self) -> String {
        self.loaded.load().rules.as_ref().map_or_else(|_| String::new(), |rules| rules.digest.clone())
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        self.loaded.load().rules.as_ref().map_or(0, |rules| rules.rules.len())
    }

    /// Whether there are none: a route in enforce mode then denies everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different conditions the policies have, and how many of these Cedar's evaluator is needed
    /// for: each of those costs a decision that is not remembered some microseconds.
    pub fn conditions(&self) -> (usize, usize) {
        let loaded = self.loaded.load();
        let Ok(rules) = loaded.rules.as_ref() else { return (0, 0) };
        let cedars = rules.conditions.iter().filter(|c| matches!(c, Condition::Cedars(_))).count();
        (rules.conditions.len(), cedars)
    }

    /// Why nothing is loaded, if so.
    pub fn problem(&self) -> Option<PolicyError> {
        self.loaded.load().rules.as_ref().err().cloned()
    }

    /// What the check found beside errors: policies that can never apply, names that look alike.
    pub fn warnings(&self) -> Vec<Problem> {
        self.loaded.load().rules.as_ref().map_or_else(|_| Vec::new(), |rules| rules.warnings.clone())
    }

    /// The mode of a route.
    pub fn mode(&self, route: &str) -> Mode {
        self.loaded.load().modes.of(route)
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> PolicyStats {
        let (c, cache) = (&self.counters, &self.loaded.load().cache);
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PolicyStats {
            decided: get(&c.decided),
            cached: get(&c.cached),
            momentary: get(&c.momentary),
            denied: get(&c.denied),
            would_deny: get(&c.would_deny),
            errors: get(&c.errors),
            evictions: get(&c.evictions) + cache.evictions(),
            cache_bytes: cache.bytes() as u64,
            reloads: get(&c.reloads),
            refused_reloads: get(&c.refused_reloads),
        }
    }

    /// What a mode would say, without cache and counters: for `countersign policy test`.
    pub fn decide_as(&self, request: &Request<'_>, mode: Mode) -> Decision {
        match &self.loaded.load().rules {
            Ok(rules) => record(rules, &evaluate(rules, request), mode),
            Err(_) => record_broken(mode),
        }
    }

    /// The same by one evaluation of every policy over every attribute: what [`PolicySet::decide_as`] must
    /// equal, at some thousand times its cost. `None` = nothing is loaded, or the call cannot be put to Cedar.
    pub fn decide_fully(&self, request: &Request<'_>, mode: Mode) -> Option<Decision> {
        let loaded = self.loaded.load();
        let rules = loaded.rules.as_ref().ok()?;
        evaluate_everything(rules, request).ok().map(|outcome| record(rules, &outcome, mode))
    }

    fn count(&self, decision: &Decision) {
        let c = &self.counters;
        c.decided.fetch_add(1, Ordering::Relaxed);
        match decision.verdict {
            Some(Verdict::Deny) => c.denied.fetch_add(1, Ordering::Relaxed),
            Some(Verdict::WouldDeny) => c.would_deny.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        if ground(decision) == Ground::Error {
            c.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Policy for PolicySet {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let loaded = self.loaded.load();
        let mode = loaded.modes.of(request.route);
        if matches!(mode, Mode::Observe | Mode::Learn) {
            return Decision { mode: Some(mode), ..Decision::default() };
        }
        let decision = match &loaded.rules {
            Err(_) => record_broken(mode),
            Ok(rules) => {
                let key = key(request, mode, rules.reads);
                match loaded.cache.get(&key) {
                    Some(decision) => {
                        self.counters.cached.fetch_add(1, Ordering::Relaxed);
                        decision
                    }
                    None => {
                        let outcome = evaluate(rules, request);
                        let decision = record(rules, &outcome, mode);
                        if outcome.momentary {
                            self.counters.momentary.fetch_add(1, Ordering::Relaxed);
                        } else {
                            loaded.cache.put(key, &decision);
                        }
                        decision
                    }
                }
            }
        };
        self.count(&decision);
        decision
    }

    fn holds(&self, route: &str) -> bool {
        self.mode(route) == Mode::Enforce
    }
}

/// Compiles on a thread of its own, for its stack.
fn compile(sources: &Sources) -> Result<Rules, Vec<Problem>> {
    let fault = |why: String| vec![Problem::of_file("policies", why, "try again")];
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("policy-load".into()).stack_size(STACK);
        match thread.spawn_scoped(scope, || Rules::compile(sources)) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(fault("the policy compiler failed".into()))),
            Err(error) => Err(fault(format!("no thread to compile on: {error}"))),
        }
    })
}

/// Checks texts without starting anything: warnings, or all problems. For `countersign policy check`.
///
/// # Errors
/// All problems found.
pub fn check(sources: &Sources) -> Result<Vec<Problem>, Vec<Problem>> {
    compile(sources).map(|rules| rules.warnings)
}
