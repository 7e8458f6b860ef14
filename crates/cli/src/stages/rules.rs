//! Sigma rules that the configuration names: read from files, compiled as a whole, refused with reasons.

use crate::config::Config;
use crate::exit::CliError;
use countersign_detect::Hmac;
use countersign_detect::sigma::{Compiled, Options, Placeholders, RuleSet, RuleText, TEXT_MAX_BYTES, pack};
use std::path::{Path, PathBuf};

/// Most rule files, and directories one in the other.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;

/// Name and text of the rule files at `paths`: files as they are, directories with every `.yml` and `.yaml` below them, by
/// name.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        gather(path, 0, &mut files)?;
    }
    let text = |path: &PathBuf| {
        let text = crate::config::read_bounded(path, TEXT_MAX_BYTES as u64)?;
        Ok((path.display().to_string(), text))
    };
    files.iter().map(text).collect()
}

fn gather(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let fail = |why: &dyn std::fmt::Display| {
        CliError::new(
            format!("cannot read rules at {}", path.display()),
            why,
            "correct the path in detect.rules",
        )
    };
    let meta = std::fs::metadata(path).map_err(|e| fail(&e))?;
    if !meta.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth >= DEPTH_MAX || files.len() >= FILES_MAX {
        return Err(fail(&format!(
            "more than {FILES_MAX} files, or {DEPTH_MAX} directories one in the other"
        )));
    }
    let mut inside: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| fail(&e))? {
        inside.push(entry.map_err(|e| fail(&e))?.path());
    }
    inside.sort();
    for path in inside {
        let is_rule = path.extension().is_some_and(|end| end == "yml" || end == "yaml");
        if path.is_dir() || is_rule {
            gather(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Our own rules as far as they run here, and those of the configuration's files.
pub(crate) fn configured(config: &Config) -> Result<Vec<(String, String)>, CliError> {
    let (on, except) = &config.pack;
    let mut texts: Vec<(String, String)> = pack()
        .iter()
        .filter(|_| *on)
        .map(|(name, text)| (format!("pack: {name}"), (*text).to_owned()))
        .collect();
    for id in except {
        let line = format!("id: {id}");
        let before = texts.len();
        texts.retain(|(_, text)| !text.lines().any(|l| l.trim_end() == line));
        if texts.len() == before {
            return Err(CliError::Failed(format!(
                "detect.pack_except names {id}, which is no rule of ours; countersign rules check lists them"
            )));
        }
    }
    texts.extend(read(&config.rules)?);
    Ok(texts)
}

/// Rules and what is wrong with those that do not run.
pub(crate) fn compile(texts: &[(String, String)], placeholders: Placeholders, hmac: Hmac) -> Compiled {
    let texts: Vec<RuleText<'_>> = texts.iter().map(|(source, text)| RuleText { source, text }).collect();
    RuleSet::compile(&texts, &Options { placeholders, hmac })
}

/// A set of which every rule runs.
pub(crate) fn load(config: &Config, hmac: Hmac) -> Result<RuleSet, CliError> {
    let compiled = compile(&configured(config)?, config.placeholders.clone(), hmac);
    if compiled.refused.is_empty() {
        return Ok(compiled.rules);
    }
    let why: Vec<String> = compiled.refused.iter().map(ToString::to_string).collect();
    Err(CliError::new(
        format!("{} of the rules in detect.rules do not run", compiled.refused.len()),
        why.join("\n"),
        "correct or remove them; countersign rules check shows the same",
    ))
}
