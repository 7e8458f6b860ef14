//! What MCP calls ask for, and whether they may: the same for every carrier that holds a request until its body is
//! complete (HTTP/1.1 in [`super`], streams of HTTP/2 in `pump/h2/held.rs`).
//!
//! Not the holding itself, and no I/O. Invariants: every message of a body is permitted or none passes; what readers
//! could take for different calls has no verdict that could hold, so it is refused too.

use crate::decode::content::{self, Content};
use crate::decode::identify::{self, Caller, Found};
use crate::decode::mcp::{record, routing};
use crate::ring::Decided;
use countersign_event::{Class, Decision, Mode, Shared, Verdict, Who};
use countersign_policy::{Policy, Request};
use countersign_wire::http1::fields::Fields;
use countersign_wire::jsonrpc::{Fault, HELD_MAX, Kind, Message, Reader};
use countersign_wire::mcp::{self, Mismatch};

/// JSON-RPC error codes (section 5.1) and that of revision 2026-07-28 for headers that disagree.
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const HEADER_MISMATCH: i32 = -32_020;
/// Rule by which a request does not pass that asks for another protocol.
const UPGRADE: &str = "mcp-upgrade-undecided";

/// A request whose body is being read before any of it passes.
pub(in crate::pump) struct Call {
    /// Asked for once: a proof counts once.
    who: Shared<Who>,
    purpose: String,
    /// Holds the body against the digest that its sender signed.
    content: Option<Content>,
    size: usize,
    reader: Reader,
}

/// Why a request must not pass.
pub(in crate::pump) struct Refusal {
    pub(in crate::pump) rule: &'static str,
    pub(in crate::pump) status: u16,
    code: i32,
}

impl Refusal {
    /// Of a strict route's request that cannot be recorded.
    pub(in crate::pump) fn unrecorded(rule: &'static str) -> Refusal {
        Refusal { rule, status: 503, code: mcp::UNRECORDED }
    }
}

/// What a complete request came to.
pub(in crate::pump) struct Judged {
    pub(in crate::pump) messages: Vec<Message>,
    /// Set where calls can be denied.
    pub(in crate::pump) decided: Option<Box<Decided>>,
    pub(in crate::pump) refusal: Option<Refusal>,
}

impl Call {
    /// For a request with this method, target and fields; with what its record knows before its verdict, where
    /// calls can be denied (`holds`).
    pub(in crate::pump) fn begin(
        caller: &Caller<'_>,
        head: Option<(&str, &[u8], Fields<'_>)>,
        holds: bool,
    ) -> (Call, Option<Box<Decided>>) {
        let (found, purpose) = if holds { found(caller, head) } else { Default::default() };
        let who = found.who.clone();
        let decided = holds.then(|| {
            let decision = Decision::default();
            let Found { who, failures, content, .. } = found.clone();
            Box::new(Decided { who, decision, failures, content })
        });
        let content = found.content.map(Content::new);
        (Call { who, purpose, content, size: 0, reader: Reader::default() }, decided)
    }

    /// Reads on in the body.
    pub(in crate::pump) fn feed(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
        self.reader.feed(bytes, &mut |_, _| {});
        if let Some(content) = &mut self.content {
            content.update(bytes);
        }
    }

    /// Whether the body is beyond what is held for a verdict.
    pub(in crate::pump) fn is_too_large(&self) -> bool {
        self.size > HELD_MAX
    }

    /// Bytes of the body so far.
    pub(in crate::pump) fn size(&self) -> usize {
        self.size
    }

    /// The body is complete, or [too large](Call::is_too_large); `policy` is set where calls can be denied.
    pub(in crate::pump) fn judge(
        mut self,
        caller: &Caller<'_>,
        policy: Option<&dyn Policy>,
        fields: Option<Fields<'_>>,
    ) -> Judged {
        let Some(policy) = policy else {
            // What is too large to hold is announced as what it is, a request of HTTP.
            let messages = if self.is_too_large() { Vec::new() } else { self.messages().0 };
            return Judged { messages, decided: None, refusal: None };
        };
        let own = if self.is_too_large() {
            Some(Refusal { rule: "message-too-large-to-decide", status: 403, code: mcp::DENIED })
        } else if self.content.as_ref().is_some_and(Content::differs) {
            Some(Refusal { rule: content::RULE, status: 400, code: INVALID_REQUEST })
        } else {
            None
        };
        if let Some(refusal) = own {
            let messages = if self.is_too_large() { self.reader.take() } else { self.messages().0 };
            let decided = Some(denied_by_us(self.who, refusal.rule));
            return Judged { messages, decided, refusal: Some(refusal) };
        }
        let (messages, end) = self.messages();
        let (decided, refusal) = self.verdict(caller, policy, fields, (&messages, end));
        Judged { messages, decided: Some(decided), refusal }
    }

    fn messages(&mut self) -> (Vec<Message>, Result<(), Fault>) {
        let end = self.reader.finish();
        (self.reader.take(), end)
    }

    fn verdict(
        self,
        caller: &Caller<'_>,
        policy: &dyn Policy,
        fields: Option<Fields<'_>>,
        (messages, end): (&[Message], Result<(), Fault>),
    ) -> (Box<Decided>, Option<Refusal>) {
        if let Some(refusal) = unsound(fields, messages, end) {
            return (denied_by_us(self.who, refusal.rule), Some(refusal));
        }
        let mut decision = Decision::default();
        for message in messages.iter().filter(|m| m.kind() != Kind::Response) {
            decision = ask(caller, policy, (&self.who, &self.purpose), message);
            if countersign_policy::refuses(&decision) {
                let refusal = Refusal { rule: "policy", status: 403, code: mcp::DENIED };
                return (verdict_of(self.who, decision), Some(refusal));
            }
        }
        (verdict_of(self.who, decision), None)
    }
}

/// Who sent a request, and why.
fn found(caller: &Caller<'_>, head: Option<(&str, &[u8], Fields<'_>)>) -> (Found, String) {
    let Some((method, target, fields)) = head else {
        let address = caller.identities.address(caller.peer);
        return (identify::who(address, caller.tls, Default::default()), String::new());
    };
    let found = caller.found(method, target, fields);
    let purpose = identify::purpose_of(caller.purpose, Some(fields), found.claims.as_ref());
    (found, purpose)
}

