//! The table itself: home, key, name, type, bound, need, column, meaning.

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
        $column:literal $meaning:literal;)+) => {
        /// Every key of every map of schema 1 but those of `detail` and `sys`, grouped by map, ascending.
        pub const FIELDS: &[Field] = &[$(Field {
            home: stringify!($home), key: $key, name: $name, ty: $ty, bound: $bound, required: need!($need),
            column: $column, meaning: $meaning,
        }),+];
    };
}

fields! {
    core 0 "ver" "u" NONE required ""
        "schema version, 1";
    core 1 "eid" "b16" NONE required "id"
        "event id";
    core 2 "agent" "t" AGENT required "agent"
        "observer: SPIFFE id or enrolled collector input";
    core 3 "stream" "b16" NONE required "stream"
        "one run (boot epoch) of the observer";
    core 4 "seq" "u" NONE required "seq"
        "+1 per stream from 1; a hole is a blind spot";
    core 5 "t_obs" "u ns" NONE required "seen"
        "the observer's clock at observation or receipt";
    core 6 "t_event" "i ns" NONE optional "time"
        "start of the interaction; absent when the source gave none";
    core 7 "t_basis" "e TimeBasis" NONE optional "t_basis"
        "where t_event came from";
    core 8 "skew" "[i, u] ns" NONE optional "skew"
        "estimated offset of the source's clock, error bound";
    core 9 "dur" "u ns" NONE optional "duration"
        "start to end";
    core 10 "rec" "e Rec" NONE optional "rec"
        "what this record is";
    core 11 "kind" "e Kind" NONE optional "kind"
        "family of interaction";
    core 12 "proto" "t" PROTO optional "protocol"
        "protocol and version, `http/1.1`";
    core 13 "op" "t" OP optional "op"
        "native verb: GET, SELECT, publish";
    core 14 "class" "e Class" NONE optional "class"
        "operation class";
    core 15 "outcome" "e Outcome" NONE optional "outcome"
        "how it ended";
    core 16 "status" "[e StatusSpace, t]" NONE optional "status"
        "code space, native code";
    core 17 "decision" "decision" NONE optional "decision"
        "what the policy said";
    core 18 "labels" "[t ≤64] set" LABELS optional "label"
        "data classes and operator's labels";
    core 19 "tenant" "t" TENANT optional "tenant"
        "tenant";
    core 20 "n" "u" NONE optional "count"
        "interactions folded into this record; default 1, never written";
    core 21 "lat" "[u, u, u] ns" NONE optional "lat"
        "queued, time to first byte, upstream";
    core 22 "config" "b8" NONE optional "config"
        "digest prefix of the configuration in force";
    core 23 "route" "t" ROUTE optional "route"
        "operator's route or input name";
    core 24 "sys" "map" NONE optional "sys"
        "written by the platform alone, with rec finding and platform";

    decision 0 "verdict" "e Verdict" NONE optional "decision"
        "verdict";
    decision 1 "mode" "e Mode" NONE optional ""
        "how strictly the policy acts";
    decision 2 "policies" "[t] set" NONE optional ""
        "policies that decided";
    decision 3 "reason" "t" NONE optional ""
        "policy's own words";
    decision 4 "purpose" "t" NONE optional ""
        "purpose of the call";

    who 0 "who" "principal" NONE optional "who"
        "the actor that made the call";
    who 1 "obo" "[principal]" OBO optional "behalf"
        "on whose behalf, nearest first; the last is the original subject";
    who 2 "also" "[principal]" ALSO optional ""
        "other identities seen on the same interaction";

    principal 0 "id" "t" PRINCIPAL_ID optional "who"
        "canonical URI";
    principal 1 "kind" "e PrincipalKind" NONE optional "who.kind"
        "kind of actor";
    principal 2 "auth" "e Auth" NONE optional "auth"
        "method";
    principal 3 "verified" "e Verified" NONE required "verified"
        "how strongly it was proved, 1 to 4";
    principal 4 "iss" "t" NONE optional "issuer"
        "issuer or trust domain";
    principal 5 "cred" "t" CRED optional "cred"
        "public credential id; never the secret, never the token";
    principal 6 "cred_exp" "i s" NONE optional ""
        "credential's end of life";
    principal 7 "svc" "t" NONE optional ""
        "service name";
    principal 8 "inst" "t" NONE optional ""
        "instance: pod uid, host id";
    principal 9 "groups" "[t] set" GROUPS optional ""
        "groups";
    principal 10 "rel" "e Relation" NONE optional ""
        "relation, in obo only";
    principal 11 "name" "t" NONE optional ""
        "display name";
    principal 12 "from" "e IdentityFrom" NONE optional ""
        "where it was read";

    peer 0 "src" "endpoint" NONE optional "src"
        "caller";
    peer 1 "dst" "endpoint" NONE optional "dst"
        "the address it called";
    peer 2 "up" "endpoint" NONE optional "up"
        "the upstream chosen";
    peer 3 "transport" "e Transport" NONE optional "transport"
        "transport";
    peer 4 "tls" "tls" NONE optional "tls"
        "TLS between caller and observer";
    peer 5 "hops" "[[t, e Verified]]" HOPS optional "hop"
        "forwarded chain, client first, each with its level";
    peer 6 "ja4" "t" NONE optional "ja4"
        "TLS client fingerprint";
    peer 7 "retries" "u" NONE optional "retries"
        "retries";

    endpoint 0 "ip" "b4 or b16" NONE optional "src.ip, dst.ip"
        "address; IPv4-mapped IPv6 is written as IPv4";
    endpoint 1 "port" "u" NONE optional ""
        "port, at most 65535";
    endpoint 2 "host" "t" NONE optional ""
        "host name";
    endpoint 3 "workload" "t" NONE optional "src, dst"
        "workload";
    endpoint 4 "ns" "t" NONE optional "src.ns, dst.ns"
        "namespace";
    endpoint 5 "zone" "t" NONE optional ""
        "zone";
    endpoint 6 "node" "t" NONE optional ""
        "node";

    tls 0 "version" "u" NONE optional "tls"
        "0x0304 for TLS 1.3";
    tls 1 "cipher" "u" NONE optional "tls.cipher"
        "cipher suite";
    tls 2 "sni" "t" NONE optional "sni"
        "server name";
    tls 3 "alpn" "t" NONE optional ""
        "application protocol";
    tls 4 "peer_cert" "b32" NONE optional ""
        "SHA-256 of the peer's certificate";
    tls 5 "resumed" "bool" NONE optional ""
        "session was resumed";
    tls 6 "group" "u" NONE optional ""
        "key exchange group";

    target 0 "svc" "t" TARGET_SVC optional "service"
        "service called";
    target 1 "res" "t" RES optional "resource"
        "resource as a template: `/orders/{id}`, table, topic";
    target 2 "raw" "t" TARGET_RAW optional "target.raw"
        "as it was on the wire, redacted";
    target 3 "rtype" "t" NONE optional "type"
        "type: `table`, `pod`, `bucket`";
    target 4 "id" "t" NONE optional "target.id"
        "identifier";
    target 5 "ns" "t" NONE optional "namespace"
        "database, namespace, account";
    target 6 "region" "t" NONE optional "region"
        "region";
    target 7 "more" "[target]" MORE optional "more"
        "further resources, themselves without more";
    target 8 "tags" "[t] set" NONE optional "tag"
        "tags of the resource";

    links 0 "trace" "b16" NONE optional "trace"
        "W3C trace id; never all zero";
    links 1 "span" "b8" NONE optional "span"
        "span id; never all zero";
    links 2 "parent" "b8" NONE optional "parent"
        "parent span id; never all zero";
    links 3 "tflags" "u" NONE optional "tflags"
        "trace flags";
    links 4 "corr" "t" LINK optional "corr"
        "request id, auditID, `txn`";
    links 5 "sess" "t" LINK optional "session"
        "session";
    links 6 "msg" "t" LINK optional "message"
        "message id";
    links 7 "of" "b16" NONE optional "of"
        "eid this record belongs to";
    links 8 "conn" "b16" NONE optional "conn"
        "connection";
    links 9 "conn_seq" "u" NONE optional "conn_seq"
        "number of the interaction on its connection, from 1";
    links 10 "via" "e LinkVia" NONE optional "links.via"
        "where the ids were read";
    links 11 "causal" "[[b16, e LinkVia, u]]" CAUSAL optional "causal"
        "eid, how, score 0 to 1000; always inferred";
    links 12 "cause" "[[b16, u, u]]" CAUSAL optional ""
        "conn and conn_seq of a request that this was probably made for, score 0 to 1000; always inferred, best first";

    content 0 "detail" "map" NONE optional "detail.<key>"
        "keys registered per kind";
    content 1 "stmt" "t" STMT optional "statement"
        "statement with literals as `?`";
    content 2 "stmt_fp" "b16" NONE optional "stmt_fp"
        "fingerprint of its shape";
    content 3 "params" "[t]" NONE optional "params"
        "only when the route opts in, after redaction";
    content 4 "headers" "[[t, t]]" HEADERS optional "header.<name>"
        "allow-listed, lower-case names, wire order";
    content 5 "err" "t" ERR optional "error"
        "redacted error text";
    content 6 "unmapped" "map t: t or b" UNMAPPED optional "raw.<key>"
        "JSON pointer of a source field: its JSON token as spelled, or bytes; 256 KiB together";
    content 7 "redacted" "[[t, u]]" NONE optional "redacted"
        "redaction rule and hits";
    content 8 "cut" "[[u, u]]" NONE optional "cut"
        "field id and original length";

    body 0 "req" "payload" NONE optional "req.size, req.digest"
        "request payload";
    body 1 "rsp" "payload" NONE optional "rsp.size, rsp.digest"
        "response payload";
    body 2 "cap" "cap" NONE optional "capture"
        "how the record was captured";
    body 3 "raw" "raw" NONE optional "body.raw"
        "the source's own bytes";
    body 4 "change" "change" NONE optional "change"
        "digests before and after a record write";

    payload 0 "size" "u" NONE optional "req.size, rsp.size"
        "bytes";
    payload 1 "digest" "b32" NONE optional "req.digest, rsp.digest"
        "digest of the bytes as received";
    payload 2 "ref" "t" NONE optional ""
        "where a copy is kept";
    payload 3 "truncated" "bool" NONE optional ""
        "the payload was cut";
    payload 4 "content_type" "t" NONE optional ""
        "content type";
    payload 5 "excerpt" "b" EXCERPT optional ""
        "excerpt";
    payload 6 "alg" "e DigestAlg" NONE optional ""
        "digest algorithm";
    payload 7 "messages" "u" NONE optional ""
        "messages";
    payload 8 "digest_sent" "b32" NONE optional ""
        "digest as sent, only when the gateway changed bytes";

    cap 0 "mode" "e CaptureMode" NONE optional "capture"
        "how it was captured";
    cap 1 "fmt" "t" NONE optional ""
        "format";
    cap 2 "parser" "t" NONE optional ""
        "parser, `name@version`";
    cap 3 "conf" "e CaptureConf" NONE optional ""
        "how much was understood";
    cap 4 "source_id" "t" NONE optional ""
        "the source's own id of the record";
    cap 5 "offset" "u" NONE optional ""
        "offset in the source";
    cap 6 "path" "t" NONE optional ""
        "path or topic";
    cap 7 "deliverer" "t" NONE optional ""
        "deliverer's principal id";
    cap 8 "level" "e Verified" NONE optional ""
        "level of the input, 1 or 2";
    cap 9 "merged" "u" NONE optional ""
        "source records merged into this one; default 1, never written";
    cap 10 "changes" "[t] set" NONE optional ""
        "changes made to the bytes: `hop_by_hop`, `reencoded`";

    raw 0 "digest" "b32" NONE optional ""
        "digest";
    raw 1 "length" "u" NONE optional ""
        "length in bytes";
    raw 2 "ref" "t" NONE optional ""
        "where a copy is kept";
    raw 3 "bytes" "b" RAW_BYTES optional ""
        "the bytes";
    raw 4 "alg" "e DigestAlg" NONE optional ""
        "digest algorithm";

    change 0 "before" "b32" NONE optional ""
        "digest before";
    change 1 "after" "b32" NONE optional ""
        "digest after";
    change 2 "alg" "e DigestAlg" NONE optional ""
        "digest algorithm";
}
