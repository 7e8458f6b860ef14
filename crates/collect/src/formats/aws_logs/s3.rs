//! S3 server access logs, as text and as the JSON that pipelines make of it.
//!
//! Source: Amazon S3 user guide, "Amazon S3 server access log format". S3 authenticated the requester (asserted); a
//! `-` is a request without credentials, and a request whose signature was refused claims its requester. S3 escapes
//! nothing in the user agent.

use super::later;
use crate::formats::web::json::{member_word, object};
use crate::formats::web::{Clock, Compiled, Exchange, Known, Role, nginx};
use crate::formats::{Format, Record};
use crate::json::Val;
use crate::plan::{Escape, FormatError};
use crate::text::given;
use crate::{Draft, Fault};
use countersign_event::{Auth, Class, Kind, PrincipalKind, Verified};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Names of the text's fields, those of JSON, and what they mean; `Skip` = taken by [`S3`].
const NAMES: &[(&str, &str, Role)] = &[
    ("bucket_owner", "bucketowner", Role::Skip),
    ("bucket", "bucket", Role::Skip),
    ("time", "time", Role::Skip),
    ("remote_ip", "remoteip", Role::Client),
    ("requester", "requester", Role::Skip),
    ("request_id", "requestid", Role::RequestId),
    ("operation", "operation", Role::Skip),
    ("key", "key", Role::Skip),
    ("request_uri", "requesturi", Role::Request),
    ("status", "httpstatus", Role::Status),
    ("error_code", "errorcode", Role::Error),
    ("bytes_sent", "bytessent", Role::Sent),
    ("object_size", "objectsize", Role::Rest),
    ("total_time", "totaltime", Role::Took(1_000_000)),
    ("turn_around_time", "turnaroundtime", Role::TookUpstream(1_000_000)),
    ("referer", "referrer", Role::Header),
    ("user-agent", "useragent", Role::Header),
    ("version_id", "versionid", Role::Rest),
    ("host_id", "hostid", Role::Rest),
    ("signature_version", "signatureversion", Role::Skip),
    ("cipher_suite", "ciphersuite", Role::Cipher),
    ("authentication_type", "authenticationtype", Role::Rest),
    ("host_header", "hostheader", Role::Host),
    ("tls_version", "tlsversion", Role::TlsVersion),
];

fn compile() -> Result<Compiled, FormatError> {
    let role = |name: &str| {
        let name = name.replace("user_agent", "user-agent");
        let role = NAMES.iter().find(|(known, ..)| *known == name).map_or(Role::Rest, |(.., role)| *role);
        (name, role)
    };
    nginx::dollars(
        "$bucket_owner $bucket [$time] $remote_ip $requester $request_id $operation $key \"$request_uri\" $status \
         $error_code $bytes_sent $object_size $total_time $turn_around_time \"$referer\" \"$user_agent\" $version_id \
         $host_id $signature_version $cipher_suite $authentication_type $host_header $tls_version",
        Escape::None,
        &role,
        &[],
    )
}

static TEXT: Known = LazyLock::new(compile);

/// The row of the table.
pub const S3_ACCESS: Format = Format {
    name: "aws-s3-access",
    what: "S3 server access log, text and JSON",
    looks: |record| {
        ["REST.", "WEBSITE.", "SOAP.", "BATCH.", "S3."].iter().any(|kind| record.text.contains(kind))
            && (record.json.is_none() || record.text.contains("\"operation\""))
    },
    parse: |record| if record.json.is_some() { object(record, record.text, json) } else { text(record) },
};

/// Fields that mean something of their own here.
#[derive(Debug, Default)]
struct S3<'a> {
    owner: Cow<'a, str>,
    bucket: Cow<'a, str>,
    requester: Option<Cow<'a, str>>,
    operation: Cow<'a, str>,
    key: Cow<'a, str>,
    signature: Cow<'a, str>,
}

