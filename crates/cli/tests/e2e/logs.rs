//! What the server tells of itself: nothing that passes, at any level; nothing that steers a terminal.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, ensure_program, free_port, http2, wait_for_port};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const SECRET: &str = "Hs7sEcReT-0f-the-P4yl0ad";

fn serve(home: &Home, tables: &str, more: &[&str]) -> (SocketAddr, Child) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let file = home.path().join("countersign.toml");
    let listener = format!("[[listener]]\nname = \"front\"\nlisten = \"{address}\"\n");
    std::fs::write(&file, format!("[web]\nenabled = false\n{listener}{tables}")).unwrap();
    let mut command = home.command(&["run", "--config", file.to_str().unwrap()]);
    command.args(more);
    let child = Child::start(command, &home.path().join("run.log")).unwrap();
    if wait_for_port(address, Duration::from_secs(30)).is_err() {
        panic!("the gateway did not listen: {}", child.output());
    }
    (address, child)
}

#[test]
fn a_secret_in_every_place_of_a_call_is_in_no_line_at_the_lowest_level() {
    let home = Home::new("logs");
    let h2load = ensure_program("h2load", "nghttp2-client").unwrap();
    let server = http2::nginx_h2(1 << 10).unwrap();
    let upstream = format!("upstream = \"http://{}\"\n", server.address);
    let (address, child) = serve(&home, &upstream, &["--log", "trace"]);
    let mut connection = Connection::open(address).unwrap();
    for (method, body) in [("GET", ""), ("POST", SECRET)] {
        let header = format!("Authorization: Bearer {SECRET}");
        let target = format!("/{SECRET}?token={SECRET}");
        let _ = connection.request(
            method,
            &target,
            &[&header, &format!("X-{SECRET}: {SECRET}")],
            body.as_bytes(),
        );
    }
    // Not HTTP at all, and HTTP/2: its library tells headers at a low level.
    let mut other = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut other, format!("\x16\x03{SECRET}").as_bytes()).unwrap();
    let url = format!("http://{address}/{SECRET}?token={SECRET}");
    let header = format!("authorization: Bearer {SECRET}");
    let load = Command::new(h2load).args(["-n", "20", "-c", "2", "-H", &header, &url]).output().unwrap();
    assert!(load.status.success());
    assert!(home.settle("protocol:http/2", 20) >= 20, "the calls were seen");
    drop((connection, other));
    let said = stop(child);
    assert!(!said.contains(SECRET) && !said.contains(&SECRET.to_lowercase()), "{said}");
}

#[test]
fn errors_are_lines_on_standard_error_that_steer_no_terminal_in_text_and_in_json() {
    for (format, level) in [("text", "info"), ("json", "warn"), ("text", "off")] {
        let home = Home::new("log-lines");
        let policies = home.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        std::fs::write(policies.join("all.cedar"), "@id(\"all\")\npermit(principal, action, resource);\n")
            .unwrap();
        let tables = format!(
            "upstream = \"http://{}\"\n[policy]\nfiles = [\"{}\"]\n[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n",
            upstream(),
            policies.display()
        );
        let (_, child) = serve(&home, &tables, &[]);
        std::fs::write(policies.join("b\u{1b}[31m\nad.cedar"), "permit(nonsense").unwrap();
        assert_eq!(home.settle("op:reload resource:policy outcome:caller_error", 1), 1);
        let said = stop(child);
        assert!(!said.contains('\u{1b}'), "{said}");
        let line = said.lines().find(|line| line.contains("reload refused"));
        match (format, level) {
            (_, "off") => assert_eq!(line, None),
            ("json", _) => {
                let value: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
                assert_eq!(
                    (value["level"].as_str(), value["fields"]["what"].as_str()),
                    (Some("error"), Some("policy"))
                );
            }
            _ => assert!(line.unwrap().contains(" error stages: reload refused"), "{said}"),
        }
    }
}
