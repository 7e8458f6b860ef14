//! `rules`: what detection rules there are, and whether each runs.

use crate::args::{Global, RulesArgs, RulesCommand};
use crate::config;
use crate::exit::{CliError, Exit};
use crate::output::escape_line;
use crate::stages::rules::{compile, configured, read};
use countersign_detect::Hmac;
use countersign_detect::sigma::{CASES_MAX_BYTES, Options, RuleInfo, RuleText, try_rules};
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &RulesArgs) -> Result<Exit, CliError> {
    match &args.command {
        RulesCommand::Check { paths } => check(global, paths),
        RulesCommand::Test { paths } => test(global, paths),
    }
}

/// One line a file; exit 1 if one fails, has no test events, or does not run.
fn test(global: &Global, paths: &[PathBuf]) -> Result<Exit, CliError> {
    let config = config::resolve(global)?;
    let texts = read(paths)?;
    let options = || Options { placeholders: config.placeholders.clone(), hmac: unkeyed() };
    let (mut passed, mut failed, mut out) = (0, 0, String::new());
    for (name, text) in &texts {
        let tests = PathBuf::from(name).with_extension("test.ndjson");
        let line = if tests.exists() {
            let events = config::read_bounded(&tests, CASES_MAX_BYTES as u64)?;
            let tried = try_rules(&RuleText { source: name, text }, &events, &options());
            let good = tried.passed() && !tried.cases.is_empty();
            passed += usize::from(good);
            failed += usize::from(!good);
            tried.to_string()
        } else {
            failed += 1;
            format!("{name}: FAILED, there are no test events: write {}", tests.display())
        };
        line.lines().for_each(|line| out.push_str(&(escape_line(line) + "\n")));
    }
    super::policy::print(&out)?;
    eprintln!("{passed} files pass, {failed} fail");
    Ok(if failed == 0 { Exit::Yes } else { Exit::No })
}

/// For groups of events that nobody keeps: no key is needed, only that different names differ.
fn unkeyed() -> Hmac {
    Arc::new(|bytes: &[u8]| {
        let mut hash = [0; 32];
        hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        hash
    })
}

/// One line a rule, those that do not run first; exit 1 if there is one.
fn check(global: &Global, paths: &[PathBuf]) -> Result<Exit, CliError> {
    // Placeholders are the configuration's, whichever files are named.
    let config = config::resolve(global)?;
    let texts = if paths.is_empty() { configured(&config)? } else { read(paths)? };
    let compiled = compile(&texts, config.placeholders, unkeyed());
    let refused = compiled.refused.iter().map(|refused| format!("refused  {refused}"));
    let warnings =
        compiled.warnings.iter().map(|warning| format!("warning  rule {}: {}", warning.id, warning.what));
    let lines = refused.chain(warnings).chain(compiled.rules.rules().iter().map(line));
    // What rules say of themselves is a stranger's text: one line stays one line.
    let out: String = lines.map(|line| escape_line(&line) + "\n").collect();
    let refused = compiled.refused.len();
    super::policy::print(&out)?;
    eprintln!("{}", compiled.summary());
    Ok(if refused == 0 { Exit::Yes } else { Exit::No })
}

fn line(info: &RuleInfo) -> String {
    let level =
        info.meta.level.map_or_else(|| "medium".to_owned(), |level| format!("{level:?}").to_lowercase());
    let what = match (&info.correlation, info.reported) {
        (Some(_), _) => "correlation",
        (None, true) => "rule",
        (None, false) => "counted",
    };
    format!("runs     {} {level:<13} {what:<11} {}", info.meta.id, info.meta.title)
}
