//! What a dead run of a strict route left open: an intent without an outcome. Each is closed by a `cut` that
//! says that the outcome is unknown. Asked of the search after an unclean start only; running it twice adds
//! nothing, since the `cut` of the first time answers the question of the second.

use crate::access::directory::store_error;
use crate::exit::CliError;
use countersign_event::{Event, Rec};
use countersign_ledger::Source;
use countersign_store::{SqlRequest, Store};

/// Most intents closed at one start; the next start closes the next ones.
const CLOSED_MAX: usize = 100_000;
/// Why the outcome is unknown.
const WHY: &str = "the gateway ended before the outcome was known";

/// Closes open intents; gives their number.
pub(crate) fn close_intents(store: &Store, source: &Source) -> Result<usize, CliError> {
    let question = format!(
        "select i.\"index\" from events i left anti join \
         (select \"of\" from events where rec in ('outcome', 'cut') and \"of\" is not null) o on i.id = o.\"of\" \
         where i.rec = 'intent' order by i.\"index\" limit {CLOSED_MAX}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        CliError::new("cannot look for intents without an outcome", e, "close other programs and try again")
    })?;
    let rows = runtime.block_on(store.sql(SqlRequest::new(&question))).map_err(store_error)?;
    let mut cuts = Vec::new();
    for line in rows.to_ndjson().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let Some(index) = row.get("index").and_then(serde_json::Value::as_u64) else { continue };
        let stored = store.get(index).map_err(store_error)?;
        cuts.extend(stored.and_then(|s| s.event).map(|intent| cut(&intent)));
    }
    let closed = cuts.len();
    if closed > 0 {
        source.record_wait(cuts).map_err(crate::access::directory::ledger_error)?;
    }
    Ok(closed)
}

/// The same call to the same target by the same caller, whose end nobody saw.
fn cut(intent: &Event) -> Event {
    let mut event = Event::default();
    event.core.t_obs = u64::try_from(crate::access::time::now_ns()).unwrap_or(0);
    event.core.t_event = intent.core.t_event;
    event.core.t_basis = intent.core.t_basis;
    event.core.rec = Some(Rec::Cut);
    event.core.kind = intent.core.kind;
    event.core.proto.clone_from(&intent.core.proto);
    event.core.op.clone_from(&intent.core.op);
    event.core.class = intent.core.class;
    event.core.route.clone_from(&intent.core.route);
    event.who = intent.who.clone();
    event.target = intent.target.clone();
    event.links.of = Some(intent.core.eid);
    event.links.conn = intent.links.conn;
    event.links.conn_seq = intent.links.conn_seq;
    event.content.err = WHY.to_owned();
    event
}
