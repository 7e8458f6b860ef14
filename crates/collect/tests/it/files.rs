//! Files followed against a real ledger: across rotation, cuts, crashes and damage each line is there once, and what
//! cannot be is declared.

use countersign_collect::files::{Follower, Framing, Patience, Settings, TrailSettings, glob::Pattern};
use countersign_collect::intake::{Intake, IntakeLimits, Keys};
use countersign_collect::receivers::{Access, Port};
use countersign_collect::{Input, Keeper, formats};
use countersign_event::{CaptureConf, CaptureMode, Event, Rec, Verified};
use countersign_ledger::{Feed, Kek, Ledger, Options, Payload, SourceSpec};
use countersign_redact::Scanner;
use countersign_testkit::repetitions;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A ledger, a directory of logs, and an input that follows them.
struct Rig {
    dir: tempfile::TempDir,
    ledger: Ledger,
    port: Arc<Port>,
    follower: Option<Follower>,
    pattern: &'static str,
    format: Option<&'static str>,
    patience: Patience,
    trail: Option<TrailSettings>,
    runtime: tokio::runtime::Runtime,
}

/// Nothing is waited for.
const AT_ONCE: Patience =
    Patience { partial: Duration::ZERO, unended: Duration::ZERO, gone: Duration::ZERO, rest: Duration::ZERO };
/// What may still come is waited for longer than any test lasts.
const FOREVER: Patience = Patience {
    partial: Duration::from_secs(3_600),
    unended: Duration::from_secs(3_600),
    gone: Duration::from_secs(3_600),
    rest: Duration::from_secs(3_600),
};

impl Rig {
    fn new(pattern: &'static str) -> Rig {
        Rig::with(pattern, None, FOREVER)
    }

    fn with(pattern: &'static str, format: Option<&'static str>, patience: Patience) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let options = Options::new("example.org/collect/1");
        let (ledger, _) = Ledger::open(&dir.path().join("data"), Kek::from_bytes([3; 32]), options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let port = port(&ledger, format);
        let mut rig =
            Rig { dir, ledger, port, follower: None, pattern, format, patience, trail: None, runtime };
        rig.start();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("log").join(name)
    }

    /// A new process over the same files and ledger: an earlier one is dropped, as by a crash.
    fn start(&mut self) {
        self.follower = None;
        // Nothing of a dead process becomes durable after the next one has begun.
        let all = IntakeLimits::default().in_flight;
        drop(self.runtime.block_on(self.port.intake.wait_room(all)).unwrap());
        self.port = port(&self.ledger, self.format);
        let mut keys = Keys::default();
        for event in events(&self.ledger) {
            keys.next(&event).into_iter().for_each(|key| self.port.intake.remember(key));
        }
        let pattern = format!("{}/log/{}", self.dir.path().display(), self.pattern);
        let settings = Settings {
            paths: vec![Pattern::new(&pattern).unwrap()],
            exclude: vec![Pattern::new(&format!("{}/log/*.skip", self.dir.path().display())).unwrap()],
            framing: self.format.map_or(Framing::Auto, Framing::of_format),
            checkpoint: self.dir.path().join("data/collect/test.files"),
            patience: self.patience,
            trail: self.trail.clone(),
        };
        self.follower = Some(Follower::open(Arc::clone(&self.port), settings).unwrap());
    }

