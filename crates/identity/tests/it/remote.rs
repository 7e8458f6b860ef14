//! Keys that are fetched: rotation, an issuer that is down, tokens that ask for unknown keys, hostile answers.

use crate::{AUDIENCE, NOW, bearer};
use countersign_identity::authority::Authority;
use countersign_identity::{
    FailureKind, HttpIdentity, Identities, IdentityConfig, JwtIssuer, Refresher, RemoteKeySet, RemoteStatus,
};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// An issuer's web server, one request a connection.
struct Issuer {
    base: String,
    asked: Arc<AtomicU64>,
    answer: Arc<Mutex<Answer>>,
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

fn answer(status: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

impl Issuer {
    fn new(first: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicU64::new(0));
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(first)));
        let (count, give) = (asked.clone(), answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
                count.fetch_add(1, Ordering::SeqCst);
                let bytes = give.lock().unwrap()(&path);
                let _ = stream.write_all(&bytes);
            }
        });
        Issuer { base, asked, answer }
    }

    fn now_answers(&self, next: impl Fn(&str) -> Vec<u8> + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(next);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Set {
    identities: Identities,
    refresher: Refresher,
    authority: Authority,
}

impl Set {
    fn of(issuer: &str, jwks_url: Option<String>, authority: Authority) -> Set {
        let remote = RemoteKeySet { jwks_url, ..RemoteKeySet::default() };
        let jwt = JwtIssuer {
            issuer: issuer.into(),
            audience: vec![AUDIENCE.into()],
            remote: Some(remote),
            ..JwtIssuer::default()
        };
        let config = IdentityConfig { jwt: vec![jwt], ..IdentityConfig::default() };
        let identities = Identities::new(config, NOW).unwrap();
        let refresher = identities.refresher().unwrap();
        Set { identities, refresher, authority }
    }

    fn show(&self, by: &Authority, now_s: i64) -> HttpIdentity {
        let token = by.token("orders", AUDIENCE, now_s, 300).unwrap();
        self.identities.from_http(&bearer(&token), now_s)
    }

    fn status(&self) -> RemoteStatus {
        self.identities.remote_status().remove(0)
    }
}

/// A server that gives `authority`'s keys, and a set that asks it.
fn keys_of(authority: Authority) -> (Issuer, Set) {
    let jwks = authority.jwks();
    let server = Issuer::new(move |_| ok(&jwks));
    let url = format!("{}/jwks", server.base);
    let set = Set::of("https://example.org", Some(url), authority);
    (server, set)
}

fn authority() -> Authority {
    Authority::new("example.org", NOW).unwrap()
}

#[test]
fn a_token_passes_once_the_keys_are_fetched_and_never_fetches_by_itself() {
    let (server, mut set) = keys_of(authority());
    let before = set.show(&set.authority, NOW);
    assert_eq!(before.failures[0].kind, FailureKind::Unavailable);
    assert!(before.single_use && server.asked() == 0, "no network on the caller's thread");
    let due_s = set.refresher.step(NOW);
    assert_eq!((server.asked(), due_s), (1, NOW + 300));
    let after = set.show(&set.authority, NOW);
    assert_eq!((after.failures.len(), after.single_use), (0, false));
    assert_eq!(set.status().fetched_s, Some(NOW));
    assert!(set.identities.refresher().is_none(), "one refresher, so one fetch at a time");
    set.identities.reload(NOW).unwrap();
    assert_eq!(set.show(&set.authority, NOW).failures, [], "a reload of files keeps fetched keys");
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_and_not_more_often_than_allowed() {
    let (server, mut set) = keys_of(authority());
    set.refresher.step(NOW);
    let next = authority();
    let jwks = next.jwks();
    server.now_answers(move |_| ok(&jwks));
    assert_eq!(set.show(&next, NOW + 5).failures[0].kind, FailureKind::UnknownKey);
    assert!(set.refresher.wait(Duration::ZERO), "the failure woke the refresher");
    assert_eq!(set.refresher.step(NOW + 5), NOW + 10, "the minimum interval holds");
    assert_eq!(server.asked(), 1);
    set.refresher.step(NOW + 10);
    assert_eq!(server.asked(), 2);
    assert_eq!(set.show(&next, NOW + 10).failures, []);
    let old = set.show(&set.authority, NOW + 10);
    assert_eq!(
        old.failures[0].kind,
        FailureKind::UnknownKey,
        "tokens of the removed key pass no more, cached or not"
    );
    // A flood of unknown keys causes one fetch in each interval.
    for second in 0..100 {
        let _ = set.show(&set.authority, NOW + 20 + second);
        set.refresher.step(NOW + 20 + second);
    }
    assert!(server.asked() <= 2 + 11, "{}", server.asked());
}

#[test]
fn keys_count_for_an_hour_while_the_issuer_is_down_and_then_no_more() {
    let (server, mut set) = keys_of(authority());
    set.refresher.step(NOW);
    server.now_answers(|_| answer("503 Service Unavailable", "", ""));
    let mut waits = Vec::new();
    let mut now_s = NOW + 300;
    for _ in 0..8 {
        let due_s = set.refresher.step(now_s);
        waits.push(due_s - now_s);
        now_s = due_s;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300], "it asks ever less often");
    assert!(set.status().error.unwrap().contains("503"));
    assert_eq!(set.show(&set.authority, NOW + 300 + 3_600).failures, []);
    let late = set.show(&set.authority, NOW + 301 + 3_600);
    assert_eq!(late.failures[0].kind, FailureKind::Unavailable);
    let jwks = set.authority.jwks();
    server.now_answers(move |_| ok(&jwks));
    set.refresher.step(NOW + 8_000);
    assert_eq!(set.show(&set.authority, NOW + 8_000).failures, []);
    assert_eq!((set.status().failures, set.status().error), (0, None));
}

#[test]
fn bad_answers_change_nothing() {
    let (server, mut set) = keys_of(authority());
    set.refresher.step(NOW);
    let elsewhere = format!("location: {}/other\r\n", server.base);
    let big = format!("{{\"keys\":[], \"pad\":\"{}\"}}", "x".repeat(2 << 20));
    let answers: Vec<(Vec<u8>, &str)> = vec![
        (answer("302 Found", &elsewhere, ""), "redirects are not followed"),
        (answer("404 Not Found", "", ""), "404"),
        (ok("<html>"), "neither"),
        (ok("{}"), "no \"keys\""),
        (ok(r#"{"keys":[]}"#), "no key usable"),
        (ok(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}"#), "private key"),
        (ok(&big), "longer than"),
        (b"garbage\r\n\r\n".to_vec(), "issuer"),
        (Vec::new(), "issuer"),
    ];
    let mut now_s = NOW + 300;
    for (bytes, why) in answers {
        server.now_answers(move |_| bytes.clone());
        let asked = server.asked();
        now_s = set.refresher.step(now_s);
        assert!(server.asked() <= asked + 1, "no redirect is followed: {why}");
        let error = set.status().error.unwrap();
        assert!(error.contains(why), "{error} / {why}");
        assert_eq!(set.show(&set.authority, NOW + 400).failures, [], "{why}");
    }
}

#[test]
fn discovery_leads_to_the_keys_of_its_own_issuer_only() {
    let server = Issuer::new(|_| ok("{}"));
    let authority = authority();
    let set = Set::of(&server.base, None, authority);
    let mut set = set;
    let (issuer, jwks) = (server.base.clone(), set.authority.jwks());
    let give = |claimed: String, uri: String| {
        let jwks = jwks.clone();
        move |path: &str| match path {
            "/.well-known/openid-configuration" => {
                ok(&format!(r#"{{"issuer":"{claimed}","jwks_uri":"{uri}"}}"#))
            }
            "/keys" => ok(&jwks),
            _ => answer("404 Not Found", "", ""),
        }
    };
    let mut now_s = NOW;
    for (claimed, uri, why) in [
        ("https://evil.example".to_owned(), format!("{issuer}/keys"), "another issuer"),
        (format!("{issuer}/"), format!("{issuer}/keys"), "another issuer"),
        (issuer.clone(), "http://keys.example/keys".to_owned(), "https only"),
        (issuer.clone(), "ftp://127.0.0.1/keys".to_owned(), "not an https URL"),
    ] {
        server.now_answers(give(claimed, uri));
        now_s = set.refresher.step(now_s);
        assert!(set.status().error.unwrap().contains(why), "{why}");
    }
    server.now_answers(give(issuer.clone(), format!("{issuer}/keys")));
    set.refresher.step(now_s);
    assert_eq!(set.status().error, None);
    let claims = serde_json::json!({ "iss": issuer, "sub": "s", "aud": AUDIENCE, "exp": NOW + 9_000 });
    let token = set.authority.sign(&claims).unwrap();
    assert_eq!(set.identities.from_http(&bearer(&token), now_s).failures, []);
}

#[test]
fn addresses_that_could_be_listened_to_are_refused_at_load() {
    for (url, why) in [
        ("http://keys.example/", "https only"),
        ("http://127.0.0.1.example/", "https only"),
        ("ftp://127.0.0.1/", "not an https URL"),
        ("keys", "not an https URL"),
        ("http://", "not"),
    ] {
        let remote = RemoteKeySet { jwks_url: Some(url.into()), ..RemoteKeySet::default() };
        let jwt = JwtIssuer {
            issuer: "https://example.org".into(),
            audience: vec![AUDIENCE.into()],
            remote: Some(remote),
            ..JwtIssuer::default()
        };
        let config = IdentityConfig { jwt: vec![jwt], ..IdentityConfig::default() };
        let error = Identities::new(config, NOW).err().unwrap().to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
}

#[test]
fn the_refreshers_thread_answers_a_wish_and_ends_with_its_handle() {
    let (server, set) = keys_of(authority());
    let Set { identities, refresher, authority } = set;
    let handle = refresher.start(|| NOW, |_| {}).unwrap();
    let token = authority.token("orders", AUDIENCE, NOW, 300).unwrap();
    let passes = || identities.from_http(&bearer(&token), NOW).failures.is_empty();
    assert!((0..2_000).any(|_| passes() || {
        std::thread::sleep(Duration::from_millis(5));
        false
    }));
    assert_eq!(server.asked(), 1);
    drop(handle);
}

#[test]
fn over_https_the_issuer_must_be_signed_by_the_configured_authority() {
    let dir = tempfile::tempdir().unwrap();
    let web = Authority::new("web.example", crate::certificates::now_s()).unwrap();
    let (cert, key) = web.issue("/issuer", &["127.0.0.1"]).unwrap().write(dir.path(), "issuer").unwrap();
    let config =
        countersign_identity::server_tls(&cert, &key, &[], countersign_identity::ClientAuth::None).unwrap();
    let authority = authority();
    let (jwks, listener) = (authority.jwks(), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("https://{}/jwks", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = BufReader::new(rustls::StreamOwned::new(session, stream));
            let mut line = String::new();
            while tls.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let _ = tls.get_mut().write_all(&ok(&jwks));
            tls.get_mut().conn.send_close_notify();
            let _ = tls.get_mut().flush();
        }
    });
    let ca = dir.path().join("ca.pem");
    // First an authority that has nothing to do with it.
    std::fs::write(&ca, authority.ca_pem()).unwrap();
    let remote = RemoteKeySet { jwks_url: Some(url), ca: vec![ca.clone()], ..RemoteKeySet::default() };
    let jwt = JwtIssuer {
        issuer: "https://example.org".into(),
        audience: vec![AUDIENCE.into()],
        remote: Some(remote),
        ..JwtIssuer::default()
    };
    let identities =
        Identities::new(IdentityConfig { jwt: vec![jwt], ..IdentityConfig::default() }, NOW).unwrap();
    let mut refresher = identities.refresher().unwrap();
    let due_s = refresher.step(NOW);
    assert!(refresher.status()[0].error.is_some());
    std::fs::write(&ca, web.ca_pem()).unwrap();
    refresher.step(due_s);
    assert_eq!(refresher.status()[0].error, None, "the authority's file is read for each fetch");
    let token = authority.token("orders", AUDIENCE, NOW, 300).unwrap();
    assert_eq!(identities.from_http(&bearer(&token), NOW).failures, []);
}
