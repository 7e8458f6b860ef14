//! `prove`: an evidence file that convinces somebody who has nothing but pinned keys.

use crate::access::evidence::{Single, parse_groups};
use crate::access::{Access, EntryId, Search};
use crate::args::{Global, ProofFormat, ProveArgs};
use crate::exit::{CliError, Exit};
use crate::output;
use countersign_proof::{Policy, Trust, VerifierKey};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes the proof, and the trust files when asked.
pub(crate) fn run(global: &Global, args: &ProveArgs) -> Result<Exit, CliError> {
    let keep = parse_groups(&args.disclose)?;
    let access = Access::open(global)?;
    let index = find(&access, &args.id)?;
    let full = access.evidence(index)?;
    let (bytes, extension) = match args.format {
        ProofFormat::Csne if args.disclose.is_empty() => (full, "csne"),
        ProofFormat::Csne => (Single::read(&full)?.withhold(&keep)?, "csne"),
        ProofFormat::TlogProof => (Single::read(&full)?.tlog_proof().into_bytes(), "tlog-proof"),
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("event-{index}.{extension}")));
    if out == Path::new("-") {
        std::io::stdout().lock().write_all(&bytes)?;
    } else {
        write_new(&out, &bytes)?;
    }
    let mut trust = ("trust.policy".to_string(), "trust.toml".to_string());
    if let Some(dir) = &args.write_policy {
        let written = write_policy(dir, &access.vkey()?)?;
        trust = (written.0.display().to_string(), written.1.display().to_string());
    }
    if !global.quiet {
        eprintln!(
            "proof of index {index}: {} bytes in {}",
            bytes.len(),
            output::escape(&out.display().to_string())
        );
        eprintln!("check it: countersign-verify {} --policy {} --trust {}", out.display(), trust.0, trust.1);
        if args.write_policy.is_none() {
            eprintln!("the files that pin this log's key: add --write-policy DIR");
        }
    }
    Ok(Exit::Yes)
}

/// An index, an event id, or the newest event that matches a filter.
fn find(access: &Access, words: &[String]) -> Result<u64, CliError> {
    let single = words.first().filter(|_| words.len() == 1);
    match single.map(|word| EntryId::parse(word)) {
        Some(Ok(EntryId::Index(index))) => return Ok(index),
        Some(Ok(id)) => {
            let document = access.document(&id)?;
            return document["index"]
                .as_u64()
                .ok_or_else(|| CliError::Failed(format!("{id} has no index; this is a defect: report it")));
        }
        _ => {}
    }
    let search = Search { filter: words.join(" ").trim().into(), ..Search::default() };
    let answer = access.find(&search, 1, &["index".to_string()])?;
    let index = answer.rows.first().and_then(|row| row.get("index")).and_then(serde_json::Value::as_u64);
    index.ok_or_else(|| {
        CliError::NotFound(format!("nothing matches `{}`; look with countersign q", search.filter))
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    std::fs::write(path, bytes).map_err(|e| {
        CliError::new(format!("cannot write {}", path.display()), e, "name another file with --out")
    })
}

/// Writes `trust.policy` and `trust.toml` that pin one log key; an existing file that says otherwise stays.
pub(crate) fn write_policy(dir: &Path, vkey: &str) -> Result<(PathBuf, PathBuf), CliError> {
    let (policy, trust) = policy_texts(vkey)?;
    let fail = |path: &Path, why: &dyn std::fmt::Display| {
        CliError::new(
            format!("cannot write {}", path.display()),
            why,
            "choose another directory for --write-policy",
        )
    };
    std::fs::create_dir_all(dir).map_err(|e| fail(dir, &e))?;
    let paths = (dir.join("trust.policy"), dir.join("trust.toml"));
    for (path, text) in [(&paths.0, &policy), (&paths.1, &trust)] {
        match std::fs::read_to_string(path) {
            Ok(found) if found == *text => {}
            Ok(_) => return Err(fail(path, &"it exists and pins something else")),
            Err(_) => std::fs::write(path, text).map_err(|e| fail(path, &e))?,
        }
    }
    Ok(paths)
}

/// The texts of both trust files for one log key.
pub(crate) fn policy_texts(vkey: &str) -> Result<(String, String), CliError> {
    let key = VerifierKey::parse(vkey)
        .map_err(|e| CliError::new("cannot read the log's key", e, "run countersign fsck"))?;
    Ok((Policy::unwitnessed(&key), Trust::ed25519_text().to_string()))
}
