//! The command line as declarations: each flag once, with its help. It parses; it decides nothing.
//!
//! No flag carries a secret: those come from files or the environment, so that none stands in a
//! process list or a shell history.

mod nested;

use crate::access::Pin;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use nested::{
    AlertsArgs, AlertsCommand, CoverageArgs, DetectArgs, DetectCommand, EventArgs, EventCommand, ExportArgs,
    ExportFormat, FindingsArgs, McpArgs, McpCommand, PolicyArgs, PolicyCommand, RulesArgs, RulesCommand,
};

/// The words of the command line, with those that are part of a filter (`-op:GET`, `-(…)`, `-"…"`, `-#7`)
/// kept from being read as flags: a filter may begin with a blank, a flag may not.
pub(crate) fn words(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let negates = |text: &str| {
        let Some(rest) = text.strip_prefix('-') else { return false };
        let name_end =
            rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.')));
        rest.starts_with(['(', '"', '#']) || name_end.is_some_and(|at| at > 0 && rest[at..].starts_with(':'))
    };
    args.map(|arg| match arg.to_str() {
        Some(text) if negates(text) => format!(" {text}").into(),
        _ => arg,
    })
    .collect()
}

/// Everything that can be typed.
#[derive(Parser, Debug)]
#[command(
    name = "countersign",
    version,
    about = "Audits what machines say to each other: who did what, proven",
    long_about = "Countersign stands between machines, ties every call to a verified identity, writes it \
                  where nobody can alter it unnoticed, and answers: who did what, when, and can you prove it?",
    after_help = "Examples:\n  countersign demo\n  countersign run --proxy 127.0.0.1:8081=http://127.0.0.1:8080\n  \
                  countersign q 'class:delete outcome:success'\n\n\
                  Exit codes: 0 yes, 1 no match or warnings, 2 error, 3 the data does not verify.",
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Global {
    /// Configuration file [default: none; every key has a default]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory [default: $XDG_STATE_HOME/countersign]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Form of the output [default: text on a terminal, ndjson in a pipe]
    #[arg(short, long, global = true, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Format>,
    /// Say less on standard error
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// Forms of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Ndjson,
    /// One JSON document
    Json,
    /// RFC 4180
    Csv,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the server: proxy, ledger, search, dashboard
    Run(RunArgs),
    /// Watch a small simulated fleet go through the real pipeline
    Demo(DemoArgs),
    /// Check the configuration without starting anything
    Check(CheckArgs),
    /// Search events
    #[command(visible_alias = "query")]
    Q(QueryArgs),
    /// Ask in SQL
    Sql(SqlArgs),
    /// Follow events as they are committed
    Tail(TailArgs),
    /// Show one event or entry: as a sentence and all its fields
    Show(ShowArgs),
    /// Write an evidence file that proves one event to anybody
    Prove(ProveArgs),
    /// Write events in the words of others: OCSF or OpenTelemetry
    Export(ExportArgs),
    /// The event format itself: explain a frame, print the mapping table
    Event(EventArgs),
    /// Check an evidence file offline
    Verify(VerifyArgs),
    /// Recompute and check the whole data directory
    Fsck(FsckArgs),
    /// Record what passes between an MCP client and a server on standard input and output
    Mcp(McpArgs),
    /// Show what the collector makes of records, line by line, without a server
    Parse(ParseArgs),
    /// Check, test and propose the policies that decide who may do what
    Policy(PolicyArgs),
    /// Check and test detection rules (Sigma)
    Rules(RulesArgs),
    /// What detection found, each as a sentence
    Findings(FindingsArgs),
    /// What people were told, and what they answered
    Alerts(AlertsArgs),
    /// What is on record, what should be, and what only a witness saw
    Coverage(CoverageArgs),
    /// Service levels: what was promised, what is left of each error budget, how long calls took
    Slo,
    /// Run detection again over what was recorded
    Detect(DetectArgs),
    /// Look for what would hurt: ports, clock, disk, permissions, keys
    Doctor(DoctorArgs),
    /// Say whether the server on this data directory is ready and records; exit code 1 when not
    Status(StatusArgs),
    /// Print the version and the formats this binary writes
    Version,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the reference page of the command line
    #[command(hide = true)]
    Reference,
}

