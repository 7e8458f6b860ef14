//! Bodies of the ledger's own entries: deterministic CBOR maps with unsigned keys, kept in clear, no
//! personal data. `docs/reference/data-directory.md` has the key tables; keys are append-only.

use crate::{GapReason, SealedSegment};
use countersign_event::cbor::{Reader, Value, encode};
use countersign_proof::Hash;
use std::collections::BTreeMap;

/// Most per-source ranges in a manifest; a segment with more sources states none.
pub const RANGES_MAX: usize = 1024;
/// Bytes in front of what a source signs.
pub const SOURCE_DOMAIN: &[u8] = b"countersign/source/1\n";

/// SOURCE_REG: a capture point in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReg {
    /// 0: registration number.
    pub source_ref: u32,
    /// 1: agent of its events.
    pub identity: String,
    /// 2: its run.
    pub stream: [u8; 16],
    /// 3: how many runs of this identity there were, plus one.
    pub boot_epoch: u64,
    /// 4: Ed25519 key of this run.
    pub public_key: [u8; 32],
    /// 5: registration number of the run before.
    pub previous: Option<u32>,
    /// 6: longest time between heartbeats, seconds.
    pub heartbeat_s: u64,
    /// 7: for a source that another log numbers (an edge's): the origin of that log.
    pub via: Option<String>,
    /// 8: last number before this registration, where the run was registered before; its numbers go on.
    pub after: u64,
}

/// SOURCE_CKPT: a heartbeat over a window of sequence numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCkpt {
    /// 0: registration number.
    pub source_ref: u32,
    /// 1: first sequence number of the window (one past the last if the window is empty).
    pub first_seq: u64,
    /// 2: last sequence number given out so far.
    pub last_seq: u64,
    /// 3: events presented in the window.
    pub seen: u64,
    /// 4: events sent to the log in the window.
    pub sent: u64,
    /// 5: events refused, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// 6: events dropped, by number of [`GapReason`].
    pub dropped: BTreeMap<u64, u64>,
    /// 7: running-hash algorithm: 1 = SHA-256 chain over commitments.
    pub alg: u64,
    /// 8: running hash since the registration.
    pub chain: [u8; 32],
    /// 9: last heartbeat of this run.
    pub last: bool,
    /// 10: Ed25519 signature by the key of the run over [`SOURCE_DOMAIN`] and this body without key 10.
    pub signature: Vec<u8>,
}

impl SourceCkpt {
    /// The rule of conservation: seen = sent + rejected + dropped.
    pub fn adds_up(&self) -> bool {
        let all = self.rejected.values().chain(self.dropped.values()).chain([&self.sent]);
        let sum = all.copied().try_fold(0u64, u64::checked_add);
        sum == Some(self.seen)
    }
}

/// GAP: a named loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// 0: registration number.
    pub source_ref: u32,
    /// 1: first missing sequence number, if known.
    pub first_seq: Option<u64>,
    /// 2: last missing sequence number, if known.
    pub last_seq: Option<u64>,
    /// 3: why.
    pub reason: GapReason,
    /// 4: how many.
    pub count: u64,
    /// 5: whether the count is known.
    pub exact: bool,
    /// 6: who declares it: 0 = the ledger, else the source itself.
    pub declared_by: u32,
}

/// SEGMENT_MANIFEST: a sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// 0 first, 1 end, 2 version, 3 file digest, 4 file length, 6 and 7 times, 8 roots.
    pub segment: SealedSegment,
    /// 5: commits to the data key.
    pub key_check: [u8; 32],
    /// 9: per source: registration number, first and last sequence number, count. Empty if over [`RANGES_MAX`].
    pub ranges: Vec<(u32, u64, u64, u64)>,
}

fn map(fields: Vec<(u64, Value)>) -> Vec<u8> {
    let pairs = fields.into_iter().map(|(key, value)| (Value::Uint(key), value)).collect();
    // Keys are distinct and the nesting is three at most, so that encoding cannot fail.
    encode(&Value::Map(pairs)).unwrap_or_default()
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

impl SourceReg {
    /// The body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut fields = vec![
            (0, Value::Uint(self.source_ref.into())),
            (1, Value::Text(self.identity.clone())),
            (2, bytes(&self.stream)),
            (3, Value::Uint(self.boot_epoch)),
            (4, bytes(&self.public_key)),
        ];
        if let Some(previous) = self.previous {
            fields.push((5, Value::Uint(previous.into())));
        }
        fields.push((6, Value::Uint(self.heartbeat_s)));
        fields.extend(self.via.as_ref().map(|via| (7, Value::Text(via.clone()))));
        if self.after > 0 {
            fields.push((8, Value::Uint(self.after)));
        }
        map(fields)
    }
}

