//! `countersign-verify` as its user meets it: arguments, files, exit codes, output; also as a process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_event::{Entry, commitment, group_commitment};
use countersign_proof::*;
use countersign_verify::main_with;
use std::path::{Path, PathBuf};
use std::process::Command;

const ORIGIN: &str = "log.example/7f3a/1";

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    /// A directory with an evidence file of one event, and the trust files that fit it.
    fn new() -> Case {
        let case = Case { dir: tempfile::tempdir().unwrap() };
        let signer = NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
        let parts = std::array::from_fn(|g| group_commitment(&[g as u8; 16], g as u8, &[0xa0]));
        let entry = Entry {
            kind: 1,
            source_ref: 4,
            source_seq: 1,
            time_ns: 1_763_700_000_000_000_000,
            commitment: commitment(1, &parts),
        };
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: entry.leaf() };
        let note = head.sign(0, &[&signer]).unwrap().to_string();
        let event = EventEvidence {
            index: 0,
            entry: entry.to_bytes(),
            schema: 1,
            groups: std::array::from_fn(|g| match g {
                1 => GroupEvidence::Disclosed { bytes: vec![0xa0], salt: [1; 16] },
                _ => GroupEvidence::Withheld { commitment: parts[g] },
            }),
            inclusion: Vec::new(),
        };
        let file = EvidenceBuilder::new(ORIGIN, "test", 0).checkpoint(&note).event(event).finish().unwrap();
        case.write("e.csne", &file);
        let proof = TlogProof { extra: Some(entry.to_bytes().to_vec()), index: 0, path: Vec::new(), note };
        case.write("e.tlog-proof", proof.to_text().as_bytes());
        case.write("trust.policy", Policy::unwitnessed(&signer.verifier()).as_bytes());
        case.write("trust.toml", Trust::ed25519_text().as_bytes());
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn args(&self, file: &str, more: &[&str]) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let mut args = vec![
            path(file),
            "--policy".into(),
            path("trust.policy"),
            format!("--trust={}", path("trust.toml")),
        ];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    fn run(&self, file: &str, more: &[&str]) -> (u8, String, String) {
        run(&self.args(file, more))
    }
}

fn run(args: &[String]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = main_with(args, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_good_file_is_proven_and_each_check_has_a_line() {
    let case = Case::new();
    let (code, out, err) = case.run("e.csne", &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for part in [
        "ok          file",
        "ok          checkpoint   log.example/7f3a/1, size 1",
        "unwitnessed",
        "ok          inclusion",
        "ok          commitment",
        "not checked completeness",
        "proven      entry 0: event, number 1 of source 4, received 2025-11-21T04:40:00.000000000Z",
        "DISCLOSED 1 (who)",
        "WITHHELD 6",
        "(exit 0)",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    let (_, explained, _) = case.run("e.csne", &["--explain"]);
    assert!(explained.contains("= the entry is at its place in the signed tree"), "{explained}");
}

#[test]
fn json_is_one_line_with_the_exit_code() {
    let (code, out, _) = Case::new().run("e.csne", &["--json"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("{\"exit\":0,") && out.ends_with("}\n") && out.lines().count() == 1, "{out}");
    assert!(out.contains("\"who\":{\"DISCLOSED\":1,\"WITHHELD\":0,"), "{out}");
}

#[test]
fn the_text_format_is_recognised() {
    let (code, out, _) = Case::new().run("e.tlog-proof", &[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("a tlog-proof with its entry"), "{out}");
}

#[test]
fn each_exit_code_has_its_cause() {
    let case = Case::new();
    let good = std::fs::read(case.path("e.csne")).unwrap();
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    case.write("flipped.csne", &flipped);
    assert_eq!(case.run("flipped.csne", &[]).0, 3);
    case.write("cut.csne", &good[..good.len() - 9]);
    assert_eq!(case.run("cut.csne", &[]).0, 2);
    case.write("empty.csne", b"");
    assert_eq!(case.run("empty.csne", &[]).0, 2);
    case.write("trust.toml", b"require = \"both\"\n");
    let (code, out, _) = case.run("e.csne", &[]);
    assert_eq!(code, 1);
    assert!(out.contains("not enough  algorithms"), "{out}");
}

#[test]
fn missing_or_odd_trust_is_an_error_and_never_a_weaker_check() {
    let case = Case::new();
    for (file, content, why) in [
        ("trust.toml", None, "cannot read the trust file"),
        ("trust.toml", Some(""), "require is missing"),
        ("trust.toml", Some("requre = \"both\""), "did you mean require?"),
        ("trust.policy", Some("quorum none\n"), "no log is trusted"),
        ("trust.policy", Some("log x\n"), "line 1"),
        ("trust.policy", None, "cannot read the policy file"),
    ] {
        let case = Case::new();
        match content {
            Some(content) => case.write(file, content.as_bytes()),
            None => std::fs::remove_file(case.path(file)).unwrap(),
        }
        let (code, out, err) = case.run("e.csne", &[]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains(why), "{err}");
    }
    let (code, _, err) = run(&case.args("e.csne", &[])[..3]);
    assert_eq!(code, 2);
    assert!(err.contains("--trust trust.toml is missing"), "{err}");
    assert_eq!(case.run("absent.csne", &[]).0, 2);
    case.write("trust.toml", &vec![b'#'; 70_000]);
    assert!(case.run("e.csne", &[]).2.contains("over the limit of 65536 bytes"));
}

#[test]
fn usage_errors_name_the_next_step() {
    for (args, why) in [
        ("", "the evidence file is missing"),
        ("e --policy", "--policy needs a file name"),
        ("e --polcy p", "did you mean --policy?"),
        ("e f --policy p --trust t", "FILE is given twice"),
        ("e --json=1", "--json takes no value"),
        ("-x", "unknown option -x"),
    ] {
        let (code, out, err) = run(&words(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args}");
        assert!(err.contains(why) && err.contains("--help"), "{args}: {err}");
    }
    let (code, out, _) = run(&words("--help"));
    assert!(code == 0 && out.contains("Examples:") && out.contains("Exit codes:"), "{out}");
    assert_eq!(run(&words("-V")).1, format!("countersign-verify {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_binary_gives_the_same_answer_in_an_empty_directory() {
    let case = Case::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_countersign-verify"));
    let run = |file: &str| {
        Command::new(binary)
            .args(case.args(file, &[]))
            .current_dir(elsewhere.path())
            .env_clear()
            .output()
            .unwrap()
    };
    let good = run("e.csne");
    assert_eq!((good.status.code(), good.stderr.len()), (Some(0), 0));
    assert_eq!(String::from_utf8(good.stdout).unwrap(), case.run("e.csne", &[]).1);
    assert_eq!(run("absent.csne").status.code(), Some(2));
}
