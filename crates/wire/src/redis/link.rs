//! One connection's two directions: what framer and decoder have in common.

use super::pairs::{How, Kind, Pairs, Sink, Topic, Was, is_message};
use super::reply::{self, Got, Start, Summary};
use super::request::{self, Args};
use super::table;

/// Bytes of MONITOR or of replication after which a record says how far it went.
pub const PROGRESS_BYTES: u64 = 64 << 20;
/// Bytes kept of each of a command's first three arguments.
const HEAD_MAX: usize = 32;

/// The first three arguments of the command that is being read.
#[derive(Default)]
pub(super) struct Head {
    pub(super) argc: u32,
    kept: [Start<HEAD_MAX>; 3],
    lens: [u64; 3],
    special: bool,
}

impl Args for Head {
    fn begin(&mut self, argc: u32) {
        self.argc = argc;
        self.lens = [0; 3];
        self.special = true;
        for kept in &mut self.kept {
            kept.clear();
        }
    }

    fn arg(&mut self, index: u32, len: u64, _at: Option<usize>) {
        if index == 1 {
            self.special = may_be_special(self.kept[0].get());
        }
        if let Some(room) = self.lens.get_mut(index as usize) {
            *room = len;
        }
    }

    fn bytes(&mut self, index: u32, piece: &[u8]) {
        if self.special
            && let Some(kept) = self.kept.get_mut(index as usize)
        {
            kept.push(piece);
        }
    }
}

/// By length and first letter: whether [`Head::kind`] may say other than plain.
fn may_be_special(name: &[u8]) -> bool {
    let first = name.first().map_or(0, u8::to_ascii_uppercase);
    matches!(
        (name.len(), first),
        (4, b'E' | b'S')
            | (5, b'M' | b'R' | b'H' | b'P')
            | (6, b'C' | b'S')
            | (7, b'D' | b'M')
            | (8, b'R')
            | (9, b'S')
            | (10, b'P' | b'S')
            | (11, b'U')
            | (12, b'P' | b'S')
    )
}

impl Head {
    /// Argument `at`, if it is short.
    pub(super) fn get(&self, at: usize) -> Option<&[u8]> {
        let whole = self.lens.get(at).is_some_and(|n| *n <= HEAD_MAX as u64) && (self.argc as usize) > at;
        self.kept.get(at).filter(|_| whole).map(Start::get)
    }

    /// What the command means for pairing. A wrong number of arguments makes the server refuse it.
    pub(super) fn kind(&self) -> Kind {
        let name = self.get(0).unwrap_or_default();
        if !may_be_special(name) {
            return Kind::Plain;
        }
        let mut buf = [0; table::NAME_MAX];
        let alone = self.argc == 1;
        let others = self.argc.saturating_sub(1);
        match table::upper(name, &mut buf).unwrap_or_default() {
            "MULTI" if alone => Kind::Multi,
            "EXEC" if alone => Kind::Exec,
            "DISCARD" if alone => Kind::Discard,
            "RESET" if alone => Kind::Reset,
            "MONITOR" if alone => Kind::Monitor,
            "SYNC" if alone => Kind::Sync,
            "PSYNC" if self.argc >= 3 => Kind::Sync,
            "REPLCONF" => Kind::Replconf,
            "HELLO" => match self.get(1) {
                Some(b"2") => Kind::Hello(2),
                Some(b"3") => Kind::Hello(3),
                _ => Kind::Hello(0),
            },
            "SELECT" if self.argc == 2 => {
                self.get(1).and_then(table::number).map_or(Kind::Plain, Kind::Select)
            }
            "SUBSCRIBE" if others > 0 => Kind::Subscribe(Topic::Channel, others),
            "PSUBSCRIBE" if others > 0 => Kind::Subscribe(Topic::Pattern, others),
            "SSUBSCRIBE" if others > 0 => Kind::Subscribe(Topic::Shard, others),
            "UNSUBSCRIBE" => Kind::Unsubscribe(Topic::Channel, others),
            "PUNSUBSCRIBE" => Kind::Unsubscribe(Topic::Pattern, others),
            "SUNSUBSCRIBE" => Kind::Unsubscribe(Topic::Shard, others),
            "CLIENT" if self.argc == 3 => self.client(),
            _ => Kind::Plain,
        }
    }

