//! A message of Fluent's forward protocol taken apart: Message, Forward, PackedForward, CompressedPackedForward.
//!
//! Source: Fluentd wiki, "Forward Protocol Specification v1" and v1.5 (metadata beside the time). Each event becomes
//! a record in JSON, the same whatever mode it came in. What is no event inside a message that can be cut is a record
//! all the same, with its bytes; a message that cannot be cut is a fault. No I/O.

use super::super::body::{BodyError, gunzip};
use crate::formats::pushed::{BASE64, text_or_bytes};
use crate::msgpack::{Item, Reader};
use crate::otlp::UNFOLDED_MAX;
use crate::{Fault, RECORD_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Longest id of a chunk, bytes.
const CHUNK_MAX: usize = 160;

/// What a message holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its events, each a record of format `fluent-forward`.
    pub(crate) records: Vec<String>,
    /// The id under which its sender wants to hear of it.
    pub(crate) chunk: Option<Chunk>,
}

/// An id of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// As text: its own, or base64 where it is none.
    pub(crate) name: String,
    /// `{"ack": …}` in MessagePack, the id of the type that it came in.
    pub(crate) ack: Vec<u8>,
}

/// Reads one message; nothing is in the `nil` that clients send to see whether somebody is there.
///
/// # Errors
/// The rule broken.
pub(crate) fn read(message: &[u8]) -> Result<Message, Fault> {
    let mut reader = Reader::new(message);
    let parts = match reader.item()? {
        Item::Nil => return Ok(Message::default()),
        Item::Array(parts @ 2..=4) => parts,
        _ => return Err(Fault::new(0, "not a message")),
    };
    let tag = reader.item()?.bytes().ok_or(Fault::new(0, "a message has no tag"))?;
    let mut records = Records { tag: text_or_bytes(tag), list: Vec::new(), bytes: 0 };
    let mut ahead = reader;
    let first = ahead.item()?;
    let single = !matches!(first, Item::Array(_) | Item::Str(_) | Item::Bin(_));
    let mut rest = ahead;
    if single {
        rest = reader;
        rest.value()?;
        rest.value()?;
    } else if let Item::Array(count) = first {
        for _ in 0..count {
            rest.value()?;
        }
    }
    let given = parts > if single { 3 } else { 2 };
    let options = if given { options(&mut rest)? } else { Options::default() };
    match first {
        Item::Array(count) => {
            for _ in 0..count {
                records.entry(ahead.value()?)?;
            }
        }
        Item::Str(packed) | Item::Bin(packed) if options.gzip => {
            let unpacked = gunzip(packed).map_err(|error| match error {
                BodyError::TooLarge => Fault::new(0, "a chunk unfolds to more than the bound"),
                _ => Fault::new(0, "a chunk is not the gzip that it says"),
            })?;
            records.packed(&unpacked)?;
        }
        Item::Str(packed) | Item::Bin(packed) => records.packed(packed)?,
        _ => {
            let (time, record) = (reader.value()?, reader.value()?);
            // As an entry of Forward has them.
            records.entry(&[&[0x92], time, record].concat())?;
        }
    }
    Ok(Message { records: records.list, chunk: options.chunk })
}

#[derive(Default)]
struct Options {
    chunk: Option<Chunk>,
    gzip: bool,
}

fn options(reader: &mut Reader<'_>) -> Result<Options, Fault> {
    let mut out = Options::default();
    let count = match reader.item()? {
        Item::Map(count) => count,
        Item::Nil => 0,
        _ => return Err(Fault::new(0, "the options are no map")),
    };
    for _ in 0..count {
        let name = reader.item()?.bytes();
        let mut ahead = *reader;
        reader.value()?;
        match name {
            Some(b"chunk") => out.chunk = chunk(ahead.item()?)?,
            Some(b"compressed") => out.gzip = ahead.item()?.bytes() == Some(b"gzip"),
            _ => {}
        }
    }
    Ok(out)
}

fn chunk(id: Item<'_>) -> Result<Option<Chunk>, Fault> {
    let Some(bytes) = id.bytes() else { return Ok(None) };
    if bytes.len() > CHUNK_MAX {
        return Err(Fault::new(0, "the id of a chunk is longer than the bound"));
    }
    let name = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => STANDARD.encode(bytes),
    };
    let mut ack = vec![0x81];
    super::handshake::text(&mut ack, b"ack");
    match id {
        Item::Bin(_) => {
            ack.extend_from_slice(&[0xc4, bytes.len() as u8]);
            ack.extend_from_slice(bytes);
        }
        _ => super::handshake::text(&mut ack, bytes),
    }
    Ok(Some(Chunk { name, ack }))
}

/// The records of a message, with a bound on their sum: each repeats the tag.
struct Records {
    tag: String,
    list: Vec<String>,
    bytes: usize,
}

