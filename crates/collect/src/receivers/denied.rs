//! That a sender was not let in, as an event: who it claims to be, why it did not pass, from where.
//!
//! A refusal is counted (`unauthenticated`) and told: the first of a claimed identity, credential and address before
//! its sender is answered, further ones within a minute by one event with their number ([`crate::intake`], folds).
//! Source: event.md, "failed authentication: the identity is kept at 1, outcome denied". Not a bar against guessing.

use super::access::Refused;
use super::port::{Port, now};
use countersign_event::{
    Capture, CaptureConf, CaptureMode, Class, Endpoint, Event, Kind, Outcome, Rec, TimeBasis, Transport,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long refusals of one kind are folded.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts and records that a sender at `peer`, speaking `proto`, was refused.
pub(super) async fn deny(port: &Arc<Port>, refused: Refused, peer: Option<SocketAddr>, proto: &str) {
    port.intake.rejected(1, "unauthenticated");
    let ip = peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default();
    let kind = format!("{} {} {ip} {}", refused.claimed.id, refused.claimed.cred, refused.label);
    let event = event(port, refused, peer, proto);
    let Some((kind, event)) = port.intake.folds().offer(kind, event) else { return };
    if let Err(refusal) = port.deliver(vec![event], 0, false).await {
        tracing::debug!(%refusal, "that a sender was refused is told later");
        port.intake.folds().count(&kind);
    }
    let port = Arc::clone(port);
    tokio::spawn(async move {
        tokio::time::sleep(WINDOW).await;
        let event = port.intake.folds().close(&kind);
        tell(&port, event.into_iter().collect()).await;
    });
}

/// Tells what was counted, at the end of a server.
pub(super) async fn close(port: &Port) {
    let events = port.intake.folds().close_all();
    tell(port, events).await;
}

async fn tell(port: &Port, events: Vec<Event>) {
    if events.is_empty() {
        return;
    }
    if let Err(refusal) = port.deliver_patiently(events, 0).await {
        tracing::warn!(%refusal, "that senders were refused is in the counters only");
    }
}

fn event(port: &Port, refused: Refused, peer: Option<SocketAddr>, proto: &str) -> Event {
    let mut event = Event::default();
    let now = now();
    let core = &mut event.core;
    core.rec = Some(Rec::Interaction);
    core.kind = Some(Kind::Auth);
    core.class = Some(Class::Authenticate);
    core.outcome = Some(Outcome::Denied);
    "deliver".clone_into(&mut core.op);
    proto.clone_into(&mut core.proto);
    core.t_obs = now;
    (core.t_event, core.t_basis) = (i64::try_from(now).ok(), Some(TimeBasis::Measured));
    core.route.clone_from(&port.input.name);
    if !refused.label.is_empty() {
        core.labels.push(refused.label.to_owned());
    }
    event.who.who = Some(refused.claimed);
    event.target.svc.clone_from(&port.input.name);
    event.content.err = refused.reason;
    let from = &mut *event.peer;
    from.transport = Some(Transport::Tcp);
    from.src = peer.map(|peer| Endpoint {
        ip: Some(peer.ip().to_canonical()),
        port: Some(peer.port()),
        ..Endpoint::default()
    });
    let capture =
        Capture { mode: Some(CaptureMode::Inline), conf: Some(CaptureConf::Full), ..Capture::default() };
    event.body.cap = Some(capture.into());
    event
}
