//! CouchDB: the request lines of `chttpd`.
//!
//! `[level] time node <pid> nonce host peer user method path status ok|aborted milliseconds`. Source: Apache CouchDB,
//! chttpd's `log_request` and couch_log's stderr and file writers. The user was authenticated by CouchDB itself;
//! `undefined` is nobody.

use super::{Clock, Exchange, Role};
use crate::formats::{Format, Record};
use crate::text::Cursor;
use crate::{Draft, Fault};
use std::borrow::Cow;

/// The row of the table.
pub const COUCHDB: Format = Format {
    name: "couchdb",
    what: "request log of CouchDB",
    looks: |record| {
        record.text.starts_with('[') && record.text.contains("] ") && record.text.contains(" <0.")
    },
    parse,
};

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut line = Cursor::new(record.text.trim_end());
    let level = line.inside("[", "]")?;
    let mut exchange = Exchange::new(record);
    const FIELDS: [(&str, Role); 11] = [
        ("time", Role::Time(Clock::Iso)),
        ("node", Role::Rest),
        ("pid", Role::Rest),
        ("nonce", Role::RequestId),
        ("host", Role::Host),
        ("peer", Role::Client),
        ("user", Role::UserChecked),
        ("method", Role::Method),
        ("path", Role::Uri),
        ("status", Role::Status),
        ("end", Role::Skip),
    ];
    let mut end = "";
    for (name, role) in FIELDS {
        let word = line.word()?;
        // Nobody, and a line that belongs to no request.
        if !matches!((name, word), ("user", "undefined") | ("nonce", "--------")) {
            exchange.take(role, name, Cow::Borrowed(word));
        }
        end = word;
    }
    exchange.take(Role::Took(1_000_000), "milliseconds", Cow::Borrowed(line.word()?));
    exchange.take(Role::Rest, "level", Cow::Borrowed(level));
    let mut draft = exchange.done()?;
    if end != "ok" {
        // The client went away while the answer was on its way.
        draft.outcome(countersign_event::Outcome::Cancelled);
        draft.rest("end", end);
    }
    if !line.is_end() {
        draft.rest("behind", line.rest());
        draft.partial("text behind the last field");
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;
    use countersign_event::{Outcome, Verified};

    #[test]
    fn the_user_was_authenticated_and_an_aborted_answer_is_cancelled() {
        let draft = parsed(
            &COUCHDB,
            "[notice] 2024-01-20T13:54:06.868520Z couchdb@127.0.0.1 <0.176.0> 24322fd41d db.example:5984 192.0.2.3 admin PUT /orders/7?rev=1 201 aborted 12",
        );
        let event = &draft.event;
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.name.as_str(), who.verified), ("admin", Verified::Asserted));
        assert_eq!((event.core.outcome, event.core.dur), (Some(Outcome::Cancelled), Some(12_000_000)));
        assert_eq!((event.target.res.as_str(), event.links.corr.as_str()), ("/orders/{id}", "24322fd41d"));
    }
}
