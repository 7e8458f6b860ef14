//! The table `events` over one snapshot, and the tables made of it or of what the ledger knows.

use crate::error::StoreError;
use crate::hot::Snapshot;
use crate::schema::{COLS, Place, STORED, UTC};
use crate::sealed::{Readers, Sealed};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringViewArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use countersign_event::EntryKind;
use countersign_ledger::Ledger;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{MemTable, TableProvider, TableType, ViewTable, provider_as_source};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, col, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;

/// Name of the table with the hidden columns; the views are made of it.
pub(crate) const RAW: &str = "x_events";
/// Groups of files that are scanned side by side.
pub(crate) const LANES: usize = 2;
/// Most entries that `entries` shows.
const ENTRIES_MAX: usize = 100_000;

/// Which leaves a query looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Segments whose times all lie outside are skipped unread.
    pub(crate) from_ns: Option<i64>,
    pub(crate) to_ns: Option<i64>,
}

impl Range {
    /// Whether a segment can hold anything of it.
    pub(crate) fn touches(&self, segment: &Sealed) -> bool {
        let info = &segment.info;
        info.first < self.end
            && info.end > self.first
            && self.from_ns.is_none_or(|from| info.max_time >= from)
            && self.to_ns.is_none_or(|to| info.min_time < to)
    }
}

/// Stored columns of a snapshot. Whole segments and slices of the tail: the plan above cuts segments.
#[derive(Debug)]
pub(crate) struct EventsTable {
    segments: Vec<Arc<Sealed>>,
    tail: Vec<RecordBatch>,
}

impl EventsTable {
    /// The readable part of a snapshot; names of segments that cannot be read.
    pub(crate) fn new(snapshot: &Snapshot, range: Range) -> (EventsTable, Vec<String>) {
        let (mut segments, mut unreadable) = (Vec::new(), Vec::new());
        for segment in snapshot.segments.iter().filter(|segment| range.touches(segment)) {
            match segment.footer() {
                Ok(_) => segments.push(Arc::clone(segment)),
                Err(error) => {
                    tracing::error!(%error, "a segment cannot be read");
                    unreadable.push(segment.file());
                }
            }
        }
        let tail = snapshot.tail_in(range.first, range.end).into_iter().map(|piece| piece.batch).collect();
        (EventsTable { segments, tail }, unreadable)
    }

    fn sealed_plan(
        &self,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut options = TableParquetOptions::default();
        options.global.pushdown_filters = true;
        options.global.reorder_filters = true;
        // our footers bring the offset index; a column index is not written for most columns
        options.global.enable_page_index = false;
        options.global.bloom_filter_on_read = false;
        let source = ParquetSource::new(Arc::clone(&STORED))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(Readers));
        let mut lanes: Vec<Vec<PartitionedFile>> = vec![Vec::new(); LANES.min(self.segments.len())];
        for (at, segment) in self.segments.iter().enumerate() {
            let file = PartitionedFile::new(segment.file(), segment.info.file_len)
                .with_extension(Arc::clone(segment));
            let lane = at % lanes.len();
            lanes[lane].push(file);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_file_groups(lanes.into_iter().map(FileGroup::new).collect())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&STORED)
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !self.segments.is_empty() {
            plans.push(self.sealed_plan(projection, limit.filter(|_| filters.is_empty()))?);
        }
        if !self.tail.is_empty() || plans.is_empty() {
            let exec = MemorySourceConfig::try_new_exec(
                std::slice::from_ref(&self.tail),
                Arc::clone(&STORED),
                projection.cloned(),
            )?;
            plans.push(exec);
        }
        UnionExec::try_new(plans)
    }
}

/// What each table is, for `SELECT`'s error and the guide.
pub(crate) const TABLES: [&str; 10] =
    ["events", "edges", "identities", "traces", "findings", "sources", "gaps", "checkpoints", "entries", RAW];

