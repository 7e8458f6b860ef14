//! What the gateway logs in with at PostgreSQL servers, from files: verifiers of roles, or a password of its own.
//!
//! Not the login, which is `wire`'s. Invariants: no byte of a file is in an error or a debug output; secrets are
//! overwritten when they are dropped; a file is read whole or not at all.

use crate::config::{Listener, Protocol, Scram};
use crate::error::GatewayError;
use countersign_wire::scram::{Keys, Verifier};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Largest file of verifiers, bytes.
const VERIFIERS_MAX: u64 = 8 << 20;
/// Most roles in it.
const ROLES_MAX: usize = 65_536;
/// Largest file with a password, bytes.
const PASSWORD_MAX: u64 = 4 << 10;

/// What a route logs in with.
#[derive(Clone)]
pub(crate) enum LoginFiles {
    Verify(Arc<Roles>),
    Identity(Arc<Own>),
}

impl LoginFiles {
    /// The files that `listener` names for logins.
    pub(crate) fn paths(listener: &Listener) -> Vec<PathBuf> {
        match &listener.postgres.scram {
            Scram::Verify { verifiers } => vec![verifiers.clone()],
            Scram::Identity(login) => login.password.iter().cloned().collect(),
            Scram::Unset | Scram::SameCertificate | Scram::Unbound => Vec::new(),
        }
    }

    /// Reads the files of `listener`; `None` = it has none.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub(crate) fn read(listener: &Listener) -> Result<Option<LoginFiles>, GatewayError> {
        if listener.protocol != Protocol::Postgres {
            return Ok(None);
        }
        let fail = |why| GatewayError::Config { listener: listener.name.clone(), why };
        match &listener.postgres.scram {
            Scram::Verify { verifiers } => {
                let roles = text(verifiers, VERIFIERS_MAX).and_then(|text| Roles::parse(&text));
                let roles = roles.map_err(|why| fail(format!("{}: {why}", verifiers.display())))?;
                Ok(Some(LoginFiles::Verify(Arc::new(roles))))
            }
            Scram::Identity(login) => {
                let password = match &login.password {
                    None => None,
                    Some(path) => {
                        let read = text(path, PASSWORD_MAX).and_then(|text| password(&text));
                        Some(read.map_err(|why| fail(format!("{}: {why}", path.display())))?)
                    }
                };
                let role = Some(login.role.clone()).filter(|role| !role.is_empty());
                Ok(Some(LoginFiles::Identity(Arc::new(Own { role, password, keys: Mutex::default() }))))
            }
            Scram::Unset | Scram::SameCertificate | Scram::Unbound => Ok(None),
        }
    }
}

/// The text of a file of at most `max` bytes.
fn text(path: &Path, max: u64) -> Result<Zeroizing<String>, String> {
    let file = std::fs::File::open(path).map_err(|e| format!("cannot be read: {e}"))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > max {
        return Err(format!("is larger than {max} bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is no UTF-8".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The one line of a password's file. ASCII, which SASLprep (RFC 4013) leaves as it is.
fn password(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || !line.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err("must hold one line of printable ASCII: the password".to_owned());
    }
    Ok(Zeroizing::new(line.as_bytes().to_vec()))
}

/// Verifiers by role.
pub(crate) struct Roles {
    by_role: BTreeMap<String, Verifier>,
    /// What those that are not known are made of.
    first: Verifier,
}

impl Roles {
    /// Lines `"role" "verifier"`, a quote in a name doubled; empty ones and those that begin with `#` or `;` are
    /// passed over. It is the form of pgbouncer's `userlist.txt`.
    pub(crate) fn parse(text: &str) -> Result<Roles, String> {
        let mut by_role = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", at + 1);
            let (role, rest) = quoted(line).ok_or_else(|| wrong("begins with no \"role\" in quotes"))?;
            let (verifier, rest) =
                quoted(rest.trim_start()).ok_or_else(|| wrong("has no \"verifier\" in quotes"))?;
            if !rest.is_empty() {
                return Err(wrong("goes on behind the verifier"));
            }
            let verifier = Verifier::parse(&Zeroizing::new(verifier)).map_err(wrong)?;
            if by_role.insert(role, verifier).is_some() {
                return Err(wrong("names a role for the second time"));
            }
            if by_role.len() > ROLES_MAX {
                return Err(format!("holds more than {ROLES_MAX} roles"));
            }
        }
        let first = by_role.values().next().cloned().ok_or("holds no verifier")?;
        Ok(Roles { by_role, first })
    }

    /// The verifier of a role, or one that nothing fits.
    pub(crate) fn verifier(&self, role: &str) -> Verifier {
        self.by_role.get(role).cloned().unwrap_or_else(|| self.first.mock(role))
    }
}

/// What stands in quotes at the front of `text`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut out = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        out.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                out.push('"');
                rest = more;
            }
            None => return Some((out, after)),
        }
    }
}

/// The gateway's own login.
pub(crate) struct Own {
    role: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    /// The last keys made of the password: a server asks with the same salt each time, and thousands of hashes on a
    /// data thread are too many for each session.
    keys: Mutex<Option<(Vec<u8>, u32, Keys)>>,
}

impl Own {
    pub(crate) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    pub(crate) fn password(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.password.clone()
    }

    pub(crate) fn keys(&self, salt: &[u8], iterations: u32) -> Option<Keys> {
        let password = self.password.as_ref()?;
        let mut kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, keys)) = kept.as_ref().filter(|(s, n, _)| s == salt && *n == iterations) {
            return Some(keys.clone());
        }
        let keys = Keys::of_password(password, salt, iterations);
        *kept = Some((salt.to_vec(), iterations, keys.clone()));
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                            WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn verifiers_are_read_by_role_and_unknown_roles_get_one_too() {
        let file = format!("# roles\n\n\"a \"\"b\"\"\" \"{VERIFIER}\"\n\"c\"\t\"{VERIFIER}\"\n");
        let roles = Roles::parse(&file).unwrap();
        let known = Verifier::parse(VERIFIER).unwrap();
        for (role, is_known) in [("a \"b\"", true), ("c", true), ("d", false), ("", false)] {
            assert_eq!(roles.verifier(role).salt == known.salt, is_known, "{role}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_by_its_line_and_without_its_bytes() {
        for (file, says) in [
            ("", "no verifier"),
            ("a b", "line 1: begins with no"),
            ("\"a\" \"md5aabb\"", "line 1: does not begin"),
            ("\"a\" \"SCRAM-SHA-256$secret\"", "line 1: has no keys"),
            ("\"a\" \"", "line 1: has no"),
            (&format!("\"a\" \"{VERIFIER}\"\n\"a\" \"{VERIFIER}\""), "line 2: names a role"),
            (&format!("\"a\" \"{VERIFIER}\" x"), "line 1: goes on"),
        ] {
            let why = Roles::parse(file).map(drop).unwrap_err();
            assert!(why.contains(says) && !why.contains("aabb") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_password_is_one_line_of_ascii() {
        assert_eq!(password("a b\r\n").unwrap().as_slice(), b"a b");
        for wrong in ["", "\n", "a\nb\n", "ä", "a\0"] {
            assert!(password(wrong).is_err(), "{wrong:?}");
        }
    }
}
