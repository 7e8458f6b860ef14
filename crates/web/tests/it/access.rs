//! Who gets in, and what every answer carries.

use crate::support::{World, some_calls};
use countersign_web::{HEADERS, serve};

const PUBLIC: [&str; 5] = ["/login", "/healthz", "/readyz", "/assets/0/none.js", "/favicon.ico"];
const PRIVATE: [&str; 19] = [
    "/",
    "/events",
    "/events/0",
    "/events/9999999",
    "/tail",
    "/map",
    "/alerts",
    "/coverage",
    "/integrity",
    "/nowhere",
    "/api/v1/events",
    "/api/v1/events/0",
    "/api/v1/events/0/proof",
    "/api/v1/count",
    "/api/v1/map",
    "/api/v1/sources",
    "/api/v1/gaps",
    "/api/v1/checkpoint",
    "/log/checkpoint",
];

#[test]
fn every_answer_carries_the_policy_signed_in_or_not() {
    let world = World::new();
    world.record(some_calls(3));
    let client = world.login();
    for path in PUBLIC.iter().chain(&PRIVATE) {
        for answer in [client.get(path), world.raw("GET", path, &[], b"")] {
            for (name, value) in HEADERS {
                match (name, answer.header(name)) {
                    // Assets, tiles and downloads choose their caching and a stricter policy.
                    ("cache-control", Some(other)) => {
                        assert!(other == value || other.contains("immutable"), "{path}")
                    }
                    ("content-security-policy", Some("default-src 'none'; sandbox")) => {}
                    (_, found) => {
                        assert_eq!(found, Some(value), "{name} of {path}, status {}", answer.status)
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_is_shown_without_a_session() {
    let world = World::new();
    world.record(some_calls(3));
    for path in PRIVATE {
        let answer = world.raw("GET", path, &[], b"");
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.text().contains("billing"), "{path}");
        let is_json = answer.header("content-type") == Some("application/problem+json");
        assert_eq!(is_json, path.starts_with("/api") || path.starts_with("/log"), "{path}");
    }
    let forged =
        world.raw("GET", "/", &[("Cookie", &format!("countersign_{}=AAAA", world.address.port()))], b"");
    assert_eq!(forged.status, 401);
}

#[test]
fn a_link_signs_in_once() {
    let world = World::new();
    let link = world.state.login_link(world.address).unwrap();
    let path = link.split_once(&world.address.to_string()).unwrap().1.to_owned();
    let first = world.raw("GET", &path, &[], b"");
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(world.raw("GET", &path, &[], b"").status, 401);
    assert_eq!(world.raw("GET", "/login?code=nonsense", &[], b"").status, 401);
    let own = cookie.split(';').next().unwrap();
    assert_eq!(world.raw("GET", "/", &[("Cookie", own)], b"").status, 200);
}

#[test]
fn a_foreign_host_name_gets_nothing() {
    let world = World::new();
    let client = world.login();
    let own = format!("localhost:{}", world.address.port());
    assert_eq!(client.get_with("/", &[("Host", &own)]).status, 200);
    for host in ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "localhost"] {
        let answer = client.get_with("/", &[("Host", host)]);
        assert!([400, 403].contains(&answer.status), "{host}: {}", answer.status);
        let answer = world.raw("GET", "/login", &[("Host", host)], b"");
        assert!([400, 403].contains(&answer.status), "{host}");
    }
}

#[test]
fn changes_and_posts_must_come_from_our_own_pages() {
    let world = World::new();
    let client = world.login();
    let body = br#"{"sql":"SELECT 1"}"#;
    let own = format!("http://{}", world.address);
    for headers in [
        vec![],
        vec![("Origin", "http://evil.example")],
        vec![("Origin", "null")],
        vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
    ] {
        let mut all = vec![("Cookie", client.cookie.as_str())];
        all.extend(headers);
        assert_eq!(world.raw("POST", "/api/v1/sql", &all, body).status, 403);
        assert_eq!(world.raw("POST", "/login/renew", &all, b"").status, 403);
    }
    assert_eq!(client.post("/api/v1/sql", r#"{"sql":"SELECT 1 AS one"}"#).status, 200);
}

#[test]
fn a_new_link_goes_to_the_terminal_only() {
    let world = World::new();
    let origin = format!("http://{}", world.address);
    let answer = world.raw("POST", "/login/renew", &[("Origin", &origin)], b"");
    assert_eq!(answer.status, 200);
    let links = world.announced.lock().unwrap().clone();
    assert_eq!(links.len(), 1);
    let code = links[0].split_once("code=").unwrap().1;
    assert!(!answer.text().contains(code));
    let path = links[0].split_once(&world.address.to_string()).unwrap().1;
    assert_eq!(world.raw("GET", path, &[], b"").status, 303);
    assert_eq!(world.raw("POST", "/login/renew", &[("Origin", &origin)], b"").status, 429);
}

#[test]
fn signing_out_ends_the_session() {
    let world = World::new();
    let client = world.login();
    assert_eq!(client.post("/logout", "").status, 303);
    assert_eq!(client.get("/").status, 401);
}

#[test]
fn only_loopback_is_served() {
    let world = World::new();
    let state = world.state.clone();
    let error = world.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        serve(listener, state, std::future::pending()).await.unwrap_err()
    });
    assert!(error.to_string().contains("loopback only"), "{error}");
}

#[test]
fn oversized_addresses_and_headers_are_refused() {
    let world = World::new();
    let client = world.login();
    assert_eq!(client.get(&format!("/events?q={}", "a".repeat(9_000))).status, 414);
    let long = "x".repeat(40_000);
    assert_eq!(client.get_with("/", &[("X-Long", &long)]).status, 431);
}
