//! Statements and portals of one session, by name, bounded in bytes.
//!
//! Invariants: what was prepared stays known as long as the session has it, down to class and fingerprint;
//! its text is what goes first when the bound is reached; an unknown name gives nothing, never a guess.

use super::facts::{Control, Facts};
use super::message::Bind;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Most bytes of texts and parameters that one session keeps.
pub const KEPT_MAX: usize = 8 << 20;
/// Most bytes that all sessions which share a budget keep.
pub const KEPT_ALL_MAX: usize = 512 << 20;
/// Most statements, and most portals, that one session knows. Further ones stay unknown.
pub const NAMES_MAX: usize = 65_536;
/// Most bytes of a name that a record shows.
pub const NAME_SHOWN: usize = 256;
/// Most bytes of parameters of one Bind that are kept.
pub const PARAMETERS_MAX: usize = 64 << 10;
/// Most bytes of one parameter that are kept.
pub const PARAMETER_MAX: usize = 4 << 10;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// OID of its table; 0 = none.
    pub table: u32,
    /// OID of its type.
    pub type_oid: u32,
}

/// One statement. What is learned of it later is put in once.
#[derive(Debug, Default)]
pub struct Statement {
    /// Name, cut to [`NAME_SHOWN`].
    pub name: String,
    /// What its text says.
    pub facts: Facts,
    /// Its text without literals, or nothing once it made room for others.
    text: Mutex<Option<(Arc<str>, Charge)>>,
    /// Bytes of its text as sent.
    pub length: u64,
    /// Keyed digest of the text as sent, where only its front could be read.
    pub digest: Option<[u8; 32]>,
    /// Type OIDs of parameters as the client declared them.
    pub declared: Vec<u32>,
    /// Type OIDs of parameters as the server told them.
    pub resolved: OnceLock<Vec<u32>>,
    /// Columns of its result.
    pub columns: OnceLock<Arc<[Column]>>,
}

impl Statement {
    /// A statement whose normalised text is `text`.
    pub(super) fn new(name: String, facts: Facts, text: Option<Arc<str>>, length: u64) -> Statement {
        let text = Mutex::new(text.map(|text| (text, Charge::default())));
        Statement { name, facts, text, length, ..Statement::default() }
    }

    /// Its text without literals; `None` = it was cut away to make room.
    pub fn text(&self) -> Option<Arc<str>> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.as_ref().map(|(text, _)| Arc::clone(text))
    }

    fn charge(&self, to: &Budget) -> bool {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((text, charge)) = text.as_mut() else { return false };
        *charge = to.charge(text.len());
        true
    }

    fn drop_text(&self) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Type OID of parameter `at`; 0 = not known.
    pub fn parameter_type(&self, at: usize) -> u32 {
        let resolved = self.resolved.get().and_then(|types| types.get(at));
        resolved.or(self.declared.get(at)).copied().unwrap_or(0)
    }

    /// What it does to the statements of the session.
    pub fn control(&self) -> &Control {
        &self.facts.control
    }
}

/// One portal.
#[derive(Debug, Default)]
pub struct Portal {
    /// The statement that it runs; `None` = unknown.
    pub statement: Option<Arc<Statement>>,
    /// Name of that statement.
    pub prepared: String,
    /// Parameters: formats and values, where they are kept.
    parameters: Mutex<Option<(Box<Kept>, Charge)>>,
    /// Number of parameters.
    pub count: u16,
    /// Bytes of the Bind, until an Execute has counted them as its own.
    bytes: AtomicU64,
    /// Columns of its result.
    pub columns: OnceLock<Arc<[Column]>>,
    /// Rows that it has given so far.
    pub rows: AtomicU64,
}

/// Parameters of a Bind, as many as fitted.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Format code of each.
    pub formats: Vec<u16>,
    /// Value of each; `None` = null.
    pub values: Vec<Option<Value>>,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its bytes, or its front of [`PARAMETER_MAX`].
    pub front: Vec<u8>,
    /// Its whole length, bytes.
    pub length: u32,
}

impl Portal {
    pub(super) fn new(
        statement: Option<Arc<Statement>>,
        prepared: String,
        bind: &Bind<'_>,
        keep: bool,
        bytes: u64,
    ) -> Portal {
        let kept = keep.then(|| {
            let mut room = PARAMETERS_MAX;
            let cut = bind.parameters().map(|value| {
                value.map(|(bytes, length)| Value {
                    front: bytes.get(..PARAMETER_MAX).unwrap_or(bytes).to_vec(),
                    length,
                })
            });
            let fits = cut.take_while(|value| {
                let len = value.as_ref().map_or(8, |v| v.front.len() + 8);
                let fits = len <= room;
                room = room.saturating_sub(len);
                fits
            });
            let values: Vec<_> = fits.collect();
            let formats = (0..values.len()).map(|at| bind.format(at)).collect();
            (Box::new(Kept { formats, values }), Charge::default())
        });
        let parameters = Mutex::new(kept);
        let (count, bytes) = (bind.count, AtomicU64::new(bytes));
        Portal { statement, prepared, parameters, count, bytes, ..Portal::default() }
    }

