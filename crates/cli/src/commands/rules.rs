//! `rules`: what detection rules there are, and whether each runs.

use crate::args::{Global, RulesArgs, RulesCommand};
use crate::config;
use crate::exit::{CliError, Exit};
use crate::output::escape_line;
use crate::stages::rules::{compile, read};
use countersign_detect::sigma::RuleInfo;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the sub-command.
pub(crate) fn run(global: &Global, args: &RulesArgs) -> Result<Exit, CliError> {
    let RulesCommand::Check { paths } = &args.command;
    check(global, paths)
}

/// One line a rule, those that do not run first; exit 1 if there is one.
fn check(global: &Global, paths: &[PathBuf]) -> Result<Exit, CliError> {
    // Placeholders are the configuration's, whichever files are named.
    let config = config::resolve(global)?;
    let configured = if paths.is_empty() { config.rules } else { paths.to_vec() };
    if configured.is_empty() {
        let what = "no rules: name files or directories, or configure `detect.rules` and give --config";
        return Err(CliError::Failed(what.to_owned()));
    }
    // Nothing is detected here, so the key of the groups does not matter.
    let compiled = compile(&read(&configured)?, config.placeholders, Arc::new(|_| [0; 32]));
    let refused = compiled.refused.iter().map(|refused| format!("refused  {refused}"));
    let warnings =
        compiled.warnings.iter().map(|warning| format!("warning  rule {}: {}", warning.id, warning.what));
    let lines = refused.chain(warnings).chain(compiled.rules.rules().iter().map(line));
    // What rules say of themselves is a stranger's text: one line stays one line.
    let out: String = lines.map(|line| escape_line(&line) + "\n").collect();
    let (runs, refused) = (compiled.rules.rules().len(), compiled.refused.len());
    super::policy::print(&out)?;
    eprintln!("{runs} rules run, {refused} are refused, {} warnings", compiled.warnings.len());
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
