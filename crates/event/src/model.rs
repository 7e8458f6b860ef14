//! The event as Rust types, one struct a group. `docs/reference/fields.md` has the prose; `fields.rs`
//! is the registry with ids and bounds. Absent = `None`, empty text, empty list or empty map, which are
//! never written; `other` carries map keys that a newer version wrote, ascending by key.

use crate::cbor::Value;
use crate::enums::*;
use crate::shared::{Other, Shared};
use std::net::IpAddr;

/// One interaction, or one of the few other kinds of record named by [`Rec`]. Events wait in queues by the
/// thousand, so one is kept within a kibibyte: what many have in common is [`Shared`], what is rare is boxed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Group 0: what happened. Nothing here may ever need erasing.
    pub core: Core,
    /// Group 1: which machine did it.
    pub who: Shared<Who>,
    /// Group 2: between which addresses.
    pub peer: Shared<Peer>,
    /// Group 3: to what.
    pub target: Shared<Target>,
    /// Group 4: in which context.
    pub links: Links,
    /// Group 5: with what content.
    pub content: Content,
    /// Group 6: sizes and digests of payloads, and how it was captured.
    pub body: Shared<Body>,
}

/// A map with registered unsigned keys (`detail`, `sys`), ascending by key, no duplicates.
pub type KeyedMap = std::collections::BTreeMap<u64, Value>;

/// Group 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Core {
    /// 0.1 event id: [`crate::eid`].
    pub eid: [u8; 16],
    /// 0.2 observer: SPIFFE id or enrolled collector input; 1 to 256 bytes.
    pub agent: String,
    /// 0.3 one run (boot epoch) of the observer.
    pub stream: [u8; 16],
    /// 0.4 +1 per stream from 1; a hole is a blind spot.
    pub seq: u64,
    /// 0.5 observer's clock at observation, UTC ns.
    pub t_obs: u64,
    /// 0.6 start of the interaction, UTC ns.
    pub t_event: Option<i64>,
    /// 0.7 where `t_event` came from.
    pub t_basis: Option<TimeBasis>,
    /// 0.8 estimated offset of the source's clock and its error bound, ns.
    pub skew: Option<(i64, u64)>,
    /// 0.9 start to end, ns.
    pub dur: Option<u64>,
    /// 0.10 what this record is.
    pub rec: Option<Rec>,
    /// 0.11 family of interaction.
    pub kind: Option<Kind>,
    /// 0.12 protocol and version, `http/1.1`; ≤ 64 bytes.
    pub proto: String,
    /// 0.13 native verb; ≤ 256 bytes.
    pub op: String,
    /// 0.14 operation class.
    pub class: Option<Class>,
    /// 0.15 how it ended; `None` = unknown.
    pub outcome: Option<Outcome>,
    /// 0.16 native status: code space and code.
    pub status: Option<(StatusSpace, String)>,
    /// 0.17 what the policy said.
    pub decision: Option<Box<Decision>>,
    /// 0.18 data classes and operator's labels; set, ≤ 32 of ≤ 64 bytes. Encoded sorted.
    pub labels: Vec<String>,
    /// 0.19 tenant; ≤ 128 bytes.
    pub tenant: String,
    /// 0.20 interactions folded into this record; `None` = 1. `Some(1)` is refused by the encoder.
    pub n: Option<u64>,
    /// 0.21 latency parts, ns: queued, time to first byte, upstream.
    pub lat: Option<[u64; 3]>,
    /// 0.22 digest prefix of the configuration in force.
    pub config: Option<[u8; 8]>,
    /// 0.23 operator's route or input name; ≤ 128 bytes.
    pub route: String,
    /// 0.24 written by the platform alone, with [`Rec::Finding`] and [`Rec::Platform`].
    pub sys: KeyedMap,
    /// Keys unknown to this version.
    pub other: Other,
}

/// 0.17 what the policy said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// 0 verdict.
    pub verdict: Option<Verdict>,
    /// 1 mode.
    pub mode: Option<Mode>,
    /// 2 policies that decided; set.
    pub policies: Vec<String>,
    /// 3 reason, in the policy's own words.
    pub reason: String,
    /// 4 purpose of the call.
    pub purpose: String,
    /// Keys unknown to this version.
    pub other: Other,
}

