//! The fuzz bodies over seeds and their mutations.

use crate::ambiguous::forms;
use countersign_wire::fuzz;
use proptest::prelude::*;

fn all(data: &[u8]) {
    fuzz::http1_framer(data);
    fuzz::http1_fields(data);
    fuzz::trace_and_detect(data);
}

#[test]
fn every_ambiguous_form_is_a_seed() {
    for (_, bytes) in forms() {
        all(&bytes);
        all(&[&[3][..], &bytes].concat());
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
