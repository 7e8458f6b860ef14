//! The bytes of an event's seven groups, one behind the other in one allocation.
//!
//! Invariant: the ends ascend and the last one is the length of the bytes.

use crate::GROUPS;
use std::fmt;
use std::ops::Index;

/// Seven byte strings, by number of the group.
#[derive(Clone, PartialEq, Eq)]
pub struct Groups {
    bytes: Box<[u8]>,
    ends: [usize; GROUPS],
}

impl Groups {
    /// Copies `bytes`, in which each group ends where `ends` says.
    pub(super) fn new(bytes: &[u8], ends: [usize; GROUPS]) -> Groups {
        Groups { bytes: bytes.into(), ends }
    }

    /// The groups in order; `write` puts the bytes of each behind those before it, and leaves those.
    fn written(mut write: impl FnMut(usize, &mut Vec<u8>)) -> Groups {
        let mut bytes = Vec::new();
        let mut ends = [0; GROUPS];
        for (g, end) in ends.iter_mut().enumerate() {
            write(g, &mut bytes);
            *end = bytes.len();
        }
        Groups::new(&bytes, ends)
    }

    /// Each in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..GROUPS).map(|g| &self[g])
    }

    /// All of them, for [`crate::commit::event_commitment`].
    pub fn each(&self) -> [&[u8]; GROUPS] {
        std::array::from_fn(|g| &self[g])
    }

    /// Bytes of all together.
    pub fn total(&self) -> usize {
        self.bytes.len()
    }
}

impl Index<usize> for Groups {
    type Output = [u8];

    /// Group `g`, below [`GROUPS`].
    #[inline]
    fn index(&self, g: usize) -> &[u8] {
        let start = if g == 0 { 0 } else { self.ends[g - 1] };
        &self.bytes[start..self.ends[g]]
    }
}

impl<B: AsRef<[u8]>> From<[B; GROUPS]> for Groups {
    fn from(groups: [B; GROUPS]) -> Groups {
        Groups::written(|g, bytes| bytes.extend_from_slice(groups[g].as_ref()))
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_out_as_they_went_in() {
        let given: [&[u8]; GROUPS] = [b"core", b"", b"peer", b"\xa0", b"", b"content", b"body"];
        let groups = Groups::from(given);
        assert_eq!(groups.each(), given);
        assert_eq!(groups.iter().collect::<Vec<_>>(), given);
        assert_eq!((&groups[5], groups.total()), (given[5], 20));
    }
}
