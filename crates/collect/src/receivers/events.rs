//! `POST /v1/events`: JSON lines, one JSON array, or lines of any text format, as they are.
//!
//! 200 with the counts when all of it is durable. `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) names
//! a batch: the same key with the same records is recorded once.

use super::http::{Push, Reply, come_again, json};
use super::port::sender;
use crate::draft::json_text;
use http::StatusCode;

/// Longest `Idempotency-Key`, bytes.
const KEY_MAX: usize = 128;

pub(super) async fn receive(push: Push) -> Reply {
    let Push { port, deliverer, headers, body, .. } = push;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let key = key.filter(|key| key.len() <= KEY_MAX && !key.is_empty()).map(str::to_owned);
    let input = port.input_of(&deliverer);
    let mut list = Vec::new();
    for (number, record) in records(&body).into_iter().enumerate() {
        let mut event = port.observe(record, &input);
        sender(&mut event, deliverer.peer);
        if let (Some(key), Some(capture)) = (&key, &mut event.body.cap)
            && capture.source_id.is_empty()
        {
            capture.source_id = format!("{key}/{number}");
        }
        list.push(event);
    }
    match port.deliver(list, body.len(), key.is_some()).await {
        Ok(receipt) => {
            let (recorded, repeated, rejected) = (receipt.recorded, receipt.repeated, receipt.rejected.len());
            let counts =
                format!("{{\"recorded\":{recorded},\"repeated\":{repeated},\"rejected\":{rejected}}}\n");
            json(StatusCode::OK, counts)
        }
        Err(refusal) => come_again(&refusal, format!("{{\"error\":{}}}\n", json_text(&refusal.to_string()))),
    }
}

/// The records of a body: the elements of a JSON array, else its lines, empty ones left out.
fn records(body: &[u8]) -> Vec<&[u8]> {
    lines(body).collect()
}

/// Lines without their ends, empty ones left out.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trimmed = |line: &'_ [u8]| -> usize { line.len() - usize::from(line.ends_with(b"\r")) };
    body.split(|b| *b == b'\n')
        .map(move |line| &line[..trimmed(line)])
        .filter(|line| !line.trim_ascii().is_empty())
}
