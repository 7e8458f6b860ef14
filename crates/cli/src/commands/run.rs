//! `run`: the server, until Ctrl-C. Its narrative goes to standard output, errors to standard error.

use crate::args::{Global, Role, RunArgs};
use crate::config::{self, Config, Listener};
use crate::exit::{CliError, Exit};
use crate::output;
use crate::pipeline::{Flavour, Pipeline};
use crate::signals::Interrupt;
use std::io::Write;
use std::time::Duration;

/// How often the server looks at its own health while it waits.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until an end is asked for.
pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<Exit, CliError> {
    let mut config = config::resolve(global)?;
    add_proxies(&mut config, &args.proxy)?;
    config.role = args.role.unwrap_or(config.role);
    let interrupt = Interrupt::install()?;
    let quiet = global.quiet;
    let say = |line: &str| {
        if !quiet {
            tell(&format!("  {line}"));
        }
    };
    if !quiet {
        tell(&format!(
            "countersign {}: every call is passed on, recorded and signed",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let pipeline = Pipeline::start(&config, Flavour::default(), &say)?;
    if let Some(link) = pipeline.login_link() {
        say(&format!("dashboard  {link}  (works once, within a minute)"));
    }
    if config.listeners.is_empty() {
        say(
            "nothing listens: add --proxy 127.0.0.1:8081=http://127.0.0.1:8080 to stand in front of a service",
        );
    } else if config.role == Role::Edge {
        say(
            "edge       records are durable and signed; to search them: countersign run on this data directory",
        );
    } else {
        say("ask        countersign q     follow: countersign tail     end: Ctrl-C");
    }
    let stopped = wait(&pipeline, &interrupt);
    say("stopping: open calls may end");
    let counters = pipeline.stop();
    if let Some(why) = stopped {
        return Err(CliError::new(
            "the ledger stopped",
            why,
            "remove the cause, then start again: nothing acknowledged was lost",
        ));
    }
    for line in counters? {
        say(&line);
    }
    Ok(Exit::Yes)
}

/// Waits for the end; gives the reason when the ledger itself stopped.
fn wait(pipeline: &Pipeline, interrupt: &Interrupt) -> Option<String> {
    while !interrupt.wait(LOOK) {
        if let Some(why) = pipeline.ledger.stats().stopped {
            return Some(why);
        }
    }
    None
}

fn add_proxies(config: &mut Config, specs: &[String]) -> Result<(), CliError> {
    for spec in specs {
        let listener =
            Listener::from_proxy(spec).map_err(|why| CliError::Failed(format!("--proxy {spec}: {why}")))?;
        if let Some(twin) =
            config.listeners.iter().find(|l| l.listen == listener.listen || l.name == listener.name)
        {
            return Err(CliError::Failed(format!(
                "--proxy {spec}: listener `{}` has {} already; choose another port",
                twin.name, twin.listen
            )));
        }
        config.listeners.push(listener);
    }
    Ok(())
}

/// One line to standard output. The server goes on when nobody reads it any more.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", output::escape(line)).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_or_refused_with_a_reason() {
        let listener = Listener::from_proxy("127.0.0.1:8081=http://127.0.0.1:8080").unwrap();
        assert_eq!((listener.name.as_str(), listener.service.as_str()), ("proxy-8081", "127.0.0.1:8080"));
        for (spec, why) in [
            ("nonsense", "no `=`"),
            ("8081=http://a:1", "no address"),
            ("127.0.0.1:1=https://a", "upstream_ca"),
            ("127.0.0.1:1=http://a/path", "path"),
        ] {
            let found = Listener::from_proxy(spec).unwrap_err();
            assert!(found.contains(why), "{spec}: {found}");
        }
    }
}
