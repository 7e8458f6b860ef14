//! `countersign-verify`: checks an evidence file offline. Everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(countersign_verify::main_with(&args, &mut out, &mut err))
}
