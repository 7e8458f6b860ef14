//! DataFusion, kept in its own threads and behind its bounds: SQL in, rows out.
//!
//! Invariants: only `SELECT` and `EXPLAIN` reach a plan; every query sees one snapshot; time, memory, rows
//! and the number of queries at once are bounded; dropping an answer's future ends its query.

use crate::answer;
use crate::error::{StoreError, nearest};
use crate::filter::column_of;
use crate::hot::{Hot, Snapshot};
use crate::request::QueryLimits;
use crate::rows::{Cell, Complete, Rows};
use crate::tables::{self, EventsTable, LANES, RAW, Range, TABLES};
use crate::udf;
use countersign_ledger::Ledger;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Statement as SqlStatement, TableFactor, Visit, Visitor, visit_expressions_mut,
};
use futures::StreamExt;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Queries running at once.
pub(crate) const RUNNING_MAX: usize = 16;
/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Longest SQL text, in bytes.
const SQL_MAX: usize = 64 << 10;
/// Names that are put right in one statement, at most.
const ALIASES_MAX: usize = 64;

/// The query engine of one store.
pub(crate) struct Engine {
    /// `None` once shut down. Behind a lock because a runtime must not be dropped inside another.
    runtime: std::sync::Mutex<Option<Runtime>>,
    template: SessionState,
    turns: Arc<Semaphore>,
    ledger: Ledger,
    hot: Arc<Hot>,
}

/// A query to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) sql: String,
    pub(crate) range: Range,
    pub(crate) limits: QueryLimits,
}

/// Ends the query when the answer is no longer wanted.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    pub(crate) fn new(threads: usize, ledger: Ledger, hot: Arc<Hot>) -> Result<Engine, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("store-query")
            .enable_time()
            .on_thread_start(lower_priority)
            .build()
            .map_err(|e| StoreError::Engine(format!("cannot start query threads: {e}")))?;
        let mut config = SessionConfig::new().with_target_partitions(LANES).with_batch_size(8_192);
        config.options_mut().sql_parser.map_string_types_to_utf8view = true;
        config.options_mut().execution.parquet.pushdown_filters = true;
        let mut template = SessionStateBuilder::new().with_config(config).with_default_features().build();
        for function in udf::all() {
            datafusion::execution::FunctionRegistry::register_udf(&mut template, Arc::new(function))
                .map_err(|e| engine(&e))?;
        }
        let turns = Arc::new(Semaphore::new(RUNNING_MAX));
        Ok(Engine { runtime: std::sync::Mutex::new(Some(runtime)), template, turns, ledger, hot })
    }

    /// Ends all queries.
    pub(crate) fn shutdown(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    /// Runs work on the query threads; dropping the future ends it.
    pub(crate) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        limits: QueryLimits,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        let handle = {
            let runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            runtime.as_ref().map(|runtime| runtime.handle().clone())
        };
        let turns = Arc::clone(&self.turns);
        let task = handle.map(|handle| {
            handle.spawn(async move {
                let turn = tokio::time::timeout(TURN, turns.acquire_owned()).await;
                let Ok(Ok(_turn)) = turn else { return Err(StoreError::TooMany { running: RUNNING_MAX }) };
                let late = StoreError::Timeout { seconds: limits.time.as_secs() };
                tokio::time::timeout(limits.time, work).await.unwrap_or(Err(late))
            })
        });
        let guard = task.as_ref().map(|task| AbortOnDrop(task.abort_handle()));
        async move {
            let Some(task) = task else { return Err(StoreError::Closed) };
            let answer = task.await;
            drop(guard);
            match answer {
                Ok(answer) => answer,
                Err(error) if error.is_cancelled() => Err(StoreError::Closed),
                Err(error) => Err(StoreError::Engine(format!("a query thread failed: {error}"))),
            }
        }
    }

    /// Plans and runs one statement over one snapshot.
    pub(crate) async fn run(&self, snapshot: &Snapshot, job: Job) -> Result<Rows, StoreError> {
        if job.sql.len() > SQL_MAX {
            return Err(StoreError::Request(format!("the statement is longer than {SQL_MAX} bytes")));
        }
        let memory_mib = job.limits.memory_mib;
        let (context, unreadable) = self.session(snapshot, &job).await?;
        let plan = plan(&context.state(), &job.sql).await?;
        let rows = collect(&context, plan, job.limits).await.map_err(|error| run_error(error, memory_mib))?;
        let (columns, rows, truncated) = rows;
        let complete = Complete {
            gaps: self.gaps(job.range.end),
            retired: self.retired(job.range),
            unreadable,
            truncated,
            ..Complete::default()
        };
        Ok(Rows { columns, rows, complete, at: job.range.end })
    }

    /// Ranges of retired contents that the query would have looked at.
    pub(crate) fn retired(&self, range: Range) -> u64 {
        let ranges = self.ledger.retired();
        ranges.iter().filter(|retired| retired.first < range.end && retired.end > range.first).count() as u64
    }

    fn gaps(&self, end: u64) -> u64 {
        self.ledger.gaps().iter().filter(|gap| gap.index < end).count() as u64
    }

    /// A session that knows the tables this text can mean, over the snapshot, with its own memory bound.
    async fn session(
        &self,
        snapshot: &Snapshot,
        job: &Job,
    ) -> Result<(SessionContext, Vec<String>), StoreError> {
        let pool = Arc::new(GreedyMemoryPool::new(job.limits.memory_mib << 20));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk);
        let runtime = runtime.build_arc().map_err(|e| engine(&e))?;
        let schema = Arc::new(MemorySchemaProvider::new());
        let state = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(catalogs(&schema)?)
            .build();
        let (table, unreadable) = EventsTable::new(snapshot, job.range);
        let cut = job.range.first > 0 || job.range.end < snapshot.visible;
        let plans = tables::event_plans(&state, table, job.range, cut).map_err(|e| engine(&e))?;
        let put = |name: &str, table: Arc<dyn TableProvider>| {
            schema.register_table(name.to_owned(), table).map(|_| ()).map_err(|e| engine(&e))
        };
        put(RAW, tables::as_view(plans.raw))?;
        put("events", tables::as_view(plans.events))?;
        let context = SessionContext::new_with_state(state.clone());
        let text = job.sql.to_lowercase();
        for name in TABLES.iter().filter(|name| text.contains(**name)) {
            if let Some(sql) = tables::view(name) {
                let plan = state.create_logical_plan(sql).await.map_err(|e| engine(&e))?;
                put(name, tables::as_view(plan))?;
            } else if let Some(table) = tables::ledger_table(name, &self.ledger, job.range.end) {
                put(name, table.map_err(|e| engine(&e))?)?;
            } else if *name == "entries" {
                put(name, self.entries(&context).await?)?;
            }
        }
        Ok((context, unreadable))
    }

    async fn entries(&self, context: &SessionContext) -> Result<Arc<dyn TableProvider>, StoreError> {
        let sql = format!("SELECT \"index\" FROM {RAW} WHERE NOT is_event ORDER BY 1");
        let plan = context.state().create_logical_plan(&sql).await.map_err(|e| engine(&e))?;
        let limits = QueryLimits::default();
        let (_, rows, _) =
            collect(context, plan, limits).await.map_err(|e| run_error(e, limits.memory_mib))?;
        let indexes: Vec<u64> = rows
            .iter()
            .filter_map(|row| match row.first() {
                Some(Cell::Int(index)) => u64::try_from(*index).ok(),
                _ => None,
            })
            .collect();
        tables::entries(&self.ledger, &indexes)
    }

    pub(crate) fn hot(&self) -> &Arc<Hot> {
        &self.hot
    }
}

