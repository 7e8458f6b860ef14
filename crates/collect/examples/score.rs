//! Prints how the parsers score over the sample cases: `cargo xtask score`, with `--faults` every field that is not
//! right.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a tool of the tests")]

#[path = "../tests/score/mod.rs"]
mod score;

fn main() {
    let Some(root) = score::corpora() else {
        println!("no sample cases beside the project (../shared/corpora): nothing to score");
        return;
    };
    let rows = score::score_all(&root);
    if std::env::args().any(|argument| argument == "--faults") {
        rows.values().flat_map(|row| &row.faults).for_each(|fault| println!("{fault}"));
    }
    print!("{}", score::table(&rows));
}
