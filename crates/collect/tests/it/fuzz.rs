//! Fuzz bodies run from seeds: records of every format, cut, doubled and with bytes changed.

use crate::random::{Manner, Random};
use crate::seeds_platforms::PLATFORMS;
use crate::seeds_web::WEB;
use countersign_collect::formats::FORMATS;
use countersign_collect::{fuzz, otlp};
use countersign_event::map::to_ocsf;
use proptest::prelude::*;

/// Records that parse, one or more a format.
const SEEDS: &[&str] = &[
    r#"192.0.2.1 - alice [13/Mar/2024:12:08:33 +0000] "GET /a/7?x=1 HTTP/1.1" 200 803 "-" "curl/8""#,
    r#"2001:db8::1 - - [13/Mar/2024:12:08:33 +0000] "\x16\x03\x01" 400 0"#,
    "<165>1 2003-10-11T22:14:15.003Z host app 77 ID47 [e@1 a=\"b\\\"c\"][f x=\"y\"] \u{feff}text",
    "<34>Mar 13 12:08:33 web1 nginx[7]: 192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET / HTTP/1.1\" 200 3",
    "__REALTIME_TIMESTAMP=1710331713000000\n_COMM=cron\nMESSAGE\n\u{2}\0\0\0\0\0\0\0a\n\n_PID=1\n",
    "<86>Mar 13 12:08:33 m sshd[7]: Failed password for invalid user a from 192.0.2.1 port 5 ssh2",
    "Mon Apr 12 15:19:22 2021 [pid 3] [bob] OK UPLOAD: Client \"192.0.2.1\", \"/a.txt\", 120 bytes, 1.2Kbyte/sec",
    "[12.5] [UFW BLOCK] IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 LEN=60 PROTO=UDP SPT=53 DPT=5353 LEN=20 [SRC=192.0.2.2 ]",
    "13-Mar-2024 12:08:33.250 queries: info: client @0x7f1 192.0.2.1#53 (a.example): query: a.example IN AAAA +E(0)TK (192.0.2.53)",
    "2022-12-20 12:36:56.29 Logon       Login failed for user 'a'. Reason: x. [CLIENT: 192.0.2.1]",
    "240313  9:08:33 [Warning] Access denied for user 'a'@'192.0.2.1' (using password: YES)",
    r#"{"timestamp":"2024-03-13T12:08:33.000000+0000","event_type":"dns","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","proto":"UDP","dns":{"rrname":"a.example","rrtype":"AAAA","rcode":"REFUSED"}}"#,
    "03/13/2024-12:08:33.000001  [Drop] [**] [1:2:3] a [**] [Classification: b] [Priority: 3] {TCP} 192.0.2.1:80 -> 192.0.2.2:443",
    "2024-03-13T12:08:33.1Z stdout P a\n2024-03-13T12:08:33.2Z stdout F b",
    r#"{"log":"a\n","stream":"stdout","time":"2024-03-13T12:08:33Z"}"#,
    "2024-03-13 12:08:33.123 UTC,\"app\",\"shop\",77,\"192.0.2.1:5\",65f1.4d,3,\"SELECT\",2024-03-13 12:00:00 UTC,3/12,0,ERROR,42501,\"permission denied\",,,,,,\"select 1\",,,\"x\"",
    "2024-03-13 12:08:33.000 UTC [77] app@shop LOG:  AUDIT: SESSION,1,1,WRITE,UPDATE,TABLE,a.b,\"update b set x = 1\",<none>",
    "2024-03-13 12:08:33.000 UTC [77] LOG:  duration: 1.5 ms  execute s1: select 1; delete from t",
    r#"{"audit_record":{"name":"Query","record":"7_x","timestamp":"2024-03-13T12:08:33 UTC","command_class":"select","connection_id":"37","status":0,"sqltext":"select \"x\" from `a`","user":"app[app] @ h []","ip":"192.0.2.1"}}"#,
    r#"<AUDIT_RECORD TIMESTAMP="2024-03-13T12:08:33 UTC" RECORD="7_x" NAME="Query" STATUS="0" SQLTEXT="select &quot;x&quot;" USER="app[app]"/>"#,
    "20240313 12:08:33,srv1,app,192.0.2.1,37,99,QUERY,shop,'select \"x\", `y`',0",
    r#"{"t":{"$date":"2024-03-13T12:08:33.000Z"},"s":"I","c":"COMMAND","id":51803,"ctx":"conn1","msg":"Slow query","attr":{"ns":"a.b","command":{"find":"b","filter":{"c":[1]}},"remote":"192.0.2.1:5","durationMillis":120}}"#,
    r#"{"count":3,"reason":"key","context":"toplevel","object":"a","username":"b","client-info":"id=3 addr=192.0.2.1:5 cmd=get","entry-id":7,"timestamp-created":1710331713000}"#,
    "#separator \\x09\n#fields\tts\tid.orig_h\tid.resp_h\tconn_state\n1710331713.2\t192.0.2.1\t192.0.2.2\tSF",
    r"CEF:0|a\|b|c|1|100|n|10|src=192.0.2.1 spt=5 suser=bob jones act=blocked a \= b request=https://a/b rt=1710331713000",
    "LEEF:2.0|V|P|1|E7|x5E|src=192.0.2.1^dst=192.0.2.2^usrName=bob^action=allow",
    r#"{"a":[1,{"b":"c"}],"d":1.50}"#,
    r#"{"time":1710331713.5,"host":"h","sourcetype":"s","event":"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET / HTTP/1.1\" 200 3","fields":{"a":[1]}}"#,
    r#"{"message":{"data":"eyJhIjoxfQ==","attributes":{"k":"v"},"messageId":"1","publishTime":"2024-03-13T12:08:33Z"},"subscription":"projects/p/subscriptions/s"}"#,
    r#"{"stream":{"job":"a"},"values":[["1710331713000000000","line",{"pod":"p"}]]}"#,
    r#"{"tag":"a.b","time":1710331713.5,"metadata":{"k":1},"record":{"log":{"$base64":"/w=="},"n":1}}"#,
    r#"{"class_uid":6003,"activity_id":2,"time":1700000000123,"status_id":2,"api":{"operation":"Get","service":{"name":"s3"}},"actor":{"user":{"uid":"arn:a","name":"b","type_id":1,"groups":[{"name":"g"}]}},"src_endpoint":{"ip":"192.0.2.7","port":1},"http_request":{"x_forwarded_for":["192.0.2.1"]},"cloud":{"provider":"AWS","region":"x"},"metadata":{"version":"1.8.0","uid":"u"}}"#,
];

