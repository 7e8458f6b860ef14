//! The fuzz bodies over the table of statements and its mutations.

use countersign_wire::fuzz::{sql_classify, sql_normalise, sql_split};
use proptest::prelude::*;

fn all(data: &[u8]) {
    sql_split(data);
    sql_classify(data);
    sql_normalise(data);
}

fn seeds() -> Vec<&'static str> {
    super::table().map(|(.., text)| text).collect()
}

#[test]
fn every_statement_and_every_head_of_it_is_a_seed() {
    for text in seeds() {
        for at in 0..=text.len() {
            all(&text.as_bytes()[..at]);
            all(&text.as_bytes()[at..]);
        }
    }
}

proptest! {
    #[test]
    fn mutated_and_joined_statements_return(
        picks in proptest::collection::vec(0_usize..10_000, 1..6),
        flips in proptest::collection::vec((0_usize..4000, proptest::sample::select(&b"'\"$;()-*/\\E,. \n\xff"[..])), 0..8),
    ) {
        let seeds = seeds();
        let mut bytes = picks.iter().map(|p| seeds[p % seeds.len()]).collect::<Vec<_>>().join(";").into_bytes();
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        all(&bytes);
    }

    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        all(&bytes);
    }
}
