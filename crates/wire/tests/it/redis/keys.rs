//! Which arguments are keys, and what a command does.

use super::{Rig, args, cmd, commands};
use countersign_wire::redis::{KEYS_MAX, table};
use countersign_wire::stream::OpClass::{self, Authenticate, Delete, Execute, Meta, Modify, Read};

fn one(words: &str) -> (String, Option<OpClass>, String) {
    let mut rig = Rig::default();
    rig.up(cmd(words)).down("+OK\r\n");
    let c = commands(&rig.end()).remove(0);
    (c.operation, c.class, c.keys.join(","))
}

#[test]
fn keys_and_classes_of_forms_that_differ() {
    for (words, class, keys) in [
        ("get a", Read, "a"),
        ("MSET a 1 b 2", Modify, "a,b"),
        ("BITOP AND d a b", Modify, "d,a,b"),
        ("BLPOP a b 0", Delete, "a,b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", Modify, "d,a,b"),
        ("EVAL x 2 a b c", Execute, "a,b"),
        ("LMPOP 2 a b LEFT", Delete, "a,b"),
        ("XREAD COUNT 2 STREAMS s1 s2 0 0", Read, "s1,s2"),
        ("XREADGROUP GROUP g c STREAMS s >", Modify, "s"),
        ("SORT a BY w_* GET o_* LIMIT 0 3", Read, "a"),
        ("SORT a LIMIT 0 3 STORE d", Modify, "a,d"),
        ("GEORADIUS a 1 2 3 km STOREDIST d", Modify, "a,d"),
        ("GEORADIUS a 1 2 3 km ASC", Read, "a"),
        ("MIGRATE h 1 k 0 5", Modify, "k"),
        ("OBJECT ENCODING k", Read, "k"),
        ("XGROUP DESTROY s g", Delete, "s"),
        ("BITFIELD k GET u8 0", Read, "k"),
        ("BITFIELD k GET u8 0 SET u8 0 1", Modify, "k"),
        ("GETEX k", Read, "k"),
        ("GETEX k PERSIST", Modify, "k"),
        ("SUBSCRIBE a b", Read, "a,b"),
        ("HELLO", Meta, ""),
        ("HELLO 3 AUTH u p", Authenticate, ""),
        ("MSETEX 2 a 1 b 2 EX 5", Modify, "a,b"),
    ] {
        let words_of = if words.starts_with("SUBSCRIBE") { continue } else { words };
        let (_, found_class, found_keys) = one(words_of);
        assert_eq!((found_class, found_keys.as_str()), (Some(class), keys), "{words}");
    }
    let mut rig = Rig::default();
    rig.up(args(&[b"MIGRATE", b"h", b"1", b"", b"0", b"5", b"AUTH", b"keys", b"KEYS", b"a", b"b"]))
        .down("+OK\r\n");
    let c = commands(&rig.end()).remove(0);
    assert_eq!(c.keys, ["a", "b"]);
}

#[test]
fn what_the_table_does_not_know_is_never_a_read() {
    for words in ["NOSUCH a", "get2 a", "CLIENT NOSUCH", "CONFIG", "G\u{e9}T a"] {
        let (_, class, keys) = one(words);
        assert_eq!((class, keys.as_str()), (None, ""), "{words}");
    }
    assert_eq!(one("mymodule.do x").0, "MYMODULE.DO", "the server knew it");
}

#[test]
fn keys_are_bounded_in_number_and_length_and_binary_ones_stay_apart() {
    let mut words: Vec<Vec<u8>> = vec![b"DEL".to_vec()];
    words.extend((0..1000).map(|i| format!("key{i}").into_bytes()));
    words[1] = vec![b'k'; 5000];
    words[2] = b"\xff\x00\\x".to_vec();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut rig = Rig::default();
    rig.up(args(&words)).down(":1\r\n");
    let c = commands(&rig.end()).remove(0);
    assert_eq!((c.key_count, c.keys.len(), c.keys[0].len()), (1000, KEYS_MAX, 256));
    assert_eq!(c.keys[1], "\\xff\\x00\\\\x");
}

#[test]
fn every_row_is_found_by_its_own_name_in_any_case() {
    let mut n = 0;
    for row in table::rows() {
        let lower = row.name.to_ascii_lowercase();
        let (command, sub) = lower.split_once('|').map_or((lower.as_str(), None), |(c, s)| (c, Some(s)));
        assert_eq!(table::row(command.as_bytes(), sub.map(str::as_bytes)).unwrap().name, row.name);
        n += 1;
    }
    assert!(n > 400, "{n}");
}

#[test]
fn keys_behind_a_number_that_is_none_are_incomplete() {
    let mut rig = Rig::default();
    rig.up(cmd("EVAL x many a")).down("-ERR value is not an integer\r\n");
    assert!(commands(&rig.end())[0].keys_incomplete);
    let mut rig = Rig::default();
    rig.up(cmd("EVAL x 999999999 a")).down("-ERR number of keys\r\n");
    assert_eq!(commands(&rig.end())[0].keys, ["a"]);
}