impl Records {
    /// Entries that follow each other. What is none from some place on is one record with its bytes.
    fn packed(&mut self, packed: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(packed);
        let mut taken = 0;
        while !reader.is_done() {
            match reader.value() {
                Ok(entry) => {
                    taken += entry.len();
                    self.entry(entry)?;
                }
                Err(_) => return self.odd(packed.get(taken..).unwrap_or_default()),
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), Fault> {
        match entry_of(&self.tag, entry) {
            Ok(record) => self.push(record),
            Err(_) => self.odd(entry),
        }
    }

    fn odd(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let bytes = STANDARD.encode(bytes);
        self.push(format!("{{\"tag\":{},\"entry\":{{\"{BASE64}\":\"{bytes}\"}}}}", self.tag))
    }

    fn push(&mut self, record: String) -> Result<(), Fault> {
        self.bytes += record.len();
        if self.bytes > UNFOLDED_MAX {
            return Err(Fault::new(0, "the events with their tag are larger than the bound"));
        }
        self.list.push(record);
        Ok(())
    }
}

/// `[time, record]`, or `[[time, metadata], record]`.
fn entry_of(tag: &str, entry: &[u8]) -> Result<String, Fault> {
    let bad = || Fault::new(0, "not an event");
    let mut reader = Reader::new(entry);
    let Item::Array(2) = reader.item()? else { return Err(bad()) };
    let mut out = format!("{{\"tag\":{tag},\"time\":");
    let mut ahead = reader;
    if ahead.item()? == Item::Array(2) {
        reader = ahead;
        time(&mut reader, &mut out)?;
        out.push_str(",\"metadata\":");
        reader.json(&mut out, RECORD_MAX)?;
    } else {
        time(&mut reader, &mut out)?;
    }
    out.push_str(",\"record\":");
    let mut ahead = reader;
    let Item::Map(_) = ahead.item()? else { return Err(bad()) };
    reader.json(&mut out, RECORD_MAX)?;
    out.push('}');
    Ok(out)
}

/// Seconds, or EventTime: extension 0 of seconds and nanoseconds, four bytes each.
fn time(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Fault> {
    // Writing to a String cannot fail.
    let _ = match reader.item()? {
        Item::Uint(seconds) => write!(out, "{seconds}"),
        Item::Int(seconds) => write!(out, "{seconds}"),
        Item::Float(seconds) if seconds.is_finite() => write!(out, "{seconds:?}"),
        Item::Ext(0, bytes) => {
            let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
            let (Some(seconds), Some(nanos), 8) = (number(0), number(4), bytes.len()) else {
                return Err(Fault::new(0, "not an event"));
            };
            write!(out, "{seconds}.{nanos:09}")
        }
        _ => return Err(Fault::new(0, "not an event")),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TIME: &[u8] = b"\xd7\x00\x65\xf1\x97\xc1\x00\x00\x00\x07";
    const RECORD: &[u8] = b"\x81\xa3log\xa1x";
    const JSON: &str = r#"{"tag":"a.b","time":1710331841.000000007,"record":{"log":"x"}}"#;

    fn entry() -> Vec<u8> {
        [b"\x92", TIME, RECORD].concat()
    }

    fn packed(body: &[u8], options: &[u8]) -> Vec<u8> {
        [b"\x93\xa3a.b\xc5", &(body.len() as u16).to_be_bytes()[..], body, options].concat()
    }

    #[test]
    fn every_mode_gives_the_same_records() {
        let entries = entry().repeat(2);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&entries).unwrap();
        let gzip = packer.finish().unwrap();
        let chunk = b"\x82\xa5chunk\xa2id\xa4size\x02";
        let forward = [b"\x93\xa3a.b\x92", &entries[..], chunk].concat();
        let compressed = packed(&gzip, b"\x82\xa5chunk\xa2id\xaacompressed\xa4gzip");
        for message in [forward, packed(&entries, chunk), compressed] {
            let read = read(&message).unwrap();
            assert_eq!(read.records, [JSON, JSON]);
            assert_eq!(read.chunk.unwrap(), Chunk { name: "id".into(), ack: b"\x81\xa3ack\xa2id".to_vec() });
        }
        let one = [b"\x93\xa3a.b", TIME, RECORD].concat();
        assert_eq!(read(&one).unwrap(), Message { records: vec![JSON.into()], chunk: None });
        let asked = [b"\x94\xa3a.b", TIME, RECORD, b"\x81\xa5chunk\xc4\x01\xff"].concat();
        let chunk = read(&asked).unwrap().chunk.unwrap();
        assert_eq!((chunk.name.as_str(), &chunk.ack[..]), ("/w==", &b"\x81\xa3ack\xc4\x01\xff"[..]));
    }

    #[test]
    fn metadata_whole_seconds_and_bytes_are_read() {
        let message = [b"\x92\xa3a.b\x91\x92\x92", TIME, b"\x81\xa1k\x01", RECORD].concat();
        assert_eq!(
            read(&message).unwrap().records[0],
            JSON.replace(",\"record", ",\"metadata\":{\"k\":1},\"record")
        );
        let message = b"\x93\xa1t\x05\x81\xa1b\xc4\x01\xff";
        assert_eq!(
            read(message).unwrap().records[0],
            r#"{"tag":"t","time":5,"record":{"b":{"$base64":"/w=="}}}"#
        );
        assert_eq!(read(b"\xc0").unwrap(), Message::default());
    }

    #[test]
    fn what_is_no_event_is_a_record_with_its_bytes_and_what_is_no_message_a_fault() {
        let odd = packed(&[&entry()[..], b"\x07", &entry(), b"\xa9cut"].concat(), b"\x80");
        let records = read(&odd).unwrap().records;
        assert_eq!(records.len(), 4);
        assert_eq!((records[0].as_str(), records[2].as_str()), (JSON, JSON));
        assert_eq!(records[1], r#"{"tag":"a.b","entry":{"$base64":"Bw=="}}"#);
        for bad in [
            &b"\x01"[..],
            b"\x91\xa1t",
            b"\x95\x01\x01\x01\x01\x01",
            b"\x93\x01\x01\x80",
            b"\x93\xa1t\xc4\x00\x01",
            b"\x93\xa1t\xc4\x01x\x81\xaacompressed\xa4gzip",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
