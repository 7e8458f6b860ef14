//! A finding that somebody is to be told of, and how a message lies on disk until it is delivered.

use crate::seal::Seal;
use countersign_event::fields::sys;
use countersign_event::{Event, FindingState, Rec, Severity};

/// Largest message on disk before it is sealed: a notification of ten findings, with long names.
pub(crate) const STORED_MAX_BYTES: usize = 256 << 10;
/// Where a finding keeps its rule's id: `countersign_detect::detail::RULE`.
pub(crate) const RULE: u64 = 70;
/// Where a finding keeps the values of its explanation: `countersign_detect::detail::VALUES`.
pub(crate) const VALUES: u64 = 81;
/// Where a finding keeps the filter that shows its evidence: `countersign_detect::detail::QUERY`.
pub(crate) const QUERY: u64 = 82;
/// Marks on a finding that nobody is told of: learning, historical, capped.
const MUTED: [u64; 3] = [1, 3, 5];

/// A finding that somebody is to be told of.
pub(crate) struct Alert<'e> {
    pub(crate) event: &'e Event,
    /// Ledger index of the finding itself.
    pub(crate) index: u64,
    pub(crate) rule: &'e str,
    pub(crate) severity: Severity,
}

/// A message as it waits: what the record of its fate needs, and the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Event id of the first finding; all zero where there is none.
    pub(crate) finding: [u8; 16],
    /// Ledger index of the first finding.
    pub(crate) index: u64,
    /// Attempts made before it was given up.
    pub(crate) attempts: u32,
    /// Why it was given up; empty while it waits.
    pub(crate) why: String,
    /// A [`crate::notice::Notice`].
    pub(crate) body: Vec<u8>,
}

impl<'e> Alert<'e> {
    /// `None` for what nobody is told of: other events, informational findings, learning, history, and what
    /// is beyond a detector's allowance.
    pub(crate) fn of(event: &'e Event, index: u64) -> Option<Alert<'e>> {
        let alert = Alert::any(event, index)?;
        let flags = event.core.sys.get(&sys::finding::FLAGS).and_then(|v| v.as_array()).unwrap_or_default();
        let muted = flags.iter().any(|f| f.as_uint().is_some_and(|f| MUTED.contains(&f)));
        (!muted && alert.severity != Severity::Informational).then_some(alert)
    }

    /// Any finding, whether somebody is to be told or not.
    pub(crate) fn any(event: &'e Event, index: u64) -> Option<Alert<'e>> {
        if event.core.rec != Some(Rec::Finding) {
            return None;
        }
        let severity = event.core.sys.get(&sys::finding::SEVERITY).and_then(|v| v.as_uint());
        let severity = Severity::from_code(severity?)?;
        Some(Alert { event, index, rule: crate::subject::rule(event), severity })
    }

    pub(crate) fn state(&self) -> FindingState {
        let state = self.event.core.sys.get(&sys::finding::STATE).and_then(|v| v.as_uint());
        state.and_then(FindingState::from_code).unwrap_or(FindingState::Open)
    }

    /// The finding's id, hexadecimal.
    pub(crate) fn finding(&self) -> Option<String> {
        self.event.core.sys.get(&sys::finding::ID).and_then(|v| v.as_bytes()).map(hex)
    }
}

/// `msg_` and 32 hex digits.
pub(crate) fn message_id(seal: &Seal, parts: &[&[u8]]) -> String {
    format!("msg_{}", hex(&seal.id(parts)))
}

impl Stored {
    /// 2: the body is a notification that is rendered when it is sent; 1 was a rendered one.
    const VERSION: u8 = 2;

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let why = clip(&self.why, 512).as_bytes();
        let mut out = vec![Self::VERSION];
        out.extend_from_slice(&self.finding);
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&(why.len() as u16).to_be_bytes());
        out.extend_from_slice(why);
        out.extend_from_slice(&self.body);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Stored> {
        let (version, rest) = bytes.split_first()?;
        let (finding, rest) = rest.split_first_chunk::<16>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (why, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        (*version == Self::VERSION).then_some(Stored {
            finding: *finding,
            index: u64::from_be_bytes(*index),
            attempts: u32::from_be_bytes(*attempts),
            why: std::str::from_utf8(why).ok()?.to_owned(),
            body: body.to_vec(),
        })
    }

    pub(crate) fn finding(&self) -> Option<[u8; 16]> {
        (self.finding != [0; 16]).then_some(self.finding)
    }
}

/// The first `max` bytes of `text`, cut at a character's border.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// 16 bytes from 32 hex digits.
pub(crate) fn hex_16(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stored_messages_round_trip(finding in any::<[u8; 16]>(), index in any::<u64>(), attempts in any::<u32>(), why in ".{0,90}", body in proptest::collection::vec(any::<u8>(), 0..90)) {
            let stored = Stored { finding, index, attempts, why, body };
            prop_assert_eq!(Stored::from_bytes(&stored.to_bytes()), Some(stored));
        }
    }
}
