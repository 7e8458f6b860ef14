//! Fuzz bodies of HTTP/2 and gRPC.

use crate::grpc;
use crate::h2::{Pace, PaceLimits, Packed, Scanner, packed_iter};
use crate::http1::fields::Fields;

/// Scans `data` as both directions, split by its first byte, and paces the client's.
pub fn h2_frames(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let step = usize::from(*first % 17) + 1;
    for mut scanner in [Scanner::client(), Scanner::server()] {
        let limits = PaceLimits { resets: 3, control: 3, window_ns: 10, continuations: 2 };
        let (mut pace, mut t, mut frames) = (Pace::new(limits), 0, 0);
        for piece in rest.chunks(step) {
            scanner.feed(piece, |frame| {
                t += u64::from(frame.flags);
                frames += 1;
                let _ = (pace.frame(&frame, t), frame.error_code(), frame.is_http1_status_line());
            });
        }
        assert!(frames <= rest.len() / 9, "each frame has a head");
    }
}

/// Reads `data` as a packed list of fields, and packs what was found again.
pub fn h2_packed(data: &[u8]) {
    let mut packed = Packed::default();
    let mut n = 0;
    for (name, value) in packed_iter(data) {
        packed.push(name, value);
        n += 1;
    }
    assert!(!packed.is_cut() || data.len() > 1 << 20);
    assert_eq!(packed_iter(packed.as_bytes()).count(), n);
    let _ = (Fields::packed(data).get("host"), Fields::packed(data).iter().count());
}

/// Reads `data` as every field value of gRPC, and as a body split by its first byte.
pub fn grpc(data: &[u8]) {
    let _ = (grpc::is_grpc(data), grpc::path(data), grpc::status(data), grpc::timeout(data));
    assert!(grpc::message(data, 40).len() <= 40);
    let Some((first, rest)) = data.split_first() else { return };
    let mut messages = grpc::Messages::keeping(64);
    rest.chunks(usize::from(*first % 17) + 1).for_each(|piece| messages.feed(piece));
    let mut whole = grpc::Messages::keeping(64);
    whole.feed(rest);
    assert_eq!((messages.whole(), messages.is_inside()), (whole.whole(), whole.is_inside()));
    assert_eq!(messages.first(), whole.first());
    assert!(messages.first().is_none_or(|(kept, _)| kept.len() <= 64));
    assert!(messages.whole() as usize <= rest.len() / grpc::PREFIX_LEN);
}
