//! `cargo xtask bench collect`: from a record's bytes to the event's commitment, on one core.
//!
//! For each format: parse, seal (cap, secrets, digest of the record), encode, seven salted commitments and the event's.
//! Printed beside the machine's own rate of SHA-256, since each event costs about twenty blocks of it; and where the
//! time goes; names of formats as arguments measure these alone. Rates decide nothing here. What does: a record that is not understood ends the bench.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark prints its result")]

use countersign_collect::formats::{self, Format};
use countersign_collect::{Input, Keeper, observe};
use countersign_event::commit::{Salt, event_commitment};
use countersign_event::{CaptureConf, Event, GROUPS, Verified};
use countersign_redact::Scanner;
use ring::digest;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Each measurement lasts so long.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds; the best one counts, since whatever else runs only ever takes away.
const ROUNDS: usize = 3;
/// Records of a format, each a little different.
const RECORDS: usize = 512;

/// Format, its bar in MiB/s, and a record in which `@` is a number that differs.
const CASES: &[(&str, u64, &str)] = &[
    (
        "combined",
        150,
        r#"192.0.2.@ - - [13/Mar/2024:12:08:33 +0000] "GET /v1/orders/@/items?page=@ HTTP/1.1" 200 @ "https://shop.example/cart" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/78.0.3904.108 Safari/537.36""#,
    ),
    (
        "ingress-nginx",
        150,
        r#"192.0.2.@ - - [13/Mar/2024:12:08:33 +0000] "POST /cart/@ HTTP/2.0" 200 @ "-" "orders/2.4" 35 0.003 [shop-cart-80] [] 10.1.2.3:8080 150 0.002 200 9f3c0a7d63f14f3e8c1c3f1c7a2c9f11"#,
    ),
    (
        "envoy",
        150,
        r#"[2024-03-13T12:08:33.250Z] "GET /v1/orders/@ HTTP/2" 200 - 154 @ 226 100 "10.0.35.28" "orders/2.4" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "orders.shop" "10.0.2.1:80""#,
    ),
    (
        "haproxy",
        150,
        r#"10.0.1.2:33@ [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 @ - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html?a=@ HTTP/1.1""#,
    ),
    (
        "envoy",
        100,
        r#"{"start_time":"2024-03-13T12:08:33.250Z","method":"GET","path":"/v1/orders/@","protocol":"HTTP/2","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":@,"duration":12,"upstream_service_time":"11","x_forwarded_for":"10.0.35.28","user_agent":"orders/2.4","request_id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2","authority":"orders.shop","upstream_host":"10.0.2.1:80","upstream_cluster":"outbound|80||orders.shop.svc.cluster.local","downstream_remote_address":"10.0.35.28:40122","route_name":"default"}"#,
    ),
    (
        "cloudtrail",
        100,
        r#"{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:web-@","arn":"arn:aws:sts::123456789012:assumed-role/web/web-@","accountId":"123456789012","accessKeyId":"ASIAEXAMPLEEXAMPLE12","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::123456789012:role/web","accountId":"123456789012","userName":"web"},"attributes":{"creationDate":"2024-03-13T12:00:00Z","mfaAuthenticated":"false"}}},"eventTime":"2024-03-13T12:08:33Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.@","userAgent":"aws-sdk-go/1.44","requestParameters":{"bucketName":"orders","key":"2024/@.json"},"responseElements":null,"requestID":"3E57427F3EXAMPLE","eventID":"7d1f1fce-63f1-4f3e-8c1c-3f1c7a2c9f11","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"123456789012","eventCategory":"Data"}"#,
    ),
    (
        "k8s-audit",
        100,
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7d1f1fce-63f1-4f3e-8c1c-3f1c7a2c9f@","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/web-@","verb":"get","user":{"username":"system:serviceaccount:shop:web","uid":"u","groups":["system:serviceaccounts","system:authenticated"]},"sourceIPs":["10.0.0.9"],"userAgent":"kubectl/v1.29","objectRef":{"resource":"pods","namespace":"shop","name":"web-@","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2024-03-13T12:08:33.250000Z","stageTimestamp":"2024-03-13T12:08:33.256000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC"}}"#,
    ),
];

