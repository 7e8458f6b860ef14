//! Detection: committed events in, findings to the ledger. Delivery reads them there (`follow.rs`).
//!
//! Invariants: the findings of a range of the ledger are the same live, replayed, and over any crash: state and place are
//! saved together, what comes after the place is looked at again, and a finding that the ledger already holds is not
//! recorded twice. Time is the ledger's: when a detector waits for time to pass and nothing is committed, a tick is.

use super::follow::{Control, Follower, SCAN};
use super::reports::Reports;
use super::snapshot::Snapshots;
use crate::config::{Config, read_bounded};
use crate::exit::CliError;
use countersign_detect::contract::{Contract, ContractConfig, Contracts};
use countersign_detect::coverage::{Coverage, CoverageConfig, Document, Expected};
use countersign_detect::slo::{BurnRate, BurnRateConfig, Slos};
use countersign_detect::{
    AGENT, Baselines, BaselinesConfig, Collected, Detector, Edge, FirstSeen, FirstSeenConfig, Hmac, Rules,
};
use countersign_event::{Core, Event, Rec, TimeBasis};
use countersign_ledger::{Committed, Feed, Ledger, Payload, Source};
use countersign_store::{Cell, Rows, SqlRequest, Store};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// State is saved at least so often while something comes, by time and by events.
const SAVE_EVERY: Duration = Duration::from_secs(60);
const SAVE_EVENTS: u64 = 1_000_000;
/// Largest document of what is expected, bytes.
const DOCUMENT_MAX: u64 = 8 << 20;
/// Ticks are at least so far apart.
const TICK_EVERY: Duration = Duration::from_secs(5);

/// Runs the detectors.
pub(crate) fn start(
    config: &Config,
    ledger: &Ledger,
    store: &Store,
    reports: Reports,
) -> Result<Follower, CliError> {
    let source = super::ledger::source(ledger, AGENT)?;
    let key = ledger.digest_key();
    let sealing = key.hmac(b"countersign detector state v1");
    let hmac: Hmac = Arc::new(move |bytes: &[u8]| key.hmac(bytes));
    let mut detectors = detectors(config, &hmac)?;
    let mut first_seen = FirstSeen::new(first_seen_config(config), hmac);

    let snapshots = Snapshots::open(&config.data.join("detect"), &sealing)?;
    let (snapshot, trouble) = snapshots.newest(ledger.size());
    if let Some(trouble) = trouble {
        tracing::warn!(
            trouble,
            "an older state of the detectors is taken up, or none: the ledger is looked at again from there"
        );
    }
    let next = snapshot.next;
    for detector in &mut detectors {
        if !detector.load(snapshot.section(detector.id())) {
            tracing::warn!(detector = detector.id(), "what it knew cannot be read: it begins anew");
        }
    }
    let saved = snapshot.section(first_seen.id());
    if (saved.is_empty() || !first_seen.load(saved)) && next > 0 {
        warm(&mut first_seen, ledger, store, next)?;
    }
    detectors.insert(0, Box::new(first_seen));
    read_back(&mut detectors, ledger, store, next)?;
    let mut worker = Detection {
        detectors,
        source,
        store: store.clone(),
        snapshots,
        reports,
        next,
        known_below: ledger.size(),
        known: known(ledger, store, next)?,
        unsaved: 0,
        saved: Instant::now(),
        ticked: Instant::now(),
    };
    let reader = ledger.reader(next);
    Follower::spawn("detect", move |control: Control| {
        control.follow(reader, |feed| worker.take(feed));
        worker.save();
    })
}

/// All but the one that is warmed from the store, in the order in which they are shown each batch.
pub(crate) fn detectors(config: &Config, hmac: &Hmac) -> Result<Vec<Box<dyn Detector>>, CliError> {
    let (learn, learn_events, state_bytes) = config.baselines;
    let baselines = BaselinesConfig {
        learn_ns: u64::try_from(learn.as_nanos()).unwrap_or(u64::MAX),
        learn_events,
        state_bytes,
        grants: config.grants.as_slice().into(),
        ..BaselinesConfig::default()
    };
    let mut detectors: Vec<Box<dyn Detector>> = vec![
        Box::new(Collected::new(Arc::clone(hmac))),
        Box::new(Baselines::new(baselines.clone(), Arc::clone(hmac))),
    ];
    let expected = Arc::new(expected(config)?);
    if !expected.is_empty() || !config.coverage.witnesses.is_empty() {
        detectors.push(Box::new(Coverage::new(CoverageConfig::default(), expected, Arc::clone(hmac))));
    }
    let levels = Arc::new(levels(config)?);
    if !levels.slos.is_empty() {
        detectors.push(Box::new(BurnRate::new(BurnRateConfig::default(), levels, Arc::clone(hmac))));
    }
    let contracts = ContractConfig {
        learn_ns: baselines.learn_ns,
        learn_events: baselines.learn_events,
        ..ContractConfig::default()
    };
    detectors.push(Box::new(Contract::new(contracts, Arc::new(contracts_of(config)?), Arc::clone(hmac))));
    let rules = super::rules::load(config, Arc::clone(hmac))?;
    if !rules.rules().is_empty() {
        detectors.push(Box::new(Rules::new(rules, Arc::clone(hmac))));
    }
    Ok(detectors)
}

