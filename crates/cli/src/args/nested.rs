//! Commands that have commands of their own.

use super::Range;
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `mcp`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign mcp wrap -- npx some-mcp-server /srv/files\n  \
                        countersign mcp wrap --name files --config countersign.toml -- python server.py\n\n\
                        Give this to the MCP client in the place of the server's own command.")]
pub(crate) struct McpArgs {
    #[command(subcommand)]
    pub(crate) command: McpCommand,
}

/// What is done with MCP.
#[derive(Subcommand, Debug)]
pub(crate) enum McpCommand {
    /// Start a server and pass every byte between it and the client, each message recorded
    Wrap {
        /// Name of the server in records [default: the file name of its command]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The server's command and its arguments, behind --; arguments are never recorded
        #[arg(value_name = "COMMAND", last = true, required = true, num_args = 1..)]
        command: Vec<OsString>,
    },
}

/// `rules`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign rules check rules/\n  \
                        countersign rules check --config countersign.toml\n  \
                        countersign rules test rules/")]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

/// What is done with rules.
#[derive(Subcommand, Debug)]
pub(crate) enum RulesCommand {
    /// Read rules, filters and correlations without starting anything: one line each, and why one does not run
    Check {
        /// Files, or directories with .yml and .yaml files below them; none = our own and those of the configuration
        paths: Vec<PathBuf>,
    },
    /// Hold rules against their test events: X.yml against X.test.ndjson beside it. One line a file, and why one fails
    Test {
        /// Files, or directories with .yml and .yaml files below them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

/// `detect`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign detect replay\n  \
                        countersign detect replay --from 12000 --to 15000\n  \
                        countersign detect replay --rules new-rules/ --from 12000")]
pub(crate) struct DetectArgs {
    #[command(subcommand)]
    pub(crate) command: DetectCommand,
}

/// What is done with detection.
#[derive(Subcommand, Debug)]
pub(crate) enum DetectCommand {
    /// Run detection over what the ledger holds, with the code of the live stream, and print what it finds; nothing is
    /// written. Exit code 1: the ledger holds a finding of that range that did not come up again, or lacks one
    Replay {
        /// First ledger index that is decided about. Everything before it is looked at too: windows and baselines begin
        /// there
        #[arg(long, default_value_t = 0, value_name = "INDEX")]
        from: u64,
        /// First ledger index that is not looked at [default: the end]
        #[arg(long, value_name = "INDEX")]
        to: Option<u64>,
        /// Run these Sigma rules alone: files, or directories. What they find is not expected in the ledger
        #[arg(long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// Entries looked at at once; changes no finding
        #[arg(long, default_value_t = 4_096, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536))]
        batch: u64,
    },
}

/// `findings`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign findings\n  countersign findings label:token-replay --since 1d\n  \
                        countersign findings --count"
)]
pub(crate) struct FindingsArgs {
    /// Filter; empty = all
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) range: super::Range,
    /// How many at most, newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only count them
    #[arg(long)]
    pub(crate) count: bool,
}

/// `policy`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign policy check --config countersign.toml\n  \
                        countersign policy test cases.json --config countersign.toml\n  \
                        countersign policy learn --min-days 7 --out proposal\n  \
                        countersign policy sign proposal --with alice.key\n  \
                        countersign policy adopt proposal --config countersign.toml\n  \
                        countersign policy schema")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

/// What is done with policies.
#[derive(Subcommand, Debug)]
pub(crate) enum PolicyCommand {
    /// Print the Cedar schema that policies are checked against
    Schema,
    /// Check the configured policy files without starting anything
    Check,
    /// Decide the cases of a file and compare with the verdicts it expects
    Test {
        /// File of cases, JSON
        cases: PathBuf,
    },
    /// Make a key for a person who signs proposals; prints its public half, for `policy.signers`
    Keygen {
        /// Name of the person, without spaces and +
        name: String,
        /// File for the private key, made for you alone
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a proposal after reading it
    Sign {
        /// The proposal, as `policy learn --out` named it
        proposal: PathBuf,
        /// File with your private key
        #[arg(long, value_name = "FILE")]
        with: PathBuf,
    },
    /// Check a signed proposal and put it beside the policies in force
    Adopt {
        /// The proposal
        proposal: PathBuf,
        /// Directory for it [default: the first directory of `policy.files`]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Propose permits for what verified callers did, for a person to read and sign
    Learn {
        /// Where the proposal goes: OUT.cedar, OUT.json and OUT.note
        #[arg(long, value_name = "OUT", default_value = "proposal")]
        out: PathBuf,
        /// Fewest calls of one kind to propose a permit for
        #[arg(long, value_name = "N", default_value_t = 1)]
        min_calls: u64,
        /// Fewest different days on which they were seen
        #[arg(long, value_name = "N", default_value_t = 1)]
        min_days: u32,
    },
}

/// `export`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign export --format ocsf --since 1h > events.ndjson\n  \
                        countersign export --format otel 'outcome:denied' | gzip > denied.otlp.json.gz\n\n\
                        ocsf: one event of OCSF 1.8.0 a line. otel: one OTLP/JSON request of up to 100 log records a \
                        line, as an OTLP receiver takes it. Both can be read back without loss: countersign parse.")]
pub(crate) struct ExportArgs {
    /// The filter, like `who:payments-api class:delete` [default: everything]
    #[arg(value_name = "FILTER", num_args = 0..)]
    pub(crate) filter: Vec<String>,
    /// Whose words
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) range: Range,
}

/// Schemas of others.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// Open Cybersecurity Schema Framework 1.8.0
    Ocsf,
    /// OpenTelemetry log records, OTLP/JSON
    Otel,
}

