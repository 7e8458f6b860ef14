//! What the demo says: one line an event, with the seconds since the start. Safe for a terminal.

use crate::output;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Where the demo's words go. Shared by its threads.
pub(super) struct Say {
    start: Instant,
    /// Standard output's reader has gone: nothing more is written, and the demo ends.
    closed: AtomicBool,
    quiet: bool,
}

impl Say {
    /// Begins to count the seconds. `quiet` leaves out what is only told for the pleasure of it.
    pub(super) fn new(quiet: bool) -> Say {
        Say { start: Instant::now(), closed: AtomicBool::new(false), quiet }
    }

    /// A line without a time.
    pub(super) fn plain(&self, text: &str) {
        let wrote = writeln!(io::stdout(), "{}", output::escape(text));
        if wrote.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// A line of the story.
    pub(super) fn told(&self, text: &str) {
        if !self.quiet {
            self.timed(text);
        }
    }

    /// A line with its time.
    pub(super) fn timed(&self, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.plain(&format!("{seconds:6.1} s  {}", output::escape_line(text)));
    }

    /// Whether nobody reads any more.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// A call in words: `deleted /v1/orders/17`.
pub(super) fn deed(method: &str, path: &str) -> String {
    let verb = match method {
        "GET" => "read",
        "PUT" => "set",
        "POST" => "posted to",
        "DELETE" => "deleted",
        other => return format!("{other} {path}"),
    };
    format!("{verb} {path}")
}

/// The part of an identity that tells callers of the demo apart: `spiffe://…/ns/payments/sa/ops` is `payments/ops`.
pub(super) fn short(id: &str) -> String {
    let spiffe = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once("/ns/"));
    match spiffe {
        Some((_, path)) => path.replace("/sa/", "/"),
        None => id.rsplit('#').next().unwrap_or(id).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_called_as_people_call_them() {
        assert_eq!(short("spiffe://demo.example/ns/payments/sa/ops"), "payments/ops");
        assert_eq!(short("jwt:https://demo.example#reporting"), "reporting");
        assert_eq!(short("addr:127.0.0.1"), "addr:127.0.0.1");
        assert_eq!(deed("DELETE", "/v1/orders/17"), "deleted /v1/orders/17");
    }
}
