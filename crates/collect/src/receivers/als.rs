//! Envoy's access log service: `envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs`.
//!
//! A stream of messages, the identifier in the first only. The protocol has no acknowledgement of a message, so what
//! holds a fast Envoy back is that nothing is read while a message is being written; what Envoy buffers when the
//! stream ends is lost to us, and to be seen in its own counters. The stream ends UNAVAILABLE when the ledger does
//! not take more; Envoy opens another one.

use super::grpc::{Code, Messages, refuse};
use super::http::Reply;
use super::port::{Deliverer, Port};
use crate::formats::web::als::{ENVOY_ALS, split};
use crate::intake::Refusal;
use crate::observe;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The method's path.
pub(super) const STREAM: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
/// How long a message waits for a ledger that is busy before its stream ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often such a ledger is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn receive(
    port: &Port,
    deliverer: &Deliverer,
    headers: &HeaderMap,
    mut body: Incoming,
    mut stop: watch::Receiver<bool>,
) -> Reply {
    let mut messages = Messages::new(headers);
    let mut identifier = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = stop.wait_for(|stop| *stop) => return refuse(Code::Unavailable, "the input stops"),
        };
        match frame {
            Some(Ok(frame)) => messages.push(frame.data_ref().map(AsRef::as_ref).unwrap_or_default()),
            Some(Err(error)) => {
                tracing::debug!(%error, "a stream of access logs broke off");
                return refuse(Code::Unavailable, "the stream broke off");
            }
            None => return super::grpc::answer(&[]),
        }
        loop {
            let message = match messages.next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err((code, why)) => {
                    port.intake.rejected(1, "grpc_message");
                    return refuse(code, why);
                }
            };
            if let Err(refused) = record(port, deliverer, &message, &mut identifier).await {
                return *refused;
            }
        }
    }
}

/// Makes one message durable.
async fn record(
    port: &Port,
    deliverer: &Deliverer,
    message: &[u8],
    identifier: &mut Vec<u8>,
) -> Result<(), Box<Reply>> {
    let (records, own) = split(message, identifier).map_err(|fault| {
        port.intake.rejected(1, "als_message");
        Box::new(refuse(Code::InvalidArgument, &fault.to_string()))
    })?;
    if let Some(own) = own {
        *identifier = own;
    }
    let (input, now) = (port.input_of(deliverer), super::port::now());
    let events: Vec<_> =
        records.iter().map(|record| observe(record, Some(&ENVOY_ALS), &input, &port.keeper, now)).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match port.deliver(events.clone(), message.len(), false).await {
            Ok(_) => return Ok(()),
            Err(Refusal::Busy(_)) if Instant::now() < deadline => tokio::time::sleep(ASK_AGAIN).await,
            // It may still become durable: sent again here it would be there twice.
            Err(refusal) => return Err(Box::new(refuse(Code::Unavailable, &refusal.to_string()))),
        }
    }
}
