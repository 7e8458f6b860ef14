//! Inputs that fetch from a broker, through the binary and its configuration: every message one record, also across a
//! kill of either.

use crate::support::{Home, stop};
use countersign_testkit::Child;
use countersign_testkit::kafka::Kafka;
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

#[test]
fn messages_of_a_kafka_topic_are_found_each_once_across_a_kill_of_the_collector() {
    let kafka = Kafka::start(None).unwrap();
    kafka.with_python("[\"create\",\"orders\",2]\n").unwrap();
    let send = |from: u64, to: u64| {
        let one = |n: u64| {
            let line = format!(
                "192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \\\"GET /orders/{n} HTTP/1.1\\\" 200 803 \\\"-\\\" \\\"curl/8\\\""
            );
            format!("[{},null,\"{line}\",[]]", n % 2)
        };
        let messages: Vec<String> = (from..to).map(one).collect();
        kafka.with_python(&format!("[\"send\",\"orders\",\"gzip\",[{}]]\n", messages.join(","))).unwrap();
    };
    send(0, 40);
    let home = Home::new("queue-kafka");
    let config = home.path().join("countersign.toml");
    let text = format!(
        "[web]\nenabled = false\n[[input]]\nname = \"orders\"\nprotocol = \"kafka\"\n[input.kafka]\n\
         brokers = [\"{}\"]\ntopics = [\"orders\"]\ngroup = \"countersign\"\n",
        kafka.address
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        let command = home.command(&["run", "--config", config.to_str().unwrap()]);
        let mut child = Child::start(command, &home.path().join("run.log")).unwrap();
        child.wait_for_line("records that are fetched", Duration::from_secs(30)).unwrap();
        child
    };
    let mut child = start();
    assert_eq!(home.settle("route:orders op:GET", 40), 40, "{}", child.output());
    child.kill();
    send(40, 60);
    child = start();
    assert_eq!(home.settle("route:orders op:GET", 60), 60, "{}", child.output());
    let ids = "select count(distinct source_id) as n from events where route = 'orders' and op = 'GET'";
    assert!(home.ok(&["sql", ids, "-o", "csv"]).contains("60"));
    stop(child);
    assert_eq!(home.count("route:orders op:GET"), 60);
}
