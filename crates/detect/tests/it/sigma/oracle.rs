//! The same rules and events through `rsigma-eval`: `crates/detect/oracle`, a package of its own because its
//! dependencies would have the query engine built anew.

use countersign_testkit::repetitions;
use std::path::Path;
use std::process::Command;

/// Generated rules: each form of item and of condition comes at least ten times.
const RULES: usize = 560;
/// Correlation vectors.
const VECTORS: usize = 800;

#[test]
fn another_engine_finds_the_same_events_for_the_same_rules() {
    let events = repetitions(10_000, 100_000);
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Next to this test's own output, so that it is built once for all runs.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("detect-oracle");
    cargo.args(["run", "-q", "--locked", "--profile", "quick", "--manifest-path"]).arg(package);
    cargo.arg("--target-dir").arg(target).args(["--", "compare"]);
    cargo.args([RULES, events, VECTORS].map(|n| n.to_string()));
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains(&format!("{RULES} on {events} events"))
            && said.matches("the same in both").count() == 3,
        "{said}"
    );
}
