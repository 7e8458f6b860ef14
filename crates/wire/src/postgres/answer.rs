//! What the gateway itself says in a server's place: ErrorResponse messages.
//!
//! Invariant: the texts are constants; nothing of a peer's bytes gets into them.

/// SQLSTATE of a denial: insufficient_privilege.
pub const DENIED_STATE: &str = "42501";
/// Text of a denial.
pub const DENIED: &str = "permission denied by policy (countersign)";
/// SQLSTATE of a broken message: protocol_violation.
pub const VIOLATION_STATE: &str = "08P01";

/// An ErrorResponse of severity ERROR.
pub fn error(state: &str, text: &str) -> Vec<u8> {
    response("ERROR", state, text)
}

/// An ErrorResponse after which the connection ends.
pub fn fatal(state: &str, text: &str) -> Vec<u8> {
    response("FATAL", state, text)
}

fn response(severity: &str, state: &str, text: &str) -> Vec<u8> {
    // S is localised and V is not (protocol 3.0 since server 9.6); both are told.
    let fields = [(b'S', severity), (b'V', severity), (b'C', state), (b'M', text)];
    let body: usize = fields.iter().map(|(_, value)| value.len() + 2).sum();
    let mut out = Vec::with_capacity(body + 6);
    out.push(b'E');
    out.extend_from_slice(&((body + 5) as u32).to_be_bytes());
    for (code, value) in fields {
        out.push(code);
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    out.push(0);
    out
}

/// Text of the statement that stands in for a denied one. No statement begins with an operator.
const FAILS: &str = "!denied by policy (countersign)";
/// Name of a portal that nobody makes.
const NO_PORTAL: &str = "denied by policy (countersign)";

/// A Query that fails.
pub fn failing_query() -> Vec<u8> {
    message(b'Q', &[FAILS.as_bytes(), b"\0"])
}

/// A Parse that fails and has the same effect on the statement `name` as any failing Parse has.
pub fn failing_parse(name: &[u8]) -> Vec<u8> {
    message(b'P', &[name, b"\0", FAILS.as_bytes(), b"\0\0\0"])
}

/// An Execute that fails.
pub fn failing_execute() -> Vec<u8> {
    message(b'E', &[NO_PORTAL.as_bytes(), b"\0\0\0\0\0"])
}

/// A message of `tag` with the payload in pieces.
pub(super) fn message(tag: u8, payload: &[&[u8]]) -> Vec<u8> {
    let body: usize = payload.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(body + 5);
    out.push(tag);
    out.extend_from_slice(&((body + 4) as u32).to_be_bytes());
    payload.iter().for_each(|part| out.extend_from_slice(part));
    out
}
