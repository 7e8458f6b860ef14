//! What attributes mean: one table of names, the stable semantic conventions first, then what they were called
//! before (OpenTelemetry semantic conventions 1.37, and the migration guides for HTTP, RPC, database, messaging).

use std::sync::LazyLock;

/// What an attribute sets. [`super::map`] has one arm for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sets {
    // First what says which family of interaction it is.
    RpcSystem,
    DbSystem,
    MessagingSystem,
    FaasTrigger,
    Method,
    Url,
    Target,
    Path,
    Query,
    Scheme,
    HttpHost,
    Route,
    HttpStatus,
    RequestSize,
    ResponseSize,
    UserAgent,
    ProtoName,
    ProtoVersion,
    HttpFlavor,
    Transport,
    // Sockets.
    PeerAddress,
    PeerPort,
    PeerName,
    LocalAddress,
    LocalPort,
    LocalName,
    ServerAddress,
    ServerPort,
    ClientAddress,
    ClientPort,
    PeerService,
    // RPC.
    RpcService,
    RpcMethod,
    GrpcStatus,
    RpcStatus,
    JsonRpcError,
    // Databases.
    DbNamespace,
    DbCollection,
    DbOperation,
    DbText,
    DbStatus,
    DbUser,
    DbRows,
    // Messaging.
    Destination,
    MessagingOperation,
    MessageId,
    Conversation,
    Partition,
    Offset,
    Group,
    BatchCount,
    // Tools of models.
    McpMethod,
    ToolName,
    // Who.
    UserId,
    UserName,
    Roles,
    Session,
    RequestId,
    // The draft of audit logging.
    AuditRecord,
    AuditAction,
    AuditOutcome,
    AuditActorId,
    AuditActorType,
    AuditTargetId,
    AuditTargetType,
    AuditSource,
    // Errors.
    ErrorType,
    ErrorText,
}

use Sets::*;

