//! A frame in words names every field, group and level.

use crate::golden::a;
use crate::random::{Manner, Random};
use countersign_event::explain::explain;
use countersign_event::*;

#[test]
fn a_frame_is_explained_by_group_field_and_level() {
    let mut event = a();
    event.core.op = "GET\u{1b}[31m\u{9b}".to_owned();
    event.who.obo = vec![Principal::new("user:x/y", Verified::Claimed)];
    let text = explain(&event.encode().unwrap()).unwrap();
    for line in [
        "group 0 core: ",
        "  0.13 op = \"GET\\u001b[31m\\u009b\"",
        "  1.0 who\n    1.0.0 id = \"spiffe://example.org/billing\"",
        "    1.0.3 verified = 4 (bound)",
        "  1.1 obo\n    [0]\n      1.1.0 id = \"user:x/y\"\n      1.1.3 verified = 1 (claimed)",
        "  2.0 src\n    2.0.0 ip = \"10.0.0.5\"",
        "group 5 content: empty",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn every_event_is_explained() {
    for seed in 0..500 {
        let frame = Random::new(seed, Manner::Tidy).event().encode().unwrap();
        let text = explain(&frame).unwrap();
        let known = text.lines().filter(|line| line.contains(".? ") && !line.contains(".? other"));
        assert_eq!(known.count(), 0, "seed {seed}: {text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "seed {seed}");
    }
}
