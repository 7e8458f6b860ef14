//! Bytes that no honest peer sends: refused by name, in bounded memory, in linear time.

use super::{Rig, cmd};
use countersign_wire::redis::{DEPTH_MAX, INLINE_MAX, OPEN_MAX};
use countersign_wire::stream::Way;

#[test]
fn commands_that_the_server_would_read_otherwise_are_refused() {
    for (bytes, rule) in [
        ("*1000000000\r\n", "redis.argument_count"),
        ("*01\r\n", "redis.argument_count"),
        ("*+1\r\n", "redis.argument_count"),
        ("*1 \r\n", "redis.argument_count"),
        ("*\r\n", "redis.argument_count"),
        ("*-0\r\n", "redis.argument_count"),
        ("*1\n", "redis.argument_count"),
        ("*1\rX", "redis.argument_count"),
        ("*99999999999999999999999999", "redis.argument_count"),
        ("*1\r\n+PING\r\n", "redis.argument_type"),
        ("*1\r\n*1\r\n", "redis.argument_type"),
        ("*1\r\n$-1\r\n", "redis.argument_length"),
        ("*1\r\n$536870913\r\n", "redis.argument_length"),
        ("*1\r\n$04\r\nPING\r\n", "redis.argument_length"),
        ("*1\r\n$4\r\nPINGXX*1\r\n", "redis.argument_terminator"),
        ("*1\r\n$4\r\nPING\rX", "redis.argument_terminator"),
    ] {
        for n in [1, 2, 1000] {
            let mut rig = Rig::default();
            rig.pieces(Way::Up, bytes.as_bytes(), n);
            assert_eq!(rig.refused, Some(rule), "{bytes:?}");
            assert_eq!(rig.end().len(), 0);
        }
    }
    let mut rig = Rig::default();
    rig.pieces(Way::Up, &vec![b'a'; INLINE_MAX + 10], 1000);
    assert_eq!(rig.refused, Some("redis.inline"));
}

#[test]
fn what_came_before_the_fault_passes() {
    let mut rig = Rig::default();
    rig.up([cmd("GET a"), b"*x\r\n".to_vec()].concat());
    assert_eq!((rig.refused, rig.passed[0].clone()), (Some("redis.argument_count"), cmd("GET a")));
    assert!(rig.passed[1].is_empty(), "an error now would be taken for the answer to GET");
    assert_eq!(rig.said(), ["GET@0 [a] Open"]);
}

#[test]
fn replies_that_are_none_end_the_connection() {
    for (bytes, rule) in [
        ("HTTP/1.1 200", "redis.reply_type"),
        ("$?\r\n;4\r\n", "redis.reply_streamed"),
        ("*?\r\n", "redis.reply_streamed"),
        ("$-2\r\n", "redis.reply_length"),
        ("%-1\r\n", "redis.reply_length"),
        ("*9999999999\r\n", "redis.reply_length"),
        ("$99999999999999\r\n", "redis.reply_length"),
        ("$3\r\nabcde", "redis.reply_terminator"),
    ] {
        for n in [1, 1000] {
            let mut rig = Rig::default();
            rig.up(cmd("GET a"));
            rig.pieces(Way::Down, bytes.as_bytes(), n);
            assert_eq!(rig.refused, Some(rule), "{bytes:?}");
            assert_eq!(rig.said(), ["GET@0 [a] Open"]);
        }
    }
    let mut rig = Rig::default();
    rig.up(cmd("GET a")).down("*1\r\n".repeat(DEPTH_MAX + 1));
    assert_eq!(rig.refused, Some("redis.reply_depth"));
    let mut rig = Rig::default();
    rig.up(cmd("GET a")).down("*1\r\n".repeat(DEPTH_MAX)).down(":1\r\n");
    assert_eq!(rig.said(), ["GET@0 [a] Replied array"]);
}

#[test]
fn lengths_and_counts_alone_take_no_memory() {
    let mut rig = Rig::default();
    rig.up("*1048576\r\n$536870912\r\n").down("*2147483647\r\n$60000000000\r\n");
    rig.up(vec![b'x'; 1 << 20]).down(vec![b'x'; 1 << 20]);
    assert_eq!(rig.refused, None);
    assert_eq!(rig.passed[0].len(), (1 << 20) + 22, "nothing is held");
}

#[test]
fn a_client_that_does_not_wait_for_answers_is_made_to() {
    let mut rig = Rig::default();
    let many = cmd("GET a").repeat(OPEN_MAX + 100);
    rig.up(&many);
    assert_eq!(rig.passed[0].len(), cmd("GET a").len() * OPEN_MAX);
    rig.down("$-1\r\n".repeat(200));
    assert_eq!(rig.passed[0], many);
    assert_eq!(rig.end().len(), OPEN_MAX + 100);
}

#[test]
fn replies_that_nobody_asked_for_do_no_harm() {
    let mut rig = Rig::default();
    rig.down("-ERR max number of clients reached\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n+QUEUED\r\n>1\r\n+x\r\n*0\r\n");
    assert_eq!(rig.refused, None);
    assert_eq!(rig.end().len(), 0);
}

/// Twice the input takes about twice the steps: shown in bytes looked at, not in time.
#[test]
fn one_byte_at_a_time_is_not_quadratic() {
    let mut rig = Rig::default();
    // A long inline line, a long error and a long status: the forms whose end is searched for.
    rig.pieces(Way::Up, format!("SET a {}\r\n", "v".repeat(60_000)).as_bytes(), 1);
    rig.pieces(Way::Down, format!("-ERR {}\r\n", "e".repeat(300_000)).as_bytes(), 1);
    assert_eq!(rig.said(), ["SET@0 [a] Replied error:ERR"]);
}