/// Group 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// 1.0 the actor that made the call.
    pub who: Option<Principal>,
    /// 1.1 on whose behalf, nearest first; ≤ 16.
    pub obo: Vec<Principal>,
    /// 1.2 other identities seen on the same interaction; ≤ 8.
    pub also: Vec<Principal>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// An identity and how it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// 0 canonical URI, ≤ 1,024 bytes.
    pub id: String,
    /// 1 kind of actor.
    pub kind: Option<PrincipalKind>,
    /// 2 method.
    pub auth: Option<Auth>,
    /// 3 how strongly it was proved; required.
    pub verified: Verified,
    /// 4 issuer or trust domain.
    pub iss: String,
    /// 5 public credential id; never the secret, never the token; ≤ 256 bytes.
    pub cred: String,
    /// 6 credential's end of life, Unix seconds.
    pub cred_exp: Option<i64>,
    /// 7 service name.
    pub svc: String,
    /// 8 instance.
    pub inst: String,
    /// 9 groups; set, ≤ 64.
    pub groups: Vec<String>,
    /// 10 relation, in `obo` only.
    pub rel: Option<Relation>,
    /// 11 display name.
    pub name: String,
    /// 12 where it was read.
    pub from: Option<IdentityFrom>,
    /// Keys unknown to this version.
    pub other: Other,
}

impl Principal {
    /// A principal with nothing but an id and its level.
    pub fn new(id: impl Into<String>, verified: Verified) -> Principal {
        Principal {
            id: id.into(),
            verified,
            kind: None,
            auth: None,
            iss: String::new(),
            cred: String::new(),
            cred_exp: None,
            svc: String::new(),
            inst: String::new(),
            groups: Vec::new(),
            rel: None,
            name: String::new(),
            from: None,
            other: Other::default(),
        }
    }
}

/// Group 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// 2.0 caller.
    pub src: Option<Endpoint>,
    /// 2.1 the address it called.
    pub dst: Option<Endpoint>,
    /// 2.2 the upstream chosen.
    pub up: Option<Endpoint>,
    /// 2.3 transport.
    pub transport: Option<Transport>,
    /// 2.4 TLS between caller and observer.
    pub tls: Option<Tls>,
    /// 2.5 forwarded chain, client first, each with its level; ≤ 32.
    pub hops: Vec<(String, Verified)>,
    /// 2.6 TLS client fingerprint.
    pub ja4: String,
    /// 2.7 retries.
    pub retries: Option<u64>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// 0 address; an IPv4-mapped IPv6 address is written as IPv4.
    pub ip: Option<IpAddr>,
    /// 1 port.
    pub port: Option<u16>,
    /// 2 host name.
    pub host: String,
    /// 3 workload.
    pub workload: String,
    /// 4 namespace.
    pub ns: String,
    /// 5 zone.
    pub zone: String,
    /// 6 node.
    pub node: String,
    /// Keys unknown to this version.
    pub other: Other,
}

/// 2.4 TLS session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// 0 protocol version, `0x0304` for 1.3.
    pub version: Option<u64>,
    /// 1 cipher suite.
    pub cipher: Option<u64>,
    /// 2 server name.
    pub sni: String,
    /// 3 application protocol.
    pub alpn: String,
    /// 4 SHA-256 of the peer's certificate.
    pub peer_cert: Option<[u8; 32]>,
    /// 5 session was resumed.
    pub resumed: Option<bool>,
    /// 6 key exchange group.
    pub group: Option<u64>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// Group 3, and each element of its `more`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// 3.0 service called; ≤ 256 bytes.
    pub svc: String,
    /// 3.1 resource as a template, `/orders/{id}`; ≤ 1,024 bytes.
    pub res: String,
    /// 3.2 as it was on the wire, redacted; ≤ 4,096 bytes.
    pub raw: String,
    /// 3.3 type.
    pub rtype: String,
    /// 3.4 identifier.
    pub id: String,
    /// 3.5 database, namespace, account.
    pub ns: String,
    /// 3.6 region.
    pub region: String,
    /// 3.7 further resources, ≤ 64; theirs must be empty.
    pub more: Vec<Target>,
    /// 3.8 tags of the resource; set.
    pub tags: Vec<String>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// Group 4. Ids read from the wire link; they never prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// 4.0 W3C trace id; never all zero.
    pub trace: Option<[u8; 16]>,
    /// 4.1 span id; never all zero.
    pub span: Option<[u8; 8]>,
    /// 4.2 parent span id; never all zero.
    pub parent: Option<[u8; 8]>,
    /// 4.3 trace flags.
    pub tflags: Option<u64>,
    /// 4.4 request id; ≤ 256 bytes.
    pub corr: String,
    /// 4.5 session; ≤ 256 bytes.
    pub sess: String,
    /// 4.6 message id; ≤ 256 bytes.
    pub msg: String,
    /// 4.7 eid this record belongs to.
    pub of: Option<[u8; 16]>,
    /// 4.8 connection.
    pub conn: Option<[u8; 16]>,
    /// 4.9 number of the interaction on its connection, from 1.
    pub conn_seq: Option<u64>,
    /// 4.10 where the ids were read.
    pub via: Option<LinkVia>,
    /// 4.11 inferred causes: eid, how, score 0 to 1000; ≤ 8.
    pub causal: Vec<([u8; 16], LinkVia, u64)>,
    /// 4.12 inferred causes that had no eid yet: connection (4.8), number on it (4.9), score 0 to 1000; best
    /// first; ≤ 8.
    pub cause: Vec<([u8; 16], u64, u64)>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// Group 5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// 5.0 registered per kind: [`crate::fields::detail`].
    pub detail: KeyedMap,
    /// 5.1 statement with literals as `?`; ≤ 64 KiB.
    pub stmt: String,
    /// 5.2 fingerprint of its shape.
    pub stmt_fp: Option<[u8; 16]>,
    /// 5.3 parameters, only when the route opts in.
    pub params: Vec<String>,
    /// 5.4 allow-listed headers, lower-case names, wire order; ≤ 64.
    pub headers: Vec<(String, String)>,
    /// 5.5 redacted error text; ≤ 4,096 bytes.
    pub err: String,
    /// 5.6 every source field that no rule took: JSON pointer → JSON token, or bytes.
    pub unmapped: std::collections::BTreeMap<String, Unmapped>,
    /// 5.7 redaction rule and hits.
    pub redacted: Vec<(String, u64)>,
    /// 5.8 field id and original length of what was cut.
    pub cut: Vec<(u64, u64)>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// A value of [`Content::unmapped`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// The JSON token as the source spelled it.
    Token(String),
    /// Binary.
    Bytes(Vec<u8>),
}

