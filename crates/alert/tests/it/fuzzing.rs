//! The fuzz bodies, from noise and from near-good text.

use countersign_alert::fuzz;
use proptest::prelude::*;

proptest! {
    #[test]
    fn noise_is_handled(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::stored(&data);
        fuzz::text(&data);
        fuzz::smtp(&data);
        fuzz::forms(&data);
        let mut versioned = vec![2];
        versioned.extend(&data);
        fuzz::stored(&versioned);
    }

    #[test]
    fn nearly_good_text_is_handled(text in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Nov|Foo) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|[0-9]{18,22}-msg_[0-9a-g]{30,34}|whsec_[A-Za-z0-9+/=]{0,90}") {
        fuzz::text(text.as_bytes());
    }

    #[test]
    fn nearly_good_replies_are_handled(text in "(220[ -][a-z]{0,4}\r\n|250[ -](STARTTLS|AUTH PLAIN|AUTH LOGIN|)\r\n|334 \r\n|235 \r\n|354 \r\n|550 x\r\n|2){0,20}") {
        fuzz::smtp(text.as_bytes());
    }

    #[test]
    fn every_form_takes_every_text(text in "([\\|=*<>&\"'.]|\r\n|\\PC|[\\x00-\\x20]){0,200}") {
        fuzz::forms(text.as_bytes());
    }
}
