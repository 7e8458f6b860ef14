//! The sums that show that nothing was lost.

/// Findings at one receiver, or at all. One finding counts once for each receiver that a route gives it to.
///
/// Always: `fired = delivered + merged + inhibited + silenced + dead + pending + summarised`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Findings that came up, those found waiting or dead at the start included.
    pub fired: u64,
    /// Repeats that only raised a count.
    pub merged: u64,
    /// Consequences of something that is known already.
    pub inhibited: u64,
    /// Silenced by a person.
    pub silenced: u64,
    /// In messages that the receiver accepted.
    pub delivered: u64,
    /// In messages that were given up, in the dead-letter list.
    pub dead: u64,
    /// In messages that wait or are under way, or waiting for their group's next one.
    pub pending: u64,
    /// Came when the queue was full: only in the sum that follows.
    pub summarised: u64,
}

impl Counters {
    /// Whether the sum holds.
    pub fn conserved(&self) -> bool {
        let withheld = self.merged + self.inhibited + self.silenced;
        self.fired == self.delivered + withheld + self.dead + self.pending + self.summarised
    }
}

impl std::ops::Add for Counters {
    type Output = Counters;
    fn add(self, other: Counters) -> Counters {
        Counters {
            fired: self.fired + other.fired,
            merged: self.merged + other.merged,
            inhibited: self.inhibited + other.inhibited,
            silenced: self.silenced + other.silenced,
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
