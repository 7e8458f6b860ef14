//! SQL text.

use crate::sql;
use crate::stream::OpClass;

/// Both settings of `standard_conforming_strings`, the text as far as it is UTF-8.
fn text(data: &[u8]) -> impl Iterator<Item = (&str, bool)> {
    let valid = match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(e) => data.get(..e.valid_up_to()).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default(),
    };
    [true, false].into_iter().map(move |conforming| (valid, conforming))
}

/// Splits `data` into statements: ordered, disjoint, none empty.
pub fn sql_split(data: &[u8]) {
    for (text, conforming) in text(data) {
        let mut last = 0;
        for range in sql::split(text, conforming) {
            assert!(last <= range.start && range.start < range.end, "ordered and disjoint");
            assert!(text.get(range.clone()).is_some(), "on character boundaries");
            last = range.end;
        }
    }
}

/// Classifies `data`: bounded, and what was not understood is no read.
pub fn sql_classify(data: &[u8]) {
    for (text, conforming) in text(data) {
        let found = sql::classify(text, conforming);
        assert!(!(found.incomplete && found.class == Some(OpClass::Read)), "a doubt is no read");
        assert!(found.tables.len() <= sql::TABLES_MAX, "bounded");
        if let Some(sql::Effect::Prepare { body, .. }) = found.effect {
            assert!(text.get(body).is_some_and(|b| !b.is_empty()), "the body is part of the text");
        }
        let _ = sql::comment_tags(text);
    }
}

/// Takes the literals out of `data`: bounded, and no quote is left that could hold one.
pub fn sql_normalise(data: &[u8]) {
    for (text, conforming) in text(data) {
        let normal = sql::normalise(text, conforming);
        let shape = sql::shape(text, conforming);
        assert!(normal.text.len() <= sql::STATEMENT_MAX && shape.len() <= sql::STATEMENT_MAX, "bounded");
        let quoted = text.contains('"');
        assert!(quoted || !normal.text.contains('\'') && !shape.contains('\''), "no string is left");
    }
}