impl SourceCkpt {
    fn fields(&self) -> Vec<(u64, Value)> {
        let pair = |key: Value, n: &u64| (key, Value::Uint(*n));
        vec![
            (0, Value::Uint(self.source_ref.into())),
            (1, Value::Uint(self.first_seq)),
            (2, Value::Uint(self.last_seq)),
            (3, Value::Uint(self.seen)),
            (4, Value::Uint(self.sent)),
            (5, Value::Map(self.rejected.iter().map(|(why, n)| pair(Value::Text(why.clone()), n)).collect())),
            (6, Value::Map(self.dropped.iter().map(|(why, n)| pair(Value::Uint(*why), n)).collect())),
            (7, Value::Uint(self.alg)),
            (8, bytes(&self.chain)),
            (9, Value::Bool(self.last)),
        ]
    }
    /// What the source signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = SOURCE_DOMAIN.to_vec();
        out.extend_from_slice(&map(self.fields()));
        out
    }
    /// The body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut fields = self.fields();
        fields.push((10, bytes(&self.signature)));
        map(fields)
    }
}

impl Gap {
    /// The body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut fields = vec![(0, Value::Uint(self.source_ref.into()))];
        fields.extend(self.first_seq.map(|seq| (1, Value::Uint(seq))));
        fields.extend(self.last_seq.map(|seq| (2, Value::Uint(seq))));
        fields.push((3, Value::Uint(self.reason as u64)));
        fields.push((4, Value::Uint(self.count)));
        fields.push((5, Value::Bool(self.exact)));
        fields.push((6, Value::Uint(self.declared_by.into())));
        map(fields)
    }
}

impl Manifest {
    /// The body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let s = &self.segment;
        let range = |(source, first, last, count): &(u32, u64, u64, u64)| {
            Value::Array(vec![(*source as u64).into(), (*first).into(), (*last).into(), (*count).into()])
        };
        map(vec![
            (0, Value::Uint(s.first)),
            (1, Value::Uint(s.end)),
            (2, Value::Uint(s.version.into())),
            (3, bytes(&s.file_digest)),
            (4, Value::Uint(s.file_len)),
            (5, bytes(&self.key_check)),
            (6, s.min_time.into()),
            (7, s.max_time.into()),
            (8, Value::Array(s.roots.iter().map(|root| bytes(root)).collect())),
            (9, Value::Array(self.ranges.iter().map(range).collect())),
        ])
    }
}

/// SCHEMA: 0 number, 1 full text.
pub fn schema_body(number: u16, text: &str) -> Vec<u8> {
    map(vec![(0, Value::Uint(number.into())), (1, text.into())])
}

/// KEY_EVENT that adds a key: 0 what (1 = log key), 1 action (1 = add), 2 its C2SP verifier key.
pub fn key_added_body(vkey: &str) -> Vec<u8> {
    map(vec![(0, Value::Uint(1)), (1, Value::Uint(1)), (2, vkey.into())])
}

/// CONFIG: 0 digest, 1 version.
pub fn config_body(digest: [u8; 32], version: &str) -> Vec<u8> {
    map(vec![(0, bytes(&digest)), (1, version.into())])
}

/// Reads a body's map; unknown keys are skipped, which is how later versions add fields.
fn read(body: &[u8], mut field: impl FnMut(u64, Value) -> Option<()>) -> Option<()> {
    let mut reader = Reader::new(body);
    let mut good = true;
    reader
        .fields(|reader, key| {
            let value = reader.value()?;
            good &= field(key, value).is_some();
            Ok(())
        })
        .ok()?;
    reader.end().ok()?;
    good.then_some(())
}

fn fixed<const N: usize>(value: &Value) -> Option<[u8; N]> {
    value.as_bytes()?.try_into().ok()
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_uint()?).ok()
}

