//! Which reply answers which command.
//!
//! Replies come in the order of the commands, but not one for one: a subscription is answered once for each
//! channel, what is pushed answers nobody, `CLIENT REPLY` silences, and a queued command is answered by its
//! element of `EXEC`'s reply. Framer and decoder share this, so that they count alike.
//!
//! Invariants: every command that was told ([`Pairs::sent`]) leaves exactly once ([`Sink::done`]); what changes
//! how replies read (protocol version, subscriptions, transactions, MONITOR) takes effect where the server's
//! own reply says so, never by the client's wish.

use super::reply::Summary;
use super::rules;
use std::collections::VecDeque;

/// Silenced commands whose kind is remembered until a reply proves that they were silenced.
const SILENT_MAX: usize = 1_024;
/// Most commands of one transaction.
pub const QUEUED_MAX: usize = 1 << 20;

/// Sort of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Channel,
    Pattern,
    Shard,
}

/// What a command means for pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Multi,
    Exec,
    Discard,
    Reset,
    /// With the version it asks for, 0 for none.
    Hello(u8),
    /// With the number of channels.
    Subscribe(Topic, u32),
    /// With the number of channels, 0 for all.
    Unsubscribe(Topic, u32),
    Monitor,
    ReplyOn,
    ReplyOff,
    ReplySkip,
    Replconf,
    /// Turns the connection into one that replicates.
    Sync,
    /// With a database number.
    Select(u64),
}

/// A command that waits for its reply.
#[derive(Debug)]
pub(super) struct Entry<V> {
    pub(super) kind: Kind,
    /// The gateway sent something else in its place.
    pub(super) denied: bool,
    /// No reply is expected.
    silent: bool,
    /// Replies of a subscription so far.
    got: u32,
    /// Of a silent command it was given away when it was sent.
    pub(super) value: Option<V>,
}

/// How a command left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Answered.
    Replied,
    /// Queued, then executed by EXEC.
    Executed,
    /// Queued and not executed: a watched key had changed.
    Watched,
    /// Queued and not executed: an error stopped the transaction.
    Aborted,
    /// Queued and not executed: DISCARD or RESET.
    Discarded,
    /// No reply will come, by the client's own wish.
    Silent,
    /// It was not answered when the connection ended.
    Open,
}

/// Is told what becomes of commands.
pub(super) trait Sink<V> {
    /// A command left; `reply` is the one that brought it about.
    fn done(&mut self, kind: Kind, denied: bool, value: V, how: How, reply: Option<&Summary>);
    /// A queued command's own reply.
    fn element(&mut self, kind: Kind, value: &mut V, reply: &Summary);
    /// A command was queued.
    fn queued(&mut self, kind: Kind, value: &mut V);
}

/// Whether replies come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    On,
    Off,
    /// Not for the next command.
    Skip,
}

/// What a whole value from the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    /// The answer to a command, or part of it. Whether that command had been denied.
    Answer { denied: bool },
    /// A message that a subscription brought.
    Message,
    /// A line of MONITOR.
    MonitorLine,
    /// Something else that answers nobody.
    Nobody,
}

/// See the module's documentation.
pub(super) struct Pairs<V> {
    queue: VecDeque<Entry<V>>,
    /// Silent entries of the queue.
    silent: usize,
    /// Silenced commands that were not remembered.
    unkept: u64,
    queued: Vec<Entry<V>>,
    /// The server is in a transaction, by its replies.
    in_multi: bool,
    /// Some queued command has more to it than its reply.
    queued_special: bool,
    subscriptions: [u64; 3],
    /// Protocol version of replies.
    pub(super) resp: u8,
    monitor: bool,
    // From here on: by what was sent.
    mode: Mode,
    may_be_in_multi: bool,
    /// Some of what was said was not shown.
    unsure: bool,
}

impl<V> Default for Pairs<V> {
    fn default() -> Pairs<V> {
        Pairs {
            queue: VecDeque::new(),
            silent: 0,
            unkept: 0,
            queued: Vec::new(),
            in_multi: false,
            queued_special: false,
            subscriptions: [0; 3],
            resp: 2,
            monitor: false,
            mode: Mode::On,
            may_be_in_multi: false,
            unsure: false,
        }
    }
}

impl<V> Pairs<V> {
    /// Commands that wait for a reply.
    pub(super) fn open(&self) -> usize {
        self.queue.len()
    }

    /// Whether every one of them is replied to.
    pub(super) fn replies(&self) -> bool {
        self.silent == 0 && self.mode == Mode::On
    }

