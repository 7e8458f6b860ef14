//! Which family of interaction the attributes speak of, and its verb, target and outcome.

use super::super::semconv::Sets;
use super::super::{Any, Span, SpanKind};
use super::{Mapper, Side};
use crate::http;
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome, StatusSpace};

/// Databases whose data are keys with values.
const KEY_VALUE: &[&str] =
    &["redis", "valkey", "memcached", "aws.dynamodb", "dynamodb", "hbase", "etcd", "aerospike"];
/// Databases of documents.
const DOCUMENTS: &[&str] = &[
    "mongodb",
    "couchdb",
    "couchbase",
    "azure.cosmosdb",
    "cosmosdb",
    "elasticsearch",
    "opensearch",
    "firestore",
];

impl Mapper<'_> {
    /// Of a log record: only where it says what was done and how it ended. `false` = it is no interaction.
    pub(super) fn log_family(&mut self) -> bool {
        let has = |sets| self.attributes.has(sets);
        if has(Sets::AuditAction) {
            self.audit();
        } else if has(Sets::DbSystem) && has(Sets::DbStatus) && (has(Sets::DbOperation) || has(Sets::DbText))
        {
            self.database();
        } else if has(Sets::RpcMethod)
            && (has(Sets::GrpcStatus) || has(Sets::RpcStatus) || has(Sets::JsonRpcError))
        {
            self.rpc();
        } else if has(Sets::Method) && has(Sets::HttpStatus) {
            self.http();
        } else {
            return false;
        }
        self.common();
        true
    }

    /// Of a span, which is an interaction whatever its attributes say.
    pub(super) fn span_family(&mut self, span: &Span, kind: SpanKind) {
        let has = |sets| self.attributes.has(sets);
        if has(Sets::AuditAction) {
            self.audit();
        } else if has(Sets::McpMethod) || has(Sets::ToolName) {
            self.tool();
        } else if has(Sets::DbSystem) {
            self.database();
        } else if has(Sets::MessagingSystem) || matches!(kind, SpanKind::Producer | SpanKind::Consumer) {
            self.messaging(kind);
        } else if has(Sets::RpcSystem) || has(Sets::RpcMethod) {
            self.rpc();
        } else if has(Sets::Method) || has(Sets::HttpStatus) {
            self.http();
        }
        self.common();
        let core = &mut self.draft.event.core;
        if core.op.is_empty() {
            span.name.clone_into(&mut core.op);
        }
        let code = span.status.as_ref().map_or(0, |status| status.code);
        if core.outcome.is_none() {
            core.outcome = ended(code, self.side, core.kind);
        }
        if let Some(status) = &span.status
            && code == 2
            && self.draft.event.content.err.is_empty()
        {
            status.message.clone_into(&mut self.draft.event.content.err);
        }
    }

    /// What every family may say.
    fn common(&mut self) {
        let attributes = &self.attributes;
        let event = &mut self.draft.event;
        if let Some(text) = attributes.text(Sets::ErrorText).or_else(|| attributes.text(Sets::ErrorType)) {
            text.clone_into(&mut event.content.err);
        }
        if let Some(name) = attributes.text(Sets::ProtoName).filter(|_| event.core.proto.is_empty()) {
            let name = name.to_ascii_lowercase();
            let version = attributes.text(Sets::ProtoVersion);
            event.core.proto = version.map_or(name.clone(), |version| format!("{name}/{version}"));
        }
        if let Some(id) = attributes.text(Sets::Session) {
            id.clone_into(&mut event.links.sess);
        }
        if let Some(id) = attributes.texts(Sets::RequestId).first() {
            (*id).clone_into(&mut event.links.corr);
        }
        if let Some(id) = attributes.text(Sets::AuditRecord) {
            id.clone_into(&mut self.draft.source_id);
        }
        if let Some(name) = attributes.text(Sets::Transport) {
            self.draft.transport(name);
        }
        let (request, answer) = (attributes.uint(Sets::RequestSize), attributes.uint(Sets::ResponseSize));
        self.draft.sizes(request, answer);
    }

    fn http(&mut self) {
        let attributes = &self.attributes;
        let draft = &mut self.draft;
        let method = attributes.text(Sets::Method).unwrap_or_default();
        let version = attributes.text(Sets::HttpFlavor).or_else(|| {
            let is_http =
                attributes.peek(Sets::ProtoName).is_none_or(|name| name.eq_ignore_ascii_case("http"));
            let version = attributes.text(Sets::ProtoVersion).filter(|_| is_http);
            version.inspect(|_| attributes.taken(Sets::ProtoName))
        });
        let target = attributes.text(Sets::Url).or_else(|| attributes.text(Sets::Target));
        let target = target.map(std::borrow::ToOwned::to_owned).or_else(|| {
            let path = attributes.text(Sets::Path)?;
            Some(match attributes.text(Sets::Query) {
                Some(query) => format!("{path}?{}", query.trim_start_matches('?')),
                None => path.to_owned(),
            })
        });
        http::request(draft, method, target.as_deref().unwrap_or_default(), version.unwrap_or_default());
        if let Some(route) = attributes.text(Sets::Route) {
            route.clone_into(&mut draft.event.target.res);
        }
        if let Some(scheme) = attributes.text(Sets::Scheme) {
            let detail = &mut draft.event.content.detail;
            detail.entry(detail::http::SCHEME).or_insert_with(|| Value::Text(scheme.to_ascii_lowercase()));
        }
        if let Some(host) = attributes.text(Sets::HttpHost) {
            http::host(draft, host);
        }
        if let Some(status) = attributes.uint(Sets::HttpStatus) {
            http::status(draft, status);
        }
        if let Some(agent) = attributes.text(Sets::UserAgent) {
            draft.header("user-agent", agent);
        }
    }

    fn rpc(&mut self) {
        let attributes = &self.attributes;
        let system = attributes.text(Sets::RpcSystem).unwrap_or_default().to_ascii_lowercase();
        let is_grpc = system == "grpc" || attributes.has(Sets::GrpcStatus);
        let event = &mut self.draft.event;
        event.core.kind = Some(if is_grpc { Kind::Grpc } else { Kind::Rpc });
        event.core.proto = if is_grpc { "grpc".to_owned() } else { system };
        // Newer conventions give the full method, `package.Service/Method`.
        let (mut service, mut method) = (
            attributes.text(Sets::RpcService).unwrap_or_default(),
            attributes.text(Sets::RpcMethod).unwrap_or_default(),
        );
        if let Some((of, short)) = method.rsplit_once('/').filter(|_| service.is_empty()) {
            (service, method) = (of, short);
        }
        method.clone_into(&mut event.core.op);
        event.core.class = Some(Class::Execute);
        event.target.res = match service {
            "" => method.to_owned(),
            service => format!("{service}/{method}"),
        };
        if self.side == Side::Caller {
            service.clone_into(&mut event.target.svc);
        }
        let grpc = attributes.uint(Sets::GrpcStatus).or_else(|| {
            let word = attributes.peek(Sets::RpcStatus).filter(|_| is_grpc)?;
            let code = word.parse().ok().or_else(|| (0..17).find(|code| grpc_name(*code) == Some(word)));
            code.inspect(|_| attributes.taken(Sets::RpcStatus))
        });
        if let Some(code) = grpc {
            event.core.status = Some((StatusSpace::Grpc, code.to_string()));
            event.core.outcome = grpc_outcome(code);
        } else if let Some(code) = attributes.word(Sets::JsonRpcError) {
            event.core.status = Some((StatusSpace::Jsonrpc, code.into_owned()));
            event.core.outcome = Some(Outcome::CallerError);
        }
    }

    fn database(&mut self) {
        let attributes = &self.attributes;
        let event = &mut self.draft.event;
        let system = attributes.text(Sets::DbSystem).unwrap_or_default().to_ascii_lowercase();
        let is = |list: &[&str]| list.contains(&system.as_str());
        let kind = if is(KEY_VALUE) {
            Kind::Kv
        } else if is(DOCUMENTS) {
            Kind::Doc
        } else {
            Kind::Sql
        };
        event.core.kind = Some(kind);
        let operation = attributes.text(Sets::DbOperation);
        if let Some(text) = attributes.text(Sets::DbText) {
            statement(event, kind, text);
        }
        if let Some(operation) = operation {
            operation.clone_into(&mut event.core.op);
        }
        if let Some(name) = attributes.text(Sets::DbCollection) {
            name.clone_into(&mut event.target.res);
            "table".clone_into(&mut event.target.rtype);
        }
        if let Some(name) = attributes.word(Sets::DbNamespace) {
            event.target.ns = name.into_owned();
        }
        if let Some(code) = attributes.word(Sets::DbStatus) {
            let space = match system.as_str() {
                "postgresql" | "cockroachdb" => Some(StatusSpace::Sqlstate),
                "mysql" | "mariadb" => Some(StatusSpace::Mysql),
                "mongodb" => Some(StatusSpace::Mongo),
                "redis" | "valkey" => Some(StatusSpace::Redis),
                _ => None,
            };
            match space {
                Some(space) => {
                    event.core.outcome = database_outcome(space, &code);
                    event.core.status = Some((space, code.into_owned()));
                }
                None => self.draft.rest("db.response.status_code", &code),
            }
        }
        let event = &mut self.draft.event;
        if let (Kind::Sql, Some(rows)) = (kind, attributes.uint(Sets::DbRows)) {
            event.content.detail.insert(detail::sql::ROWS, Value::Uint(rows));
        }
        event.core.proto = system;
    }

    fn messaging(&mut self, kind: SpanKind) {
        let attributes = &self.attributes;
        let event = &mut self.draft.event;
        event.core.kind = Some(Kind::Messaging);
        event.core.proto = attributes.text(Sets::MessagingSystem).unwrap_or_default().to_ascii_lowercase();
        let verb = attributes.text(Sets::MessagingOperation).unwrap_or(match kind {
            SpanKind::Producer => "publish",
            SpanKind::Consumer => "process",
            _ => "",
        });
        verb.clone_into(&mut event.core.op);
        event.core.class = match verb {
            "publish" | "send" | "create" => Some(Class::Create),
            "receive" | "process" | "deliver" | "poll" => Some(Class::Read),
            "settle" | "ack" | "nack" | "commit" => Some(Class::Meta),
            _ => None,
        };
        if let Some(name) = attributes.text(Sets::Destination) {
            name.clone_into(&mut event.target.res);
        }
        if let Some(id) = attributes.text(Sets::MessageId) {
            id.clone_into(&mut event.links.msg);
        }
        if let Some(id) = attributes.text(Sets::Conversation) {
            id.clone_into(&mut event.links.corr);
        }
        let detail = &mut event.content.detail;
        for (sets, key) in [
            (Sets::Partition, detail::messaging::PARTITION),
            (Sets::Offset, detail::messaging::OFFSET),
            (Sets::BatchCount, detail::messaging::RECORDS),
        ] {
            detail.extend(attributes.uint(sets).map(|number| (key, Value::Uint(number))));
        }
        let group = attributes.text(Sets::Group);
        detail.extend(group.map(|name| (detail::messaging::GROUP, Value::Text(name.to_owned()))));
    }

    fn tool(&mut self) {
        let attributes = &self.attributes;
        let event = &mut self.draft.event;
        event.core.kind = Some(Kind::Tool);
        event.core.class = Some(Class::Execute);
        if let Some(method) = attributes.text(Sets::McpMethod) {
            "mcp".clone_into(&mut event.core.proto);
            method.clone_into(&mut event.core.op);
        }
        if let Some(name) = attributes.text(Sets::ToolName) {
            name.clone_into(&mut event.target.res);
            event.content.detail.insert(detail::tool::NAME, Value::Text(name.to_owned()));
        }
    }

    /// The draft of OpenTelemetry's audit logging.
    fn audit(&mut self) {
        let attributes = &self.attributes;
        let event = &mut self.draft.event;
        attributes.text(Sets::AuditAction).unwrap_or_default().clone_into(&mut event.core.op);
        if let Some(id) = attributes.text(Sets::AuditTargetId) {
            id.clone_into(&mut event.target.id);
        }
        if let Some(kind) = attributes.text(Sets::AuditTargetType) {
            kind.clone_into(&mut event.target.rtype);
        }
        if let Some(Any::Text(outcome)) =
            attributes.peek(Sets::AuditOutcome).map(|t| Any::Text(t.to_lowercase()))
        {
            let known = match outcome.as_str() {
                "success" | "succeeded" | "allowed" => Some(Outcome::Success),
                "denied" | "unauthorized" => Some(Outcome::Denied),
                // `failure` does not say whose: unknown.
                word => Outcome::from_word(word),
            };
            if known.is_some() {
                attributes.taken(Sets::AuditOutcome);
            }
            event.core.outcome = known;
        }
        if let Some(address) = attributes.text(Sets::AuditSource)
            && !self.draft.src(address)
        {
            address.clone_into(&mut self.draft.event.peer.src.get_or_insert_default().host);
        }
    }
}

