//! What answers what: one conversation each, as servers really hold them.

use super::{Rig, cmd, commands};
use countersign_wire::redis::{Found, How};

#[test]
fn a_pipeline_is_answered_in_order() {
    let mut rig = Rig::default();
    rig.up([cmd("SET a 1"), cmd("GET a"), cmd("GET b"), cmd("LPUSH a x")].concat());
    rig.down("+OK\r\n$1\r\n1\r\n$-1\r\n-WRONGTYPE Operation against a key\r\n");
    assert_eq!(
        rig.said(),
        [
            "SET@0 [a] Replied status",
            "GET@0 [a] Replied bulk",
            "GET@0 [b] Replied null",
            "LPUSH@0 [a] Replied error:WRONGTYPE"
        ]
    );
    assert!(rig.framer_idle());
}

#[test]
fn inline_commands_are_read_as_the_server_reads_them() {
    let mut rig = Rig::default();
    rig.up("\r\n  SET \"a\\x41 \\n\" 'it\\'s'\r\nGET plain\nPING\r\n");
    rig.down("+OK\r\n$1\r\nx\r\n+PONG\r\n");
    assert_eq!(
        rig.said(),
        ["SET@0 [aA \\x0a] Replied status", "GET@0 [plain] Replied bulk", "PING@0 [] Replied status"]
    );
    for (line, rule) in [
        ("SET \"a\r\n", "redis.inline_quotes"),
        ("SET 'a'b c\r\n", "redis.inline_quotes"),
        ("GET a\0b\r\n", "redis.inline"),
    ] {
        let mut rig = Rig::default();
        rig.up(line);
        assert_eq!(rig.refused, Some(rule), "{line:?}");
        assert!(rig.passed[0].is_empty());
        assert!(rig.passed[1].starts_with(b"-ERR Protocol error"));
    }
}

