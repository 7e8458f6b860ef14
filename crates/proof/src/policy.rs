//! Who has to have signed: the stock C2SP tlog-policy file, and `trust.toml` for what it cannot say.
//!
//! Not a key store and no fallbacks: a line that is not understood refuses the whole file, because a
//! weaker policy than the one written would be accepted silently.

use crate::{Checkpoint, Error, KeyType, Note, VerifierKey};

/// Largest policy or trust file in bytes.
pub const FILE_MAX: usize = 64 << 10;
/// Most logs, most witnesses and most groups in one policy.
pub const NAMES_MAX: usize = 64;

const WHAT: &str = "trust policy";

/// A parsed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Log keys, then witness keys, in the order of their lines.
    keys: Vec<VerifierKey>,
    logs: usize,
    /// Witnesses and groups in the order of their lines; members refer to earlier ones only.
    nodes: Vec<Node>,
    /// Position in `nodes`; `None` = `quorum none`.
    quorum: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    /// Opaque octets, as the specification wants it.
    name: Vec<u8>,
    rule: Rule,
    used: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Position of the witness's key in `keys`, counted from the first witness.
    Witness(usize),
    Group {
        least: usize,
        members: Vec<usize>,
    },
}

/// A checkpoint that a log of the policy signed, and what its cosignatures amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The tree head.
    pub checkpoint: Checkpoint,
    /// vkey of the log key that signed.
    pub log_key: String,
    /// Witnesses with a valid cosignature: name in the policy, time in Unix seconds.
    pub cosigned: Vec<(String, u64)>,
    /// Whether they are enough.
    pub quorum_met: bool,
    /// Signature lines by keys that the policy does not know.
    pub unknown: usize,
}

impl Policy {
    /// From the bytes of a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Policy, Error> {
        if bytes.len() > FILE_MAX {
            return Err(Error::Limit { what: "size of a trust policy in bytes", max: FILE_MAX as u64 });
        }
        if bytes.iter().any(|byte| matches!(byte, 0..=8 | 11..=31 | 127)) {
            return Err(Error::malformed(WHAT, "contains a control character"));
        }
        let mut parser = Parser::default();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let words: Vec<&[u8]> =
                line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with(b"#")) {
                continue;
            }
            parser
                .line(&words)
                .map_err(|why| Error::malformed(WHAT, format!("line {}: {why}", number + 1)))?;
        }
        parser.finish()
    }

    /// A policy of one log and no witness, as the text of a policy file.
    pub fn unwitnessed(log: &VerifierKey) -> String {
        format!("log {log}\nquorum none\n")
    }

    /// Keys of the logs.
    pub fn logs(&self) -> &[VerifierKey] {
        self.keys.get(..self.logs).unwrap_or_default()
    }

    /// Whether the policy asks for no witness at all.
    pub fn is_unwitnessed(&self) -> bool {
        self.quorum.is_none()
    }

    /// The name behind `quorum`, for people.
    pub fn quorum_name(&self) -> String {
        let name = self.quorum.and_then(|at| self.nodes.get(at)).map_or(&b"none"[..], |node| &node.name);
        String::from_utf8_lossy(name).into_owned()
    }

    /// Reads a signed checkpoint. Without a valid signature by a log of the policy, under that log's
    /// origin, it is an integrity error; a missing quorum is not, but said in the answer.
    pub fn accept(&self, note: &[u8]) -> Result<Accepted, Error> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let verified = note.verify(&self.keys)?;
        let signed = verified
            .iter()
            .filter(|line| line.key < self.logs)
            .find_map(|line| self.keys.get(line.key).filter(|key| key.name() == checkpoint.origin));
        let log_key = signed.ok_or(Error::NoKnownSignature)?.to_string();
        let time = |witness: usize| {
            verified.iter().find(|line| line.key == self.logs + witness).map(|line| line.unix_seconds)
        };
        let mut cosigned = Vec::new();
        let mut holds: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            holds.push(match &node.rule {
                Rule::Witness(witness) => {
                    let name = String::from_utf8_lossy(&node.name).into_owned();
                    time(*witness).map(|seconds| cosigned.push((name, seconds))).is_some()
                }
                Rule::Group { least, members } => {
                    members.iter().filter(|member| holds.get(**member) == Some(&true)).count() >= *least
                }
            });
        }
        let quorum_met = self.quorum.is_none_or(|at| holds.get(at) == Some(&true));
        let unknown = note.signatures().iter().filter(|line| self.knows(&line.name, line.key_id)).count();
        let unknown = note.signatures().len() - unknown;
        Ok(Accepted { checkpoint, log_key, cosigned, quorum_met, unknown })
    }

    fn knows(&self, name: &str, id: u32) -> bool {
        self.keys.iter().any(|key| key.name() == name && key.id() == id)
    }
}

