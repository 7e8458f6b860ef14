//! What the ledger hands out: batches, checkpoints, counters, segments. Plain data, no behaviour.

use countersign_event::{Entry, Event, Frame};
use countersign_proof::Hash;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A signed tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
    /// The signed note, verbatim.
    pub note: String,
}

/// What a reader gets next.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Durable entries, in index order, no index left out.
    Batch(Arc<Batch>),
    /// A part is complete and may be sealed. Comes after its last batch.
    PartClosed {
        /// First leaf index of the part; also its segment number.
        first: u64,
        /// One past its last leaf index.
        end: u64,
    },
    /// These entries left the write-ahead log because their parts are sealed (read them from the store), or retired
    /// ([`crate::Ledger::retired`]).
    Missed {
        /// First missed leaf index.
        from: u64,
        /// One past the last.
        to: u64,
    },
}

/// Entries that became durable together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Leaf index of the first record.
    pub first: u64,
    /// The records, index ascending by one.
    pub records: Vec<Committed>,
}

/// One durable entry and its content.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Leaf index.
    pub index: u64,
    /// The logged entry.
    pub entry: Entry,
    /// What it commits to.
    pub payload: Payload,
}

/// The content of an entry.
#[derive(Clone, Debug)]
pub enum Payload {
    /// An event and its exact bytes.
    Event {
        /// Decoded.
        event: Arc<Event>,
        /// As committed.
        frame: Arc<Frame>,
    },
    /// The body of a non-event entry.
    Body(Arc<[u8]>),
}

/// Where a submission ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Leaf index of the first recorded event (the next index if none was).
    pub first: u64,
    /// Events recorded. They are contiguous unless the submission was larger than one batch.
    pub count: u64,
    /// Events that could not be encoded: position in the submission, and why.
    pub rejected: Vec<(usize, String)>,
}

/// Called once, from the committer thread, after the events are durable. Must be quick and must not block.
pub type Done = Box<dyn FnOnce(Result<Ack, crate::LedgerError>) + Send>;

/// Why events are missing. Numbers are the format of GAP bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GapReason {
    /// More came than could be taken.
    Overload = 1,
    /// The disk was full.
    DiskFull = 2,
    /// The process died.
    Crash = 3,
    /// Acknowledged and lost: the gravest.
    LostAfterAck = 4,
    /// Nobody knows.
    Unexplained = 5,
    /// The source said so itself.
    SourceDeclared = 6,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [GapReason; 6] = [
        GapReason::Overload,
        GapReason::DiskFull,
        GapReason::Crash,
        GapReason::LostAfterAck,
        GapReason::Unexplained,
        GapReason::SourceDeclared,
    ];
    /// From its number.
    pub fn from_number(number: u64) -> Option<GapReason> {
        GapReason::ALL.into_iter().find(|reason| *reason as u64 == number)
    }
    /// Name in tables and commands.
    pub fn name(self) -> &'static str {
        match self {
            GapReason::Overload => "overload",
            GapReason::DiskFull => "disk_full",
            GapReason::Crash => "crash",
            GapReason::LostAfterAck => "lost_after_ack",
            GapReason::Unexplained => "unexplained",
            GapReason::SourceDeclared => "source_declared",
        }
    }
}

/// A declared loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapInfo {
    /// Leaf index of the GAP entry.
    pub index: u64,
    /// Ledger time of the entry, UTC ns.
    pub time_ns: u64,
    /// Source that lost events.
    pub source_ref: u32,
    /// Identity of that source.
    pub agent: String,
    /// Run of that source.
    pub stream: [u8; 16],
    /// First missing sequence number; `None` = unknown.
    pub first_seq: Option<u64>,
    /// Last missing sequence number; `None` = unknown.
    pub last_seq: Option<u64>,
    /// Why.
    pub reason: GapReason,
    /// How many events are missing.
    pub count: u64,
    /// Whether `count` is known rather than estimated.
    pub exact: bool,
}

/// What to register: one capture point in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Agent of its events: SPIFFE id or configured name, 1 to 256 bytes. No personal data.
    pub identity: String,
    /// One run (boot epoch); must be fresh, 16 random bytes.
    pub stream: [u8; 16],
}

/// A source and its counters. `seen = sent + rejected + dropped` whenever nothing is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Registration number.
    pub source_ref: u32,
    /// Agent of its events.
    pub agent: String,
    /// Its run.
    pub stream: [u8; 16],
    /// How many times this agent was registered before, plus one.
    pub boot_epoch: u64,
    /// Events presented.
    pub seen: u64,
    /// Events that are durable.
    pub sent: u64,
    /// Events refused as malformed.
    pub rejected: u64,
    /// Events declared lost.
    pub dropped: u64,
    /// Last durable sequence number.
    pub last_seq: u64,
    /// Ledger time of its newest entry, UTC ns.
    pub last_time_ns: u64,
    /// Ledger time of its newest heartbeat, UTC ns; 0 = none yet.
    pub last_heartbeat_ns: u64,
    /// Whether it is registered in this process now.
    pub live: bool,
    /// Origin of the log that numbers it, for a run of an edge; empty = this one.
    pub via: String,
}

