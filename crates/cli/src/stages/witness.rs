//! Witnesses: independent observers asked every few seconds, what they saw written to the ledger. Detection compares it with
//! the record (`countersign_detect::coverage`).
//!
//! Invariants: a witness that fails is named and asked again, and what it does not see counts as nothing; programs and files
//! come from the configuration alone; a program that hangs is ended.

use crate::config::Config;
use crate::config::witness::Witness;
use crate::exit::CliError;
use countersign_collect::witness::{Log, Places, Seen, TEXT_MAX, Watch};
use countersign_collect::witness::{ask_redis, conntrack, look, nats, postgres, redis};
use countersign_ledger::{Ledger, Source};
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest answer of a program or a server.
const ANSWER: Duration = Duration::from_secs(5);
/// Where the kernel lists what it tracks.
const CONNTRACK: &str = "/proc/net/nf_conntrack";

/// All of them, asking.
pub(crate) struct Witnesses {
    stop: Arc<(Mutex<bool>, Condvar)>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a thread for each.
pub(crate) fn start(config: &Config, ledger: &Ledger, say: &dyn Fn(&str)) -> Result<Witnesses, CliError> {
    let mut witnesses = Witnesses { stop: Arc::default(), threads: Vec::new() };
    for witness in &config.coverage.witnesses {
        let agent = config.agent(&format!("countersign:witness:{}", witness.name));
        let source = super::ledger::source(ledger, &agent)?;
        let watch = watch(config, witness);
        say(&format!("  witness    {} ({}), every {:?}", witness.name, witness.kind, witness.every));
        let (stop, witness) = (Arc::clone(&witnesses.stop), witness.clone());
        let thread = std::thread::Builder::new().name("witness".into()).spawn(move || {
            ask(&stop, &witness, &watch, &source);
        });
        let thread = thread
            .map_err(|e| CliError::new("cannot start a witness", e, "close other programs and try again"))?;
        witnesses.threads.push(thread);
    }
    Ok(witnesses)
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Asks until the end.
fn ask(stop: &(Mutex<bool>, Condvar), witness: &Witness, watch: &Watch, source: &Source) {
    let mut log = Log::new(witness.name.as_str());
    let mut failing = false;
    loop {
        match seen(witness, watch) {
            Ok(seen) => {
                if seen.unreadable > 0 {
                    tracing::warn!(
                        witness = witness.name,
                        lines = seen.unreadable,
                        "a witness told what cannot be read"
                    );
                }
                let events = log.events(seen, now_ns());
                if !events.is_empty()
                    && let Err(error) = source.record_wait(events)
                {
                    tracing::error!(%error, witness = witness.name, "what a witness saw was not recorded");
                }
                failing = false;
            }
            // Said once: it is asked again every few seconds.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    witness = witness.name,
                    error,
                    "a witness does not answer: coverage is unknown meanwhile"
                );
            }
            Err(_) => {}
        }
        let stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = stop.1.wait_timeout_while(stopped, witness.every, |stopped| !*stopped);
        if *wait.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
    }
}

/// One look.
fn seen(witness: &Witness, watch: &Watch) -> Result<Seen, String> {
    let server = || watch.upstreams.iter().next().copied().ok_or_else(|| "it has no server".to_owned());
    match witness.kind.as_str() {
        "conntrack" => Ok(conntrack(&text(witness, Some(Path::new(CONNTRACK)))?, watch)),
        "postgres" => Ok(postgres(&text(witness, None)?, server()?, watch)),
        "nats" => Ok(nats(&text(witness, None)?, server()?, watch)),
        "redis" => {
            let server = server()?;
            let answer = if witness.command.is_empty() {
                let password = witness.file.as_deref().map(bounded).transpose()?.unwrap_or_default();
                let user = witness.user.as_deref().unwrap_or("default");
                let login = (!password.is_empty()).then_some((user, password.trim()));
                ask_redis(server, login, ANSWER).map_err(|e| e.to_string())?
            } else {
                text(witness, None)?
            };
            Ok(redis(&answer, server, now_ns(), watch))
        }
        _ => look(&Places::default(), watch).map_err(|e| format!("the kernel's tables: {e}")),
    }
}

/// What the witness's program prints, or its file holds.
fn text(witness: &Witness, file: Option<&Path>) -> Result<String, String> {
    match (witness.command.split_first(), witness.file.as_deref().or(file)) {
        (Some((program, arguments)), _) => printed(program, arguments),
        (None, Some(file)) => bounded(file),
        (None, None) => Err("it has neither `command` nor `file`".to_owned()),
    }
}

fn bounded(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let open = std::fs::File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
    open.take(TEXT_MAX as u64).read_to_end(&mut bytes).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn printed(program: &str, arguments: &[String]) -> Result<String, String> {
    let fail = |what: &dyn std::fmt::Display| format!("{program}: {what}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| fail(&e))?;
    let reader = child.stdout.take().map(|out| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = out.take(TEXT_MAX as u64).read_to_end(&mut bytes);
            read.map(|_| bytes)
        })
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| fail(&e))? {
            Some(status) => break status,
            None if begun.elapsed() > ANSWER => {
                // It may have ended by itself in between.
                let _ = child.kill();
                let _ = child.wait();
                return Err(fail(&format!("no answer within {ANSWER:?}")));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if !status.success() {
        return Err(fail(&status));
    }
    let bytes = reader.and_then(|reader| reader.join().ok()).and_then(Result::ok);
    bytes
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .ok_or_else(|| fail(&"its output cannot be read"))
}

fn watch(config: &Config, witness: &Witness) -> Watch {
    let upstreams: Vec<SocketAddr> = if witness.upstreams.is_empty() {
        let listeners = config.listeners.iter();
        // A name that is not known now is not watched; the gateway could not reach it either.
        listeners
            .filter_map(|listener| {
                (listener.upstream.host.as_str(), listener.upstream.port).to_socket_addrs().ok()
            })
            .flatten()
            .collect()
    } else {
        witness.upstreams.clone()
    };
    Watch { gateways: witness.gateways.iter().copied().collect(), ..Watch::new(upstreams) }
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    u64::try_from(now).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gives_its_output_and_one_that_fails_or_hangs_is_named() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(printed("echo", &words(&["a", "b"])).unwrap(), "a b\n");
        assert!(printed("false", &[]).unwrap_err().starts_with("false: exit status"));
        assert!(printed("/no/such/program", &[]).unwrap_err().contains("/no/such/program"));
        assert!(printed("sleep", &words(&["60"])).unwrap_err().contains("no answer within"));
    }
}
