//! The files of our own rules and of their tests; shared with `crates/detect/oracle`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test cannot read ends it")]

use countersign_detect::sigma::Case;
use std::path::{Path, PathBuf};

/// The rule files, sorted.
pub(crate) fn files() -> Vec<PathBuf> {
    let family = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("rules/databases"))
        .find(|dir| dir.is_dir())
        .unwrap();
    let root = family.parent().unwrap();
    let mut out = Vec::new();
    for family in std::fs::read_dir(root).unwrap() {
        let files = std::fs::read_dir(family.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        out.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "yml")));
    }
    out.sort();
    out
}

/// The text of a rule file.
pub(crate) fn rule(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of the test file beside a rule file.
pub(crate) fn tests(path: &Path) -> String {
    rule(&path.with_extension("test.ndjson"))
}

/// The cases of the test file beside a rule file.
pub(crate) fn cases(path: &Path) -> Vec<Case> {
    let read = countersign_detect::sigma::cases(&tests(path)).into_iter();
    read.map(|case| case.unwrap_or_else(|bad| panic!("{}, line {}: {}", path.display(), bad.line, bad.what)))
        .collect()
}
