//! Record batches of Kafka (magic 2): checked, unpacked, cut into records.
//!
//! Source: the Kafka documentation, "Record Batch". Packed by gzip, Snappy (bare or in the blocks of snappy-java) or
//! LZ4; zstd is not read here, and a batch of it, like any other that cannot be read, is given as a whole. Pure.
//! Invariants: the offset to go on at never points behind a record that was not given; what a batch unpacks to has a
//! bound; records of transactions that were aborted, and the markers of transactions, are left out and nothing else.

use super::lz4;
use super::wire::{Broken, Reader};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;

/// Most bytes that a batch may unpack to, and most times its size.
pub const UNPACKED_MAX: usize = 32 << 20;
/// See [`UNPACKED_MAX`].
pub const RATIO_MAX: usize = 1_000;
/// Most headers of a record that are kept.
pub const HEADERS_MAX: usize = 256;
/// Bytes of a batch before its length ends, and of its head.
const FRONT: usize = 12;
const HEAD: usize = 61;
/// Most offsets that a damaged batch is believed to span.
const SPAN_MAX: i64 = 1 << 20;
/// What snappy-java writes before its blocks.
const XERIAL: &[u8] = b"\x82SNAPPY\0";

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time, ms since 1970, of the producer or the broker.
    pub time: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its content; `None` = a tombstone: what the key named is gone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<(String, Bytes)>,
}

/// What a batch became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A record.
    Record(Record),
    /// A whole batch that cannot be read: its first offset, how many records it says it holds, why, and its bytes.
    Unread(i64, u32, &'static str, Bytes),
}

/// What was fetched of a partition, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In their order.
    pub pieces: Vec<Piece>,
    /// Where to go on.
    pub next: i64,
}

/// The head of a batch.
struct Head {
    base: i64,
    last: i64,
    attributes: i16,
    first_time: i64,
    max_time: i64,
    producer: i64,
    count: u32,
}

/// Reads what was fetched from `from` on. `aborted`: transactions to be left out, producer and first offset. A batch that
/// is cut at the end is left for the next fetch, and so is what comes after [`UNPACKED_MAX`] bytes of records.
pub fn read(mut bytes: Bytes, from: i64, aborted: &[(i64, i64)]) -> Taken {
    let mut taken = Taken { pieces: Vec::new(), next: from };
    let mut aborted: VecDeque<(i64, i64)> = {
        let mut sorted = aborted.to_vec();
        sorted.sort_by_key(|(_, first)| *first);
        sorted.into()
    };
    let mut gone: BTreeSet<i64> = BTreeSet::new();
    let mut given = 0;
    while let Some((base, length)) = front(&bytes).filter(|_| given < UNPACKED_MAX) {
        let Some(whole) = length.filter(|length| *length <= bytes.len()).map(|length| bytes.split_to(length))
        else {
            break;
        };
        let head = match head(&whole, base) {
            Ok(head) => head,
            Err((why, last)) => {
                taken.pieces.push(Piece::Unread(base, 1, why, whole));
                taken.next = taken.next.max(last).saturating_add(1);
                continue;
            }
        };
        while let Some((producer, _)) = aborted.pop_front_if(|(_, first)| *first <= head.last) {
            gone.insert(producer);
        }
        if head.attributes & 0x20 != 0 {
            // The marker that ends a transaction.
            gone.remove(&head.producer);
        } else if head.attributes & 0x10 == 0 || !gone.contains(&head.producer) {
            match records(&whole, &head) {
                Ok(records) => {
                    // A batch is given from its first record, whichever was asked for.
                    let new = records.into_iter().filter(|record| record.offset >= taken.next);
                    let new = new.inspect(|record| given += record.value.as_ref().map_or(0, Bytes::len));
                    taken.pieces.extend(new.map(Piece::Record));
                }
                Err(why) => taken.pieces.push(Piece::Unread(head.base, head.count, why, whole)),
            }
        }
        taken.next = taken.next.max(head.last.saturating_add(1));
    }
    taken
}

/// First offset of the batch, and its whole length; `None` = the length cannot be, or is not there.
fn front(bytes: &Bytes) -> Option<(i64, Option<usize>)> {
    let (base, rest) = bytes.split_first_chunk::<8>()?;
    let length = i32::from_be_bytes(*rest.first_chunk::<4>()?);
    let length = usize::try_from(length).ok().map(|length| length.saturating_add(FRONT));
    Some((i64::from_be_bytes(*base), length))
}

