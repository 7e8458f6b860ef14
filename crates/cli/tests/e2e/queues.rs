//! Inputs that fetch from a broker, through the binary and its configuration: every message one record, also across a
//! kill of either.

use crate::support::{Home, stop};
use countersign_testkit::Child;
use countersign_testkit::nats::Nats;
use std::time::Duration;

#[test]
fn messages_of_a_nats_stream_are_found_each_once_across_kills_of_collector_and_server() {
    let mut nats = Nats::start("").unwrap();
    let mut client = nats.client("").unwrap();
    let stream = br#"{"name":"S","subjects":["orders.>"],"storage":"file"}"#;
    assert!(client.ask("$JS.API.STREAM.CREATE.S", stream).unwrap().contains("\"did_create\":true"));
    let home = Home::new("queue-nats");
    let config = home.path().join("countersign.toml");
    let text = format!(
        "[web]\nenabled = false\n[[input]]\nname = \"orders\"\nprotocol = \"nats\"\n[input.nats]\n\
         servers = [\"nats://{}\"]\nstream = \"S\"\nconsumer = \"countersign\"\ncreate = true\n",
        nats.address
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        let command = home.command(&["run", "--config", config.to_str().unwrap()]);
        let mut child = Child::start(command, &home.path().join("run.log")).unwrap();
        child.wait_for_line("messages that are fetched", Duration::from_secs(30)).unwrap();
        child
    };
    let mut published = 0;
    let mut publish = |nats: &Nats, count: u64| {
        let mut client = nats.client("").unwrap();
        for _ in 0..count {
            let line = format!(
                "192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET /orders/{published} HTTP/1.1\" 200 803 \"-\" \"curl/8\""
            );
            assert!(client.ask("orders.a", line.as_bytes()).unwrap().contains("\"seq\""));
            published += 1;
        }
        published
    };
    let all = publish(&nats, 40);
    let mut child = start();
    assert_eq!(home.settle("route:orders op:GET", all), all);
    child.kill();
    let all = publish(&nats, 20);
    child = start();
    nats.restart("").unwrap();
    let all = all.max(publish(&nats, 20));
    assert_eq!(home.settle("route:orders op:GET", all), all, "{}", child.output());
    let ids = "select count(distinct source_id) as n from events where route = 'orders' and op = 'GET'";
    assert!(home.ok(&["sql", ids, "-o", "csv"]).contains(&all.to_string()));
    stop(child);
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}
