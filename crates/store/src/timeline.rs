//! What happened around one event, joined: the trace, the request id, the request that a statement was probably
//! made for, and what was probably made for a request.
//!
//! Invariants: a row that is joined by an id which the machines sent carries no score; a row that is joined by
//! inference (`docs/decisions/0013-inferred-causes.md`) carries one, and whatever hangs on an inferred row is no
//! more probable than that row. Bounded in rows and in time around the event, so that no question about one
//! event reads a whole ledger. A request's further candidates are seen from the statement's side alone: a
//! column holds the best one.

use crate::engine::{Engine, Job};
use crate::error::StoreError;
use crate::filter::quote;
use crate::hot::Snapshot;
use crate::request::QueryLimits;
use crate::rows::{Cell, CellKind, Column, Complete, Rows, hex, time_text};
use crate::tables::Range;
use countersign_event::Event;
use std::collections::BTreeMap;

/// Most rows of a timeline.
pub const TIMELINE_ROWS_MAX: usize = 200;
/// How far before and after the event a timeline looks, ns: 10 minutes.
pub const TIMELINE_SPAN_NS: i64 = 600 * 1_000_000_000;
/// Most interactions of a timeline for which statements are looked for.
const PARENTS_MAX: usize = 64;
/// Score of what is certain.
const CERTAIN: u64 = 1_000;

/// Columns of a timeline; `joined` and `score` follow.
const COLUMNS: &str = "\"index\", id, time, rec, kind, who, verified, service, op, resource, class, outcome, status, \
     duration_ns, error, statement, trace, corr, conn, conn_seq, cause_conn, cause_seq, cause_score";

/// An interaction by its connection and its number there.
type Place = ([u8; 16], u64);

/// What is known of the event that the timeline is of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seed {
    index: u64,
    time: i64,
    trace: Option<[u8; 16]>,
    corr: String,
    place: Option<Place>,
    causes: Vec<(Place, u64)>,
}

impl Seed {
    pub(crate) fn new(index: u64, event: &Event) -> Seed {
        let (core, links) = (&event.core, &event.links);
        Seed {
            index,
            time: core.t_event.unwrap_or_else(|| i64::try_from(core.t_obs).unwrap_or(i64::MAX)),
            trace: links.trace,
            corr: links.corr.clone(),
            place: links.conn.zip(links.conn_seq),
            causes: links.cause.iter().map(|(conn, seq, score)| ((*conn, *seq), *score)).collect(),
        }
    }
}

/// How a row is joined to the event.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Join {
    how: &'static str,
    /// Thousandths; [`CERTAIN`] where nothing was inferred.
    score: u64,
}

/// The rows of a timeline while they are gathered, each once.
struct Gathered {
    rows: BTreeMap<i64, (Join, Vec<Cell>)>,
    columns: Vec<Column>,
    complete: Complete,
    at: u64,
}

impl Gathered {
    /// Adds an answer; where a row is there already, the surer reason stays.
    fn add(&mut self, found: Rows, join: impl Fn(&Rows, usize) -> Option<Join>) {
        let joins: Vec<_> =
            (0..found.rows.len()).map(|row| (int(&found, row, "index"), join(&found, row))).collect();
        self.complete.gaps = found.complete.gaps;
        self.complete.retired = found.complete.retired;
        self.complete.truncated |= found.complete.truncated || found.rows.len() > TIMELINE_ROWS_MAX;
        self.complete.unreadable.extend(found.complete.unreadable);
        self.at = found.at;
        if self.columns.is_empty() {
            self.columns = found.columns;
        }
        for ((index, join), cells) in joins.into_iter().zip(found.rows) {
            let (Some(index), Some(join)) = (index, join) else { continue };
            if self.rows.get(&index).is_none_or(|(known, _)| known.score < join.score) {
                self.rows.insert(index, (join, cells));
            }
        }
    }

    fn cell(&self, cells: &[Cell], name: &str) -> Option<Cell> {
        cells.get(self.columns.iter().position(|column| column.name == name)?).cloned()
    }

    /// Where the rows stand, with how sure it is that they belong here.
    fn places(&self) -> Vec<(Place, u64)> {
        let place =
            |cells: &[Cell]| Some((id(self.cell(cells, "conn")?)?, number(self.cell(cells, "conn_seq")?)?));
        self.rows.values().filter_map(|(join, cells)| Some((place(cells)?, join.score))).collect()
    }

    /// In order of time; of too many, those nearest to the event.
    fn finish(mut self, seed: &Seed) -> Rows {
        let time = |cells: &[Cell]| match self.cell(cells, "time") {
            Some(Cell::TimeNs(ns)) => ns,
            _ => seed.time,
        };
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .map(|(index, (join, cells))| (time(cells), *index, *join, cells.clone()))
            .collect();
        if rows.len() > TIMELINE_ROWS_MAX {
            rows.sort_by_key(|(ns, index, ..)| (ns.abs_diff(seed.time), *index));
            rows.truncate(TIMELINE_ROWS_MAX);
            self.complete.truncated = true;
        }
        rows.sort_by_key(|(ns, index, ..)| (*ns, *index));
        let rows = rows.into_iter().map(|(_, _, join, mut cells)| {
            cells.push(Cell::Text(join.how.to_owned()));
            cells.push(if join.score < CERTAIN { Cell::UInt(join.score) } else { Cell::Null });
            cells
        });
        let rows = rows.collect();
        let mut columns = self.columns;
        columns.push(Column { name: "joined".to_owned(), kind: CellKind::Text });
        columns.push(Column { name: "score".to_owned(), kind: CellKind::Int });
        self.complete.unreadable.sort();
        self.complete.unreadable.dedup();
        Rows { columns, rows, complete: self.complete, at: self.at }
    }
}

