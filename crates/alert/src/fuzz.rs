//! Bodies for fuzzers and for the seeded tests on a stable toolchain: what lies on disk or comes from a receiver.

use crate::merge::Merge;
use crate::message::Stored;
use crate::queue::Name;

/// Files of the queue, opened.
pub fn stored(data: &[u8]) {
    if let Some(stored) = Stored::from_bytes(data) {
        assert_eq!(Stored::from_bytes(&stored.to_bytes()).as_ref().map(|s| &s.body), Some(&stored.body));
    }
    if let Some(merge) = Merge::from_bytes(data) {
        assert_eq!(
            Merge::from_bytes(&merge.to_bytes()),
            Some(merge),
            "what was read must be written the same"
        );
    }
}

/// Names of files, secrets of the configuration, and `Retry-After` of a receiver.
pub fn text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Name::parse(text);
        let _ = crate::Secret::parse(text);
        let _ = crate::retry::retry_after(text, 1);
    }
}
