//! Reads one item of an evidence file. Borrowed, bounded by the bytes given, no verdicts.

use super::{MAGIC, VERSION};
use crate::Hash;
use countersign_event::cbor::{CborError, Reader};
use countersign_event::{Commitment, ENTRY_LEN, GROUPS, Salt};

type Result<T> = std::result::Result<T, CborError>;

#[derive(Debug)]
pub(crate) enum Item<'a> {
    Header { origin: &'a str, purpose: &'a str, range: Option<(u64, u64)> },
    Checkpoint(&'a str),
    Inclusion { index: u64, path: &'a [Hash] },
    Multiproof { indices: &'a [[u8; 8]], hashes: &'a [Hash] },
    Consistency(&'a [Hash]),
    Entry(Box<EntryItem<'a>>),
    Body { index: u64, entry: [u8; ENTRY_LEN], body: Option<&'a [u8]> },
    End { counts: [u64; 6], digest: [u8; 32] },
}

impl Item<'_> {
    /// Position in the counts of END; `None` for END itself.
    pub(crate) fn type_number(&self) -> Option<usize> {
        match self {
            Item::Header { .. } => Some(0),
            Item::Checkpoint(_) => Some(1),
            Item::Inclusion { .. } | Item::Multiproof { .. } | Item::Consistency(_) => Some(2),
            Item::Entry(_) => Some(3),
            Item::Body { .. } => Some(4),
            Item::End { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct EntryItem<'a> {
    pub(crate) index: u64,
    pub(crate) entry: [u8; ENTRY_LEN],
    pub(crate) schema: u16,
    pub(crate) groups: [Group<'a>; GROUPS],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Group<'a> {
    Disclosed { salt: Salt, bytes: &'a [u8] },
    Withheld(Commitment),
    Erased { commitment: Commitment, by: u64 },
    Retired { commitment: Commitment, by: u64 },
    Missing(Option<Commitment>),
}

/// The first item of `bytes` and its length in bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<(Item<'_>, usize)> {
    let mut reader = Reader::new(bytes);
    reader.array_of(2)?;
    let at = reader.position();
    let item = match reader.uint()? {
        0 => header(&mut reader),
        1 => checkpoint(&mut reader),
        2 => proof(&mut reader),
        3 => entry(&mut reader),
        4 => body(&mut reader),
        6 => end(&mut reader),
        _ => Err(reader.error_at(at, "item of a type that this version does not read")),
    }?;
    Ok((item, reader.position()))
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let at = reader.position();
    let (mut magic, mut version, mut origin, mut purpose, mut created) = (None, None, None, None, None);
    let mut range = None;
    reader.fields(|reader, key| {
        match key {
            0 => magic = Some(reader.text()?),
            1 => version = Some(reader.uint()?),
            2 => origin = Some(reader.text()?),
            3 => purpose = Some(reader.text()?),
            4 => created = Some(reader.uint()?),
            5 => {
                reader.array_of(2)?;
                range = Some((reader.uint()?, reader.uint()?));
            }
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    if magic != Some(MAGIC) {
        return Err(reader.error_at(at, "not an evidence file"));
    }
    if version != Some(VERSION) {
        return Err(reader.error_at(at, "a version that this verifier does not read"));
    }
    if range.is_some_and(|(first, end)| first >= end) {
        return Err(reader.error_at(at, "an empty range is claimed"));
    }
    match (origin, purpose, created) {
        (Some(origin), Some(purpose), Some(_)) => Ok(Item::Header { origin, purpose, range }),
        _ => absent(reader, at),
    }
}

fn checkpoint<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let (at, mut note) = (reader.position(), None);
    reader.fields(|reader, key| {
        match key {
            0 => note = Some(reader.text()?),
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    match note {
        Some(note) => Ok(Item::Checkpoint(note)),
        None => absent(reader, at),
    }
}

fn proof<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let at = reader.position();
    let (mut kind, mut index, mut indices, mut hashes) = (None, None, None, None);
    reader.fields(|reader, key| {
        match (key, kind) {
            (0, _) => kind = Some(reader.uint()?),
            (1, Some(0)) => index = Some(reader.uint()?),
            (1, Some(1)) => indices = Some(chunks(reader, "indices are not 8 bytes each")?),
            (3, _) => hashes = Some(chunks(reader, "hashes are not 32 bytes each")?),
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    match (kind, index, indices, hashes) {
        (Some(0), Some(index), None, Some(path)) => Ok(Item::Inclusion { index, path }),
        (Some(1), None, Some(indices), Some(hashes)) => Ok(Item::Multiproof { indices, hashes }),
        (Some(2), None, None, Some(hashes)) => Ok(Item::Consistency(hashes)),
        _ => Err(reader.error_at(at, "a proof of unknown kind, or with the wrong keys")),
    }
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let at = reader.position();
    let (mut index, mut bytes, mut schema, mut groups) = (None, None, None, None);
    reader.fields(|reader, key| {
        match key {
            0 => index = Some(reader.uint()?),
            1 => bytes = Some(reader.bytes_of()?),
            2 => {
                let at = reader.position();
                let number = u16::try_from(reader.uint()?);
                schema = Some(number.map_err(|_| reader.error_at(at, "schema number beyond 16 bits"))?);
            }
            3 => {
                reader.array_of(GROUPS)?;
                let mut read = [Group::Missing(None); GROUPS];
                for slot in &mut read {
                    *slot = group(reader)?;
                }
                groups = Some(read);
            }
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    match (index, bytes, schema, groups) {
        (Some(index), Some(entry), Some(schema), Some(groups)) => {
            Ok(Item::Entry(Box::new(EntryItem { index, entry, schema, groups })))
        }
        _ => absent(reader, at),
    }
}

fn group<'a>(reader: &mut Reader<'a>) -> Result<Group<'a>> {
    let at = reader.position();
    let items = reader.array()?;
    let tag = if items == 0 { None } else { Some(reader.uint()?) };
    Ok(match (tag, items) {
        (Some(0), 3) => Group::Disclosed { salt: reader.bytes_of()?, bytes: reader.bytes()? },
        (Some(1), 2) => Group::Withheld(reader.bytes_of()?),
        (Some(2), 3) => Group::Erased { commitment: reader.bytes_of()?, by: reader.uint()? },
        (Some(3), 3) => Group::Retired { commitment: reader.bytes_of()?, by: reader.uint()? },
        (Some(4), 1) => Group::Missing(None),
        (Some(4), 2) => Group::Missing(Some(reader.bytes_of()?)),
        _ => return Err(reader.error_at(at, "a group in an unknown state")),
    })
}

fn body<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let at = reader.position();
    let (mut index, mut entry, mut body) = (None, None, None);
    reader.fields(|reader, key| {
        match key {
            0 => index = Some(reader.uint()?),
            1 => entry = Some(reader.bytes_of()?),
            2 => body = Some(reader.bytes()?),
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    match (index, entry) {
        (Some(index), Some(entry)) => Ok(Item::Body { index, entry, body }),
        _ => absent(reader, at),
    }
}

fn end<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>> {
    let at = reader.position();
    let (mut counts, mut digest) = (None, None);
    reader.fields(|reader, key| {
        match key {
            0 => {
                let mut read = [0; 6];
                reader.array_of(read.len())?;
                for count in &mut read {
                    *count = reader.uint()?;
                }
                counts = Some(read);
            }
            1 => digest = Some(reader.bytes_of()?),
            _ => return unknown(reader),
        }
        Ok(())
    })?;
    match (counts, digest) {
        (Some(counts), Some(digest)) => Ok(Item::End { counts, digest }),
        _ => absent(reader, at),
    }
}

fn chunks<'a, const N: usize>(reader: &mut Reader<'a>, rule: &'static str) -> Result<&'a [[u8; N]]> {
    let at = reader.position();
    let (chunks, rest) = reader.bytes()?.as_chunks();
    if rest.is_empty() { Ok(chunks) } else { Err(reader.error_at(at, rule)) }
}

fn unknown(reader: &Reader<'_>) -> Result<()> {
    Err(reader.error_at(reader.position(), "a key that this item does not have"))
}

fn absent<T>(reader: &Reader<'_>, at: usize) -> Result<T> {
    Err(reader.error_at(at, "a required key is absent"))
}
