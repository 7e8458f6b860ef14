//! A stranger's own two programs: one command, one request, one question. No file.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;

#[test]
fn one_request_through_the_proxy_is_answered_and_found_by_q() {
    let home = Home::new("two-commands");
    let (address, child) = home.gateway(upstream());
    let answer = Connection::open(address).unwrap().request("GET", "/orders/17", &[], b"").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "/orders/17"));
    assert_eq!(home.settle("rec:interaction", 1), 1);

    let line = home.ok(&["q", "-o", "ndjson", "rec:interaction"]);
    let record: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(record["who"], "addr:127.0.0.1", "{record}");
    assert_eq!(record["verified"], 1, "{record}");
    assert_eq!(record["op"], "GET", "{record}");
    assert_eq!(record["outcome"], "success", "{record}");
    for field in ["time", "duration_ns", "rsp_size", "resource"] {
        assert!(!record[field].is_null(), "{field} is missing in {record}");
    }
    let text = home.ok(&["q", "-o", "text", "op:GET"]);
    assert!(text.contains("addr:127.0.0.1") && text.contains("GET"), "{text}");
    stop(child);

    let offline = home.ok(&["q", "-o", "ndjson", "rec:interaction"]);
    assert!(offline.contains("addr:127.0.0.1"), "without a server q reads the directory: {offline}");
}

#[test]
fn a_question_without_an_answer_exits_1_and_a_wrong_one_exits_2_with_the_nearest_field() {
    let home = Home::new("questions");
    let (address, child) = home.gateway(upstream());
    Connection::open(address).unwrap().request("GET", "/", &[], b"").unwrap();
    home.settle("rec:interaction", 1);
    assert_eq!(home.run(&["q", "op:DELETE"]).status.code(), Some(1));
    let wrong = home.run(&["q", "idenity:x"]);
    assert_eq!(wrong.status.code(), Some(2));
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(text.contains("idenity") && text.contains("identity"), "{text}");
    let sql = home.ok(&["sql", "-o", "ndjson", "select count(*) as n from events where op = 'GET'"]);
    assert!(sql.contains("\"n\":1"), "{sql}");
    assert_eq!(home.run(&["sql", "drop table events"]).status.code(), Some(2));
    stop(child);
}

#[test]
fn a_restart_on_the_same_directory_continues_the_same_ledger() {
    let home = Home::new("restart");
    let upstream = upstream();
    for round in 1..=3 {
        let (address, child) = home.gateway(upstream);
        Connection::open(address).unwrap().request("GET", &format!("/round/{round}"), &[], b"").unwrap();
        assert_eq!(home.settle("rec:interaction", round), round);
        stop(child);
    }
    let fsck = home.run(&["fsck", "--deep"]);
    assert_eq!(
        fsck.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&fsck.stdout),
        String::from_utf8_lossy(&fsck.stderr)
    );
}
