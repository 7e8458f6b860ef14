//! A batch of an edge into the ledger: each record once, in the order of its run, durable before it is answered.
//!
//! First the whole batch is read and compared with what is there, and nothing is done if anything is wrong; then it
//! is handed over, run by run.

use crate::intake::Refusal;
use countersign_event::{Event, Frame};
use countersign_ledger::bodies::Gap;
use countersign_ledger::{Done, ForwardError, ForwardSpec, Ledger, LedgerError, Loss, Source};
use countersign_wire::edge::{Batch, Kind, Marks, Record};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often a full ledger is asked again, and durability is looked for when nobody tells.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// Most events handed to the ledger at once.
const PART: usize = 4_096;

/// Most runs of one edge that are live at once; a run ends when its edge's log says so.
const RUNS_MAX: usize = 4_096;

/// The runs of one edge that are live here.
#[derive(Debug, Default)]
pub(super) struct Runs {
    live: HashMap<[u8; 16], Source>,
    /// Runs of which an unknown loss was declared in this life of the process: it has no number to know it by.
    unknown: HashSet<[u8; 16]>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) recorded: u64,
    pub(super) repeated: u64,
    pub(super) lost: u64,
}

/// Why a batch was not taken, or not whole.
pub(super) enum TakeError {
    /// Numbers before it are not here: nothing was taken.
    Behind,
    /// A record is not what it says: nothing was taken.
    Record(String),
    /// Not now; some of it may be here.
    Again(Refusal),
}

/// One step for a run.
enum Step {
    Events(Vec<(Event, Frame)>),
    Loss(Loss),
    End,
}

/// What is to be done for one run.
struct Plan {
    /// Place in the batch's list of runs.
    run: usize,
    /// Number that comes next, after the steps.
    next: u64,
    steps: Vec<Step>,
}

/// What is on its way to the disk.
#[derive(Default)]
struct Way {
    open: AtomicU64,
    failed: AtomicBool,
    news: Notify,
}

impl Way {
    fn done(self: &Arc<Way>) -> Done {
        self.open.fetch_add(1, Ordering::AcqRel);
        let way = Arc::clone(self);
        Box::new(move |result| {
            if result.is_err() {
                way.failed.store(true, Ordering::Release);
            }
            way.open.fetch_sub(1, Ordering::AcqRel);
            way.news.notify_one();
        })
    }

