//! Time to verify one proof, and events a second when a whole range is checked. Prints, asserts nothing.

#![expect(clippy::unwrap_used, reason = "an example that is measured, not shipped")]

use countersign_event::{Entry, commitment, group_commitment};
use countersign_proof::{
    Checkpoint, EventEvidence, EvidenceBuilder, GroupEvidence, MemoryTree, NoteSigner, Policy, Trust,
    inclusion_proof, verify_evidence,
};
use std::time::Instant;

const ORIGIN: &str = "bench.example/1/1";
const EVENTS: u64 = 20_000;

fn main() {
    let signer = NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
    let policy = Policy::parse(Policy::unwitnessed(&signer.verifier()).as_bytes()).unwrap();
    let trust = Trust::parse(Trust::ed25519_text().as_bytes()).unwrap();
    let content = vec![0xa0; 45];
    let parts = std::array::from_fn(|g| group_commitment(&[g as u8; 16], g as u8, &content));
    let entry = |n: u64| Entry {
        kind: 1,
        source_ref: 1,
        source_seq: n + 1,
        time_ns: n,
        commitment: commitment(2, &parts),
    };
    let mut tree = MemoryTree::new();
    (0..EVENTS).for_each(|n| tree.push(entry(n).leaf()));
    let head = Checkpoint { origin: ORIGIN.to_owned(), size: EVENTS, root: tree.root() };
    let note = head.sign(0, &[&signer]).unwrap().to_string();
    let event = |index: u64| EventEvidence {
        index,
        entry: entry(index).to_bytes(),
        schema: 2,
        groups: std::array::from_fn(|g| GroupEvidence::Disclosed {
            bytes: content.clone(),
            salt: [g as u8; 16],
        }),
        inclusion: inclusion_proof(index, EVENTS, &tree).unwrap(),
    };
    let new = |range| EvidenceBuilder::with_range(ORIGIN, "bench", 0, range).checkpoint(&note);

    let one = new(None).event(event(EVENTS / 3)).finish().unwrap();
    let start = Instant::now();
    const TIMES: u32 = 1000;
    for _ in 0..TIMES {
        assert_eq!(verify_evidence(&one, &policy, &trust).exit_code(), 0);
    }
    println!(
        "one proof      {} bytes, {:.3} ms",
        one.len(),
        start.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES)
    );

    let all =
        (0..EVENTS).fold(new(Some((0, EVENTS))), |builder, n| builder.event(event(n))).finish().unwrap();
    let start = Instant::now();
    assert_eq!(verify_evidence(&all, &policy, &trust).exit_code(), 0);
    let seconds = start.elapsed().as_secs_f64();
    println!("whole range    {EVENTS} events, {} bytes, {:.0} events/s", all.len(), EVENTS as f64 / seconds);
}