/// The timeline of one event, in order of time. `joined` says how a row belongs to it: `this`, `trace`, `corr`,
/// `cause` (it was probably made for that one), `caused` (that one was probably made for it); `score` is there
/// where that is inferred.
pub(crate) async fn timeline(
    engine: &Engine,
    snapshot: &Snapshot,
    seed: Seed,
    limits: QueryLimits,
) -> Result<Rows, StoreError> {
    let (from, to) = (seed.time.saturating_sub(TIMELINE_SPAN_NS), seed.time.saturating_add(TIMELINE_SPAN_NS));
    let ask = async |condition: String| {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE ({condition}) AND time >= TIMESTAMP '{}' AND time < TIMESTAMP '{}' \
             ORDER BY \"index\" = {} DESC, \"index\" LIMIT {}",
            time_text(from),
            time_text(to),
            seed.index,
            TIMELINE_ROWS_MAX + 1,
        );
        let range = Range { first: 0, end: snapshot.visible, from_ns: Some(from), to_ns: Some(to) };
        engine.run(snapshot, Job { sql, range, limits }).await
    };
    let mut all = Gathered {
        rows: BTreeMap::new(),
        columns: Vec::new(),
        complete: Complete::default(),
        at: snapshot.visible,
    };
    // What the statement was probably made for, and, by way of the best of these, a trace.
    let mut via = (seed.trace, seed.corr.clone(), CERTAIN);
    if !seed.causes.is_empty() {
        let places: Vec<Place> = seed.causes.iter().map(|(place, _)| *place).collect();
        let found = ask(any_of(&places, "conn", "conn_seq")).await?;
        if seed.trace.is_none() && seed.corr.is_empty() {
            via = best_of(&found, &seed).unwrap_or(via);
        }
        all.add(found, |rows, row| {
            let score = score_of(&seed, place(rows, row, "conn", "conn_seq")?)?;
            Some(Join { how: "cause", score })
        });
    }
    let mut same = vec![format!("\"index\" = {}", seed.index)];
    same.extend(via.0.map(|trace| format!("trace = X'{}'", hex(&trace))));
    same.extend((!via.1.is_empty()).then(|| format!("corr = {}", quote(&via.1))));
    let found = ask(same.join(" OR ")).await?;
    all.add(found, |rows, row| {
        if int(rows, row, "index") == i64::try_from(seed.index).ok() {
            return Some(Join { how: "this", score: CERTAIN });
        }
        let by_trace = via.0.is_some() && rows.get(row, "trace").cloned().and_then(id) == via.0;
        Some(Join { how: if by_trace { "trace" } else { "corr" }, score: via.2 })
    });
    // What was probably made for any of these.
    let mut parents = all.places();
    parents.sort_by_key(|(place, score)| (Some(*place) != seed.place, std::cmp::Reverse(*score)));
    all.complete.truncated |= parents.len() > PARENTS_MAX;
    parents.truncate(PARENTS_MAX);
    if !parents.is_empty() {
        let places: Vec<Place> = parents.iter().map(|(place, _)| *place).collect();
        let found = ask(any_of(&places, "cause_conn", "cause_seq")).await?;
        all.add(found, |rows, row| {
            let cause = place(rows, row, "cause_conn", "cause_seq")?;
            let parent =
                parents.iter().filter(|(place, _)| *place == cause).map(|(_, score)| *score).max()?;
            let own = u64::try_from(int(rows, row, "cause_score")?).ok()?.min(CERTAIN - 1);
            Some(Join { how: "caused", score: own * parent / CERTAIN })
        });
    }
    Ok(all.finish(&seed))
}

/// The score with which the event names this interaction as its cause.
fn score_of(seed: &Seed, place: Place) -> Option<u64> {
    seed.causes.iter().find(|(cause, _)| *cause == place).map(|(_, score)| (*score).min(CERTAIN - 1))
}

/// Trace, request id and score of the most probable cause that has either.
fn best_of(found: &Rows, seed: &Seed) -> Option<(Option<[u8; 16]>, String, u64)> {
    let of = |row| {
        let score = score_of(seed, place(found, row, "conn", "conn_seq")?)?;
        let trace = found.get(row, "trace").cloned().and_then(id);
        let corr = match found.get(row, "corr") {
            Some(Cell::Text(corr)) => corr.clone(),
            _ => String::new(),
        };
        (trace.is_some() || !corr.is_empty()).then_some((trace, corr, score))
    };
    (0..found.rows.len()).filter_map(of).max_by_key(|(.., score)| *score)
}

/// SQL: one of these interactions.
fn any_of(places: &[Place], conn: &str, seq: &str) -> String {
    let one = |(id, n): &Place| format!("({conn} = X'{}' AND {seq} = {n})", hex(id));
    places.iter().map(one).collect::<Vec<_>>().join(" OR ")
}

fn place(rows: &Rows, row: usize, conn: &str, seq: &str) -> Option<Place> {
    Some((id(rows.get(row, conn)?.clone())?, number(rows.get(row, seq)?.clone())?))
}

fn int(rows: &Rows, row: usize, name: &str) -> Option<i64> {
    match rows.get(row, name)? {
        Cell::Int(n) => Some(*n),
        _ => None,
    }
}

fn id(cell: Cell) -> Option<[u8; 16]> {
    match cell {
        Cell::Bytes(bytes) => bytes.try_into().ok(),
        _ => None,
    }
}

fn number(cell: Cell) -> Option<u64> {
    match cell {
        Cell::Int(n) => u64::try_from(n).ok(),
        _ => None,
    }
}
