//! The schema of OCSF 1.8.0 as a judge of records: the Python package `ocsf-json-schema`, which carries it.
//!
//! One process for all records, a compiled validator for each class and set of profiles: 10,000 take seconds.

use crate::{TestkitError, io, python};
use std::io::Write;
use std::process::{Command, Stdio};

/// What carries the schema, and what judges by it.
const PACKAGES: [&str; 2] = ["ocsf-json-schema==1.2.0", "jsonschema-rs==0.60.3"];
const SCRIPT: &str = include_str!("ocsf/validate.py");

/// Judges `records`, each one line of JSON. The answer is one JSON object: `count`, `classes` (records by
/// `class_uid`), `invalid`, and the first `faults` as text.
///
/// # Errors
/// Where Python, the packages or the script fail.
pub fn validate(records: &[String]) -> Result<String, TestkitError> {
    let python = python::venv("ocsf", &PACKAGES)?;
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io("starting the OCSF validator"))?;
    let mut input = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A script that ended early says why itself.
            if let Some(input) = &mut input {
                let _ = records.iter().try_for_each(|record| writeln!(input, "{record}"));
            }
            drop(input);
        });
        child.wait_with_output()
    });
    let output = output.map_err(io("waiting for the OCSF validator"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(TestkitError::Install {
        package: "the OCSF validator".to_owned(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
