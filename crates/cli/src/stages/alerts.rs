//! Delivery of findings: the queue under the data directory, sealed with a key of its own.

use crate::config::{self, Config};
use crate::exit::CliError;
use countersign_alert::{AlertConfig, Alerts, Mail, Receiver, ReceiverKind, Syslog, Webhook};
use countersign_ledger::{Ledger, Source, TryRecordError};

/// Starts delivery; its states are recorded by `platform`.
pub(crate) fn start(
    config: &Config,
    ledger: &Ledger,
    webhooks: Vec<Webhook>,
    receivers: Vec<Receiver>,
    platform: Source,
) -> Result<Alerts, CliError> {
    let settings = AlertConfig {
        dir: config.data.join("alert"),
        key: ledger.digest_key().hmac(b"countersign alert queue v1"),
        webhooks,
        link: config.web.map(|address| format!("http://{address}")).unwrap_or_default(),
        ca: None,
        explain: Some(countersign_detect::explain),
        receivers,
        route: config.alerting.route.clone(),
        fallback: config.alerting.fallback.clone(),
        watchdog: config.alerting.watchdog.clone(),
    };
    let on_state = Box::new(move |event| record(&platform, event));
    Alerts::start(settings, on_state).map_err(|e| CliError::Failed(e.to_string()))
}

/// The configuration's receivers with their secrets.
pub(crate) fn receivers(config: &Config) -> Result<Vec<Receiver>, CliError> {
    config.alerting.receivers.iter().map(receiver).collect()
}

fn receiver(of: &config::alert::Receiver) -> Result<Receiver, CliError> {
    let secret = || of.secret.as_ref().map_or(Ok(String::new()), config::SecretSource::read);
    let url = || of.urls.first().cloned().unwrap_or_default();
    let kind = match of.kind.as_str() {
        "slack" => ReceiverKind::Slack { url: secret()? },
        "pagerduty" => ReceiverKind::PagerDuty { routing_key: secret()?, url: url() },
        "alertmanager" => ReceiverKind::Alertmanager { urls: of.urls.clone() },
        "mail" => ReceiverKind::Mail(Mail {
            host: of.host.clone(),
            port: of.port,
            implicit_tls: of.tls == "implicit",
            user: of.user.clone(),
            password: secret()?,
            from: of.from.clone(),
            to: of.to.clone(),
        }),
        "syslog" => ReceiverKind::Syslog(Syslog {
            host: of.host.clone(),
            port: of.port,
            plain: of.tls == "none",
            body: of.body,
        }),
        _ => ReceiverKind::Webhook { url: url(), secrets: vec![secret()?] },
    };
    Ok(Receiver { name: of.name.clone(), kind })
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
