//! Every bound of the ledger, in one place. Tests and the demo use smaller ones; nothing else does.

use std::time::Duration;

/// Leaves of a complete height-16 subtree: no part crosses a multiple of it (format, fixed).
pub const SUBTREE: u64 = 65_536;
/// Most entries in one WAL frame (format, fixed).
pub const FRAME_ENTRIES_MAX: usize = 16_384;
/// Most bytes of sealed payload in one WAL frame (format, fixed).
pub const FRAME_PAYLOAD_MAX: usize = (8 << 20) + 16;
/// Largest body of a non-event entry in bytes (format, fixed).
pub const BODY_MAX: usize = 64 << 10;
/// Most live sources.
pub const SOURCES_MAX: usize = 65_536;
/// Longest identity of a source in bytes.
pub const IDENTITY_MAX: usize = 256;
/// Named reasons of rejection kept apart for one source; more are counted under the last one.
pub const REASONS_MAX: usize = 32;

/// Bounds of a running ledger. [`Default`] is what `ledger.md` section 4 names.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A batch closes at this age, at the latest: one that somebody waits for closes as soon as no other is being
    /// written ([`crate::Source::record_urgent`]).
    pub batch_age: Duration,
    /// A batch closes at this many bytes of payload; at most 4 MiB.
    pub batch_bytes: usize,
    /// A batch closes at this many entries; at most 16,384.
    pub batch_entries: usize,
    /// Bytes that wait for sequencing; a full queue blocks the source.
    pub intake_bytes: usize,
    /// Bytes that wait for sequencing of those sources that go ahead of others; a full queue blocks them.
    pub ahead_bytes: usize,
    /// Bytes of recent batches kept in memory for live readers.
    pub feed_bytes: usize,
    /// Length of a WAL file in bytes.
    pub wal_file_bytes: u64,
    /// Unrecycled WAL in bytes; intake blocks above it.
    pub wal_bytes: u64,
    /// A part closes at this many leaves; at most 65,536.
    pub part_leaves: u64,
    /// A part with leaves closes at this age.
    pub part_age: Duration,
    /// Time between signatures while there is news.
    pub sign_every: Duration,
    /// Time between updates of the `checkpoint` file while there is news.
    pub publish_every: Duration,
    /// Time between heartbeats of a source with traffic.
    pub heartbeat_busy: Duration,
    /// Time between heartbeats of an idle source.
    pub heartbeat_idle: Duration,
    /// Size of the reserve file that is given up when the disk is full; 0 = none.
    pub reserve_bytes: u64,
    /// Intake blocks when this many thousandths of the disk are used; 1000 = never.
    pub disk_permille: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_age: Duration::from_millis(10),
            batch_bytes: 4 << 20,
            batch_entries: FRAME_ENTRIES_MAX,
            intake_bytes: 64 << 20,
            ahead_bytes: 8 << 20,
            feed_bytes: 128 << 20,
            wal_file_bytes: 64 << 20,
            wal_bytes: 4 << 30,
            part_leaves: SUBTREE,
            part_age: Duration::from_secs(3600),
            sign_every: Duration::from_millis(100),
            publish_every: Duration::from_secs(1),
            heartbeat_busy: Duration::from_secs(10),
            heartbeat_idle: Duration::from_secs(60),
            reserve_bytes: 256 << 20,
            disk_permille: 950,
        }
    }
}

impl Limits {
    /// Bounds for tests and demos: small files, small queues, no reserve.
    pub fn small() -> Limits {
        Limits {
            intake_bytes: 4 << 20,
            ahead_bytes: 1 << 20,
            feed_bytes: 4 << 20,
            wal_file_bytes: 1 << 20,
            reserve_bytes: 0,
            ..Limits::default()
        }
    }

    /// Brings every value inside what the formats allow.
    pub(crate) fn bounded(mut self) -> Limits {
        self.batch_bytes = self.batch_bytes.clamp(1, 4 << 20);
        self.batch_entries = self.batch_entries.clamp(1, FRAME_ENTRIES_MAX);
        self.part_leaves = self.part_leaves.clamp(1, SUBTREE);
        self.wal_file_bytes = self.wal_file_bytes.max(4096);
        self.disk_permille = self.disk_permille.clamp(1, 1000);
        self
    }
}