    /// A hand-over that did not happen calls nobody.
    fn undone(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes `batch`; success means that everything in it is durable.
pub(super) async fn take(
    ledger: &Ledger,
    runs: &mut Runs,
    batch: &Batch<'_>,
    deadline: Instant,
    taken: &mut Taken,
) -> Result<(), TakeError> {
    let plans = plan(ledger, runs, batch, taken)?;
    let way = Arc::new(Way::default());
    let mut wanted = Vec::with_capacity(plans.len());
    for plan in plans {
        let Some(run) = batch.streams.get(plan.run) else { continue };
        wanted.push((run.agent, run.stream, plan.next.saturating_sub(1)));
        let source = match runs.live.get(&run.stream) {
            Some(source) => source.clone(),
            // Nothing new of it: what ended without a life here needs none now.
            None if plan.steps.iter().all(|step| matches!(step, Step::End)) => continue,
            None if runs.live.len() >= RUNS_MAX => {
                return Err(TakeError::Again(Refusal::Busy("too many runs of one edge are live")));
            }
            None => {
                let identity = run.agent.to_owned();
                let spec = ForwardSpec { identity, stream: run.stream, origin: batch.origin.to_owned() };
                let source = register(ledger, spec).await?;
                runs.live.insert(run.stream, source.clone());
                source
            }
        };
        for step in plan.steps {
            carry(&source, step, &way, deadline, taken, runs).await?;
        }
    }
    durable(ledger, &wanted, &way, deadline).await
}

/// The marks of the batch's runs, as bytes.
pub(super) fn marks(ledger: &Ledger, batch: &Batch<'_>) -> Result<Vec<u8>, String> {
    let mark = |run: &countersign_wire::edge::Stream<'_>| {
        let mark = ledger.forward_mark(run.agent, &run.stream);
        mark.map(|mark| (run.stream, mark)).map_err(|error| format!("run of agent {}: {error}", run.agent))
    };
    let marks = batch.streams.iter().map(mark).collect::<Result<Vec<_>, String>>()?;
    let marks = Marks { origin: ledger.origin().to_owned(), size: ledger.size(), marks };
    marks.to_bytes().ok_or_else(|| "the answer would be too long".to_owned())
}

/// Registering waits for the disk, off the threads that serve.
async fn register(ledger: &Ledger, spec: ForwardSpec) -> Result<Source, TakeError> {
    let ledger = ledger.clone();
    let registered = tokio::task::spawn_blocking(move || ledger.forwarded(spec)).await;
    registered.map_err(|_| TakeError::Again(Refusal::Stopped))?.map_err(|error| match error {
        LedgerError::Limit { .. } => TakeError::Again(Refusal::Busy("too many runs are live")),
        LedgerError::Invalid(why) => TakeError::Record(why),
        _ => TakeError::Again(Refusal::Stopped),
    })
}

/// Compares the batch with what is here, submitted or durable.
fn plan(ledger: &Ledger, runs: &Runs, batch: &Batch<'_>, taken: &mut Taken) -> Result<Vec<Plan>, TakeError> {
    let mut plans = Vec::with_capacity(batch.streams.len());
    for (run, stream) in batch.streams.iter().enumerate() {
        let next = match runs.live.get(&stream.stream) {
            Some(source) => source.next_seq(),
            None => {
                let mark = ledger.forward_mark(stream.agent, &stream.stream);
                let wrong = |error| TakeError::Record(format!("run of agent {}: {error}", stream.agent));
                mark.map_err(wrong)?.saturating_add(1)
            }
        };
        plans.push(Plan { run, next, steps: Vec::new() });
    }
    for record in &batch.records {
        let (Some(plan), Some(run)) = (plans.get_mut(record.run), batch.streams.get(record.run)) else {
            continue;
        };
        match record.kind {
            Kind::Event if record.seq < plan.next => taken.repeated += 1,
            Kind::Event if record.seq > plan.next => return Err(TakeError::Behind),
            Kind::Event | Kind::Gap if matches!(plan.steps.last(), Some(Step::End)) => {
                return Err(TakeError::Record(format!("record {} follows the end of its run", record.seq)));
            }
            Kind::Event => {
                let event = event(record, run.agent, &run.stream)?;
                plan.next = plan.next.saturating_add(1);
                match plan.steps.last_mut() {
                    Some(Step::Events(events)) if events.len() < PART => events.push(event),
                    _ => plan.steps.push(Step::Events(vec![event])),
                }
            }
            Kind::Gap => gap(record, plan, runs.unknown.contains(&run.stream))?,
            Kind::End if matches!(plan.steps.last(), Some(Step::End)) => {}
            Kind::End => plan.steps.push(Step::End),
        }
    }
    Ok(plans)
}

/// The event of a record: canonical, and of the run and number that the batch says.
fn event(record: &Record<'_>, agent: &str, stream: &[u8; 16]) -> Result<(Event, Frame), TakeError> {
    let wrong = |why: String| TakeError::Record(format!("record {} of agent {agent}: {why}", record.seq));
    let frame = Frame::from_bytes(record.content).map_err(|error| wrong(error.to_string()))?;
    let event = Event::decode(&frame).map_err(|error| wrong(error.to_string()))?;
    let core = &event.core;
    if core.agent != agent || core.stream != *stream || core.seq != record.seq {
        return Err(wrong("it names another agent, run or number than the batch".to_owned()));
    }
    Ok((event, frame))
}

/// A loss that the edge's log has. One of a number that is here passes; one that ends the run ends it.
fn gap(record: &Record<'_>, plan: &mut Plan, unknown_told: bool) -> Result<(), TakeError> {
    let gap = Gap::parse(record.content)
        .ok_or_else(|| TakeError::Record(format!("gap at {}: its body is out of form", record.seq)))?;
    match (gap.first_seq, gap.last_seq) {
        (Some(first), _) if first > plan.next => return Err(TakeError::Behind),
        (Some(first), Some(last)) if first <= last && last >= plan.next => {
            if last == u64::MAX {
                return Err(TakeError::Record(format!("gap at {first}: it does not end")));
            }
            plan.steps.push(Step::Loss(Loss { first: plan.next, last: Some(last), reason: gap.reason }));
            plan.next = last + 1;
        }
        (Some(first), None) if first == plan.next && !unknown_told => {
            plan.steps.push(Step::Loss(Loss { first, last: None, reason: gap.reason }));
        }
        _ => {}
    }
    if gap.declared_by == 0 {
        plan.steps.push(Step::End);
    }
    Ok(())
}

/// Hands one step over, waiting while the ledger's queue is full.
async fn carry(
    source: &Source,
    step: Step,
    way: &Arc<Way>,
    deadline: Instant,
    taken: &mut Taken,
    runs: &mut Runs,
) -> Result<(), TakeError> {
    match step {
        Step::Events(mut events) => {
            let count = events.len() as u64;
            loop {
                match source.forward(events, way.done()) {
                    Ok(()) => break,
                    Err(ForwardError::Full(back)) if Instant::now() < deadline => events = back,
                    Err(error) => {
                        way.undone();
                        return Err(refused(error));
                    }
                }
                way.undone();
                tokio::time::sleep(ASK_AGAIN).await;
            }
            taken.recorded += count;
        }
        Step::Loss(loss) => {
            if let Err(error) = source.forward_loss(loss, way.done()) {
                way.undone();
                return Err(refused(error));
            }
            match loss.last {
                Some(last) => taken.lost += last.saturating_sub(loss.first).saturating_add(1),
                None => drop(runs.unknown.insert(source.stream())),
            }
        }
        Step::End => {
            if runs.live.remove(&source.stream()).is_some() {
                source.forward_end().map_err(|_| TakeError::Again(Refusal::Stopped))?;
            }
        }
    }
    Ok(())
}

fn refused(error: ForwardError) -> TakeError {
    match error {
        ForwardError::Full(_) => TakeError::Again(Refusal::Busy("the ledger's intake is full")),
        ForwardError::Expected(_) => TakeError::Behind,
        ForwardError::Foreign => TakeError::Record("a record is of another run".to_owned()),
        ForwardError::Ledger(_) => TakeError::Again(Refusal::Stopped),
    }
}

/// Waits until all of `wanted` (agent, run, number) is durable, whichever batch brought it.
async fn durable(
    ledger: &Ledger,
    wanted: &[(&str, [u8; 16], u64)],
    way: &Way,
    deadline: Instant,
) -> Result<(), TakeError> {
    loop {
        if way.failed.load(Ordering::Acquire) {
            return Err(TakeError::Again(Refusal::Stopped));
        }
        let here = |(agent, stream, seq): &(&str, [u8; 16], u64)| {
            ledger.forward_mark(agent, stream).is_ok_and(|mark| mark >= *seq)
        };
        if way.open.load(Ordering::Acquire) == 0 && wanted.iter().all(here) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(TakeError::Again(Refusal::Late));
        }
        // A batch before this one may have been given up while it was on its way: nobody tells of that one's end.
        let _ = tokio::time::timeout(ASK_AGAIN, way.news.notified()).await;
    }
}
