//! `POST /v1/events`: JSON lines, one JSON array, or lines of any text format, as they are.
//!
//! 200 with the counts when all of it is durable. `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) names
//! a batch: the same key with the same records is recorded once.

use super::http::{Push, Reply, come_again, json};
use super::port::sender;
use crate::draft::json_text;
use crate::json::split;
use http::StatusCode;

/// Longest `Idempotency-Key`, bytes.
const KEY_MAX: usize = 128;

pub(super) async fn receive(push: Push) -> Reply {
    let Push { port, deliverer, headers, body, .. } = push;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let key = key.filter(|key| key.len() <= KEY_MAX && !key.is_empty()).map(str::to_owned);
    let input = port.input_of(&deliverer);
    let mut list = port.observe_batch(records(&body), &input);
    for (number, event) in list.iter_mut().enumerate() {
        sender(event, deliverer.peer);
        if let (Some(key), Some(capture)) = (&key, &mut event.body.cap)
            && capture.source_id.is_empty()
        {
            capture.source_id = format!("{key}/{number}");
        }
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

/// `POST /k8s/audit`: the batches of the Kubernetes API server's audit webhook (`audit.k8s.io/v1` `EventList`). 200
/// when every record is durable, odd ones as raw records: the server repeats a batch as a whole, and drops it after
/// some tries.
pub(super) async fn kubernetes(push: Push) -> Reply {
    let Push { port, deliverer, body, .. } = push;
    let input = port.input_of(&deliverer);
    let mut list = port.observe_batch(batch(&body, Some("items")), &input);
    list.iter_mut().for_each(|event| sender(event, deliverer.peer));
    match port.deliver(list, body.len(), true).await {
        Ok(_) => json(StatusCode::OK, "{}\n".to_owned()),
        Err(refusal) => {
            come_again(&refusal, format!("{{\"message\":{}}}\n", json_text(&refusal.to_string())))
        }
    }
}

/// The records of a body: the elements of an array or of a file of CloudTrail, else its lines.
fn records(body: &[u8]) -> Box<dyn Iterator<Item = &[u8]> + Send + '_> {
    let text = body.trim_ascii_start();
    let member = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    match text.first() {
        Some(b'[') => Box::new(batch(body, None)),
        _ if member.is_some_and(|name| name.starts_with(b"\"Records\"")) => {
            Box::new(batch(body, Some("Records")))
        }
        _ => Box::new(lines(body)),
    }
}

/// The elements of an array; where one does not parse as such, all from there on is one record.
pub(super) fn batch<'a>(body: &'a [u8], member: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> + Send {
    let mut last = 0;
    split::elements(body, member).map(move |element| match element {
        Ok(span) => {
            last = span.end;
            &body[span]
        }
        Err(_) => &body[last..],
    })
}

/// Lines without their ends, empty ones left out.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trimmed = |line: &'_ [u8]| -> usize { line.len() - usize::from(line.ends_with(b"\r")) };
    body.split(|b| *b == b'\n')
        .map(move |line| &line[..trimmed(line)])
        .filter(|line| !line.trim_ascii().is_empty())
}
