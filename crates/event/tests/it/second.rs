//! The second implementation, in Python, agrees on random events and on damaged frames.

use crate::golden::{hex, salts};
use crate::properties::cases;
use crate::random::{Manner, Random};
use countersign_event::json::{from_json, to_json};
use countersign_event::*;
use serde_json::Value as Json;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs `event_ref.py` with `input` on its standard input.
fn python(command: &str, input: String) -> String {
    let script = "tests/python/event_ref.py";
    let child = Command::new("python3")
        .args(["-B", script, command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("python3 does not start ({error}); install it: sudo apt-get install -y python3")
        });
    let mut child = child;
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "event_ref.py {command} failed");
    String::from_utf8(output.stdout).unwrap()
}

/// One answer a command.
fn ask(commands: &[String]) -> Vec<Json> {
    let answers = python("serve", commands.join("\n"));
    let answers: Vec<Json> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), commands.len());
    answers
}

#[test]
fn both_implementations_give_random_events_the_same_bytes_and_commitments() {
    let manners = [Manner::Tidy, Manner::Loose, Manner::Wild];
    let events: Vec<Event> = (0..u64::from(cases(10_000)))
        .map(|seed| Random::new(seed, manners[seed as usize % 3]).event())
        .collect();
    let commands: Vec<String> =
        events.iter().map(|event| format!("{{\"event\":{}}}", to_json(event))).collect();
    let (mut agreed, mut refused) = (0, 0);
    for (seed, (event, answer)) in events.iter().zip(ask(&commands)).enumerate() {
        match event.encode() {
            Err(error) => {
                assert!(answer.get("error").is_some(), "seed {seed}: only ours refuses: {error}");
                refused += 1;
            }
            Ok(frame) => {
                let groups: Vec<String> = frame.groups.iter().map(hex).collect();
                assert_eq!(answer["groups"], serde_json::json!(groups), "seed {seed}: {answer}");
                let commitment = commit::event_commitment(&salts(), &frame.groups.each());
                assert_eq!(answer["c"], hex(&commitment), "seed {seed}");
                assert_eq!(from_json(&to_json(event)).unwrap().encode().unwrap(), frame, "seed {seed}: JSON");
                agreed += 1;
            }
        }
    }
    assert!(agreed > 10 * refused && refused > 0, "{agreed} agreed, {refused} refused by both");
    println!("{agreed} events agreed, {refused} refused by both");
}

#[test]
fn both_implementations_judge_damaged_frames_alike() {
    let mut random = Random::new(7, Manner::Tidy);
    let damaged: Vec<Vec<u8>> = (0..cases(20_000))
        .map(|_| {
            let mut bytes = random.event().encode().unwrap().to_bytes();
            // small frames, so that the damage is often in a head or a key
            while bytes.len() > 400 {
                bytes = random.event().encode().unwrap().to_bytes();
            }
            match random.below(4) {
                0 => bytes.truncate(random.below(bytes.len())),
                1 => bytes.insert(random.below(bytes.len()), random.next() as u8),
                2 => drop(bytes.remove(random.below(bytes.len()))),
                _ => {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            bytes
        })
        .collect();
    let commands: Vec<String> =
        damaged.iter().map(|bytes| format!("{{\"frame\":\"{}\"}}", hex(bytes))).collect();
    let mut accepted = 0;
    for (bytes, answer) in damaged.iter().zip(ask(&commands)) {
        let ours = Frame::from_bytes(bytes).and_then(|frame| Event::decode(&frame).map(|_| frame));
        let ours = ours.map(|frame| hex(&commit::event_commitment(&salts(), &frame.groups.each())));
        accepted += usize::from(ours.is_ok());
        assert_eq!(ours.as_deref().ok(), answer["c"].as_str(), "{ours:?} {answer} {}", hex(bytes));
    }
    println!("{} damaged frames, of which both accept {accepted}", damaged.len());
}

#[test]
fn the_vectors_are_what_the_second_implementation_prints() {
    assert!(
        python("vectors", String::new()) == include_str!("../vectors/events.ndjson"),
        "run event_ref.py vectors again"
    );
}