#[derive(Default)]
struct Parser {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    nodes: Vec<Node>,
    groups: usize,
    quorum: Option<Option<usize>>,
}

impl Parser {
    fn line(&mut self, words: &[&[u8]]) -> Result<(), String> {
        match words {
            [b"log", vkey] | [b"log", vkey, _] => add_key(&mut self.logs, vkey, KeyType::Ed25519),
            [b"witness", name, vkey] | [b"witness", name, vkey, _] => {
                let position = self.witnesses.len();
                add_key(&mut self.witnesses, vkey, KeyType::Cosignature)?;
                self.define(name, Rule::Witness(position))
            }
            [b"group", name, least, members @ ..] if !members.is_empty() => self.group(name, least, members),
            [b"quorum", name] => self.set_quorum(name),
            [word, ..] => Err(format!(
                "not 'log VKEY [URL]', 'witness NAME VKEY [URL]', 'group NAME all|any|K NAME…' or 'quorum NAME': {}",
                String::from_utf8_lossy(word)
            )),
            [] => Ok(()),
        }
    }

    fn group(&mut self, name: &[u8], least: &[u8], members: &[&[u8]]) -> Result<(), String> {
        if self.groups >= NAMES_MAX {
            return Err(format!("more than {NAMES_MAX} groups"));
        }
        let least = match least {
            b"all" => members.len(),
            b"any" => 1,
            number => str::from_utf8(number)
                .ok()
                .and_then(crate::checkpoint::parse_decimal)
                .and_then(|least| usize::try_from(least).ok())
                .filter(|least| (1..=members.len()).contains(least))
                .ok_or("the threshold is not all, any, or a number from 1 to the number of members")?,
        };
        let mut positions = Vec::with_capacity(members.len());
        for member in members {
            let position = self.find(member)?;
            // A name may count once only, or one witness could fill two seats of a quorum.
            match self.nodes.get_mut(position) {
                Some(node) if !node.used => node.used = true,
                _ => return Err(format!("{} is already a member", String::from_utf8_lossy(member))),
            }
            positions.push(position);
        }
        self.groups += 1;
        self.define(name, Rule::Group { least, members: positions })
    }

    fn set_quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("a second quorum line".to_owned());
        }
        self.quorum = Some(if name == b"none" { None } else { Some(self.find(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &[u8], rule: Rule) -> Result<(), String> {
        if name == b"none" || self.nodes.iter().any(|node| node.name == name) {
            return Err(format!("the name {} is taken", String::from_utf8_lossy(name)));
        }
        self.nodes.push(Node { name: name.to_vec(), rule, used: false });
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Result<usize, String> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .ok_or_else(|| format!("{} is not defined above", String::from_utf8_lossy(name)))
    }

    fn finish(self) -> Result<Policy, Error> {
        let quorum = self.quorum.ok_or_else(|| {
            Error::malformed(WHAT, "no quorum line; write 'quorum none' to ask for no witness")
        })?;
        let (logs, mut keys) = (self.logs.len(), self.logs);
        keys.extend(self.witnesses);
        Ok(Policy { keys, logs, nodes: self.nodes, quorum })
    }
}

fn add_key(keys: &mut Vec<VerifierKey>, vkey: &[u8], kind: KeyType) -> Result<(), String> {
    let vkey = str::from_utf8(vkey).map_err(|_| "the key is not text".to_owned())?;
    let key = VerifierKey::parse(vkey).map_err(|error| error.to_string())?;
    if key.kind() != kind {
        return Err(format!(
            "the key has type {:02x}, but {:02x} is needed here",
            key.kind() as u8,
            kind as u8
        ));
    }
    if keys.iter().any(|known| known.public() == key.public()) {
        return Err("the same key is already listed".to_owned());
    }
    if keys.len() >= NAMES_MAX {
        return Err(format!("more than {NAMES_MAX} keys"));
    }
    keys.push(key);
    Ok(())
}
