//! PostgreSQL's framer, session and parameter texts.

use crate::postgres::session::{Digest, Digests, Options};
use crate::postgres::{Framer, FramerOptions, Session, values};
use crate::stream::{Call, Framer as _, Judge, OpClass, Out};

/// No cryptography: for tests and fuzzing.
pub struct NoDigests;
struct Nothing;

impl Digests for NoDigests {
    fn fingerprint(&self, _shape: &str) -> [u8; 16] {
        [0; 16]
    }
    fn start(&self) -> Box<dyn Digest> {
        Box::new(Nothing)
    }
}

impl Digest for Nothing {
    fn update(&mut self, _bytes: &[u8]) {}
    fn finish(self: Box<Self>) -> [u8; 32] {
        [0; 32]
    }
}

struct Reads(bool);

impl Judge for Reads {
    fn asks(&self) -> bool {
        self.0
    }
    fn denies(&mut self, call: &Call<'_>) -> bool {
        call.class != Some(OpClass::Read)
    }
}

/// The first byte chooses the split, whether verdicts are asked and whether statements pass whole; then directions take turns at 0xfe bytes.
pub fn postgres_conversation(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let step = usize::from(*first % 17) + 1;
    let mut judge = Reads(first & 0x80 != 0);
    let whole = first & 0x40 != 0;
    let mut framer = Framer::new(FramerOptions { whole, ..FramerOptions::default() });
    let mut session = Session::new(Box::new(NoDigests), Options { parameters: true, ..Options::default() });
    for (at, turn) in rest.split(|b| *b == 0xfe).enumerate() {
        let mut held: Vec<u8> = Vec::new();
        for block in turn.chunks(step) {
            held.extend(block);
            loop {
                if held.is_empty() {
                    break;
                }
                let up = at % 2 == 0;
                let judged = if up { framer.up(&held, &mut judge) } else { framer.down(&held) };
                let Ok(judged) = judged else { return };
                if judged.len == 0 {
                    break;
                }
                assert!(judged.len <= held.len(), "a step is part of what was shown");
                let passed: Vec<u8> = held.drain(..judged.len).collect();
                if up && matches!(judged.out, Out::Instead(_)) {
                    session.judged(1, true);
                }
                if up { session.up(&passed, 1) } else { session.down(&passed, 1) }
            }
        }
    }
    session.end(2);
    while session.told().is_some() {}
}

/// A parameter: type OID, format and value.
pub fn postgres_value(data: &[u8]) {
    let Some((oid, value)) = data.split_first_chunk() else { return };
    let oid = u32::from_be_bytes(*oid);
    for oid in [oid, oid % 4_096, 1_700, 1_007, 1_231] {
        for binary in [false, true] {
            assert!(values::text(oid, binary, value, value.len(), 256).len() < 1 << 16, "bounded");
            // As when only the front of a longer value was kept.
            assert!(values::text(oid, binary, value, value.len() + 1, 256).len() < 1 << 16, "bounded");
        }
    }
}
