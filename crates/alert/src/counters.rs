//! The sums that show that nothing was lost.

/// Messages of one receiver, or of all. One finding that fires is one message for each receiver.
///
/// Always: `fired = delivered + merged + dead + pending + summarised`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came up, those found waiting or dead at the start included.
    pub fired: u64,
    /// Repeats that only raised a count.
    pub merged: u64,
    /// Accepted by the receiver.
    pub delivered: u64,
    /// Given up, in the dead-letter list.
    pub dead: u64,
    /// Waiting or under way.
    pub pending: u64,
    /// Came when the queue was full: only in the sum that follows.
    pub summarised: u64,
}

impl Counters {
    /// Whether the sum holds.
    pub fn conserved(&self) -> bool {
        self.fired == self.delivered + self.merged + self.dead + self.pending + self.summarised
    }
}

impl std::ops::Add for Counters {
    type Output = Counters;
    fn add(self, other: Counters) -> Counters {
        Counters {
            fired: self.fired + other.fired,
            merged: self.merged + other.merged,
            delivered: self.delivered + other.delivered,
            dead: self.dead + other.dead,
            pending: self.pending + other.pending,
            summarised: self.summarised + other.summarised,
        }
    }
}

/// How one receiver is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// Its name; `log` is the log.
    pub name: String,
    /// Its sums.
    pub counters: Counters,
    /// It answered 410: nothing is sent until the next start.
    pub disabled: bool,
    /// Why the last attempt failed; empty after a success.
    pub last_error: String,
}
