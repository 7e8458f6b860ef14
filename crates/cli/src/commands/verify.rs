//! `verify`: the code of `countersign-verify`, within reach.

use crate::args::VerifyArgs;
use crate::exit::{CliError, Exit};

/// Verifies the file; the exit code is the verifier's own.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    let mut words = vec![args.file.display().to_string()];
    for (flag, path) in [("--policy", &args.policy), ("--trust", &args.trust)] {
        if let Some(path) = path {
            words.extend([flag.to_string(), path.display().to_string()]);
        }
    }
    words.extend(args.json.then(|| "--json".to_string()));
    words.extend(args.explain.then(|| "--explain".to_string()));
    let code =
        countersign_verify::main_with(&words, &mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    Ok(Exit::Code(code))
}