/// Views in SQL.
fn view_sql(name: &str) -> Option<&'static str> {
    Some(match name {
        "edges" => {
            "SELECT date_trunc('minute', time) AS minute, coalesce(who, src, src_ip) AS src, \
             coalesce(service, dst, dst_ip) AS dst, kind, sum(\"count\") AS \"count\", \
             sum(CASE WHEN outcome IS NOT NULL AND outcome <> 'success' THEN \"count\" ELSE 0 END) AS failed, \
             sum(CASE WHEN outcome = 'denied' THEN \"count\" ELSE 0 END) AS denied, \
             sum(CASE WHEN tls = 'none' THEN \"count\" ELSE 0 END) AS plaintext, \
             min(coalesce(verified, 0)) AS verified_min, avg(duration_ns) AS duration_ns_avg, \
             max(duration_ns) AS duration_ns_max, sum(req_size) AS req_bytes, sum(rsp_size) AS rsp_bytes, \
             min(time) AS first, max(time) AS last FROM events \
             WHERE rec IN ('interaction', 'outcome', 'cut') GROUP BY 1, 2, 3, 4"
        }
        "identities" => {
            "SELECT who AS id, max(who_kind) AS kind, max(who_name) AS name, max(verified) AS verified_max, \
             min(verified) AS verified_min, sum(\"count\") AS \"count\", min(time) AS first, max(time) AS last, \
             count(DISTINCT service) AS services FROM events \
             WHERE who IS NOT NULL AND rec IN ('interaction', 'outcome', 'cut') GROUP BY who"
        }
        "traces" => {
            "SELECT trace, min(time) AS first, max(time) AS last, count(*) AS events, \
             count(DISTINCT service) AS services, \
             sum(CASE WHEN outcome IS NOT NULL AND outcome <> 'success' THEN 1 ELSE 0 END) AS failed \
             FROM events WHERE trace IS NOT NULL GROUP BY trace"
        }
        "findings" => {
            "SELECT \"index\", event_id(x_eid, agent, stream, seq) AS id, time, \"of\", who, service, resource, \
             sys(exact_0, 'id') AS finding, number(sys(exact_0, 'revision')) AS revision, \
             number(sys(exact_0, 'state')) AS state, number(sys(exact_0, 'severity')) AS severity, \
             number(sys(exact_0, 'confidence')) AS confidence, op AS rule, error AS text \
             FROM x_events WHERE rec = 'finding'"
        }
        _ => return None,
    })
}

/// `events` and [`RAW`] as plans over one table.
pub(crate) struct EventPlans {
    pub(crate) raw: LogicalPlan,
    pub(crate) events: LogicalPlan,
}

/// Plans of the snapshot's events, cut to the range.
pub(crate) fn event_plans(
    state: &SessionState,
    table: EventsTable,
    range: Range,
    cut: bool,
) -> Result<EventPlans> {
    let scan = LogicalPlanBuilder::scan(RAW, provider_as_source(Arc::new(table)), None)?;
    let scan = if cut {
        let (first, end) = (lit(range.first as i64), lit(range.end as i64));
        scan.filter(col("\"index\"").gt_eq(first).and(col("\"index\"").lt(end)))?
    } else {
        scan
    };
    let raw = scan.build()?;
    let shown = COLS.iter().filter(|col| col.place != Place::Hidden);
    let exprs = shown.map(|column| {
        let expr = match column.place {
            Place::View(sql) => state.create_logical_expr(sql, raw.schema())?,
            _ => col(format!("\"{}\"", column.name)),
        };
        Ok(expr.alias(column.name))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let events = LogicalPlanBuilder::from(raw.clone()).filter(col("is_event"))?.project(exprs)?.build()?;
    Ok(EventPlans { raw, events })
}

/// The table of this name. `plan` plans SQL over the tables that are registered already.
pub(crate) fn view(name: &str) -> Option<&'static str> {
    view_sql(name)
}

/// A plan as a table.
pub(crate) fn as_view(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(plan, None))
}

/// A table in memory out of columns.
fn memory(columns: Vec<(&str, ArrayRef)>) -> Result<Arc<dyn TableProvider>> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, array)| array).collect())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn ints(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|n| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX))).collect::<Int64Array>())
}
fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringViewArray>())
}
fn times(values: impl Iterator<Item = u64>) -> ArrayRef {
    let times = values.map(|n| (n != 0).then(|| i64::try_from(n).unwrap_or(i64::MAX)));
    Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone(UTC))
}
fn ids<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Result<ArrayRef> {
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.map(Some), N as i32)?))
}

