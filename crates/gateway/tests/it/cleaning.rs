//! The fuzz bodies over seeds and any bytes.

use countersign_gateway::fuzz;
use proptest::prelude::*;

#[test]
fn seeds_return() {
    for seed in
        ["", "/", "//", "/a;b=c/../%2e", "/é/ü", "*", "h:1", "{redacted}", "/eyJhbGciOiJIUzI1NiJ9.x;y;=z"]
    {
        fuzz::cleaning(seed.as_bytes());
    }
    fuzz::cleaning(&[b'/'; 20_000]);
    fuzz::cleaning(&[0xe2; 20_000]);
}

#[test]
fn recorded_seeds_return() {
    let secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    for seed in [
        format!("GET /{secret}?{secret}={secret} HTTP/1.1\r\nHost: a\r\nVia: {secret}\r\n\r\n"),
        format!("X{} / HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(2000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(60_000)),
        format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "k=v&".repeat(10_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "Via: x\r\n".repeat(98)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {}\r\n\r\n", "h,".repeat(9_000)),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost : a\r\n\r\n"
            .to_owned(),
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0x".to_owned(),
    ] {
        fuzz::record(seed.as_bytes());
        fuzz::record(&[seed.as_bytes(), b"\xffHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"].concat());
    }
}

proptest! {
    #[test]
    fn any_request_like_bytes_are_recorded(
        target in "[!-~]{1,60}", name in "[a-zA-Z-]{1,20}", value in proptest::collection::vec(any::<u8>(), 0..80),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{name}: ").into_bytes();
        bytes.extend(value);
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend(noise);
        bytes.extend_from_slice(b"\xffHTTP/1.1 204 x\r\n\r\n");
        fuzz::record(&bytes);
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::cleaning(&bytes);
    }

    #[test]
    fn any_path_like_text_returns(text in "(/[a-zA-Z0-9;=%._{}é-]{0,50}){0,12}") {
        fuzz::cleaning(text.as_bytes());
    }
}