    /// Looks and reads until there is nothing more.
    fn read(&mut self) {
        let follower = self.follower.as_mut().unwrap();
        while self.runtime.block_on(follower.poll(true)).unwrap() {}
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// The records' own bytes, in the order of the ledger.
    fn raw(&self) -> Vec<String> {
        let records = events(&self.ledger).into_iter().filter(|event| event.core.rec != Some(Rec::Platform));
        records
            .map(|event| String::from_utf8(event.body.raw.as_ref().unwrap().bytes.clone()).unwrap())
            .collect()
    }

    /// What the input said about its files: operation and reason. What a file's records are is no complaint.
    fn told(&self) -> Vec<(String, String)> {
        let own = events(&self.ledger).into_iter().filter(|event| event.core.rec == Some(Rec::Platform));
        let own = own.filter(|event| event.core.op != "input.detected");
        own.map(|event| (event.core.op.clone(), event.content.err.clone())).collect()
    }
}

fn port(ledger: &Ledger, format: Option<&str>) -> Arc<Port> {
    let stream = [ledger.sources().len() as u8 + 1; 16];
    let source = ledger.register(SourceSpec { identity: "input:test".into(), stream }).unwrap();
    let mut input = Input::new("test");
    input.mode = CaptureMode::File;
    input.keep_raw = countersign_collect::KeepRaw::All;
    input.level = Verified::Asserted;
    Arc::new(Port {
        input,
        format: format.map(|name| formats::by_name(name).unwrap()),
        intake: Intake::new(source, IntakeLimits::default()),
        keeper: Arc::new(Keeper::new(Scanner::default(), &[7; 32])),
        access: Access::open(),
    })
}

fn events(ledger: &Ledger) -> Vec<Event> {
    let (size, mut reader, mut events) = (ledger.size(), ledger.reader(0), Vec::new());
    while reader.position() < size {
        if let Some(Feed::Batch(batch)) = reader.next(Duration::from_secs(5)).unwrap() {
            for record in &batch.records {
                if let Payload::Event { event, .. } = &record.payload {
                    events.push((**event).clone());
                }
            }
        }
    }
    events
}

/// Numbered lines, each of which can be told from every other.
fn line(n: u64) -> String {
    format!("{{\"n\":{n},\"ts\":{}}}", 1_710_331_713 + n)
}

fn once(rig: &Rig, lines: u64) {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    rig.raw().into_iter().for_each(|line| *seen.entry(line).or_default() += 1);
    for n in 0..lines {
        assert_eq!(seen.remove(&line(n)), Some(1), "line {n} of {lines}; {:?}", rig.told());
    }
    assert!(seen.is_empty(), "nothing else: {seen:?}");
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[test]
fn lines_become_events_with_their_place_and_the_end_of_a_line_is_waited_for() {
    let mut rig = Rig::new("*.log");
    rig.write("a.log", b"{\"ts\":1,\"a\":1}\nwhat is ");
    rig.write("b.skip", b"left out\n");
    rig.read();
    assert_eq!(rig.raw(), ["{\"ts\":1,\"a\":1}"]);
    rig.write("a.log", b"this\n");
    rig.read();
    assert_eq!(rig.raw(), ["{\"ts\":1,\"a\":1}", "what is this"]);
    let events = events(&rig.ledger);
    let capture = events[1].body.cap.as_ref().unwrap();
    assert_eq!((capture.offset, capture.mode), (Some(15), Some(CaptureMode::File)));
    assert!(capture.path.ends_with("log/a.log") && capture.source_id.ends_with("/15"));
    assert_eq!(capture.conf, Some(CaptureConf::RawOnly));
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_its_successor_from_the_beginning() {
    let mut rig = Rig::new("app.log");
    rig.write("app.log", format!("{}\n", line(0)).as_bytes());
    rig.read();
    let mut old = File::options().append(true).open(rig.path("app.log")).unwrap();
    std::fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
    rig.write("app.log", format!("{}\n", line(2)).as_bytes());
    rig.read();
    // Whoever writes has not noticed yet.
    old.write_all(format!("{}\n", line(1)).as_bytes()).unwrap();
    rig.read();
    once(&rig, 3);
    assert!(rig.told().is_empty());
}

#[test]
fn a_file_renamed_while_nobody_looked_is_found_by_its_inode() {
    let mut rig = Rig::new("app.log");
    rig.write("app.log", format!("{}\n", line(0)).as_bytes());
    rig.read();
    rig.follower.take().unwrap().close();
    rig.write("app.log", format!("{}\n", line(1)).as_bytes());
    std::fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
    rig.write("app.log", format!("{}\n", line(2)).as_bytes());
    rig.start();
    rig.read();
    once(&rig, 3);
    assert!(rig.told().is_empty());
}

#[test]
fn a_file_cut_and_written_anew_is_read_from_its_beginning_also_with_the_same_lines() {
    let mut rig = Rig::new("app.log");
    for round in 0..3 {
        // The same bytes each time: only that it shrank tells.
        rig.write("app.log", b"same\nsame\n");
        rig.read();
        assert_eq!(rig.raw().len(), 2 * (round + 1));
        File::options().write(true).open(rig.path("app.log")).unwrap().set_len(0).unwrap();
        rig.read();
    }
    assert_eq!(rig.told().iter().filter(|(op, _)| op == "input.truncated").count(), 3);
    assert_eq!(rig.port.intake.counts().dropped, 0, "everything seen was read");
    assert!(rig.port.intake.counts().adds_up());
}

#[test]
fn a_file_replaced_in_place_by_a_longer_one_is_noticed_by_its_bytes() {
    let mut rig = Rig::new("app.log");
    rig.write("app.log", format!("{}\n", line(0)).as_bytes());
    rig.read();
    std::fs::write(rig.path("app.log"), format!("{}\n{}\n", line(1), line(2))).unwrap();
    rig.read();
    once(&rig, 3);
    // And while nobody looked.
    rig.follower.take().unwrap().close();
    std::fs::write(rig.path("app.log"), format!("{}\n{}\n{}\n", line(3), line(4), line(5))).unwrap();
    rig.start();
    rig.read();
    once(&rig, 6);
}

#[test]
fn a_tail_that_was_seen_and_went_is_a_gap_with_its_bytes() {
    let mut rig = Rig::new("app.log");
    rig.write("app.log", b"first\nunended");
    rig.read();
    rig.follower.take().unwrap().close();
    std::fs::remove_file(rig.path("app.log")).unwrap();
    rig.start();
    rig.read();
    let told = rig.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == "input.lost" && told[0].1.contains("7 bytes"), "{told:?}");
    assert_eq!(rig.port.intake.counts().dropped, 1);
    // Told once.
    rig.follower.take().unwrap().close();
    rig.start();
    rig.read();
    assert_eq!(rig.told().len(), 1);
}

#[test]
fn a_deleted_file_gives_its_last_line_although_it_has_no_end() {
    let mut rig = Rig::with("app.log", None, Patience { gone: Duration::ZERO, ..FOREVER });
    rig.write("app.log", b"first\nlast");
    rig.read();
    assert_eq!(rig.raw(), ["first"], "it may still grow");
    std::fs::remove_file(rig.path("app.log")).unwrap();
    rig.read();
    assert_eq!(rig.raw(), ["first", "last"]);
    assert_eq!(rig.follower.as_ref().unwrap().counts(), (0, 0));
}

#[test]
fn parts_of_a_container_line_are_one_record_and_parts_without_an_end_come_out_partial() {
    let mut rig = Rig::with("0.log", None, Patience { unended: Duration::from_secs(3_600), ..AT_ONCE });
    rig.patience.partial = Duration::from_secs(3_600);
    rig.start();
    let access = r#"192.0.2.1 - - [13/Mar/2024:12:08:30 +0000] "GET /a HTTP/1.1" 200 3"#;
    let (front, back) = access.split_at(20);
    rig.write("0.log", format!("2024-03-13T12:08:33.1Z stdout P {front}\n").as_bytes());
    rig.read();
    assert!(rig.raw().is_empty());
    // A crash between the parts.
    rig.start();
    rig.write("0.log", format!("2024-03-13T12:08:33.2Z stdout F {back}\n").as_bytes());
    rig.read();
    rig.patience.partial = Duration::ZERO;
    rig.write("0.log", b"2024-03-13T12:08:34.1Z stderr P open\n");
    rig.start();
    rig.read();
    let events = events(&rig.ledger);
    let seen: Vec<_> =
        events.iter().map(|event| (event.body.cap.as_ref().unwrap(), event.target.raw.as_str())).collect();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].0.conf, seen[0].0.merged, seen[0].1), (Some(CaptureConf::Full), Some(2), "/a"));
    assert_eq!(seen[1].0.conf, Some(CaptureConf::Partial));
}

