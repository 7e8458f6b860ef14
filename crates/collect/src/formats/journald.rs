//! One entry of the Journal Export Format (systemd, "Journal Export Formats" and systemd.journal-fields(7)).
//!
//! Fields whose name begins with `_` were written by journald from what the kernel says of the sender; all others
//! are the sender's own words. So the unit is asserted, and `SYSLOG_IDENTIFIER` counts only where no trusted
//! field names the program. The message is a record of its own ([`super::envelope`]). Every field stays in
//! `unmapped` under `/journal`.

use super::envelope::{Around, note, open};
use super::{Format, Record};
use crate::frame::NAME_MAX;
use crate::{Draft, Fault, time};
use countersign_event::{Auth, PrincipalKind, Unmapped, Verified};
use std::borrow::Cow;

/// The row of the table.
pub const JOURNALD: Format = Format {
    name: "journald",
    what: "systemd's journal, one entry of the export format, and the records that it carries",
    looks,
    parse,
};

/// Whether `name` may name a field: capital letters, digits and `_`, no digit first, at most 64 bytes.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn looks(record: &Record<'_>) -> bool {
    let end = record.bytes.iter().take(NAME_MAX).position(|b| matches!(b, b'=' | b'\n'));
    let name = end.and_then(|end| record.bytes.get(..end)).and_then(|name| std::str::from_utf8(name).ok());
    name.is_some_and(is_name) && memchr::memmem::find(record.bytes, b"__REALTIME_TIMESTAMP").is_some()
}

/// A field: its name and what it holds.
type Field<'a> = (&'a str, &'a [u8]);

/// Takes an entry apart.
///
/// # Errors
/// A field that does not end, has no name, or a name that is none.
fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, Fault> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        let (name, value, taken) = match memchr::memchr(b'=', line) {
            Some(equals) => (&line[..equals], &line[equals + 1..], end + 1),
            None => {
                let size = rest.get(end + 1..end + 9).and_then(|size| size.try_into().ok());
                let size = size.ok_or(Fault::new(at, "a binary field has no length"))?;
                let size = usize::try_from(u64::from_le_bytes(size)).unwrap_or(usize::MAX);
                let value = rest.get(end + 9..).and_then(|rest| rest.get(..size));
                let value = value.ok_or(Fault::new(at, "a binary field is cut short"))?;
                (line, value, end + 10 + size)
            }
        };
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        found.push((name.ok_or(Fault::new(at, "a field has no valid name"))?, value));
        at += taken;
    }
    Ok(found)
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let fields = fields(record.bytes)?;
    let get = |name: &str| {
        let value = fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        value.map(String::from_utf8_lossy).filter(|value| !value.is_empty()).unwrap_or_default()
    };
    let micros = |name: &str| get(name).parse().ok().and_then(|us| time::unix(us, 1_000));
    // When the sender spoke, else when the journal heard it.
    let stamp = micros("_SOURCE_REALTIME_TIMESTAMP").or_else(|| micros("__REALTIME_TIMESTAMP"));
    let (host, program) = (get("_HOSTNAME"), program(&get));
    let message = get("MESSAGE");
    let around = Around { host: &host, app: &program.0, stamp, most: Some(program.1) };
    let mut draft = open(record, &message, around);
    if stamp.is_none() {
        draft.partial("a time could not be read");
    }
    if matches!(message, Cow::Owned(_)) {
        draft.partial("the text is not UTF-8");
    }
    unit(&mut draft, &host, &get);
    draft.source_id = get("__CURSOR").into_owned();
    for (number, (name, value)) in fields.iter().enumerate() {
        let mut pointer = format!("/journal/{name}");
        if draft.event.content.unmapped.contains_key(&pointer) {
            pointer = format!("{pointer}/{number}");
        }
        match std::str::from_utf8(value) {
            Ok(_) if *name == "MESSAGE" => {}
            Ok(text) => note(&mut draft, &pointer, text),
            Err(_) => {
                let _ = draft.event.content.unmapped.insert(pointer, Unmapped::Bytes(value.to_vec()));
            }
        }
    }
    Ok(draft)
}

/// The program, and how far its name may be believed.
fn program<'a>(get: &dyn Fn(&str) -> Cow<'a, str>) -> (Cow<'a, str>, Verified) {
    let said = get("SYSLOG_IDENTIFIER");
    let known = get("_COMM");
    if known.is_empty() {
        return (said, Verified::Claimed);
    }
    // The kernel cuts a program's name at 15 bytes, and some add to it: `postgres: writer`, `nginx: worker`.
    (known, Verified::Asserted)
}

/// Who spoke, as the kernel says it: the unit, else the program.
fn unit<'a>(draft: &mut Draft, host: &str, get: &dyn Fn(&str) -> Cow<'a, str>) {
    let unit = get("_SYSTEMD_UNIT");
    let speaker = draft.event.core.kind.is_none();
    if !speaker || unit.is_empty() {
        return;
    }
    let who = draft.who(format!("user:{host}/{unit}"), PrincipalKind::Service, Verified::Asserted);
    who.auth = Some(Auth::PeerCred);
    who.svc = unit.into_owned();
    host.clone_into(&mut who.inst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::CaptureConf;

    const ENTRY: &[u8] = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1710331713000000\n_HOSTNAME=m\n_COMM=sshd\n_SYSTEMD_UNIT=ssh.service\nMESSAGE\n\x05\0\0\0\0\0\0\0a\n\nb=\nCOREDUMP\n\x01\0\0\0\0\0\0\0\xff\n";

    #[test]
    fn an_entry_gives_its_speaker_its_time_and_every_field() {
        let draft = parse(&Record::new(ENTRY, 0)).unwrap();
        let event = &draft.event;
        assert_eq!((draft.conf(), draft.source_id.as_str()), (CaptureConf::Full, "s=1;i=2"));
        assert_eq!(event.core.t_event, Some(1_710_331_713_000_000_000));
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.id.as_str(), who.verified), ("user:m/ssh.service", Verified::Asserted));
        assert_eq!(event.content.unmapped["/message"], Unmapped::Token("\"a\\n\\nb=\"".into()));
        assert_eq!(event.content.unmapped["/journal/COREDUMP"], Unmapped::Bytes(vec![0xff]));
    }

    #[test]
    fn a_name_that_the_sender_gave_itself_is_claimed() {
        let entry = b"__REALTIME_TIMESTAMP=1\nSYSLOG_IDENTIFIER=sshd\nMESSAGE=hello\n";
        let draft = parse(&Record::new(entry, 0)).unwrap();
        assert_eq!(draft.event.who.who.as_ref().unwrap().verified, Verified::Claimed);
    }

    #[test]
    fn names_follow_the_manual() {
        for (name, valid) in [("MESSAGE", true), ("_PID", true), ("1A", false), ("a", false), ("", false)] {
            assert_eq!(is_name(name), valid, "{name}");
        }
        assert!(parse(&Record::new(b"lower=1\n", 0)).is_err());
        assert!(parse(&Record::new(b"A\n\xff\xff\xff\xff\xff\xff\xff\xff", 0)).is_err());
    }
}
