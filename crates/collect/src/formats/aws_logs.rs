//! Logs that AWS delivers as files: load balancers, S3 server access, VPC flow.
//!
//! Not CloudTrail. Texts of the documented order, and the JSON that pipelines make of them with the same names. AWS
//! adds fields at the end of a line over time: what stands behind those that are known goes to `unmapped`, and does
//! not make a record partial.

pub mod flow;
pub mod lb;
pub mod s3;

use crate::Draft;
use crate::text::given;

/// Keeps what stands behind the fields that are known.
fn later(draft: &mut Draft, rest: &str) {
    if let Some(rest) = given(rest.trim()) {
        draft.rest("later_fields", rest);
    }
}
