//! Bodies of log entries that are not events, as far as a verifier has to understand them.
//!
//! Deterministic CBOR maps with unsigned keys (`docs/reference/evidence.md`). Unknown keys are skipped,
//! so that a later version may say more; what is known must be well-formed. No personal data, ever.

use crate::Error;
use countersign_event::cbor::{self, CborError, Reader, Value, Writer};

/// Largest body of an entry in bytes.
pub const BODY_MAX: usize = 64 << 10;

/// Why something was lost, in a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// Intake was full for longer than its bound.
    Overload = 1,
    /// No space was left.
    DiskFull = 2,
    /// The process died with records not yet durable.
    Crash = 3,
    /// Acknowledged records were cut by a torn write.
    LostAfterAck = 4,
    /// A number never arrived.
    Unexplained = 5,
    /// The source itself declared it.
    SourceDeclared = 6,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [GapReason; 6] = [
        GapReason::Overload,
        GapReason::DiskFull,
        GapReason::Crash,
        GapReason::LostAfterAck,
        GapReason::Unexplained,
        GapReason::SourceDeclared,
    ];

    /// From the number in the body.
    pub fn from_number(number: u64) -> Option<GapReason> {
        GapReason::ALL.into_iter().find(|reason| *reason as u64 == number)
    }

    /// The name used by commands and tables.
    pub fn name(self) -> &'static str {
        match self {
            GapReason::Overload => "overload",
            GapReason::DiskFull => "disk_full",
            GapReason::Crash => "crash",
            GapReason::LostAfterAck => "lost_after_ack",
            GapReason::Unexplained => "unexplained",
            GapReason::SourceDeclared => "source_declared",
        }
    }
}

/// SOURCE_REG: who speaks under a source_ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReg {
    /// The number its entries carry.
    pub source_ref: u32,
    /// The agent of its events.
    pub identity: String,
    /// Its run: the stream of its events.
    pub stream: [u8; 16],
    /// How many runs of this identity there were, plus one.
    pub boot_epoch: u64,
    /// Ed25519 key of its heartbeats.
    pub public_key: [u8; 32],
    /// The same capture point's number before its restart.
    pub previous: Option<u32>,
    /// Promised time between heartbeats, in seconds.
    pub heartbeat_s: u64,
}