/// A span that has no status of its protocol: an error that its own instrumentation names, or none. A callee's error
/// is its own; whose a caller's is, is not said.
fn ended(code: i32, side: Side, kind: Option<Kind>) -> Option<Outcome> {
    match (code, kind) {
        (2, _) if side == Side::Callee => Some(Outcome::ServerError),
        (2, _) => None,
        // Without an answer there is no status, and no end that is known.
        (_, Some(Kind::Http | Kind::Grpc)) => None,
        _ => Some(Outcome::Success),
    }
}

fn statement(event: &mut countersign_event::Event, kind: Kind, text: &str) {
    if kind != Kind::Sql {
        text.clone_into(&mut event.content.stmt);
        return;
    }
    let facts = countersign_wire::sql::classify(text, true);
    event.content.stmt = countersign_wire::sql::normalise(text, true).text;
    event.core.class = facts.class.and_then(|class| Class::from_code(class_code(class)));
    if facts.operation != "other" {
        facts.operation.clone_into(&mut event.core.op);
    }
    if let [table] = facts.tables.as_slice() {
        table.name.clone_into(&mut event.target.res);
        "table".clone_into(&mut event.target.rtype);
    }
}

/// Both word lists are those of the event's schema.
fn class_code(class: countersign_wire::stream::OpClass) -> u64 {
    use countersign_wire::stream::OpClass;
    match class {
        OpClass::Read => 1,
        OpClass::Create => 2,
        OpClass::Modify => 3,
        OpClass::Delete => 4,
        OpClass::Execute => 5,
        OpClass::Admin => 6,
        OpClass::Authenticate => 7,
        OpClass::Connect => 8,
        OpClass::Schema => 9,
        OpClass::Meta => 10,
    }
}