/// `run`
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:\n  countersign run --proxy 127.0.0.1:8081=http://127.0.0.1:8080\n  \
                        countersign run --config countersign.toml\n  \
                        countersign run --role edge --config countersign.toml\n\n\
                        Then send traffic to the listen address and ask: countersign q\n\n\
                        Signals: SIGINT and SIGTERM end it in order, SIGHUP reads files again, SIGUSR2 passes \
                        everything to a new process of this binary")]
pub(crate) struct RunArgs {
    /// Stand in front of URL: listen on LISTEN, pass every byte, record every call (repeatable)
    #[arg(long, value_name = "LISTEN=URL")]
    pub(crate) proxy: Vec<String>,
    /// Least bad of what is told on standard error while it runs [default: `log.level` of the configuration, else info]
    #[arg(long, value_name = "LEVEL", value_parser = crate::config::LOG_LEVELS)]
    pub(crate) log: Option<String>,
    /// Part to play [default: `role` of the configuration, else all]
    #[arg(long, value_enum)]
    pub(crate) role: Option<Role>,
}

/// Parts that a process can play.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything in one process
    #[default]
    All,
    /// Gateway and ledger alone, in little memory: records are durable and signed, and can be searched once
    /// `countersign run` opens the same data directory, or at the core that `[edge]` names
    Edge,
}

/// `demo`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign demo\n  countersign demo --keep ./demo-data\n  \
                        countersign demo --for 30s --no-open")]
pub(crate) struct DemoArgs {
    /// Number that the story is told from
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Calls per second of ordinary traffic
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) rate: u32,
    /// Stop by itself after this long, like 30s or 5m
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) run_for: Option<String>,
    /// Keep the data in DIR; a second start on it continues the same ledger
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Do not open a browser
    #[arg(long)]
    pub(crate) no_open: bool,
}

/// `check`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign check --config countersign.toml\n  \
                        countersign check explain listener.tls.client_auth\n  countersign check schema")]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    pub(crate) what: Option<CheckWhat>,
    /// Print the configuration in force, defaults included, secrets masked
    #[arg(long)]
    pub(crate) print: bool,
}

/// What `check` can say about the keys themselves.
#[derive(Subcommand, Debug)]
pub(crate) enum CheckWhat {
    /// What a key means, its type and its default
    Explain {
        /// The key, like `listener.upstream`
        key: String,
    },
    /// All keys, in the form asked for by --output
    Schema {
        /// As the page docs/reference/configuration.md
        #[arg(long)]
        markdown: bool,
    },
}

/// Which part of the ledger a question is about.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Range {
    /// Not before this time: RFC 3339, or as long ago as 15m, 2h, 3d
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    pub(crate) to: Option<String>,
    /// The last 15m, 2h, 3d: short for --from
    #[arg(long, value_name = "SPAN", conflicts_with = "from")]
    pub(crate) since: Option<String>,
    /// As the ledger was at this size; with the first 16 hex digits of its root there, that is checked too
    #[arg(long, value_name = "SIZE[.ROOT]")]
    pub(crate) at: Option<Pin>,
}

/// `q`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign q\n  countersign q 'class:delete /v1/orders/17'\n  \
                        countersign q 'outcome:failed duration:>250ms' --since 1h --by service,status\n\n\
                        The language: docs/guide/search.md. Everything is matched when nothing is asked.")]
pub(crate) struct QueryArgs {
    /// The filter, like `who:payments-api class:delete`
    #[arg(value_name = "FILTER", num_args = 0..)]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) range: Range,
    /// Count by these fields instead of listing
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub(crate) by: Vec<String>,
    /// With --by: the N most frequent
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) top: u32,
    /// At most N events, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Print how many there are and nothing else
    #[arg(long, conflicts_with = "by")]
    pub(crate) count: bool,
    /// Columns of the answer
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub(crate) fields: Vec<String>,
    /// Print the SQL that the filter means, and do not run it
    #[arg(long)]
    pub(crate) explain: bool,
}

