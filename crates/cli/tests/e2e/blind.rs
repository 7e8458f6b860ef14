//! What passes beside the gateway: seen by a witness, listed as a blind spot.

use crate::support::{Home, stop, upstream};
use countersign_testkit::http::Connection;
use countersign_testkit::{Child, free_port, wait_for_port};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_client_that_bypasses_the_gateway_is_listed_within_a_minute_and_none_that_does_not() {
    let (home, upstream) = (Home::new("blind"), upstream());
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let text = format!(
        "[web]\nenabled = false\n[[witness]]\nname = \"proc:here\"\nevery = \"1s\"\n[[listener]]\nname = \"front\"\n\
         listen = \"{address}\"\nupstream = \"http://{upstream}\"\nservice = \"orders\"\n"
    );
    let config = home.path().join("countersign.toml");
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    // Without a server, and before anything was seen, nobody knows.
    let child =
        Child::start(home.command(&["run", "--config", config]), &home.path().join("run.log")).unwrap();
    wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));
    let mut through = Connection::open(address).unwrap();
    through.request("GET", "/orders/1", &[], b"").unwrap();
    let beside = TcpStream::connect(upstream).unwrap();
    let begun = Instant::now();
    assert!(home.settle("rec:finding label:coverage.blind-spot", 1) >= 1, "{}", child.output());
    assert!(begun.elapsed() < Duration::from_secs(60), "a minute is promised: {:?}", begun.elapsed());
    let listed = home.run(&["coverage", "--config", config, "-o", "text"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("blind spots: 1") && listed.contains(&upstream.to_string()), "{listed}");
    let what = home.ok(&["findings", "label:coverage.blind-spot", "-o", "ndjson"]);
    assert!(what.contains(&upstream.to_string()), "{what}");
    through.request("GET", "/orders/2", &[], b"").unwrap();
    assert_eq!(home.count("rec:finding label:coverage.blind-spot"), 1, "what the gateway carries is covered");
    stop(child);
    drop(beside);
    // The same from the ledger alone, and replayed.
    let again = home.run(&["coverage", "--config", config, "-o", "text"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("blind spots: 1"), "{again:?}");
    home.ok(&["detect", "replay", "--config", config, "-q"]);
}
