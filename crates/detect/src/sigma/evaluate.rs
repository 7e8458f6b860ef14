//! The columnar evaluator: a batch of events in, the rows where each expression holds out.
//!
//! Of each field that rules look at, only values not met before are tested, all tests of the field at once; the
//! answers of a value are kept over batches ([`CACHE_MAX_BYTES`]). Answers become bitmaps of rows, and conditions
//! are words of 64 rows. A rule whose log source is absent, or whose first test holds nowhere, costs nothing.
//!
//! Invariant: what holds for an event depends on the event and the plan alone, not on the batch it came in.

use super::bitmap::Bitmap;
use super::plan::{Column, Expr, Pair, Plan};
use super::test;
use super::value::Cell;
use countersign_event::Event;
use std::borrow::Cow;
use std::cell::Cell as Counter;
use std::collections::HashMap;

/// Most events looked at together.
pub const BATCH_MAX: usize = 8_192;
/// Most bytes of values whose answers are kept, all fields together.
pub const CACHE_MAX_BYTES: usize = 64 << 20;
/// Longest text whose answers are kept, in bytes.
const CACHED_MAX_BYTES: usize = 4096;
/// What one kept value costs besides its bytes.
const ENTRY_BYTES: usize = 96;

/// The answers of one field's values.
#[derive(Default)]
struct Answers {
    texts: HashMap<Box<str>, u32>,
    /// By kind and bits.
    numbers: HashMap<(u8, u64), u32>,
    /// The tests that hold, by the numbers in the maps.
    all: Vec<Box<[u32]>>,
    bytes: usize,
}

/// What is kept between batches.
pub(crate) struct Evaluator {
    answers: Vec<Answers>,
    scratch: Vec<u32>,
    /// How often a field's answers were forgotten because they were too many.
    forgotten: u64,
}

/// What holds in one batch.
pub(crate) struct Batch<'b, 'e> {
    plan: &'b Plan,
    events: &'b [&'e Event],
    /// Where each test holds; `None` = nowhere.
    tests: Vec<Option<Bitmap>>,
    routes: Vec<Bitmap>,
    /// Pairs are looked at only when a rule comes to them.
    pairs: Vec<Option<Rows<'static>>>,
    /// Work since it was last asked for: words of 64 rows that were joined, and rows of pairs that were compared.
    work: Counter<u64>,
}

/// Some rows of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Rows<'b> {
    None,
    Every,
    Some(Cow<'b, Bitmap>),
}

impl Evaluator {
    pub(crate) fn new(plan: &Plan) -> Evaluator {
        let answers = plan.columns.iter().map(|_| Answers::default()).collect();
        Evaluator { answers, scratch: Vec::new(), forgotten: 0 }
    }

    /// Lets go of all values: an erasure must reach them too.
    pub(crate) fn forget(&mut self) {
        self.answers.iter_mut().for_each(|answers| *answers = Answers::default());
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Answers all tests for at most [`BATCH_MAX`] events.
    pub(crate) fn batch<'b, 'e>(&mut self, plan: &'b Plan, events: &'b [&'e Event]) -> Batch<'b, 'e> {
        let mut tests = vec![None; plan.tests];
        let room = CACHE_MAX_BYTES / plan.columns.len().max(1);
        for (column, answers) in plan.columns.iter().zip(&mut self.answers) {
            if answers.bytes >= room {
                *answers = Answers::default();
                self.forgotten += 1;
            }
            let mut mark = |row: usize, ids: &[u32]| {
                for id in ids {
                    if let Some(rows) = tests.get_mut(*id as usize) {
                        rows.get_or_insert_with(|| Bitmap::empty(events.len())).set(row);
                    }
                }
            };
            for (row, event) in events.iter().enumerate() {
                match column.source.take(event) {
                    Cell::Missing => mark(row, column.index.of_missing()),
                    Cell::Null => {
                        mark(row, column.index.of_missing());
                        mark(row, column.index.of_any());
                    }
                    cell => {
                        mark(row, column.index.of_any());
                        for single in cell.each() {
                            mark(row, answers.of(column, single, room, &mut self.scratch));
                        }
                    }
                }
            }
        }
        let route = |route: &super::route::Route| {
            let mut rows = Bitmap::empty(events.len());
            events
                .iter()
                .enumerate()
                .filter(|(_, event)| route.takes(event))
                .for_each(|(row, _)| rows.set(row));
            rows
        };
        let routes = plan.routes.iter().map(route).collect();
        Batch { plan, events, tests, routes, pairs: vec![None; plan.pairs.len()], work: Counter::new(0) }
    }
}

impl Answers {
    /// The tests of the column that hold for a single value. Beyond `room` bytes nothing more is kept.
    fn of<'a>(
        &'a mut self,
        column: &Column,
        cell: &Cell<'_>,
        room: usize,
        scratch: &'a mut Vec<u32>,
    ) -> &'a [u32] {
        let number = match cell {
            Cell::Text(text) if text.len() > CACHED_MAX_BYTES => {
                column.index.answer(cell, scratch);
                return scratch;
            }
            Cell::Text(_) | Cell::Missing | Cell::Null | Cell::List(_) => None,
            Cell::Int(n) => Some((0, *n as u64)),
            Cell::Float(n) => Some((1, n.to_bits())),
            Cell::Bool(b) => Some((2, u64::from(*b))),
            Cell::Time(ns) => Some((3, *ns as u64)),
        };
        let known = match (cell, number) {
            (Cell::Text(text), _) => self.texts.get(&**text),
            (_, Some(number)) => self.numbers.get(&number),
            _ => None,
        };
        let at = match known {
            Some(at) => *at,
            None if self.bytes >= room => {
                column.index.answer(cell, scratch);
                return scratch;
            }
            None => {
                column.index.answer(cell, scratch);
                let at = self.all.len() as u32;
                self.all.push(scratch.as_slice().into());
                self.bytes += ENTRY_BYTES + scratch.len() * 4;
                match (cell, number) {
                    (Cell::Text(text), _) => {
                        self.bytes += text.len();
                        self.texts.insert((&**text).into(), at);
                    }
                    (_, Some(number)) => {
                        self.numbers.insert(number, at);
                    }
                    _ => {}
                }
                at
            }
        };
        self.all.get(at as usize).map_or(&[], |ids| ids)
    }
}

