//! Evidence files: what they prove, what each kind of damage is called, and that no flip reads as proven.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::fixture::*;
use countersign_event::{Entry, EntryKind, eid, group_commitment, import_eid};
use countersign_proof::report::Check;
use countersign_proof::*;
use proptest::prelude::*;

fn run(file: &[u8]) -> Report {
    verify_evidence(file, &policy(), &trust())
}

fn status_of(report: &Report, check: Check) -> Option<Status> {
    report.lines.iter().find(|line| line.check == check).map(|line| line.status)
}

fn whole() -> Vec<u8> {
    let log = small_log();
    let mut builder = log.builder();
    for index in 0..log.size() {
        builder = log.add(builder, index, 0b1000001);
    }
    builder.finish().unwrap()
}

fn erased(log: &Log, index: u64, mask: u8, by: u64) -> [GroupEvidence; 7] {
    let mut groups = log.groups(index, 0);
    for (g, group) in groups.iter_mut().enumerate() {
        if let (1, GroupEvidence::Withheld { commitment }) = (mask >> g & 1, &*group) {
            *group = GroupEvidence::Erased { commitment: *commitment, entry: by };
        }
    }
    groups
}

#[test]
fn one_event_with_some_groups_is_proven() {
    let log = small_log();
    let file = log.add(log.add(log.builder(), 3, 0b11), 0, 0).finish().unwrap();
    let report = run(&file);
    assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
    assert_eq!((report.origin.as_str(), report.size, report.events), (ORIGIN, 11, 1));
    assert_eq!((report.count(Verdict::Disclosed), report.count(Verdict::Withheld)), (2, 5));
    assert_eq!(status_of(&report, Check::Core), Some(Status::Ok));
    assert!(report.entries[1].contains("spiffe://example.org/gw1"), "{:?}", report.entries);
    let text = report.to_text(false);
    assert!(text.contains("unwitnessed") && text.contains("not checked completeness"), "{text}");
    assert!(text.contains("DISCLOSED 2 (core, who)"), "{text}");
    assert!(report.to_json().starts_with("{\"exit\":0,"));
}

#[test]
fn an_event_with_everything_withheld_is_still_in_the_log() {
    let log = small_log();
    let report = run(&log.add(log.builder(), 3, 0).finish().unwrap());
    assert_eq!(report.exit_code(), 0);
    assert_eq!(status_of(&report, Check::Core), None);
    assert!(report.not_checked.iter().any(|text| text.contains("group core is not shown")));
}

#[test]
fn equal_contents_give_equal_bytes_in_any_order() {
    let log = small_log();
    let one = log.add(log.add(log.builder(), 3, 1), 0, 0).finish().unwrap();
    let two = log.add(log.add(log.builder(), 0, 0), 3, 1).finish().unwrap();
    assert_eq!(one, two);
    assert!(log.add(log.add(log.builder(), 3, 1), 3, 1).finish().is_err());
    assert!(EvidenceBuilder::new(ORIGIN, "", 0).finish().is_err());
}

#[test]
fn a_multiproof_proves_many_entries_at_once() {
    let log = small_log();
    let indices = [0u64, 1, 5, 7];
    let proof = multiproof(&indices, log.size(), &log.tree).unwrap();
    let mut builder = log.builder().multiproof(proof);
    for index in indices {
        builder = log.add(builder, index, 0x7f);
    }
    let file = builder.clone().finish().unwrap();
    assert_eq!(run(&file).exit_code(), 0, "{}", run(&file).to_text(true));
    let missing_one = multiproof(&indices[1..], log.size(), &log.tree).unwrap();
    assert_eq!(run(&builder.multiproof(missing_one).finish().unwrap()).exit_code(), 3);
}

#[test]
fn a_whole_range_with_declared_gap_is_complete() {
    let log = small_log();
    let mut builder =
        EvidenceBuilder::with_range(ORIGIN, "audit", START, Some((0, 11))).checkpoint(&log.note());
    for index in 0..11 {
        builder = log.add(builder, index, 1);
    }
    let report = run(&builder.finish().unwrap());
    assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
    assert_eq!(status_of(&report, Check::Range), Some(Status::Ok));
}