impl SourceReg {
    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.map(6 + usize::from(self.previous.is_some()));
        field_uint(&mut out, 0, self.source_ref.into());
        out.uint(1);
        out.text(&self.identity);
        out.uint(2);
        out.bytes(&self.stream);
        field_uint(&mut out, 3, self.boot_epoch);
        out.uint(4);
        out.bytes(&self.public_key);
        if let Some(previous) = self.previous {
            field_uint(&mut out, 5, previous.into());
        }
        field_uint(&mut out, 6, self.heartbeat_s);
        out.into_bytes()
    }

    /// From the body's bytes.
    pub fn decode(bytes: &[u8]) -> Result<SourceReg, Error> {
        let (mut source_ref, mut identity, mut stream, mut key) = (None, None, None, None);
        let (mut epoch, mut previous, mut heartbeat) = (None, None, None);
        read("source registration", bytes, |reader, field| {
            match field {
                0 => source_ref = Some(small(reader)?),
                1 => identity = Some(reader.text()?.to_owned()),
                2 => stream = Some(reader.bytes_of()?),
                3 => epoch = Some(reader.uint()?),
                4 => key = Some(reader.bytes_of()?),
                5 => previous = Some(small(reader)?),
                6 => heartbeat = Some(reader.uint()?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        let make = || {
            Some(SourceReg {
                source_ref: source_ref?,
                identity: identity?,
                stream: stream?,
                boot_epoch: epoch?,
                public_key: key?,
                previous,
                heartbeat_s: heartbeat?,
            })
        };
        make().ok_or_else(|| Error::malformed("source registration", "a required key is absent"))
    }
}

/// SOURCE_CKPT: a heartbeat over a window of sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCkpt {
    /// Whose.
    pub source_ref: u32,
    /// First number of the window.
    pub first_seq: u64,
    /// Last number given out so far.
    pub last_seq: u64,
    /// Events presented in the window.
    pub seen: u64,
    /// Of these, sent to the log, refused, and dropped.
    pub sent: u64,
    /// Refused, over all reasons.
    pub rejected: u64,
    /// Dropped, over all reasons.
    pub dropped: u64,
    /// Ed25519 signature of the source over [`SourceCkpt::signed`].
    pub signature: [u8; 64],
    /// What the source signed: [`SOURCE_DOMAIN`] and the body without its signature.
    pub signed: Vec<u8>,
}

/// Bytes in front of what a source signs.
pub const SOURCE_DOMAIN: &[u8] = b"countersign/source/1\n";

impl SourceCkpt {
    /// From the body's bytes.
    pub fn decode(bytes: &[u8]) -> Result<SourceCkpt, Error> {
        const WHAT: &str = "heartbeat";
        if bytes.len() > BODY_MAX {
            return Err(Error::Limit { what: "body of an entry in bytes", max: BODY_MAX as u64 });
        }
        let bad = |error: CborError| Error::malformed(WHAT, error.to_string());
        let Value::Map(mut pairs) = cbor::decode(bytes).map_err(bad)? else {
            return Err(Error::malformed(WHAT, "not a map"));
        };
        let at =
            |key: u64| pairs.iter().find(|(known, _)| *known == Value::Uint(key)).map(|(_, value)| value);
        let uint = |key: u64| at(key).and_then(Value::as_uint);
        let sum = |key: u64| match at(key) {
            Some(Value::Map(counts)) => {
                counts.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(count.as_uint()?))
            }
            _ => None,
        };
        let make = || {
            Some(SourceCkpt {
                source_ref: u32::try_from(uint(0)?).ok()?,
                first_seq: uint(1)?,
                last_seq: uint(2)?,
                seen: uint(3)?,
                sent: uint(4)?,
                rejected: sum(5)?,
                dropped: sum(6)?,
                signature: at(10)?.as_bytes()?.try_into().ok()?,
                signed: SOURCE_DOMAIN.to_vec(),
            })
        };
        let mut heartbeat =
            make().ok_or_else(|| Error::malformed(WHAT, "a required key is absent or too large"))?;
        pairs.retain(|(key, _)| *key != Value::Uint(10));
        heartbeat.signed.extend(cbor::encode(&Value::Map(pairs)).map_err(bad)?);
        Ok(heartbeat)
    }

    /// The rule of conservation: seen = sent + rejected + dropped.
    pub fn adds_up(&self) -> bool {
        self.sent.checked_add(self.rejected).and_then(|sum| sum.checked_add(self.dropped)) == Some(self.seen)
    }

    /// Whether the source of this Ed25519 key signed it.
    pub fn is_signed_by(&self, public_key: &[u8; 32]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        ed25519_dalek::VerifyingKey::from_bytes(public_key)
            .is_ok_and(|key| !key.is_weak() && key.verify_strict(&self.signed, &signature).is_ok())
    }
}

/// GAP: something is known to be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose records.
    pub source_ref: u32,
    /// First and last missing sequence number; `None` if either is unknown: such a gap excuses no hole.
    pub range: Option<(u64, u64)>,
    /// Why.
    pub reason: GapReason,
    /// How many.
    pub count: u64,
    /// Whether `count` is exact rather than an estimate.
    pub exact: bool,
    /// Who declares it: 0 = the ledger, else the source of this number.
    pub declared_by: u32,
}

