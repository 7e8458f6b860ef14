//! What a verifier reads out of disclosed groups and out of the bodies that explain an absence.

use crate::body::{Erase, Retire};
use countersign_event::cbor::{CborError, Reader};
use countersign_event::{eid, import_eid};

/// The keys of group 0 that repeat or name what the entry says (`event.md`, group 0).
#[derive(Debug)]
pub(crate) struct Core<'a> {
    pub(crate) eid: [u8; 16],
    pub(crate) agent: &'a str,
    pub(crate) stream: [u8; 16],
    pub(crate) seq: u64,
}

impl<'a> Core<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Core<'a>, CborError> {
        let mut reader = Reader::new(bytes);
        let (mut id, mut agent, mut stream, mut seq) = (None, None, None, None);
        reader.fields(|reader, key| {
            match key {
                1 => id = Some(reader.bytes_of()?),
                2 => agent = Some(reader.text()?),
                3 => stream = Some(reader.bytes_of()?),
                4 => seq = Some(reader.uint()?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })?;
        reader.end()?;
        match (id, agent, stream, seq) {
            (Some(eid), Some(agent), Some(stream), Some(seq)) => Ok(Core { eid, agent, stream, seq }),
            _ => Err(reader.error_at(0, "eid, agent, stream or seq is absent")),
        }
    }

    /// Whether the event id follows the rule: `None` when the id it was made from is not shown.
    pub(crate) fn eid_follows(&self, body_group: Option<&[u8]>) -> Option<bool> {
        // The id formula holds the agent's length in 16 bits; the schema allows 256 bytes.
        if self.agent.len() > usize::from(u16::MAX) {
            return Some(false);
        }
        if self.eid == eid(self.agent, &self.stream, self.seq) {
            return Some(true);
        }
        let source_id = body_group.and_then(source_id)?;
        Some(self.eid == import_eid(self.agent, source_id.as_bytes()))
    }
}

/// `cap[4]` of group 6: an imported record's own id.
fn source_id(bytes: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(bytes);
    let mut id = None;
    let read = reader.fields(|reader, key| {
        if key != 2 {
            return reader.value().map(drop);
        }
        reader.fields(|reader, key| {
            match key {
                4 => id = Some(reader.text()?),
                _ => drop(reader.value()?),
            }
            Ok(())
        })
    });
    read.ok().and(id)
}

/// What a proven ERASE or RETIRE entry removed, with its ranges merged so that a look-up is logarithmic.
#[derive(Debug)]
pub(crate) struct Removal {
    retired: bool,
    mask: u8,
    ranges: Vec<(u64, u64)>,
}

impl Removal {
    pub(crate) fn erased(body: &Erase) -> Removal {
        Removal { retired: false, mask: body.mask, ranges: merged(body.ranges.clone()) }
    }

    pub(crate) fn retired(body: &Retire) -> Removal {
        Removal { retired: true, mask: u8::MAX, ranges: merged(vec![(body.first, body.end)]) }
    }

    pub(crate) fn covers(&self, retired: bool, index: u64, group: u8) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= index);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        self.retired == retired && self.mask >> group & 1 == 1 && range.is_some_and(|(_, end)| index < *end)
    }
}

/// Ranges (end exclusive) sorted, empty ones dropped, touching ones joined.
pub(crate) fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(first, end)| first < end);
    ranges.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (first, end) in ranges {
        match out.last_mut() {
            Some((_, last)) if first <= *last => *last = end.max(*last),
            _ => out.push((first, end)),
        }
    }
    out
}
