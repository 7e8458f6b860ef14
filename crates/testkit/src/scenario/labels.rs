//! The truth about a run: what was an attack, what only looks like one, when, by whom, on whom.

use countersign_event::json::{hex, time::rfc3339};

/// Most event ids kept with one label; further ones are counted.
pub const LABEL_EVENTS_MAX: usize = 4_096;

/// How strong an attack was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intensity {
    /// Just above what happens anyway.
    Hard,
    /// In plain sight.
    Easy,
}

impl Intensity {
    /// `hard` or `easy`.
    pub fn word(self) -> &'static str {
        match self {
            Intensity::Hard => "hard",
            Intensity::Easy => "easy",
        }
    }
}

/// One thing that was staged.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Name of the scenario.
    pub scenario: String,
    /// An attack or a failure that must be found; `false`: a near miss that must not.
    pub attack: bool,
    /// How strong.
    pub intensity: Intensity,
    /// The same as a number, 0 (just above noise) to 1 (blatant).
    pub strength: f64,
    /// From when to when it shows, UTC ns of the true time; `end` is exclusive.
    pub start: u64,
    /// See `start`.
    pub end: u64,
    /// Names of the caller: principal id, service, and where there is one the workload or address that it came from.
    pub callers: Vec<String>,
    /// Names of what was called, or of the observer concerned.
    pub services: Vec<String>,
    /// Ids of its events in ledger order, at most [`LABEL_EVENTS_MAX`].
    pub events: Vec<[u8; 16]>,
    /// Its events beyond those.
    pub more: u64,
    /// What was staged, in words.
    pub note: String,
}

impl Label {
    /// One line of JSON, without a line feed.
    pub fn to_json(&self) -> String {
        let list = |items: &[String]| items.iter().map(|item| text(item)).collect::<Vec<_>>().join(",");
        let events: Vec<String> = self.events.iter().map(|id| format!("\"{}\"", hex(id))).collect();
        format!(
            "{{\"scenario\":{},\"attack\":{},\"intensity\":\"{}\",\"strength\":{:.3},\"start\":\"{}\",\"end\":\"{}\",\
             \"callers\":[{}],\"services\":[{}],\"note\":{},\"more\":{},\"events\":[{}]}}",
            text(&self.scenario),
            self.attack,
            self.intensity.word(),
            self.strength,
            rfc3339(i128::from(self.start)).unwrap_or_default(),
            rfc3339(i128::from(self.end)).unwrap_or_default(),
            list(&self.callers),
            list(&self.services),
            text(&self.note),
            self.more,
            events.join(",")
        )
    }
}

/// `text` as a JSON string.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
