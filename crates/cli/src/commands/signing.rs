//! `policy keygen`, `sign`, `adopt`: a person's key, a person's signature under a proposal, and taking it over.
//!
//! Who may sign is the configuration's (`policy.signers`), never the command's. A private key is one line in a
//! file of its owner, in the form of Go's `note` package: `PRIVATE+KEY+name+id+base64`. It is never printed.

use super::policy::{configured, print};
use crate::args::Global;
use crate::config;
use crate::exit::{CliError, Exit};
use crate::stages::ledger::random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_policy::{Bundle, adopt};
use countersign_proof::note::NoteSigner;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest private key file, bytes.
const KEY_FILE_MAX: u64 = 1_024;
const PREFIX: &str = "PRIVATE+KEY+";
/// Type byte of a key that signs notes.
const ED25519: u8 = 1;

/// Makes a person's key; prints its public half.
pub(crate) fn keygen(name: &str, out: &Path) -> Result<Exit, CliError> {
    let seed: [u8; 32] = random()?;
    let signer = NoteSigner::from_seed(name, &seed).map_err(|e| CliError::Failed(e.to_string()))?;
    let public = signer.verifier().to_string();
    let id = public.split('+').nth(1).unwrap_or_default();
    let secret = STANDARD.encode([&[ED25519][..], &seed].concat());
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)?;
        file.write_all(format!("{PREFIX}{name}+{id}+{secret}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(|e| {
        CliError::new(format!("cannot write {}", out.display()), e, "choose a file that does not exist")
    })?;
    print(&format!("{public}\n"))?;
    eprintln!("the line above is public: add it to `policy.signers`; {} stays with its owner", out.display());
    Ok(Exit::Yes)
}

/// Signs a proposal of `policy learn`.
pub(crate) fn sign(proposal: &Path, key: &Path) -> Result<Exit, CliError> {
    let signer = read_key(key)?;
    let base = base(proposal);
    let failed = |problem: countersign_policy::Problem| CliError::Failed(problem.to_string());
    let mut bundle = Bundle::read(&base).map_err(failed)?;
    bundle.sign(&base.with_extension("note").display().to_string(), &signer).map_err(failed)?;
    bundle.write(&base).map_err(failed)?;
    print(&format!(
        "signed {}\nby     {}\nnext   countersign policy adopt {}\n",
        base.with_extension("note").display(),
        signer.verifier(),
        base.display()
    ))?;
    Ok(Exit::Yes)
}

/// Takes a signed proposal over into a directory of policies.
pub(crate) fn take_over(global: &Global, proposal: &Path, to: Option<&Path>) -> Result<Exit, CliError> {
    let config = configured(global)?;
    let base = base(proposal);
    let bundle = Bundle::read(&base).map_err(|e| CliError::Failed(e.to_string()))?;
    let directory = to.or_else(|| config.policies.iter().map(PathBuf::as_path).find(|path| path.is_dir()));
    let directory = directory.ok_or_else(|| {
        CliError::Failed("`policy.files` names no directory to put it into: name one with --to".into())
    })?;
    let place = directory.join(base.file_name().unwrap_or_default());
    let adopted = adopt(&bundle, &place, &config).map_err(|e| CliError::Failed(e.to_string()))?;
    print(&format!(
        "adopted {}\ndigest  {}\nsigned  {}\npermits {}\nIn force once `policy.files` names it or its directory; a running server reads it within two seconds.\n",
        adopted.file,
        adopted.digest,
        adopted.signers.join(", "),
        adopted.permits
    ))?;
    Ok(Exit::Yes)
}

/// A proposal's name without an extension, whichever of its three files was named.
fn base(proposal: &Path) -> PathBuf {
    match proposal.extension().and_then(|e| e.to_str()) {
        Some("cedar" | "json" | "note") => proposal.with_extension(""),
        _ => proposal.to_path_buf(),
    }
}

fn read_key(path: &Path) -> Result<NoteSigner, CliError> {
    let fail = |why: &str| {
        CliError::new(
            format!("cannot sign with {}", path.display()),
            why,
            "make a key: countersign policy keygen",
        )
    };
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        return Err(fail("others may read it: chmod 600 it, or better make a new one"));
    }
    let text = config::read_bounded(path, KEY_FILE_MAX)?;
    let parts = text.trim().strip_prefix(PREFIX).map(|rest| rest.splitn(3, '+').collect::<Vec<_>>());
    let Some([name, _, secret]) = parts.as_deref() else {
        return Err(fail("it holds no private key of a person"));
    };
    let bytes = STANDARD.decode(secret).unwrap_or_default();
    let seed = bytes.strip_prefix(&[ED25519]).and_then(|seed| <&[u8; 32]>::try_from(seed).ok());
    let seed = seed.ok_or_else(|| fail("it holds no private key of a person"))?;
    NoteSigner::from_seed(name, seed).map_err(|e| fail(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_signs_as_its_public_half_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alice.key");
        keygen("alice", &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let signer = read_key(&path).unwrap();
        assert!(signer.verifier().to_string().starts_with("alice+"));
        let id = signer.verifier().to_string().split('+').nth(1).unwrap().to_owned();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&format!("PRIVATE+KEY+alice+{id}+")));
        assert!(keygen("alice", &path).is_err(), "a key is never overwritten");
        assert!(keygen("a b", &dir.path().join("other")).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("others may read it"));
    }

    #[test]
    fn any_of_the_three_files_names_the_proposal() {
        for name in ["p", "p.cedar", "p.json", "p.note"] {
            assert_eq!(base(Path::new(name)), Path::new("p"));
        }
        assert_eq!(base(Path::new("dir/p.v2")), Path::new("dir/p.v2"));
    }
}
