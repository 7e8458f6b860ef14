//! Expectations of the sets that contradict their own record, or that nothing could meet. They are neither right nor
//! wrong; the table says how many there are. A parser knows nothing of this list.

/// Case, field, and why the record says otherwise.
const DISPUTED: &[(&str, &str, &str)] = &[
    ("panther/AWS.CloudTrail/72", "outcome", "a sign-in whose answer is Failure, expected as a success"),
    (
        "panther/AWS.CloudTrail/52",
        "outcome",
        "a sign-in whose answer is Failure, with the message Failed authentication, expected as a success",
    ),
    (
        "panther/AWS.CloudTrail/312",
        "outcome",
        "a directory login whose answer is Failure, expected as a success",
    ),
    (
        "panther/AWS.CloudTrail/312",
        "event_time",
        "the time was redacted by hand: the word redacted is no time",
    ),
    (
        "panther/AWS.CloudTrail/315",
        "outcome",
        "a change of password whose answer is Failure, expected as a success",
    ),
];

/// Whether the expectation of `field` in `case` is one of them.
pub(crate) fn is_disputed(case: &str, field: &str) -> bool {
    DISPUTED.iter().any(|(id, name, _)| (*id, *name) == (case, field))
}
