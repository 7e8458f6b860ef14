//! The receiver of alerts: an independent check of Standard Webhooks, as a customer would write it.
//!
//! Not part of the product: it is one more program of the demo. A message counts only when its signature
//! over `id.timestamp.body` is right and its time is near.

use super::print::Say;
use super::server::{Handler, Incoming, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Path that alerts are posted to.
pub(super) const PATH: &str = "/hooks/countersign";
/// Farthest that a message's time may be from ours, seconds (Standard Webhooks recommends five minutes).
const TOLERANCE_S: u64 = 300;

/// Counts what came.
#[derive(Default)]
pub(super) struct Received {
    /// Messages with a good signature.
    pub(super) good: AtomicU64,
    /// All others.
    pub(super) refused: AtomicU64,
}

/// The receiver's code: `secret` is the bytes behind `whsec_`.
pub(super) fn handler(secret: &[u8], say: Arc<Say>, received: Arc<Received>) -> Handler {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    Arc::new(move |request| {
        if request.path != PATH || !is_signed(&key, request, now_s()) {
            received.refused.fetch_add(1, Ordering::Relaxed);
            say.timed("alerts: a message without a good signature was refused");
            return Reply::new(400, r#"{"error":"not signed by whom we know"}"#);
        }
        received.good.fetch_add(1, Ordering::Relaxed);
        say.timed(&format!("alert by webhook, signature good: {}", explanation(&request.body)));
        Reply::new(204, "")
    })
}

fn is_signed(key: &hmac::Key, request: &Incoming, now_s: u64) -> bool {
    let header = |name: &str| request.head.get(name).unwrap_or_default();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let near = time.parse::<u64>().is_ok_and(|time| time.abs_diff(now_s) <= TOLERANCE_S);
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body].concat();
    let right = |signature: &str| {
        let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        bytes.is_some_and(|bytes| hmac::verify(key, &message, &bytes).is_ok())
    };
    near && !id.is_empty() && header("webhook-signature").split(' ').any(right)
}

/// What the message says, in one line.
fn explanation(body: &[u8]) -> String {
    let message: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| message.pointer(name).and_then(|v| v.as_str()).unwrap_or_default();
    let (rule, words) = (text("/data/rule"), text("/data/explanation"));
    match message.pointer("/data/evidence").and_then(|v| v.as_u64()) {
        Some(index) => format!("{rule}: {words} (event {index})"),
        None => format!("{rule}: {words}"),
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::wire::Head;

    fn request(id: &str, time: u64, signature: &str, body: &[u8]) -> Incoming {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nwebhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: {signature}\r\n\r\n"
        );
        let head = Head::read(&mut head.as_bytes()).unwrap().unwrap();
        Incoming { method: "POST".into(), path: PATH.into(), head, body: body.to_vec() }
    }

    #[test]
    fn only_a_signature_over_the_very_bytes_counts() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let secret =
            countersign_alert::Secret::parse(&format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let body = br#"{"data":{"rule":"first-seen-edge","explanation":"a new edge","evidence":9}}"#;
        let signature = countersign_alert::signature(&[secret], "msg_1", 1000, body);
        let signed = |r: &Incoming| is_signed(&key, r, 1100);
        assert!(signed(&request("msg_1", 1000, &signature, body)));
        assert!(signed(&request("msg_1", 1000, &format!("v1,AAAA {signature}"), body)));
        assert!(!signed(&request("msg_2", 1000, &signature, body)));
        assert!(!signed(&request("msg_1", 1001, &signature, body)));
        assert!(!signed(&request("msg_1", 1000, &signature, b"{}")));
        assert!(!signed(&request("msg_1", 1000, "", body)));
        assert!(!is_signed(&key, &request("msg_1", 1000, &signature, body), 1301), "too old");
        assert_eq!(explanation(body), "first-seen-edge: a new edge (event 9)");
    }
}
