//! Any split of the two streams gives the same records and the same bytes; nothing panics.

use super::{Rig, args, brief};
use countersign_wire::fuzz;
use countersign_wire::stream::Way;
use proptest::prelude::*;

/// A command and a reply that fits it, chosen by `n`.
fn turn(n: u8, text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bulk = |t: &[u8]| [format!("${}\r\n", t.len()).as_bytes(), t, b"\r\n"].concat();
    match n % 17 {
        0 => (args(&[b"SET", b"k", text]), b"+OK\r\n".to_vec()),
        1 => (args(&[b"GET", text]), bulk(text)),
        2 => (args(&[b"GET", b"k"]), b"$-1\r\n".to_vec()),
        3 => (b"PING\r\n".to_vec(), b"+PONG\r\n".to_vec()),
        4 => (args(&[b"MULTI"]), b"+OK\r\n".to_vec()),
        5 => (args(&[b"SET", text, b"v"]), b"+QUEUED\r\n".to_vec()),
        6 => (args(&[b"EXEC"]), [b"*2\r\n+OK\r\n", &*bulk(text)].concat()),
        7 => (args(&[b"EXEC"]), b"*-1\r\n".to_vec()),
        8 => (args(&[b"HELLO", b"3"]), [b"%1\r\n+proto\r\n", &*bulk(text)].concat()),
        9 => (
            args(&[b"SUBSCRIBE", b"c"]),
            [b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n", &*bulk(text)]
                .concat(),
        ),
        10 => (args(&[b"UNSUBSCRIBE"]), b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n".to_vec()),
        11 => (args(&[b"CLIENT", b"REPLY", b"OFF"]), Vec::new()),
        12 => (args(&[b"CLIENT", b"REPLY", b"ON"]), b"+OK\r\n".to_vec()),
        13 => (args(&[b"CLIENT", b"REPLY", b"SKIP"]), Vec::new()),
        14 => (
            args(&[b"EVAL", text, b"1", b"k"]),
            [b"*2\r\n|1\r\n+a\r\n:1\r\n", &*bulk(text), b"*0\r\n"].concat(),
        ),
        15 => (args(&[b"X", text]), b"-ERR unknown command\r\n".to_vec()),
        _ => (Vec::new(), [b">3\r\n+message\r\n+c\r\n", &*bulk(text)].concat()),
    }
}

/// The whole conversation: each reply comes after its command.
fn hold(
    turns: &[(u8, Vec<u8>)],
    size: usize,
    deny: bool,
) -> (Vec<String>, [Vec<u8>; 2], Option<&'static str>) {
    let mut rig = if deny { Rig::denying(&["GET", "EVAL"]) } else { Rig::default() };
    for (n, text) in turns {
        let (up, down) = turn(*n, text);
        rig.pieces(Way::Up, &up, size);
        rig.pieces(Way::Down, &down, size);
    }
    let refused = rig.refused;
    let found = rig.end().iter().map(brief).collect();
    (found, rig.passed, refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_split_gives_the_same(
        turns in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..14),
        size in 1_usize..30,
        deny in any::<bool>(),
    ) {
        let (found, passed, refused) = hold(&turns, 1 << 20, deny);
        let (found_split, passed_split, refused_split) = hold(&turns, size, deny);
        prop_assert_eq!((found, refused), (found_split, refused_split));
        // A command that is refused at its end may have passed in part; its last byte never does.
        prop_assert!(passed_split[0].starts_with(&passed[0]));
        prop_assert!(refused.is_some() || passed == passed_split);
    }

    #[test]
    fn mutated_conversations_return(
        turns in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)), 1..8),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        first in any::<u8>(),
    ) {
        let mut bytes = vec![first];
        for (n, text) in &turns {
            let (up, down) = turn(*n, text);
            for (way, part) in [(0, up), (1, down)] {
                bytes.push(way);
                bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(&part);
            }
        }
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        fuzz::redis_conversation(&bytes);
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::redis_conversation(&bytes);
    }
}
