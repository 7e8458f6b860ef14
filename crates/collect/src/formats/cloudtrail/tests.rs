//! Records written after the User Guide's grammar: every type of identity, ends of all kinds.

use super::*;
use crate::formats::testing::{draft, obo, who};
use countersign_event::{Auth, PrincipalKind, Relation, Unmapped};

fn event(user: &str, more: &str) -> Draft {
    let text = format!(
        r#"{{"eventVersion":"1.11","eventTime":"2024-03-13T12:08:33Z","eventSource":"s3.amazonaws.com",
        "eventName":"GetObject","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.1","userAgent":"cli/2",
        "eventID":"e-1","requestID":"r-1","eventType":"AwsApiCall","recipientAccountId":"111122223333",
        "userIdentity":{user}{more}}}"#
    );
    draft(&CLOUDTRAIL, &text)
}

#[test]
fn a_role_session_has_its_role_its_token_and_its_claimed_source_behind_it() {
    let draft = event(
        r#"{"type":"AssumedRole","principalId":"AROA1:s","arn":"arn:aws:sts::111122223333:assumed-role/r/s",
        "accountId":"111122223333","accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionContext":{"sourceIdentity":"alice",
        "sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/r","userName":"r"},
        "webIdFederationData":{"federatedProvider":
        "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com",
        "attributes":{"token.actions.githubusercontent.com:sub":"repo:o/r:ref"}}}}"#,
        "",
    );
    let actor = who(&draft);
    assert_eq!(actor.id, "arn:aws:sts::111122223333:assumed-role/r/s");
    assert_eq!((actor.kind, actor.auth), (Some(PrincipalKind::Role), Some(Auth::IamRole)));
    assert_eq!(actor.cred, "ASIAIOSFODNN7EXAMPLE");
    assert_eq!(
        obo(&draft),
        [
            ("arn:aws:iam::111122223333:role/r", Relation::AssumedRole, Verified::Asserted),
            (
                "jwt:https://token.actions.githubusercontent.com#repo:o/r:ref",
                Relation::OnBehalfOf,
                Verified::Asserted
            ),
            ("user:111122223333/alice", Relation::OnBehalfOf, Verified::Claimed),
        ]
    );
    assert_eq!(draft.partial, None);
}

#[test]
fn a_service_that_called_for_somebody_is_the_actor() {
    let draft = event(
        r#"{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/bob","userName":"bob",
        "invokedBy":"cloudformation.amazonaws.com"}"#,
        "",
    );
    assert_eq!(who(&draft).id, "user:aws/cloudformation.amazonaws.com");
    assert_eq!(
        obo(&draft),
        [("arn:aws:iam::111122223333:user/bob", Relation::OnBehalfOf, Verified::Asserted)]
    );
}