    fn client(&self) -> Kind {
        if !self.get(1).is_some_and(|a| a.eq_ignore_ascii_case(b"REPLY")) {
            return Kind::Plain;
        }
        match self.get(2) {
            Some(a) if a.eq_ignore_ascii_case(b"ON") => Kind::ReplyOn,
            Some(a) if a.eq_ignore_ascii_case(b"OFF") => Kind::ReplyOff,
            Some(a) if a.eq_ignore_ascii_case(b"SKIP") => Kind::ReplySkip,
            _ => Kind::Plain,
        }
    }
}

/// Is told what the server sends.
pub(super) trait Watch<V>: Sink<V> {
    /// Whether fields of messages and of transactions are of interest.
    const FIELDS: bool;
    /// Field `index` of a message; the first one announces it.
    fn field(&mut self, index: u64, field: &Summary);
    /// The message has ended; it was so many bytes in all.
    fn message(&mut self, bytes: u64);
    /// [`PROGRESS_BYTES`] more of MONITOR (`false`) or of replication (`true`).
    fn progress(&mut self, replication: bool);
    /// A value begins.
    fn value(&mut self);
    /// A value has ended; it was so many bytes. Comes before what it brings about.
    fn size(&mut self, bytes: u64);
}

/// How far the server's direction was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Down {
    pub(super) len: usize,
    pub(super) records: u32,
    /// Stopped before an error that may answer a denied command.
    pub(super) held: bool,
    /// Stopped before bytes that break this rule.
    pub(super) fault: Option<&'static str>,
}

/// See the module's documentation.
pub(super) struct Link<V> {
    pub(super) pairs: Pairs<V>,
    pub(super) commands: request::Reader,
    replies: reply::Reader,
    /// Bytes of the value that is being read.
    value_len: u64,
    message: bool,
    /// The server has begun to replicate.
    pub(super) replica: bool,
    unreported: u64,
    /// Bytes since replication began.
    pub(super) replicated: (u64, u64),
    /// Whether the last answer was to a denied command.
    pub(super) denied: bool,
}

impl<V> Default for Link<V> {
    fn default() -> Link<V> {
        Link {
            pairs: Pairs::default(),
            commands: request::Reader::default(),
            replies: reply::Reader::default(),
            value_len: 0,
            message: false,
            replica: false,
            unreported: 0,
            replicated: (0, 0),
            denied: false,
        }
    }
}

impl<V> Link<V> {
    /// Whether nothing is half said and nothing owed.
    pub(super) fn idle(&self) -> bool {
        self.pairs.idle() && self.quiet() && self.commands.is_between() && !self.replica
    }

    /// Whether no value from the server is half read.
    pub(super) fn quiet(&self) -> bool {
        self.replies.is_between()
    }

