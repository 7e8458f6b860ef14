//! What reads the ledger in a process with role `all`: search, delivery of findings, live tail, detectors, and
//! the dashboard over them. Not in the data path: nothing here can delay or lose an acknowledged event, and an
//! edge has none of it.

use super::reports::Reports;
use super::{alerts, desk, detect, follow, ledger, recover, web, witness};
use crate::config::Config;
use crate::exit::CliError;
use crate::pipeline::Flavour;
use countersign_alert::{Alerts, Receiver, Webhook};
use countersign_gateway::HealthWatch;
use countersign_ledger::{Ledger, Source};
use countersign_store::Store;
use countersign_web::TailHub;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the detectors to have seen the last event before the stop goes on.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Longest wait for the store to have read back what the last run left.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The readers, running.
pub(crate) struct Downstream {
    /// For questions.
    pub(crate) store: Store,
    alerts: Arc<Alerts>,
    hub: TailHub,
    /// Live tail, detection, delivery.
    followers: (follow::Follower, follow::Follower, follow::Follower),
    reports: Reports,
    witnesses: witness::Witnesses,
    web: Option<web::Web>,
}

impl Downstream {
    /// Starts search, delivery and followers.
    pub(crate) fn start(
        config: &Config,
        ledger: &Ledger,
        (webhooks, receivers): (Vec<Webhook>, Vec<Receiver>),
        platform: &Source,
        say: &dyn Fn(&str),
    ) -> Result<Downstream, CliError> {
        // The contents: hot tail in memory, sealed segments, one table `events`.
        let store = ledger::store(config, ledger)?;

        // What the last run left in the log is searchable before anybody can ask: an answer is never a
        // part of one without saying so.
        if !store.wait_visible(ledger.size(), CATCH_UP) {
            let left = ledger.size().saturating_sub(store.visible());
            say(&format!("  store      still reading back {left} entries"));
        }

        // Findings leave by webhooks; what becomes of them returns as platform events.
        let alerts = Arc::new(alerts::start(config, ledger, webhooks, receivers, platform.clone())?);

        // A strict route's intents that a dead run left without an outcome are closed as unknown.
        recover::close(config, &store, platform, say)?;

        // Three followers read committed batches at their own pace: the live tail, the detectors, and delivery of what
        // these found.
        let hub = TailHub::new();
        let tail = follow::tail(ledger, hub.clone())?;
        let deliver = follow::deliver(config, ledger, &store, Arc::clone(&alerts))?;
        let reports = Reports::default();
        let detect = detect::start(config, ledger, &store, reports.clone())?;
        // Who else looks, and what they see.
        let witnesses = witness::start(config, ledger, say)?;
        let (followers, web) = ((tail, detect, deliver), None);
        Ok(Downstream { store, alerts, hub, followers, reports, witnesses, web })
    }

    /// Lets people and commands in: dashboard on loopback, on the one of `sockets` that has its address if any has;
    /// local socket for the command line. `platform` records who reads; `health` is the gateway's.
    pub(crate) fn open(
        &mut self,
        config: &Config,
        flavour: Flavour,
        ledger: &Ledger,
        (platform, health): (Source, HealthWatch),
        mut sockets: Vec<TcpListener>,
        say: &dyn Fn(&str),
    ) -> Result<(), CliError> {
        let (ledger, store, hub) = (ledger.clone(), self.store.clone(), self.hub.clone());
        let desk = Arc::new(desk::AlertDesk::new(
            Arc::clone(&self.alerts),
            store.clone(),
            self.reports.clone(),
            platform.clone(),
        ));
        let parts = web::Parts { ledger, store, hub, source: platform, health, desk };
        self.web = Some(web::start(config, flavour, parts, &mut sockets, say)?);
        Ok(())
    }

    /// A link that signs one browser in, once, within a minute; `None` without a dashboard.
    pub(crate) fn login_link(&self) -> Option<String> {
        self.web.as_ref()?.login_link()
    }

    /// The dashboard's socket, for a process that takes over.
    pub(crate) fn listener(&self) -> Option<TcpListener> {
        self.web.as_ref()?.listener()
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&mut self) {
        if let Some(mut web) = self.web.take() {
            web.stop();
        }
    }

    /// Ends once everything up to the end of the ledger was looked at; gives the counters, one line each.
    pub(crate) fn stop(self, ledger: &Ledger) -> Vec<String> {
        drop(self.witnesses);
        let (mut tail, mut detect, mut deliver) = self.followers;
        detect.finish(ledger.size(), LAST_EVENTS);
        // What was found on the way is told too.
        deliver.finish(ledger.size(), LAST_EVENTS);
        tail.finish(0, Duration::ZERO);
        self.alerts.shutdown();
        let counters = alerts::counters(&self.alerts);
        self.store.shutdown();
        vec![counters]
    }
}
