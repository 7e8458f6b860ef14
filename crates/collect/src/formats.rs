//! The parsers, one file a format, and the table of them.
//!
//! A parser is a pure function: a [`Record`] in, a [`Draft`] out, or the [`Fault`] that made it give up. It follows
//! the vendor's grammar, not a sample; it never guesses: what the record does not say stays absent. `looks` is a
//! cheap test that a record may be of the format, for inputs that do not say what they are; it may be wrong, the
//! parser then says so.

pub mod access;
pub mod apps;
pub mod atlas;
pub mod aws;
pub mod aws_logs;
pub mod azure;
pub mod bind9;
mod cloud;
pub mod cloudevents;
pub mod cloudtrail;
pub mod container;
pub(crate) mod csv;
pub(crate) mod envelope;
pub mod gcp;
pub mod generic;
pub mod journald;
pub mod k8s_audit;
pub(crate) mod login;
pub mod mongodb;
pub mod mssql;
pub mod mysql;
pub mod netfilter;
pub mod ocsf;
pub mod own;
pub mod postgres;
pub mod pushed;
pub mod redis_acl;
pub mod siem;
pub(crate) mod sql;
pub mod sshd;
pub mod suricata;
pub mod syslog;
pub mod teleport;
#[cfg(test)]
mod testing;
pub mod vault;
pub mod vsftpd;
pub mod web;
pub mod zeek;

use crate::json::Doc;
use crate::{Draft, Fault};

/// Version of all parsers, in `cap.parser`: raised when one of them maps a field otherwise.
pub const VERSION: u32 = 1;
/// What stands behind the format's name there.
pub(crate) const AT_VERSION: &str = "@1";

/// One source record, as framed.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its bytes, without the delimiter.
    pub bytes: &'a [u8],
    /// The same as text; empty if it is not UTF-8.
    pub text: &'a str,
    /// The same as JSON, if it is.
    pub json: Option<&'a Doc<'a>>,
    /// Our clock, UTC ns since 1970: for times without a year.
    pub now: i64,
    /// Realm of names without one: cluster, account, host.
    pub realm: &'a str,
    /// The program that wrote it, by the envelope around it (syslog, journal); empty = nobody said.
    pub app: &'a str,
    /// For an envelope: the format of what it carries, if the configuration says it.
    pub inner: Option<&'static Format>,
    /// The operator's own format, for [`own::OWN`].
    pub own: Option<&'a own::Own>,
}

impl<'a> Record<'a> {
    /// A record of a text or binary format.
    pub fn new(bytes: &'a [u8], now: i64) -> Record<'a> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        Record { bytes, text, json: None, now, realm: "", app: "", inner: None, own: None }
    }

    /// Whether it may come from `program`: nobody said who wrote it, or it was that one.
    pub fn by(&self, program: &str) -> bool {
        self.app.is_empty()
            || self.app.strip_prefix(program).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    }

    /// The JSON of a format that is JSON.
    ///
    /// # Errors
    /// The record is no JSON object.
    pub fn object(&self) -> Result<crate::json::Val<'a, 'a>, Fault> {
        let doc = self.json.ok_or(Fault::new(0, "not a JSON object"))?;
        match doc.root().kind() {
            crate::json::Kind::Object => Ok(doc.root()),
            _ => Err(Fault::new(0, "not a JSON object")),
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Format {
    /// Name in the configuration, in `cap.fmt` and in `countersign parse --format`.
    pub name: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    /// Whether a record may be one; cheap.
    pub looks: fn(&Record<'_>) -> bool,
    /// The parser.
    pub parse: fn(&Record<'_>) -> Result<Draft, Fault>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Format").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All formats, the more particular first: detection asks in this order.
#[rustfmt::skip] // one row a line
pub const FORMATS: &[Format] = &[
    ocsf::OCSF,
    cloudtrail::CLOUDTRAIL,
    k8s_audit::K8S_AUDIT,
    vault::VAULT,
    gcp::GCP_AUDIT,
    gcp::GCP_LB,
    container::DOCKER,
    container::CRI,
    pushed::SPLUNK_HEC,
    pushed::LOKI,
    pushed::FLUENT_FORWARD,
    pushed::PUBSUB,
    azure::AZURE,
    aws::WAF,
    aws::RESOLVER,
    teleport::TELEPORT,
    teleport::BOUNDARY,
    atlas::ATLAS,
    apps::AUTHENTIK,
    apps::KEYCLOAK,
    apps::GRAFANA,
    apps::SFTPGO,
    cloudevents::CLOUDEVENTS,
    cloudevents::SET,
    journald::JOURNALD,
    syslog::SYSLOG,
    aws_logs::flow::VPC_FLOW,
    aws_logs::s3::S3_ACCESS,
    aws_logs::lb::ALB,
    aws_logs::lb::NLB,
    aws_logs::lb::CLB,
    web::json::TRAEFIK,
    web::json::CADDY,
    web::json::FASTLY,
    web::mesh::LINKERD_JSON,
    web::mesh::ZTUNNEL,
    web::envoy::ENVOY_ACCESS,
    web::als::ENVOY_ALS,
    web::mesh::LINKERD,
    web::couchdb::COUCHDB,
    web::text::ZORAXY,
    web::nginx_error::NGINX_ERROR,
    web::haproxy::HAPROXY_CLF,
    web::haproxy::HAPROXY,
    web::text::TRAEFIK_COMMON,
    web::nginx::NGINX_PROXY_MANAGER,
    web::nginx::NPM_PLUS,
    web::nginx::INGRESS_NGINX,
    web::nginx::BUNKER_WEB,
    web::apache::VHOST_COMBINED,
    siem::CEF,
    siem::LEEF,
    zeek::TSV,
    zeek::JSON,
    suricata::EVE,
    suricata::FAST,
    postgres::CSVLOG,
    postgres::JSONLOG,
    postgres::TEXT,
    mysql::audit::JSON,
    mysql::audit::XML,
    mysql::audit::SERVER_AUDIT,
    mongodb::LOG,
    mongodb::AUDIT,
    redis_acl::REDIS_ACL,
    mssql::MSSQL,
    mysql::ERROR_LOG,
    bind9::BIND9,
    netfilter::NETFILTER,
    sshd::SSHD,
    vsftpd::VSFTPD,
    access::COMBINED,
    generic::JSON,
];

/// Formats by the name of the program that writes them so if nobody tells it otherwise.
const ALIASES: &[(&str, &str)] =
    &[("nginx", "combined"), ("apache", "combined"), ("aws-cloudtrail", "cloudtrail")];

/// The format called `name`.
pub fn by_name(name: &str) -> Option<&'static Format> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    FORMATS.iter().find(|format| format.name == name)
}
