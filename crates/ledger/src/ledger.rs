//! The handle (stub).
use crate::*;
use countersign_event::{Entry, Frame, GROUPS, Salt};
use countersign_proof::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How to open a ledger.
#[derive(Clone)]
pub struct Options {
    /// The log's identity, `<org domain>/<opaque ledger id>/<epoch>`. Must be that of an existing ledger.
    pub origin: String,
    /// Bounds.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Default bounds and the machine's clock.
    pub fn new(origin: impl Into<String>) -> Options {
        Options { origin: origin.into(), limits: Limits::default(), clock: Arc::new(SystemClock::default()) }
    }
}

/// An open ledger. A cheap handle: clones share one ledger.
#[derive(Clone)]
pub struct Ledger {
    origin: Arc<str>,
}

type Result<T> = std::result::Result<T, LedgerError>;

impl Ledger {
    /// Locks the data directory, recovers, and starts the writer's threads. Creates the ledger if there is none.
    pub fn open(_dir: &Path, _kek: Kek, _options: Options) -> Result<(Ledger, StartReport)> {
        Err(LedgerError::Closed)
    }
    /// Opens what is durable now, beside a live writer or without one. Takes no lock, writes nothing.
    pub fn open_read_only(_dir: &Path, _kek: Kek) -> Result<(Ledger, StartReport)> {
        Err(LedgerError::Closed)
    }
    /// The log's identity.
    pub fn origin(&self) -> &str {
        &self.origin
    }
    /// Whether this handle can only read.
    pub fn is_read_only(&self) -> bool {
        false
    }
    /// Durable leaves.
    pub fn size(&self) -> u64 {
        0
    }
    /// The latest signed tree head.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }
    /// The log's verifier key, for `trust.policy`.
    pub fn log_vkey(&self) -> String {
        String::new()
    }
    /// Registers a capture point and logs it; durable on return.
    pub fn register(&self, _spec: SourceSpec) -> Result<Source> {
        Err(LedgerError::Closed)
    }
    /// A cursor that starts at leaf `from`.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::stub(from)
    }
    /// One entry; `None` at or above [`Ledger::size`].
    pub fn entry(&self, _index: u64) -> Result<Option<Entry>> {
        Err(LedgerError::Closed)
    }
    /// Body of a non-event entry, checked against its commitment; `None` for an event or beyond the end.
    pub fn body(&self, _index: u64) -> Result<Option<Vec<u8>>> {
        Err(LedgerError::Closed)
    }
    /// Entries `from..to`, at most [`crate::limits::SUBTREE`] at once, cut at [`Ledger::size`].
    pub fn entries(&self, _from: u64, _to: u64) -> Result<Vec<Entry>> {
        Err(LedgerError::Closed)
    }
    /// Salts of an event's seven groups; `None` for a non-event entry or when the key was destroyed.
    pub fn salts(&self, _index: u64) -> Result<Option<[Salt; GROUPS]>> {
        Err(LedgerError::Closed)
    }
    /// Proof that leaf `index` is in the tree of `size` leaves.
    pub fn inclusion(&self, _index: u64, _size: u64) -> Result<Vec<Hash>> {
        Err(LedgerError::Closed)
    }
    /// Proof that the tree of `old` leaves is a prefix of that of `new`.
    pub fn consistency(&self, _old: u64, _new: u64) -> Result<Vec<Hash>> {
        Err(LedgerError::Closed)
    }
    /// Root of the first `size` leaves.
    pub fn root_at(&self, _size: u64) -> Result<Hash> {
        Err(LedgerError::Closed)
    }
    /// The bytes behind a C2SP tlog-tiles path: `checkpoint`, `tile/<L>/…`, `tile/entries/…`; `None` = 404.
    pub fn tile_path(&self, _path: &str) -> Result<Option<Vec<u8>>> {
        Err(LedgerError::Closed)
    }
    /// Waits for the first checkpoint that covers `size` leaves; `None` after `timeout`.
    pub fn wait_checkpoint(&self, _size: u64, _timeout: Duration) -> Option<Checkpoint> {
        None
    }
    /// The tenant's HMAC key for digests.
    pub fn digest_key(&self) -> DigestKey {
        DigestKey::stub()
    }
    /// Sealed segments by first leaf index, newest version each, from their manifests.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        Vec::new()
    }
    /// Parts not sealed yet: (first, end); the open one has no end.
    pub fn unsealed(&self) -> Vec<(u64, Option<u64>)> {
        Vec::new()
    }
    /// Key of the segment (or of the part being sealed) that begins at leaf `first`.
    pub fn segment_key(&self, _first: u64) -> Result<SegmentKey> {
        Err(LedgerError::Closed)
    }
    /// Recomputes commitments, leaves and subtree roots of the part at `first` from frames, salts and entries.
    /// `None` = the row of a non-event entry. The iterator must yield exactly the part's rows.
    pub fn check_range(
        &self,
        _first: u64,
        _rows: &mut dyn Iterator<Item = std::result::Result<Option<Frame>, String>>,
    ) -> Result<Vec<Hash>> {
        Err(LedgerError::Closed)
    }
    /// Logs the manifest of a sealed segment; durable on return, gives its leaf index. Once that is signed,
    /// the write-ahead log below the oldest unsealed part is recycled.
    pub fn sealed(&self, _segment: SealedSegment) -> Result<u64> {
        Err(LedgerError::Closed)
    }
    /// Closes the open part now; readers get [`Feed::PartClosed`]. Nothing happens if it is empty.
    pub fn close_part(&self) -> Result<()> {
        Err(LedgerError::Closed)
    }
    /// Logs that a configuration was applied: its digest and version.
    pub fn configured(&self, _digest: [u8; 32], _version: &str) -> Result<u64> {
        Err(LedgerError::Closed)
    }
    /// All declared losses.
    pub fn gaps(&self) -> Vec<GapInfo> {
        Vec::new()
    }
    /// All sources, by registration number.
    pub fn sources(&self) -> Vec<SourceInfo> {
        Vec::new()
    }
    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
    /// Final heartbeats, last checkpoint, CLOSE frame; later calls that write get [`LedgerError::Closed`].
    pub fn shutdown(&self) -> Result<()> {
        Err(LedgerError::Closed)
    }
}
