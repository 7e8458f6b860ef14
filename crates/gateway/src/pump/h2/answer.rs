//! The gateway's own answers on a stream: problem details (RFC 9457), and for gRPC a response of trailers
//! alone. Fixed texts, never a byte of the request.

use crate::pump::answers;
use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// What a gRPC client makes of an HTTP status (grpc/grpc, `http-grpc-status-mapping`).
pub(super) fn grpc_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// Sends the whole answer. Only a stream that is gone refuses it, which shows elsewhere.
pub(super) fn send(
    respond: &mut SendResponse<Bytes>,
    status: u16,
    why: &'static str,
    grpc: Option<u32>,
    head: bool,
) {
    if let Some(code) = grpc {
        let mut response = Response::new(());
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert("grpc-status", HeaderValue::from(code));
        if let Ok(message) = HeaderValue::try_from(format!("countersign gateway: {why}")) {
            fields.insert("grpc-message", message);
        }
        let _ = respond.send_response(response, true);
        return;
    }
    send_document(respond, status, "application/problem+json", &answers::problem_body(status, why), head);
}

/// Sends an answer that is one document; of a request with HEAD its head alone.
pub(super) fn send_document(
    respond: &mut SendResponse<Bytes>,
    status: u16,
    content_type: &'static str,
    document: &str,
    head: bool,
) {
    let mut response = Response::new(());
    let body = Bytes::copy_from_slice(document.as_bytes());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(mut to) = respond.send_response(response, head)
        && !head
    {
        let _ = to.send_data(body, true);
    }
}