/// Name and meaning; of two names with one meaning the first that is present counts, the other stays unmapped
/// unless it says the same.
pub(super) const TABLE: &[(&str, Sets)] = &[
    ("rpc.system.name", RpcSystem),
    ("rpc.system", RpcSystem),
    ("db.system.name", DbSystem),
    ("db.system", DbSystem),
    ("messaging.system", MessagingSystem),
    ("faas.trigger", FaasTrigger),
    ("http.request.method_original", Method),
    ("http.request.method", Method),
    ("http.method", Method),
    ("url.full", Url),
    ("http.url", Url),
    ("http.target", Target),
    ("url.path", Path),
    ("url.query", Query),
    ("url.scheme", Scheme),
    ("http.scheme", Scheme),
    ("http.host", HttpHost),
    ("http.route", Route),
    ("url.template", Route),
    ("http.response.status_code", HttpStatus),
    ("http.status_code", HttpStatus),
    ("http.request.body.size", RequestSize),
    ("http.request_content_length", RequestSize),
    ("http.response.body.size", ResponseSize),
    ("http.response_content_length", ResponseSize),
    ("user_agent.original", UserAgent),
    ("http.user_agent", UserAgent),
    ("network.protocol.name", ProtoName),
    ("net.protocol.name", ProtoName),
    ("network.protocol.version", ProtoVersion),
    ("net.protocol.version", ProtoVersion),
    ("http.flavor", HttpFlavor),
    ("network.transport", Transport),
    ("net.transport", Transport),
    ("network.peer.address", PeerAddress),
    ("net.sock.peer.addr", PeerAddress),
    ("net.peer.ip", PeerAddress),
    ("network.peer.port", PeerPort),
    ("net.sock.peer.port", PeerPort),
    ("net.peer.port", PeerPort),
    ("net.peer.name", PeerName),
    ("network.local.address", LocalAddress),
    ("net.sock.host.addr", LocalAddress),
    ("net.host.ip", LocalAddress),
    ("network.local.port", LocalPort),
    ("net.sock.host.port", LocalPort),
    ("net.host.port", LocalPort),
    ("net.host.name", LocalName),
    ("http.server_name", LocalName),
    ("server.address", ServerAddress),
    ("server.port", ServerPort),
    ("client.address", ClientAddress),
    ("http.client_ip", ClientAddress),
    ("client.port", ClientPort),
    ("service.peer.name", PeerService),
    ("peer.service", PeerService),
    ("rpc.service", RpcService),
    ("rpc.method", RpcMethod),
    ("rpc.grpc.status_code", GrpcStatus),
    ("rpc.response.status_code", RpcStatus),
    ("rpc.jsonrpc.error_code", JsonRpcError),
    ("db.namespace", DbNamespace),
    ("db.name", DbNamespace),
    ("db.redis.database_index", DbNamespace),
    ("db.collection.name", DbCollection),
    ("db.sql.table", DbCollection),
    ("db.mongodb.collection", DbCollection),
    ("db.cassandra.table", DbCollection),
    ("db.operation.name", DbOperation),
    ("db.operation", DbOperation),
    ("db.query.text", DbText),
    ("db.statement", DbText),
    ("db.response.status_code", DbStatus),
    ("db.user", DbUser),
    ("db.response.returned_rows", DbRows),
    ("messaging.destination.name", Destination),
    ("messaging.destination", Destination),
    ("messaging.operation.name", MessagingOperation),
    ("messaging.operation", MessagingOperation),
    ("messaging.operation.type", MessagingOperation),
    ("messaging.message.id", MessageId),
    ("messaging.message_id", MessageId),
    ("messaging.message.conversation_id", Conversation),
    ("messaging.conversation_id", Conversation),
    ("messaging.destination.partition.id", Partition),
    ("messaging.kafka.destination.partition", Partition),
    ("messaging.kafka.partition", Partition),
    ("messaging.kafka.offset", Offset),
    ("messaging.kafka.message.offset", Offset),
    ("messaging.consumer.group.name", Group),
    ("messaging.kafka.consumer.group", Group),
    ("messaging.batch.message_count", BatchCount),
    ("messaging.message.body.size", RequestSize),
    ("messaging.message.payload_size_bytes", RequestSize),
    ("mcp.method.name", McpMethod),
    ("gen_ai.tool.name", ToolName),
    ("user.id", UserId),
    ("enduser.id", UserId),
    ("user.name", UserName),
    ("user.roles", Roles),
    ("enduser.role", Roles),
    ("session.id", Session),
    ("http.request.header.x-request-id", RequestId),
    ("audit.record.id", AuditRecord),
    ("audit.action", AuditAction),
    ("audit.outcome", AuditOutcome),
    ("audit.actor.id", AuditActorId),
    ("audit.actor.type", AuditActorType),
    ("audit.target.id", AuditTargetId),
    ("audit.target.type", AuditTargetType),
    ("audit.source.id", AuditSource),
    ("audit.source.address", AuditSource),
    ("error.type", ErrorType),
    ("exception.type", ErrorType),
    ("error.message", ErrorText),
    ("exception.message", ErrorText),
];

/// Lists of [`RANKS`].
const LISTS: usize = 1 << 10;

/// Places in the table, by length and last letter of the name: a list holds one or two.
static RANKS: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
    let mut lists = vec![Vec::new(); LISTS];
    for (rank, (name, _)) in TABLE.iter().enumerate() {
        if let Some(list) = lists.get_mut(list(name)) {
            list.push(rank);
        }
    }
    lists
});

fn list(name: &str) -> usize {
    let last = name.as_bytes().last().map_or(0, |last| usize::from(last % 32));
    (name.len() * 32 + last) % LISTS
}

/// Place in the table of the attribute `name`.
pub(super) fn rank(name: &str) -> Option<usize> {
    let list = RANKS.get(list(name))?;
    list.iter().copied().find(|rank| TABLE.get(*rank).is_some_and(|(known, _)| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_meaning_and_names_of_one_meaning_stand_in_order_of_age() {
        for (at, (name, _)) in TABLE.iter().enumerate() {
            assert_eq!(rank(name), Some(at), "{name} stands twice");
        }
        assert_eq!((rank(""), rank("http.metho"), rank("HTTP.method")), (None, None, None));
        for old in ["http.method", "http.status_code", "net.peer.ip", "db.statement", "enduser.id"] {
            let rank = rank(old).unwrap();
            assert!(
                TABLE[..rank].iter().any(|(_, sets)| *sets == TABLE[rank].1),
                "{old} follows its successor"
            );
        }
    }
}
