//! Secrets in any position of a message are in no event.

use crate::support::{Client, Rig, ok, response};

/// Each is put where its name says; none may be in a frame, plain, in hex or in base64.
const MARKS: [&str; 9] = [
    "tok3n-BearerMarkQ1w2E3r4T5y6U7i8O9p0",
    "basicMarkAq1Sw2De3Fr4",
    "cookieMarkZx9Cv8Bn7",
    "apikeyMarkPo0Iu9Yt8",
    "queryMarkLk7Jh6Gf5",
    "userinfoMarkMn6Bv5",
    "xJ8kQ2mN5vB7cL9zR4tY6wE3sA1dF0gHpathMark",
    "bodyMarkRt5Yu6Io7",
    "matrixMarkTg6Yh7",
];

fn requests() -> Vec<String> {
    let [bearer, basic, cookie, key, query, user, path, body, matrix] = MARKS;
    vec![
        format!(
            "POST /a/{path};sid={matrix}?q={query}&{query} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\nCookie: s={cookie}\r\nX-Api-Key: {key}\r\nProxy-Authorization: Basic {basic}\r\nReferer: http://x/?t={query}\r\nOrigin: http://{user}@x\r\nX-Custom: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("GET http://u:{user}@a/x?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic}\r\n\r\n"),
        // Refused ones leave a record too.
        format!(
            "GET /a?x={query} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\nX : {key}\r\n\r\n"
        ),
    ]
}

#[test]
fn no_secret_is_in_any_event() {
    let (upstream, seen) = ok("x");
    let rig = Rig::new(upstream);
    for request in requests() {
        let mut client = Client::new(rig.address);
        client.send(&request);
        if request.contains("X :") {
            assert_eq!(client.last_status(), "400");
        } else {
            client.expect(response("x"));
        }
    }
    assert!(String::from_utf8_lossy(&seen.all().concat()).contains(MARKS[0]), "the server gets everything");
    for (i, mut event) in rig.memory.wait(3).into_iter().enumerate() {
        event.core.agent = "a".into();
        event.core.seq = i as u64 + 1;
        let frame = event.encode().unwrap().to_bytes();
        let text = String::from_utf8_lossy(&frame).into_owned() + &format!("{event:?}");
        for mark in MARKS {
            assert!(!text.contains(mark), "{mark} in {event:#?}");
        }
    }
}
