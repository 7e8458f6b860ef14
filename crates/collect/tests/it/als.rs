//! Envoy itself sends its access log to us: each request is one right record.

use crate::push::Rig;
use countersign_event::{Event, Kind, Outcome};
use countersign_testkit::proxies::envoy_program;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const REQUESTS: usize = 20;

/// Ends Envoy with the test.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Answers 200, or 403 below `/denied`, and closes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let status = if head[..length].starts_with(b"GET /denied") { "403 Forbidden" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
            // A client that went away is no failure of this server.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn config(
    dir: &Path,
    http: SocketAddr,
    tcp: SocketAddr,
    to: SocketAddr,
    als: SocketAddr,
) -> std::path::PathBuf {
    let types = "type.googleapis.com/envoy.extensions";
    let log = |kind: &str, config: &str| {
        format!(
            "[{{name: envoy.access_loggers.{kind}, typed_config: {{'@type': {types}.access_loggers.grpc.v3.{config}, common_config: \
             {{log_name: all, transport_api_version: V3, buffer_flush_interval: 0.1s, grpc_service: {{envoy_grpc: {{cluster_name: als}}}}}}}}}}]"
        )
    };
    let address =
        |a: SocketAddr| format!("{{socket_address: {{address: {}, port_value: {}}}}}", a.ip(), a.port());
    let cluster = |name: &str, a: SocketAddr, more: &str| {
        format!(
            "  - {{name: {name}, type: STATIC, {more}load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: \
             {{address: {}}}}}]}}]}}}}\n",
            address(a)
        )
    };
    let h2 = format!(
        "typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{'@type': \
         {types}.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: {{}}}}}}}}, "
    );
    let text = format!(
        "node: {{id: edge-1, cluster: edge}}\nstatic_resources:\n  listeners:\n  - address: {}\n    filter_chains:\n    - filters:\n\
         \x20     - name: hcm\n        typed_config:\n\
         \x20         '@type': {types}.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20         stat_prefix: in\n          access_log: {}\n\
         \x20         route_config: {{virtual_hosts: [{{name: a, domains: ['*'], routes: [{{match: {{prefix: '/'}}, route: {{cluster: up}}}}]}}]}}\n\
         \x20         http_filters: [{{name: r, typed_config: {{'@type': {types}.filters.http.router.v3.Router}}}}]\n\
         \x20 - address: {}\n    filter_chains:\n    - filters:\n      - name: tcp\n        typed_config:\n\
         \x20         '@type': {types}.filters.network.tcp_proxy.v3.TcpProxy\n          stat_prefix: tcp\n          cluster: up\n\
         \x20         access_log: {}\n  clusters:\n{}{}",
        address(http),
        log("http_grpc", "HttpGrpcAccessLogConfig"),
        address(tcp),
        log("tcp_grpc", "TcpGrpcAccessLogConfig"),
        cluster("up", to, ""),
        cluster("als", als, &h2),
    );
    let file = dir.join("envoy.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// One request on a connection of its own, tried until somebody listens.
fn get(to: SocketAddr, path: &str, deadline: Instant) -> String {
    loop {
        if let Ok(mut stream) = TcpStream::connect(to) {
            stream
                .write_all(
                    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
                        .as_bytes(),
                )
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            return answer;
        }
        assert!(Instant::now() < deadline, "nobody listens at {to}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_request_and_connection_through_envoy_is_one_right_record() {
    let program = envoy_program().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), None);
    let (http, tcp) = (free(), free());
    let file = config(dir.path(), http, tcp, upstream(), rig.address);
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    let envoy = Envoy(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    for n in 0..REQUESTS {
        let path = if n.is_multiple_of(5) { format!("/denied/{n}") } else { format!("/orders/{n}") };
        let answer = get(http, &path, deadline);
        assert!(
            answer.starts_with(if n.is_multiple_of(5) { "HTTP/1.1 403" } else { "HTTP/1.1 200" }),
            "{answer}"
        );
    }
    assert!(get(tcp, "/through", deadline).starts_with("HTTP/1.1 200"));
    while rig.port.intake.counts().recorded < REQUESTS as u64 + 1 {
        assert!(Instant::now() < deadline, "{:?}", rig.port.intake.counts());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(envoy);
    let events = rig.events();
    assert_eq!(events.len(), REQUESTS + 1);
    let (calls, rest): (Vec<&Event>, Vec<_>) =
        events.iter().partition(|event| event.core.kind == Some(Kind::Http));
    let mut seen = Vec::new();
    for call in calls {
        let number: usize = call.target.id.parse().unwrap();
        let denied = number.is_multiple_of(5);
        assert_eq!(call.core.outcome, Some(if denied { Outcome::Denied } else { Outcome::Success }));
        assert_eq!((call.core.op.as_str(), call.core.proto.as_str()), ("GET", "http/1.1"));
        assert_eq!(call.target.raw, format!("/{}/{number}", if denied { "denied" } else { "orders" }));
        assert!(call.core.t_event.is_some() && call.core.dur.is_some(), "{call:?}");
        assert_eq!(call.peer.src.as_ref().unwrap().ip.unwrap().to_string(), "127.0.0.1");
        assert_eq!(call.peer.dst.as_ref().unwrap().host, "shop.example");
        assert!(call.content.unmapped.contains_key("/node_id") && call.content.err.is_empty(), "{call:?}");
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..REQUESTS).collect::<Vec<_>>());
    assert_eq!(rest[0].core.kind, Some(Kind::L4));
    assert!(rest[0].content.detail.len() >= 2, "bytes both ways: {:?}", rest[0].content.detail);
}
