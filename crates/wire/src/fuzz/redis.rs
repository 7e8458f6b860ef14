//! RESP: a whole conversation over framer and session.

use crate::redis::{Framer, NOPERM, SUBSTITUTE, Session, Verdict};
use crate::stream::{Call, Framer as _, Judge, Out};

/// Denies what begins with an even letter, or asks nothing.
struct EvenNames {
    asks: bool,
    asked: bool,
}

impl Judge for EvenNames {
    fn asks(&self) -> bool {
        self.asks
    }
    fn denies(&mut self, call: &Call<'_>) -> bool {
        self.asked = true;
        call.operation.as_bytes().first().is_some_and(|b| b % 2 == 0)
    }
}

/// Plays `data`: a byte for split and judge, then pieces, each with a byte for its direction, two for its length.
/// The session must take what the framer lets through and make the records that it promised.
pub fn redis_conversation(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let size = usize::from(first & 15) + 1;
    let mut judge = EvenNames { asks: first & 16 > 0, asked: false };
    let (mut framer, mut session) = (Framer::new(), Session::new());
    let mut held = [Vec::new(), Vec::new()];
    let (mut promised, mut made) = (0, 0);
    'all: while let [way, a, b, tail @ ..] = rest {
        let n = usize::from(u16::from_be_bytes([*a, *b])).min(tail.len());
        let (piece, tail) = tail.split_at(n);
        rest = tail;
        for chunk in piece.chunks(size) {
            let up = way & 1 == 0;
            for way in [usize::from(!up), 0] {
                let Some(front) = held.get_mut(way) else { return };
                if way == usize::from(!up) {
                    front.extend_from_slice(chunk);
                }
                while !front.is_empty() {
                    judge.asked = false;
                    let step = if way == 0 { framer.up(front, &mut judge) } else { framer.down(front) };
                    let Ok(step) = step else { break 'all };
                    if step.len == 0 {
                        break;
                    }
                    assert!(step.len <= front.len(), "a step is part of what was shown");
                    promised += step.records as usize;
                    let taken: Vec<u8> = front.drain(..step.len).collect();
                    let denied = matches!(&step.out, Out::Instead(out) if way == 0 && out == SUBSTITUTE);
                    assert!(!matches!(&step.out, Out::Instead(out) if way == 1 && out != NOPERM));
                    let found = if way == 0 {
                        session.up(&taken, 1, judge.asked.then_some(Verdict { denied }))
                    } else {
                        session.down(&taken, 2)
                    };
                    assert!(found.is_ok(), "the session takes what the framer let through");
                    made += found.unwrap_or_default().len();
                }
                if way == 0 {
                    break;
                }
            }
        }
    }
    made += session.end(3).len();
    assert_eq!(promised, made, "as many records as were promised");
}
