//! How far a consumer is in its stream, and which messages left the stream before they were read.
//!
//! A stream numbers its messages without holes; a consumer numbers its deliveries without holes. So a message that is
//! first delivered with a number further on than the deliveries since account for, tells how many are gone. Pure: no
//! I/O, no clock. What cannot be known: what left the stream before the consumer was made, what was removed one by one
//! while this process did not run, and behind a filter how many of the messages that are gone it would have chosen.
//!
//! Invariant: a message is counted as gone once, and none that is durable or may still come is.

use super::api::{ConsumerState, Place, StreamState};
use std::collections::BTreeSet;

/// Most messages whose delivery is remembered as not durable; beyond it the oldest are not watched any more.
pub const UNSETTLED_MAX: usize = 100_000;

/// Messages that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// At least so many records; all of them, where `known`.
    pub records: u64,
    /// Whether the number is exact.
    pub known: bool,
    /// What happened, in words.
    pub why: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Position {
    filtered: bool,
    /// The newest message that was delivered first, and the newest delivery's number.
    last: Option<(u64, u64)>,
    /// Behind a filter: every message up to this one was delivered, or is none that the filter chooses.
    clear: u64,
    /// Messages that came and are not durable.
    unsettled: BTreeSet<u64>,
    /// What is gone up to here was told.
    told: u64,
}

fn exact(records: u64, why: String) -> Gone {
    Gone { records, known: true, why }
}

impl Position {
    /// A consumer was asked how far it is, before anything was delivered on this connection, and its stream before that.
    pub fn begin(&mut self, stream: StreamState, consumer: &ConsumerState, made: bool) -> Vec<Gone> {
        let mut gone = Vec::new();
        self.filtered = consumer.filtered;
        if made {
            // It begins with what there is: before that nothing was promised. One that was lost and made again begins
            // again too, and finds what was recorded.
            self.last = None;
        }
        match self.last {
            Some((seq, delivery)) if !self.filtered && consumer.delivered > seq => {
                let passed = consumer.delivered - seq;
                let elsewhere = consumer.deliveries.saturating_sub(delivery);
                gone.extend(unread(passed.saturating_sub(elsewhere), seq + 1, consumer.delivered));
            }
            _ => {}
        }
        self.last = Some((consumer.delivered, consumer.deliveries));
        if made {
            let before = stream.first.saturating_sub(1);
            self.last = Some((before.max(consumer.delivered), consumer.deliveries));
            self.clear = self.clear.max(before);
        }
        self.clear = self.clear.max(consumer.delivered);
        // Delivered before, by this process or another one, never acknowledged, and no longer there.
        let (from, to) = (consumer.floor + 1, consumer.delivered.min(stream.first.saturating_sub(1)));
        let own = self.unsettled.range(..stream.first).count() as u64;
        if !made && own == 0 && from <= to && consumer.unacknowledged > 0 && to > self.told {
            self.told = to;
            let most = (to - from + 1).min(consumer.unacknowledged);
            let why = format!(
                "up to {most} messages between {from} and {to} were delivered, not acknowledged, and have left the stream; \
                 those that had become durable before are not lost"
            );
            gone.push(Gone { records: 1, known: false, why });
        }
        gone.extend(self.look(stream, consumer));
        gone
    }

    /// A message came.
    pub fn came(&mut self, place: &Place) -> Option<Gone> {
        self.unsettled.insert(place.seq);
        while self.unsettled.len() > UNSETTLED_MAX {
            self.unsettled.pop_first();
        }
        let Some((seq, delivery)) = self.last else {
            self.last = Some((place.seq, place.delivery));
            return None;
        };
        let elsewhere = place.delivery.saturating_sub(delivery.saturating_add(1));
        if place.times > 1 || place.seq <= seq {
            self.last = Some((seq, delivery.max(place.delivery)));
            return None;
        }
        self.last = Some((place.seq, delivery.max(place.delivery)));
        self.clear = self.clear.max(place.seq);
        let passed = place.seq - seq - 1;
        if self.filtered { None } else { unread(passed.saturating_sub(elsewhere), seq + 1, place.seq - 1) }
    }

    /// A message is durable, or will never be.
    pub fn settled(&mut self, seq: u64) {
        self.unsettled.remove(&seq);
    }

    /// Stream and consumer were asked, in this order, while nothing was being delivered.
    pub fn look(&mut self, stream: StreamState, consumer: &ConsumerState) -> Vec<Gone> {
        let mut gone = Vec::new();
        let came: Vec<u64> = self.unsettled.range(..stream.first).copied().collect();
        if let (Some(from), Some(to)) = (came.first(), came.last()) {
            let why = format!(
                "{} messages between {from} and {to} came, could not be recorded in time, and have left the stream",
                came.len()
            );
            gone.push(exact(came.len() as u64, why));
            came.iter().for_each(|seq| self.settled(*seq));
        }
        let before = stream.first.saturating_sub(1);
        if self.filtered {
            if before > self.clear {
                let why = format!(
                    "messages up to {before} have left the stream, and those from {} on were not read; how many of them \
                     the filter would have chosen is not known",
                    self.clear + 1
                );
                gone.push(Gone { records: 1, known: false, why });
                self.clear = before;
            }
            if consumer.waiting == 0 && consumer.unacknowledged == 0 {
                self.clear = self.clear.max(stream.last);
            }
        } else if let Some((seq, delivery)) = self.last
            && before > seq
            && before > consumer.delivered
        {
            // What the consumer passed otherwise is seen with the next delivery.
            let passed = before - seq.max(consumer.delivered);
            gone.extend(unread(passed, seq.max(consumer.delivered) + 1, before));
            self.last = Some((before, delivery.max(consumer.deliveries)));
        }
        gone
    }
}