    /// Nothing is owed to the client and no transaction is open.
    pub(super) fn idle(&self) -> bool {
        !self.in_multi && self.mode == Mode::On && self.queue.len() == self.silent
    }

    /// Whether a reply that answers the oldest command is one to EXEC, whose elements matter beyond records.
    pub(super) fn exec_is_next(&self) -> bool {
        self.in_multi && self.queue.front().is_some_and(|e| e.kind == Kind::Exec)
    }

    pub(super) fn queued_special(&self) -> bool {
        self.queued_special
    }

    /// Whether a replicating connection was asked for and the server has not answered.
    pub(super) fn sync_is_last(&self) -> bool {
        self.queue.back().is_some_and(|e| e.kind == Kind::Sync)
    }

    pub(super) fn sync_is_next(&self) -> bool {
        self.queue.front().is_some_and(|e| e.kind == Kind::Sync)
    }

    /// Whether the next error from the server may answer a denied command.
    pub(super) fn denied_may_be_next(&self) -> bool {
        match self.queue.front() {
            Some(e) if e.silent => self.queue.iter().any(|e| e.denied),
            Some(e) => e.denied,
            None => false,
        }
    }

    pub(super) fn subscribed(&self) -> bool {
        self.subscriptions.iter().any(|n| *n > 0)
    }

    /// Whether an array may be a message and not a reply (RESP2 has one type for both).
    pub(super) fn arrays_may_be_messages(&self) -> bool {
        (self.resp == 2 && self.subscribed()) || (self.unsure && self.queue.is_empty())
    }

    /// Messages were not shown: what they changed is not known.
    pub(super) fn unsure(&mut self) {
        self.unsure = true;
        self.monitor = true;
    }