impl<'a> S3<'a> {
    /// Takes a field of that name, or gives it back.
    fn take(&mut self, exchange: &mut Exchange<'a>, name: &str, role: Role, value: Cow<'a, str>) {
        let place = match name {
            "bucket_owner" => &mut self.owner,
            "bucket" => &mut self.bucket,
            "operation" => &mut self.operation,
            "key" => &mut self.key,
            "signature_version" => &mut self.signature,
            "requester" => {
                self.requester = Some(value);
                return;
            }
            "time" => return exchange.take(Role::Time(Clock::Any), name, value),
            _ => return exchange.take(role, name, value),
        };
        *place = value;
    }

    fn done(self, mut draft: Draft) -> Result<Draft, Fault> {
        if self.operation.is_empty() || self.bucket.is_empty() {
            return Err(Fault::new(0, "no operation on a bucket"));
        }
        let core = &mut draft.event.core;
        core.kind = Some(Kind::Object);
        core.class = class(&self.operation);
        self.operation.as_ref().clone_into(&mut core.op);
        // What HTTP's keys of `detail` said is in `unmapped` too; those of the kind are none.
        draft.event.content.detail.clear();
        let target = &mut *draft.event.target;
        "s3".clone_into(&mut target.svc);
        target.ns = self.owner.into_owned();
        target.res = self.bucket.into_owned();
        target.rtype = if self.key.is_empty() { "bucket" } else { "object" }.to_owned();
        target.id = self.key.into_owned();
        let refused = matches!(
            draft.event.content.err.as_str(),
            "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken"
        );
        let level = if refused { Verified::Claimed } else { Verified::Asserted };
        match self.requester.as_deref().map(given) {
            Some(Some(requester)) => who(&mut draft, requester, &self.signature, level),
            // The record says that there were no credentials.
            Some(None) => drop(draft.who("anon:", PrincipalKind::Anonymous, Verified::Claimed)),
            None => {}
        }
        if let Some(signature) = given(&self.signature) {
            draft.rest("signature_version", signature);
        }
        Ok(draft)
    }
}

fn who(draft: &mut Draft, requester: &str, signature: &str, level: Verified) {
    let kind = match requester {
        arn if arn.contains(":assumed-role/") || arn.contains(":role/") => PrincipalKind::Role,
        service if service.starts_with("svc:") || service.ends_with(".amazonaws.com") => {
            PrincipalKind::Service
        }
        _ => PrincipalKind::User,
    };
    let id =
        if requester.starts_with("arn:") { requester.to_owned() } else { format!("user:aws/{requester}") };
    let who = draft.who(id, kind, level);
    requester.rsplit('/').next().unwrap_or_default().clone_into(&mut who.name);
    who.auth = signature.starts_with("SigV").then_some(Auth::Sigv4);
}

/// Class of an operation: `REST.PUT.OBJECT`, `S3.EXPIRE.OBJECT`, `BATCH.DELETE.OBJECT`.
fn class(operation: &str) -> Option<Class> {
    let mut parts = operation.split('.');
    let (_, verb, what) = (parts.next(), parts.next()?, parts.next().unwrap_or_default());
    let data = matches!(what, "OBJECT" | "PART" | "UPLOAD" | "UPLOADS" | "OBJECT_GET" | "");
    Some(match verb {
        "GET" | "HEAD" | "SELECT" => Class::Read,
        "OPTIONS" => Class::Meta,
        "DELETE" | "EXPIRE" => Class::Delete,
        "COPY" => Class::Create,
        "TRANSITION_SIA" | "TRANSITION_GDA" | "TRANSITION_INT" | "TRANSITION_ZIA" | "TRANSITION" => {
            Class::Modify
        }
        "POST" if what == "MULTI_OBJECT_DELETE" => Class::Delete,
        "PUT" | "POST" | "CREATE" if data || what == "BUCKET" => Class::Create,
        "PUT" | "POST" => Class::Admin,
        _ => return None,
    })
}

