//! RESP: framer and session over whole conversations, split in every way, denied, silenced, hostile.

mod conversations;
mod deny;
mod hostile;
mod keys;
mod splits;

use countersign_wire::redis::{Command, Found, Framer, Session, Verdict};
use countersign_wire::stream::{Call, Framer as _, Judge, Out, Unjudged, Way};

/// Denies by name.
#[derive(Default)]
pub(crate) struct Deny {
    pub(crate) names: Vec<&'static str>,
    /// Calls that were asked about: operation, database, user, resources.
    pub(crate) asked: Vec<(String, String, String, String)>,
}

impl Judge for Deny {
    fn asks(&self) -> bool {
        true
    }
    fn denies(&mut self, call: &Call<'_>) -> bool {
        self.asked.push((
            call.operation.to_string(),
            call.namespace.to_string(),
            call.user.to_string(),
            call.resources.join(","),
        ));
        self.names.contains(&call.operation.as_ref())
    }
}

/// Both halves of the protocol over one conversation.
pub(crate) struct Rig {
    pub(crate) framer: Framer,
    pub(crate) session: Session,
    pub(crate) judge: Option<Deny>,
    held: [Vec<u8>; 2],
    /// What arrived at the server and at the client.
    pub(crate) passed: [Vec<u8>; 2],
    pub(crate) found: Vec<Found>,
    pub(crate) promised: u64,
    pub(crate) refused: Option<&'static str>,
    t: u64,
}

impl Default for Rig {
    fn default() -> Rig {
        Rig {
            framer: Framer::new(),
            session: Session::new(),
            judge: None,
            held: Default::default(),
            passed: Default::default(),
            found: Vec::new(),
            promised: 0,
            refused: None,
            t: 0,
        }
    }
}

impl Rig {
    pub(crate) fn denying(names: &[&'static str]) -> Rig {
        Rig { judge: Some(Deny { names: names.to_vec(), asked: Vec::new() }), ..Rig::default() }
    }

    pub(crate) fn up(&mut self, bytes: impl AsRef<[u8]>) -> &mut Rig {
        self.feed(Way::Up, bytes.as_ref());
        self
    }

    pub(crate) fn down(&mut self, bytes: impl AsRef<[u8]>) -> &mut Rig {
        self.feed(Way::Down, bytes.as_ref());
        self.feed(Way::Up, b"");
        self
    }

    /// Shows the bytes in pieces of at most `n`.
    pub(crate) fn pieces(&mut self, way: Way, bytes: &[u8], n: usize) {
        for piece in bytes.chunks(n.max(1)) {
            match way {
                Way::Up => self.up(piece),
                Way::Down => self.down(piece),
            };
        }
    }

    fn feed(&mut self, way: Way, bytes: &[u8]) {
        let at = usize::from(way == Way::Down);
        self.held[at].extend_from_slice(bytes);
        self.t += 1;
        while !self.held[at].is_empty() && self.refused.is_none() {
            let asked = self.judge.as_ref().map_or(0, |j| j.asked.len());
            let front = &self.held[at];
            let step = match (way, &mut self.judge) {
                (Way::Down, _) => self.framer.down(front),
                (Way::Up, None) => self.framer.up(front, &mut Unjudged),
                (Way::Up, Some(judge)) => self.framer.up(front, judge),
            };
            let step = match step {
                Ok(step) => step,
                Err(refusal) => {
                    self.refused = Some(refusal.rule);
                    self.passed[1].extend_from_slice(&refusal.answer);
                    return;
                }
            };
            if step.len == 0 {
                return;
            }
            self.promised += u64::from(step.records);
            let taken: Vec<u8> = self.held[at].drain(..step.len).collect();
            let denied = matches!(&step.out, Out::Instead(b) if way == Way::Up && !b.is_empty());
            let judged = self.judge.as_ref().is_some_and(|j| j.asked.len() > asked);
            let found = match way {
                Way::Up => self.session.up(&taken, self.t, judged.then_some(Verdict { denied })),
                Way::Down => self.session.down(&taken, self.t),
            };
            assert!(found.is_ok(), "the session takes what the framer let through: {found:?}");
            self.found.extend(found.unwrap_or_default());
            self.passed[at].extend_from_slice(match &step.out {
                Out::Same => &taken,
                Out::Instead(bytes) => bytes,
            });
        }
    }

    pub(crate) fn framer_idle(&self) -> bool {
        use countersign_wire::stream::Framer as _;
        self.framer.idle()
    }

    /// Ends the connection and lists all results; there are as many as were promised.
    pub(crate) fn end(&mut self) -> Vec<Found> {
        self.found.extend(self.session.end(self.t));
        assert_eq!(self.found.len() as u64, self.promised, "{:#?}", self.found);
        self.found.clone()
    }

    /// As [`Rig::end`]: commands only, as text.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.end().iter().map(brief).collect()
    }
}

pub(crate) fn commands(found: &[Found]) -> Vec<Command> {
    found
        .iter()
        .filter_map(|f| match f {
            Found::Command(c) => Some((**c).clone()),
            _ => None,
        })
        .collect()
}

/// One line a result: name, database, keys, how it ended, reply.
pub(crate) fn brief(found: &Found) -> String {
    match found {
        Found::Command(c) | Found::Sent(c) => {
            let reply = c.reply.as_ref().map_or(String::new(), |r| match &r.error {
                Some(error) => format!(" {}:{error}", r.kind),
                None => format!(" {}", r.kind),
            });
            let how = c.how.map_or(String::new(), |h| format!("{h:?}"));
            let denied = if c.denied { " denied" } else { "" };
            let db = c.database.map_or("?".to_owned(), |d| d.to_string());
            format!("{}@{db} [{}] {how}{reply}{denied}", c.operation, c.keys.join(","))
        }
        Found::Message(m) => {
            format!("{} [{}] {}{}", m.operation, m.channel, m.payload, if m.cut { " cut" } else { "" })
        }
        Found::Progress { replicated } => format!("progress {replicated:?}"),
    }
}

/// A command as an array of bulk strings.
pub(crate) fn cmd(words: &str) -> Vec<u8> {
    args(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

pub(crate) fn args(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