    /// A command was passed on.
    pub(super) fn sent(
        &mut self,
        kind: Kind,
        denied: bool,
        value: V,
        sink: &mut impl Sink<V>,
    ) -> Result<(), &'static str> {
        let kind = if denied { Kind::Plain } else { kind };
        // A transaction that switches replies off within itself breaks off in the middle of EXEC's array.
        if matches!(kind, Kind::ReplyOn | Kind::ReplyOff | Kind::ReplySkip) && self.may_be_in_multi {
            return Err(rules::REPLY_MODE);
        }
        let silent = match kind {
            Kind::ReplyOn => false,
            Kind::ReplyOff | Kind::ReplySkip => true,
            Kind::Reset => self.mode == Mode::Skip,
            _ => self.mode != Mode::On,
        };
        self.mode = match (kind, self.mode) {
            (Kind::ReplyOn | Kind::Reset, _) => Mode::On,
            (Kind::ReplyOff, _) | (_, Mode::Off) => Mode::Off,
            (Kind::ReplySkip, _) => Mode::Skip,
            _ => Mode::On,
        };
        match kind {
            Kind::Multi => self.may_be_in_multi = true,
            Kind::Exec | Kind::Discard | Kind::Reset => self.may_be_in_multi = false,
            _ => {}
        }
        let value = if silent {
            sink.done(kind, denied, value, How::Silent, None);
            if self.silent >= SILENT_MAX {
                self.unkept += 1;
                self.apply(kind);
                return Ok(());
            }
            self.silent += 1;
            None
        } else {
            Some(value)
        };
        self.queue.push_back(Entry { kind, denied, silent, got: 0, value });
        Ok(())
    }

    /// A whole value came from the server.
    pub(super) fn received(&mut self, reply: &Summary, sink: &mut impl Sink<V>) -> Result<Was, &'static str> {
        let word = reply.first.get();
        if reply.kind == b'>' {
            return Ok(match topic(word) {
                Some((topic, on)) => self.confirmed(topic, on, reply, sink),
                None if is_message(word) => Was::Message,
                None => Was::Nobody,
            });
        }
        if self.monitor && reply.kind == b'+' && is_monitor_line(reply.text.get()) {
            return Ok(Was::MonitorLine);
        }
        if reply.kind == b'*' {
            if self.arrays_may_be_messages() && is_message(word) {
                return Ok(Was::Message);
            }
            if let Some((topic, on)) = topic(word) {
                let awaited = self.queue.front().is_some_and(|e| e.silent || e.is_about(topic, on));
                if self.arrays_may_be_messages() || (self.resp == 2 && awaited) {
                    return Ok(self.confirmed(topic, on, reply, sink));
                }
            }
        }
        if let Some(was) = self.end_silence(reply)? {
            return Ok(was);
        }
        self.answered(reply, sink)
    }

    /// The ordinary case: the value answers the oldest command.
    fn answered(&mut self, reply: &Summary, sink: &mut impl Sink<V>) -> Result<Was, &'static str> {
        let Some(mut entry) = self.queue.pop_front() else { return Ok(Was::Nobody) };
        let was = Was::Answer { denied: entry.denied };
        let error = reply.is_error();
        if self.in_multi && reply.kind == b'+' && reply.text.get() == b"QUEUED" {
            if self.queued.len() >= QUEUED_MAX {
                return Err(rules::TRANSACTION);
            }
            if let Some(value) = &mut entry.value {
                sink.queued(entry.kind, value);
            }
            self.queued_special |= !matches!(entry.kind, Kind::Plain | Kind::Select(_) | Kind::Replconf);
            self.queued.push(entry);
            return Ok(was);
        }
        match entry.kind {
            Kind::Exec if self.in_multi => {
                let how = match (error, reply.null) {
                    (true, _) => How::Aborted,
                    (_, true) => How::Watched,
                    _ => How::Executed,
                };
                self.leave_multi(how, sink);
            }
            Kind::Discard | Kind::Reset if !error => {
                self.leave_multi(How::Discarded, sink);
                self.apply(entry.kind);
            }
            kind if !error => self.apply(kind),
            _ => {}
        }
        if error && entry.kind == Kind::Multi && self.queue.is_empty() {
            self.may_be_in_multi = self.in_multi;
        }
        if let Some(value) = entry.value {
            sink.done(entry.kind, entry.denied, value, How::Replied, Some(reply));
        }
        Ok(was)
    }

    /// An element of EXEC's reply.
    pub(super) fn element(&mut self, index: u64, reply: &Summary, sink: &mut impl Sink<V>) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(entry) = self.queued.get_mut(at) else { return };
        if let Some(value) = &mut entry.value {
            sink.element(entry.kind, value, reply);
        }
        let kind = entry.kind;
        match kind {
            Kind::Subscribe(topic, _) => self.count(topic, true, reply),
            Kind::Unsubscribe(topic, _) => self.count(topic, false, reply),
            kind if !reply.is_error() => self.apply(kind),
            _ => {}
        }
    }

    fn leave_multi(&mut self, how: How, sink: &mut impl Sink<V>) {
        self.in_multi = false;
        self.queued_special = false;
        for entry in std::mem::take(&mut self.queued) {
            if let Some(value) = entry.value {
                sink.done(entry.kind, entry.denied, value, how, None);
            }
        }
    }

    /// The server has done what changes how replies read.
    fn apply(&mut self, kind: Kind) {
        match kind {
            Kind::Multi => self.in_multi = true,
            Kind::Exec | Kind::Discard => self.in_multi = false,
            Kind::Hello(version @ (2 | 3)) => self.resp = version,
            Kind::Monitor => self.monitor = true,
            Kind::Reset => {
                (self.in_multi, self.monitor, self.resp, self.subscriptions) = (false, false, 2, [0; 3]);
            }
            _ => {}
        }
    }

    /// A confirmation of one channel.
    fn confirmed(&mut self, topic: Topic, on: bool, reply: &Summary, sink: &mut impl Sink<V>) -> Was {
        let before = self.subscriptions.get(topic as usize).copied().unwrap_or(0);
        self.count(topic, on, reply);
        // Only a silenced command may stand in the way, and that it was silenced is proved otherwise.
        let Some(entry) = self.queue.front_mut().filter(|e| e.is_about(topic, on) && !e.silent) else {
            return Was::Nobody;
        };
        entry.got += 1;
        let expected = match entry.kind {
            Kind::Subscribe(_, n) => u64::from(n),
            // Without names: one for each subscription, and one that says so when there is none.
            Kind::Unsubscribe(_, 0) => {
                let all = u32::try_from(before).unwrap_or(u32::MAX).max(1);
                entry.kind = Kind::Unsubscribe(topic, all);
                u64::from(all)
            }
            Kind::Unsubscribe(_, n) => u64::from(n),
            _ => 0,
        };
        let denied = entry.denied;
        if u64::from(entry.got) >= expected
            && let Some(entry) = self.queue.pop_front()
            && let Some(value) = entry.value
        {
            sink.done(entry.kind, entry.denied, value, How::Replied, Some(reply));
        }
        Was::Answer { denied }
    }

    /// Follows the number of subscriptions. The server says how many are left, channels and patterns in one.
    fn count(&mut self, topic: Topic, on: bool, reply: &Summary) {
        let Some(now) = reply.third.and_then(|n| u64::try_from(n).ok()) else { return };
        let [channels, patterns, shards] = &mut self.subscriptions;
        let total = if topic == Topic::Shard { *shards } else { *channels + *patterns };
        let one = match topic {
            Topic::Channel => channels,
            Topic::Pattern => patterns,
            Topic::Shard => shards,
        };
        if on && now > total {
            *one += 1;
        } else if !on && now < total {
            *one = one.saturating_sub(1);
        }
    }

    /// Decides, by the first reply behind them, what became of silenced commands at the front. `Some` = the
    /// reply belongs to one of them.
    fn end_silence(&mut self, reply: &Summary) -> Result<Option<Was>, &'static str> {
        while let Some(front) = self.queue.front().filter(|e| e.silent) {
            // Where silence has come about, nothing silenced answers, errors neither. So an error with nobody
            // else to answer, or one that names the command, is that of the command which asked for silence.
            let answerable = self.queue.len() > self.silent;
            let refused = reply.is_error()
                && match front.kind {
                    Kind::ReplyOff => true,
                    Kind::ReplySkip => !answerable || refuses_silence(reply.text.get()),
                    _ => false,
                };
            if refused {
                return self.silence_failed().map(Some);
            }
            if !answerable {
                return Ok(Some(Was::Nobody));
            }
            let kind = front.kind;
            self.queue.pop_front();
            self.silent = self.silent.saturating_sub(1);
            self.apply(kind);
        }
        if self.silent == 0 && self.mode == Mode::On {
            self.unkept = 0;
        }
        Ok(None)
    }

    /// The command at the front asked for silence and was refused: what followed will be answered.
    fn silence_failed(&mut self) -> Result<Was, &'static str> {
        if self.unkept > 0 {
            return Err(rules::REPLY_MODE);
        }
        let Some(front) = self.queue.pop_front() else { return Ok(Was::Nobody) };
        self.silent = self.silent.saturating_sub(1);
        let off = front.kind == Kind::ReplyOff;
        let mut skip_next = false;
        let mut ended = false;
        for entry in &mut self.queue {
            if !entry.silent {
                ended = true;
                break;
            }
            match entry.kind {
                Kind::ReplyOff => {
                    ended = true;
                    break;
                }
                Kind::ReplySkip => skip_next = true,
                _ if skip_next => skip_next = false,
                _ => {
                    entry.silent = false;
                    self.silent = self.silent.saturating_sub(1);
                }
            }
            if !off {
                ended = true;
                break;
            }
        }
        if !ended {
            self.mode = if skip_next { Mode::Skip } else { Mode::On };
        }
        Ok(Was::Answer { denied: false })
    }

    /// The connection has ended: everything that is left goes, oldest first.
    pub(super) fn end(&mut self, sink: &mut impl Sink<V>) {
        let queued = std::mem::take(&mut self.queued);
        let open = std::mem::take(&mut self.queue);
        for entry in queued.into_iter().chain(open) {
            if let Some(value) = entry.value {
                sink.done(entry.kind, entry.denied, value, How::Open, None);
            }
        }
    }
}

