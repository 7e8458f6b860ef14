//! An MCP server on standard input and output, wrapped: every message that passes is recorded.
//!
//! The wrapper stands between a client and the server that it would have started itself: what comes on our
//! standard input goes to the child's, what the child says goes to ours, byte for byte, in blocks as they come.
//! Not a proxy of standard error, which the child inherits. Invariants: a record is owed before the bytes that
//! lead to it pass; a request that is never answered has its record when the child is gone; when the recorder
//! takes nothing more, nothing more passes; where the policy enforces, nothing passes before its verdict
//! (`stdio/verdict.rs`).

mod verdict;

use crate::decode::mcp::record::note;
use crate::decode::talk::{Ended, Moment, Talk};
use crate::recorder::{BodyKey, RecordError, Recorder};
use crate::ring::Way;
use countersign_event::{
    Auth, Body, Capture, CaptureConf, CaptureMode, Class, Core, Decision, Event, IdentityFrom, Kind, Outcome,
    Payload, Principal, PrincipalKind, Rec, StatusSpace, Target, TimeBasis, Verified, Who,
};
use countersign_ledger::Clock;
use countersign_policy::Policy;
use countersign_wire::jsonrpc;
use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub use verdict::WAITING_MAX;
use verdict::{Held, Line, Out, Refusal, out};

/// Block that is read at once, bytes.
const BLOCK: usize = 64 << 10;

/// What the records of a wrapped server say of it.
#[derive(Clone, Debug)]
pub struct StdioOptions {
    /// `core.route`; 1 to 128 bytes.
    pub route: String,
    /// `target.svc`; empty = the file name of the command. Arguments are never recorded: they hold secrets.
    pub service: String,
    /// `core.config`: digest of the configuration in force.
    pub config: [u8; 8],
}

