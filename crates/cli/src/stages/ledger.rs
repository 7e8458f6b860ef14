//! Opens key, ledger and store, and says what was found.

use crate::access::directory::{ledger_error, store_error};
use crate::args::Role;
use crate::config::{Config, read_bounded, units};
use crate::exit::CliError;
use crate::pipeline::Flavour;
use crate::upgrade::process_of;
use countersign_event::json::hex;
use countersign_ledger::{
    Kek, Ledger, LedgerError, Limits, Options, PassedSource, Source, SourceSpec, StartReport,
};
use countersign_store::{Store, StoreOptions};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of recent batches that an edge keeps in memory.
const EDGE_FEED: usize = 256 << 10;
/// Bytes of events that wait for an edge's ledger; then its sources do.
const EDGE_INTAKE: usize = 8 << 20;
/// File of the data directory that names the log.
const ORIGIN_FILE: &str = "origin";
/// Longest origin, bytes.
const ORIGIN_MAX: u64 = 1_024;

/// Opens the ledger for writing; makes key and ledger where there are none. The second is whether the last run
/// ended in order.
pub(crate) fn open(
    config: &Config,
    flavour: Flavour,
    resumed: Vec<PassedSource>,
    say: &dyn Fn(&str),
) -> Result<(Ledger, bool), CliError> {
    let origin = origin(config, flavour)?;
    make_private(&config.data)?;
    let old = config.data.join(ORIGIN_FILE).exists();
    // A ledger without its key must not be given another one: that would only hide the loss.
    let (kek, fresh) = if old {
        let kek = Kek::load(&config.kek).map_err(|e| {
            CliError::new(
                "cannot open the ledger",
                e,
                "restore the key's file or name it with `kek` in --config",
            )
        })?;
        (kek, false)
    } else {
        Kek::load_or_create(&config.kek).map_err(ledger_error)?
    };
    let options = Options { limits: limits(config, flavour), resumed, ..Options::new(&origin) };
    let (ledger, report) = Ledger::open(&config.data, kek, options).map_err(|e| held(&config.data, e))?;
    describe(config, &ledger, &report, fresh, say);
    configured(config, &ledger)?;
    Ok((ledger, report.created || report.clean))
}

/// The error of a start; where another process has the directory, that names it.
fn held(data: &std::path::Path, error: LedgerError) -> CliError {
    let LedgerError::Locked { .. } = error else { return ledger_error(error) };
    let who = match process_of(data) {
        Some(pid) => format!("process {pid} has it open and writes to it"),
        None => "another process has it open, one without the file `pid`: a wrapper, or one that starts"
            .to_owned(),
    };
    let next = match process_of(data) {
        Some(pid) => format!(
            "stop that one (kill -INT {pid}), replace it without a pause (kill -USR2 {pid}), or name another directory with --data"
        ),
        None => "wait for it to end, or name another directory with --data".to_owned(),
    };
    CliError::new(format!("cannot open the ledger in {}", data.display()), who, next)
}

/// Bounds by what is asked of the process: an edge has nobody who reads recent batches from memory.
fn limits(config: &Config, flavour: Flavour) -> Limits {
    let whole = Limits { wal_bytes: config.limits.unsealed, ..Limits::default() };
    match config.role {
        _ if flavour.demo => Limits { wal_file_bytes: 8 << 20, ..Limits::small() },
        Role::Edge => Limits { feed_bytes: EDGE_FEED, intake_bytes: EDGE_INTAKE, ..whole },
        Role::All => whole,
    }
}

/// Opens the store over it.
pub(crate) fn store(config: &Config, ledger: &Ledger) -> Result<Store, CliError> {
    Store::open(&config.data, ledger.clone(), StoreOptions::default()).map_err(store_error)
}

/// Registers one of our own parts as a source.
pub(crate) fn source(ledger: &Ledger, identity: &str) -> Result<Source, CliError> {
    ledger.register(SourceSpec { identity: identity.into(), stream: random()? }).map_err(ledger_error)
}

/// What the ledger did, in one line.
pub(crate) fn counters(ledger: &Ledger) -> String {
    let stats = ledger.stats();
    let sources = ledger.sources();
    let sum = |of: fn(&countersign_ledger::SourceInfo) -> u64| sources.iter().map(of).sum::<u64>();
    format!(
        "ledger: size {}, signed {}, {} syncs; sources: {} seen = {} recorded + {} rejected + {} dropped",
        stats.size,
        stats.signed_size,
        stats.fsyncs,
        sum(|s| s.seen),
        sum(|s| s.sent),
        sum(|s| s.rejected),
        sum(|s| s.dropped)
    )
}

/// The configured name, else the one the directory has, else a new one.
fn origin(config: &Config, flavour: Flavour) -> Result<String, CliError> {
    let file = config.data.join(ORIGIN_FILE);
    let found = if file.exists() { Some(read_bounded(&file, ORIGIN_MAX)?.trim().to_string()) } else { None };
    match (found, &config.origin) {
        (Some(found), Some(wanted)) if found != *wanted => Err(CliError::new(
            format!("the ledger in {} is named `{found}`", config.data.display()),
            format!("the configuration says `{wanted}`, and a log's name cannot change"),
            "correct `origin`, or choose another data directory",
        )),
        (Some(found), _) => Ok(found),
        (None, Some(wanted)) => Ok(wanted.clone()),
        (None, None) => {
            let id: [u8; 8] = random()?;
            Ok(format!("{}/{}/1", if flavour.demo { "demo" } else { "local" }, hex(&id)))
        }
    }
}

fn describe(config: &Config, ledger: &Ledger, report: &StartReport, fresh_key: bool, say: &dyn Fn(&str)) {
    let state = if report.created { "new".to_string() } else { format!("continues at size {}", report.size) };
    say(&format!("data       {} ({}, {state})", config.data.display(), ledger.origin()));
    let note = if fresh_key {
        " (made now; without it the data never opens again: keep a copy elsewhere)"
    } else {
        ""
    };
    say(&format!("key        {}{note}", config.kek.display()));
    if !report.created && !report.clean {
        say(&format!(
            "recovery   the last run did not end cleanly: {} entries replayed, {} cut",
            report.replayed,
            units::size_rough(report.cut_bytes)
        ));
    }
    for (source, first, last) in &report.gaps {
        say(&format!("gap        source {source} lost its records {first} to {last}: declared and signed"));
    }
    for segment in &report.lost_segments {
        say(&format!(
            "lost       segment {segment} has no key any more: its content is unreadable, its proofs hold"
        ));
    }
}

/// Logs which configuration is in force, by digest: the text may name things that are nobody's business.
fn configured(config: &Config, ledger: &Ledger) -> Result<(), CliError> {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{config:?}").as_bytes());
    let digest: [u8; 32] = digest.as_ref().try_into().unwrap_or([0; 32]);
    ledger.configured(digest, env!("CARGO_PKG_VERSION")).map(|_| ()).map_err(ledger_error)
}

/// The data directory, readable by its owner alone when we make it.
fn make_private(dir: &std::path::Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
        CliError::new(
            format!("cannot make the data directory {}", dir.display()),
            e,
            "choose another with --data",
        )
    })
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CliError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CliError::Failed("the system gives no random bytes; check /dev/urandom".into()))?;
    Ok(bytes)
}
