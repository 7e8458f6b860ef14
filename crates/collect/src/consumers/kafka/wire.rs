//! The Kafka protocol, a consumer's part: requests as bytes, answers read from bytes.
//!
//! Source: the Kafka protocol guide. Each request has one version, the oldest that says what is needed and that brokers
//! from 0.11 to 4.x speak, so nothing is negotiated. Sans I/O. Invariants: a list is never longer than the bytes that
//! are there allow; what is behind the last field is left alone, as newer brokers may say more.

use bytes::{Buf, Bytes};
use std::collections::BTreeMap;

/// Largest answer, bytes: what is asked for at once, and one batch that alone is larger.
pub const ANSWER_MAX: usize = 128 << 20;
/// Name that our requests carry.
const CLIENT: &str = "countersign";

/// A rule of the protocol that a broker's bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no Kafka: {0}")]
pub struct Broken(pub &'static str);

/// Writes requests.
#[derive(Debug)]
struct Writer(Vec<u8>);

impl Writer {
    fn request(key: i16, version: i16, number: i32) -> Writer {
        // The length is filled in at the end.
        let mut out = Writer(vec![0; 4]);
        out.i16(key);
        out.i16(version);
        out.i32(number);
        out.text(CLIENT);
        out
    }
    fn i8(&mut self, value: i8) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    /// Longer texts than the field can say are cut: no name of Kafka's is that long.
    fn text(&mut self, text: &str) {
        let bytes = text.as_bytes().get(..i16::MAX as usize).unwrap_or(text.as_bytes());
        self.i16(bytes.len() as i16);
        self.0.extend_from_slice(bytes);
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }
    fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
    fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        if let Some(front) = self.0.first_chunk_mut::<4>() {
            *front = length.to_be_bytes();
        }
        self.0
    }
    /// A list of partitions by topic, each written by `one`.
    fn partitions<T>(&mut self, topics: &[(String, Vec<T>)], mut one: impl FnMut(&mut Writer, &T)) {
        self.count(topics.len());
        for (topic, partitions) in topics {
            self.text(topic);
            self.count(partitions.len());
            partitions.iter().for_each(|partition| one(self, partition));
        }
    }
}

