//! Runs a framer over a whole byte stream, split in any way, and lists the messages it found.

use countersign_wire::http1::{Framer, PieceKind, Rule};

/// One message as the framer saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) head: Vec<u8>,
    pub(crate) interim: Vec<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) framing: Vec<u8>,
    pub(crate) ended: bool,
}

/// What a stream of bytes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Message>,
    pub(crate) passed: Vec<u8>,
    pub(crate) refused: Option<Rule>,
    pub(crate) held: usize,
}

/// Which direction to feed.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Request,
    Response,
}

/// Feeds `bytes`, showing more after each of `cuts` (and at the end).
pub(crate) fn run(framer: &mut Framer, way: Way, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut ends: Vec<usize> = cuts.iter().copied().filter(|c| *c < bytes.len()).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut outcome = Outcome::default();
    let mut from = 0;
    for to in ends {
        loop {
            let front = &bytes[from..to];
            let judged = match way {
                Way::Request => framer.request(front),
                Way::Response => framer.response(front),
            };
            let piece = match judged {
                Ok(piece) => piece,
                Err(rule) => {
                    outcome.refused = Some(rule);
                    return outcome;
                }
            };
            if matches!(piece.kind, PieceKind::More | PieceKind::Blocked) || front.is_empty() {
                break;
            }
            take(&mut outcome, piece.kind, &front[..piece.len], piece.end);
            from += piece.len;
        }
    }
    outcome.held = bytes.len() - from;
    outcome
}

fn take(outcome: &mut Outcome, kind: PieceKind, bytes: &[u8], end: bool) {
    outcome.passed.extend_from_slice(bytes);
    let fresh = outcome.messages.last().is_none_or(|m| m.ended || !m.head.is_empty());
    if matches!(kind, PieceKind::Head | PieceKind::Interim) && fresh {
        outcome.messages.push(Message::default());
    }
    let Some(last) = outcome.messages.last_mut() else { return };
    match kind {
        PieceKind::Head => last.head = bytes.to_vec(),
        PieceKind::Interim => last.interim.push(bytes.to_vec()),
        PieceKind::Framing => last.framing.extend_from_slice(bytes),
        _ => last.data.extend_from_slice(bytes),
    }
    last.ended |= end;
}

/// Runs requests in one piece.
pub(crate) fn requests(bytes: &[u8]) -> Outcome {
    run(&mut Framer::default(), Way::Request, bytes, &[])
}

/// Runs responses in one piece, after the given requests.
pub(crate) fn responses(requests: &[u8], bytes: &[u8]) -> (Framer, Outcome) {
    let mut framer = Framer::default();
    let sent = run(&mut framer, Way::Request, requests, &[]);
    assert_eq!(sent.refused, None, "the requests of a response test are sound");
    let outcome = run(&mut framer, Way::Response, bytes, &[]);
    (framer, outcome)
}