#[test]
fn a_statement_with_line_breaks_in_csvlog_is_one_record() {
    let mut rig = Rig::new("*.csv");
    let record = |n: u8| {
        format!(
            "2024-03-13 12:08:33.250 UTC,\"alice\",\"orders\",7,\"192.0.2.1:5\",65f1,{n},\"SELECT\",2024-03-13 12:08:00 UTC,\
             3/4,0,LOG,00000,\"statement: select 1\n2024-03-13 forged\n\",,,,,,,,,\"psql\",\"client backend\",,0\n"
        )
    };
    rig.write("pg.csv", format!("{}{}", record(1), record(2)).as_bytes());
    rig.read();
    let found = events(&rig.ledger);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|event| event.body.cap.as_ref().unwrap().fmt == "postgres-csv"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_packed_file_is_read_once_also_after_a_restart_and_a_growing_one_when_it_is_whole() {
    let mut rig = Rig::new("*.gz");
    let text: String = (0..5_000).map(|n| format!("{}\n", line(n))).collect();
    let packed = gzip(text.trim_end().as_bytes());
    rig.write("a.gz", &packed[..packed.len() / 2]);
    rig.read();
    rig.write("a.gz", &packed[packed.len() / 2..]);
    rig.read();
    once(&rig, 5_000);
    for _ in 0..2 {
        rig.follower.take().unwrap().close();
        rig.start();
        rig.read();
    }
    once(&rig, 5_000);
    assert!(rig.told().is_empty());
}

#[test]
fn a_packed_file_that_breaks_off_or_is_of_an_unknown_kind_is_told() {
    let mut rig = Rig::with("*", None, AT_ONCE);
    let packed = gzip(&(0..5_000).map(|n| format!("{}\n", line(n))).collect::<String>().into_bytes());
    rig.write("a.gz", &packed[..packed.len() / 2]);
    rig.write("b.zst", b"\x28\xb5\x2f\xfd and more");
    rig.read();
    let told = rig.told();
    assert!(told.iter().any(|(op, why)| op == "input.unreadable" && why.contains("breaks off")), "{told:?}");
    assert!(told.iter().any(|(op, why)| op == "input.unreadable" && why.contains("zstd")), "{told:?}");
    assert!(!rig.raw().is_empty(), "what could be read is recorded");
    let counts = rig.port.intake.counts();
    assert!(counts.adds_up() && counts.dropped == 1 && counts.rejected == 1, "{counts:?}");
}

#[test]
fn the_stages_of_a_request_are_one_event_although_they_were_read_apart_and_a_crash_came_between() {
    let mut rig = Rig::with("audit.log", Some("k8s-audit"), FOREVER);
    let stage = |id: &str, stage: &str, more: &str| {
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{id}\",\
             \"stage\":\"{stage}\",\"requestURI\":\"/api/v1/namespaces/a/pods/b\",\"verb\":\"get\",\
             \"user\":{{\"username\":\"u\"}},\"sourceIPs\":[\"192.0.2.1\"],\
             \"requestReceivedTimestamp\":\"2024-03-13T12:08:33.000000Z\",\
             \"stageTimestamp\":\"2024-03-13T12:08:33.010000Z\"{more}}}\n"
        )
    };
    let done = ",\"responseStatus\":{\"code\":200}";
    rig.write("audit.log", stage("x", "RequestReceived", "").as_bytes());
    rig.write("audit.log", stage("y", "ResponseComplete", done).as_bytes());
    rig.read();
    assert_eq!(rig.raw().len(), 1, "the first stage waits");
    rig.start();
    rig.write("audit.log", stage("x", "ResponseComplete", done).as_bytes());
    rig.read();
    let merged: Vec<_> =
        events(&rig.ledger).iter().map(|event| event.body.cap.as_ref().unwrap().merged).collect();
    assert_eq!(merged, [None, Some(2)]);
}