/// Reads answers.
#[derive(Debug)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Reader {
        Reader(bytes)
    }
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, Broken> {
        if length > self.0.len() { Err(Broken("it ends early")) } else { Ok(self.0.split_to(length)) }
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let out = *self.0.first_chunk::<N>().ok_or(Broken("it ends early"))?;
        self.0.advance(N);
        Ok(out)
    }
    pub(super) fn i8(&mut self) -> Result<i8, Broken> {
        self.array().map(i8::from_be_bytes)
    }
    pub(super) fn i16(&mut self) -> Result<i16, Broken> {
        self.array().map(i16::from_be_bytes)
    }
    pub(super) fn i32(&mut self) -> Result<i32, Broken> {
        self.array().map(i32::from_be_bytes)
    }
    pub(super) fn i64(&mut self) -> Result<i64, Broken> {
        self.array().map(i64::from_be_bytes)
    }
    /// A variable-length integer in zigzag form, at most 64 bits.
    pub(super) fn varint(&mut self) -> Result<i64, Broken> {
        let mut value = 0_u64;
        for place in 0..10 {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Broken("a number is too long"))
    }
    /// So many bytes as a variable-length number says; `None` = it says that there are none at all.
    pub(super) fn varbytes(&mut self) -> Result<Option<Bytes>, Broken> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Broken("a length is negative"))?;
                self.take(length).map(Some)
            }
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn rest(&mut self) -> Bytes {
        self.0.split_to(self.0.len())
    }
    /// A text, or `None` for none.
    fn text(&mut self) -> Result<Option<String>, Broken> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Broken("a length is negative"))?;
                Ok(Some(String::from_utf8_lossy(&self.take(length)?).into_owned()))
            }
        }
    }
    fn name(&mut self) -> Result<String, Broken> {
        self.text()?.ok_or(Broken("a name is missing"))
    }
    fn bytes(&mut self) -> Result<Option<Bytes>, Broken> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Broken("a length is negative"))?;
                self.take(length).map(Some)
            }
        }
    }
    /// A list; each of its parts takes at least a byte, so it ends.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Reader) -> Result<T, Broken>) -> Result<Vec<T>, Broken> {
        let count = self.i32()?;
        let mut out = Vec::new();
        for _ in 0..count.max(0) {
            out.push(one(self)?);
        }
        Ok(out)
    }
    /// Partitions by topic, as one list.
    fn partitions<T>(
        &mut self,
        mut one: impl FnMut(&mut Reader, &str) -> Result<T, Broken>,
    ) -> Result<Vec<T>, Broken> {
        let topics = self.list(|r| {
            let topic = r.name()?;
            r.list(|r| one(r, &topic))
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number there.
    pub id: i32,
}

/// The number of an answer's request, and what comes behind it.
///
/// # Errors
/// It is too short.
pub fn answer(frame: Bytes) -> Result<(i32, Bytes), Broken> {
    let mut reader = Reader::new(frame);
    Ok((reader.i32()?, reader.rest()))
}

/// `SaslHandshake` 1: the mechanism that is wanted.
pub fn sasl_handshake(number: i32, mechanism: &str) -> Vec<u8> {
    let mut out = Writer::request(17, 1, number);
    out.text(mechanism);
    out.done()
}

/// Its answer: an error, and the mechanisms that there are.
///
/// # Errors
/// See [`Broken`].
pub fn sasl_mechanisms(body: Bytes) -> Result<(i16, Vec<String>), Broken> {
    let mut reader = Reader::new(body);
    Ok((reader.i16()?, reader.list(Reader::name)?))
}

/// `SaslAuthenticate` 0: a message of the mechanism.
pub fn sasl_authenticate(number: i32, message: &[u8]) -> Vec<u8> {
    let mut out = Writer::request(36, 0, number);
    out.bytes(message);
    out.done()
}

/// Its answer: an error, the same in words, and the broker's message of the mechanism.
///
/// # Errors
/// See [`Broken`].
pub fn sasl_answer(body: Bytes) -> Result<(i16, String, Bytes), Broken> {
    let mut reader = Reader::new(body);
    Ok((reader.i16()?, reader.text()?.unwrap_or_default(), reader.bytes()?.unwrap_or_default()))
}

/// What there is: brokers and the partitions they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Brokers: id, host, port.
    pub brokers: Vec<(i32, String, i32)>,
    /// Topics that were asked for.
    pub topics: Vec<Topic>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// 0 = none.
    pub error: i16,
    /// Partitions: number, error, leader's id.
    pub partitions: Vec<(i32, i16, i32)>,
}

/// `Metadata` 4: about these topics, none of which is made by asking.
pub fn metadata(number: i32, topics: &[String]) -> Vec<u8> {
    let mut out = Writer::request(3, 4, number);
    out.count(topics.len());
    topics.iter().for_each(|topic| out.text(topic));
    out.i8(0);
    out.done()
}

/// Its answer.
///
/// # Errors
/// See [`Broken`].
pub fn read_metadata(body: Bytes) -> Result<Metadata, Broken> {
    let mut reader = Reader::new(body);
    reader.i32()?;
    let brokers = reader.list(|r| {
        let broker = (r.i32()?, r.name()?, r.i32()?);
        r.text()?;
        Ok(broker)
    })?;
    reader.text()?;
    reader.i32()?;
    let topics = reader.list(|r| {
        let (error, name) = (r.i16()?, r.name()?);
        r.i8()?;
        let partitions = r.list(|r| {
            let (error, id, leader) = (r.i16()?, r.i32()?, r.i32()?);
            r.list(Reader::i32)?;
            r.list(Reader::i32)?;
            Ok((id, error, leader))
        })?;
        Ok(Topic { name, error, partitions })
    })?;
    Ok(Metadata { brokers, topics })
}

/// `FindCoordinator` 0: who keeps the offsets of `group`.
pub fn find_coordinator(number: i32, group: &str) -> Vec<u8> {
    let mut out = Writer::request(10, 0, number);
    out.text(group);
    out.done()
}

/// Its answer: an error, host, port.
///
/// # Errors
/// See [`Broken`].
pub fn coordinator(body: Bytes) -> Result<(i16, String, i32), Broken> {
    let mut reader = Reader::new(body);
    let error = reader.i16()?;
    reader.i32()?;
    Ok((error, reader.name()?, reader.i32()?))
}

/// Partitions with what is said of each, by topic.
fn by_topic<T: Clone>(of: &[(Partition, T)]) -> Vec<(String, Vec<(i32, T)>)> {
    // Each topic once: a broker may take the last of two.
    let mut out: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (Partition { topic, id }, what) in of {
        out.entry(topic.clone()).or_default().push((*id, what.clone()));
    }
    out.into_iter().collect()
}

/// `OffsetFetch` 1: what `group` has committed.
pub fn offset_fetch(number: i32, group: &str, of: &[(Partition, ())]) -> Vec<u8> {
    let mut out = Writer::request(9, 1, number);
    out.text(group);
    out.partitions(&by_topic(of), |out, (id, ())| out.i32(*id));
    out.done()
}

/// Its answer: offset (-1 = none) and error of each.
///
/// # Errors
/// See [`Broken`].
pub fn committed(body: Bytes) -> Result<Vec<(Partition, i64, i16)>, Broken> {
    Reader::new(body).partitions(|r, topic| {
        let (id, offset) = (r.i32()?, r.i64()?);
        r.text()?;
        Ok((Partition { topic: topic.to_owned(), id }, offset, r.i16()?))
    })
}

/// `OffsetCommit` 2, by a consumer that is no member of a group: these offsets are the next to be read.
pub fn offset_commit(number: i32, group: &str, of: &[(Partition, i64)]) -> Vec<u8> {
    let mut out = Writer::request(8, 2, number);
    out.text(group);
    out.i32(-1);
    out.text("");
    out.i64(-1);
    out.partitions(&by_topic(of), |out, (id, offset)| {
        out.i32(*id);
        out.i64(*offset);
        out.text("");
    });
    out.done()
}

/// Its answer: the error of each.
///
/// # Errors
/// See [`Broken`].
pub fn commit_answer(body: Bytes) -> Result<Vec<(Partition, i16)>, Broken> {
    Reader::new(body).partitions(|r, topic| {
        let partition = Partition { topic: topic.to_owned(), id: r.i32()? };
        Ok((partition, r.i16()?))
    })
}

/// The time that stands for the oldest offset.
pub const EARLIEST: i64 = -2;

/// `ListOffsets` 1: the offset at a time.
pub fn list_offsets(number: i32, of: &[(Partition, i64)]) -> Vec<u8> {
    let mut out = Writer::request(2, 1, number);
    out.i32(-1);
    out.partitions(&by_topic(of), |out, (id, time)| {
        out.i32(*id);
        out.i64(*time);
    });
    out.done()
}

/// Its answer: error and offset of each.
///
/// # Errors
/// See [`Broken`].
pub fn offsets(body: Bytes) -> Result<Vec<(Partition, i16, i64)>, Broken> {
    Reader::new(body).partitions(|r, topic| {
        let (id, error) = (r.i32()?, r.i16()?);
        r.i64()?;
        Ok((Partition { topic: topic.to_owned(), id }, error, r.i64()?))
    })
}

/// `Fetch` 4, of what is committed: wait at most so many ms for at least a byte; bytes at most in all, and of each.
pub fn fetch(number: i32, wait_ms: i32, most: i32, each: i32, of: &[(Partition, i64)]) -> Vec<u8> {
    let mut out = Writer::request(1, 4, number);
    out.i32(-1);
    out.i32(wait_ms);
    out.i32(1);
    out.i32(most);
    out.i8(1);
    out.partitions(&by_topic(of), |out, (id, offset)| {
        out.i32(*id);
        out.i64(*offset);
        out.i32(each);
    });
    out.done()
}

/// What was fetched of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Of which.
    pub partition: Partition,
    /// 0 = none.
    pub error: i16,
    /// Transactions that were aborted: producer, and first offset.
    pub aborted: Vec<(i64, i64)>,
    /// Record batches; the last may be cut.
    pub records: Bytes,
}

