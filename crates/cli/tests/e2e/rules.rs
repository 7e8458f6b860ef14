//! Detection rules in the Sigma format, through the binary: checked, run on live traffic, and not told twice.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, wait_for_port};
use std::net::SocketAddr;
use std::time::Duration;

const RULE: &str = "title: Deleted\nid: it-deleted\nlevel: high\nauthor: Somebody\nexplain: '{op} on {service}'\n\
logsource: {category: webserver}\ndetection: {sel: {op: DELETE}, condition: sel}\n---\n\
title: gets\nid: it-get\nlogsource: {category: webserver}\ndetection: {sel: {op: GET}, condition: sel}\n---\n\
title: Many gets\nid: it-many\nlevel: low\nexplain: '{count} calls'\n\
correlation: {type: event_count, rules: [it-get], group-by: [service], timespan: 10m, condition: {gte: 5}}\n";

#[test]
fn rules_are_checked_run_on_live_traffic_and_say_the_same_once_across_a_kill() {
    let home = Home::new("rules");
    let dir = home.path().join("rules");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("a.yml"), RULE).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let config = home.path().join("countersign.toml");
    let text = format!(
        "[web]\nenabled = false\n[detect]\nrules = [\"rules\"]\n[[listener]]\nname = \"front\"\nlisten = \"{address}\"\n\
         upstream = \"http://{}\"\nservice = \"orders\"\n",
        upstream()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let ours = home.ok(&["rules", "check", "--config", config]).matches("runs ").count();
    let checked = home.ok(&["rules", "check", dir.to_str().unwrap()]);
    assert_eq!(checked.matches("runs ").count(), 3, "{checked}");
    assert!(ours > 60, "the pack and these three: {ours}");
    assert!(checked.contains("it-many low           correlation Many gets"), "{checked}");
    let start = || {
        let child =
            Child::start(home.command(&["run", "--config", config]), &home.path().join("run.log")).unwrap();
        wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
        child
    };
    let ask = |method: &str, times: usize| {
        let mut connection = Connection::open(address).unwrap();
        for n in 0..times {
            connection.request(method, &format!("/orders/{n}"), &[], b"").unwrap();
        }
    };
    let mut child = start();
    ask("DELETE", 1);
    ask("GET", 3);
    assert_eq!(home.settle("rec:finding label:it-deleted", 1), 1, "{}", child.output());
    assert_eq!(home.settle("rec:interaction", 4), 4);
    assert_eq!(home.count("rec:finding label:it-many"), 0);
    child.kill();
    // Three before and two after it: the window goes on.
    child = start();
    ask("GET", 2);
    assert_eq!(home.settle("rec:finding label:it-many", 1), 1, "{}", child.output());
    stop(child);
    assert_eq!(home.count("rec:finding label:it-deleted"), 1);

    // What is replayed is what was found, with the same ids, however it is cut.
    let one = home.ok(&["detect", "replay", "--config", config, "-o", "ndjson", "--batch", "1"]);
    let many = home.ok(&["detect", "replay", "--config", config, "-o", "ndjson", "--batch", "65536"]);
    assert_eq!(one, many);
    assert_eq!(one.matches("it-deleted").count(), 1, "{one}");
    let listed = home.ok(&["findings", "-o", "ndjson"]);
    assert_eq!(listed.lines().count(), one.lines().count(), "{listed} {one}");
    assert!(listed.contains("DELETE on orders"), "{listed}");
    assert_eq!(home.ok(&["findings", "label:it-deleted", "--count"]).trim(), "1");
    let alone = home.ok(&["detect", "replay", "--rules", dir.to_str().unwrap(), "--from", "1"]);
    assert!(alone.lines().all(|line| line.contains("it-")) && alone.contains("DELETE on orders"), "{alone}");

    // Rules are held against test events; a file without any fails.
    let tests = dir.join("a.test.ndjson");
    let verb = |op: &str| format!("{{\"core\":{{\"op\":\"{op}\",\"kind\":\"http\"}}}}");
    let case = |hit: bool, op: &str| format!("{{\"match\":{hit},\"events\":[{}]}}\n", verb(op));
    std::fs::write(&tests, case(true, "DELETE") + &case(false, "PUT")).unwrap();
    assert!(home.ok(&["rules", "test", dir.to_str().unwrap()]).contains("1 to match, 1 not to: ok"));
    std::fs::write(&tests, case(true, "PUT")).unwrap();
    let failed = home.run(&["rules", "test", dir.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&failed.stdout).contains("line 1: must match and does not"),
        "{failed:?}"
    );
    std::fs::remove_file(&tests).unwrap();
    assert_eq!(home.run(&["rules", "test", dir.to_str().unwrap()]).status.code(), Some(1));

    // A placeholder has the configuration's values; without them the rule is refused, and the key is named.
    let placed = RULE.replace("it-", "p-").replace("op: DELETE", "'op|expand': '%verbs%'");
    let (alone, with) = (home.path().join("p.yml"), home.path().join("p.toml"));
    std::fs::write(&alone, placed).unwrap();
    std::fs::write(&with, "[[detect.placeholder]]\nname = \"verbs\"\nvalues = [\"DELETE\", \"PUT\"]\n")
        .unwrap();
    let [alone, with] = [&alone, &with].map(|path| path.to_str().unwrap());
    let refused = home.run(&["rules", "check", alone]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("[[detect.placeholder]]"), "{refused:?}");
    assert_eq!(home.ok(&["rules", "check", "--config", with, alone]).matches("runs ").count(), 3);

    // A rule that does not run is named, and nothing starts with it.
    std::fs::write(dir.join("b.yml"), RULE.replace("it-", "b-").replace("op: DELETE", "op|contain: DELETE"))
        .unwrap();
    let refused = home.run(&["rules", "check", dir.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("refused") && said.contains("b.yml") && said.contains("contain"), "{said}");
    let started = home.run(&["run", "--config", config]);
    assert_eq!(started.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&started.stderr).contains("countersign rules check"));
}