/// A sealed segment, from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Segment number = its first leaf index.
    pub segment: u64,
    /// First leaf index.
    pub first: u64,
    /// One past the last leaf index.
    pub end: u64,
    /// Version: 1 when first sealed.
    pub version: u32,
    /// SHA-256 of the sealed file.
    pub file_digest: [u8; 32],
    /// Length of the sealed file in bytes.
    pub file_len: u64,
    /// Smallest event time inside, UTC ns.
    pub min_time: i64,
    /// Largest event time inside, UTC ns.
    pub max_time: i64,
    /// Roots of the complete subtrees that tile its leaf range, left to right.
    pub roots: Vec<Hash>,
}

/// Leaves whose contents were retired, from their RETIRE entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredInfo {
    /// First leaf index.
    pub first: u64,
    /// One past the last leaf index.
    pub end: u64,
    /// Leaf index of the entry.
    pub entry: u64,
    /// Name of the policy.
    pub policy: String,
    /// RFC 6962 hash of the range.
    pub root: Hash,
}

/// What the store reports after it wrote and re-read a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// First leaf index.
    pub first: u64,
    /// One past the last leaf index.
    pub end: u64,
    /// Version: 1 when first sealed.
    pub version: u32,
    /// SHA-256 of the sealed file.
    pub file_digest: [u8; 32],
    /// Length of the sealed file in bytes.
    pub file_len: u64,
    /// Smallest event time inside, UTC ns.
    pub min_time: i64,
    /// Largest event time inside, UTC ns.
    pub max_time: i64,
    /// What [`crate::Ledger::check_range`] returned for it.
    pub roots: Vec<Hash>,
}

/// The key that seals one segment version. Wiped when dropped.
#[derive(Clone)]
pub struct SegmentKey {
    /// AES-256 key of the file.
    pub data_key: Zeroizing<[u8; 32]>,
    /// Segment number = first leaf index.
    pub segment: u64,
    /// Segment version.
    pub version: u32,
    /// Binds ciphertext to its ledger, segment and version.
    pub aad_prefix: Vec<u8>,
}

impl std::fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentKey").field("segment", &self.segment).finish_non_exhaustive()
    }
}

/// What start-up found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartReport {
    /// `true` when the ledger was created by this start.
    pub created: bool,
    /// Leaves found.
    pub size: u64,
    /// Size that had been signed before.
    pub signed: u64,
    /// Entries replayed from the write-ahead log.
    pub replayed: u64,
    /// Torn bytes cut from the end of the write-ahead log; nothing in them was acknowledged.
    pub cut_bytes: u64,
    /// File, and offset in it, where the cut was made.
    pub cut_at: Option<(String, u64)>,
    /// Left-over temporary files removed.
    pub temp_files: u64,
    /// Entry bundles, tiles or bodies rebuilt from the write-ahead log.
    pub rebuilt: u64,
    /// Losses declared for sources that died: (source_ref, first seq, last seq).
    pub gaps: Vec<(u32, u64, u64)>,
    /// Segments whose key record is missing: contents unreadable, proofs unaffected.
    pub lost_segments: Vec<u64>,
    /// Whether the last run ended by [`crate::Ledger::shutdown`].
    pub clean: bool,
}

/// Counters of a running ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Durable leaves.
    pub size: u64,
    /// Leaves under the latest signature.
    pub signed_size: u64,
    /// Age of the latest checkpoint.
    pub checkpoint_age: Duration,
    /// Bytes waiting for sequencing.
    pub queue_bytes: u64,
    /// Batches made durable.
    pub batches: u64,
    /// Entries made durable in this process.
    pub entries: u64,
    /// Calls of fdatasync on the write-ahead log.
    pub fsyncs: u64,
    /// Median time of fdatasync, by power-of-two buckets of microseconds.
    pub fsync_p50: Duration,
    /// 99th percentile of the same.
    pub fsync_p99: Duration,
    /// fdatasync counts by bucket: `[i]` = calls that took less than `2^i` µs.
    pub fsync_histogram: Vec<u64>,
    /// Bytes of write-ahead log files not yet recycled.
    pub wal_bytes: u64,
    /// Write-ahead log files not yet recycled.
    pub wal_files: u64,
    /// Times the writer was poisoned by a failed write or sync and recovered.
    pub poisoned: u64,
    /// Intake is blocked because the disk is nearly full.
    pub disk_full: bool,
    /// Intake is blocked because unsealed write-ahead log has reached its bound.
    pub wal_full: bool,
    /// Wall-clock steps of more than a second.
    pub clock_steps: u64,
    /// Heartbeats refused because their counts did not add up; must stay 0.
    pub heartbeats_refused: u64,
    /// Why the ledger stopped, if it did.
    pub stopped: Option<String>,
}
