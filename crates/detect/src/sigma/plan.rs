//! Rules as expressions over tests: each distinct test of a field stands once, however many rules make it.

use super::fields::Source;
use super::route::Route;
use super::test::{How, Index, Test};
use std::collections::HashMap;

/// What has to hold in one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// A test of one field, by number.
    Test(u32),
    /// A test between two fields, by number.
    Pair(u32),
    /// A log source, by number.
    Route(u32),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    /// At least so many of them; more than one and fewer than all.
    AtLeast(usize, Vec<Expr>),
    Not(Box<Expr>),
}

impl Expr {
    pub(crate) fn all(parts: Vec<Expr>) -> Expr {
        Expr::joined(parts, Expr::All)
    }

    pub(crate) fn any(parts: Vec<Expr>) -> Expr {
        Expr::joined(parts, Expr::Any)
    }

    fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
        if parts.len() == 1 { parts.remove(0) } else { join(parts) }
    }

    /// How many tests it makes.
    pub(crate) fn tests(&self) -> usize {
        match self {
            Expr::Test(_) | Expr::Pair(_) => 1,
            Expr::Route(_) => 0,
            Expr::All(parts) | Expr::Any(parts) | Expr::AtLeast(_, parts) => {
                parts.iter().map(Expr::tests).sum()
            }
            Expr::Not(part) => part.tests(),
        }
    }
}

/// A test between two fields of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) left: Source,
    pub(crate) right: Source,
    pub(crate) how: How,
    pub(crate) cased: bool,
}

/// A field that rules look at, with all their tests of it.
pub(crate) struct Column {
    pub(crate) source: Source,
    pub(crate) index: Index,
}

/// All tests of a rule set.
pub(crate) struct Plan {
    pub(crate) columns: Vec<Column>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) routes: Vec<Route>,
    pub(crate) tests: usize,
}

/// A plan that is being made.
#[derive(Default)]
pub(crate) struct Planner {
    columns: Vec<(Source, Vec<(Test, u32)>)>,
    by_source: HashMap<(u8, String), usize>,
    ids: HashMap<(usize, Test), u32>,
    pairs: Vec<Pair>,
    routes: Vec<Route>,
}

impl Planner {
    /// The expression for a test of a field.
    pub(crate) fn test(&mut self, source: &Source, test: Test) -> Expr {
        let (tag, name) = source.key();
        let key = (tag, name.to_owned());
        let column = *self.by_source.entry(key).or_insert_with(|| {
            self.columns.push((source.clone(), Vec::new()));
            self.columns.len() - 1
        });
        let next = self.ids.len() as u32;
        let id = *self.ids.entry((column, test.clone())).or_insert(next);
        if let Some((_, tests)) = self.columns.get_mut(column).filter(|_| id == next) {
            tests.push((test, id));
        }
        Expr::Test(id)
    }

    pub(crate) fn pair(&mut self, pair: Pair) -> Expr {
        Expr::Pair(place(&mut self.pairs, pair))
    }

    pub(crate) fn route(&mut self, route: Route) -> Expr {
        Expr::Route(place(&mut self.routes, route))
    }

    /// The plan, indexes built.
    ///
    /// # Errors
    /// Texts or patterns that make an automaton too large.
    pub(crate) fn finish(self) -> Result<Plan, String> {
        let tests = self.ids.len();
        let columns = self.columns.into_iter().map(|(source, tests)| {
            let index = Index::new(&tests)?;
            Ok(Column { source, index })
        });
        let columns = columns.collect::<Result<_, String>>()?;
        Ok(Plan { columns, pairs: self.pairs, routes: self.routes, tests })
    }
}

fn place<T: PartialEq>(all: &mut Vec<T>, one: T) -> u32 {
    let at = all.iter().position(|known| *known == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    });
    at as u32
}
