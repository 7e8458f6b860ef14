//! The fuzz bodies, from noise and from near-good text.

use countersign_alert::fuzz;
use proptest::prelude::*;

proptest! {
    #[test]
    fn noise_is_handled(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::stored(&data);
        fuzz::text(&data);
        let mut versioned = vec![2];
        versioned.extend(&data);
        fuzz::stored(&versioned);
    }

    #[test]
    fn nearly_good_text_is_handled(text in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Nov|Foo) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|[0-9]{18,22}-msg_[0-9a-g]{30,34}|whsec_[A-Za-z0-9+/=]{0,90}") {
        fuzz::text(text.as_bytes());
    }
}
