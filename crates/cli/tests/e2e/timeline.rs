//! A request, and the command that its service sent to a store while it was open: two protocols, one timeline.

use crate::support::{Home, stop};
use countersign_testkit::{Child, free_port, wait_for_port};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// The records of the commands.
const COMMANDS: &str = "route:back op:get";

/// Answers every line-terminated command of the store with "nothing there".
fn store() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if line.starts_with("key") && reader.get_mut().write_all(b"$-1\r\n").is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// A service that asks the store before it answers.
fn service(through: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).is_ok_and(|n| n == 0) {
                    break;
                }
            }
            let mut kept = BufReader::new(TcpStream::connect(through).unwrap());
            kept.get_mut().write_all(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n").unwrap();
            kept.read_line(&mut line).unwrap();
            let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    address
}

/// One request on a connection of its own; the status line of its answer.
fn request(to: SocketAddr) -> String {
    let mut asked = BufReader::new(TcpStream::connect(to).unwrap());
    asked.get_mut().write_all(b"GET /cart HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut status = String::new();
    asked.read_line(&mut status).unwrap();
    status
}

#[test]
fn a_request_and_what_was_probably_done_for_it_are_shown_together_from_either_side() {
    let home = Home::new("timeline");
    let at = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let (front, back) = (at(), at());
    let file = home.path().join("countersign.toml");
    let text = format!(
        "[web]\nenabled = false\n[[listener]]\nname = \"front\"\nlisten = \"{front}\"\nupstream = \"http://{}\"\n\
         [[listener]]\nname = \"back\"\nlisten = \"{back}\"\nprotocol = \"redis\"\nupstream = \"redis://{}\"\n",
        service(back),
        store()
    );
    std::fs::write(&file, text).unwrap();
    let run = home.command(&["run", "--config", file.to_str().unwrap()]);
    let child = Child::start(run, &home.path().join("run.log")).unwrap();
    for address in [front, back] {
        wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
    }
    // Two threads of the gateway decode on their own: under load one may not know yet what the other has seen, and
    // then it says nothing rather than something wrong.
    for attempt in 1..=50 {
        assert_eq!(request(front), "HTTP/1.1 200 OK\r\n");
        assert_eq!(
            (home.settle("resource:/cart", attempt), home.settle(COMMANDS, attempt)),
            (attempt, attempt)
        );
        if home.count("cause.conn:*") > 0 {
            break;
        }
    }
    let command = home.ok(&["q", "-o", "ndjson", "--fields", "index", "--limit", "1", "cause.conn:*"]);
    let command: String = command.chars().filter(char::is_ascii_digit).collect();
    let from_command = home.ok(&["show", &command, "--timeline", "-o", "text"]);
    let lines: Vec<&str> = from_command.lines().collect();
    let [cause, this] = lines.as_slice() else { panic!("{from_command}") };
    assert!(this.starts_with('*') && this.contains("GET") && !this.contains("probably"), "{this}");
    assert!(
        cause.contains("/cart")
            && cause.contains("probably (score ")
            && cause.ends_with("of 1000): its cause]"),
        "{cause}"
    );
    let index = cause.split_whitespace().nth(1).unwrap();
    let from_request = home.ok(&["show", index, "--timeline", "-o", "text"]);
    let lines: Vec<&str> = from_request.lines().collect();
    let [this, made] = lines.as_slice() else { panic!("{from_request}") };
    assert!(this.starts_with('*') && this.contains("/cart") && this.ends_with("[this event]"), "{this}");
    assert!(made.contains("probably (score ") && made.ends_with("of 1000): made for it]"), "{made}");
    let request = index;
    stop(child);
    assert_eq!(
        home.ok(&["show", request, "--timeline", "-o", "text"]),
        from_request,
        "the directory tells the same"
    );
}
