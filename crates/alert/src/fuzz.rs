//! Bodies for fuzzers and for the seeded tests on a stable toolchain: what lies on disk or comes from a receiver.

use crate::matcher::{glob, globs_meet};
use crate::memory::{Delta, Memory};
use crate::message::Stored;
use crate::notice::Notice;
use crate::queue::Name;

/// Files of the queue, opened.
pub fn stored(data: &[u8]) {
    if let Some(stored) = Stored::from_bytes(data) {
        assert_eq!(Stored::from_bytes(&stored.to_bytes()).as_ref().map(|s| &s.body), Some(&stored.body));
    }
    if let Some(memory) = Memory::from_bytes(data) {
        assert_eq!(
            Memory::from_bytes(&memory.to_bytes()),
            Some(memory),
            "what was read must be written the same"
        );
    }
    if let Some(delta) = Delta::from_bytes(data) {
        let mut memory = Memory::default();
        memory.apply(delta);
    }
    if let Some(notice) = Notice::from_bytes(data) {
        assert!(crate::render::webhook::body(&notice, "https://example.org").starts_with(b"{"));
    }
}

/// Names of files, secrets of the configuration, and `Retry-After` of a receiver.
pub fn text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Name::parse(text);
        if let Some((pattern, text)) = text.split_once('\n')
            && pattern.len() + text.len() < 2000
        {
            assert!(!glob(pattern, text) || globs_meet(pattern, pattern), "what fits a text meets itself");
        }
        let _ = crate::Secret::parse(text);
        let _ = crate::retry::retry_after(text, 1);
    }
}
