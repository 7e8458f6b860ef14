//! The table itself: home, key, name, type, bound, need, column, OCSF, OTel, meaning.

use super::Field;
use super::bound::*;

/// Bound of a field that has none but its group's.
const NONE: usize = 0;

macro_rules! need {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

macro_rules! fields {
    ($($home:ident $key:literal $name:literal $ty:literal $bound:ident $need:ident
        $column:literal $ocsf:literal $otel:literal $meaning:literal;)+) => {
        /// Every key of every map of schema 1 but those of `detail` and `sys`, grouped by map, ascending.
        pub const FIELDS: &[Field] = &[$(Field {
            home: stringify!($home), key: $key, name: $name, ty: $ty, bound: $bound, required: need!($need),
            column: $column, ocsf: $ocsf, otel: $otel, meaning: $meaning,
        }),+];
    };
}

fields! {
    core 0 "ver" "u" NONE required "" "ext" "audit.schema.version"
        "schema version, 1";
    core 1 "eid" "b16" NONE required "id" "metadata.uid" "audit.record.id"
        "event id";
    core 2 "agent" "t" AGENT required "agent" "metadata.product, ext" "resource service.instance.id"
        "observer: SPIFFE id or enrolled collector input";
    core 3 "stream" "b16" NONE required "stream" "ext" "audit.sequence.stream_id"
        "one run (boot epoch) of the observer";
    core 4 "seq" "u" NONE required "seq" "metadata.sequence" "audit.sequence.number"
        "+1 per stream from 1; a hole is a blind spot";
    core 5 "t_obs" "u ns" NONE required "seen" "metadata.logged_time, ext" "ObservedTimestamp"
        "the observer's clock at observation or receipt";
    core 6 "t_event" "i ns" NONE optional "time" "time, ext" "Timestamp"
        "start of the interaction; absent when the source gave none";
    core 7 "t_basis" "e TimeBasis" NONE optional "t_basis" "ext" "ext"
        "where t_event came from";
    core 8 "skew" "[i, u] ns" NONE optional "skew" "ext" "ext"
        "estimated offset of the source's clock, error bound";
    core 9 "dur" "u ns" NONE optional "duration" "duration, ext" "span end - start"
        "start to end";
    core 10 "rec" "e Rec" NONE optional "rec" "ext" "ext"
        "what this record is";
    core 11 "kind" "e Kind" NONE optional "kind" "class_uid" "EventName"
        "family of interaction";
    core 12 "proto" "t" PROTO optional "protocol" "app_protocol_name, http_request.version" "network.protocol.name, .version"
        "protocol and version, `http/1.1`";
    core 13 "op" "t" OP optional "op" "api.operation, http_request.http_method" "audit.action, http.request.method, rpc.method, db.operation.name"
        "native verb: GET, SELECT, publish";
    core 14 "class" "e Class" NONE optional "class" "activity_id" "ext"
        "operation class";
    core 15 "outcome" "e Outcome" NONE optional "outcome" "status_id, ext" "audit.outcome"
        "how it ended";
    core 16 "status" "[e StatusSpace, t]" NONE optional "status" "status_code, http_response.code" "http.response.status_code, rpc.grpc.status_code, db.response.status_code"
        "code space, native code";
    core 17 "decision" "decision" NONE optional "decision" "action_id, actor.authorizations[]" "ext"
        "what the policy said";
    core 18 "labels" "[t ≤64] set" LABELS optional "label" "ext, data_classifications" "ext"
        "data classes and operator's labels";
    core 19 "tenant" "t" TENANT optional "tenant" "metadata.tenant_uid" "resource ext"
        "tenant";
    core 20 "n" "u" NONE optional "count" "count" "ext"
        "interactions folded into this record; default 1, never written";
    core 21 "lat" "[u, u, u] ns" NONE optional "lat" "ext" "ext"
        "queued, time to first byte, upstream";
    core 22 "config" "b8" NONE optional "config" "ext" "ext"
        "digest prefix of the configuration in force";
    core 23 "route" "t" ROUTE optional "route" "ext" "ext"
        "operator's route or input name";
    core 24 "sys" "map" NONE optional "sys" "finding_info, severity_id, ext" "ext"
        "written by the platform alone, with rec finding and platform";

    decision 0 "verdict" "e Verdict" NONE optional "decision" "action_id" "ext"
        "verdict";
    decision 1 "mode" "e Mode" NONE optional "" "ext" "ext"
        "how strictly the policy acts";
    decision 2 "policies" "[t] set" NONE optional "" "actor.authorizations[]" "ext"
        "policies that decided";
    decision 3 "reason" "t" NONE optional "" "ext" "ext"
        "policy's own words";
    decision 4 "purpose" "t" NONE optional "" "ext" "ext"
        "purpose of the call";

    who 0 "who" "principal" NONE optional "who" "actor" "audit.actor.*"
        "the actor that made the call";
    who 1 "obo" "[principal]" OBO optional "behalf" "ext" "ext"
        "on whose behalf, nearest first; the last is the original subject";
    who 2 "also" "[principal]" ALSO optional "" "ext" "ext"
        "other identities seen on the same interaction";

    principal 0 "id" "t" PRINCIPAL_ID optional "who" "actor.user.uid" "audit.actor.id"
        "canonical URI";
    principal 1 "kind" "e PrincipalKind" NONE optional "who.kind" "user.type_id, ext" "audit.actor.type"
        "kind of actor";
    principal 2 "auth" "e Auth" NONE optional "auth" "auth_protocol_id, auth_protocol" "ext"
        "method";
    principal 3 "verified" "e Verified" NONE required "verified" "ext" "ext"
        "how strongly it was proved, 1 to 4";
    principal 4 "iss" "t" NONE optional "issuer" "actor.idp.name" "ext"
        "issuer or trust domain";
    principal 5 "cred" "t" CRED optional "cred" "user.credential_uid" "ext"
        "public credential id; never the secret, never the token";
    principal 6 "cred_exp" "i s" NONE optional "" "ext" "ext"
        "credential's end of life";
    principal 7 "svc" "t" NONE optional "" "actor.app_name" "service.name"
        "service name";
    principal 8 "inst" "t" NONE optional "" "ext" "service.instance.id"
        "instance: pod uid, host id";
    principal 9 "groups" "[t] set" GROUPS optional "" "user.groups[]" "ext"
        "groups";
    principal 10 "rel" "e Relation" NONE optional "" "ext" "ext"
        "relation, in obo only";
    principal 11 "name" "t" NONE optional "" "user.name" "user.name"
        "display name";
    principal 12 "from" "e IdentityFrom" NONE optional "" "ext" "ext"
        "where it was read";

    peer 0 "src" "endpoint" NONE optional "src" "src_endpoint" "client.*, audit.source.*"
        "caller";
    peer 1 "dst" "endpoint" NONE optional "dst" "dst_endpoint" "server.*"
        "the address it called";
    peer 2 "up" "endpoint" NONE optional "up" "ext" "ext"
        "the upstream chosen";
    peer 3 "transport" "e Transport" NONE optional "transport" "connection_info.protocol_name" "network.transport"
        "transport";
    peer 4 "tls" "tls" NONE optional "tls" "tls" "tls.*"
        "TLS between caller and observer";
    peer 5 "hops" "[[t, e Verified]]" HOPS optional "hop" "proxy_http_request, ext" "ext"
        "forwarded chain, client first, each with its level";
    peer 6 "ja4" "t" NONE optional "ja4" "tls.ja4_fingerprint_list" "ext"
        "TLS client fingerprint";
    peer 7 "retries" "u" NONE optional "retries" "ext" "ext"
        "retries";

    endpoint 0 "ip" "b4 or b16" NONE optional "src.ip, dst.ip" "ip" ".address"
        "address; IPv4-mapped IPv6 is written as IPv4";
    endpoint 1 "port" "u" NONE optional "" "port" ".port"
        "port, at most 65535";
    endpoint 2 "host" "t" NONE optional "" "hostname" ".address"
        "host name";
    endpoint 3 "workload" "t" NONE optional "src, dst" "name" "ext"
        "workload";
    endpoint 4 "ns" "t" NONE optional "src.ns, dst.ns" "ext" "k8s.namespace.name"
        "namespace";
    endpoint 5 "zone" "t" NONE optional "" "zone" "cloud.availability_zone"
        "zone";
    endpoint 6 "node" "t" NONE optional "" "ext" "k8s.node.name"
        "node";

    tls 0 "version" "u" NONE optional "tls" "tls.version" "tls.protocol.version"
        "0x0304 for TLS 1.3";
    tls 1 "cipher" "u" NONE optional "tls.cipher" "tls.cipher" "tls.cipher"
        "cipher suite";
    tls 2 "sni" "t" NONE optional "sni" "tls.sni" "tls.client.server_name"
        "server name";
    tls 3 "alpn" "t" NONE optional "" "tls.alpn" "tls.next_protocol"
        "application protocol";
    tls 4 "peer_cert" "b32" NONE optional "" "tls.certificate" "tls.client.hash.sha256"
        "SHA-256 of the peer's certificate";
    tls 5 "resumed" "bool" NONE optional "" "ext" "tls.resumed"
        "session was resumed";
    tls 6 "group" "u" NONE optional "" "ext" "tls.curve"
        "key exchange group";

    target 0 "svc" "t" TARGET_SVC optional "service" "api.service.name" "service.name of target, rpc.service"
        "service called";
    target 1 "res" "t" RES optional "resource" "resources[].name" "http.route, db.collection.name, messaging.destination.name"
        "resource as a template: `/orders/{id}`, table, topic";
    target 2 "raw" "t" TARGET_RAW optional "target.raw" "http_request.url" "url.path, audit.target.*"
        "as it was on the wire, redacted";
    target 3 "rtype" "t" NONE optional "type" "resources[].type" "audit.target.type"
        "type: `table`, `pod`, `bucket`";
    target 4 "id" "t" NONE optional "target.id" "resources[].uid" "audit.target.id"
        "identifier";
    target 5 "ns" "t" NONE optional "namespace" "resources[].namespace" "db.namespace, k8s.namespace.name"
        "database, namespace, account";
    target 6 "region" "t" NONE optional "region" "cloud.region" "cloud.region"
        "region";
    target 7 "more" "[target]" MORE optional "more" "resources[1..]" "ext"
        "further resources, themselves without more";
    target 8 "tags" "[t] set" NONE optional "tag" "resources[].labels" "ext"
        "tags of the resource";

    links 0 "trace" "b16" NONE optional "trace" "trace profile" "TraceId"
        "W3C trace id; never all zero";
    links 1 "span" "b8" NONE optional "span" "trace profile" "SpanId"
        "span id; never all zero";
    links 2 "parent" "b8" NONE optional "parent" "trace profile" "parent"
        "parent span id; never all zero";
    links 3 "tflags" "u" NONE optional "tflags" "trace profile" "Flags"
        "trace flags";
    links 4 "corr" "t" LINK optional "corr" "metadata.correlation_uid" "attributes"
        "request id, auditID, `txn`";
    links 5 "sess" "t" LINK optional "session" "actor.session.uid" "attributes"
        "session";
    links 6 "msg" "t" LINK optional "message" "ext" "attributes"
        "message id";
    links 7 "of" "b16" NONE optional "of" "metadata.original_event_uid" "ext"
        "eid this record belongs to";
    links 8 "conn" "b16" NONE optional "conn" "connection_info.uid" "ext"
        "connection";
    links 9 "conn_seq" "u" NONE optional "conn_seq" "ext" "ext"
        "number of the interaction on its connection, from 1";
    links 10 "via" "e LinkVia" NONE optional "links.via" "ext" "ext"
        "where the ids were read";
    links 11 "causal" "[[b16, e LinkVia, u]]" CAUSAL optional "causal" "ext" "span links"
        "eid, how, score 0 to 1000; always inferred";
    links 12 "cause" "[[b16, u, u]]" CAUSAL optional "" "ext" "span links"
        "conn and conn_seq of a request that this was probably made for, score 0 to 1000; always inferred, best first";

    content 0 "detail" "map" NONE optional "detail.<key>" "class-specific, ext" "semconv"
        "keys registered per kind";
    content 1 "stmt" "t" STMT optional "statement" "query_info.query_string" "db.query.text"
        "statement with literals as `?`";
    content 2 "stmt_fp" "b16" NONE optional "stmt_fp" "ext" "ext"
        "fingerprint of its shape";
    content 3 "params" "[t]" NONE optional "params" "ext" "ext"
        "only when the route opts in, after redaction";
    content 4 "headers" "[[t, t]]" HEADERS optional "header.<name>" "http_request.http_headers" "http.request.header.*"
        "allow-listed, lower-case names, wire order";
    content 5 "err" "t" ERR optional "error" "api.response.error_message" "error.type, exception.message"
        "redacted error text";
    content 6 "unmapped" "map t: t or b" UNMAPPED optional "raw.<key>" "unmapped" "attributes"
        "JSON pointer of a source field: its JSON token as spelled, or bytes; 256 KiB together";
    content 7 "redacted" "[[t, u]]" NONE optional "redacted" "ext" "ext"
        "redaction rule and hits";
    content 8 "cut" "[[u, u]]" NONE optional "cut" "ext" "ext"
        "field id and original length";

    body 0 "req" "payload" NONE optional "req.size, req.digest" "http_request.length, traffic" "http.request.body.size"
        "request payload";
    body 1 "rsp" "payload" NONE optional "rsp.size, rsp.digest" "http_response.length, traffic" "http.response.body.size"
        "response payload";
    body 2 "cap" "cap" NONE optional "capture" "metadata.log_provider, .log_name, ext" "log.file.path, ext"
        "how the record was captured";
    body 3 "raw" "raw" NONE optional "body.raw" "raw_data_hash, raw_data_size, raw_data" "log.record.original"
        "the source's own bytes";
    body 4 "change" "change" NONE optional "change" "ext" "ext"
        "digests before and after a record write";

    payload 0 "size" "u" NONE optional "req.size, rsp.size" "http_request.length, http_response.length" "http.request.body.size, http.response.body.size"
        "bytes";
    payload 1 "digest" "b32" NONE optional "req.digest, rsp.digest" "ext" "ext"
        "digest of the bytes as received";
    payload 2 "ref" "t" NONE optional "" "ext" "ext"
        "where a copy is kept";
    payload 3 "truncated" "bool" NONE optional "" "ext" "ext"
        "the payload was cut";
    payload 4 "content_type" "t" NONE optional "" "ext" "ext"
        "content type";
    payload 5 "excerpt" "b" EXCERPT optional "" "ext" "ext"
        "excerpt";
    payload 6 "alg" "e DigestAlg" NONE optional "" "ext" "ext"
        "digest algorithm";
    payload 7 "messages" "u" NONE optional "" "ext" "ext"
        "messages";
    payload 8 "digest_sent" "b32" NONE optional "" "ext" "ext"
        "digest as sent, only when the gateway changed bytes";

    cap 0 "mode" "e CaptureMode" NONE optional "capture" "ext" "ext"
        "how it was captured";
    cap 1 "fmt" "t" NONE optional "" "metadata.log_name" "ext"
        "format";
    cap 2 "parser" "t" NONE optional "" "ext" "ext"
        "parser, `name@version`";
    cap 3 "conf" "e CaptureConf" NONE optional "" "ext" "ext"
        "how much was understood";
    cap 4 "source_id" "t" NONE optional "" "ext" "ext"
        "the source's own id of the record";
    cap 5 "offset" "u" NONE optional "" "ext" "ext"
        "offset in the source";
    cap 6 "path" "t" NONE optional "" "metadata.log_provider" "log.file.path"
        "path or topic";
    cap 7 "deliverer" "t" NONE optional "" "ext" "ext"
        "deliverer's principal id";
    cap 8 "level" "e Verified" NONE optional "" "ext" "ext"
        "level of the input, 1 or 2";
    cap 9 "merged" "u" NONE optional "" "ext" "ext"
        "source records merged into this one; default 1, never written";
    cap 10 "changes" "[t] set" NONE optional "" "ext" "ext"
        "changes made to the bytes: `hop_by_hop`, `reencoded`";

    raw 0 "digest" "b32" NONE optional "" "raw_data_hash" "ext"
        "digest";
    raw 1 "length" "u" NONE optional "" "raw_data_size" "ext"
        "length in bytes";
    raw 2 "ref" "t" NONE optional "" "ext" "ext"
        "where a copy is kept";
    raw 3 "bytes" "b" RAW_BYTES optional "" "raw_data" "log.record.original"
        "the bytes";
    raw 4 "alg" "e DigestAlg" NONE optional "" "ext" "ext"
        "digest algorithm";

    change 0 "before" "b32" NONE optional "" "ext" "ext"
        "digest before";
    change 1 "after" "b32" NONE optional "" "ext" "ext"
        "digest after";
    change 2 "alg" "e DigestAlg" NONE optional "" "ext" "ext"
        "digest algorithm";
}
