//! Events of our own that a stranger can cause at will: the first of its kind is told at once, what follows within a
//! window in one event with its number. So a flood costs two events a kind and window, and none is left uncounted.
//!
//! Invariants: the numbers of all events given back add up to what was offered; at most [`KINDS_MAX`] kinds are told
//! apart at a time, further ones are told together, without a name.

use countersign_event::{Event, Principal, PrincipalKind, Verified};
use std::collections::HashMap;

/// Kinds told apart at a time.
pub(crate) const KINDS_MAX: usize = 256;
/// The kind of all that found no place of their own.
const OTHERS: &str = "";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    open: HashMap<String, (Event, u64)>,
}

impl Folds {
    /// The event to record now, with the kind to [`Folds::close`] after the window; `None` = it was counted.
    pub(crate) fn offer(&mut self, kind: String, mut event: Event) -> Option<(String, Event)> {
        let mut kind = kind;
        if !self.open.contains_key(&kind) && self.open.len() >= KINDS_MAX {
            OTHERS.clone_into(&mut kind);
            event.who.who = Some(nobody());
            event.peer.src = None;
        }
        if let Some((_, more)) = self.open.get_mut(&kind) {
            *more += 1;
            return None;
        }
        self.open.insert(kind.clone(), (event.clone(), 0));
        Some((kind, event))
    }

    /// One more of `kind` that could not be recorded.
    pub(crate) fn count(&mut self, kind: &str) {
        if let Some((_, more)) = self.open.get_mut(kind) {
            *more += 1;
        }
    }

    /// Ends the window of `kind`: one event of all that was counted, if anything was.
    pub(crate) fn close(&mut self, kind: &str) -> Option<Event> {
        let (mut event, more) = self.open.remove(kind)?;
        event.core.n = (more > 1).then_some(more);
        (more > 0).then_some(event)
    }

    /// Ends all windows.
    pub(crate) fn close_all(&mut self) -> Vec<Event> {
        let kinds: Vec<String> = self.open.keys().cloned().collect();
        kinds.iter().filter_map(|kind| self.close(kind)).collect()
    }
}

/// Somebody who showed no name, or one among too many.
pub(crate) fn nobody() -> Principal {
    let kind = Some(PrincipalKind::Anonymous);
    Principal { kind, ..Principal::new("anon:", Verified::Claimed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(event: &Event) -> u64 {
        event.core.n.unwrap_or(1)
    }

    proptest! {
        #[test]
        fn every_offer_is_in_one_number(offers in prop::collection::vec((0..600_u32, any::<bool>()), 0..900)) {
            let (mut folds, mut told) = (Folds::default(), 0);
            for (kind, close) in &offers {
                let now = folds.offer(kind.to_string(), Event::default());
                told += now.iter().map(|(_, event)| number(event)).sum::<u64>();
                prop_assert!(folds.open.len() <= KINDS_MAX + 1);
                if *close {
                    told += folds.close(&kind.to_string()).iter().map(number).sum::<u64>();
                }
            }
            told += folds.close_all().iter().map(number).sum::<u64>();
            prop_assert_eq!(told, offers.len() as u64);
        }
    }
}