/// What should be, by the configuration's documents; one that cannot be read is named, with its place.
pub(crate) fn expected(config: &Config) -> Result<Expected, CliError> {
    let read = documents(&config.coverage.expected, Expected::read)?;
    all_taken("coverage.expected", read.refused.first())?;
    Ok(read)
}

/// The promises of the configuration.
pub(crate) fn levels(config: &Config) -> Result<Slos, CliError> {
    let read = documents(&config.coverage.levels, Slos::read)?;
    all_taken("slo.files", read.refused.first())?;
    Ok(read)
}

fn contracts_of(config: &Config) -> Result<Contracts, CliError> {
    let read = documents(&config.coverage.contracts, Contracts::read)?;
    all_taken("contract.files", read.refused.first())?;
    Ok(read)
}

fn documents<T>(files: &[(String, PathBuf)], read: impl FnOnce(&[Document<'_>]) -> T) -> Result<T, CliError> {
    let mut texts = Vec::new();
    for (service, file) in files {
        texts.push((service, file.display().to_string(), read_bounded(file, DOCUMENT_MAX)?));
    }
    let documents: Vec<Document<'_>> =
        texts.iter().map(|(service, source, text)| Document { source, service, text }).collect();
    Ok(read(&documents))
}

fn all_taken(key: &str, refused: Option<&impl std::fmt::Display>) -> Result<(), CliError> {
    refused.map_or(Ok(()), |refused| {
        let next =
            format!("correct or remove it in {key}; docs/guide/coverage.md and slo.md say what is read");
        Err(CliError::new(format!("a document of {key} cannot be used"), refused, next))
    })
}

pub(crate) fn first_seen_config(config: &Config) -> FirstSeenConfig {
    FirstSeenConfig {
        learn_ns: u64::try_from(config.learning.0.as_nanos()).unwrap_or(u64::MAX),
        learn_events: config.learning.1,
        ..FirstSeenConfig::default()
    }
}

struct Detection {
    detectors: Vec<Box<dyn Detector>>,
    source: Source,
    store: Store,
    snapshots: Snapshots,
    reports: Reports,
    /// The next index to look at.
    next: u64,
    /// Events below this were committed before the start: findings of theirs may be in the ledger.
    known_below: u64,
    /// Event ids of these.
    known: BTreeSet<[u8; 16]>,
    /// Events since the state was saved, and when that was.
    unsaved: u64,
    saved: Instant,
    ticked: Instant,
}

impl Detection {
    fn take(&mut self, feed: Option<Feed>) -> Result<(), String> {
        match feed {
            Some(Feed::Batch(batch)) => self.look(&batch.records)?,
            Some(Feed::PartClosed { .. }) => {}
            Some(Feed::Missed { mut from, to }) => {
                while from < to {
                    let end = from.saturating_add(SCAN).min(to);
                    let records = self.store.scan(from, end).map_err(|e| e.to_string())?;
                    self.look(&records)?;
                    from = end;
                }
            }
            None => self.tick(),
        }
        self.reports.serve(&self.detectors);
        if self.unsaved >= SAVE_EVENTS || (self.unsaved > 0 && self.saved.elapsed() >= SAVE_EVERY) {
            self.save();
        }
        Ok(())
    }

    fn look(&mut self, records: &[Committed]) -> Result<(), String> {
        let events = events(records);
        let found: Vec<Event> = self
            .detectors
            .iter_mut()
            .flat_map(|detector| detector.batch(&events))
            .map(|finding| finding.to_event())
            .collect();
        self.report(found, records.first().map_or(0, |record| record.index))?;
        if let Some(last) = records.last() {
            self.next = last.index + 1;
        }
        self.unsaved += events.len() as u64;
        Ok(())
    }

    /// Records what was found, but for what an earlier run recorded before it was killed.
    fn report(&self, mut found: Vec<Event>, from: u64) -> Result<(), String> {
        if from < self.known_below {
            found.retain(|event| !self.known.contains(&event.core.eid));
        }
        if found.is_empty() {
            return Ok(());
        }
        let ack = self.source.record_wait(found).map_err(|e| e.to_string())?;
        for (_, why) in &ack.rejected {
            tracing::error!(why, "a finding was rejected by the ledger");
        }
        Ok(())
    }

    /// Nothing came: when a detector waits for time to pass, the ledger is told that it has.
    fn tick(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let wake = self.detectors.iter().filter_map(|detector| detector.wake_ns()).min();
        if wake.is_none_or(|wake| now < wake) || self.ticked.elapsed() < TICK_EVERY {
            return;
        }
        self.ticked = Instant::now();
        let core = Core {
            t_obs: now,
            t_event: i64::try_from(now).ok(),
            t_basis: Some(TimeBasis::Measured),
            rec: Some(Rec::Platform),
            op: "tick".to_owned(),
            ..Core::default()
        };
        let tick = Event { core, ..Event::default() };
        // One that does not fit now comes again.
        let _ = self.source.try_record(vec![tick], Box::new(|_| {}));
    }

    /// Place and state of all detectors, as they are between two pieces.
    fn save(&mut self) {
        let sections = self.detectors.iter().map(|detector| (detector.id(), detector.save()));
        let sections: Vec<_> = sections.filter(|(_, bytes)| !bytes.is_empty()).collect();
        if let Err(error) = self.snapshots.write(self.next, &sections) {
            tracing::warn!(%error, "the detectors' state was not saved: a restart looks at more of the ledger again");
        }
        (self.unsaved, self.saved) = (0, Instant::now());
    }
}

/// Event ids of the findings that the ledger holds behind the place from which it is looked at again. One pass: asked for
/// one by one, they made a start after many kills too slow to end before the next stop.
fn known(ledger: &Ledger, store: &Store, next: u64) -> Result<BTreeSet<[u8; 16]>, CliError> {
    let (mut from, size, mut known) = (next, ledger.size(), BTreeSet::new());
    store.wait_visible(size, Duration::from_secs(60));
    while from < size {
        let end = from.saturating_add(SCAN).min(size);
        let records = store
            .scan(from, end)
            .map_err(|e| CliError::new("cannot read what was found before", e, "run countersign fsck"))?;
        let found = events(&records).into_iter().filter(|(.., event)| event.core.rec == Some(Rec::Finding));
        known.extend(found.map(|(.., event)| event.core.eid));
        from = end;
    }
    Ok(known)
}

/// Shows detectors the events before the cursor that windows of theirs began with. About these everything was said.
pub(crate) fn read_back(
    detectors: &mut [Box<dyn Detector>],
    ledger: &Ledger,
    store: &Store,
    next: u64,
) -> Result<(), CliError> {
    let back = detectors.iter().map(|detector| detector.looks_back_ns()).max().unwrap_or(0);
    let Some(last) = next.checked_sub(1).filter(|_| back > 0) else { return Ok(()) };
    let fail = |e: &dyn std::fmt::Display| {
        CliError::new("cannot read back for the rules", e, "run countersign fsck")
    };
    let time = |index| -> Result<u64, CliError> {
        Ok(ledger.entry(index).map_err(|e| fail(&e))?.map_or(0, |entry| entry.time_ns))
    };
    let since = time(last)?.saturating_sub(back);
    // Times of the ledger never decrease.
    let (mut from, mut to) = (0, next);
    while from < to {
        let middle = from + (to - from) / 2;
        if time(middle)? < since { from = middle + 1 } else { to = middle }
    }
    store.wait_visible(next, Duration::from_secs(60));
    while from < next {
        let end = from.saturating_add(SCAN).min(next);
        let records = store.scan(from, end).map_err(|e| fail(&e))?;
        let events = events(&records);
        detectors.iter_mut().filter(|detector| detector.looks_back_ns() > 0).for_each(|d| d.warm(&events));
        from = end;
    }
    Ok(())
}

/// The events among these records.
pub(crate) fn events(records: &[Committed]) -> Vec<(u64, u64, &Event)> {
    records
        .iter()
        .filter_map(|record| match &record.payload {
            Payload::Event { event, .. } => Some((record.index, record.entry.time_ns, event.as_ref())),
            Payload::Body(_) => None,
        })
        .collect()
}

/// Tells the detector what the ledger knew before the cursor, so that a restart makes nothing new again.
fn warm(first_seen: &mut FirstSeen, ledger: &Ledger, store: &Store, next: u64) -> Result<(), CliError> {
    const EDGES: &str = "SELECT tenant, who, service, op, max(\"index\") AS last_index, max(time) AS last_time, count(*) AS n \
                         FROM events WHERE rec IN ('interaction', 'intent', 'opaque', 'cut') GROUP BY tenant, who, service, op";
    store.wait_visible(next, Duration::from_secs(60));
    let fail =
        |e: &dyn std::fmt::Display| CliError::new("cannot warm the detectors", e, "run countersign fsck");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| fail(&e))?;
    let rows = runtime
        .block_on(store.sql(SqlRequest { at: Some(next), ..SqlRequest::new(EDGES) }))
        .map_err(|e| fail(&e))?;
    let first_ns = ledger.entry(0).map_err(|e| fail(&e))?.map_or(0, |entry| entry.time_ns);
    let edges: Vec<Edge> = (0..rows.rows.len()).map(|row| edge(&rows, row)).collect();
    let events = edges.iter().map(|edge| edge.count).sum();
    first_seen.warm(first_ns, events, edges);
    Ok(())
}

fn edge(rows: &Rows, row: usize) -> Edge {
    let text = |name: &str| match rows.get(row, name) {
        Some(Cell::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let number = |name: &str| match rows.get(row, name) {
        Some(Cell::Int(n) | Cell::TimeNs(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Cell::UInt(n)) => *n,
        _ => 0,
    };
    Edge {
        tenant: text("tenant"),
        caller: text("who"),
        service: text("service"),
        operation: text("op"),
        last_index: number("last_index"),
        last_ns: number("last_time"),
        count: number("n"),
    }
}
