//! The fuzz bodies over seeds and any bytes.

use countersign_gateway::fuzz;
use proptest::prelude::*;

#[test]
fn seeds_return() {
    for seed in ["", "/", "//", "/a;b=c/../%2e", "/é/ü", "*", "h:1", "{redacted}", "/eyJhbGciOiJIUzI1NiJ9.x;y;=z"] {
        fuzz::cleaning(seed.as_bytes());
    }
    fuzz::cleaning(&[b'/'; 20_000]);
    fuzz::cleaning(&[0xe2; 20_000]);
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::cleaning(&bytes);
    }

    #[test]
    fn any_path_like_text_returns(text in "(/[a-zA-Z0-9;=%._{}é-]{0,50}){0,12}") {
        fuzz::cleaning(text.as_bytes());
    }
}
