//! HTTP/2 (RFC 9113) beside the `h2` crate, which does the protocol itself: what that crate does not tell.
//!
//! [`Scanner`] follows the frames of one direction by their nine-byte heads, [`Pace`] counts the ones that
//! an attacker sends in floods, and [`Fields`](crate::http1::fields::Fields) of a header block travel as
//! [`Packed`] bytes. Not a codec: no HPACK, no stream states, nothing is refused here.

mod pace;
mod packed;
mod scanner;

pub use pace::{Excess, Pace, PaceLimits};
pub use packed::{PACKED_MAX, Packed, packed_iter};
pub use scanner::{Frame, HEAD_LEN, Kind, PREFACE, Scanner, WORD_LEN, flags};

/// Name of an error code (RFC 9113 section 7); `None` = not registered.
pub fn error_name(code: u32) -> Option<&'static str> {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_have_the_names_of_the_registry() {
        assert_eq!(error_name(0), Some("NO_ERROR"));
        assert_eq!(error_name(8), Some("CANCEL"));
        assert_eq!(error_name(11), Some("ENHANCE_YOUR_CALM"));
        assert_eq!(error_name(13), Some("HTTP_1_1_REQUIRED"));
        assert_eq!(error_name(14), None);
    }
}
