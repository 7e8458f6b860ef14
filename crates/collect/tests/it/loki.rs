//! Loki's push API against a real ledger, packed by somebody else's Snappy too.

use crate::push::{Rig, StillDisk, request};
use countersign_collect::intake::IntakeLimits;
use countersign_collect::proto::Writer;
use countersign_event::{Kind, Rec};
use countersign_testkit::python::venv;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PUSH: &str = "/loki/api/v1/push";
const JSON: &str = "Content-Type: application/json\r\n";
const LINE: &str = r#"192.0.2.1 - - [13/Mar/2024:12:08:33 +0000] \"GET /a/7 HTTP/1.1\" 200 803"#;

fn body(lines: &[&str]) -> String {
    let values: Vec<_> =
        lines.iter().map(|line| format!("[\"1710331713000000000\",\"{line}\",{{\"pod\":\"p\"}}]")).collect();
    format!("{{\"streams\":[{{\"stream\":{{\"job\":\"x\"}},\"values\":[{}]}}]}}", values.join(","))
}

#[test]
fn entries_are_records_known_again_by_labels_time_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let text = body(&[LINE, "twice", "twice"]);
    for _ in 0..2 {
        assert_eq!(request(rig.address, "POST", PUSH, JSON, text.as_bytes()), (204, String::new()));
    }
    let other = text.replace("\"x\"", "\"y\"");
    assert_eq!(request(rig.address, "POST", PUSH, JSON, other.as_bytes()).0, 204);
    let events = rig.events();
    assert_eq!(events.len(), 6, "another stream's entries are others");
    assert_eq!(events[0].core.kind, Some(Kind::Http));
    assert_eq!(events[1].core.rec, Some(Rec::Raw));
    assert!(events.iter().all(|event| event.content.unmapped.contains_key("/loki/stream/job")));
    assert!(events.iter().all(|event| event.content.unmapped.contains_key("/loki/metadata/pod")));
}

#[test]
fn what_is_no_push_is_refused_and_an_odd_entry_is_raw() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    for (kind, bad) in
        [(JSON, &b"{}"[..]), (JSON, b"{\"streams\":["), ("", b"\x05\x00"), ("", b"\x02\x04\x0a\x05")]
    {
        assert_eq!(request(rig.address, "POST", PUSH, kind, bad).0, 400, "{bad:?}");
    }
    let odd = "{\"streams\":[{\"stream\":{},\"values\":[7]}]}";
    assert_eq!(request(rig.address, "POST", PUSH, JSON, odd.as_bytes()).0, 204);
    assert_eq!(rig.port.intake.counts().rejected, 4);
    let events = rig.events();
    assert_eq!((events.len(), events[0].core.rec), (1, Some(Rec::Raw)));
    assert!(!events[0].body.raw.as_ref().unwrap().bytes.is_empty());
}

#[test]
fn while_the_ledger_stands_still_the_agent_is_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(StillDisk::default());
    let limits = IntakeLimits { durable: Duration::from_millis(200), ..IntakeLimits::default() };
    let rig = Rig::with(dir.path(), None, Arc::clone(&disk), limits);
    disk.0.store(true, Ordering::SeqCst);
    let send = || request(rig.address, "POST", PUSH, JSON, body(&["a", "a", "b"]).as_bytes()).0;
    for _ in 0..3 {
        assert!(matches!(send(), 429 | 503));
    }
    disk.0.store(false, Ordering::SeqCst);
    while send() != 204 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rig.events().len(), 3);
}

/// Packs standard input and pushes it.
const PUSHER: &str = r#"
import sys, urllib.request, cramjam
packed = bytes(cramjam.snappy.compress_raw(sys.stdin.buffer.read()))
for _ in range(2):
    request = urllib.request.Request(f"http://{sys.argv[1]}/loki/api/v1/push", packed, {"Content-Type": "application/x-protobuf"})
    print(urllib.request.urlopen(request).status)
"#;

#[test]
fn protobuf_packed_by_another_snappy_is_read() {
    let python = venv("snappy", &["cramjam==2.11.0"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let mut request = Writer::new();
    request.message(1, |stream| {
        stream.bytes(1, b"{job=\"varlogs\", host=\"n1\"}");
        for n in 0..500_u64 {
            stream.message(2, |entry| {
                entry.message(1, |time| time.uint(1, 1_710_331_713 + n));
                let line = LINE.replace('\\', "").replace("/a/7", &format!("/a/{n}"));
                entry.bytes(2, line.as_bytes());
            });
        }
    });
    let mut child = Command::new(python)
        .args(["-c", PUSHER, &rig.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.done()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "204\n204\n");
    let events = rig.events();
    assert_eq!(events.len(), 500);
    for (n, event) in events.iter().enumerate() {
        assert_eq!((event.core.kind, event.target.raw.as_str()), (Some(Kind::Http), &*format!("/a/{n}")));
    }
}