/// `sql`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign sql \"select who, count(*) from events group by who\"\n  \
                        echo 'select * from gaps' | countersign sql -o csv\n\n\
                        Tables: events, edges, identities, sources, findings, gaps, checkpoints, entries.")]
pub(crate) struct SqlArgs {
    /// One SELECT or EXPLAIN; read from standard input when absent
    #[arg(value_name = "TEXT", num_args = 0..)]
    pub(crate) text: Vec<String>,
    /// As the ledger was at this size; with the first 16 hex digits of its root there, that is checked too
    #[arg(long, value_name = "SIZE[.ROOT]")]
    pub(crate) at: Option<Pin>,
    /// At most N rows are printed
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) limit: u64,
}

/// `tail`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign tail\n  countersign tail 'outcome:denied' -o ndjson\n\n\
                        Ctrl-C ends it with its counters.")]
pub(crate) struct TailArgs {
    /// Only events that match this filter
    #[arg(value_name = "FILTER", num_args = 0..)]
    pub(crate) filter: Vec<String>,
    /// Begin after this index instead of now
    #[arg(long, value_name = "INDEX")]
    pub(crate) after: Option<u64>,
}

/// `show`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign show 128\n  countersign show '#128' --raw\n  countersign show 128 --timeline\n  \
                        countersign show 0f1e2d3c4b5a69788796a5b4c3d2e1f0"
)]
pub(crate) struct ShowArgs {
    /// Index in the ledger, or event id in hex
    pub(crate) id: String,
    /// Also the bytes that were hashed, group by group, in hex
    #[arg(long)]
    pub(crate) raw: bool,
    /// Instead of the entry, what belongs to it, in order of time: its trace, its request id, and what was probably
    /// made for what
    #[arg(long, conflicts_with = "raw")]
    pub(crate) timeline: bool,
}

/// `prove`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign prove 128\n  countersign prove 128 --disclose core,who,target --out e.csne\n  \
                        countersign prove 128 --out e.csne --write-policy . && \
                        countersign-verify e.csne --policy trust.policy --trust trust.toml"
)]
pub(crate) struct ProveArgs {
    /// Index in the ledger, event id in hex, or a filter: then the newest event that matches
    #[arg(value_name = "ID|FILTER", num_args = 1.., required = true)]
    pub(crate) id: Vec<String>,
    /// Where to write [default: event-INDEX.csne]; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Groups to show in clear; the others stay provable and hidden [default: all]
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub(crate) disclose: Vec<String>,
    /// Evidence file of ours, or the standard text for stock tools
    #[arg(long, value_enum, default_value = "csne")]
    pub(crate) format: ProofFormat,
    /// Also write trust.policy and trust.toml, which pin this log's key, into DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) write_policy: Option<PathBuf>,
}

/// Kinds of proof file.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProofFormat {
    /// Evidence file: the event, its proof and its checkpoint
    Csne,
    /// C2SP tlog-proof: the proof alone
    TlogProof,
}

/// `verify`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign verify e.csne --policy trust.policy --trust trust.toml\n\n\
                        Same code and exit codes as the separate program countersign-verify.")]
pub(crate) struct VerifyArgs {
    /// Evidence file or .tlog-proof
    pub(crate) file: PathBuf,
    /// Which log keys count: a stock tlog-policy file
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// What else is required: trust.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
    /// Say what each check means
    #[arg(long)]
    pub(crate) explain: bool,
}

/// `fsck`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign fsck\n  countersign fsck --data ./demo-data\n\n\
                        Nothing is changed. Exit 0 all good, 1 repairable finding, 3 something was altered.")]
pub(crate) struct FsckArgs {
    /// Also recompute every commitment and tree hash (always done in this version)
    #[arg(long)]
    pub(crate) deep: bool,
}

