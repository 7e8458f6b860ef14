//! Texts that were found clean, so that a header, name or statement that every request repeats is searched once.
//!
//! Invariant: a text is noted only when nothing was found in it and nothing in it was changed, so no secret is
//! ever held here. One table a thread, [`PLACES`] texts of at most [`TEXT_MAX`] bytes; a new text takes the place
//! of another.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};

/// Texts that are known at once.
const PLACES: usize = 256;
/// Longest text that is noted, bytes.
pub(super) const TEXT_MAX: usize = 512;

thread_local! {
    static CLEAN: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn place(text: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish() as usize % PLACES
}

/// Whether `text`, which is not empty, was noted.
pub(super) fn is_known(text: &[u8]) -> bool {
    CLEAN.with_borrow(|known| known.get(place(text)).is_some_and(|one| **one == *text))
}

/// Notes that nothing was found in `text`.
pub(super) fn note(text: &[u8]) {
    if text.len() > TEXT_MAX {
        return;
    }
    CLEAN.with_borrow_mut(|known| {
        known.resize_with(PLACES, Box::default);
        if let Some(one) = known.get_mut(place(text)) {
            *one = text.into();
        }
    });
}
