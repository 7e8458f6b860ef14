//! Identity from the outside: real certificates, tokens and keys of a throw-away authority, each once as it
//! should be and in all the ways it must not be.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod apikeys;
mod certificates;
mod dpop;
mod forwarded;
mod fuzzing;
mod hostile;
mod httpsig;
mod jwt;
mod remote;
mod support;
mod tls;
mod wimse;
mod workload;

use countersign_identity::authority::{Authority, AuthorityFiles};
use countersign_identity::{HeaderLookup, Identities, IdentityConfig};

/// When all tests happen, Unix seconds.
const NOW: i64 = 1_790_000_000;
const AUDIENCE: &str = "gateway";

/// Headers as `(name, value)` pairs.
struct Headers(Vec<(&'static str, String)>);

impl HeaderLookup for Headers {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_bytes())
    }
    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(n, _)| *n == name).count()
    }
}

fn bearer(token: &str) -> Headers {
    Headers(vec![("authorization", format!("Bearer {token}"))])
}

/// An authority, its files, and identities that believe it.
struct World {
    authority: Authority,
    files: AuthorityFiles,
    identities: Identities,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("Example.ORG", NOW).unwrap();
        let files = authority.write(dir.path()).unwrap();
        let config = IdentityConfig {
            trust: vec![authority.trust(&files)],
            jwt: vec![authority.jwt(&files, AUDIENCE)],
            ..IdentityConfig::default()
        };
        let identities = Identities::new(config, NOW).unwrap();
        World { authority, files, identities, dir }
    }
}