fn unread(records: u64, from: u64, to: u64) -> Option<Gone> {
    let why = format!("{records} messages between {from} and {to} left the stream before they were read");
    (records > 0).then(|| exact(records, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(delivered: u64, deliveries: u64, floor: u64) -> ConsumerState {
        let unacknowledged = delivered - floor;
        ConsumerState { delivered, deliveries, floor, unacknowledged, ..ConsumerState::default() }
    }

    fn stream(first: u64, last: u64) -> StreamState {
        StreamState { first, last }
    }

    fn place(seq: u64, delivery: u64, times: u64) -> Place {
        Place { seq, delivery, times, ..Place::default() }
    }

    fn records(gone: impl IntoIterator<Item = Gone>) -> Vec<(u64, bool)> {
        gone.into_iter().map(|gone| (gone.records, gone.known)).collect()
    }

    #[test]
    fn a_new_consumer_of_a_stream_that_forgot_already_has_lost_nothing() {
        let mut at = Position::default();
        assert!(at.begin(stream(5, 9), &consumer(4, 0, 4), true).is_empty());
        assert_eq!(at.came(&place(5, 1, 1)), None);
        let mut at = Position::default();
        assert!(at.begin(stream(5, 9), &consumer(4, 0, 4), false).is_empty(), "made by the operator");
        assert!(at.begin(stream(5, 9), &consumer(0, 0, 0), true).is_empty());
    }

    #[test]
    fn a_jump_is_a_loss_unless_deliveries_account_for_it() {
        let mut at = Position::default();
        at.begin(stream(1, 9), &consumer(0, 0, 0), true);
        assert_eq!(at.came(&place(1, 1, 1)), None);
        assert_eq!(records(at.came(&place(4, 2, 1))), [(2, true)]);
        // Two deliveries went elsewhere.
        assert_eq!(at.came(&place(7, 5, 1)), None);
        // One delivery went elsewhere, and one message nowhere.
        assert_eq!(records(at.came(&place(10, 7, 1))), [(1, true)]);
        assert_eq!(at.came(&place(4, 8, 2)), None, "a repeat");
        assert_eq!(at.came(&place(11, 9, 1)), None);
    }

    #[test]
    fn what_leaves_while_nobody_reads_is_told_once_whether_or_not_more_comes() {
        let mut at = Position::default();
        at.begin(stream(1, 9), &consumer(0, 0, 0), true);
        (1..=3).for_each(|seq| assert_eq!(at.came(&place(seq, seq, 1)), None));
        (1..=3).for_each(|seq| at.settled(seq));
        assert_eq!(records(at.begin(stream(8, 9), &consumer(3, 3, 3), false)), [(4, true)]);
        assert!(at.look(stream(8, 9), &consumer(3, 3, 3)).is_empty());
        assert_eq!(at.came(&place(8, 4, 1)), None);
        // All of it, and nothing came after.
        at.settled(8);
        assert_eq!(records(at.look(stream(12, 11), &consumer(8, 4, 8))), [(3, true)]);
        assert!(at.look(stream(12, 11), &consumer(8, 4, 8)).is_empty());
        assert_eq!(at.came(&place(12, 5, 1)), None);
    }

    #[test]
    fn deliveries_of_a_connection_that_broke_are_no_loss() {
        let mut at = Position::default();
        at.begin(stream(1, 20), &consumer(0, 0, 0), true);
        at.came(&place(1, 1, 1));
        at.settled(1);
        // 2 to 9 were delivered, and nobody was there.
        assert!(at.begin(stream(1, 20), &consumer(9, 9, 1), false).is_empty());
        assert_eq!(at.came(&place(10, 10, 1)), None);
        assert_eq!(at.came(&place(2, 11, 2)), None);
    }

    #[test]
    fn what_came_and_could_not_be_recorded_before_it_left_is_counted() {
        let mut at = Position::default();
        at.begin(stream(1, 5), &consumer(0, 0, 0), true);
        (1..=5).for_each(|seq| drop(at.came(&place(seq, seq, 1))));
        at.settled(1);
        assert_eq!(records(at.look(stream(4, 5), &consumer(5, 5, 1))), [(2, true)]);
        assert!(at.look(stream(4, 5), &consumer(5, 5, 1)).is_empty());
        // And of an earlier process, of which nobody knows how many.
        let mut at = Position::default();
        assert_eq!(records(at.begin(stream(4, 5), &consumer(5, 5, 1), false)), [(1, false)]);
    }

    #[test]
    fn behind_a_filter_what_it_leaves_out_may_leave_the_stream() {
        let mut at = Position::default();
        let filtered = |delivered, deliveries, waiting| ConsumerState {
            filtered: true,
            waiting,
            ..consumer(delivered, deliveries, delivered)
        };
        at.begin(stream(1, 9), &filtered(0, 0, 1), true);
        assert_eq!(at.came(&place(7, 1, 1)), None, "the filter left six out");
        at.settled(7);
        assert!(at.look(stream(1, 9), &filtered(7, 1, 0)).is_empty());
        assert!(at.look(stream(10, 12), &filtered(7, 1, 3)).is_empty(), "up to 9 all was looked at");
        assert_eq!(records(at.look(stream(12, 14), &filtered(7, 1, 3))), [(1, false)]);
        assert!(at.look(stream(12, 14), &filtered(7, 1, 3)).is_empty());
    }
}
