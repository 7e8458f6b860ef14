//! Fuzz bodies: plain functions that must return for any input. Stable tests run them from seeds.

use crate::decode::path::{Templates, clean};
use crate::decode::redact::clean_text;

/// Cleans and templates `data` as a path, and cleans it as a header value.
pub fn cleaning(data: &[u8]) {
    let cleaned = clean(data);
    let mut templates = Templates::default();
    templates.learn(0, &cleaned.raw);
    let (template, id) = templates.of(0, &cleaned.raw);
    assert!(template.len() <= 1_024 && id.len() <= 256 && cleaned.raw.len() <= 4_096);
    let (text, _) = clean_text(data, 512);
    assert!(text.len() <= 512);
}
