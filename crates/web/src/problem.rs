//! What goes wrong, as RFC 9457 problem documents for programs and as pages for people.
//!
//! Invariant: never a stack trace, a path of this machine, somebody else's SQL or a secret.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use countersign_ledger::LedgerError;
use countersign_store::StoreError;
use serde_json::json;

/// Where the meaning of each code is written down.
const PROBLEMS: &str = "https://example.org/countersign/problems/";

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Stable word from the table in `docs/reference/api.md`.
    pub(crate) code: &'static str,
    /// What happened, with the value that was wrong.
    pub(crate) detail: String,
    /// What to do next; may be empty.
    pub(crate) hint: String,
    /// Nearest right names, best first.
    pub(crate) suggestions: Vec<String>,
    /// Byte offset and length of the offending part of the filter.
    pub(crate) span: Option<(usize, usize)>,
}

impl Problem {
    /// A problem with the status that belongs to its code.
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Problem {
        let status = match code {
            "query-syntax" | "unknown-field" | "bad-value" | "query-too-large" | "unknown-parameter"
            | "bad-cursor" | "bad-range" => StatusCode::BAD_REQUEST,
            "not-signed-in" => StatusCode::UNAUTHORIZED,
            "not-allowed" | "group-hidden" => StatusCode::FORBIDDEN,
            "not-found" | "not-yet" => StatusCode::NOT_FOUND,
            "erased" | "retired" => StatusCode::GONE,
            "pin-mismatch" => StatusCode::CONFLICT,
            "too-many" => StatusCode::TOO_MANY_REQUESTS,
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            "too-much-memory" => StatusCode::INSUFFICIENT_STORAGE,
            "degraded" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let detail = detail.into();
        Problem { status, code, detail, hint: String::new(), suggestions: Vec::new(), span: None }
    }

    /// The same with the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The title for people, by code.
    pub(crate) fn title(&self) -> &'static str {
        match self.code {
            "query-syntax" => "The query cannot be read",
            "unknown-field" => "There is no such field",
            "bad-value" => "A value does not fit its field",
            "query-too-large" => "The query is too large",
            "unknown-parameter" => "There is no such parameter",
            "bad-cursor" => "The cursor cannot be read",
            "bad-range" => "The range cannot be read",
            "not-signed-in" => "Not signed in",
            "not-allowed" => "Not allowed",
            "group-hidden" => "This field is not yours to see",
            "not-found" => "Not found",
            "not-yet" => "Not in the log yet",
            "erased" => "Erased",
            "retired" => "Retired",
            "pin-mismatch" => "This is not the log that the link was made on",
            "integrity" => "Stored bytes do not verify",
            "too-many" => "Too many requests at once",
            "timeout" => "The query took too long",
            "too-much-memory" => "The query needs too much memory",
            "degraded" => "Not ready",
            _ => "Something failed",
        }
    }

    /// The problem document.
    pub(crate) fn into_json(self, instance: &str) -> Response<Body> {
        let mut body = json!({
            "type": format!("{PROBLEMS}{}", self.code),
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
        });
        if !self.hint.is_empty() {
            body["hint"] = json!(self.hint);
        }
        if let Some((start, len)) = self.span {
            body["span"] = json!({ "start": start, "len": len });
        }
        if !self.suggestions.is_empty() {
            body["suggestions"] = json!(self.suggestions);
        }
        let mut response = Response::new(Body::from(format!("{body}\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if self.code == "too-many" {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let code = error.code();
        match error {
            StoreError::Filter(filter) => {
                let mut problem = Problem::new(code, filter.message.clone());
                problem.suggestions = filter.suggestions.clone();
                problem.span = Some((filter.column.saturating_sub(1), 0));
                problem
            }
            StoreError::Sql { message, suggestions } => {
                Problem { suggestions, ..Problem::new(code, message) }
            }
            StoreError::Segment { .. } | StoreError::Ledger(_) | StoreError::Engine(_) => {
                // These name files of this machine: they go to the log, not to the reader.
                tracing::error!(error = %error, "query failed");
                Problem::new("internal", "the store could not answer")
                    .hint("see the server's log; then run countersign fsck")
            }
            other => Problem::new(code, other.to_string()),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Problem {
        match &error {
            LedgerError::NotFound { .. } => Problem::new("not-found", error.to_string()),
            LedgerError::Limit { .. } | LedgerError::Invalid(_) => {
                Problem::new("bad-value", error.to_string())
            }
            LedgerError::Closed | LedgerError::Stopped(_) => {
                Problem::new("degraded", "the ledger has stopped")
            }
            _ => {
                tracing::error!(error = %error, "ledger failed");
                let code = if error.is_integrity() { "integrity" } else { "internal" };
                Problem::new(code, "the ledger could not answer")
                    .hint("see the server's log; then run countersign fsck")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status_and_title() {
        for (code, status) in [
            ("unknown-field", 400),
            ("not-signed-in", 401),
            ("not-allowed", 403),
            ("not-yet", 404),
            ("erased", 410),
            ("pin-mismatch", 409),
            ("too-many", 429),
            ("integrity", 500),
            ("degraded", 503),
            ("timeout", 504),
            ("too-much-memory", 507),
        ] {
            let problem = Problem::new(code, "x");
            assert_eq!(problem.status.as_u16(), status, "{code}");
            assert_ne!(problem.title(), "", "{code}");
        }
    }
}