/// The head of a batch, or why it cannot be believed, and the last offset that is not to be asked for again.
fn head(whole: &Bytes, base: i64) -> Result<Head, (&'static str, i64)> {
    let magic = whole.get(16).copied();
    if magic != Some(2) {
        return Err(("its format is older than Kafka 0.11, or unknown", base));
    }
    let short = ("it is shorter than its head", base);
    if whole.len() < HEAD {
        return Err(short);
    }
    let mut reader = Reader::new(whole.slice(17..HEAD));
    let sum = reader.i32().map_err(|_| short)? as u32;
    let mut read = || -> Result<Head, Broken> {
        let (attributes, last) = (reader.i16()?, reader.i32()?);
        let (first_time, max_time, producer) = (reader.i64()?, reader.i64()?, reader.i64()?);
        reader.i16()?;
        reader.i32()?;
        let count = u32::try_from(reader.i32()?).unwrap_or(0);
        let last = base.saturating_add(i64::from(last.max(0)));
        Ok(Head { base, last, attributes, first_time, max_time, producer, count })
    };
    let head = read().map_err(|_| short)?;
    if sum != crc32c::crc32c(whole.get(21..).unwrap_or_default()) {
        // Its length may be wrong too; believed within reason, it is not asked for record by record.
        let last = if head.last - base <= SPAN_MAX { head.last } else { base };
        return Err(("its checksum does not hold", last));
    }
    Ok(head)
}

fn records(whole: &Bytes, head: &Head) -> Result<Vec<Record>, &'static str> {
    let packed = whole.slice(HEAD..);
    let most = UNPACKED_MAX.min(packed.len().saturating_mul(RATIO_MAX));
    let plain = match head.attributes & 7 {
        0 => packed,
        1 => gunzip(&packed, most)?.into(),
        2 => unsnappy(&packed, most)?.into(),
        3 => lz4::unpack(&packed, most).map_err(|fault| fault.rule)?.into(),
        4 => return Err("it is packed with zstd, which is not read here"),
        _ => return Err("it is packed in an unknown way"),
    };
    let mut reader = Reader::new(plain);
    let mut out = Vec::new();
    for _ in 0..head.count {
        out.push(record(&mut reader, head).map_err(|_| "a record in it is cut")?);
    }
    if reader.is_empty() { Ok(out) } else { Err("there is more in it than it says") }
}

fn record(reader: &mut Reader, head: &Head) -> Result<Record, Broken> {
    let length = usize::try_from(reader.varint()?).map_err(|_| Broken("a length is negative"))?;
    let mut own = Reader::new(reader.take(length)?);
    own.i8()?;
    let (time, offset) = (own.varint()?, own.varint()?);
    // By the broker's clock all have one time.
    let by_broker = head.attributes & 8 != 0;
    let time = if by_broker { head.max_time } else { head.first_time.saturating_add(time) };
    let offset = head.base.saturating_add(offset);
    if !(head.base..=head.last).contains(&offset) {
        return Err(Broken("an offset is outside of its batch"));
    }
    let (key, value) = (own.varbytes()?, own.varbytes()?);
    let mut headers = Vec::new();
    for _ in 0..own.varint()?.max(0) {
        let name = own.varbytes()?.unwrap_or_default();
        let value = own.varbytes()?.unwrap_or_default();
        if headers.len() < HEADERS_MAX {
            headers.push((String::from_utf8_lossy(&name).into_owned(), value));
        }
    }
    Ok(Record { offset, time, key, value, headers })
}

fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(packed).take(most as u64 + 1).read_to_end(&mut out);
    match read {
        Ok(_) if out.len() <= most => Ok(out),
        Ok(_) => Err("it unpacks to more than may be"),
        Err(_) => Err("its gzip is damaged"),
    }
}

fn unsnappy(packed: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
    let Some(rest) = packed.strip_prefix(XERIAL) else {
        return crate::snappy::unpack(packed, most).map_err(|fault| fault.rule);
    };
    // Two versions, then blocks with their lengths.
    let mut rest = rest.get(8..).ok_or("its Snappy is cut")?;
    let mut out = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind.split_at_checked(length).ok_or("its Snappy is cut")?;
        out.extend(crate::snappy::unpack(block, most - out.len()).map_err(|fault| fault.rule)?);
        rest = behind;
    }
    if rest.is_empty() { Ok(out) } else { Err("its Snappy is cut") }
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