/// `sources`, `gaps`, `checkpoints`: what the ledger knows of itself.
pub(crate) fn ledger_table(name: &str, ledger: &Ledger, end: u64) -> Option<Result<Arc<dyn TableProvider>>> {
    match name {
        "sources" => Some(sources(ledger)),
        "gaps" => Some(gaps(ledger, end)),
        "checkpoints" => Some(checkpoints(ledger)),
        _ => None,
    }
}

fn sources(ledger: &Ledger) -> Result<Arc<dyn TableProvider>> {
    let all = ledger.sources();
    memory(vec![
        ("source_ref", ints(all.iter().map(|s| Some(u64::from(s.source_ref))))),
        ("agent", texts(all.iter().map(|s| s.agent.as_str()))),
        ("stream", ids(all.iter().map(|s| s.stream))?),
        ("boot_epoch", ints(all.iter().map(|s| Some(s.boot_epoch)))),
        ("seen", ints(all.iter().map(|s| Some(s.seen)))),
        ("recorded", ints(all.iter().map(|s| Some(s.sent)))),
        ("rejected", ints(all.iter().map(|s| Some(s.rejected)))),
        ("dropped", ints(all.iter().map(|s| Some(s.dropped)))),
        ("last_seq", ints(all.iter().map(|s| Some(s.last_seq)))),
        ("last_time", times(all.iter().map(|s| s.last_time_ns))),
        ("last_heartbeat", times(all.iter().map(|s| s.last_heartbeat_ns))),
        ("live", Arc::new(all.iter().map(|s| Some(s.live)).collect::<BooleanArray>())),
        ("via", texts(all.iter().map(|s| s.via.as_str()))),
    ])
}

fn gaps(ledger: &Ledger, end: u64) -> Result<Arc<dyn TableProvider>> {
    let all: Vec<_> = ledger.gaps().into_iter().filter(|gap| gap.index < end).collect();
    memory(vec![
        ("index", ints(all.iter().map(|g| Some(g.index)))),
        ("time", times(all.iter().map(|g| g.time_ns))),
        ("source_ref", ints(all.iter().map(|g| Some(u64::from(g.source_ref))))),
        ("agent", texts(all.iter().map(|g| g.agent.as_str()))),
        ("stream", ids(all.iter().map(|g| g.stream))?),
        ("first_seq", ints(all.iter().map(|g| g.first_seq))),
        ("last_seq", ints(all.iter().map(|g| g.last_seq))),
        ("reason", texts(all.iter().map(|g| g.reason.name()))),
        ("count", ints(all.iter().map(|g| Some(g.count)))),
        ("exact", Arc::new(all.iter().map(|g| Some(g.exact)).collect::<BooleanArray>())),
    ])
}

fn checkpoints(ledger: &Ledger) -> Result<Arc<dyn TableProvider>> {
    let all: Vec<_> = ledger.checkpoint().into_iter().collect();
    memory(vec![
        ("size", ints(all.iter().map(|c| Some(c.size)))),
        ("root", ids(all.iter().map(|c| c.root))?),
        ("note", texts(all.iter().map(|c| c.note.as_str()))),
    ])
}

/// `entries`: the ledger's entries that are no events, with their bodies.
pub(crate) fn entries(
    ledger: &Ledger,
    indexes: &[u64],
) -> std::result::Result<Arc<dyn TableProvider>, StoreError> {
    let mut all = Vec::new();
    for index in indexes.iter().take(ENTRIES_MAX) {
        if let Some(entry) = ledger.entry(*index)? {
            all.push((*index, entry, ledger.body(*index)?));
        }
    }
    let kind = |byte| EntryKind::from_byte(byte).map_or("unknown", EntryKind::name);
    let table = (|| {
        memory(vec![
            ("index", ints(all.iter().map(|(index, ..)| Some(*index)))),
            ("kind", texts(all.iter().map(|(_, entry, _)| kind(entry.kind)))),
            ("source_ref", ints(all.iter().map(|(_, entry, _)| Some(u64::from(entry.source_ref))))),
            ("source_seq", ints(all.iter().map(|(_, entry, _)| Some(entry.source_seq)))),
            ("time", times(all.iter().map(|(_, entry, _)| entry.time_ns))),
            ("commitment", ids(all.iter().map(|(_, entry, _)| entry.commitment))?),
            ("body", Arc::new(all.iter().map(|(_, _, body)| body.as_deref()).collect::<BinaryArray>())),
        ])
    })();
    table.map_err(|error| StoreError::Engine(error.to_string()))
}