/// Its answer.
///
/// # Errors
/// See [`Broken`].
pub fn fetched(body: Bytes) -> Result<Vec<Fetched>, Broken> {
    let mut reader = Reader::new(body);
    reader.i32()?;
    reader.partitions(|r, topic| {
        let (id, error) = (r.i32()?, r.i16()?);
        r.i64()?;
        r.i64()?;
        let aborted = r.list(|r| Ok((r.i64()?, r.i64()?)))?;
        let records = r.bytes()?.unwrap_or_default();
        Ok(Fetched { partition: Partition { topic: topic.to_owned(), id }, error, aborted, records })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, id: i32) -> Partition {
        Partition { topic: topic.into(), id }
    }

    #[test]
    fn requests_are_spelled_as_the_guide_says() {
        let bytes =
            offset_commit(7, "g", &[(partition("t", 1), 9), (partition("u", 0), 1), (partition("t", 2), 8)]);
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(&bytes[4..12], [0, 8, 0, 2, 0, 0, 0, 7]);
        let front =
            [0, 1, b'g', 0xff, 0xff, 0xff, 0xff, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2];
        assert_eq!(&bytes[12 + 13..12 + 13 + front.len()], front);
        let mut reader = Reader::new(Bytes::from(bytes).slice(12 + 13 + 17..));
        let read = reader.partitions(|r, topic| {
            let (id, offset) = (r.i32()?, r.i64()?);
            r.text()?;
            Ok((partition(topic, id), offset))
        });
        assert_eq!(read, Ok(vec![(partition("t", 1), 9), (partition("t", 2), 8), (partition("u", 0), 1)]));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_list_that_says_it_is_endless_ends_with_its_bytes() {
        let endless = Bytes::from_static(&[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);
        assert_eq!(fetched(endless), Err(Broken("it ends early")));
        assert_eq!(sasl_mechanisms(Bytes::from_static(&[0, 0, 0xff, 0xff, 0xff, 0xff])), Ok((0, vec![])));
    }

    #[test]
    fn numbers_of_variable_length_are_read_and_endless_ones_are_not() {
        let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).varint();
        assert_eq!(
            (read(&[0]), read(&[1]), read(&[2]), read(&[0xac, 0x02])),
            (Ok(0), Ok(-1), Ok(1), Ok(150))
        );
        let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(Bytes::copy_from_slice(&most)).varint(), Ok(i64::MAX));
        assert!(read(&[0x80; 11]).is_err());
    }
}
