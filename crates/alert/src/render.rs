//! Notifications in the form of each kind of receiver.
//!
//! Pure functions: a notification and the dashboard's address in, bytes out. Invariant: texts in a notification are
//! hostile; each form escapes them by its own rules and keeps its own bounds.

pub(crate) mod alertmanager;
pub(crate) mod mail;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod syslog;
pub(crate) mod webhook;

/// `text` escaped character by character, cut where the escaped text would have more than `max` characters.
fn escaped(text: &str, max: usize, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let piece = escape(c);
        let piece_length = piece.map_or(1, |p| p.chars().count());
        // Room for the mark of a cut.
        if length + piece_length >= max {
            out.push('…');
            break;
        }
        length += piece_length;
        match piece {
            Some(piece) => out.push_str(piece),
            None => out.push(c),
        }
    }
    out
}
