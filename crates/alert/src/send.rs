//! One attempt at one receiver: over HTTP here, over other protocols in `wire.rs`.
//!
//! Invariants: the address is the configured one, whatever a message or an answer says (no redirects, no proxy
//! from the environment); the answer's body is not read; an error never repeats the address, which may hold a
//! secret.

use crate::config::{AlertConfig, AlertError, Mail, Syslog, Target, Timing};
use crate::dial::{CA_MAX_BYTES, SYSTEM_CA, tls_config};
use crate::notice::Notice;
use crate::queue::read_bounded;
use crate::render::{alertmanager, mail, pagerduty, slack, webhook};
use crate::retry::{Attempt, judge, retry_after};
use crate::sign::signature;
use crate::wire;
use rustls::ClientConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider};

/// Largest head of an answer.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Requests under way to one receiver at a time, over HTTP.
const IN_FLIGHT: usize = 4;

/// Sends to one receiver.
pub(crate) struct Sender {
    target: Target,
    agent: ureq::Agent,
    /// For what is not HTTP.
    tls: Option<Arc<ClientConfig>>,
    timing: Timing,
}

impl Sender {
    pub(crate) fn new(target: Target, config: &AlertConfig, timing: &Timing) -> Result<Sender, AlertError> {
        let mut builder = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_MAX_BYTES)
            .timeout_connect(Some(timing.connect))
            .timeout_global(Some(timing.whole));
        if target.url().is_some_and(|url| url.scheme_str() == Some("https")) {
            builder = builder.tls_config(tls(config.ca.as_deref())?);
        }
        let tls = match &target {
            Target::Mail { .. } | Target::Syslog(Syslog { plain: false, .. }) => {
                Some(tls_config(config.ca.as_deref())?)
            }
            _ => None,
        };
        Ok(Sender { target, agent: builder.build().into(), tls, timing: timing.clone() })
    }

    /// Least time between two attempts.
    pub(crate) fn pace(&self) -> Option<Duration> {
        matches!(self.target, Target::Slack { .. }).then_some(self.timing.slack_pace)
    }

    /// Most attempts under way. One where order or a limit of rate matters.
    pub(crate) fn in_flight(&self) -> usize {
        match self.target {
            Target::Webhook { .. } | Target::PagerDuty { .. } => IN_FLIGHT,
            Target::Slack { .. } | Target::Alertmanager { .. } | Target::Mail { .. } | Target::Syslog(_) => 1,
        }
    }

    /// Whether what is open must be told again and again.
    pub(crate) fn repeats(&self) -> bool {
        matches!(self.target, Target::Alertmanager { .. })
    }

    /// Sends a notification under `id`, rendered and signed for this moment.
    pub(crate) fn send(&self, id: &str, notice: &Notice, link: &str, now_ns: u64) -> Attempt {
        let post = |url: &Uri| self.agent.post(url).header("content-type", "application/json");
        match &self.target {
            Target::Webhook { url, secrets } => {
                let body = webhook::body(notice, link);
                let timestamp_s = now_ns / 1_000_000_000;
                let request = post(url)
                    .header("webhook-id", id)
                    .header("webhook-timestamp", timestamp_s.to_string())
                    .header("webhook-signature", signature(secrets, id, timestamp_s, &body));
                answer(request.send(&body), now_ns)
            }
            Target::Slack { url } => answer(post(url).send(slack::body(notice, link)), now_ns),
            Target::PagerDuty { url, routing_key } => {
                answer(post(url).send(pagerduty::body(notice, link, routing_key)), now_ns)
            }
            Target::Alertmanager { url } => answer(post(url).send(alertmanager::body(notice, link)), now_ns),
            Target::Mail { server, to } => self.mail(server, to, id, notice, link),
            Target::Syslog(server) => wire::syslog(server, notice, link, self.tls.as_ref(), &self.timing),
        }
    }

    fn mail(&self, server: &Mail, to: &str, id: &str, notice: &Notice, link: &str) -> Attempt {
        let refused = |why: String| Attempt::Refused { status: 0, why };
        let Some(tls) = &self.tls else { return refused("no TLS".to_owned()) };
        match mail::mail(notice, link, id, &server.from, to) {
            Ok(mail) => wire::mail(server, to, &mail, tls, &self.timing),
            Err(mail::Refused(header)) => refused(format!("its {header} holds a line break")),
        }
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>, now_ns: u64) -> Attempt {
    match result {
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
            judge(answer.status().as_u16(), after.and_then(|v| retry_after(v, now_ns)))
        }
        Err(error) => Attempt::Failed { status: None, after: None, why: explain(&error) },
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConfig, AlertError> {
    let path = ca.map_or_else(|| PathBuf::from(SYSTEM_CA), Path::to_owned);
    let wrong = |why: &str| AlertError::Setting {
        setting: format!("authorities of https receivers, {}", path.display()),
        why: why.to_owned(),
    };
    let pem =
        read_bounded(&path, CA_MAX_BYTES).ok_or_else(|| wrong("cannot be read; install ca-certificates"))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem).filter_map(certificate).collect();
    if certificates.is_empty() {
        return Err(wrong("holds no certificate"));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// The error in words, without the address.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => format!("tls: {error}"),
                None => format!("connection: {}", error.kind()),
            }
        }
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Rustls(error) => format!("tls: {error}"),
        ureq::Error::Tls(error) => format!("tls: {error}"),
        ureq::Error::Protocol(_) => "its answer is not HTTP".to_owned(),
        _ => "no usable answer".to_owned(),
    }
}
