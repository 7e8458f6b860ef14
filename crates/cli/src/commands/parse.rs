//! `parse`: what the collector would make of records, without a server and without a ledger.
//!
//! Events go to standard output, the sum to standard error. Exit 0 only when the sum holds and every record was
//! understood, at least in part; 1 when some were not.

use crate::args::{Format as Output, FrameWord, Global, ParseArgs};
use crate::config::input::unknown_format;
use crate::exit::{CliError, Exit};
use crate::output;
use countersign_collect::formats::own::{OWN, Own};
use countersign_collect::formats::{self, Format};
use countersign_collect::frame::{Csv, Framer, Journal, Lines, Octets, Step};
use countersign_collect::{Counts, Input, Keeper, RECORD_MAX, observe};
use countersign_event::{CaptureMode, Event, json};
use countersign_redact::Scanner;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

/// Bytes read at once.
const READ: usize = 256 << 10;
/// Digests need a key; nothing of this is kept, so any will do.
const NO_KEY: [u8; 32] = [0; 32];

/// Prints the events of a file or of standard input.
pub(crate) fn run(global: &Global, args: &ParseArgs) -> Result<Exit, CliError> {
    let format = match args.format.as_str() {
        "auto" => None,
        name => Some(formats::by_name(name).ok_or_else(|| CliError::Failed(unknown_format(name)))?),
    };
    let own = args.format_file.as_deref().map(crate::config::own::read).transpose()?.map(Arc::new);
    let source: Box<dyn Read> = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let file = std::fs::File::open(path);
            Box::new(file.map_err(|e| {
                CliError::new(
                    format!("cannot read {}", path.display()),
                    e,
                    "check the path and its permissions",
                )
            })?)
        }
        _ => Box::new(std::io::stdin().lock()),
    };
    let mut parse = Parse::new(format, args.realm.clone(), own);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let text = output::format(global) == Output::Text;
    records(source, args.frame, &mut |record| {
        let event = parse.one(record);
        if text { line(&mut out, &event) } else { writeln!(out, "{}", json::to_json(&event)) }
    })?;
    out.flush()?;
    let Counts { received, recorded, rejected, dropped, raw, partial } = parse.counts;
    if !global.quiet {
        eprintln!("received {received} = recorded {recorded} + rejected {rejected} + dropped {dropped}");
        eprintln!("understood {} whole, {partial} in part, {raw} not", recorded - raw - partial);
        for (name, n) in &parse.found {
            eprintln!("  {n:>8} {name}");
        }
    }
    match parse.counts.adds_up() {
        true if raw == 0 => Ok(Exit::Yes),
        true => Ok(Exit::No),
        false => Err(CliError::Integrity("the sum does not hold: records were lost".to_owned())),
    }
}

struct Parse {
    format: Option<&'static Format>,
    input: Input,
    keeper: Keeper,
    counts: Counts,
    /// Records by format.
    found: BTreeMap<String, u64>,
}

impl Parse {
    fn new(format: Option<&'static Format>, realm: String, own: Option<Arc<Own>>) -> Parse {
        let mut input = Input::new("parse");
        (input.mode, input.realm) = (CaptureMode::File, realm);
        let format = match (&own, format) {
            (Some(_), None) => Some(&OWN),
            (Some(_), Some(envelope)) => {
                input.inner = Some(&OWN);
                Some(envelope)
            }
            (None, format) => format,
        };
        input.own = own;
        let keeper = Keeper::new(Scanner::default(), &NO_KEY);
        Parse { format, input, keeper, counts: Counts::default(), found: BTreeMap::new() }
    }

    fn one(&mut self, record: &[u8]) -> Event {
        let now = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
        let event = observe(record, self.format, &self.input, &self.keeper, now);
        self.counts.record(&event);
        let name = event.body.cap.as_ref().map(|capture| capture.fmt.clone()).unwrap_or_default();
        *self.found.entry(name).or_default() += 1;
        event
    }
}

/// Frames what is read and calls `take` with each record; what breaks the framing is one more.
fn records(
    mut source: Box<dyn Read>,
    frame: FrameWord,
    take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let failed = |e| CliError::new("cannot read the records", e, "try again");
    let mut framer: Box<dyn Framer> = match frame {
        FrameWord::Lines => Box::new(Lines::default()),
        FrameWord::Csv => Box::new(Csv::default()),
        FrameWord::Journal => Box::new(Journal::default()),
        FrameWord::Octets => Box::new(Octets::default()),
        FrameWord::Whole => {
            let mut whole = Vec::new();
            source.take(RECORD_MAX as u64 + 1).read_to_end(&mut whole).map_err(failed)?;
            return Ok(take(whole.trim_ascii())?);
        }
    };
    let (mut buffer, mut chunk, mut end) = (Vec::new(), vec![0; READ], false);
    loop {
        let mut from = 0;
        loop {
            let rest = &buffer[from..];
            match framer.step(rest, end) {
                Step::More if end => return Ok(()),
                Step::More => break,
                Step::Skip { taken, .. } => from += taken,
                Step::Record { record, taken, .. } => {
                    take(&rest[record])?;
                    from += taken;
                }
                Step::Broken(_) => return Ok(take(rest)?),
            }
        }
        buffer.drain(..from);
        let read = source.read(&mut chunk).map_err(failed)?;
        end = read == 0;
        buffer.extend_from_slice(&chunk[..read]);
    }
}

/// One event in one line, for people.
fn line(out: &mut impl Write, event: &Event) -> std::io::Result<()> {
    let core = &event.core;
    let time =
        core.t_event.and_then(|ns| json::time::rfc3339(i128::from(ns))).unwrap_or_else(|| "-".to_owned());
    let capture = event.body.cap.as_ref();
    let who = event.who.who.as_ref().map_or("-", |who| &who.id);
    let src = event.peer.src.as_ref().and_then(|src| src.ip).map_or("-".to_owned(), |ip| ip.to_string());
    let status = core.status.as_ref().map_or("-", |(_, code)| code);
    let rec = core.rec.map_or("-", |rec| rec.word());
    let kind = core.kind.map_or(rec, |kind| kind.word());
    let target = if event.target.raw.is_empty() { &event.target.id } else { &event.target.raw };
    let what = format!("{} {} {} → {}", who, src, core.op, target);
    let outcome = core.outcome.map_or("unknown", |outcome| outcome.word());
    let (format, conf) = capture.map_or(("-", "-"), |c| (&c.fmt, c.conf.map_or("-", |conf| conf.word())));
    let text =
        format!("{time}  {kind:<10} {what}  {status} {outcome}  [{format}, {conf}] {}", event.content.err);
    writeln!(out, "{}", output::escape_line(text.trim_end()))
}
