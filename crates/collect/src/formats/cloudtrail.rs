//! AWS CloudTrail: one record of a log file, of an EventBridge event's `detail`, or of a queue.
//!
//! Source: AWS CloudTrail User Guide, "CloudTrail record contents", "userIdentity element", "Example: sign-in
//! events". Files hold `{"Records":[…]}`: [`crate::json::split`] with [`MEMBER`] cuts them. [`digest`] verifies
//! files against their signed digests.
//!
//! Inside a trusted input the identity and `sourceIPAddress` are asserted; the user agent, and the source identity
//! that the caller of AssumeRole chose, are claimed. Tokens in answers are removed.

pub mod digest;
mod identity;

use super::{Format, Record, cloud};
use crate::json::{Kind as Json, Val};
use crate::{Draft, Fault, time};
use countersign_event::cbor::Value;
use countersign_event::fields::detail;
use countersign_event::{Class, Kind, Outcome, StatusSpace, Target, Verified};

/// The row of the table.
pub const CLOUDTRAIL: Format =
    Format { name: "cloudtrail", what: "AWS CloudTrail record (also cut from a Records file)", looks, parse };

/// Member of a file that holds its records.
pub const MEMBER: &str = "Records";

fn looks(record: &Record<'_>) -> bool {
    record.object().is_ok_and(|event| {
        event.has("eventName")
            && (event.has("eventSource") || event.has("userIdentity") || event.has("eventVersion"))
    })
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let event = record.object()?;
    let name = cloud::text(event, "eventName").ok_or(Fault::new(0, "no eventName"))?;
    let mut draft = Draft::new();
    let kind = cloud::text(event, "eventType").unwrap_or_default();
    let sign_in = kind == "AwsConsoleSignIn";
    draft.event.core.kind = Some(if sign_in { Kind::Auth } else { Kind::CloudApi });
    draft.time(cloud::text(event, "eventTime").and_then(|text| time::rfc3339(&text)));
    target(&mut draft, event);
    let outcome = outcome(&mut draft, event, &name, sign_in);
    let known = identity::read(&mut draft, event, record.realm);
    if outcome.unproven {
        // Nobody proved to be the one who is named: rule (g) of the scale of trust.
        draft.event.who.who.iter_mut().for_each(|who| who.verified = Verified::Claimed);
    }
    class(&mut draft, event, &name, sign_in);
    if let Some(address) = cloud::text(event, "sourceIPAddress") {
        cloud::source(&mut draft, &address);
    }
    if let Some(agent) = cloud::text(event, "userAgent") {
        draft.header("user-agent", agent);
    }
    tls(&mut draft, event);
    draft.event.links.corr = cloud::text(event, "requestID").unwrap_or_default().into_owned();
    draft.source_id = cloud::text(event, "eventID").unwrap_or_default().into_owned();
    draft.sizes(size(event, "bytesTransferredIn"), size(event, "bytesTransferredOut"));
    tokens(&mut draft, event);
    if draft.source_id.is_empty() || draft.event.target.svc.is_empty() || !known || kind.is_empty() {
        draft.partial("a required field is missing");
    }
    draft.event.core.op = name.into_owned();
    Ok(draft)
}

fn size(event: Val<'_, '_>, name: &str) -> Option<u64> {
    // S3 writes these as doubles: 12.0. What is no whole number stays unmapped.
    let value = event.at("additionalEventData")?.get(name)?;
    value.uint().or_else(|| {
        let whole = value.spelled().strip_suffix(".0").and_then(|text| text.parse().ok());
        whole.inspect(|_| value.take())
    })
}

fn class(draft: &mut Draft, event: Val<'_, '_>, name: &str, sign_in: bool) {
    let verb = if sign_in { Some(Class::Authenticate) } else { cloud::class(name) };
    let read_only = event.get("readOnly").and_then(|flag| flag.bool());
    if let (Some(flag), false) = (read_only, sign_in) {
        draft.event.content.detail.insert(detail::cloud_api::READ_ONLY, Value::Bool(flag));
    }
    draft.event.core.class = match (verb, read_only) {
        (Some(Class::Authenticate), _) => verb,
        (_, Some(true)) => Some(Class::Read),
        // A read that says it is none: the flag is about the account, the verb about the answer; neither is sure.
        (Some(Class::Read), Some(false)) => None,
        _ => verb,
    };
}

struct Ended {
    /// The caller did not show to be who it said.
    unproven: bool,
}

/// Error code and message, and the answer of a sign-in. Present at once with an answer, the code counts.
fn outcome(draft: &mut Draft, event: Val<'_, '_>, name: &str, sign_in: bool) -> Ended {
    let code = cloud::text(event, "errorCode");
    let message = cloud::text(event, "errorMessage");
    // `responseElements: {"ConsoleLogin": "Failure"}`: the member has the event's name.
    let answer =
        if sign_in { event.at("responseElements").and_then(|answer| answer.get(name)) } else { None };
    let answer = answer.and_then(|answer| answer.text());
    let ended = match (&code, answer.as_deref()) {
        (Some(code), _) => Some(of_code(code)),
        (None, Some("Failure")) => Some(Outcome::Denied),
        (None, Some("Success")) => Some(Outcome::Success),
        // A message without a code says that something failed, not what.
        (None, _) if message.is_some() => None,
        (None, _) => Some(Outcome::Success),
    };
    draft.event.core.outcome = ended;
    let unproven = (sign_in && ended != Some(Outcome::Success)) || code.as_deref().is_some_and(is_unproven);
    if let Some(code) = code {
        draft.event.core.status = Some((StatusSpace::Cloud, code.to_string()));
        if !sign_in {
            draft.event.content.detail.insert(detail::cloud_api::ERROR, Value::Text(code.into_owned()));
        }
    }
    draft.event.content.err = message.unwrap_or_default().into_owned();
    Ended { unproven }
}

