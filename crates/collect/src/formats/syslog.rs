//! Syslog: RFC 5424, RFC 3164 as it is really written, and what syslog carries.
//!
//! One pass reads a message and notes the first rule that it breaks: a message that breaks none is full, any other
//! is partial and keeps its bytes. The text is then a record of its own ([`super::envelope`]): sshd, HAProxy, nginx
//! and others give their event, with the header beside it in `unmapped` under `/syslog`.
//!
//! HOSTNAME, APP-NAME and the text can be written by any program of the sender, so nobody in a syslog message is
//! more than claimed, whatever the input. Times without a year are resolved against our clock. Sources: RFC 5424,
//! RFC 3164; rsyslog's `RSYSLOG_FileFormat` for files.

mod rfc3164;
mod rfc5424;

use super::envelope::{Around, note, open};
use super::{Format, Record};
use crate::time::Stamp;
use crate::{Draft, Fault};
use countersign_event::Verified;
use std::borrow::Cow;

/// The row of the table.
pub const SYSLOG: Format = Format {
    name: "syslog",
    what: "syslog, RFC 5424 and RFC 3164, and the records that it carries",
    looks,
    parse,
};

/// A message taken apart. Empty = nil or absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message<'a> {
    /// Facility × 8 + severity.
    pub(crate) priority: Option<u8>,
    /// Of RFC 5424; `None` = RFC 3164.
    pub(crate) version: Option<u16>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) host: &'a str,
    pub(crate) app: &'a str,
    pub(crate) procid: &'a str,
    pub(crate) msgid: &'a str,
    /// SD-ID (empty where there was none), name, value.
    pub(crate) data: Vec<(&'a str, &'a str, Cow<'a, str>)>,
    pub(crate) text: &'a str,
    /// The first rule broken.
    pub(crate) broken: Option<&'static str>,
}

impl Message<'_> {
    pub(crate) fn breaks(&mut self, rule: &'static str) {
        self.broken.get_or_insert(rule);
    }
}

/// Takes the message apart; `now` is our clock, for times without a year.
pub(crate) fn read(text: &str, now: i64) -> Message<'_> {
    let mut message = Message::default();
    let rest = priority(text, &mut message);
    match rfc5424::version(rest, rest.len() < text.len()) {
        Some((version, rest)) => {
            message.version = Some(version);
            rfc5424::read(rest, &mut message);
        }
        None => rfc3164::read(rest, now, &mut message),
    }
    if message.priority.is_none() && message.version.is_some() {
        message.breaks("a priority is missing");
    }
    if misread(message.text) {
        message.breaks("the text was read in a wrong character set");
    }
    message
}

/// Reads `<PRI>` (RFC 5424 section 6.2.1: 0 to 191, no leading zero).
fn priority<'a>(text: &'a str, message: &mut Message<'a>) -> &'a str {
    let Some((digits, rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
        return text;
    };
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return text;
    }
    message.priority = digits.parse().ok().filter(|priority| *priority <= 191);
    if message.priority.is_none() || (digits.len() > 1 && digits.starts_with('0')) {
        message.breaks("a priority is out of range");
    }
    rest
}

/// UTF-8 that was taken for Latin-1 shows as C1 controls or as the three letters of a byte order mark.
fn misread(text: &str) -> bool {
    !text.is_ascii()
        && (text.contains("\u{ef}\u{bb}\u{bf}") || text.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}')))
}

fn looks(record: &Record<'_>) -> bool {
    let text = record.text;
    match record.bytes.first() {
        Some(b'<') => record.bytes.iter().take(5).skip(1).find(|b| !b.is_ascii_digit()) == Some(&b'>'),
        Some(b'A'..=b'Z') => rfc3164::stamp(text, record.now).is_some(),
        Some(b'1'..=b'9') => rfc5424::version(text, false).is_some() || rfc3164::is_file_line(text),
        _ => false,
    }
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    if record.bytes.is_empty() {
        return Err(Fault::new(0, "nothing there"));
    }
    // Octets of any kind are allowed in a message; what is read of them is marked as not the same.
    let text = match record.text {
        "" => String::from_utf8_lossy(record.bytes),
        text => Cow::Borrowed(text),
    };
    let mut message = read(&text, record.now);
    if matches!(text, Cow::Owned(_)) {
        message.breaks("the text is not UTF-8");
    }
    let around =
        Around { host: message.host, app: message.app, stamp: message.stamp, most: Some(Verified::Claimed) };
    let mut draft = open(record, message.text, around);
    keep(&mut draft, &message);
    if let Some(rule) = message.broken {
        draft.partial(rule);
    }
    Ok(draft)
}

/// The header beside the event.
fn keep(draft: &mut Draft, message: &Message<'_>) {
    for (name, value) in [
        ("/syslog/hostname", message.host),
        ("/syslog/appname", message.app),
        ("/syslog/procid", message.procid),
        ("/syslog/msgid", message.msgid),
    ] {
        note(draft, name, value);
    }
    if let Some(version) = message.version {
        draft.token("/syslog/version", version.to_string());
    }
    if let Some(priority) = message.priority {
        draft.token("/syslog/priority", priority.to_string());
        draft.token("/syslog/facility", (priority / 8).to_string());
        draft.token("/syslog/severity", (priority % 8).to_string());
    }
    for (number, (id, name, value)) in message.data.iter().enumerate() {
        let part = |text: &str| text.replace('~', "~0").replace('/', "~1");
        let mut pointer = format!("/syslog/sd/{}/{}", part(id), part(name));
        // A name may come again (RFC 5424 section 6.3.3).
        if draft.event.content.unmapped.contains_key(&pointer) {
            pointer = format!("{pointer}/{number}");
        }
        draft.said(&pointer, value);
    }
}

#[cfg(test)]
mod tests;
