//! Delivery of findings: the queue under the data directory, sealed with a key of its own.

use crate::config::Config;
use crate::exit::CliError;
use countersign_alert::{AlertConfig, Alerts, Webhook};
use countersign_ledger::{Ledger, Source, TryRecordError};

/// Starts delivery; its states are recorded by `platform`.
pub(crate) fn start(
    config: &Config,
    ledger: &Ledger,
    webhooks: Vec<Webhook>,
    platform: Source,
) -> Result<Alerts, CliError> {
    let settings = AlertConfig {
        dir: config.data.join("alert"),
        key: ledger.digest_key().hmac(b"countersign alert queue v1"),
        webhooks,
        link: config.web.map(|address| format!("http://{address}")).unwrap_or_default(),
        ca: None,
        explain: Some(countersign_detect::explain),
        ..AlertConfig::default()
    };
    let on_state = Box::new(move |event| record(&platform, event));
    Alerts::start(settings, on_state).map_err(|e| CliError::Failed(e.to_string()))
}

/// Hands a state to the ledger without waiting for the disk. A full intake makes this thread wait, no other.
fn record(platform: &Source, event: countersign_event::Event) {
    let done = || Box::new(|_: Result<countersign_ledger::Ack, _>| {});
    let result = match platform.try_record(vec![event], done()) {
        Ok(()) => Ok(()),
        Err(TryRecordError::Full(events)) => platform.record(events, done()),
        Err(TryRecordError::Ledger(error)) => Err(error),
    };
    if let Err(error) = result {
        tracing::warn!(%error, "a delivery state was not recorded");
    }
}

/// The sums, in one line.
pub(crate) fn counters(alerts: &Alerts) -> String {
    let c = alerts.counters();
    format!(
        "alerts: {} fired = {} delivered + {} merged + {} inhibited + {} silenced + {} dead + {} pending + {} summarised",
        c.fired, c.delivered, c.merged, c.inhibited, c.silenced, c.dead, c.pending, c.summarised
    )
}