fn all() -> Vec<&'static str> {
    SEEDS.iter().chain(WEB).chain(PLATFORMS).copied().collect()
}

#[test]
fn batches_are_cut_in_order_wherever_they_end() {
    for batch in [r#"{"kind":"List","items":[{"a":"]\\"},[],1,"x"],"z":{}}"#, r#" [1,{"b":[null]}] "#] {
        for choice in [0, 1] {
            for cut in 0..=batch.len() {
                fuzz::split(&[&[choice], &batch.as_bytes()[..cut]].concat());
            }
        }
    }
}

#[test]
fn what_a_nats_server_says_holds_wherever_it_ends() {
    let talk = b"INFO {\"nonce\":\"a\"}\r\nMSG a 1 $JS.ACK.S.c.1.2.3.4.5 2\r\nhi\r\nHMSG a 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n\
        -ERR 'No'\r\nPING\r\n";
    let answer = br#"{"error":{"code":404},"config":{"filter_subjects":["a"]},"state":{"first_seq":1}}"#;
    for bytes in [
        &talk[..],
        &answer[..],
        b"$JS.ACK.h.A.S.c.1.2.3.4.5.r",
        b"---BEGIN USER JWT---\na\n---BEGIN NKEY SEED---\nb",
    ] {
        for cut in 0..=bytes.len() {
            for step in [0, 1, 7] {
                fuzz::collect_nats(&[&[step], &bytes[..cut]].concat());
            }
        }
    }
}

#[test]
fn requests_of_loki_hold_wherever_they_end() {
    let json = r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x",{"c":"d"}],{},7]}]}"#;
    let protobuf = b"\x0a\x18\x0a\x07{a=\"b\"}\x12\x0d\x0a\x04\x08\x01\x10\x02\x12\x01\xff\x1a\x02\x0a\x00";
    for (choice, body) in [(0, json.as_bytes()), (1, &protobuf[..])] {
        for cut in 0..=body.len() {
            fuzz::collect_loki(&[&[choice], &body[..cut]].concat());
        }
    }
}

#[test]
fn seeds_of_every_format_hold_under_every_parser() {
    for seed in all() {
        for choice in 0..=FORMATS.len() as u8 {
            let mut bytes = vec![choice];
            bytes.extend_from_slice(seed.as_bytes());
            for cut in 1..=bytes.len() {
                fuzz::collect_record(&bytes[..cut]);
            }
        }
    }
}

proptest! {
    #[test]
    fn changed_seeds_hold(seed: prop::sample::Index, choice: u8, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        let mut bytes = vec![choice];
        bytes.extend_from_slice(all()[seed.index(all().len())].as_bytes());
        for (at, byte) in changes {
            let at = at.index(bytes.len() - 1) + 1;
            bytes[at] = byte;
        }
        fuzz::collect_record(&bytes);
    }

    #[test]
    fn any_bytes_hold_as_protobuf_otlp_and_grpc(bytes in any::<Vec<u8>>()) {
        fuzz::collect_proto(&bytes);
        fuzz::collect_otlp(&bytes);
        fuzz::collect_grpc(&bytes);
        fuzz::collect_loki(&bytes);
    }

    #[test]
    fn changed_exports_hold(seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let event = Random::new(seed, Manner::Tidy).event();
        let change = |mut bytes: Vec<u8>| {
            for (at, byte) in &changes {
                let at = at.index(bytes.len() - 1) + 1;
                bytes[at] = *byte;
            }
            bytes
        };
        let ocsf = FORMATS.iter().position(|format| format.name == "ocsf").unwrap() as u8;
        fuzz::collect_record(&change([&[ocsf], to_ocsf(&event).as_bytes()].concat()));
        let request = otlp::export(&[event]);
        fuzz::collect_otlp(&change([&[0], otlp::to_protobuf(&request).as_slice()].concat()));
        fuzz::collect_otlp(&change([&[0], otlp::to_json(&request).as_bytes()].concat()));
    }

    #[test]
    fn any_bytes_hold(bytes in any::<Vec<u8>>()) {
        fuzz::collect_record(&bytes);
        fuzz::collect_files(&bytes);
        fuzz::collect_nats(&bytes);
        fuzz::collect_kafka(&bytes);
        fuzz::collect_witness(&bytes);
    }

    #[test]
    fn any_pattern_judges_any_path(text in "[/a*?\\[\\]!^\\-]{0,12}\0[/ab.]{0,16}") {
        fuzz::collect_files(text.as_bytes());
    }
}
