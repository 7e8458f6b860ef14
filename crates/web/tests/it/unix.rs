//! The local socket: our own user, no sign-in, role admin.

use crate::support::{World, exchange, some_calls};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn the_local_socket_answers_its_owner_and_makes_links() {
    let world = World::new();
    world.record(some_calls(4));
    let path = world.socket_path();
    // A left-over of a dead process gives way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (state, at) = (world.state.clone(), path.clone());
    world
        .runtime
        .spawn(async move { countersign_web::serve_unix(&at, state, std::future::pending()).await.unwrap() });
    let start = Instant::now();
    let ask = |method: &str, target: &str, body: &[u8]| loop {
        match UnixStream::connect(&path) {
            Ok(mut stream) => break exchange(&mut stream, "countersign", method, target, &[], body),
            Err(_) => assert!(start.elapsed() < Duration::from_secs(30)),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let count = ask("GET", "/api/v1/count?q=rec:interaction", b"");
    assert_eq!(count.json()["data"][0]["count"], 4);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let body = format!("{{\"address\":\"{}\"}}", world.address);
    let link = ask("POST", "/api/v1/login-link", body.as_bytes()).json()["data"]["link"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = link.split_once(&world.address.to_string()).unwrap().1;
    assert_eq!(world.raw("GET", target, &[], b"").status, 303);
    assert_eq!(world.login().post("/api/v1/login-link", &body).status, 403);
}