    /// A command of `len` bytes was passed on. Returns the number of records it leads to by itself.
    pub(super) fn sent(
        &mut self,
        kind: Kind,
        denied: bool,
        len: u64,
        value: V,
        sink: &mut impl Watch<V>,
    ) -> Result<u32, &'static str> {
        if !self.replica {
            return self.pairs.sent(kind, denied, value, sink).map(|()| 1);
        }
        self.replicated.0 += len;
        let mut records = self.moved(len, true, sink);
        // A replica reports how far it is, once a second; anything else it says is a command like any other,
        // of which the stream of changes hides the answer.
        if kind != Kind::Replconf {
            sink.done(Kind::Plain, denied, value, How::Open, None);
            records += 1;
        }
        Ok(records)
    }

    /// Reads what the server sent. With `hold`, stops before an error that may answer a denied command.
    pub(super) fn down<W: Watch<V>>(&mut self, buf: &[u8], hold: bool, sink: &mut W) -> Down {
        let mut down = Down::default();
        loop {
            let rest = buf.get(down.len..).unwrap_or_default();
            // The end of a value may still have to be told when its last byte is taken.
            if rest.is_empty() && !self.replies.is_closing() {
                break;
            }
            if self.replica {
                self.replicated.1 += rest.len() as u64;
                down.records += self.moved(rest.len() as u64, true, sink);
                down.len = buf.len();
                break;
            }
            let first = rest.first().copied().unwrap_or_default();
            if self.replies.is_between() {
                if self.pairs.sync_is_next() {
                    match first {
                        // Sent while a snapshot is in the making.
                        b'\n' => {
                            down.len += 1;
                            continue;
                        }
                        b'-' | b'>' => {}
                        _ => {
                            self.replica = true;
                            continue;
                        }
                    }
                }
                if hold && first == b'-' && self.pairs.denied_may_be_next() {
                    down.held = true;
                    break;
                }
                self.prepare::<W>(first);
                sink.value();
            }
            let (len, got) = match self.replies.read(rest) {
                Ok(read) => read,
                Err(rule) => {
                    down.fault = Some(rule);
                    break;
                }
            };
            self.value_len += len as u64;
            match got {
                Got::More => {
                    down.len += len;
                    break;
                }
                Got::First => self.first(&mut down, sink),
                Got::Element(index) => self.element(index, sink),
                Got::End => match self.ended(sink) {
                    Ok(records) => down.records += records,
                    Err(rule) => {
                        down.fault = Some(rule);
                        break;
                    }
                },
            }
            down.len += len;
        }
        down
    }

    fn prepare<W: Watch<V>>(&mut self, first: u8) {
        let array = first == b'*';
        // Behind an attribute the value's type is still unknown.
        let unknown = first == b'|';
        self.replies.stop_at_first =
            first == b'>' || unknown || (array && self.pairs.arrays_may_be_messages());
        self.replies.stop_at_elements =
            (array || unknown) && self.pairs.exec_is_next() && (W::FIELDS || self.pairs.queued_special());
    }

    fn first<W: Watch<V>>(&mut self, down: &mut Down, sink: &mut W) {
        let value = self.replies.value();
        let pushed = value.kind == b'>' || (value.kind == b'*' && self.pairs.arrays_may_be_messages());
        if pushed && is_message(value.first.get()) {
            self.message = true;
            down.records += 1;
            self.replies.stop_at_elements = W::FIELDS;
        }
        if self.replies.stop_at_elements {
            self.element(0, sink);
        }
    }

    fn element(&mut self, index: u64, sink: &mut impl Watch<V>) {
        if self.message {
            sink.field(index, self.replies.element());
        } else {
            self.pairs.element(index, self.replies.element(), sink);
        }
    }

    fn ended(&mut self, sink: &mut impl Watch<V>) -> Result<u32, &'static str> {
        let len = std::mem::take(&mut self.value_len);
        sink.size(len);
        let was = self.pairs.received(self.replies.value(), sink)?;
        if std::mem::take(&mut self.message) {
            sink.message(len);
        }
        Ok(match was {
            Was::MonitorLine => self.moved(len, false, sink),
            Was::Answer { denied } => {
                self.denied = denied;
                0
            }
            Was::Message | Was::Nobody => 0,
        })
    }

    fn moved(&mut self, len: u64, replication: bool, sink: &mut impl Watch<V>) -> u32 {
        self.unreported += len;
        let mut records = 0;
        while self.unreported >= PROGRESS_BYTES {
            self.unreported -= PROGRESS_BYTES;
            records += 1;
            sink.progress(replication);
        }
        records
    }
}
