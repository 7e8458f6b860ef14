//! One event's way to durability: [`sequence`] gives each an index, a time and its commitments; [`commit`]
//! writes, syncs and acknowledges; [`publish`] signs the new tree and recycles the log.
//!
//! Three threads, so that the next batch fills while the last one syncs and no signature delays an
//! acknowledgement. The order of steps is `ledger.md` section 4.

pub(crate) mod commit;
pub(crate) mod publish;
pub(crate) mod sequence;

use crate::Committed;
use crate::core::Core;
use crate::intake::Submission;
use crate::source::SourceState;
use crate::{Ack, Done, LedgerError};
use countersign_proof::Hash;
use std::sync::{Arc, mpsc};
use std::thread;

/// Batches between sequencing and syncing: one waits while one syncs.
const BATCHES_IN_FLIGHT: usize = 1;

/// A batch that is numbered and hashed, and not yet durable.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) first: u64,
    pub(crate) records: Vec<Committed>,
    pub(crate) leaves: Vec<Hash>,
    /// What the frame will seal.
    pub(crate) payload: Vec<u8>,
    pub(crate) acks: Vec<(Done, Ack)>,
    /// Per source: events in this batch, last number.
    pub(crate) sent: Vec<(Arc<SourceState>, u64, u64)>,
    /// A signed note that joins this group commit.
    pub(crate) note: Option<String>,
    /// The clean end.
    pub(crate) close: bool,
}

impl Prepared {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.note.is_none() && !self.close && self.acks.is_empty()
    }

    /// Tells everybody who waits that this did not happen.
    pub(crate) fn fail(self, error: &LedgerError) {
        for (done, _) in self.acks {
            done(Err(error.clone()));
        }
    }
}

impl Submission {
    pub(crate) fn fail(self, error: &LedgerError) {
        (self.done)(Err(error.clone()));
    }
}

/// Starts the three threads.
pub(crate) fn start(
    core: &Arc<Core>,
    sequencer: sequence::Sequencer,
    committer: commit::Committer,
) -> Result<(), LedgerError> {
    let (send, receive) = mpsc::sync_channel(BATCHES_IN_FLIGHT);
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| LedgerError::io("start thread for", &core.dir, error))
    };
    let publisher = publish::Publisher::new(core.clone());
    let handles = vec![
        spawn("ledger-sequence", Box::new(move || sequencer.run(&send)))?,
        spawn("ledger-commit", Box::new(move || committer.run(&receive)))?,
        spawn("ledger-publish", Box::new(move || publisher.run()))?,
    ];
    crate::core::lock(&core.threads).extend(handles);
    Ok(())
}