impl<V> Entry<V> {
    fn is_about(&self, topic: Topic, on: bool) -> bool {
        match self.kind {
            Kind::Subscribe(t, _) => on && t == topic,
            Kind::Unsubscribe(t, _) => !on && t == topic,
            _ => false,
        }
    }
}

fn topic(word: &[u8]) -> Option<(Topic, bool)> {
    Some(match word {
        b"subscribe" => (Topic::Channel, true),
        b"unsubscribe" => (Topic::Channel, false),
        b"psubscribe" => (Topic::Pattern, true),
        b"punsubscribe" => (Topic::Pattern, false),
        b"ssubscribe" => (Topic::Shard, true),
        b"sunsubscribe" => (Topic::Shard, false),
        _ => return None,
    })
}

pub(super) fn is_message(word: &[u8]) -> bool {
    matches!(word, b"message" | b"pmessage" | b"smessage")
}

/// `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`. A monitoring client cannot touch data or run scripts,
/// so no reply of its own has this form.
fn is_monitor_line(text: &[u8]) -> bool {
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(text);
    let Some(rest) = text.get(whole..).and_then(|t| t.strip_prefix(b".")) else { return false };
    whole > 0 && rest.get(digits(rest)..).is_some_and(|t| t.starts_with(b" ["))
}

/// Whether an error is one that `CLIENT REPLY` gets: not logged in, not permitted, not while subscribed.
fn refuses_silence(text: &[u8]) -> bool {
    text.starts_with(b"NOAUTH") || memchr::memmem::find(text, b"'client").is_some()
}
