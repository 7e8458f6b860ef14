//! Keys of the collector's inputs.

use super::super::schema::{Key, Kind};
use super::{DAY, key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    required(
        "input[].name",
        Kind::Text,
        "Name of the input, unique; its records' agent is input:NAME. Without a configuration file there are \
         three on loopback: push (http, port 4318), otlp (http, port 4317, where senders of gRPC look for it) and syslog \
         (port 5514).",
    ),
    key(
        "input[].listen",
        Kind::Address,
        "",
        "Where senders connect. Every input needs it that neither reads files nor fetches.",
    ),
    key(
        "input[].protocol",
        Kind::Word(&["http", "syslog", "fluent", "edge", "file", "nats", "kafka"]),
        "\"http\"",
        "http: all push protocols by their paths, HTTP/1.1 and HTTP/2. syslog: RFC 5424 and 3164 over UDP and TCP on \
         one port number, with [input.tls] over TLS alone. fluent: the forward protocol of Fluentd and Fluent Bit over \
         TCP, with [input.tls] over TLS. edge: records of the edges that [[input.edge]] names, over mutual TLS alone. \
         file: nothing is spoken, the files of `paths` are followed. nats: messages of a stream are fetched from the \
         servers that [input.nats] names.",
    ),
    key(
        "input[].shared_key",
        Kind::Path,
        "",
        "File with the key that senders of protocol fluent must prove (shared_key of Fluentd, Shared_Key of Fluent \
         Bit); who proves it delivers as key:fluent/NAME.",
    ),
    key(
        "input[].audit",
        Kind::Bool,
        "false",
        "Whether POST /v1/audit takes records of OpenTelemetry's audit draft and answers with a receipt for each; the \
         draft may change.",
    ),
    key(
        "input[].audit_proofs",
        Kind::Url,
        "",
        "What a leaf's index is appended to for the address of its proof in such a receipt.",
    ),
    key(
        "input[].paths",
        Kind::Texts,
        "",
        "Patterns of the files to follow: * and ? and [a-z] within a name, ** for any number of directories. Relative \
         ones count from the configuration file's directory. Where files are rotated by renaming, let the pattern \
         match the new names too: what is renamed while nobody looks is found then.",
    ),
    key("input[].exclude", Kind::Texts, "", "Patterns of files to leave out, as packed copies of others."),
    key(
        "input[].cloudtrail_keys",
        Kind::Path,
        "",
        "File with the answer of aws cloudtrail list-public-keys: files of CloudTrail's records are proven by the signed \
         digests of `cloudtrail_digests`, and what they do not prove stays claimed, with a finding.",
    ),
    key(
        "input[].cloudtrail_digests",
        Kind::Texts,
        "",
        "Patterns of the digest files, copied from the bucket with their whole paths.",
    ),
    key(
        "input[].cloudtrail_wait",
        Kind::Span(1_000, 7 * DAY),
        "\"2h\"",
        "How long a file waits for the digest that names it; AWS writes one an hour. After that it is read as claimed.",
    ),
    key(
        "input[].frame",
        Kind::Word(&["auto", "lines", "csv", "journal", "cri", "docker", "indented", "zeek", "records"]),
        "\"auto\"",
        "Where one record of a file ends: auto tells by `format` or by the first line. csv: a line break inside \
         quotation marks is part of the record. indented: a line behind a tab belongs to the one before. cri, docker: \
         parts of a line are joined. records: {\"Records\":[…]}, read as a whole.",
    ),
    key(
        "input[].format",
        Kind::Text,
        "\"auto\"",
        "What the records are: a name that countersign parse --help lists; auto finds out, record by record.",
    ),
    key(
        "input[].format_file",
        Kind::Path,
        "",
        "File with a format of your own, a server's format string or a mapping: docs/guide/mapper.md. On a syslog input, \
         or with a `format` that carries messages of others, it says what those messages are.",
    ),
    key(
        "input[].trust",
        Kind::Word(&["claimed", "asserted"]),
        "\"claimed\"",
        "How far identities in the records are believed, at most: asserted needs a sender that shows a credential \
         which was checked; what is delivered without one stays claimed. Of files: say it of those that only the \
         service which logs can write; a file that everybody may write to stays claimed. Of what is fetched: it holds \
         over TLS alone.",
    ),
    key(
        "input[].credential",
        Kind::Word(&["optional", "required"]),
        "\"optional\"",
        "Whether a sender must show a certificate, token or API key that [identity] knows.",
    ),
    key(
        "input[].realm",
        Kind::Text,
        "(name)",
        "Realm of names that have none of their own in the records: a cluster, an account, a host.",
    ),
    key(
        "input[].keep_raw",
        Kind::Word(&["unparsed", "all", "none"]),
        "\"unparsed\"",
        "Whose bytes are kept, secrets removed: of records that were not understood whole, of all, of none. Length \
         and digest are always kept.",
    ),
    key(
        "input[].plaintext",
        Kind::Bool,
        "false",
        "Allows an address off loopback without [input.tls]: everybody on the way can read and change what is sent. \
         With protocol nats: allows nats:// off loopback.",
    ),
    required(
        "input[].nats.servers",
        Kind::Texts,
        "Servers of one cluster, tried in turn: tls://HOST:PORT, or nats://HOST:PORT without TLS; port 4222 where none \
         is given. No login stands in them.",
    ),
    required(
        "input[].nats.stream",
        Kind::Text,
        "Name of the stream of JetStream whose messages are records.",
    ),
    required(
        "input[].nats.consumer",
        Kind::Text,
        "Name of the durable consumer: pulled, each message acknowledged by itself, none given up. The server keeps \
         by it how far this input is; give it to no other.",
    ),
    key("input[].nats.create", Kind::Bool, "false", "Whether the consumer is made where there is none."),
    key(
        "input[].nats.subject",
        Kind::Text,
        "",
        "For a consumer that is made: the subjects it chooses (orders.>); none = all of the stream.",
    ),
    key(
        "input[].nats.login",
        Kind::Word(&["none", "password", "token", "nkey", "creds"]),
        "\"none\"",
        "What login_file holds: the password of `user`, a token, the seed of a user's nkey, or a credentials file as \
         nsc writes it. none: nothing is shown, or the certificate alone.",
    ),
    key(
        "input[].nats.login_file",
        Kind::Path,
        "",
        "File with that secret; it is read anew for every connection.",
    ),
    key("input[].nats.user", Kind::Text, "", "The user of login password."),
    key(
        "input[].nats.ca",
        Kind::Path,
        "",
        "PEM with the authorities that the servers' certificates must come from; none = the system's.",
    ),
    key("input[].nats.cert", Kind::Path, "", "PEM certificate chain that is shown to the servers."),
    key("input[].nats.key", Kind::Path, "", "PEM private key of the certificate."),
    required(
        "input[].kafka.brokers",
        Kind::Texts,
        "Some brokers of the cluster, HOST:PORT, tried in turn; port 9092 where none is given.",
    ),
    required("input[].kafka.topics", Kind::Texts, "Names of topics; all their partitions are read."),
    required(
        "input[].kafka.group",
        Kind::Text,
        "Group under which offsets are committed: of this input alone, without members.",
    ),
    key(
        "input[].kafka.login",
        Kind::Word(&["none", "plain", "scram-sha-256"]),
        "\"none\"",
        "SASL mechanism by which we log in.",
    ),
    key("input[].kafka.user", Kind::Text, "", "Who logs in."),
    key(
        "input[].kafka.login_file",
        Kind::Path,
        "",
        "File with the password; it is read anew for every connection.",
    ),
    key("input[].kafka.tls", Kind::Bool, "false", "Whether brokers are spoken to over TLS."),
    key(
        "input[].kafka.ca",
        Kind::Path,
        "",
        "PEM with the authorities that brokers' certificates must come from; none = the system's.",
    ),
    key("input[].kafka.cert", Kind::Path, "", "PEM certificate chain that is shown to brokers."),
    key("input[].kafka.key", Kind::Path, "", "PEM private key of the certificate."),
    required("input[].tls.cert", Kind::Path, "PEM certificate chain that senders see."),
    required("input[].tls.key", Kind::Path, "PEM private key of the certificate."),
    key(
        "input[].tls.client_ca",
        Kind::Path,
        "",
        "PEM with the authorities that senders' certificates must come from.",
    ),
    key(
        "input[].tls.client_auth",
        Kind::Word(&["none", "optional", "required"]),
        "\"optional\"",
        "Whether a sender shows a certificate.",
    ),
    required("input[].edge[].name", Kind::Text, "Name of an edge that may send, as its own edge.name says."),
    required(
        "input[].edge[].identity",
        Kind::Text,
        "Who it is: the SPIFFE id of its certificate, whose authority is in [[identity.trust]], or sha256: and the \
         certificate's digest in hex.",
    ),
    key(
        "input[].edge[].agents",
        Kind::Texts,
        "[]",
        "Agents, whole, whose records it may send besides those of edge:NAME/: what its ledger holds from before it \
         had a name.",
    ),
];