/// `parse`
#[derive(Args, Debug)]
#[command(after_help = parse_help())]
pub(crate) struct ParseArgs {
    /// File with records [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What the records are; auto finds out, record by record
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) format: String,
    /// A format of your own (docs/guide/mapper.md): what the records are, or what FORMAT carries
    #[arg(long, value_name = "FILE")]
    pub(crate) format_file: Option<PathBuf>,
    /// Where one record ends and the next begins
    #[arg(long, value_enum, default_value_t)]
    pub(crate) frame: FrameWord,
    /// Realm of names that have none of their own
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub(crate) realm: String,
}

/// Ways to frame records.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FrameWord {
    /// One a line
    #[default]
    Lines,
    /// All of it is one record
    Whole,
    /// CSV, in which a quoted field may hold line breaks
    Csv,
    /// The journal's export format
    Journal,
    /// Syslog over a stream: counted, or lines
    Octets,
}

fn parse_help() -> String {
    let rows = countersign_collect::formats::FORMATS.iter().map(|f| format!("  {:<16} {}", f.name, f.what));
    format!(
        "Examples:\n  countersign parse /var/log/nginx/access.log\n  countersign parse --format syslog -o text < messages\n\n\
         Formats:\n{}\n\nExit codes: 0 all understood, at least in part; 1 some not; 3 the sum does not hold.",
        rows.collect::<Vec<_>>().join("\n")
    )
}

/// `doctor`
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {}

/// `status`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign status\n  countersign status -o json")]
pub(crate) struct StatusArgs {}

/// `completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `docs/reference/cli.md` from the declarations.
pub(crate) fn page() -> String {
    use clap::CommandFactory;
    use std::fmt::Write;
    let mut command = Cli::command().disable_help_subcommand(true).term_width(100);
    command.build();
    let mut out = String::from(
        "# Command line\n\n\
         What `countersign reference` prints, from the declarations in `crates/cli/src/args.rs`; a test compares them.\n\n\
         Results go to standard output, all else to standard error. Output is text on a terminal and NDJSON in\n\
         a pipe; `-o` decides otherwise. A broken pipe is success. Secrets come from files or the environment,\n\
         never from flags.\n\n\
         | exit code | means |\n|---|---|\n\
         | 0 | yes: found, valid, verified |\n\
         | 1 | no: no match, not found, warnings, or nothing altered but not enough |\n\
         | 2 | usage, configuration, network, malformed input |\n\
         | 3 | bytes that do not verify: hash, signature, fork, rollback, pin mismatch |\n\n\
         `q`, `sql`, `tail`, `show` and `prove` ask the running server through `api.sock` in the data directory;\n\
         when none runs, all but `tail` read the directory themselves, read-only.\n",
    );
    let render = |command: &mut clap::Command| command.render_long_help().to_string();
    for command in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let help = tidy(&render(command));
        let _ = write!(out, "\n## {}\n\n```text\n{help}```\n", command.get_name());
    }
    out
}

fn tidy(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_page_is_made_from_the_declarations() {
        let path =
            countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
        if std::env::var_os("COUNTERSIGN_BLESS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(found, page(), "write it anew with COUNTERSIGN_BLESS=1 cargo test -p countersign-cli");
    }

    #[test]
    fn the_declarations_are_consistent_and_name_no_secret() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            for flag in sub.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(
                    !["token", "password", "secret", "key"].contains(&flag),
                    "--{flag}: secrets are no flags"
                );
            }
        }
    }

    #[test]
    fn a_filter_may_begin_with_a_minus() {
        let typed = ["countersign", "q", "-op:GET", "-(class:read)", "x", "--limit", "3", "-o", "csv"]
            .map(OsString::from);
        let cli = Cli::try_parse_from(words(typed.into_iter())).unwrap();
        assert_eq!(cli.global.output, Some(Format::Csv));
        let Command::Q(args) = cli.command else { panic!("another command") };
        assert_eq!((args.filter.join(" ").trim(), args.limit), ("-op:GET  -(class:read) x", 3));
    }
}