fn ask(
    caller: &Caller<'_>,
    policy: &dyn Policy,
    (who, purpose): (&Who, &str),
    message: &Message,
) -> Decision {
    let method = message.method.as_deref().unwrap_or_default();
    let (resource_type, resource) = record::resource(message);
    let ask = Request {
        protocol: "mcp",
        operation: method,
        resource: &resource,
        resource_type,
        class: mcp::method(method).map(|m| identify::event_class(m.class)).filter(|c| *c != Class::Other(0)),
        ..Request::default()
    };
    caller.decision(who, purpose, ask, policy)
}

/// What makes a verdict impossible: two readers may see two different requests.
fn unsound(fields: Option<Fields<'_>>, messages: &[Message], end: Result<(), Fault>) -> Option<Refusal> {
    if let Err(fault) = end {
        let code = match fault {
            Fault::NotAMessage | Fault::Batch | Fault::Empty => INVALID_REQUEST,
            _ => PARSE_ERROR,
        };
        return Some(Refusal { rule: fault.name(), status: 400, code });
    }
    if messages.iter().any(|m| m.flags.ambiguous()) {
        return Some(Refusal { rule: "ambiguous-json", status: 400, code: INVALID_REQUEST });
    }
    let fields = fields?;
    if switches(fields) {
        return Some(Refusal { rule: UPGRADE, status: 403, code: mcp::DENIED });
    }
    let headers = routing(fields);
    let differs = messages.iter().find_map(|m| headers.mismatch(m, messages.len() > 1));
    differs.map(|m: Mismatch| Refusal { rule: m.name(), status: 400, code: HEADER_MISMATCH })
}

/// What a connection switches to (a WebSocket, HTTP/2, a tunnel) is read when it has passed, if at all: where
/// calls can be denied, nothing switches.
pub(in crate::pump) fn without_upgrade(method: &str, fields: Fields<'_>, decided: &mut Decided) {
    if method == "CONNECT" || switches(fields) {
        let purpose = std::mem::take(&mut decided.decision.purpose);
        let own = denied_by_us(Shared::default(), UPGRADE).decision;
        decided.decision = Decision { purpose, ..own };
    }
}

fn switches(fields: Fields<'_>) -> bool {
    fields.get("upgrade").is_some()
}

/// A decision of the gateway itself.
fn denied_by_us(who: Shared<Who>, rule: &str) -> Box<Decided> {
    let decision = Decision {
        verdict: Some(Verdict::Deny),
        mode: Some(Mode::Enforce),
        reason: rule.to_owned(),
        ..Decision::default()
    };
    verdict_of(who, decision)
}

/// Failures of identities were told with the head.
fn verdict_of(who: Shared<Who>, decision: Decision) -> Box<Decided> {
    Box::new(Decided { who, decision, failures: Vec::new(), content: None })
}

/// The body of a refusal: one error for each request of a batch, else one with the request's id.
pub(in crate::pump) fn words(messages: &[Message], refusal: &Refusal) -> String {
    let why = format!("countersign gateway: {}", refusal.rule);
    let requests = messages.iter().filter(|m| m.kind() == Kind::Request);
    let mut errors: Vec<String> = requests.map(|m| mcp::refusal(m.id.as_ref(), refusal.code, &why)).collect();
    match (errors.pop(), errors.is_empty()) {
        (None, _) => mcp::refusal(None, refusal.code, &why),
        (Some(only), true) => only,
        (Some(last), false) => format!("[{},{last}]", errors.join(",")),
    }
}