fn range_without(skip: u64, trust: &Trust) -> Report {
    let log = small_log();
    let mut builder =
        EvidenceBuilder::with_range(ORIGIN, "audit", START, Some((1, 8))).checkpoint(&log.note());
    for index in (0..11).filter(|index| *index != skip) {
        builder = log.add(builder, index, 0);
    }
    verify_evidence(&builder.finish().unwrap(), &policy(), trust)
}

#[test]
fn a_range_with_a_leaf_left_out_is_not_enough() {
    assert_eq!(range_without(99, &trust()).exit_code(), 0);
    let report = range_without(5, &trust());
    assert_eq!((report.exit_code(), status_of(&report, Check::Range)), (1, Some(Status::Insufficient)));
    let report = range_without(6, &trust());
    assert!(
        report.to_text(false).contains("numbers 4 to 5 of source 1 are absent"),
        "{}",
        report.to_text(false)
    );
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn silence_longer_than_allowed_is_not_enough() {
    let strict = Trust::parse(b"require = \"ed25519\"\nmax_silence_s = 3").unwrap();
    let report = range_without(99, &strict);
    assert_eq!(report.exit_code(), 1);
    assert!(report.to_text(false).contains("source 1 was silent for 4 s"), "{}", report.to_text(false));
}

#[test]
fn a_number_used_twice_is_an_integrity_failure() {
    let mut log = Log::new();
    log.register(1);
    log.event(1, 1);
    log.event(1, 1);
    let mut builder =
        EvidenceBuilder::with_range(ORIGIN, "audit", START, Some((0, 3))).checkpoint(&log.note());
    for index in 0..3 {
        builder = log.add(builder, index, 0);
    }
    assert_eq!(run(&builder.finish().unwrap()).exit_code(), 3);
}

#[test]
fn erased_groups_need_the_entry_that_erased_them() {
    let log = small_log();
    let shown = log.builder().event(log.event_evidence(2, erased(&log, 2, 0b110, 8)));
    let report = run(&log.add(shown.clone(), 8, 0).finish().unwrap());
    assert_eq!((report.exit_code(), report.count(Verdict::Erased)), (0, 2), "{}", report.to_text(true));
    assert!(report.to_text(false).contains("removed     group who of event 2: ERASED (entry 8)"));

    let report = run(&shown.finish().unwrap());
    assert_eq!((report.exit_code(), report.count(Verdict::Missing)), (1, 2));
    assert!(report.to_text(false).contains("which is not in the file"));

    for (index, mask, by) in [(2, 0b1000, 8), (3, 0b10, 8), (2, 0b10, 9), (2, 0b10, 6)] {
        let builder = log.builder().event(log.event_evidence(index, erased(&log, index, mask, by)));
        let report = run(&log.add(builder, by, 0).finish().unwrap());
        assert_eq!((report.exit_code(), report.count(Verdict::Missing)), (1, 1), "{index} {mask} {by}");
    }
}

#[test]
fn an_erasure_cannot_speak_of_later_events() {
    let mut log = Log::new();
    let erase = body::Erase {
        ranges: vec![(0, 99)],
        mask: 0x7f,
        ground: "x".into(),
        approvers: vec![],
        request: [0; 32],
    };
    log.other(EntryKind::Erase, erase.encode());
    log.event(1, 1);
    let builder = log.builder().event(log.event_evidence(1, erased(&log, 1, 0b10, 0)));
    let report = run(&log.add(builder, 0, 0).finish().unwrap());
    assert_eq!((report.exit_code(), report.count(Verdict::Missing)), (1, 1));
}

#[test]
fn retired_groups_need_the_entry_that_retired_them() {
    let log = small_log();
    let groups = erased(&log, 1, 0x7f, 9).map(|group| match group {
        GroupEvidence::Erased { commitment, entry } => GroupEvidence::Retired { commitment, entry },
        other => other,
    });
    let builder = log.builder().event(log.event_evidence(1, groups.clone()));
    let report = run(&log.add(builder, 9, 0).finish().unwrap());
    assert_eq!((report.exit_code(), report.count(Verdict::Retired)), (0, 7));
    let report = run(&log.builder().event(log.event_evidence(1, groups)).finish().unwrap());
    assert_eq!((report.exit_code(), report.count(Verdict::Missing)), (1, 7));
}

#[test]
fn a_missing_group_is_never_enough() {
    let log = small_log();
    for known in [true, false] {
        let mut groups = log.groups(3, 1);
        if let GroupEvidence::Withheld { commitment } = groups[4] {
            groups[4] = GroupEvidence::Missing { commitment: known.then_some(commitment) };
        }
        let report = run(&log.builder().event(log.event_evidence(3, groups)).finish().unwrap());
        assert_eq!((report.exit_code(), report.count(Verdict::Missing)), (1, 1));
        assert!(report.to_text(false).contains("group links of event 3 is missing"));
    }
}

#[test]
fn changed_contents_salts_commitments_bodies_and_schema_are_integrity_failures() {
    let log = small_log();
    let mut content = log.event_evidence(3, log.groups(3, 0b11));
    let mut salt = content.clone();
    let mut withheld = content.clone();
    let mut schema = content.clone();
    if let GroupEvidence::Disclosed { bytes, .. } = &mut content.groups[1] {
        bytes[0] ^= 1;
    }
    if let GroupEvidence::Disclosed { salt, .. } = &mut salt.groups[1] {
        salt[0] ^= 1;
    }
    if let GroupEvidence::Withheld { commitment } = &mut withheld.groups[5] {
        commitment[0] ^= 1;
    }
    schema.schema = 2;
    for event in [content, salt, withheld, schema] {
        let report = run(&log.builder().event(event).finish().unwrap());
        assert_eq!((report.exit_code(), status_of(&report, Check::Commitment)), (3, Some(Status::Broken)));
    }
    let inclusion = inclusion_proof(6, log.size(), &log.tree).unwrap();
    let file = log.builder().body(6, log.entries[6].to_bytes(), b"\xa0", &inclusion).finish().unwrap();
    assert_eq!(run(&file).exit_code(), 3);
}

#[test]
fn an_entry_at_another_place_or_changed_is_an_integrity_failure() {
    let log = small_log();
    let mut moved = log.event_evidence(3, log.groups(3, 0));
    moved.index = 2;
    let mut changed = log.event_evidence(3, log.groups(3, 0));
    changed.entry[20] ^= 1;
    let mut beyond = log.event_evidence(3, log.groups(3, 0));
    beyond.index = 1 << 40;
    for event in [moved, changed, beyond] {
        let report = run(&log.builder().event(event).finish().unwrap());
        assert_eq!((report.exit_code(), status_of(&report, Check::Inclusion)), (3, Some(Status::Broken)));
    }
}

#[test]
fn a_core_that_contradicts_its_entry_is_an_integrity_failure() {
    let (name, s) = (agent(1), stream(1));
    for (core, why) in [
        (core(&name, &s, 2, &eid(&name, &s, 2)), "it says number 2"),
        (core("other", &s, 1, &eid("other", &s, 1)), "its agent and stream"),
        (core(&name, &[7; 16], 1, &eid(&name, &[7; 16], 1)), "its agent and stream"),
        (vec![0xa0], "group 0 is not readable"),
        (vec![0xff], "group 0 is not readable"),
    ] {
        let mut log = Log::new();
        log.register(1);
        log.event_with(1, 1, core, vec![0xa0]);
        let report = run(&log.add(log.add(log.builder(), 0, 0), 1, 1).finish().unwrap());
        assert_eq!((report.exit_code(), status_of(&report, Check::Core)), (3, Some(Status::Broken)));
        assert!(report.to_text(false).contains(why), "{}", report.to_text(false));
    }
}

#[test]
fn an_imported_events_id_is_checked_when_its_source_id_is_shown() {
    let (name, s) = (agent(1), stream(1));
    // Group 6: {2: {4: "abc"}}.
    let body = vec![0xa1, 0x02, 0xa1, 0x04, 0x63, b'a', b'b', b'c'];
    for (id, mask, code) in [
        (import_eid(&name, b"abc"), 0b1000001, 0),
        (import_eid(&name, b"abc"), 0b1, 0),
        (import_eid(&name, b"abd"), 0b1000001, 3),
    ] {
        let mut log = Log::new();
        log.event_with(1, 1, core(&name, &s, 1, &id), body.clone());
        let report = run(&log.add(log.builder(), 0, mask).finish().unwrap());
        assert_eq!(report.exit_code(), code, "{}", report.to_text(true));
        let unchecked = report.not_checked.iter().any(|text| text.contains("an id that is not shown"));
        assert_eq!(unchecked, mask == 1);
    }
}

#[test]
fn time_that_falls_along_the_index_is_an_integrity_failure() {
    let mut log = Log::new();
    log.event(1, 1);
    log.event(1, 2);
    let Known::Event { groups, salts } = &log.known[1] else { unreachable!() };
    let parts = std::array::from_fn(|g| group_commitment(&salts[g], g as u8, &groups[g]));
    let entry = Entry { time_ns: START - 1, ..log.entries[1] };
    assert_eq!(entry.commitment, countersign_event::commitment(1, &parts));
    let mut tree = MemoryTree::new();
    tree.push(log.entries[0].leaf());
    tree.push(entry.leaf());
    (log.tree, log.entries[1]) = (tree, entry);
    let report = run(&log.add(log.add(log.builder(), 0, 0), 1, 0).finish().unwrap());
    assert_eq!((report.exit_code(), status_of(&report, Check::Time)), (3, Some(Status::Broken)));
}

#[test]
fn checkpoints_by_others_or_of_other_logs_are_integrity_failures() {
    let log = small_log();
    let stranger = NoteSigner::from_seed(ORIGIN, &[77; 32]).unwrap();
    let note = log.head(11).sign(0, &[&stranger]).unwrap().to_string();
    let file = log.add(EvidenceBuilder::new(ORIGIN, "", 0).checkpoint(&note), 3, 0).finish().unwrap();
    assert_eq!(run(&file).exit_code(), 3);
    let file = log.add(EvidenceBuilder::new("other", "", 0).checkpoint(&log.note()), 3, 0).finish().unwrap();
    assert_eq!(run(&file).exit_code(), 3);
    let mut other = log.head(11);
    other.origin = "other".to_owned();
    let note = other.sign(0, &[&log_signer()]).unwrap().to_string();
    let file = log.add(EvidenceBuilder::new("other", "", 0).checkpoint(&note), 3, 0).finish().unwrap();
    assert_eq!(run(&file).exit_code(), 3);
}

#[test]
fn checkpoints_must_extend_each_other() {
    let log = small_log();
    let early = log.head(6).sign(0, &[&log_signer()]).unwrap().to_string();
    let two = || EvidenceBuilder::new(ORIGIN, "", 0).checkpoint(&early).checkpoint(&log.note());
    let proof = consistency_proof(6, 11, &log.tree).unwrap();
    let report = run(&log.add(two().consistency(&proof), 3, 0).finish().unwrap());
    assert_eq!((report.exit_code(), status_of(&report, Check::Consistency)), (0, Some(Status::Ok)));
    let report = run(&log.add(two(), 3, 0).finish().unwrap());
    assert_eq!(report.exit_code(), 0);
    assert!(report.not_checked.iter().any(|text| text.contains("consistency of 1")));
    let report = run(&log.add(two().consistency(&proof[1..]), 3, 0).finish().unwrap());
    assert_eq!((report.exit_code(), status_of(&report, Check::Consistency)), (3, Some(Status::Broken)));
}

#[test]
fn two_signed_checkpoints_of_one_size_are_called_a_fork() {
    let log = small_log();
    let mut other = log.head(11);
    other.root = [5; 32];
    let fork = other.sign(0, &[&log_signer()]).unwrap().to_string();
    let builder = EvidenceBuilder::new(ORIGIN, "", 0).checkpoint(&fork).checkpoint(&log.note());
    let report = run(&log.add(builder, 3, 0).finish().unwrap());
    assert_eq!(report.exit_code(), 3);
    assert!(report.to_text(false).contains("FORK"), "{}", report.to_text(false));
}

#[test]
fn a_missing_quorum_or_second_algorithm_is_not_enough() {
    let log = small_log();
    let text = format!(
        "log {}\nwitness a {}\nwitness b {}\ngroup both all a b\nquorum both\n",
        log_signer().verifier(),
        witness(1).verifier(),
        witness(2).verifier()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let signers = [log_signer(), witness(1), witness(2)];
    for (count, code) in [(1, 1), (2, 1), (3, 0)] {
        let some: Vec<&NoteSigner> = signers.iter().take(count).collect();
        let note = log.head(11).sign(1_763_700_011, &some).unwrap().to_string();
        let file = log.add(EvidenceBuilder::new(ORIGIN, "", 0).checkpoint(&note), 3, 0).finish().unwrap();
        let report = verify_evidence(&file, &policy, &trust());
        assert_eq!(report.exit_code(), code, "{}", report.to_text(true));
    }
    let both = Trust::parse(b"require = \"both\"").unwrap();
    let report = verify_evidence(&whole(), &crate::fixture::policy(), &both);
    assert_eq!((report.exit_code(), status_of(&report, Check::Algorithms)), (1, Some(Status::Insufficient)));
}

#[test]
fn heartbeats_are_checked_against_the_key_that_their_source_registered() {
    for (body, with_registration, code, part) in [
        (heartbeat(1, 6, 1, &source_key(1)), true, 0, "1 signed by their sources"),
        (heartbeat(1, 6, 1, &source_key(1)), false, 0, "signatures of 1 heartbeats"),
        (heartbeat(1, 6, 1, &source_key(2)), true, 3, "is not signed by source 1"),
        (heartbeat(1, 7, 1, &source_key(1)), true, 1, "seen is not sent + rejected + dropped"),
        (heartbeat(1, 6, u64::MAX, &source_key(1)), true, 1, "seen is not sent"),
    ] {
        let mut log = Log::new();
        log.register(1);
        log.other(EntryKind::SourceCkpt, body);
        let builder = if with_registration { log.add(log.builder(), 0, 0) } else { log.builder() };
        let report = run(&log.add(builder, 1, 0).finish().unwrap());
        assert_eq!(report.exit_code(), code, "{}", report.to_text(true));
        assert!(report.to_text(false).contains(part), "{}", report.to_text(false));
    }
}

#[test]
fn unknown_kinds_are_counted_and_named() {
    let mut log = Log::new();
    log.event(1, 1);
    let entry =
        Entry { kind: 0x91, source_ref: 0, source_seq: 1, time_ns: START + SECOND, commitment: [8; 32] };
    log.tree.push(entry.leaf());
    let inclusion = inclusion_proof(1, 2, &log.tree).unwrap();
    let file = log.add(log.builder(), 0, 1).opaque(1, entry.to_bytes(), &inclusion).finish().unwrap();
    let report = run(&file);
    assert_eq!(
        (report.exit_code(), report.others.get("unknown_91")),
        (0, Some(&1)),
        "{}",
        report.to_text(true)
    );
}

#[test]
fn an_event_shown_as_something_else_is_malformed() {
    let log = small_log();
    let inclusion = inclusion_proof(3, 11, &log.tree).unwrap();
    let file = log.builder().opaque(3, log.entries[3].to_bytes(), &inclusion).finish().unwrap();
    assert_eq!(run(&file).exit_code(), 2);
    let mut event = log.event_evidence(3, log.groups(3, 0));
    (event.index, event.entry) = (8, log.entries[8].to_bytes());
    event.inclusion = inclusion_proof(8, 11, &log.tree).unwrap();
    assert_eq!(log.entries[8].kind, EntryKind::Erase as u8);
    assert_eq!(run(&log.builder().event(event).finish().unwrap()).exit_code(), 2);
}

#[test]
fn a_file_without_entries_proves_nothing() {
    let report = run(&small_log().builder().finish().unwrap());
    assert_eq!(report.exit_code(), 1);
    assert_eq!(run(b"").exit_code(), 2);
    assert_eq!(Report::default().exit_code(), 2);
}

#[test]
fn names_from_a_file_cannot_reach_the_terminal_raw() {
    let log = small_log();
    let builder = EvidenceBuilder::new(ORIGIN, "a\u{1b}[31m\u{202e}b\"\\", 0).checkpoint(&log.note());
    let report = run(&log.add(builder, 3, 0).finish().unwrap());
    assert!(report.to_json().contains("a\\\\u{1b}[31m\\\\u{202e}b\\\"\\\\"), "{}", report.to_json());
    let (name, s) = ("x\u{9b}2J\n", stream(1));
    let mut log = Log::new();
    log.event_with(1, 1, core(name, &s, 1, &eid(name, &s, 1)), vec![0xa0]);
    let text = run(&log.add(log.builder(), 0, 1).finish().unwrap()).to_text(true);
    assert!(text.contains("x\\u{9b}2J\\u{a}") && !text.contains('\u{9b}'), "{text}");
}

/// Ends of all items of a file, by the format alone: each item is read with the general reader.
fn borders(file: &[u8]) -> Vec<usize> {
    let mut borders = vec![0];
    while let Some(at) = borders.last().copied().filter(|at| *at < file.len()) {
        let mut reader = countersign_event::cbor::Reader::new(&file[at..]);
        reader.value().unwrap();
        borders.push(at + reader.position());
    }
    borders
}

/// Groups of the published event A of schema 1: an HTTP success by an SVID, number 7.
const VECTOR_A: [&str; 7] = [
    "b00001015039a7cf97307106bd4d78dc098d79b05902777370696666653a2f2f6578616d706c652e6f72672f67770350101112131415161718191a1b1c1d1e1f0407051b18d75b8423f30000061b18d75b8423dc1ca00701091a0016e3600a010b010c68687474702f312e310d634745540e010f0110820163323030",
    "a100a500781c7370696666653a2f2f6578616d706c652e6f72672f62696c6c696e670102020203040575783530393a61626162616261626162616261626162",
    "a300a200440a0000050119a35e01a200440a000009011920fb0301",
    "a300666f7264657273016c2f6f72646572732f7b69647d046431323334",
    "a300500af7651916cd43dd8448eb211c80319c0148b7ad6b71692033310301",
    "a0",
    "a201a10019020002a200010301",
];
/// Groups of the published event C of schema 1: a raw syslog record, number 1.
const VECTOR_C: [&str; 7] = [
    "a8000101504d311f6115e1a5df560e273e36eb9262026e696e7075743a7379736c6f672d310350101112131415161718191a1b1c1d1e1f0401051b18d75b8423f3000007040a09",
    "a0",
    "a200a10044c00002070302",
    "a0",
    "a0",
    "a106a1622f7864312e3530",
    "a202a40004016a7379736c6f67353432340303080103a20118220358223c31333e31206e6f7420612074696d6520686f737420617070202d202d202d206869",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn the_published_events_have_the_published_leaves_and_are_proven() {
    let leaf_a = "e391a4ae5ccfd9c90b4e1dbc492c2743b1416154ca5744d83579b9f91b0adb56";
    let leaf_c = "3b17ef4e29d794954263f10ecdcc6d962e1b9f70596dce28ff8f438039a4f8b3";
    for (vector, seq, published) in [(VECTOR_A, 7, leaf_a), (VECTOR_C, 1, leaf_c)] {
        let groups = vector.map(unhex);
        let salts: [[u8; 16]; 7] = std::array::from_fn(|g| [0xa0 + g as u8; 16]);
        let parts = std::array::from_fn(|g| group_commitment(&salts[g], g as u8, &groups[g]));
        let commitment = countersign_event::commitment(1, &parts);
        let entry =
            Entry { kind: 1, source_ref: 1, source_seq: seq, time_ns: 1_790_000_000_000_000_000, commitment };
        assert_eq!(entry.leaf().to_vec(), unhex(published));
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: entry.leaf() };
        let event = EventEvidence {
            index: 0,
            entry: entry.to_bytes(),
            schema: 1,
            groups: std::array::from_fn(|g| GroupEvidence::Disclosed {
                bytes: groups[g].clone(),
                salt: salts[g],
            }),
            inclusion: Vec::new(),
        };
        let note = head.sign(0, &[&log_signer()]).unwrap().to_string();
        let report =
            run(&EvidenceBuilder::new(ORIGIN, "", 0).checkpoint(&note).event(event).finish().unwrap());
        assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
        assert_eq!(status_of(&report, Check::Core), Some(Status::Ok));
        assert!(!report.not_checked.iter().any(|text| text.contains("an id that is not shown")));
    }
}

/// The first released format. This file is never written again: it must stay readable for ever.
#[test]
fn the_fixture_of_version_1_is_still_proven_and_still_written() {
    let fixture = include_bytes!("../fixtures/evidence-v1.csne");
    let report = run(fixture);
    assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
    assert_eq!((report.events, report.count(Verdict::Disclosed)), (5, 10));
    assert!(whole() == fixture, "the writer gives other bytes than version 1");
}

#[test]
fn a_file_cut_anywhere_is_never_proven() {
    let file = whole();
    assert_eq!(run(&file).exit_code(), 0, "{}", run(&file).to_text(true));
    let borders = borders(&file);
    assert_eq!(borders.len() - 1, 1 + 1 + 11 + 11 + 1);
    for cut in borders.iter().filter(|cut| **cut < file.len()) {
        assert_eq!(run(&file[..*cut]).exit_code(), 2, "cut at {cut}");
    }
    for cut in 0..file.len() {
        assert_ne!(run(&file[..cut]).exit_code(), 0, "cut at {cut}");
    }
    for tail in [&b"\x00"[..], b"\xf6", &file] {
        assert_eq!(run(&[&file, tail].concat()).exit_code(), 2);
    }
}

#[test]
fn items_removed_doubled_or_swapped_are_never_proven() {
    let file = whole();
    let borders = borders(&file);
    let items: Vec<&[u8]> = borders.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
    for at in 0..items.len() {
        let mut less = items.clone();
        less.remove(at);
        assert_ne!(run(&less.concat()).exit_code(), 0, "without item {at}");
        let mut twice = items.clone();
        twice.insert(at, items[at]);
        assert_ne!(run(&twice.concat()).exit_code(), 0, "item {at} twice");
        if at > 0 {
            let mut swapped = items.clone();
            swapped.swap(at, at - 1);
            assert_ne!(run(&swapped.concat()).exit_code(), 0, "item {at} before its neighbour");
        }
    }
}

#[test]
fn a_thousand_flipped_bytes_are_all_found() {
    let file = whole();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..1000u32 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (at, bit) = (random as usize % file.len(), 1u8 << (random >> 60 & 7));
        let mut flipped = file.clone();
        flipped[at] ^= bit;
        let code = run(&flipped).exit_code();
        assert!(code == 2 || code == 3, "round {round}: bit {bit:#x} of byte {at} gave {code}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_choice_of_entries_and_groups_is_proven(picks in proptest::collection::btree_map(0u64..11, 0u8..128, 1..11), shared: bool) {
        let log = small_log();
        let mut builder = log.builder();
        if shared {
            let indices: Vec<u64> = picks.keys().copied().collect();
            builder = builder.multiproof(multiproof(&indices, 11, &log.tree).unwrap());
        }
        for (index, mask) in &picks {
            builder = log.add(builder, *index, *mask);
        }
        let report = run(&builder.finish().unwrap());
        prop_assert_eq!(report.exit_code(), 0, "{}", report.to_text(true));
        prop_assert_eq!(report.events + report.others.values().sum::<u64>(), picks.len() as u64);
    }

    #[test]
    fn any_bytes_in_place_of_a_stretch_are_never_proven(at: usize, junk in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut file = whole();
        let at = at % file.len();
        let end = file.len().min(at + junk.len());
        prop_assume!(file[at..end] != junk[..end - at]);
        file.splice(at..end, junk);
        prop_assert_ne!(run(&file).exit_code(), 0);
    }
}