#[test]
fn no_arguments_are_no_command() {
    let mut rig = Rig::default();
    rig.up("*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n").down("+PONG\r\n");
    assert_eq!(rig.said(), ["PING@0 [] Replied status"]);
    assert_eq!(rig.passed[0], b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n");
}

#[test]
fn queued_commands_get_their_outcome_from_exec() {
    let mut rig = Rig::default();
    rig.up([
        cmd("SELECT 2"),
        cmd("MULTI"),
        cmd("SET a 1"),
        cmd("SELECT 3"),
        cmd("INCR b"),
        cmd("EXEC"),
        cmd("GET a"),
    ]
    .concat());
    rig.down("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n-ERR value is not an integer\r\n$-1\r\n");
    let found = rig.end();
    let said: Vec<_> = found.iter().map(super::brief).collect();
    assert_eq!(
        said,
        [
            "SELECT@0 [] Replied status",
            "MULTI@2 [] Replied status",
            "SET@2 [a] Executed status",
            "SELECT@2 [] Executed status",
            "INCR@3 [b] Executed error:ERR",
            "EXEC@3 [] Replied array",
            "GET@3 [a] Replied null",
        ]
    );
    let multi: Vec<_> = commands(&found).iter().map(|c| c.multi).collect();
    assert_eq!(multi, [None, Some(1), Some(1), Some(1), Some(1), Some(1), None]);
}

#[test]
fn transactions_that_do_not_run_say_why() {
    let mut rig = Rig::default();
    rig.up([cmd("WATCH a"), cmd("MULTI"), cmd("SET a 1"), cmd("EXEC")].concat());
    rig.down("+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
    rig.up([cmd("MULTI"), cmd("SET a 1"), cmd("NOSUCH"), cmd("EXEC")].concat());
    rig.down("+OK\r\n+QUEUED\r\n-ERR unknown command\r\n-EXECABORT Transaction discarded\r\n");
    rig.up([cmd("MULTI"), cmd("SET a 1"), cmd("DISCARD"), cmd("EXEC")].concat());
    rig.down("+OK\r\n+QUEUED\r\n+OK\r\n-ERR EXEC without MULTI\r\n");
    rig.up([cmd("MULTI"), cmd("SET a 1"), cmd("RESET")].concat()).down("+OK\r\n+QUEUED\r\n+RESET\r\n");
    rig.up([cmd("MULTI"), cmd("SET a 1"), cmd("MULTI")].concat())
        .down("+OK\r\n+QUEUED\r\n-ERR MULTI calls can not be nested\r\n");
    let found = rig.end();
    let hows: Vec<_> =
        commands(&found).iter().filter(|c| c.operation == "SET").map(|c| c.how.unwrap()).collect();
    assert_eq!(hows, [How::Watched, How::Aborted, How::Discarded, How::Discarded, How::Open]);
    let unknown = commands(&found).into_iter().find(|c| c.class.is_none()).unwrap();
    assert_eq!(unknown.operation, "", "the name of what is no command may be anything");
}

#[test]
fn replies_that_are_switched_off_are_not_waited_for() {
    let mut rig = Rig::default();
    rig.up([
        cmd("GET a"),
        cmd("CLIENT REPLY OFF"),
        cmd("SET a 1"),
        cmd("SET b 1"),
        cmd("CLIENT REPLY ON"),
        cmd("GET b"),
    ]
    .concat());
    rig.down("$-1\r\n+OK\r\n$1\r\n1\r\n");
    rig.up([
        cmd("CLIENT REPLY SKIP"),
        cmd("SET c 1"),
        cmd("GET c"),
        cmd("CLIENT REPLY SKIP"),
        cmd("SET d 1"),
        cmd("LPUSH d x"),
    ]
    .concat());
    rig.down("$1\r\n1\r\n-WRONGTYPE x\r\n");
    assert!(rig.framer_idle());
    assert_eq!(
        rig.said(),
        [
            "CLIENT REPLY@0 [] Silent",
            "SET@0 [a] Silent",
            "SET@0 [b] Silent",
            "GET@0 [a] Replied null",
            "CLIENT REPLY@0 [] Replied status",
            "GET@0 [b] Replied bulk",
            "CLIENT REPLY@0 [] Silent",
            "SET@0 [c] Silent",
            "CLIENT REPLY@0 [] Silent",
            "SET@0 [d] Silent",
            "GET@0 [c] Replied bulk",
            "LPUSH@0 [d] Replied error:WRONGTYPE",
        ]
    );
}

#[test]
fn silence_that_the_server_refuses_does_not_shift_replies() {
    let mut rig = Rig::default();
    rig.up([cmd("CLIENT REPLY OFF"), cmd("GET a"), cmd("GET b")].concat());
    rig.down("-NOAUTH Authentication required.\r\n-NOAUTH x\r\n-NOAUTH x\r\n");
    rig.up(cmd("PING")).down("+PONG\r\n");
    rig.up([cmd("CLIENT REPLY SKIP"), cmd("GET a"), cmd("GET b")].concat());
    rig.down("-NOPERM User default has no permissions to run the 'client|reply' command\r\n$-1\r\n:5\r\n");
    let found = rig.end();
    let last = commands(&found)
        .into_iter()
        .filter(|c| c.how == Some(How::Replied))
        .map(|c| super::brief(&Found::Command(Box::new(c))))
        .collect::<Vec<_>>();
    assert_eq!(last, ["PING@0 [] Replied status", "GET@0 [b] Replied integer"]);
    let mut rig = Rig::default();
    rig.up([cmd("MULTI"), cmd("CLIENT REPLY OFF")].concat());
    assert_eq!(rig.refused, Some("redis.reply_mode"), "it would break off EXEC's reply in the middle");
}

#[test]
fn many_silenced_commands_take_no_memory_and_no_order() {
    let mut rig = Rig::default();
    rig.up(cmd("CLIENT REPLY OFF"));
    for _ in 0..5_000 {
        rig.up(cmd("SET a 1"));
    }
    rig.up([cmd("CLIENT REPLY ON"), cmd("GET a")].concat()).down("+OK\r\n$1\r\n1\r\n");
    assert_eq!(rig.end().len(), 5_003);
    assert!(rig.framer_idle());
}

#[test]
fn subscriptions_are_answered_once_a_channel_and_messages_answer_nobody() {
    let mut rig = Rig::default();
    rig.up([
        cmd("SUBSCRIBE a b"),
        cmd("PSUBSCRIBE p*"),
        cmd("PING"),
        cmd("UNSUBSCRIBE"),
        cmd("PUNSUBSCRIBE"),
    ]
    .concat());
    rig.down("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    rig.down("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n");
    rig.down("*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\npq\r\n$3\r\nabc\r\n");
    rig.down("*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    rig.down("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n");
    rig.down("*3\r\n$12\r\npunsubscribe\r\n$2\r\np*\r\n:0\r\n");
    // Not subscribed any more, so this is an ordinary reply that looks like a message.
    rig.up(cmd("LRANGE l 0 -1")).down("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    rig.up(cmd("UNSUBSCRIBE")).down("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    assert_eq!(
        rig.said(),
        [
            "SUBSCRIBE@0 [a,b] Replied array",
            "message [a] 5",
            "PSUBSCRIBE@0 [p*] Replied array",
            "pmessage [pq] 3",
            "PING@0 [] Replied array",
            "UNSUBSCRIBE@0 [] Replied array",
            "PUNSUBSCRIBE@0 [] Replied array",
            "LRANGE@0 [l] Replied array",
            "UNSUBSCRIBE@0 [] Replied array",
        ]
    );
    assert!(rig.framer_idle());
}

#[test]
fn in_resp3_pushes_come_between_anything() {
    let mut rig = Rig::default();
    rig.up([
        cmd("HELLO 3 AUTH bob s3cret SETNAME app"),
        cmd("SUBSCRIBE a"),
        cmd("GET x"),
        cmd("CLIENT TRACKING ON"),
    ]
    .concat());
    rig.down("%1\r\n$5\r\nproto\r\n:3\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    rig.down(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n_\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n+OK\r\n");
    rig.up([cmd("SMEMBERS s"), cmd("HGETALL h"), cmd("DEBUG PROTOCOL x"), cmd("DEBUG PROTOCOL y")].concat());
    rig.down("~2\r\n+a\r\n,1.5\r\n|1\r\n+k\r\n*1\r\n:1\r\n%1\r\n$1\r\nf\r\n=7\r\ntxt:abc\r\n(123456789012345678901234567890\r\n#t\r\n");
    let found = rig.end();
    let said: Vec<_> = found.iter().map(super::brief).collect();
    assert_eq!(
        said,
        [
            "HELLO@0 [] Replied map",
            "SUBSCRIBE@0 [a] Replied push",
            "message [a] 2",
            "GET@0 [x] Replied null",
            "CLIENT TRACKING@0 [] Replied status",
            "SMEMBERS@0 [s] Replied set",
            "HGETALL@0 [h] Replied map",
            "DEBUG@0 [] Replied big_number",
            "DEBUG@0 [] Replied boolean",
        ]
    );
    let get = commands(&found).into_iter().find(|c| c.operation == "GET").unwrap();
    assert_eq!((get.resp, get.user.as_deref(), get.client_name.as_deref()), (3, Some("bob"), Some("app")));
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn a_subscription_within_a_transaction_is_noticed() {
    let mut rig = Rig::default();
    rig.up([cmd("MULTI"), cmd("SUBSCRIBE a"), cmd("EXEC")].concat());
    rig.down("+OK\r\n+QUEUED\r\n*1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    rig.down("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n");
    assert_eq!(rig.said().last().unwrap(), "message [a] 2");
}

#[test]
fn monitor_is_one_record_and_progress() {
    let mut rig = Rig::default();
    rig.up([cmd("MONITOR"), cmd("PING")].concat()).down("+OK\r\n");
    rig.down(
        "+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n+PONG\r\n+1339518083.2 [0 lua] \"x\"\r\n",
    );
    assert!(rig.framer_idle());
    assert_eq!(rig.said(), ["MONITOR@0 [] Replied status", "PING@0 [] Replied status"]);
}

#[test]
fn replication_is_counted_and_what_the_replica_says_beside_it_is_not_hidden() {
    let mut rig = Rig::default();
    rig.up([cmd("REPLCONF listening-port 1"), cmd("PSYNC ? -1"), cmd("CONFIG SET x y")].concat());
    rig.down("+OK\r\n");
    assert!(!rig.passed[0].ends_with(b"y\r\n"), "nothing passes before the server has decided");
    rig.down("\n\n+FULLRESYNC 0123456789012345678901234567890123456789 1\r\n$10\r\n0123456789");
    assert!(rig.passed[0].ends_with(b"y\r\n"));
    rig.up(cmd("REPLCONF ACK 1")).down(vec![b'x'; 1000]);
    let found = rig.end();
    let said: Vec<_> = found.iter().map(super::brief).collect();
    assert_eq!(said, ["REPLCONF@0 [] Replied status", "CONFIG SET@0 [] Open", "PSYNC@0 [] Open"]);
    let (up, down) = commands(&found).pop().unwrap().replicated.unwrap();
    assert_eq!((up, down > 1000), ((cmd("CONFIG SET x y").len() + cmd("REPLCONF ACK 1").len()) as u64, true));
    let mut rig = Rig::default();
    rig.up([cmd("PSYNC ? -1"), cmd("GET a")].concat()).down("-ERR no\r\n").down("$-1\r\n");
    assert_eq!(rig.said(), ["PSYNC@0 [] Replied error:ERR", "GET@0 [a] Replied null"]);
}

#[test]
fn progress_is_told_after_so_many_bytes() {
    let mut rig = Rig::default();
    rig.up(cmd("SYNC"));
    rig.down("$1\r\n");
    let block = vec![0; 8 << 20];
    for _ in 0..17 {
        rig.down(&block);
    }
    let said = rig.said();
    assert_eq!(said.iter().filter(|s| s.starts_with("progress")).count(), 2, "{said:?}");
}

#[test]
fn scripts_are_known_by_their_digest() {
    let mut rig = Rig::default();
    rig.up([
        cmd("EVAL return_1 2 k1 k2 secretarg"),
        cmd("EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 1 k"),
        cmd("SCRIPT LOAD return_1"),
        cmd("FCALL myfunc 1 k"),
    ]
    .concat());
    rig.down(":1\r\n-NOSCRIPT No matching script\r\n$1\r\nx\r\n:1\r\n");
    let found = commands(&rig.end());
    assert_eq!(found[0].keys, ["k1", "k2"]);
    assert_eq!(found[0].script, found[2].script);
    assert_eq!(found[0].script.as_ref().unwrap().len(), 40);
    assert_eq!(found[1].script.as_deref(), Some("e0e1f9fabfc9d4800c877a703b823ac0578ff8db"));
    assert_eq!(found[3].function.as_deref(), Some("myfunc"));
    assert!(!format!("{found:?}").contains("return_1") && !format!("{found:?}").contains("secretarg"));
}

#[test]
fn secrets_are_counted_and_not_kept() {
    let secret = "s3cret-PassW0rd";
    let lines = [
        format!("AUTH {secret}"),
        format!("AUTH bob {secret}"),
        format!("HELLO 3 AUTH bob {secret}"),
        format!("ACL SETUSER bob on >{secret} ~* +@all"),
        format!("CONFIG SET requirepass {secret} maxmemory 1"),
        format!("CONFIG SET masterauth {secret}"),
        format!("MIGRATE h 1 k 0 5 COPY AUTH {secret}"),
        format!("MIGRATE h 1 k 0 5 AUTH2 bob {secret}"),
        format!("SET key {secret}"),
        format!("EVAL {secret} 0"),
        format!("{secret} x"),
        format!("CLIENT {secret}"),
    ];
    let mut rig = Rig::default();
    for line in &lines {
        rig.up(cmd(line)).down(format!("-ERR {secret} is wrong\r\n"));
        rig.up(format!("{line}\r\n")).down(format!("-{secret} is wrong\r\n"));
    }
    rig.up(format!("*2\r\n$4\r\nAUTH\r\n$15\r\n{}", &secret[..9]));
    let found = rig.end();
    assert_eq!(found.len(), 2 * lines.len());
    assert!(!format!("{found:?}").contains(secret));
    let counted = commands(&found).iter().filter(|c| !c.redacted.is_empty()).count();
    assert_eq!(counted, 16, "eight kinds, twice");
    let mut rig = Rig::default();
    rig.up(cmd("AUTH bob s3cret"))
        .down("+OK\r\n")
        .up(cmd("GET a"))
        .down("$-1\r\n")
        .up(cmd("RESET"))
        .down("+RESET\r\n");
    rig.up(cmd("GET a")).down("$-1\r\n");
    let users: Vec<_> = commands(&rig.end()).iter().map(|c| c.user.clone()).collect();
    assert_eq!(users, [Some("bob".into()), Some("bob".into()), Some("bob".into()), None]);
}

#[test]
fn what_is_open_at_the_end_has_no_outcome() {
    let mut rig = Rig::default();
    rig.up([cmd("BLPOP l 0"), cmd("GET a")].concat());
    rig.up(b"*2\r\n$3\r\nGE");
    rig.down("*2\r\n$1\r\nl");
    assert!(!rig.framer_idle());
    assert_eq!(rig.said(), ["BLPOP@0 [l] Open", "GET@0 [a] Open"]);
}
