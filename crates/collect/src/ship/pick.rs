//! Which records of the log the core lacks, and which numbers nobody has.
//!
//! Keeps for each run the last number that the core has or is being sent. No I/O.

use countersign_event::EntryKind;
use countersign_ledger::bodies::{Gap, SourceCkpt, SourceReg};
use countersign_ledger::{Committed, GapReason, Ledger, Payload};
use countersign_wire::edge::{Builder, Kind, Marks};
use std::collections::HashMap;

/// What became of a record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// It is in the batch, or nothing that the core lacks.
    Passed,
    /// It does not fit any more.
    Full,
    /// Numbers before it are neither at the core nor were they read since the start of the log.
    Hole,
}

/// A run: agent and stream.
type Run = (String, [u8; 16]);

/// See the module.
pub(super) struct Picker {
    /// Runs by the log's own reference.
    runs: HashMap<u32, Run>,
    /// Last number of each run that the core has or is being sent.
    tails: HashMap<[u8; 16], u64>,
    /// What the core must have when the batch that is being made is answered.
    wanted: HashMap<[u8; 16], u64>,
    /// Everything that the log holds was read: a hole is one that nobody can fill.
    from_start: bool,
}

impl Picker {
    pub(super) fn new(ledger: &Ledger, from_start: bool) -> Picker {
        let runs = ledger.sources().into_iter().map(|s| (s.source_ref, (s.agent, s.stream))).collect();
        Picker { runs, tails: HashMap::new(), wanted: HashMap::new(), from_start }
    }

    /// Another connection: what the core has is asked anew.
    pub(super) fn forget(&mut self) {
        self.tails.clear();
        self.wanted.clear();
    }

    /// Reading begins again.
    pub(super) fn again(&mut self, from_start: bool) {
        self.forget();
        self.from_start = from_start;
    }

    /// Whether everything that the log holds was read.
    pub(super) fn is_from_start(&self) -> bool {
        self.from_start
    }

    /// What the core has of the runs that it was asked about.
    pub(super) fn learn(&mut self, marks: &Marks) {
        self.tails.extend(marks.marks.iter().copied());
    }

    pub(super) fn knows(&self, stream: &[u8; 16]) -> bool {
        self.tails.contains_key(stream)
    }

    /// The core has answered: everything that it was sent must be there.
    pub(super) fn answered(&mut self, marks: &Marks) -> Result<(), String> {
        let has: HashMap<[u8; 16], u64> = marks.marks.iter().copied().collect();
        let lacks = self.wanted.drain().any(|(stream, seq)| has.get(&stream).is_none_or(|has| *has < seq));
        match lacks {
            true => Err("the core says that it has less than it was sent".to_owned()),
            false => Ok(()),
        }
    }

    /// Runs of `records` that the core was not asked about, at most `most`; what registers one is read on the way.
    pub(super) fn unknown(&mut self, records: &[Committed], most: usize) -> Vec<Run> {
        let mut found: Vec<Run> = Vec::new();
        for record in records {
            if let (Payload::Body(body), Some(EntryKind::SourceReg)) =
                (&record.payload, EntryKind::from_byte(record.entry.kind))
                && let Some(reg) = SourceReg::parse(body)
            {
                self.runs.insert(reg.source_ref, (reg.identity, reg.stream));
            }
            let Some(source_ref) = concerns(record) else { continue };
            let Some(run) = self.runs.get(&source_ref) else { continue };
            if !self.tails.contains_key(&run.1) && !found.iter().any(|known| known.1 == run.1) {
                found.push(run.clone());
                if found.len() == most {
                    break;
                }
            }
        }
        found
    }

    /// Puts `record` into the batch where the core lacks it.
    pub(super) fn pick(&mut self, record: &Committed, builder: &mut Builder) -> Pick {
        let Some((agent, stream)) = concerns(record).and_then(|of| self.runs.get(&of)).cloned() else {
            return Pick::Passed;
        };
        let tail = self.tails.get(&stream).copied().unwrap_or(0);
        let (kind, first, last, content) = match &record.payload {
            Payload::Event { frame, .. } => {
                let seq = record.entry.source_seq;
                if seq <= tail {
                    return Pick::Passed;
                }
                (Kind::Event, seq, seq, frame.to_bytes())
            }
            Payload::Body(body) if record.entry.kind == EntryKind::Gap as u8 => {
                let Some(gap) = Gap::parse(body) else { return Pick::Passed };
                match (gap.first_seq, gap.last_seq) {
                    (Some(first), Some(last)) if last > tail => (Kind::Gap, first, last, body.to_vec()),
                    (Some(first), None) if first > tail => (Kind::Gap, first, tail, body.to_vec()),
                    // The end of a run, or what the core knows.
                    _ if gap.declared_by == 0 => (Kind::End, tail, tail, body.to_vec()),
                    _ => return Pick::Passed,
                }
            }
            Payload::Body(body) => (Kind::End, tail, tail, body.to_vec()),
        };
        if !builder.stream(&agent, stream) {
            return Pick::Full;
        }
        if first > tail.saturating_add(1) {
            if !self.from_start {
                return Pick::Hole;
            }
            let body = missing(tail + 1, first - 1);
            if !builder.push(Kind::Gap, &stream, tail + 1, &body) {
                return Pick::Full;
            }
            self.sent(stream, first - 1);
        }
        if !builder.push(kind, &stream, first, &content) {
            return Pick::Full;
        }
        self.sent(stream, last);
        Pick::Passed
    }

    fn sent(&mut self, stream: [u8; 16], last: u64) {
        let tail = self.tails.entry(stream).or_default();
        *tail = last.max(*tail);
        self.wanted.insert(stream, *tail);
    }
}

/// Of which source a record says something that is shipped; `None` = it is the log's own business.
fn concerns(record: &Committed) -> Option<u32> {
    match &record.payload {
        Payload::Event { .. } => Some(record.entry.source_ref),
        Payload::Body(body) => match EntryKind::from_byte(record.entry.kind)? {
            EntryKind::Gap => Gap::parse(body).map(|gap| gap.source_ref),
            EntryKind::SourceCkpt => {
                SourceCkpt::parse(body).filter(|ckpt| ckpt.last).map(|ckpt| ckpt.source_ref)
            }
            _ => None,
        },
    }
}

/// The body of a loss that this log cannot fill.
pub(super) fn missing(first: u64, last: u64) -> Vec<u8> {
    let count = last.saturating_sub(first).saturating_add(1);
    let (first_seq, last_seq) = (Some(first), Some(last));
    // By whom: not by the log, which would end the run.
    let gap = Gap {
        source_ref: 0,
        first_seq,
        last_seq,
        reason: GapReason::Unexplained,
        count,
        exact: true,
        declared_by: 1,
    };
    gap.to_bytes()
}
