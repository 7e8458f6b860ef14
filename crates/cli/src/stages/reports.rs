//! What detectors know, asked for from other threads: coverage, service levels, counters.
//!
//! Only the thread of detection touches a detector. Who asks leaves a wish and waits; the thread answers all wishes between
//! two pieces of the ledger.

use countersign_detect::Detector;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(10);

/// A window to the detectors. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Wishes so far.
    wished: AtomicU64,
    /// The last wish that was answered, and the answers by name.
    answered: Mutex<(u64, BTreeMap<&'static str, Value>)>,
    news: Condvar,
}

impl Reports {
    /// Answers, if anybody asked. For the thread of detection.
    pub(super) fn serve(&self, detectors: &[Box<dyn Detector>]) {
        let wished = self.0.wished.load(Ordering::Acquire);
        let mut answered = self.0.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.0 == wished {
            return;
        }
        *answered = (wished, detectors.iter().flat_map(|detector| detector.reports()).collect());
        self.0.news.notify_all();
    }

    /// What is known now under `name`; `None` = there is no such report, or detection does not answer.
    pub(crate) fn ask(&self, name: &str) -> Option<Value> {
        let wish = self.0.wished.fetch_add(1, Ordering::AcqRel) + 1;
        let answered = self.0.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let (answered, _) = self
            .0
            .news
            .wait_timeout_while(answered, WAIT, |answered| answered.0 < wish)
            .unwrap_or_else(PoisonError::into_inner);
        answered.1.get(name).filter(|_| answered.0 >= wish).cloned()
    }
}
