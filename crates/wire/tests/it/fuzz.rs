//! The fuzz bodies over seeds and their mutations.

use crate::ambiguous::forms;
use countersign_wire::fuzz;
use proptest::prelude::*;

fn all(data: &[u8]) {
    fuzz::http1_framer(data);
    fuzz::http1_fields(data);
    fuzz::trace_and_detect(data);
    fuzz::proxy(data);
    fuzz::client_hello(data);
}

#[test]
fn every_ambiguous_form_is_a_seed() {
    for (_, bytes) in forms() {
        all(&bytes);
        all(&[&[3][..], &bytes].concat());
    }
}

#[test]
fn headers_before_the_protocol_and_their_neighbours_return() {
    for seed in [
        crate::proxy::full(),
        crate::ja4::sample(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n".to_vec(),
    ] {
        for at in 0..seed.len() {
            all(&seed[..at]);
            all(&seed[at..]);
            let mut changed = seed.clone();
            changed[at] = changed[at].wrapping_add(1 + (at % 7) as u8 * 36);
            all(&changed);
        }
        all(&seed);
    }
}

proptest! {
    #[test]
    fn mutated_seeds_return(
        seed in 0_usize..1000, flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..6)
    ) {
        let forms = forms();
        let mut bytes = forms[seed % forms.len()].1.clone();
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        all(&bytes);
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }
}
