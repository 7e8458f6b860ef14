//! The bars over the sample cases, and what each parser must hold for all of them.

use crate::score::{corpora, score_all, table, total};

#[test]
fn sample_cases_come_out_right() {
    let Some(root) = corpora() else { return };
    let rows = score_all(&root);
    println!("{}", table(&rows));
    for (name, row) in rows.iter().filter(|(_, row)| !row.ours.is_empty()) {
        assert_eq!(row.lost, 0, "{name}: silent losses");
        assert_eq!(row.mistaken, 0, "{name}: taken for another with full confidence\n{:#?}", row.faults);
    }
    let first = total(rows.values().filter(|row| row.first));
    assert!(first.right * 100 >= first.cases * 99, "first order: {} of {}", first.right, first.cases);
    let parsed = total(rows.values().filter(|row| !row.ours.is_empty()));
    assert!(parsed.right * 100 >= parsed.cases * 97, "all: {} of {}", parsed.right, parsed.cases);
    assert!(parsed.wrong * 1000 <= parsed.fields * 3, "wrong values: {} of {}", parsed.wrong, parsed.fields);
}
