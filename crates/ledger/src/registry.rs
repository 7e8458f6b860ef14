//! What the ledger's own entries say: sources, losses, segments. Rebuilt from bodies at every start.
//!
//! Not durable itself: every fact here is a log entry.

use crate::bodies::{Gap, Manifest, SourceCkpt, SourceReg};
use crate::source::SourceState;
use crate::{GapInfo, RetiredInfo, SegmentInfo, SourceInfo};
use countersign_event::{Entry, EntryKind};
use countersign_proof::body::Retire;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Losses kept in memory; older ones are still in the log.
const GAPS_MAX: usize = 65_536;

/// A source of this or an earlier run.
pub(crate) struct SourceRecord {
    pub(crate) reg: SourceReg,
    pub(crate) info: SourceInfo,
    /// Leaf index after which its events have not been counted by a heartbeat.
    pub(crate) counted_to: u64,
    /// A last heartbeat or a crash GAP was logged.
    pub(crate) closed: bool,
}

#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) sources: BTreeMap<u32, SourceRecord>,
    pub(crate) live: BTreeMap<u32, Arc<SourceState>>,
    latest: HashMap<String, (u32, u64)>,
    /// Newest registration of each run.
    runs: HashMap<[u8; 16], u32>,
    gaps: VecDeque<GapInfo>,
    segments: BTreeMap<u64, (SegmentInfo, u64, [u8; 32])>,
    /// By first leaf; of a range that was retired twice the first entry counts.
    retired: BTreeMap<u64, RetiredInfo>,
    /// Next registration number to give out.
    pub(crate) next_ref: u32,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry { next_ref: 1, ..Registry::default() }
    }

    /// Takes in one durable event entry.
    pub(crate) fn event(&mut self, entry: &Entry) {
        if let Some(source) = self.sources.get_mut(&entry.source_ref) {
            source.info.last_seq = source.info.last_seq.max(entry.source_seq);
            source.info.last_time_ns = entry.time_ns;
        }
    }

    /// Takes in one durable entry with a body; a body of an unknown kind or shape says nothing here.
    pub(crate) fn body(&mut self, index: u64, entry: &Entry, body: &[u8]) {
        match EntryKind::from_byte(entry.kind) {
            Some(EntryKind::SourceReg) => {
                if let Some(reg) = SourceReg::parse(body) {
                    self.add_source(index, entry, reg);
                }
            }
            Some(EntryKind::SourceCkpt) => {
                if let Some(ckpt) = SourceCkpt::parse(body) {
                    self.heartbeat(index, entry, &ckpt);
                }
            }
            Some(EntryKind::Gap) => {
                if let Some(gap) = Gap::parse(body) {
                    self.add_gap(index, entry, &gap);
                }
            }
            Some(EntryKind::SegmentManifest) => {
                if let Some(manifest) = Manifest::parse(body) {
                    self.add_segment(index, manifest);
                }
            }
            Some(EntryKind::Retire) => {
                if let Ok(retire) = Retire::decode(body) {
                    self.add_retired(index, retire);
                }
            }
            _ => {}
        }
    }

    fn add_retired(&mut self, index: u64, retire: Retire) {
        let Retire { policy, first, end, root, .. } = retire;
        let info = RetiredInfo { first, end, entry: index, policy, root };
        self.retired.entry(first).or_insert(info);
    }

    fn add_source(&mut self, index: u64, entry: &Entry, reg: SourceReg) {
        self.next_ref = self.next_ref.max(reg.source_ref.saturating_add(1));
        self.latest.insert(reg.identity.clone(), (reg.source_ref, reg.boot_epoch));
        self.runs.insert(reg.stream, reg.source_ref);
        let info = SourceInfo {
            source_ref: reg.source_ref,
            agent: reg.identity.clone(),
            stream: reg.stream,
            boot_epoch: reg.boot_epoch,
            seen: 0,
            sent: 0,
            rejected: 0,
            dropped: 0,
            last_seq: reg.after,
            last_time_ns: entry.time_ns,
            last_heartbeat_ns: 0,
            live: false,
            via: reg.via.clone().unwrap_or_default(),
        };
        self.sources.insert(reg.source_ref, SourceRecord { reg, info, counted_to: index, closed: false });
    }

    fn heartbeat(&mut self, index: u64, entry: &Entry, ckpt: &SourceCkpt) {
        let Some(source) = self.sources.get_mut(&ckpt.source_ref) else { return };
        source.info.seen += ckpt.seen;
        source.info.sent += ckpt.sent;
        source.info.rejected += ckpt.rejected.values().sum::<u64>();
        source.info.dropped += ckpt.dropped.values().sum::<u64>();
        source.info.last_seq = source.info.last_seq.max(ckpt.last_seq);
        (source.info.last_time_ns, source.info.last_heartbeat_ns) = (entry.time_ns, entry.time_ns);
        source.counted_to = index;
        source.closed |= ckpt.last;
    }

    fn add_gap(&mut self, index: u64, entry: &Entry, gap: &Gap) {
        let source = self.sources.get_mut(&gap.source_ref);
        let (agent, stream) =
            source.as_ref().map_or((String::new(), [0; 16]), |s| (s.info.agent.clone(), s.info.stream));
        if let Some(source) = source {
            source.info.last_seq = source.info.last_seq.max(gap.last_seq.unwrap_or(0));
            source.info.last_time_ns = entry.time_ns;
            // A crash is declared by the ledger, after the run has ended.
            if gap.declared_by == 0 {
                source.closed = true;
                source.info.dropped += gap.count;
                source.info.seen += gap.count;
            }
        }
        if gap.count == 0 {
            return;
        }
        if self.gaps.len() == GAPS_MAX {
            self.gaps.pop_front();
        }
        self.gaps.push_back(GapInfo {
            index,
            time_ns: entry.time_ns,
            source_ref: gap.source_ref,
            agent,
            stream,
            first_seq: gap.first_seq,
            last_seq: gap.last_seq,
            reason: gap.reason,
            count: gap.count,
            exact: gap.exact,
        });
    }

    fn add_segment(&mut self, index: u64, manifest: Manifest) {
        let s = manifest.segment;
        let info = SegmentInfo {
            segment: s.first,
            first: s.first,
            end: s.end,
            version: s.version,
            file_digest: s.file_digest,
            file_len: s.file_len,
            min_time: s.min_time,
            max_time: s.max_time,
            roots: s.roots,
        };
        let older = self.segments.get(&info.first).is_some_and(|(known, ..)| known.version > info.version);
        if !older {
            self.segments.insert(info.first, (info, index, manifest.key_check));
        }
    }

    /// Number and epoch of the newest run of an identity.
    pub(crate) fn latest(&self, identity: &str) -> Option<(u32, u64)> {
        self.latest.get(identity).copied()
    }

    /// The newest registration of a run.
    pub(crate) fn run(&self, stream: &[u8; 16]) -> Option<&SourceRecord> {
        self.sources.get(self.runs.get(stream)?)
    }

    pub(crate) fn gaps(&self) -> Vec<GapInfo> {
        self.gaps.iter().cloned().collect()
    }

    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.segments.values().map(|(info, ..)| info.clone()).collect()
    }

    pub(crate) fn retired(&self) -> Vec<RetiredInfo> {
        self.retired.values().cloned().collect()
    }

    /// The newest entry after which contents of the part at `first` need not be in the write-ahead log: its manifest, or
    /// that it was retired.
    pub(crate) fn let_go(&self, first: u64) -> Option<u64> {
        let sealed = self.segments.get(&first).map(|(_, manifest, _)| *manifest);
        sealed.or_else(|| self.retired.get(&first).map(|retired| retired.entry))
    }

    /// Segment that begins at `first`, the leaf index of its manifest, and its key check.
    pub(crate) fn segment(&self, first: u64) -> Option<&(SegmentInfo, u64, [u8; 32])> {
        self.segments.get(&first)
    }

    /// Live counters for live sources, else what the log says.
    pub(crate) fn sources(&self) -> Vec<SourceInfo> {
        let merge = |record: &SourceRecord| match self.live.get(&record.info.source_ref) {
            Some(state) => state.info(&record.info),
            None => record.info.clone(),
        };
        self.sources.values().map(merge).collect()
    }
}