/// Queries give way to ingest and sealing; where the system refuses, they do not. On Linux "this process"
/// is this thread.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(None, 5);
}

fn catalogs(schema: &Arc<MemorySchemaProvider>) -> Result<Arc<dyn CatalogProviderList>, StoreError> {
    let catalog = MemoryCatalogProvider::new();
    catalog
        .register_schema("public", Arc::clone(schema) as Arc<dyn SchemaProvider>)
        .map_err(|e| engine(&e))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog("datafusion".to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

pub(crate) fn engine(error: &DataFusionError) -> StoreError {
    StoreError::Engine(error.to_string())
}

/// Text to plan. Names of `event.md` that are not columns are put right; anything but a question is refused.
async fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan, StoreError> {
    let dialect = state.config().options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(sql, &dialect).map_err(|e| sql_error(&e))?;
    only_questions(&statement)?;
    rename_dotted(&mut statement);
    for _ in 0..ALIASES_MAX {
        match state.statement_to_plan(statement.clone()).await {
            Ok(plan) => {
                let options = SQLOptions::new()
                    .with_allow_ddl(false)
                    .with_allow_dml(false)
                    .with_allow_statements(false);
                options.verify_plan(&plan).map_err(|e| StoreError::NotAllowed(short(&e)))?;
                return Ok(plan);
            }
            Err(error) => {
                let missing = missing_field(&error);
                if !missing.is_some_and(|name| rename(&mut statement, &name)) {
                    return Err(sql_error(&error));
                }
            }
        }
    }
    Err(StoreError::Sql { message: "too many unknown names".to_owned(), suggestions: Vec::new() })
}

fn only_questions(statement: &Statement) -> Result<(), StoreError> {
    match statement {
        Statement::Statement(inner) if matches!(inner.as_ref(), SqlStatement::Query(_)) => Ok(()),
        Statement::Explain(explain) => only_questions(&explain.statement),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or("this").to_uppercase();
            Err(StoreError::NotAllowed(verb))
        }
    }
}

fn missing_field(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } => Some(field.flat_name()),
            _ => None,
        },
        _ => None,
    }
}