impl Gap {
    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        out.map(if self.range.is_some() { 7 } else { 5 });
        field_uint(&mut out, 0, self.source_ref.into());
        if let Some((first, last)) = self.range {
            field_uint(&mut out, 1, first);
            field_uint(&mut out, 2, last);
        }
        field_uint(&mut out, 3, self.reason as u64);
        field_uint(&mut out, 4, self.count);
        out.uint(5);
        out.bool(self.exact);
        field_uint(&mut out, 6, self.declared_by.into());
        out.into_bytes()
    }

    /// From the body's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Gap, Error> {
        let (mut source_ref, mut first, mut last, mut reason) = (None, None, None, None);
        let (mut count, mut exact, mut by) = (None, None, None);
        read("gap", bytes, |reader, field| {
            match field {
                0 => source_ref = Some(small(reader)?),
                1 => first = Some(reader.uint()?),
                2 => last = Some(reader.uint()?),
                3 => reason = GapReason::from_number(reader.uint()?),
                4 => count = Some(reader.uint()?),
                5 => exact = Some(reader.bool()?),
                6 => by = Some(small(reader)?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        let range = match (first, last) {
            // A source that died without a count of what it owed: where its loss begins is known, its end is not.
            (None, None) | (Some(_), None) => None,
            (Some(first), Some(last)) if first <= last => Some((first, last)),
            _ => return Err(Error::malformed("gap", "first and last are not a range")),
        };
        let make = || {
            Some(Gap {
                source_ref: source_ref?,
                range,
                reason: reason?,
                count: count?,
                exact: exact?,
                declared_by: by?,
            })
        };
        make().ok_or_else(|| Error::malformed("gap", "a required key is absent or unknown"))
    }
}

/// ERASE: groups of these leaves were erased on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// Leaf ranges, end exclusive.
    pub ranges: Vec<(u64, u64)>,
    /// Bit `g` = group `g`.
    pub mask: u8,
    /// Code of the legal ground.
    pub ground: String,
    /// Pseudonymous ids of the approvers.
    pub approvers: Vec<String>,
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

impl Erase {
    /// Whether it names this group of this leaf.
    pub fn covers(&self, index: u64, group: u8) -> bool {
        u32::from(self.mask).checked_shr(group.into()).is_some_and(|bits| bits & 1 == 1)
            && self.ranges.iter().any(|(first, end)| (*first..*end).contains(&index))
    }

    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.map(5);
        out.uint(0);
        out.array(self.ranges.len());
        for (first, end) in &self.ranges {
            out.array(2);
            out.uint(*first);
            out.uint(*end);
        }
        field_uint(&mut out, 1, self.mask.into());
        out.uint(2);
        out.text(&self.ground);
        out.uint(3);
        out.array(self.approvers.len());
        for approver in &self.approvers {
            out.text(approver);
        }
        out.uint(4);
        out.bytes(&self.request);
        out.into_bytes()
    }

    /// From the body's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Erase, Error> {
        let (mut ranges, mut mask, mut ground, mut request) = (Vec::new(), None, None, None);
        let mut approvers = Vec::new();
        read("erasure", bytes, |reader, field| {
            match field {
                0 => {
                    for _ in 0..reader.array()? {
                        reader.array_of(2)?;
                        ranges.push((reader.uint()?, reader.uint()?));
                    }
                }
                1 => mask = u8::try_from(reader.uint()?).ok(),
                2 => ground = Some(reader.text()?.to_owned()),
                3 => {
                    for _ in 0..reader.array()? {
                        approvers.push(reader.text()?.to_owned());
                    }
                }
                4 => request = Some(reader.bytes_of()?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        let make = || Some(Erase { ranges, mask: mask?, ground: ground?, approvers, request: request? });
        make().ok_or_else(|| Error::malformed("erasure", "a required key is absent"))
    }
}

/// RETIRE: contents or entries of these leaves were removed at policy age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Id of the retention policy.
    pub policy: String,
    /// First leaf.
    pub first: u64,
    /// One past the last leaf.
    pub end: u64,
    /// RFC 6962 hash of that range.
    pub root: [u8; 32],
    /// What was removed: 0 contents, 1 entries too.
    pub level: u64,
    /// That no legal hold covered the range.
    pub no_hold: bool,
}

impl Retire {
    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(96);
        out.map(6);
        out.uint(0);
        out.text(&self.policy);
        field_uint(&mut out, 1, self.first);
        field_uint(&mut out, 2, self.end);
        out.uint(3);
        out.bytes(&self.root);
        field_uint(&mut out, 4, self.level);
        out.uint(5);
        out.bool(self.no_hold);
        out.into_bytes()
    }

    /// From the body's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Retire, Error> {
        let (mut policy, mut first, mut end) = (None, None, None);
        let (mut root, mut level, mut no_hold) = (None, None, None);
        read("retirement", bytes, |reader, field| {
            match field {
                0 => policy = Some(reader.text()?.to_owned()),
                1 => first = Some(reader.uint()?),
                2 => end = Some(reader.uint()?),
                3 => root = Some(reader.bytes_of()?),
                4 => level = Some(reader.uint()?),
                5 => no_hold = Some(reader.bool()?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        let make = || {
            Some(Retire {
                policy: policy?,
                first: first?,
                end: end?,
                root: root?,
                level: level?,
                no_hold: no_hold?,
            })
        };
        make().ok_or_else(|| Error::malformed("retirement", "a required key is absent"))
    }
}

fn field_uint(out: &mut Writer, key: u64, value: u64) {
    out.uint(key);
    out.uint(value);
}

fn small(reader: &mut Reader<'_>) -> Result<u32, CborError> {
    let at = reader.position();
    u32::try_from(reader.uint()?).map_err(|_| reader.error_at(at, "number beyond 32 bits"))
}

fn read(
    what: &'static str,
    bytes: &[u8],
    field: impl FnMut(&mut Reader<'_>, u64) -> Result<(), CborError>,
) -> Result<(), Error> {
    if bytes.len() > BODY_MAX {
        return Err(Error::Limit { what: "body of an entry in bytes", max: BODY_MAX as u64 });
    }
    let mut reader = Reader::new(bytes);
    reader
        .fields(field)
        .and_then(|()| reader.end())
        .map_err(|error| Error::malformed(what, error.to_string()))
}