impl SourceReg {
    /// From a body; `None` if a field is missing or of the wrong shape.
    pub fn parse(body: &[u8]) -> Option<SourceReg> {
        let (mut source_ref, mut identity, mut stream, mut epoch, mut public) =
            (None, None, None, None, None);
        let (mut previous, mut heartbeat, mut via, mut after) = (None, None, None, 0);
        read(body, |key, value| {
            match key {
                0 => source_ref = Some(number(&value)?),
                1 => identity = Some(value.as_text()?.to_owned()),
                2 => stream = Some(fixed(&value)?),
                3 => epoch = Some(number(&value)?),
                4 => public = Some(fixed(&value)?),
                5 => previous = Some(number(&value)?),
                6 => heartbeat = Some(number(&value)?),
                7 => via = Some(value.as_text()?.to_owned()),
                8 => after = number(&value)?,
                _ => {}
            }
            Some(())
        })?;
        Some(SourceReg {
            source_ref: source_ref?,
            identity: identity?,
            stream: stream?,
            boot_epoch: epoch?,
            public_key: public?,
            previous,
            heartbeat_s: heartbeat?,
            via,
            after,
        })
    }
}

impl SourceCkpt {
    /// From a body; `None` if a field is of the wrong shape.
    pub fn parse(body: &[u8]) -> Option<SourceCkpt> {
        let mut ckpt = SourceCkpt::default();
        read(body, |key, value| {
            match key {
                0 => ckpt.source_ref = number(&value)?,
                1 => ckpt.first_seq = number(&value)?,
                2 => ckpt.last_seq = number(&value)?,
                3 => ckpt.seen = number(&value)?,
                4 => ckpt.sent = number(&value)?,
                5 => ckpt.rejected = counts(value, |key| key.as_text().map(str::to_owned))?,
                6 => ckpt.dropped = counts(value, Value::as_uint)?,
                7 => ckpt.alg = number(&value)?,
                8 => ckpt.chain = fixed(&value)?,
                9 => ckpt.last = matches!(value, Value::Bool(true)),
                10 => ckpt.signature = value.as_bytes()?.to_vec(),
                _ => {}
            }
            Some(())
        })?;
        Some(ckpt)
    }
}

fn counts<K: Ord>(value: Value, key: impl Fn(&Value) -> Option<K>) -> Option<BTreeMap<K, u64>> {
    let Value::Map(pairs) = value else { return None };
    pairs.iter().map(|(k, n)| Some((key(k)?, n.as_uint()?))).collect()
}

impl Gap {
    /// From a body; `None` if a field is missing or of the wrong shape.
    pub fn parse(body: &[u8]) -> Option<Gap> {
        let (mut source_ref, mut first, mut last, mut reason, mut count) = (None, None, None, None, None);
        let (mut exact, mut by) = (false, None);
        read(body, |key, value| {
            match key {
                0 => source_ref = Some(number(&value)?),
                1 => first = Some(number(&value)?),
                2 => last = Some(number(&value)?),
                3 => reason = Some(GapReason::from_number(value.as_uint()?)?),
                4 => count = Some(number(&value)?),
                5 => exact = matches!(value, Value::Bool(true)),
                6 => by = Some(number(&value)?),
                _ => {}
            }
            Some(())
        })?;
        Some(Gap {
            source_ref: source_ref?,
            first_seq: first,
            last_seq: last,
            reason: reason?,
            count: count?,
            exact,
            declared_by: by?,
        })
    }
}

impl Manifest {
    /// From a body; `None` if a field is missing or of the wrong shape.
    pub fn parse(body: &[u8]) -> Option<Manifest> {
        let (mut first, mut end, mut version, mut digest, mut len) = (None, None, None, None, None);
        let (mut check, mut min, mut max, mut roots, mut ranges) = (None, None, None, None, Vec::new());
        read(body, |key, value| {
            match key {
                0 => first = Some(number(&value)?),
                1 => end = Some(number(&value)?),
                2 => version = Some(number(&value)?),
                3 => digest = Some(fixed(&value)?),
                4 => len = Some(number(&value)?),
                5 => check = Some(fixed(&value)?),
                6 => min = Some(value.as_int()?),
                7 => max = Some(value.as_int()?),
                8 => roots = Some(value.as_array()?.iter().map(fixed).collect::<Option<Vec<Hash>>>()?),
                9 => ranges = value.as_array()?.iter().map(range).collect::<Option<Vec<_>>>()?,
                _ => {}
            }
            Some(())
        })?;
        let segment = SealedSegment {
            first: first?,
            end: end?,
            version: version?,
            file_digest: digest?,
            file_len: len?,
            min_time: min?,
            max_time: max?,
            roots: roots?,
        };
        (segment.first < segment.end).then_some(())?;
        Some(Manifest { segment, key_check: check?, ranges })
    }
}

fn range(value: &Value) -> Option<(u32, u64, u64, u64)> {
    match value.as_array()? {
        [source, first, last, count] => {
            Some((number(source)?, number(first)?, number(last)?, number(count)?))
        }
        _ => None,
    }
}
