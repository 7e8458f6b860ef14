//! Recomputing a part from its contents: the last look before the write-ahead log may go, and `fsck`'s.

use crate::keys::PartKey;
use crate::log::tree::TreeReader;
use crate::salts::Salts;
use crate::{LedgerError, SegmentKey};
use countersign_event::commit::event_commitment;
use countersign_event::{Entry, EntryKind, Frame, SCHEMA};
use countersign_proof::{Hash, HashReader, merkle_root};

/// Rows of a part: frames in order, `None` for a non-event entry.
pub(crate) type RowIter<'a> = dyn Iterator<Item = Result<Option<Frame>, String>> + 'a;

/// Commitments, leaves and subtree roots of the entries at `first`, recomputed from `rows`.
pub(crate) fn check_range(
    first: u64,
    entries: &[Entry],
    salts: &Salts,
    rows: &mut RowIter<'_>,
) -> Result<Vec<Hash>, LedgerError> {
    let mut leaves = Vec::with_capacity(entries.len());
    for (row, entry) in entries.iter().enumerate() {
        let index = first + row as u64;
        let mismatch = |what: String| LedgerError::Mismatch { index, what };
        let frame = match rows.next() {
            Some(Ok(frame)) => frame,
            Some(Err(what)) => return Err(mismatch(what)),
            None => return Err(mismatch("row is missing".to_owned())),
        };
        let is_event = entry.kind == EntryKind::Event as u8;
        match frame {
            Some(frame) if is_event => {
                if frame.schema != SCHEMA
                    || event_commitment(&salts.of_row(row as u64), &frame.groups.each()) != entry.commitment
                {
                    return Err(mismatch("content is not what was committed".to_owned()));
                }
            }
            None if !is_event => {}
            _ => return Err(mismatch("an event's row where there is none, or the reverse".to_owned())),
        }
        leaves.push(entry.leaf());
    }
    if rows.next().is_some() {
        let index = first + entries.len() as u64;
        return Err(LedgerError::Mismatch { index, what: "more rows than leaves".to_owned() });
    }
    Ok(range_roots(first, &leaves))
}

/// Aligned complete subtrees (level, index) that tile `first..end`, left to right.
pub(crate) fn range_subtrees(first: u64, end: u64) -> Vec<(u8, u64)> {
    let mut parts = Vec::new();
    let mut at = first;
    while at < end {
        let aligned = if at == 0 { 63 } else { at.trailing_zeros().min(63) };
        let level = aligned.min((end - at).ilog2()) as u8;
        parts.push((level, at >> level));
        at += 1 << level;
    }
    parts
}

fn range_roots(first: u64, leaves: &[Hash]) -> Vec<Hash> {
    let end = first + leaves.len() as u64;
    let range = |(level, index): (u8, u64)| {
        let start = ((index << level) - first) as usize;
        merkle_root(leaves.get(start..start + (1 << level)).unwrap_or(&[]))
    };
    range_subtrees(first, end).into_iter().map(range).collect()
}

/// Whether `roots` are those of the log's own tree over `first..end`.
pub(crate) fn same_roots(
    first: u64,
    end: u64,
    roots: &[Hash],
    reader: &TreeReader<'_>,
) -> Result<(), LedgerError> {
    let subtrees = range_subtrees(first, end);
    let same = subtrees.len() == roots.len()
        && subtrees
            .iter()
            .zip(roots)
            .all(|((level, index), root)| reader.read_hash(*level, *index) == Some(*root));
    if same {
        return Ok(());
    }
    Err(reader.error().unwrap_or(LedgerError::Mismatch {
        index: first,
        what: "subtree roots are not those of the log".to_owned(),
    }))
}

/// The key of a segment with what binds its ciphertext to this ledger, segment and version.
pub(crate) fn segment_key(origin: &[u8; 32], first: u64, key: &PartKey) -> SegmentKey {
    let mut aad_prefix = b"countersign segment v1".to_vec();
    aad_prefix.extend_from_slice(origin);
    aad_prefix.extend_from_slice(&first.to_be_bytes());
    aad_prefix.extend_from_slice(&key.version.to_be_bytes());
    SegmentKey { data_key: key.data.clone(), segment: first, version: key.version, aad_prefix }
}