#[test]
fn every_type_of_identity_has_an_id_of_its_own_kind() {
    for (user, id, kind) in [
        (r#"{"type":"Root","accountId":"1"}"#, "arn:aws:iam::1:root", Some(PrincipalKind::User)),
        (r#"{"type":"IAMUser","accountId":"1","userName":"u"}"#, "user:1/u", Some(PrincipalKind::User)),
        (
            r#"{"type":"FederatedUser","arn":"arn:aws:sts::1:federated-user/f"}"#,
            "arn:aws:sts::1:federated-user/f",
            Some(PrincipalKind::User),
        ),
        (
            r#"{"type":"SAMLUser","userName":"sam","identityProvider":"idp"}"#,
            "user:idp/sam",
            Some(PrincipalKind::User),
        ),
        (
            r#"{"type":"WebIdentityUser","userName":"42","identityProvider":"accounts.google.com"}"#,
            "jwt:https://accounts.google.com#42",
            Some(PrincipalKind::User),
        ),
        (
            r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u1","identityStoreArn":"arn:aws:identitystore::1:identitystore/d-1"}}"#,
            "user:arn:aws:identitystore::1:identitystore/d-1/u1",
            Some(PrincipalKind::User),
        ),
        (r#"{"type":"AWSAccount","accountId":"9"}"#, "user:aws/9", Some(PrincipalKind::System)),
        (
            r#"{"type":"AWSAccount","accountId":"9","principalId":"AROAX:s"}"#,
            "user:9/AROAX:s",
            Some(PrincipalKind::Role),
        ),
        (
            r#"{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}"#,
            "user:aws/ec2.amazonaws.com",
            Some(PrincipalKind::Service),
        ),
        (r#"{"type":"Unknown","principalId":"p"}"#, "user:111122223333/p", None),
    ] {
        let draft = event(user, "");
        assert_eq!((who(&draft).id.as_str(), who(&draft).kind), (id, kind), "{user}");
        assert_eq!(draft.partial, None, "{user}");
    }
}

#[test]
fn an_identity_that_is_not_told_is_not_made_up() {
    let draft = event("{}", "");
    assert!(draft.event.who.who.is_none());
    assert_eq!(draft.partial, Some("a required field is missing"));
}

#[test]
fn an_error_code_is_an_outcome_also_beside_an_answer() {
    for (code, want) in [
        ("AccessDenied", Outcome::Denied),
        ("Client.UnauthorizedOperation", Outcome::Denied),
        ("ThrottlingException", Outcome::CallerError),
        ("Client.RequestLimitExceeded", Outcome::CallerError),
        ("NoSuchBucket", Outcome::CallerError),
        ("Server.InternalError", Outcome::ServerError),
        ("ServiceUnavailable", Outcome::ServerError),
        ("RequestTimeout", Outcome::Timeout),
    ] {
        let more = format!(r#","errorCode":"{code}","errorMessage":"m","responseElements":{{"x":1}}"#);
        let draft = event(r#"{"type":"IAMUser","arn":"arn:aws:iam::1:user/u"}"#, &more);
        assert_eq!(draft.event.core.outcome, Some(want), "{code}");
        assert_eq!(draft.event.core.status, Some((StatusSpace::Cloud, code.to_owned())));
        assert_eq!(who(&draft).verified, Verified::Asserted);
    }
    let draft = event(r#"{"type":"IAMUser","userName":"u"}"#, r#","errorCode":"InvalidClientTokenId""#);
    assert_eq!((draft.event.core.outcome, who(&draft).verified), (Some(Outcome::Denied), Verified::Claimed));
    let draft = event(r#"{"type":"IAMUser","userName":"u"}"#, r#","errorMessage":"m""#);
    assert_eq!(draft.event.core.outcome, None);
}

#[test]
fn a_sign_in_that_failed_is_denied_and_its_name_is_claimed() {
    for (answer, want, level) in
        [("Failure", Outcome::Denied, Verified::Claimed), ("Success", Outcome::Success, Verified::Asserted)]
    {
        let text = format!(
            r#"{{"eventTime":"2024-03-13T12:08:33Z","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin",
            "eventType":"AwsConsoleSignIn","eventID":"1","userIdentity":{{"type":"IAMUser","userName":"u",
            "accountId":"1"}},"responseElements":{{"ConsoleLogin":"{answer}"}}}}"#
        );
        let draft = draft(&CLOUDTRAIL, &text);
        assert_eq!((draft.event.core.outcome, who(&draft).verified), (Some(want), level));
        assert_eq!(
            (draft.event.core.kind, draft.event.core.class),
            (Some(Kind::Auth), Some(Class::Authenticate))
        );
    }
}

#[test]
fn what_was_acted_on_is_named_and_the_rest_is_kept() {
    let draft = event(
        r#"{"type":"IAMUser","arn":"a"}"#,
        r#","readOnly":true,"requestParameters":{"bucketName":"b","key":"k/1","range":"x"},
        "additionalEventData":{"bytesTransferredOut":12.0},"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"c"}"#,
    );
    let target = &draft.event.target;
    assert_eq!((target.res.as_str(), target.id.as_str(), target.rtype.as_str()), ("b/k/1", "k/1", "object"));
    assert_eq!(draft.event.core.class, Some(Class::Read));
    assert_eq!(draft.event.body.rsp.as_ref().unwrap().size, Some(12));
    assert_eq!(draft.event.peer.tls.as_ref().unwrap().version, Some(0x0304));
    let unmapped = &draft.event.content.unmapped;
    assert_eq!(unmapped.get("/requestParameters/range"), Some(&Unmapped::Token("\"x\"".into())));
    assert!(unmapped.contains_key("/tlsDetails/cipherSuite"));
    let more = r#","resources":[{"ARN":"arn:aws:s3:::b","type":"AWS::S3::Bucket"},{"ARN":"arn:aws:s3:::c"}]"#;
    let draft = event(r#"{"type":"IAMUser","arn":"a"}"#, more);
    assert_eq!((draft.event.target.id.as_str(), draft.event.target.more.len()), ("arn:aws:s3:::b", 1));
}

#[test]
fn a_token_in_an_answer_is_in_no_field_and_its_record_is_not_kept() {
    let more = r#","responseElements":{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionToken":"IQoJb3Jp"}}"#;
    let draft = event(r#"{"type":"IAMUser","arn":"a"}"#, more);
    assert!(draft.private && !format!("{:?}", draft.event).contains("IQoJb3Jp"));
    assert_eq!(draft.event.content.redacted, [("aws-session-token".to_owned(), 1)]);
}