/// Codes by which AWS says that the credential was no good (AWS "Common errors", EC2 "Client error codes").
fn is_unproven(code: &str) -> bool {
    const CODES: [&str; 8] = [
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "IncompleteSignature",
        "InvalidSignatureException",
        "AuthFailure",
    ];
    CODES.contains(&code.strip_prefix("Client.").unwrap_or(code))
}

fn of_code(code: &str) -> Outcome {
    let bare = code.strip_prefix("Client.").unwrap_or(code);
    let denied = ["AccessDenied", "Unauthorized", "NotAuthorized", "Forbidden", "ExpiredToken"];
    let server =
        ["InternalFailure", "InternalError", "InternalServer", "InternalService", "ServiceUnavailable"];
    if denied.iter().any(|word| bare.contains(word)) || is_unproven(code) {
        Outcome::Denied
    } else if code.starts_with("Server.") || server.iter().any(|word| bare.starts_with(word)) {
        Outcome::ServerError
    } else if matches!(bare, "RequestTimeout" | "RequestTimeoutException") {
        Outcome::Timeout
    } else {
        Outcome::CallerError
    }
}

/// Members of `requestParameters` that name what was acted on, the more particular first, and its type.
const PARAMETERS: &[(&str, &str)] = &[
    ("secretId", "secret"),
    ("functionName", "function"),
    ("tableName", "table"),
    ("bucketName", "bucket"),
    ("keyId", "key"),
    ("roleArn", "role"),
    ("roleName", "role"),
    ("policyArn", "policy"),
    ("userName", "user"),
    ("groupName", "group"),
    ("dBInstanceIdentifier", "db_instance"),
    ("dBClusterIdentifier", "db_cluster"),
    ("instanceId", "instance"),
    ("groupId", "security_group"),
    ("queueUrl", "queue"),
    ("topicArn", "topic"),
    ("repositoryName", "repository"),
    ("clusterName", "cluster"),
    ("trailName", "trail"),
];

fn target(draft: &mut Draft, event: Val<'_, '_>) {
    let target = &mut *draft.event.target;
    target.svc = cloud::text(event, "eventSource").unwrap_or_default().into_owned();
    target.region = cloud::text(event, "awsRegion").unwrap_or_default().into_owned();
    target.ns = cloud::text(event, "recipientAccountId").unwrap_or_default().into_owned();
    let mut named = event.get("resources").into_iter().flat_map(|all| all.elements()).filter_map(resource);
    if let Some(first) = named.next() {
        target.raw.clone_from(&first.id);
        (target.id, target.res, target.rtype) = (first.id, first.res, first.rtype);
        target.more = named.collect();
        return;
    }
    let Some(parameters) = event.get("requestParameters") else { return };
    let found =
        PARAMETERS.iter().find_map(|(name, rtype)| Some((cloud::text(parameters, name)?, *name, *rtype)));
    if let Some((value, name, rtype)) = found {
        target.res = value.to_string();
        target.id = value.into_owned();
        target.rtype = rtype.to_owned();
        if name == "bucketName"
            && let Some(key) = cloud::text(parameters, "key")
        {
            target.rtype = "object".to_owned();
            target.res = format!("{}/{key}", target.id);
            target.id = key.into_owned();
        }
    }
}

/// An element of `resources`; nothing if it names none.
fn resource(value: Val<'_, '_>) -> Option<Target> {
    let arn = value.any(&["ARN", "arn"])?.filled()?.into_owned();
    Some(Target {
        res: arn.clone(),
        id: arn,
        rtype: cloud::text(value, "type").unwrap_or_default().into_owned(),
        ns: cloud::text(value, "accountId").unwrap_or_default().into_owned(),
        ..Target::default()
    })
}

fn tls(draft: &mut Draft, event: Val<'_, '_>) {
    let Some(tls) = event.get("tlsDetails") else { return };
    if let Some(version) = tls.get("tlsVersion")
        && version.peek().is_some_and(|text| cloud::tls_version(draft, &text))
    {
        version.take();
    }
    if let Some(host) = cloud::text(tls, "clientProvidedHostHeader") {
        crate::http::host(draft, &host);
    }
}

/// Tokens that AWS logs in the answers of STS and others. They are credentials; their digest is not kept either.
fn tokens(draft: &mut Draft, event: Val<'_, '_>) {
    let Some(answer) = event.get("responseElements").filter(|answer| answer.kind() == Json::Object) else {
        return;
    };
    for inner in [Some(answer), answer.get("credentials")].into_iter().flatten() {
        for name in ["sessionToken", "secretAccessKey", "accessToken", "refreshToken", "idToken"] {
            if let Some(token) = inner.get(name) {
                token.take();
                draft.secret("aws-session-token");
            }
        }
    }
}

#[cfg(test)]
mod tests;