fn main() {
    let keeper = Keeper::new(Scanner::default(), &[7; 32]);
    let mut input = Input::new("bench");
    input.level = Verified::Asserted;
    let block = vec![7_u8; 1 << 20];
    let sha = best(&[&block], &mut |bytes| {
        black_box(digest::digest(&digest::SHA256, bytes));
    });
    println!("  SHA-256 of this machine (ring), one core: {:.0} MiB/s", sha.0);
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, bar, line) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let Some(format) = formats::by_name(name) else { continue };
        let records: Vec<String> =
            (0..RECORDS).map(|n| line.replace('@', &(n % 200 + 20).to_string())).collect();
        measure(format, *bar, &records, &input, &keeper);
    }
}

fn measure(format: &'static Format, bar: u64, records: &[String], input: &Input, keeper: &Keeper) {
    let lines: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    let event = |line: &[u8]| {
        let mut event = observe(line, Some(format), input, keeper, 1_790_000_000_000_000_000);
        event.core.eid = [1; 16];
        "input:bench".clone_into(&mut event.core.agent);
        event.core.stream = [2; 16];
        event.core.seq = 1;
        event
    };
    let full = |event: &Event| event.body.cap.as_ref().and_then(|cap| cap.conf) == Some(CaptureConf::Full);
    let sample = event(lines.first().copied().unwrap_or_default());
    if !lines.iter().all(|line| full(&event(line))) {
        panic!("{}: a record is not understood: {}", format.name, sample.content.err);
    }
    let salts: [Salt; GROUPS] = [[0xa5; 16]; GROUPS];
    let groups = sample.encode().unwrap().groups;
    let size: usize = groups.total();
    let whole = best(&lines, &mut |line| {
        let groups = event(line).encode().unwrap().groups;
        black_box(event_commitment(&salts, &groups.each()));
    });
    let observed = best(&lines, &mut |line| drop(black_box(event(line))));
    let encoded = best(&lines, &mut |_| drop(black_box(sample.encode().unwrap().groups)));
    let hashed = best(&lines, &mut |_| {
        black_box(event_commitment(&salts, &groups.each()));
    });
    let scanned = best(&lines, &mut |line| drop(black_box(Scanner::find(scanner(), line))));
    let ns = |rate: (f64, f64)| 1e9 / rate.1;
    println!(
        "  {:<14} {:>4} B a record, {size:>4} B an event: {:>6.1} MiB/s, {:>9.0} records/s   bar: {bar} MiB/s",
        format.name,
        lines.first().map_or(0, |line| line.len()),
        whole.0,
        whole.1,
    );
    println!(
        "  {:<14} of {:.0} ns: parse and seal {:.0} (scan for secrets {:.0}), encode {:.0}, commit {:.0}",
        "",
        ns(whole),
        ns(observed),
        ns(scanned),
        ns(encoded),
        ns(hashed)
    );
}

fn scanner() -> &'static Scanner {
    static SCANNER: std::sync::LazyLock<Scanner> = std::sync::LazyLock::new(Scanner::default);
    &SCANNER
}

/// MiB/s and records/s of the best round, by the time that this thread was on a processor.
fn best(records: &[&[u8]], work: &mut dyn FnMut(&[u8])) -> (f64, f64) {
    let bytes: usize = records.iter().map(|record| record.len()).sum();
    let mut best = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        let (start, mut passes) = (on_processor(), 0_u32);
        while on_processor() - start < ROUND {
            records.iter().for_each(|record| work(record));
            passes += 1;
        }
        let rate = f64::from(passes) / (on_processor() - start).as_secs_f64();
        best.0 = best.0.max(rate * bytes as f64 / f64::from(1 << 20));
        best.1 = best.1.max(rate * records.len() as f64);
    }
    best
}

/// What the scheduler says (Linux, `proc(5)`, schedstat); elsewhere the clock. On a busy machine the two differ.
fn on_processor() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|text| text.split(' ').next()?.parse().ok());
    ns.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
