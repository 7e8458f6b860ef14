//! `test`, `lint` and `torture`: what CI and a newcomer run.

use crate::XtaskError;
use crate::stages::{Stages, cargo};
use countersign_testkit::ensure_program;

/// Programs that the tests drive, with the Debian package that brings each.
const PROGRAMS: [(&str, &str); 9] = [
    ("python3", "python3"),
    ("curl", "curl"),
    ("nginx", "nginx-light"),
    ("h2load", "nghttp2-client"),
    ("ab", "apache2-utils"),
    ("wrk", "wrk"),
    ("haproxy", "haproxy"),
    ("node", "nodejs"),
    ("chromium", "chromium"),
];

/// The second command of the README.
pub(crate) fn test() -> Result<(), XtaskError> {
    let mut stages = Stages::default();
    stages.run("packages", packages)?;
    stages.run("format", || cargo("format", &["fmt", "--all", "--check"], &[]))?;
    stages.run("build", || cargo("build", &["build", "--profile", "quick", "--workspace", "--bins"], &[]))?;
    stages.run("test", || {
        cargo("test", &["test", "--no-fail-fast", "--profile", "quick", "--workspace"], &[])
    })?;
    stages.run("lint", clippy)?;
    stages.print();
    Ok(())
}

/// Format and clippy.
pub(crate) fn lint() -> Result<(), XtaskError> {
    let mut stages = Stages::default();
    stages.run("format", || cargo("format", &["fmt", "--all", "--check"], &[]))?;
    stages.run("lint", clippy)?;
    stages.print();
    Ok(())
}

/// The tests with their long repetitions: a seeded tenth, or all of them.
pub(crate) fn torture(full: bool) -> Result<(), XtaskError> {
    let env: &[(&str, &str)] = if full { &[("COUNTERSIGN_TORTURE", "full")] } else { &[] };
    let mut stages = Stages::default();
    stages.run("packages", packages)?;
    stages.run("build", || cargo("build", &["build", "--profile", "quick", "--workspace", "--bins"], &[]))?;
    stages.run("torture", || {
        cargo(
            "torture",
            &["test", "--profile", "quick", "--workspace", "--", "--nocapture", "--test-threads", "1"],
            env,
        )
    })?;
    if full {
        stages.run("hostile", || crate::bench::run("hostile", false))?;
    }
    stages.print();
    Ok(())
}

fn packages() -> Result<(), XtaskError> {
    for (program, package) in PROGRAMS {
        let found = ensure_program(program, package)?;
        eprintln!("  {program}: {}", found.display());
    }
    Ok(())
}

fn clippy() -> Result<(), XtaskError> {
    let args = ["clippy", "--profile", "quick", "--workspace", "--all-targets", "--", "-D", "warnings"];
    cargo("lint", &args, &[])
}