/// Group 6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// 6.0 request payload.
    pub req: Option<Payload>,
    /// 6.1 response payload.
    pub rsp: Option<Payload>,
    /// 6.2 how the record was captured; mostly the same for every record of an observer.
    pub cap: Option<Shared<Capture>>,
    /// 6.3 the source's own bytes.
    pub raw: Option<Box<RawBytes>>,
    /// 6.4 digests before and after a change.
    pub change: Option<Box<Change>>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// Size and digest of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// 0 bytes.
    pub size: Option<u64>,
    /// 1 digest of the bytes as received.
    pub digest: Option<[u8; 32]>,
    /// 2 where a copy is kept.
    pub reference: String,
    /// 3 the payload was cut.
    pub truncated: Option<bool>,
    /// 4 content type.
    pub content_type: String,
    /// 5 excerpt; ≤ 4 KiB.
    pub excerpt: Vec<u8>,
    /// 6 digest algorithm.
    pub alg: Option<DigestAlg>,
    /// 7 messages.
    pub messages: Option<u64>,
    /// 8 digest as sent, when the gateway changed bytes.
    pub digest_sent: Option<[u8; 32]>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// 6.2 how a record was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// 0 mode.
    pub mode: Option<CaptureMode>,
    /// 1 format.
    pub fmt: String,
    /// 2 parser, `name@version`.
    pub parser: String,
    /// 3 how much was understood.
    pub conf: Option<CaptureConf>,
    /// 4 the source's own id.
    pub source_id: String,
    /// 5 offset.
    pub offset: Option<u64>,
    /// 6 path or topic.
    pub path: String,
    /// 7 deliverer's principal id.
    pub deliverer: String,
    /// 8 input level, 1 or 2.
    pub level: Option<Verified>,
    /// 9 source records merged into this one; `None` = 1.
    pub merged: Option<u64>,
    /// 10 changes made to the bytes; set.
    pub changes: Vec<String>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// 6.3 the source's own bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBytes {
    /// 0 digest.
    pub digest: Option<[u8; 32]>,
    /// 1 length.
    pub length: Option<u64>,
    /// 2 where a copy is kept.
    pub reference: String,
    /// 3 bytes; ≤ 64 KiB.
    pub bytes: Vec<u8>,
    /// 4 digest algorithm.
    pub alg: Option<DigestAlg>,
    /// Keys unknown to this version.
    pub other: Other,
}

/// 6.4 digests of what a record write changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// 0 before.
    pub before: Option<[u8; 32]>,
    /// 1 after.
    pub after: Option<[u8; 32]>,
    /// 2 algorithm.
    pub alg: Option<DigestAlg>,
    /// Keys unknown to this version.
    pub other: Other,
}
