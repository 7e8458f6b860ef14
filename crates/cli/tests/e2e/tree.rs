//! What the dependency tree must never hold.

use std::process::Command;

#[test]
fn there_is_one_arrow_and_no_second_tls_or_crypto_provider() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--prefix", "none", "--edges", "normal,build", "--offline"])
        .current_dir(countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let versions = |name: &str| {
        let mut found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(" v"))
            .filter_map(|rest| rest.split(' ').next())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    for name in ["arrow-array", "parquet", "datafusion", "object_store", "rustls", "ring", "tokio"] {
        assert_eq!(versions(name).len(), 1, "{name}: {:?}", versions(name));
    }
    for name in ["openssl", "openssl-sys", "aws-lc-rs", "native-tls"] {
        assert!(versions(name).is_empty(), "{name} is in the tree");
    }
}
