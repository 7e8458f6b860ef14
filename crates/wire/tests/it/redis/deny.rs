//! Denial by substitution.

use super::{Rig, args, cmd};
use countersign_wire::redis::{HOLD_MAX, NOPERM, SUBSTITUTE};
use countersign_wire::stream::Way;

const UNKNOWN: &str = "-ERR unknown command 'COUNTERSIGN.DENIED', with args beginning with: \r\n";

#[test]
fn a_denied_command_is_replaced_and_its_answer_rewritten_in_its_place() {
    for n in [1, 3, 7, 1000] {
        let mut rig = Rig::denying(&["FLUSHALL", "CONFIG SET"]);
        let up =
            [cmd("SET a 1"), cmd("FLUSHALL"), cmd("GET a"), b"config set dir /tmp\r\n".to_vec()].concat();
        rig.pieces(Way::Up, &up, n);
        assert_eq!(rig.passed[0], [&cmd("SET a 1"), SUBSTITUTE, &cmd("GET a"), SUBSTITUTE].concat());
        rig.pieces(Way::Down, format!("+OK\r\n{UNKNOWN}-ERR mine\r\n{UNKNOWN}").as_bytes(), n);
        assert_eq!(rig.passed[1], [b"+OK\r\n", NOPERM, b"-ERR mine\r\n", NOPERM].concat());
        assert_eq!(
            rig.said(),
            [
                "SET@0 [a] Replied status",
                "FLUSHALL@0 [] Replied error:ERR denied",
                "GET@0 [a] Replied error:ERR",
                "CONFIG SET@0 [] Replied error:ERR denied"
            ]
        );
    }
}

#[test]
fn a_denied_command_aborts_its_transaction() {
    let mut rig = Rig::denying(&["DEL"]);
    rig.up([cmd("MULTI"), cmd("SET a 1"), cmd("DEL a"), cmd("EXEC")].concat());
    rig.down(format!("+OK\r\n+QUEUED\r\n{UNKNOWN}-EXECABORT Transaction discarded\r\n"));
    assert!(rig.passed[1].windows(NOPERM.len()).any(|w| w == NOPERM));
    assert_eq!(rig.said()[2], "SET@0 [a] Aborted");
}

#[test]
fn a_denied_command_stays_silent_where_replies_are_off() {
    let mut rig = Rig::denying(&["DEL"]);
    rig.up([cmd("CLIENT REPLY OFF"), cmd("DEL a"), cmd("CLIENT REPLY ON"), cmd("DEL b")].concat());
    rig.down(format!("+OK\r\n{UNKNOWN}"));
    assert_eq!(rig.passed[1], [b"+OK\r\n", NOPERM].concat());
    rig.up([cmd("CLIENT REPLY SKIP"), cmd("DEL a"), cmd("GET a")].concat()).down("-ERR of the get\r\n");
    assert!(rig.passed[1].ends_with(b"-ERR of the get\r\n"));
    assert_eq!(rig.end().len(), 7);
}

#[test]
fn the_judge_is_told_database_user_and_every_key() {
    let mut rig = Rig::denying(&[]);
    rig.up(cmd("AUTH bob pw"));
    rig.up([cmd("SELECT 5"), cmd("MSET a 1 b 2 c 3")].concat());
    assert!(!rig.passed[0].ends_with(b"3\r\n"), "the server has not said yet whether it goes there");
    rig.down("+OK\r\n").down("+OK\r\n").down("+OK\r\n");
    rig.up([cmd("MULTI"), cmd("SELECT 6"), cmd("DEL x")].concat()).down("+OK\r\n").down("+QUEUED\r\n");
    let asked = rig.judge.as_ref().unwrap().asked.clone();
    let row = |o: &str, n: &str, u: &str, r: &str| (o.into(), n.into(), u.into(), r.into());
    assert_eq!(
        asked,
        [
            row("AUTH", "0", "", ""),
            row("SELECT", "0", "bob", ""),
            row("MSET", "5", "bob", "a,b,c"),
            row("MULTI", "5", "bob", ""),
            row("SELECT", "5", "bob", ""),
            row("DEL", "5", "bob", "x"),
            row("DEL", "6", "bob", "x"),
        ],
        "within a transaction the choice of a database may still fail, so both are asked about"
    );
}

#[test]
fn a_command_too_large_to_hold_is_judged_by_its_keys() {
    let value = vec![b'v'; 3 * HOLD_MAX];
    for n in [100_000, 4 * HOLD_MAX] {
        let mut rig = Rig::denying(&["SET"]);
        let up = [args(&[b"SET", b"k", &value]), cmd("GET k")].concat();
        rig.pieces(Way::Up, &up, n);
        assert_eq!(rig.passed[0], [SUBSTITUTE, &cmd("GET k")].concat());
        rig.down(UNKNOWN).down("$-1\r\n");
        assert_eq!(rig.passed[1], [NOPERM, b"$-1\r\n"].concat());
        assert_eq!(rig.said(), ["SET@0 [k] Replied error:ERR denied", "GET@0 [k] Replied null"]);
        let mut rig = Rig::denying(&["DEL"]);
        rig.pieces(Way::Up, &up, n);
        assert_eq!(rig.passed[0], up);
        rig.down("+OK\r\n$1\r\nv\r\n");
        assert_eq!(rig.said(), ["SET@0 [k] Replied status", "GET@0 [k] Replied bulk"]);
    }
    let mut rig = Rig::denying(&["SET"]);
    rig.pieces(Way::Up, &args(&[b"MSET", b"k", &value, b"other", b"x"]), 100_000);
    assert_eq!(rig.refused, Some("redis.too_large_to_judge"));
    assert!(rig.passed[0].is_empty());
}

#[test]
fn replicas_are_judged_too() {
    let mut rig = Rig::denying(&["CONFIG SET"]);
    rig.up(cmd("PSYNC ? -1")).down("+CONTINUE\r\n");
    let before = rig.passed[0].len();
    rig.up(cmd("CONFIG SET dir x"));
    assert_eq!(rig.passed[0].len(), before);
}
