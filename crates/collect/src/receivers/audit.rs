//! The draft of OpenTelemetry's audit signal: `POST /v1/audit`, logs that are answered with a receipt each.
//!
//! Source: OpenTelemetry, proposal 0267 (draft): the request is OTLP's for logs, there is no partial success, each
//! record has an `audit.record.id`, which repeats are known by. Off unless the input's configuration says so: a draft
//! moves. A receipt has the draft's three fields and ours: the leaf's index, and where its proof is. The draft gives no
//! message for it: in JSON it is `receipts` beside what OTLP answers, in Protobuf field 1000 of the response, which
//! clients that do not know it pass over. The hash is over the record as it came ([`crate::otlp::canonical`]):
//! secrets that are removed before it is written are in it. A repeat has no index: an earlier delivery was told.

use super::http::{Push, Reply, again, bytes, come_again, json, text};
use super::port::now;
use crate::Fault;
use crate::draft::json_text;
use crate::intake::{Receipt, Refusal};
use crate::json::Doc;
use crate::otlp::canonical::integrity_hash;
use crate::otlp::map::observe_log;
use crate::otlp::{self, Any, LogRecord, Signal, split_json, split_protobuf};
use crate::proto::Writer;
use http::{HeaderValue, StatusCode};
use std::fmt::Write as _;

/// The field of `ExportLogsServiceResponse` that receipts are in; far beyond those of the specification.
const RECEIPTS: u32 = 1_000;
/// The attribute that names a record.
const RECORD_ID: &str = "audit.record.id";

/// That an input takes audit records, and what their receipts say.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// What a leaf's index is appended to for the address of its proof; empty = none is given.
    pub proofs: String,
}

/// What a receipt says of one record.
struct Told {
    id: String,
    hash: String,
}

pub(super) async fn receive(push: Push, audit: &Audit) -> Reply {
    let kind = push.headers.get("content-type").map(HeaderValue::as_bytes).unwrap_or_default();
    let is_json = match kind.split(|b| *b == b';').next().map(<[u8]>::trim_ascii) {
        Some(b"application/x-protobuf" | b"application/protobuf") => false,
        Some(b"application/json") => true,
        _ => {
            push.port.intake.rejected(1, "content_type");
            let known = "known: application/x-protobuf, application/json\n";
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, known.into());
        }
    };
    let records = if is_json { split_json(Signal::Logs, &push.body) } else { split_protobuf(&push.body) };
    let told = records.and_then(|records| {
        let told = records.iter().map(|record| told(record, is_json)).collect::<Result<Vec<_>, _>>()?;
        Ok((records, told))
    });
    let (records, told) = match told {
        Ok(read) => read,
        Err(fault) => {
            push.port.intake.rejected(1, "audit_request");
            return refused(is_json, &fault.to_string());
        }
    };
    let (port, input, at) = (&push.port, push.port.input_of(&push.deliverer), now());
    let mut events: Vec<_> =
        records.iter().map(|record| observe_log(record, &input, &port.keeper, at)).collect();
    for (event, told) in events.iter_mut().zip(&told) {
        if let Some(capture) = &mut event.body.cap {
            capture.source_id = crate::seal::clipped(told.id.clone(), ID_MAX);
        }
    }
    match port.deliver(events, push.body.len(), true).await {
        Ok(receipt) if receipt.rejected.is_empty() => answer(is_json, &told, &receipt, audit),
        // Those that can be are recorded, and known when the batch comes again without the others.
        Ok(_) => refused(is_json, "a record is larger than an event may be"),
        Err(refusal) => later(is_json, &refusal),
    }
}

/// Longest id that is looked at, bytes: that of an event's source id.
const ID_MAX: usize = 256;

/// What the receipt of one record, in a request of its own, will say.
fn told(record: &[u8], is_json: bool) -> Result<Told, Fault> {
    let request = if is_json {
        otlp::from_json::<LogRecord>(&Doc::parse(record)?.root())?
    } else {
        otlp::from_protobuf::<LogRecord>(record)?
    };
    let (_, _, log) = request.items().next().ok_or(Fault::new(0, "a request without a record"))?;
    let id = log.attributes.iter().rev().find(|pair| pair.key == RECORD_ID);
    match id.and_then(|pair| pair.value.as_ref()) {
        Some(Any::Text(id)) if !id.is_empty() && id.len() <= ID_MAX => {
            Ok(Told { id: id.clone(), hash: integrity_hash(log) })
        }
        _ => Err(Fault::new(0, "a record has no audit.record.id, or one that is longer than 256 bytes")),
    }
}

fn answer(is_json: bool, told: &[Told], receipt: &Receipt, audit: &Audit) -> Reply {
    let at = now();
    let leaves = receipt.leaves.iter().copied().chain(std::iter::repeat(None));
    if is_json {
        let mut out = String::from("{\"receipts\":[");
        for (number, (Told { id, hash }, leaf)) in told.iter().zip(leaves).enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let id = json_text(id);
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{comma}{{\"recordId\":{id},\"integrityHash\":\"{hash}\",\"sinkTimestamp\":\"{at}\""
            );
            if let Some(leaf) = leaf {
                let _ = write!(out, ",\"leafIndex\":\"{leaf}\"");
            }
            if let Some(proof) = proof(audit, leaf) {
                let _ = write!(out, ",\"proofUrl\":{}", json_text(&proof));
            }
            out.push('}');
        }
        out.push_str("]}");
        return json(StatusCode::OK, out);
    }
    let mut response = Writer::new();
    for (Told { id, hash }, leaf) in told.iter().zip(leaves) {
        response.message(RECEIPTS, |one| {
            one.bytes(1, id.as_bytes());
            one.bytes(2, hash.as_bytes());
            one.fixed64(3, at);
            if let Some(leaf) = leaf {
                one.uint_always(4, leaf);
            }
            one.bytes(5, proof(audit, leaf).unwrap_or_default().as_bytes());
        });
    }
    bytes(StatusCode::OK, "application/x-protobuf", response.done())
}

fn proof(audit: &Audit, leaf: Option<u64>) -> Option<String> {
    let leaf = leaf.filter(|_| !audit.proofs.is_empty())?;
    Some(format!("{}{leaf}", audit.proofs))
}

/// A whole request, for good: `google.rpc.Status` INVALID_ARGUMENT.
fn refused(is_json: bool, why: &str) -> Reply {
    status(is_json, StatusCode::BAD_REQUEST, 3, why)
}

fn later(is_json: bool, refusal: &Refusal) -> Reply {
    let why = refusal.to_string();
    if is_json {
        return come_again(refusal, format!("{{\"code\":14,\"message\":{}}}", json_text(&why)));
    }
    let (http, seconds) = again(refusal);
    let mut reply = status(is_json, http, 14, &why);
    if let Some(seconds) = seconds {
        reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    reply
}

fn status(is_json: bool, http: StatusCode, code: u64, why: &str) -> Reply {
    if is_json {
        return json(http, format!("{{\"code\":{code},\"message\":{}}}", json_text(why)));
    }
    let mut status = Writer::new();
    status.uint(1, code);
    status.bytes(2, why.as_bytes());
    bytes(http, "application/x-protobuf", status.done())
}
