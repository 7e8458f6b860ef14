//! The closed word lists of schema 1. 0 (unknown) is never written: absence is `None` in the model.
//! A number that this version does not know is kept as `Other(n)`, carried and re-encoded unchanged.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $n:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`, encoded as ", stringify!($n))] $variant,)+
            /// A value that a newer version wrote. Never 0.
            Other(u64),
        }
        impl $name {
            /// All values that this version knows, ascending.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The number on the wire; never 0.
            pub fn code(self) -> u64 {
                match self { $($name::$variant => $n,)+ $name::Other(n) => n }
            }
            /// From the number on the wire; `None` for 0, which is never written.
            pub fn from_code(n: u64) -> Option<$name> {
                match n { 0 => None, $($n => Some($name::$variant),)+ n => Some($name::Other(n)) }
            }
            /// The word of the dictionary; `other` for a value this version does not know.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ $name::Other(_) => "other" }
            }
            /// From the word of the dictionary, lower case.
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

words! { /// Where `t_event` came from.
TimeBasis { Measured = 1 "measured", Stated = 2 "stated", Derived = 3 "derived", Missing = 4 "missing" } }
words! { /// What a record is.
Rec { Interaction = 1 "interaction", Intent = 2 "intent", Outcome = 3 "outcome", SessionOpen = 4 "session_open",
    SessionClose = 5 "session_close", Progress = 6 "progress", Opaque = 7 "opaque", Cut = 8 "cut", Raw = 9 "raw",
    Gap = 10 "gap", Finding = 11 "finding", Platform = 12 "platform" } }
words! { /// Family of interaction.
Kind { Http = 1 "http", Grpc = 2 "grpc", Rpc = 3 "rpc", Sql = 4 "sql", Kv = 5 "kv", Doc = 6 "doc",
    Messaging = 7 "messaging", Object = 8 "object", Dns = 9 "dns", L4 = 10 "l4", Auth = 11 "auth",
    CloudApi = 12 "cloud_api", K8sApi = 13 "k8s_api", Secret = 14 "secret", Tool = 15 "tool",
    Lifecycle = 16 "lifecycle", Policy = 17 "policy", File = 18 "file", Directory = 19 "directory" } }
words! { /// Operation class.
Class { Read = 1 "read", Create = 2 "create", Modify = 3 "modify", Delete = 4 "delete", Execute = 5 "execute",
    Admin = 6 "admin", Authenticate = 7 "authenticate", Connect = 8 "connect", Schema = 9 "schema", Meta = 10 "meta" } }
words! { /// How an interaction ended. A connection that dies between intent and response has none.
Outcome { Success = 1 "success", Denied = 2 "denied", CallerError = 3 "caller_error", ServerError = 4 "server_error",
    Timeout = 5 "timeout", Cancelled = 6 "cancelled", Partial = 7 "partial" } }
words! { /// Code space of a native status.
StatusSpace { Http = 1 "http", Grpc = 2 "grpc", Sqlstate = 3 "sqlstate", Mysql = 4 "mysql", Mongo = 5 "mongo",
    Kafka = 6 "kafka", Mqtt = 7 "mqtt", Amqp = 8 "amqp", K8s = 9 "k8s", Cloud = 10 "cloud", Os = 11 "os",
    Dns = 12 "dns", Redis = 13 "redis", Jsonrpc = 14 "jsonrpc", Nats = 15 "nats" } }
words! { /// A policy's verdict.
Verdict { Allow = 1 "allow", Deny = 2 "deny", WouldDeny = 3 "would_deny" } }
words! { /// How strictly a policy acts.
Mode { Observe = 1 "observe", Learn = 2 "learn", Shadow = 3 "shadow", Enforce = 4 "enforce" } }
words! { /// How an identity was shown.
Auth { Mtls = 1 "mtls", SpiffeSvid = 2 "spiffe_svid", Jwt = 3 "jwt", JwtDpop = 4 "jwt_dpop",
    JwtMtlsBound = 5 "jwt_mtls_bound", OauthOpaque = 6 "oauth_opaque", ApiKey = 7 "api_key", Basic = 8 "basic",
    Scram = 9 "scram", ScramPlus = 10 "scram_plus", Kerberos = 11 "kerberos", Sigv4 = 12 "sigv4",
    IamRole = 13 "iam_role", K8sSa = 14 "k8s_sa", HttpSig = 15 "http_sig", Wimse = 16 "wimse",
    DbPassword = 17 "db_password", Nkey = 18 "nkey", PeerIp = 19 "peer_ip", PeerCred = 20 "peer_cred", None = 21 "none" } }
words! { /// The one scale of trust in an identity: `docs/reference/verified.md`.
Verified { Claimed = 1 "claimed", Asserted = 2 "asserted", Checked = 3 "checked", Bound = 4 "bound" } }
words! { /// What kind of actor a principal is.
PrincipalKind { Service = 1 "service", Workload = 2 "workload", User = 3 "user", Device = 4 "device", Node = 5 "node",
    AiAgent = 6 "ai_agent", Role = 7 "role", System = 8 "system", Anonymous = 9 "anonymous" } }
words! { /// How a delegating principal relates to the next.
Relation { OnBehalfOf = 1 "on_behalf_of", Impersonates = 2 "impersonates", AssumedRole = 3 "assumed_role", Via = 4 "via" } }
words! { /// Where on the wire an identity was read.
IdentityFrom { Tls = 1 "tls", Header = 2 "header", Token = 3 "token", WireHandshake = 4 "wire_handshake",
    RecordField = 5 "record_field", Address = 6 "address", Comment = 7 "comment" } }
words! { /// Transport protocol.
Transport { Tcp = 1 "tcp", Udp = 2 "udp", Quic = 3 "quic", Unix = 4 "unix", Vsock = 5 "vsock" } }
words! { /// Where a correlation id was read.
LinkVia { Traceparent = 1 "traceparent", B3 = 2 "b3", VendorHeader = 3 "vendor_header", MessageHeader = 4 "message_header",
    Meta = 5 "meta", SqlComment = 6 "sql_comment", Inferred = 7 "inferred", SessionName = 8 "session_name" } }
words! { /// How a record was captured.
CaptureMode { Inline = 1 "inline", Mirror = 2 "mirror", Pull = 3 "pull", Push = 4 "push", File = 5 "file", Replay = 6 "replay" } }
words! { /// How much of the source was understood.
CaptureConf { Full = 1 "full", Partial = 2 "partial", RawOnly = 3 "raw_only" } }
words! { /// Digest algorithm.
DigestAlg { Sha256 = 1 "sha256", HmacSha256 = 2 "hmac_sha256" } }
words! { /// State of a finding.
FindingState { Open = 1 "open", Updated = 2 "updated", Resolved = 3 "resolved" } }
words! { /// Severity of a finding (OCSF `severity_id`).
Severity { Informational = 1 "informational", Low = 2 "low", Medium = 3 "medium", High = 4 "high", Critical = 5 "critical" } }