impl Batch<'_, '_> {
    /// The rows where an expression holds.
    pub(crate) fn rows(&mut self, expr: &Expr) -> Rows<'_> {
        self.find_pairs(expr);
        self.eval(expr)
    }

    /// Takes the count of work since the last time.
    pub(crate) fn take_work(&self) -> u64 {
        self.work.take()
    }

    fn count(&self, parts: usize) {
        let words = self.events.len().div_ceil(64) * parts;
        self.work.set(self.work.get().saturating_add(words as u64));
    }

    /// Looks at the pairs that an expression needs.
    fn find_pairs(&mut self, expr: &Expr) {
        match expr {
            Expr::Pair(id) => {
                let at = *id as usize;
                if let (Some(slot @ None), Some(pair)) = (self.pairs.get_mut(at), self.plan.pairs.get(at)) {
                    *slot = Some(pair.rows(self.events));
                    self.work.set(self.work.get().saturating_add(self.events.len() as u64));
                }
            }
            Expr::All(parts) | Expr::Any(parts) | Expr::AtLeast(_, parts) => {
                parts.iter().for_each(|part| self.find_pairs(part));
            }
            Expr::Not(part) => self.find_pairs(part),
            Expr::Test(_) | Expr::Route(_) => {}
        }
    }

    fn eval(&self, expr: &Expr) -> Rows<'_> {
        match expr {
            Expr::Test(id) => match self.tests.get(*id as usize) {
                Some(Some(rows)) => Rows::Some(Cow::Borrowed(rows)),
                _ => Rows::None,
            },
            Expr::Route(id) => match self.routes.get(*id as usize) {
                Some(rows) if !rows.is_empty() => Rows::Some(Cow::Borrowed(rows)),
                _ => Rows::None,
            },
            Expr::Pair(id) => self.pairs.get(*id as usize).cloned().flatten().unwrap_or(Rows::None),
            Expr::Not(part) => {
                self.count(1);
                self.eval(part).not()
            }
            Expr::All(parts) => {
                let mut rows = Rows::Every;
                for part in parts {
                    self.count(1);
                    rows = rows.and(self.eval(part));
                    if matches!(rows, Rows::None) {
                        break;
                    }
                }
                rows
            }
            Expr::Any(parts) => {
                self.count(parts.len());
                parts.iter().fold(Rows::None, |rows, part| rows.or(self.eval(part)))
            }
            Expr::AtLeast(least, parts) => self.at_least(*least, parts),
        }
    }

    /// `reached[n]` holds where more than `n` of the parts so far do.
    fn at_least(&self, least: usize, parts: &[Expr]) -> Rows<'_> {
        self.count(parts.len() * least);
        let mut reached = vec![Rows::None; least];
        for part in parts {
            let rows = self.eval(part);
            for n in (0..least).rev() {
                let before = n.checked_sub(1).and_then(|n| reached.get(n)).cloned().unwrap_or(Rows::Every);
                if let Some(slot) = reached.get_mut(n) {
                    *slot = std::mem::replace(slot, Rows::None).or(before.and(rows.clone()));
                }
            }
        }
        reached.pop().unwrap_or(Rows::Every)
    }
}

impl Pair {
    fn rows(&self, events: &[&Event]) -> Rows<'static> {
        let mut rows = Bitmap::empty(events.len());
        for (row, event) in events.iter().enumerate() {
            let (left, right) = (self.left.take(event), self.right.take(event));
            if left.each().any(|a| right.each().any(|b| test::compare(self.how, self.cased, a, b))) {
                rows.set(row);
            }
        }
        if rows.is_empty() { Rows::None } else { Rows::Some(Cow::Owned(rows)) }
    }
}

impl<'b> Rows<'b> {
    fn and(self, other: Rows<'b>) -> Rows<'b> {
        match (self, other) {
            (Rows::None, _) | (_, Rows::None) => Rows::None,
            (Rows::Every, rows) | (rows, Rows::Every) => rows,
            (Rows::Some(mut a), Rows::Some(b)) => {
                a.to_mut().and(&b);
                if a.is_empty() { Rows::None } else { Rows::Some(a) }
            }
        }
    }

    fn or(self, other: Rows<'b>) -> Rows<'b> {
        match (self, other) {
            (Rows::Every, _) | (_, Rows::Every) => Rows::Every,
            (Rows::None, rows) | (rows, Rows::None) => rows,
            (Rows::Some(mut a), Rows::Some(b)) => {
                a.to_mut().or(&b);
                Rows::Some(a)
            }
        }
    }

    fn not(self) -> Rows<'b> {
        match self {
            Rows::None => Rows::Every,
            Rows::Every => Rows::None,
            Rows::Some(mut rows) => {
                rows.to_mut().not();
                if rows.is_empty() { Rows::None } else { Rows::Some(rows) }
            }
        }
    }

    /// The rows of a batch of so many, ascending.
    pub(crate) fn list(&self, rows: usize) -> Vec<usize> {
        match self {
            Rows::None => Vec::new(),
            Rows::Every => (0..rows).collect(),
            Rows::Some(some) => some.rows().collect(),
        }
    }
}