/// What it works with.
pub struct StdioParts {
    /// Takes the records.
    pub recorder: Arc<dyn Recorder>,
    /// Key of digests.
    pub key: BodyKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Runs `command` between `input` and `output` until it has ended; its exit status.
///
/// # Errors
/// When the child cannot be started or waited for. A recorder that fails is an error too: the child is then
/// killed, since nothing may pass unrecorded.
pub fn run(
    options: &StdioOptions,
    parts: StdioParts,
    command: Command,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<ExitStatus> {
    run_told(options, parts, None, command, input, output, |_| {})
}

/// As [`run`], and `policy` is asked about every message of the client. On a route where it enforces, a denied
/// line is answered with a JSON-RPC error and never reaches the child; otherwise its decision is recorded.
///
/// # Errors
/// As [`run`].
pub fn run_decided(
    options: &StdioOptions,
    parts: StdioParts,
    policy: Arc<dyn Policy>,
    command: Command,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<ExitStatus> {
    run_told(options, parts, Some(policy), command, input, output, |_| {})
}

/// As [`run_decided`], or without a policy as [`run`]; `started` is told the child's process id, so that signals can
/// be passed on to it.
///
/// # Errors
/// As [`run`].
pub fn run_told(
    options: &StdioOptions,
    parts: StdioParts,
    policy: Option<Arc<dyn Policy>>,
    mut command: Command,
    mut input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    started: impl FnOnce(u32),
) -> io::Result<ExitStatus> {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let holds = policy.as_ref().is_some_and(|policy| policy.holds(&options.route));
    let mut wrap = Wrap::new(options, parts, &program);
    wrap.policy = policy;
    let wrap = Arc::new(Mutex::new(wrap));
    let client: verdict::Shared<_> = Arc::new(Mutex::new(Out::new(output)));
    lock(&wrap).owe(1).map_err(io::Error::other)?;
    let mut child = command.spawn()?;
    started(child.id());
    let (Some(mut to), Some(mut from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the child has no pipes"));
    };
    let (up, told) = (Arc::clone(&wrap), Arc::clone(&client));
    // Ends with the client's input; when the child ends first, this thread ends with the process.
    std::thread::Builder::new().name("mcp-stdin".to_owned()).spawn(move || {
        let _ = match holds {
            true => copy_decided(&up, &mut input, &mut to, &told),
            false => copy(&up, Way::Up, &mut input, |bytes| to.write_all(bytes).and_then(|()| to.flush())),
        };
    })?;
    let passed = copy(&wrap, Way::Down, &mut from, |bytes| out(&client).pass(bytes));
    drop(from);
    if lock(&wrap).failed {
        let _ = child.kill();
    }
    let status = child.wait()?;
    lock(&wrap).end(status).map_err(io::Error::other)?;
    match passed {
        // A client that is gone is how such a session ends; it is no failure of ours.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(status),
    }
}

fn lock(wrap: &Mutex<Wrap>) -> MutexGuard<'_, Wrap> {
    wrap.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes one direction on, each block after it was looked at.
fn copy(
    wrap: &Mutex<Wrap>,
    way: Way,
    from: &mut impl Read,
    mut to: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let n = match from.read(&mut block) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let bytes = block.get(..n).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        lock(wrap).pass(way, bytes).map_err(io::Error::other)?;
        to(bytes)?;
    }
}

/// Passes the client's direction on, each line after its verdict.
fn copy_decided(
    wrap: &Mutex<Wrap>,
    from: &mut impl Read,
    to: &mut impl Write,
    client: &Mutex<Out<impl Write>>,
) -> io::Result<()> {
    let (mut block, mut line) = (vec![0; BLOCK], Line::default());
    let mut judged = |bytes: Vec<u8>, refusal: Option<Box<Refusal>>| -> io::Result<()> {
        let answer = lock(wrap).judge(&bytes, refusal).map_err(io::Error::other)?;
        match answer {
            Some(answer) => out(client).tell(&answer),
            None => to.write_all(&bytes).and_then(|()| to.flush()),
        }
    };
    loop {
        let n = match from.read(&mut block) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let bytes = block.get(..n).unwrap_or_default();
        if bytes.is_empty() {
            return line.end().map_or(Ok(()), |rest| judged(rest, None));
        }
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            match line.take(part) {
                Held::More => {}
                Held::Whole(bytes) => judged(bytes, None)?,
                Held::TooLong(bytes) => judged(bytes, Some(verdict::too_long()))?,
            }
        }
    }
}

/// What both directions share.
struct Wrap {
    parts: StdioParts,
    base: Event,
    server: Who,
    talk: Talk,
    began: Moment,
    /// Bytes and messages, from the client and from the server.
    bytes: (u64, u64),
    messages: (u64, u64),
    not_json: (u64, u64),
    owed: u64,
    made: u64,
    failed: bool,
    policy: Option<Arc<dyn Policy>>,
    /// On the line at hand, where it was asked for before the line passes.
    decision: Option<Decision>,
}

impl Wrap {
    fn new(options: &StdioOptions, parts: StdioParts, program: &str) -> Wrap {
        let service = if options.service.is_empty() { program } else { &options.service };
        let began = Moment { t: parts.clock.monotonic_ns(), wall: parts.clock.now_ns() };
        let server = Principal {
            kind: Some(PrincipalKind::Service),
            from: Some(IdentityFrom::Address),
            ..Principal::new(format!("user:{}/{service}", host()), Verified::Claimed)
        };
        Wrap {
            base: base(options, service, began),
            server: Who { who: Some(server), ..Who::default() },
            parts,
            talk: Talk::default(),
            began,
            bytes: (0, 0),
            messages: (0, 0),
            not_json: (0, 0),
            owed: 0,
            made: 0,
            failed: false,
            policy: None,
            decision: None,
        }
    }

    fn now(&self) -> Moment {
        Moment { t: self.parts.clock.monotonic_ns(), wall: self.parts.clock.now_ns() }
    }

    fn owe(&mut self, n: u64) -> Result<(), RecordError> {
        if n > 0 {
            let result = self.parts.recorder.owe(n);
            self.failed |= result.is_err();
            result?;
            self.owed += n;
        }
        Ok(())
    }

    /// Looks at bytes that are about to pass.
    fn pass(&mut self, way: Way, bytes: &[u8]) -> Result<(), RecordError> {
        let now = self.now();
        let count = if way == Way::Up { &mut self.bytes.0 } else { &mut self.bytes.1 };
        *count += bytes.len() as u64;
        let mut out = Vec::new();
        let mut asked = 0;
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.talk.feed(way, part, &self.parts.key);
            if part.last() != Some(&b'\n') {
                break;
            }
            let Ended { messages, fault } = self.talk.ended(way);
            let (count, bad) = match way {
                Way::Up => (&mut self.messages.0, &mut self.not_json.0),
                Way::Down => (&mut self.messages.1, &mut self.not_json.1),
            };
            *count += messages.len() as u64;
            *bad += u64::from(fault.is_some_and(|f| f != jsonrpc::Fault::Empty));
            for message in messages {
                asked += u64::from(message.0.kind() != jsonrpc::Kind::Response);
                let base = self.decided(way, &message.0, now);
                self.talk.said(&base, way, message, now, &self.server, &mut out);
            }
        }
        self.owe(asked)?;
        self.record(out)
    }

    /// The base of a message's record, with the decision on it.
    fn decided(&self, way: Way, message: &jsonrpc::Message, now: Moment) -> Event {
        let mut base = self.base.clone();
        let asks = way == Way::Up && message.kind() != jsonrpc::Kind::Response;
        base.core.decision = match (&self.decision, &self.policy) {
            (Some(decision), _) if asks => Some(decision.clone().into()),
            (None, Some(policy)) if asks => {
                Some(verdict::ask(policy.as_ref(), &base, now.wall, message).into())
            }
            _ => None,
        };
        base
    }

    /// Judges a line of the client: `None` = it passes and is noted, else what the client is told.
    fn judge(&mut self, line: &[u8], refusal: Option<Box<Refusal>>) -> Result<Option<Vec<u8>>, RecordError> {
        let Some(policy) = self.policy.clone() else { return self.pass(Way::Up, line).map(|()| None) };
        let judged = match refusal {
            Some(refusal) => Err(refusal),
            None => verdict::judge(policy.as_ref(), &self.base, self.now().wall, line),
        };
        match judged {
            Ok(decision) => {
                self.decision = Some(decision);
                let passed = self.pass(Way::Up, line);
                self.decision = None;
                passed.map(|()| None)
            }
            Err(refusal) => self.refuse(line, &refusal).map(Some),
        }
    }

    /// Records what does not pass, and says what the client is told.
    fn refuse(&mut self, line: &[u8], refusal: &Refusal) -> Result<Vec<u8>, RecordError> {
        let now = self.now();
        self.bytes.0 += line.len() as u64;
        self.talk.feed(Way::Up, line, &self.parts.key);
        let messages = self.talk.ended(Way::Up).messages;
        self.messages.0 += messages.len() as u64;
        let mut base = self.base.clone();
        base.core.decision = Some(refusal.decision.clone().into());
        base.core.t_obs = now.wall;
        let mut events = Vec::new();
        let asking = messages.iter().filter(|(m, _)| m.kind() != jsonrpc::Kind::Response);
        for (message, digest) in asking {
            events.push(self.talk.refused(&base, message, *digest, refusal.code));
        }
        if events.is_empty() {
            self.not_json.0 += 1;
            base.core.proto = "mcp".to_owned();
            base.core.op = "message".to_owned();
            events.push(base);
        }
        for event in &mut events {
            let denied = refusal.code == countersign_wire::mcp::DENIED;
            event.core.outcome = Some(if denied { Outcome::Denied } else { Outcome::CallerError });
            event.core.status = Some((StatusSpace::Jsonrpc, refusal.code.to_string()));
            note(event, &format!("not passed on: {}", refusal.rule));
        }
        self.owe(events.len() as u64)?;
        self.record(events)?;
        let messages: Vec<jsonrpc::Message> = messages.into_iter().map(|(message, _)| message).collect();
        let batch = line.trim_ascii_start().starts_with(b"[");
        Ok(verdict::answer(&messages, batch, refusal))
    }

    fn record(&mut self, events: Vec<Event>) -> Result<(), RecordError> {
        if events.is_empty() {
            return Ok(());
        }
        self.made += events.len() as u64;
        // One record is always kept back for the end of the session.
        self.owe((self.made + 1).saturating_sub(self.owed))?;
        let result = self.parts.recorder.record(events);
        self.failed |= result.is_err();
        result
    }

    /// The child has ended: what is open, and the session, are recorded.
    fn end(&mut self, status: ExitStatus) -> Result<(), RecordError> {
        let now = self.now();
        let mut out = Vec::new();
        self.talk.close(now, &self.server.clone(), &mut out);
        self.record(out)?;
        let mut event = self.base.clone();
        event.core.rec = Some(Rec::SessionClose);
        event.core.proto = "mcp".to_owned();
        event.core.op = "session".to_owned();
        event.core.class = Some(Class::Connect);
        event.core.t_event = i64::try_from(self.began.wall).ok();
        event.core.t_obs = now.wall;
        event.core.dur = Some(now.t.saturating_sub(self.began.t));
        event.core.outcome = Some(if status.success() { Outcome::Success } else { Outcome::ServerError });
        event.core.status = status.code().map(|code| (StatusSpace::Os, code.to_string()));
        let payload = |size, n| Payload { size: Some(size), messages: Some(n), ..Payload::default() };
        event.body.req = Some(payload(self.bytes.0, self.messages.0));
        event.body.rsp = Some(payload(self.bytes.1, self.messages.1));
        for (side, n) in [("client", self.not_json.0), ("server", self.not_json.1)] {
            if n > 0 {
                note(&mut event, &format!("{side}: lines that are not JSON-RPC: {n}"));
            }
        }
        self.made += 1;
        self.owe(self.made.saturating_sub(self.owed))?;
        self.parts.recorder.record(vec![event])
    }
}

/// What every record of the session has. Who calls is the user that this process runs as: the kernel says so.
fn base(options: &StdioOptions, service: &str, began: Moment) -> Event {
    let user = Principal {
        kind: Some(PrincipalKind::User),
        auth: Some(Auth::PeerCred),
        from: Some(IdentityFrom::RecordField),
        ..Principal::new(format!("user:{}/{}", host(), uid()), Verified::Asserted)
    };
    Event {
        core: Core {
            t_obs: began.wall,
            t_event: i64::try_from(began.wall).ok(),
            t_basis: Some(TimeBasis::Measured),
            rec: Some(Rec::Interaction),
            kind: Some(Kind::Tool),
            config: Some(options.config),
            route: options.route.clone(),
            ..Core::default()
        },
        who: Who { who: Some(user), ..Who::default() }.into(),
        target: Target { svc: service.to_owned(), ..Target::default() }.into(),
        body: Body {
            cap: Some(
                Capture {
                    mode: Some(CaptureMode::Inline),
                    conf: Some(CaptureConf::Full),
                    parser: concat!("stdio@", env!("CARGO_PKG_VERSION")).to_owned(),
                    ..Capture::default()
                }
                .into(),
            ),
            ..Body::default()
        }
        .into(),
        ..Event::default()
    }
}

/// Name of this machine, as it stands in the ids of its users.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost" } else { name }.to_owned()
}

/// Owner of this process, by number.
fn uid() -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |m| m.uid().to_string())
}
