//! API keys through headers and files.

use crate::{Headers, NOW};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_event::{Auth, IdentityFrom, Verified};
use countersign_identity::{Identities, IdentityConfig, mint_api_key, who_of};
use std::path::Path;

const PEPPER: [u8; 32] = [3; 32];

fn config(dir: &Path, lines: &str, header: &str) -> IdentityConfig {
    std::fs::write(dir.join("keys"), lines).unwrap();
    std::fs::write(dir.join("keys.pepper"), format!("{}\n", STANDARD.encode(PEPPER))).unwrap();
    IdentityConfig {
        api_keys: Some(dir.join("keys")),
        api_key_header: header.into(),
        ..IdentityConfig::default()
    }
}

#[test]
fn a_key_is_accepted_in_its_header_and_as_a_bearer() {
    let dir = tempfile::tempdir().unwrap();
    let (token, line) = mint_api_key("rpt1", "reports", &PEPPER).unwrap();
    for (configured, header, value) in [
        ("", "x-api-key", token.clone()),
        ("X-Our-Key", "x-our-key", token.clone()),
        ("", "authorization", format!("Bearer {token}")),
        ("Authorization", "authorization", format!("bearer  {token}")),
    ] {
        let identities = Identities::new(config(dir.path(), &line, configured), NOW).unwrap();
        let found = identities.from_http(&Headers(vec![(header, value)]), NOW);
        assert_eq!(found.failures, [], "{header}");
        let who = who_of(found.into_found()).who.unwrap();
        assert_eq!(
            (who.id.as_str(), who.cred.as_str(), who.name.as_str()),
            ("key:rpt1", "key:rpt1", "reports")
        );
        assert_eq!(
            (who.verified, who.auth, who.from),
            (Verified::Checked, Some(Auth::ApiKey), Some(IdentityFrom::Header))
        );
        assert!(!format!("{who:?}").contains(token.rsplit('.').next().unwrap()));
    }
}

#[test]
fn a_wrong_secret_keeps_the_id_at_level_one_and_never_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (_, line) = mint_api_key("rpt1", "reports", &PEPPER).unwrap();
    let identities = Identities::new(config(dir.path(), &line, ""), NOW).unwrap();
    for (value, id) in
        [("csk.rpt1.s3cr3t", "key:rpt1"), ("csk.other.s3cr3t", "key:other"), ("s3cr3t", "anon:")]
    {
        let found = identities.from_http(&Headers(vec![("x-api-key", value.into())]), NOW);
        assert_eq!(found.principals, []);
        let failure = &found.failures[0];
        assert_eq!((failure.claimed.id.as_str(), failure.claimed.verified), (id, Verified::Claimed));
        assert!(!format!("{failure:?}").contains("s3cr3t"));
    }
}

#[test]
fn keys_come_and_go_with_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let (token, line) = mint_api_key("rpt1", "reports", &PEPPER).unwrap();
    let identities = Identities::new(config(dir.path(), &line, ""), NOW).unwrap();
    let headers = Headers(vec![("x-api-key", token)]);
    assert_eq!(identities.from_http(&headers, NOW).principals.len(), 1);
    std::fs::write(dir.path().join("keys"), "# none\n").unwrap();
    identities.reload(NOW).unwrap();
    assert_eq!(identities.from_http(&headers, NOW).principals, []);
}

#[test]
fn missing_and_broken_files_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = config(dir.path(), "x", "");
    let error = Identities::new(broken.clone(), NOW).err().unwrap().to_string();
    assert!(error.contains("line 1") && error.contains("keys"), "{error}");
    broken.api_keys = Some(dir.path().join("absent"));
    assert!(Identities::new(broken.clone(), NOW).err().unwrap().to_string().contains("absent"));
    std::fs::write(dir.path().join("keys"), "").unwrap();
    std::fs::write(dir.path().join("keys.pepper"), "c2hvcnQ=").unwrap();
    broken.api_keys = Some(dir.path().join("keys"));
    assert!(Identities::new(broken, NOW).err().unwrap().to_string().contains("32 to 64 bytes"));
}
