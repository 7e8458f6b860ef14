//! Test events of rules from any bytes: read, or said why not.

use countersign_detect::fuzz::sigma_cases;
use proptest::prelude::*;

#[test]
fn the_tests_of_the_pack_are_seeds_and_so_are_their_halves() {
    for path in super::pack_files::files().iter().step_by(4) {
        let text = super::pack_files::tests(path);
        let first = text.lines().next().unwrap();
        for cut in (0..first.len()).step_by(first.len() / 16 + 1) {
            sigma_cases(&first.as_bytes()[..cut]);
            let mut other = first.as_bytes().to_vec();
            other[cut] ^= 1;
            sigma_cases(&other);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_no_case_or_one(text in any::<Vec<u8>>()) {
        sigma_cases(&text);
    }

    #[test]
    fn any_numbers_and_names_are_no_case_or_one(at in any::<i64>(), times in any::<i64>(), name in "[a-z]{0,8}") {
        sigma_cases(format!(
            r#"{{"match": true, "{name}": 1, "events": [{{"core": {{"op": "GET"}}, "at": {at}, "times": {times}}}]}}"#
        ).as_bytes());
        sigma_cases(format!(
            r#"{{"match": true, "events": [{{"core": {{"op": "GET"}}, "at": {}, "times": {}}}]}}"#, at % 99, times % 99
        ).as_bytes());
    }
}