fn grpc_name(code: u64) -> Option<&'static str> {
    countersign_wire::grpc::status_name(u32::try_from(code).ok()?)
}

/// By status code of gRPC; `None` = not defined, so unknown. The same as the gateway's.
pub(crate) fn grpc_outcome(code: u64) -> Option<Outcome> {
    Some(match grpc_name(code)? {
        "OK" => Outcome::Success,
        "CANCELLED" => Outcome::Cancelled,
        "DEADLINE_EXCEEDED" => Outcome::Timeout,
        "PERMISSION_DENIED" | "UNAUTHENTICATED" => Outcome::Denied,
        "UNKNOWN" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS" => Outcome::ServerError,
        _ => Outcome::CallerError,
    })
}

/// SQLSTATE by its class (PostgreSQL manual, appendix A); of others only success is told.
fn database_outcome(space: StatusSpace, code: &str) -> Option<Outcome> {
    if code == "0" || code == "00000" {
        return Some(Outcome::Success);
    }
    if space != StatusSpace::Sqlstate {
        return None;
    }
    Some(match (code, code.get(..2)?) {
        ("57014", _) => Outcome::Cancelled,
        ("42501", _) | (_, "28") => Outcome::Denied,
        (_, "00" | "01" | "02") => Outcome::Success,
        (_, "53" | "54" | "55" | "57" | "58" | "08" | "XX" | "F0") => Outcome::ServerError,
        _ => Outcome::CallerError,
    })
}