fn text(record: &Record<'_>) -> Result<Draft, Fault> {
    let compiled = TEXT.as_ref().map_err(|_| Fault::new(0, "a format of ours does not compile"))?;
    let (mut exchange, mut s3) = (Exchange::new(record), S3::default());
    let mut tls = "";
    // A requester of `-` says something.
    let mut nobody = true;
    compiled.fields(record.text, &mut |role, name, value| {
        nobody &= name != "requester";
        match (name, &value) {
            // The last field of the plan takes what AWS has added behind it.
            ("tls_version", Cow::Borrowed(rest)) => tls = rest,
            _ => s3.take(&mut exchange, name, role, value),
        }
    })?;
    if nobody {
        s3.requester = Some(Cow::Borrowed("-"));
    }
    let (version, rest) = tls.split_once(' ').unwrap_or((tls, ""));
    if given(version).is_some() {
        exchange.take(Role::TlsVersion, "tls_version", Cow::Borrowed(version));
    }
    let mut draft = s3.done(exchange.done()?)?;
    later(&mut draft, rest);
    Ok(draft)
}

fn json<'a>(record: &Record<'a>, root: Val<'a, 'a>) -> Result<Draft, Fault> {
    let (mut exchange, mut s3) = (Exchange::new(record), S3::default());
    for member in root.members() {
        let name: String = member
            .name()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .collect::<String>()
            .to_ascii_lowercase();
        let Some((ours, _, role)) = NAMES.iter().find(|(_, theirs, _)| *theirs == name) else { continue };
        let Some(word) = member_word(member) else { continue };
        if given(&word).is_some() || *ours == "requester" {
            s3.take(&mut exchange, ours, *role, word);
        }
    }
    // A record without a request line still says what was done; HTTP's part is then missing, and nothing else.
    let operation = s3.operation.clone();
    if root.get("requesturi").is_none()
        && root.get("requestUri").is_none()
        && root.get("request_uri").is_none()
    {
        let verb = operation.split('.').nth(1).unwrap_or("-").to_owned();
        exchange.take(Role::Method, "method", Cow::Owned(verb));
    }
    s3.done(exchange.done()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::web::tests::parsed;
    use countersign_event::Outcome;

    const LINE: &str = "79a59df900b949e5 awsexamplebucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 arn:aws:sts::123456789012:assumed-role/app/i-1 3E57427F3EXAMPLE REST.PUT.OBJECT photos/a%2520b.jpg \"PUT /awsexamplebucket1/photos/a%20b.jpg?x=1 HTTP/1.1\" 403 AccessDenied 243 1024 7 6 \"-\" \"S3Console/0.4 \\\"x\" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader awsexamplebucket1.s3.us-west-1.amazonaws.com TLSV1.2 - Yes";

    #[test]
    fn a_line_names_requester_bucket_and_key() {
        let draft = parsed(&S3_ACCESS, LINE);
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        let who = event.who.who.as_ref().unwrap();
        assert_eq!(
            (who.kind, who.verified, who.auth),
            (Some(PrincipalKind::Role), Verified::Asserted, Some(Auth::Sigv4))
        );
        assert_eq!((event.core.class, event.core.outcome), (Some(Class::Create), Some(Outcome::Denied)));
        assert_eq!(
            (event.target.res.as_str(), event.target.id.as_str()),
            ("awsexamplebucket1", "photos/a%2520b.jpg")
        );
        assert_eq!(event.content.err, "AccessDenied");
        assert_eq!(event.peer.tls.as_ref().and_then(|tls| tls.version), Some(0x0303));
    }

    #[test]
    fn nobody_is_anonymous_and_a_refused_signature_claims() {
        let anonymous =
            parsed(&S3_ACCESS, &LINE.replace("arn:aws:sts::123456789012:assumed-role/app/i-1", "-"));
        assert_eq!(anonymous.event.who.who.as_ref().map(|who| who.id.clone()), Some("anon:".to_owned()));
        let refused = parsed(&S3_ACCESS, &LINE.replace("AccessDenied", "SignatureDoesNotMatch"));
        assert_eq!(refused.event.who.who.as_ref().map(|who| who.verified), Some(Verified::Claimed));
    }
}
