//! Bounds of schema 1, in bytes for texts and byte strings, else in items. One-way: none may ever shrink.

/// 0.2 `agent`.
pub const AGENT: usize = 256;
/// 0.12 `proto`.
pub const PROTO: usize = 64;
/// 0.13 `op`.
pub const OP: usize = 256;
/// 0.18 `labels`, items.
pub const LABELS: usize = 32;
/// 0.18 one of `labels`.
pub const LABEL: usize = 64;
/// 0.19 `tenant`.
pub const TENANT: usize = 128;
/// 0.23 `route`.
pub const ROUTE: usize = 128;
/// 1.1 `obo`, items.
pub const OBO: usize = 16;
/// 1.2 `also`, items.
pub const ALSO: usize = 8;
/// Principal 0 `id`.
pub const PRINCIPAL_ID: usize = 1024;
/// Principal 5 `cred`.
pub const CRED: usize = 256;
/// Principal 9 `groups`, items.
pub const GROUPS: usize = 64;
/// 2.5 `hops`, items.
pub const HOPS: usize = 32;
/// 3.0 `svc`.
pub const TARGET_SVC: usize = 256;
/// 3.1 `res`.
pub const RES: usize = 1024;
/// 3.2 `raw`.
pub const TARGET_RAW: usize = 4096;
/// 3.7 `more`, items.
pub const MORE: usize = 64;
/// 4.4 `corr`, 4.5 `sess`, 4.6 `msg`.
pub const LINK: usize = 256;
/// 4.11 `causal`, 4.12 `cause`, items.
pub const CAUSAL: usize = 8;
/// 4.11, 4.12 the score of one cause.
pub const SCORE: u64 = 1000;
/// 5.1 `stmt`.
pub const STMT: usize = 64 << 10;
/// 5.4 `headers`, items.
pub const HEADERS: usize = 64;
/// 5.5 `err`.
pub const ERR: usize = 4096;
/// 5.6 `unmapped`, entries.
pub const UNMAPPED: usize = 1024;
/// 5.6 `unmapped`, keys and values together.
pub const UNMAPPED_BYTES: usize = 256 << 10;
/// Payload 5 `excerpt`.
pub const EXCERPT: usize = 4 << 10;
/// 6.3 `raw`, its bytes.
pub const RAW_BYTES: usize = 64 << 10;
