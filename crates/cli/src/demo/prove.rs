//! The demo's proof: it looks the deletion up as anybody would, makes its evidence file, and verifies that
//! file with nothing but the log's key, pinned when the ledger was opened.

use super::print::{deed, short};
use crate::access::evidence;
use crate::config::units;
use crate::exit::CliError;
use countersign_event::Event;
use countersign_ledger::Ledger;
use countersign_proof::{Policy, Trust, VerifierKey, verify_evidence};
use countersign_store::{Cell, FindRequest, Store};
use std::thread;
use std::time::{Duration, Instant};

/// Longest search for an event that was just made.
const FIND_TIME: Duration = Duration::from_secs(20);
/// Pause between two looks.
const FIND_STEP: Duration = Duration::from_millis(50);
/// Longest wait for a checkpoint over it.
const CHECKPOINT_TIME: Duration = Duration::from_secs(5);

/// Makes proofs of what the store finds.
pub(super) struct Prover {
    ledger: Ledger,
    store: Store,
    policy: Policy,
    trust: Trust,
    runtime: tokio::runtime::Runtime,
}

impl Prover {
    /// Pins the key of the ledger.
    pub(super) fn new(ledger: Ledger, store: Store) -> Result<Prover, CliError> {
        let key = VerifierKey::parse(&ledger.log_vkey()).map_err(failed)?;
        let policy = Policy::parse(Policy::unwitnessed(&key).as_bytes()).map_err(failed)?;
        let trust = Trust::parse(Trust::ed25519_text().as_bytes()).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        Ok(Prover { ledger, store, policy, trust, runtime })
    }

    /// Finds the deletion of this trace and proves it: its index, and what happened in one line.
    pub(super) fn prove(&self, trace: &str) -> Result<(u64, String), CliError> {
        let index = self.find(trace)?;
        let stored = self.store.get(index).map_err(failed)?;
        let event = stored
            .and_then(|stored| stored.event)
            .ok_or_else(|| failed("the event is not there any more"))?;
        let file = evidence::build(&self.ledger, &self.store, index, CHECKPOINT_TIME)?;
        let report = verify_evidence(&file, &self.policy, &self.trust);
        if report.exit_code() != 0 || report.events != 1 {
            return Err(CliError::Integrity(format!(
                "the proof of event {index} failed:\n{}",
                report.to_text(false)
            )));
        }
        let (bytes, size) = (file.len(), report.size);
        let proof = format!("proof verified ({bytes} bytes of evidence and the pinned key, nothing else)");
        Ok((index, format!("event {index}: {} · ledger size {size} · {proof}", sentence(&event))))
    }

    /// The index of the deletion in this trace; it may not be in the ledger yet.
    fn find(&self, trace: &str) -> Result<u64, CliError> {
        let deadline = Instant::now() + FIND_TIME;
        let columns = Some(vec!["index".to_owned()]);
        let request =
            FindRequest { limit: 1, columns, ..FindRequest::new(format!("class:delete trace:{trace}")) };
        loop {
            let rows = self.runtime.block_on(self.store.find(request.clone())).map_err(failed)?;
            match rows.rows.first().and_then(|row| row.first()) {
                Some(Cell::UInt(index)) => return Ok(*index),
                Some(Cell::Int(index)) => return u64::try_from(*index).map_err(failed),
                _ if Instant::now() > deadline => {
                    return Err(failed("the deletion was not recorded within 20 s"));
                }
                _ => thread::sleep(FIND_STEP),
            }
        }
    }
}

/// Who did what, how it ended, how long it took, how well the caller is known.
fn sentence(event: &Event) -> String {
    let (who, verified) = match &event.who.who {
        Some(who) => (short(&who.id), format!("verified {} ({})", who.verified.code(), who.verified.word())),
        None => ("somebody".to_owned(), "not identified".to_owned()),
    };
    let status = event.core.status.as_ref().map_or(String::new(), |(_, code)| format!(" ({code})"));
    let outcome = event.core.outcome.map_or("outcome unknown", |outcome| outcome.word());
    format!(
        "{who} {} on {}: {outcome}{status}, {}, {verified}",
        deed(&event.core.op, &event.target.raw),
        event.target.svc,
        units::duration_rough(event.core.dur.unwrap_or(0))
    )
}

fn failed(why: impl std::fmt::Display) -> CliError {
    CliError::new("cannot prove an event of the demo", why, "run countersign doctor")
}
