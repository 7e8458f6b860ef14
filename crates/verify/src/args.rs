//! Arguments, by hand: five flags do not need a library inside a verifier.

/// What to do.
#[derive(Debug)]
pub(crate) enum Parsed {
    Run(Args),
    /// Help or version: print and leave with 0.
    Print(String),
}

/// A complete command line.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) file: String,
    pub(crate) policy: String,
    pub(crate) trust: String,
    pub(crate) json: bool,
    pub(crate) explain: bool,
}

const HELP: &str = "\
Checks an evidence file (.csne or .tlog-proof) offline, against keys that you pinned.

Usage: countersign-verify FILE --policy trust.policy --trust trust.toml [--json] [--explain]

  FILE             evidence file
  --policy FILE    C2SP tlog-policy file: logs, witnesses, groups, one quorum line
  --trust FILE     trust.toml: require = \"ed25519\" or \"both\", max_silence_s
  --json           one JSON object instead of text
  --explain        add what each check means
  --help           this text
  --version        version

Get both trust files from the log's owner by a way you trust, once, and keep them.

Examples:
  countersign-verify e.csne --policy trust.policy --trust trust.toml
  countersign-verify e.csne --policy trust.policy --trust trust.toml --explain
  countersign-verify e.csne --policy trust.policy --trust trust.toml --json | jq .exit

Exit codes: 0 proven and policy met · 1 nothing altered but not enough · 2 usage, unreadable,
malformed, truncated · 3 integrity failure. The worst wins: 3, 2, 1, 0.
";

const FLAGS: [&str; 6] = ["--policy", "--trust", "--json", "--explain", "--help", "--version"];

pub(crate) fn parse(args: &[String]) -> Result<Parsed, String> {
    let (mut file, mut policy, mut trust) = (None, None, None);
    let (mut json, mut explain, mut only_files) = (false, false, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if only_files || !arg.starts_with('-') {
            set(&mut file, "FILE", arg.clone())?;
            continue;
        }
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let mut needed = || {
            value.clone().or_else(|| rest.next().cloned()).ok_or_else(|| format!("{name} needs a file name"))
        };
        match name {
            "--policy" => set(&mut policy, name, needed()?)?,
            "--trust" => set(&mut trust, name, needed()?)?,
            _ if value.is_some() => return Err(format!("{name} takes no value")),
            "--json" => json = true,
            "--explain" => explain = true,
            "--" => only_files = true,
            "--help" | "-h" => return Ok(Parsed::Print(HELP.to_owned())),
            "--version" | "-V" => {
                return Ok(Parsed::Print(format!("countersign-verify {}\n", env!("CARGO_PKG_VERSION"))));
            }
            other => return Err(unknown(other)),
        }
    }
    let missing = |what: &str| format!("{what} is missing");
    Ok(Parsed::Run(Args {
        file: file.ok_or_else(|| missing("the evidence file"))?,
        policy: policy.ok_or_else(|| missing("--policy trust.policy"))?,
        trust: trust.ok_or_else(|| missing("--trust trust.toml"))?,
        json,
        explain,
    }))
}

fn set(slot: &mut Option<String>, name: &str, value: String) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

fn unknown(flag: &str) -> String {
    let near = countersign_proof::trust::nearest(flag, &FLAGS);
    format!("unknown option {}; did you mean {near}?", flag.escape_debug())
}