#[test]
fn a_file_that_everybody_may_write_to_is_no_more_than_claimed() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new("*.log");
    let access = r#"192.0.2.1 - alice [13/Mar/2024:12:08:30 +0000] "GET /a HTTP/1.1" 200 3"#;
    for (name, mode) in [("a.log", 0o640), ("b.log", 0o666)] {
        rig.write(name, format!("{access}\n").as_bytes());
        std::fs::set_permissions(rig.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    rig.read();
    let levels: Vec<_> =
        events(&rig.ledger).iter().map(|event| event.body.cap.as_ref().unwrap().level).collect();
    assert_eq!(levels, [Some(Verified::Asserted), Some(Verified::Claimed)]);
}

#[test]
fn a_damaged_checkpoint_is_refused_and_a_lost_one_doubles_nothing() {
    let mut rig = Rig::new("app.log");
    rig.write("app.log", (0..50).map(|n| format!("{}\n", line(n))).collect::<String>().as_bytes());
    rig.read();
    rig.follower.take().unwrap().close();
    let checkpoint = rig.dir.path().join("data/collect/test.files");
    std::fs::remove_file(&checkpoint).unwrap();
    rig.start();
    rig.read();
    once(&rig, 50);
    let settings = rig.settings_for_test();
    std::fs::write(&checkpoint, "countersign files 1\nend 0 00\n").unwrap();
    let error = Follower::open(Arc::clone(&rig.port), settings).unwrap_err().to_string();
    assert!(error.contains("test.files") && error.contains("move it away"), "{error}");
}

impl Rig {
    fn settings_for_test(&self) -> Settings {
        Settings {
            paths: Vec::new(),
            exclude: Vec::new(),
            framing: Framing::Auto,
            checkpoint: self.dir.path().join("data/collect/test.files"),
            patience: FOREVER,
            trail: None,
        }
    }
}

/// Writes numbered lines in pieces of any length and rotates by renaming, at moments of its own choice.
struct Writer {
    random: Random,
    dir: PathBuf,
    file: File,
    next: u64,
    rotations: u64,
    /// Of a line that was begun.
    rest: Vec<u8>,
}

impl Writer {
    fn new(dir: &Path, seed: u64) -> Writer {
        let dir = dir.join("log");
        let file = File::options().append(true).create(true).open(dir.join("app.log")).unwrap();
        Writer { random: Random(seed), dir, file, next: 0, rotations: 0, rest: Vec::new() }
    }

    fn act(&mut self) {
        match self.random.below(30) {
            0 => {
                self.finish_line();
                self.rotations += 1;
                let to = self.dir.join(format!("app.log.{}", self.rotations));
                std::fs::rename(self.dir.join("app.log"), to).unwrap();
                // Some write on to the old file for a while.
                if self.random.below(2) == 0 {
                    self.lines(3);
                }
                self.file = File::options().append(true).create(true).open(self.dir.join("app.log")).unwrap();
            }
            1..4 => {
                self.rest.extend_from_slice(format!("{}\n", line(self.next)).as_bytes());
                self.next += 1;
                let cut = self.random.below(self.rest.len() as u64) as usize;
                self.file.write_all(&self.rest[..cut]).unwrap();
                self.rest.drain(..cut);
            }
            n => self.lines(n),
        }
    }

    fn finish_line(&mut self) {
        self.file.write_all(&std::mem::take(&mut self.rest)).unwrap();
    }

    fn lines(&mut self, n: u64) {
        self.finish_line();
        for _ in 0..n {
            self.file.write_all(format!("{}\n", line(self.next)).as_bytes()).unwrap();
            self.next += 1;
        }
    }
}

#[test]
fn under_rotation_at_any_moment_each_line_is_there_once() {
    under_rotation(0x5eed_0002, repetitions(1_000, 10_000) as u64, false);
}

#[test]
fn under_rotation_and_crashes_at_any_moment_each_line_is_there_once() {
    under_rotation(0x5eed_0003, repetitions(1_000, 10_000) as u64, true);
}

/// The pattern leads to rotated files too, so that none can be missed between two looks.
fn under_rotation(seed: u64, acts: u64, crashes: bool) {
    let mut rig = Rig::new("app.log*");
    let mut writer = Writer::new(rig.dir.path(), seed);
    let mut random = Random(seed ^ 0xffff);
    let thread = std::thread::spawn(move || {
        for _ in 0..acts {
            writer.act();
        }
        writer.finish_line();
        (writer.next, writer.rotations)
    });
    let mut crashed = 0;
    // A machine that is busy may write everything before the first look: there is one crash all the same.
    while !thread.is_finished() || (crashes && crashed == 0) {
        let dies = crashes && crashed < 60 && random.below(4) == 0;
        let follower = rig.follower.as_mut().unwrap();
        if !dies {
            rig.runtime.block_on(follower.poll(true)).unwrap();
            continue;
        }
        // The process dies in the middle of a round: what it had handed over may become durable or not.
        let moment = Duration::from_micros(random.below(3_000));
        rig.runtime.block_on(async {
            let _ = tokio::time::timeout(moment, follower.poll(true)).await;
        });
        crashed += 1;
        rig.start();
    }
    let (lines, rotations) = thread.join().unwrap();
    rig.start();
    rig.read();
    once(&rig, lines);
    assert!(rotations > 10 && (crashed > 0) == crashes, "{rotations} rotations, {crashed} crashes");
    assert!(rig.told().is_empty(), "{:?}", rig.told());
    assert!(rig.port.intake.counts().adds_up());
    println!("{lines} lines, {rotations} rotations, {crashed} crashes: each line once");
}

/// A copy of the bucket of the fixtures, with digests of two hours and one log file.
fn mirror(rig: &Rig, second_signed: bool) -> PathBuf {
    let digests: [(u8, &[u8]); 2] = [
        (14, include_bytes!("../fixtures/cloudtrail/digest-13.json")),
        (15, include_bytes!("../fixtures/cloudtrail/digest-14.json")),
    ];
    let root = rig.path("bucket/AWSLogs/111122223333");
    let put = |path: PathBuf, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for (hour, digest) in digests {
        let path = root.join(format!("CloudTrail-Digest/eu-west-1/digest_20240313T{hour}0000Z.json.gz"));
        put(path.clone(), &gzip(digest));
        if hour == 15 && second_signed {
            put(path.with_extension("gz.sig"), include_bytes!("../fixtures/cloudtrail/digest-14.sig"));
        }
    }
    let log = root.join("CloudTrail/eu-west-1/log.json.gz");
    put(log.clone(), &gzip(include_bytes!("../fixtures/cloudtrail/log.json")));
    log
}

fn trail(rig: &mut Rig, wait: Duration) {
    let hex = include_str!("../fixtures/cloudtrail/key.hex");
    let der = hex
        .trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let digest: serde_json::Value =
        serde_json::from_slice(include_bytes!("../fixtures/cloudtrail/digest-13.json")).unwrap();
    let key = countersign_collect::formats::cloudtrail::digest::Key {
        fingerprint: digest["digestPublicKeyFingerprint"].as_str().unwrap().to_owned(),
        der: der.collect(),
    };
    let pattern = format!("{}/log/bucket/**/CloudTrail-Digest/**/*.json.gz", rig.dir.path().display());
    rig.trail = Some(TrailSettings { keys: vec![key], digests: vec![Pattern::new(&pattern).unwrap()], wait });
    rig.start();
}

fn levels(rig: &Rig) -> Vec<Option<Verified>> {
    let records = events(&rig.ledger).into_iter().filter(|event| event.core.rec != Some(Rec::Platform));
    records.map(|event| event.body.cap.as_ref().unwrap().level).collect()
}

#[test]
fn a_log_file_of_cloudtrail_waits_for_the_digest_that_proves_it() {
    let mut rig = Rig::new("bucket/**/CloudTrail/**/*.json.gz");
    let log = mirror(&rig, false);
    trail(&mut rig, Duration::from_secs(3_600));
    rig.read();
    assert!(levels(&rig).is_empty(), "the digest that names it has no signature yet");
    mirror(&rig, true);
    rig.start();
    rig.read();
    assert_eq!(levels(&rig), [Some(Verified::Asserted)]);
    assert!(rig.told().is_empty(), "{:?}", rig.told());
    assert!(log.exists());
}

#[test]
fn a_changed_log_file_is_claimed_and_said_and_so_is_one_that_is_missing_or_that_no_digest_names() {
    let mut rig = Rig::new("bucket/**/CloudTrail/**/*.json.gz");
    let log = mirror(&rig, true);
    std::fs::write(&log, gzip(br#"{"Records":[{"eventVersion":"1.08","eventName":"X","eventID":"2"}]}"#))
        .unwrap();
    std::fs::write(
        log.with_file_name("other.json.gz"),
        gzip(br#"{"Records":[{"eventName":"Y","eventVersion":"1","eventID":"3"}]}"#),
    )
    .unwrap();
    trail(&mut rig, Duration::ZERO);
    rig.read();
    assert_eq!(levels(&rig), [Some(Verified::Claimed); 2]);
    std::fs::remove_file(&log).unwrap();
    rig.read();
    let told = rig.told();
    for want in
        ["it was changed", "no verified digest names", "the hour that ends 2024-03-13T15:00:00Z is missing"]
    {
        assert!(
            told.iter().any(|(op, why)| op == "input.unproven" && why.contains(want)),
            "{want}: {told:?}"
        );
    }
}

#[test]
fn a_digest_that_does_not_verify_or_is_left_out_is_said_with_its_hour() {
    let mut rig = Rig::new("bucket/**/CloudTrail/**/*.json.gz");
    let log = mirror(&rig, true);
    let digests = log.ancestors().nth(3).unwrap().join("CloudTrail-Digest/eu-west-1");
    std::fs::write(digests.join("digest_20240313T150000Z.json.gz.sig"), "00ff").unwrap();
    trail(&mut rig, Duration::ZERO);
    rig.read();
    assert_eq!(levels(&rig), [Some(Verified::Claimed)]);
    let told = rig.told();
    let want = "the hour that ends 2024-03-13T15:00:00Z is not proven";
    assert!(told.iter().any(|(_, why)| why.contains(want)), "{told:?}");
    let said = told.len();
    rig.read();
    assert_eq!(rig.told().len(), said, "each thing once");
}

#[test]
fn what_the_records_of_a_file_are_is_recorded_and_other_records_in_it_are_found_out_all_the_same() {
    let mut rig = Rig::new("*.log");
    let access = r#"192.0.2.1 - alice [13/Mar/2024:12:08:30 +0000] "GET /a HTTP/1.1" 200 3"#;
    rig.write("a.log", format!("{access}\n").repeat(64).as_bytes());
    rig.write("a.log", b"{\"ts\":1,\"a\":1}\n");
    rig.read();
    let found = events(&rig.ledger);
    let told: Vec<_> = found.iter().filter(|event| event.core.op == "input.detected").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].target.id, "combined");
    let score = countersign_event::Unmapped::Token("1".into());
    assert_eq!(told[0].content.unmapped.get("/score"), Some(&score));
    let formats: Vec<_> =
        found.iter().filter_map(|event| event.body.cap.as_ref()).map(|c| c.fmt.as_str()).collect();
    assert_eq!((formats.len(), formats[64]), (65, "json"));
}
