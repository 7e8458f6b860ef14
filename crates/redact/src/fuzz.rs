//! Fuzz bodies: plain functions that must return for any input. Stable tests run them from seeds.

use crate::{HITS_MAX, Options, Scanner};
use std::sync::OnceLock;

/// Hits of any text are in order, inside it, and bounded; a cleaned text is bounded.
pub fn scan(data: &[u8]) {
    static SCANNER: OnceLock<Option<Scanner>> = OnceLock::new();
    let scanner = SCANNER.get_or_init(|| {
        let personal = crate::personal::KINDS.map(str::to_owned).to_vec();
        let pseudonyms = Some(crate::Pseudonyms::new(b"a key of the fuzz bodies, no more"));
        Scanner::new(Options { personal, own: Vec::new(), pseudonyms }).ok()
    });
    let Some(scanner) = scanner else { return };
    let hits = scanner.find(data);
    assert!(hits.len() <= HITS_MAX + 1);
    let mut at = 0;
    for hit in &hits {
        assert!(hit.start >= at && hit.end > hit.start && hit.end <= data.len());
        at = hit.end;
    }
    assert!(scanner.clean(data, 512).text.len() <= 512);
}