    /// The parameters; `None` = not kept, or cut away to make room.
    pub fn parameters(&self) -> Option<Box<Kept>> {
        let kept = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|(kept, _)| kept.clone())
    }

    fn charge(&self, to: &Budget) -> bool {
        let mut kept = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((kept, charge)) = kept.as_mut() else { return false };
        *charge = to.charge(kept.weight());
        true
    }

    fn drop_parameters(&self) {
        *self.parameters.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Bytes of its Bind, once.
    pub(super) fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// Adds rows that it gave; returns all.
    pub(super) fn add_rows(&self, rows: u64) -> u64 {
        self.rows.fetch_add(rows, Ordering::Relaxed) + rows
    }
}

impl Kept {
    fn weight(&self) -> usize {
        self.values.iter().flatten().map(|v| v.front.len()).sum::<usize>() + self.values.len() * 40
    }
}

/// Something by name, and when it was put there (number of the message).
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) value: Arc<T>,
    pub(super) number: u64,
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Named<T> {
        Named { value: Arc::clone(&self.value), number: self.number }
    }
}

/// Bytes that a session and all sessions of a budget keep.
#[derive(Clone, Debug, Default)]
struct Budget {
    own: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

/// Bytes taken from a [`Budget`], given back when dropped.
#[derive(Debug, Default)]
struct Charge {
    from: Option<Budget>,
    bytes: usize,
}

impl Budget {
    fn charge(&self, bytes: usize) -> Charge {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
        Charge { from: Some(self.clone()), bytes }
    }

    fn is_over(&self) -> bool {
        let own = self.own.load(Ordering::Relaxed);
        own > KEPT_MAX || own > 0 && self.all.load(Ordering::Relaxed) > KEPT_ALL_MAX
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(budget) = &self.from {
            budget.own.fetch_sub(self.bytes, Ordering::Relaxed);
            budget.all.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
enum Weighty {
    Statement(Weak<Statement>),
    Portal(Weak<Portal>),
}

impl Weighty {
    fn is_alive(&self) -> bool {
        match self {
            Weighty::Statement(statement) => statement.strong_count() > 0,
            Weighty::Portal(portal) => portal.strong_count() > 0,
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) statements: HashMap<Vec<u8>, Named<Statement>>,
    pub(super) portals: HashMap<Vec<u8>, Named<Portal>>,
    /// What has weight, oldest first.
    ages: VecDeque<Weighty>,
    budget: Budget,
}

impl Maps {
    pub(super) fn new(all: Arc<AtomicUsize>) -> Maps {
        let budget = Budget { own: Arc::default(), all };
        Maps { statements: HashMap::new(), portals: HashMap::new(), ages: VecDeque::new(), budget }
    }

    /// Puts a statement in; returns what had its name.
    pub(super) fn prepare(
        &mut self,
        name: &[u8],
        value: Arc<Statement>,
        number: u64,
    ) -> Option<Named<Statement>> {
        if self.statements.len() >= NAMES_MAX && !self.statements.contains_key(name) {
            return None;
        }
        if value.charge(&self.budget) {
            self.aged(Weighty::Statement(Arc::downgrade(&value)));
        }
        self.statements.insert(name.to_vec(), Named { value, number })
    }

    /// Puts a portal in; returns what had its name.
    pub(super) fn bind(&mut self, name: &[u8], value: Arc<Portal>, number: u64) -> Option<Named<Portal>> {
        if self.portals.len() >= NAMES_MAX && !self.portals.contains_key(name) {
            return None;
        }
        if value.charge(&self.budget) {
            self.aged(Weighty::Portal(Arc::downgrade(&value)));
        }
        self.portals.insert(name.to_vec(), Named { value, number })
    }

    fn aged(&mut self, what: Weighty) {
        self.ages.push_back(what);
        // What died by itself is swept out once it is the larger half, so that sweeping stays linear.
        if self.ages.len() > 2 * (self.statements.len() + self.portals.len()) + 64 {
            self.ages.retain(Weighty::is_alive);
        }
        while self.budget.is_over() {
            match self.ages.pop_front() {
                Some(Weighty::Statement(old)) => old.upgrade().map(|old| old.drop_text()),
                Some(Weighty::Portal(old)) => old.upgrade().map(|old| old.drop_parameters()),
                None => return,
            };
        }
    }

    /// The transaction is over: no portal that was bound up to `number` outlives it. (A cursor WITH HOLD
    /// does; it is SQL's, not ours.)
    pub(super) fn transaction_over(&mut self, number: u64) {
        if !self.portals.is_empty() {
            self.portals.retain(|_, named| named.number > number);
        }
    }
}