/// Replaces a bare alias by its column wherever it stands as an identifier; whether it did.
fn rename(statement: &mut Statement, missing: &str) -> bool {
    let bare = missing.rsplit('.').next().unwrap_or(missing).to_owned();
    let Some(column) = column_of(&bare).filter(|column| *column != bare) else { return false };
    let mut changed = false;
    each_expression(statement, |expr| {
        let ident = match expr {
            SqlExpr::Identifier(ident) => Some(ident),
            SqlExpr::CompoundIdentifier(parts) => parts.last_mut(),
            _ => None,
        };
        if let Some(ident) = ident.filter(|ident| ident.value == bare) {
            *ident = Ident::with_quote('"', column);
            changed = true;
        }
    });
    changed
}

/// Replaces `group.name` by its column, unless the query itself calls a table so.
fn rename_dotted(statement: &mut Statement) {
    let Some(inner) = query(statement) else { return };
    let mut named = TableNames::default();
    let _ = inner.visit(&mut named);
    each_expression(statement, |expr| {
        if let SqlExpr::CompoundIdentifier(parts) = expr
            && parts.first().is_some_and(|first| !named.0.contains(&first.value))
        {
            let dotted = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            if let Some(column) = column_of(&dotted) {
                *expr = SqlExpr::Identifier(Ident::with_quote('"', column));
            }
        }
    });
}

/// Names and aliases of the tables of a query.
#[derive(Default)]
struct TableNames(BTreeSet<String>);

impl Visitor for TableNames {
    type Break = ();
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            TableFactor::Table { name, alias, .. } => {
                self.0.extend(name.0.last().map(ToString::to_string));
                alias
            }
            TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => alias,
            _ => &None,
        };
        self.0.extend(alias.as_ref().map(|alias| alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// The question inside a statement.
fn query(statement: &Statement) -> Option<&SqlStatement> {
    match statement {
        Statement::Statement(inner) => Some(inner.as_ref()),
        Statement::Explain(explain) => query(&explain.statement),
        _ => None,
    }
}

fn each_expression(statement: &mut Statement, mut change: impl FnMut(&mut SqlExpr)) {
    match statement {
        Statement::Statement(inner) => {
            let _ = visit_expressions_mut(inner.as_mut(), |expr| {
                change(expr);
                ControlFlow::<()>::Continue(())
            });
        }
        Statement::Explain(explain) => each_expression(&mut explain.statement, change),
        _ => {}
    }
}

/// The first line of an error, without the engine's own prefixes.
fn short(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let line = text.lines().next().unwrap_or_default();
    ["Error during planning: ", "SQL error: ", "Schema error: ", "Execution error: "]
        .iter()
        .fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line))
        .to_owned()
}

fn sql_error(error: &DataFusionError) -> StoreError {
    let message = short(error);
    let names = crate::schema::COLS.iter().map(|col| col.name);
    if let Some(missing) = missing_field(error) {
        let bare = missing.rsplit('.').next().unwrap_or(&missing);
        let suggestions = nearest(&bare.to_lowercase(), names);
        return StoreError::Sql { message: format!("there is no column `{missing}`"), suggestions };
    }
    if let Some(table) = message.strip_prefix("table '").and_then(|rest| rest.split('\'').next()) {
        let bare = table.rsplit('.').next().unwrap_or(table);
        let shown = TABLES.iter().copied().filter(|name| *name != RAW);
        let suggestions = nearest(bare, shown.clone());
        let message = format!("there is no table `{bare}`; tables: {}", shown.collect::<Vec<_>>().join(", "));
        return StoreError::Sql { message, suggestions };
    }
    StoreError::Sql { message, suggestions: Vec::new() }
}

fn run_error(error: DataFusionError, memory_mib: usize) -> StoreError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => StoreError::TooMuchMemory { mib: memory_mib },
        DataFusionError::Execution(what) => {
            StoreError::Sql { message: what.clone(), suggestions: Vec::new() }
        }
        DataFusionError::ArrowError(..) => {
            StoreError::Sql { message: short(&error), suggestions: Vec::new() }
        }
        DataFusionError::ParquetError(_) => {
            StoreError::Integrity { what: format!("a segment does not read: {}", short(&error)) }
        }
        _ => StoreError::Engine(short(&error)),
    }
}

type Collected = (Vec<crate::rows::Column>, Vec<Vec<Cell>>, bool);

async fn collect(
    context: &SessionContext,
    plan: LogicalPlan,
    limits: QueryLimits,
) -> Result<Collected, DataFusionError> {
    let physical = context.state().create_physical_plan(&plan).await?;
    let mut stream = execute_stream(physical, context.task_ctx())?;
    let columns = answer::columns(&stream.schema());
    let (mut rows, mut bytes, mut truncated) = (Vec::new(), 0, false);
    while let Some(batch) = stream.next().await {
        let room = limits.rows - rows.len();
        if !answer::append(&batch?, room, &mut bytes, &mut rows) {
            truncated = true;
            break;
        }
    }
    Ok((columns, rows, truncated))
}