/// `event`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  countersign event map\n  countersign event explain event.cbor")]
pub(crate) struct EventArgs {
    #[command(subcommand)]
    pub(crate) command: EventCommand,
}

/// What is done with the format.
#[derive(Subcommand, Debug)]
pub(crate) enum EventCommand {
    /// Print the mapping to OCSF and OpenTelemetry, as docs/reference/mapping.md
    Map,
    /// Name every field, group and level of an event's frame
    Explain {
        /// File with the frame's bytes [default: standard input]
        #[arg(value_name = "FRAME")]
        file: Option<PathBuf>,
    },
}

/// `alerts`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign alerts\n  countersign alerts ack FINGERPRINT --note 'we are on it'\n  \
                        countersign alerts silence --rule rate-shift --service orders --for 2h --reason 'load test'\n  \
                        countersign alerts feedback 4711 false --why 'the nightly job'\n  countersign alerts sum"
)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AlertsCommand>,
}

/// What is asked about alerts, or done.
#[derive(Subcommand, Debug)]
pub(crate) enum AlertsCommand {
    /// Open matters of which people were told, and who knows of them (default)
    List,
    /// How each receiver is doing
    Receivers,
    /// What became of all that fired; exit code 1 if anything is missing in the sum
    Sum,
    /// Messages that were given up
    Dead,
    /// Send a dead letter again
    Resend {
        /// Receiver, as `alerts dead` shows it
        receiver: String,
        /// Message, as `alerts dead` shows it
        id: String,
    },
    /// Say that you know of a matter: its repeats ring nobody until it resolves or gets worse
    Ack {
        /// Fingerprint of the matter, or id of its latest finding
        target: String,
        /// In your words
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Silences that hold
    Silences,
    /// Tell nobody of some findings for a time; they are recorded all the same. Findings about the record itself cannot be
    /// silenced
    Silence {
        /// Rule, with * and ?
        #[arg(long, default_value = "")]
        rule: String,
        /// Service called, with * and ?
        #[arg(long, default_value = "")]
        service: String,
        /// Caller, with * and ?
        #[arg(long, default_value = "")]
        caller: String,
        /// A label of the finding
        #[arg(long, default_value = "")]
        label: String,
        /// Tenant
        #[arg(long, default_value = "")]
        tenant: String,
        /// This severity and above
        #[arg(long, default_value = "")]
        severity: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// How long, like 2h; at most 30d
        #[arg(long = "for", value_name = "TIME")]
        time: String,
    },
    /// Announce a deployment or a planned load test: what judges by rates, sizes and times is mute for its length
    Change {
        /// Service that changes; all if left out
        #[arg(long, default_value = "")]
        service: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// How long, like 30m; at most a day
        #[arg(long = "for", value_name = "TIME")]
        time: String,
    },
    /// End a silence before its time
    Expire {
        /// Its id
        id: String,
    },
    /// Say what a finding was
    Feedback {
        /// Ledger index of the finding
        index: u64,
        /// What it was
        #[arg(value_parser = ["true", "false", "benign", "duplicate"])]
        answer: String,
        /// Why
        #[arg(long)]
        why: String,
    },
    /// How often each rule was right, from ten answers on, with its 95 % interval
    Precision,
    /// Make a filter for the findings of a rule that were called false, and hold it against history. Printed, not used
    Propose {
        /// Id of the rule
        rule: String,
        /// After so many days it must be made anew
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=365))]
        days: u64,
    },
}

/// `coverage`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  countersign coverage\n  countersign coverage --all\n  countersign coverage -o json"
)]
pub(crate) struct CoverageArgs {
    /// Every edge that is expected or seen, too
    #[arg(long)]
    pub(crate) all: bool,
}
