//! Test cases of policies.

use crate::support::enforcing;
use countersign_policy::cases::run;

const POLICIES: &str = "@id(\"reads\") permit(principal is Countersign::Workload, action in Action::\"class:read\", resource);\n\
    @id(\"frozen\") forbid(principal, action, resource in Countersign::Target::\"frozen\");\n\
    @id(\"near\") forbid(principal, action, resource in Countersign::Target::\"near\") when { context.peer.isLoopback() };";

fn case(more: &str) -> String {
    format!(
        "[{{\"name\": \"n\", \"principal\": {{\"id\": \"spiffe://a/b\", \"kind\": \"workload\", \"verified\": 4}},\n\
          \"protocol\": \"http/1.1\", \"operation\": \"GET\", \"class\": \"read\", {more}}}]"
    )
}

#[test]
fn a_case_passes_when_verdict_and_policies_are_as_expected() {
    let set = enforcing(POLICIES);
    for (more, passed) in [
        ("\"expect\": \"allow\"", true),
        ("\"expect\": \"allow\", \"by\": [\"reads\"]", true),
        ("\"expect\": \"allow\", \"by\": [\"other\"]", false),
        ("\"expect\": \"deny\"", false),
        ("\"expect\": \"deny\", \"service\": \"frozen\", \"by\": [\"frozen\"]", true),
        ("\"expect\": \"deny\", \"service\": \"near\", \"peer\": \"127.0.0.1\"", true),
        // Denied by an error, since there is no address: not what anybody expects.
        ("\"expect\": \"deny\", \"service\": \"near\"", false),
    ] {
        let results = run(&set, "cases.json", &case(more)).unwrap();
        assert_eq!((results.len(), results[0].passed), (1, passed), "{more}: {:?}", results[0].decision);
    }
}

#[test]
fn a_case_that_is_not_well_formed_is_a_problem_and_not_a_pass() {
    let set = enforcing(POLICIES);
    for more in [
        "\"expect\": \"maybe\"",
        "\"expected\": \"allow\"",
        "\"expect\": \"allow\", \"peer\": \"home\"",
        "\"expect\": \"allow\", \"class\": \"wipe\"",
        "\"expect\": \"allow\", \"principal\": {\"id\": \"x\"}",
        "\"expect\": \"allow\", \"tls\": 1",
        "\"expect\": \"allow\", \"on_behalf_of\": \"x\"",
    ] {
        assert!(run(&set, "cases.json", &case(more)).is_err(), "{more}");
    }
    assert_eq!(run(&set, "cases.json", "[\n{").unwrap_err().line, 2);
    assert!(run(&set, "cases.json", "{}").is_err());
    assert!(run(&set, "cases.json", "[]").unwrap().is_empty());
}
