//! What machines say to each other stays unreadable at rest, and secrets are in no record at all.

use crate::support::{Home, files, stop, upstream};
use countersign_testkit::http::Connection;

/// Five forms of each marker that a careless writer might leave on disk.
fn forms(marker: &str) -> Vec<Vec<u8>> {
    let hex: String = marker.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = marker.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut out = vec![
        marker.as_bytes().to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        percent.into_bytes(),
    ];
    // Base64 at each of the three alignments, less the characters that depend on neighbours.
    for pad in 0..3 {
        let mut bytes = vec![0; pad];
        bytes.extend_from_slice(marker.as_bytes());
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, &bytes);
        out.push(text.as_bytes()[if pad == 0 { 0 } else { pad + 1 }..text.len() - 2].to_vec());
    }
    out
}

#[test]
fn twenty_markers_are_found_in_no_file_and_secrets_in_no_event() {
    let home = Home::new("secrets");
    let (address, child) = home.gateway(upstream());
    let places =
        ["path", "query", "header", "bearer", "basic", "cookie", "api-key", "body", "user-agent", "chunk"];
    let markers: Vec<(String, &str)> = (0..20)
        .map(|n| (format!("Mk{n:02}zQ7{}wVx9", places[n % 10].replace('-', "")), places[n % 10]))
        .collect();
    let mut connection = Connection::open(address).unwrap();
    for (marker, place) in &markers {
        let basic =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("user:{marker}"));
        let answer = match *place {
            "path" => connection.request("GET", &format!("/p/{marker}/x"), &[], b""),
            "query" => connection.request("GET", &format!("/q?token={marker}&b=2"), &[], b""),
            "header" => connection.request("GET", "/h", &[&format!("X-Custom-Thing: {marker}")], b""),
            "bearer" => connection.request("GET", "/h", &[&format!("Authorization: Bearer {marker}")], b""),
            "basic" => connection.request("GET", "/h", &[&format!("Authorization: Basic {basic}")], b""),
            "cookie" => connection.request("GET", "/h", &[&format!("Cookie: sid={marker}")], b""),
            "api-key" => connection.request("GET", "/h", &[&format!("X-Api-Key: cs.k1.{marker}")], b""),
            "user-agent" => connection.request("GET", "/h", &[&format!("User-Agent: agent-{marker}")], b""),
            _ => connection.request("POST", "/b", &[], format!("{{\"password\":\"{marker}\"}}").as_bytes()),
        };
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(home.settle("rec:interaction", 20), 20);
    let events = home.ok(&["q", "-o", "ndjson", "--limit", "1000", ""]);
    let secret_places = ["query", "header", "bearer", "basic", "cookie", "api-key", "body", "chunk"];
    for (marker, place) in markers.iter().filter(|(_, place)| secret_places.contains(place)) {
        assert!(!events.contains(marker.as_str()), "{place}: {marker} is in an event");
    }
    let keyed = home.ok(&["sql", "-o", "ndjson", "--limit", "1000", "select * from events"]);
    for (marker, place) in markers.iter().filter(|(_, place)| secret_places.contains(place)) {
        assert!(!keyed.contains(marker.as_str()), "{place}: {marker} is in a column");
    }
    let running = files(home.path());
    scan(&running, &markers);
    stop(child);
    // A second start seals the first part, so the segment is scanned as well.
    let (_, child) = home.gateway(upstream());
    stop(child);
    let stopped = files(home.path());
    assert!(stopped.iter().any(|file| file.to_string_lossy().contains("seg/")), "{stopped:?}");
    scan(&stopped, &markers);
}

fn scan(files: &[std::path::PathBuf], markers: &[(String, &str)]) {
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        for (marker, place) in markers {
            for form in forms(marker) {
                let found = memchr::memmem::find(&bytes, &form).is_some();
                assert!(
                    !found,
                    "{place} marker {marker} as {} in {}",
                    String::from_utf8_lossy(&form),
                    file.display()
                );
            }
        }
    }
}
