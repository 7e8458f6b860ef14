//! One attempt at one receiver, over HTTP.
//!
//! Invariants: the address is the configured one, whatever a message or an answer says (no redirects, no proxy
//! from the environment); the answer's body is not read; an error never repeats the address, which may hold a
//! secret.

use crate::config::{AlertConfig, AlertError, Checked, Timing};
use crate::queue::read_bounded;
use crate::retry::{Attempt, judge, retry_after};
use crate::sign::{Secret, signature};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider};

/// Where Debian keeps the system's authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Largest file of authorities.
const CA_MAX_BYTES: u64 = 4 << 20;
/// Largest head of an answer.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Sends to one receiver.
pub(crate) struct Sender {
    url: Uri,
    secrets: Vec<Secret>,
    agent: ureq::Agent,
}

impl Sender {
    pub(crate) fn new(checked: Checked, config: &AlertConfig, timing: &Timing) -> Result<Sender, AlertError> {
        let mut builder = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_MAX_BYTES)
            .timeout_connect(Some(timing.connect))
            .timeout_global(Some(timing.whole));
        if checked.url.scheme_str() == Some("https") {
            builder = builder.tls_config(tls(config.ca.as_deref())?);
        }
        Ok(Sender { url: checked.url, secrets: checked.secrets, agent: builder.build().into() })
    }

    /// Sends `body` under `id`, signed for this moment.
    pub(crate) fn send(&self, id: &str, body: &[u8], now_ns: u64) -> Attempt {
        let timestamp_s = now_ns / 1_000_000_000;
        let request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_s.to_string())
            .header("webhook-signature", signature(&self.secrets, id, timestamp_s, body));
        match request.send(body) {
            Ok(answer) => {
                let after = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
                judge(answer.status().as_u16(), after.and_then(|v| retry_after(v, now_ns)))
            }
            Err(error) => Attempt::Failed { status: None, after: None, why: explain(&error) },
        }
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
