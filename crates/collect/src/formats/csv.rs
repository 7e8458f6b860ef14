//! One CSV record taken apart: commas, quotation marks doubled inside quotation marks (RFC 4180).

use std::borrow::Cow;

/// Most fields that are told apart; the last one holds what is behind.
pub(crate) const FIELDS_MAX: usize = 64;

/// The fields of `text`. A quotation mark inside a field that does not begin with one is itself. `None` = a quoted
/// field does not end, or something stands behind its end.
pub(crate) fn split(text: &str) -> Option<Vec<Cow<'_, str>>> {
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => {
                let end = if fields.len() + 1 < FIELDS_MAX { rest.find(',') } else { None };
                let (field, behind) = rest.split_at(end.unwrap_or(rest.len()));
                (Cow::Borrowed(field), behind)
            }
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(next) if fields.len() < FIELDS_MAX => rest = next,
            _ if behind.is_empty() => return Some(fields),
            _ => return None,
        }
    }
}

fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut doubled) = (0, false);
    loop {
        at += memchr::memchr(b'"', bytes.get(at..)?)?;
        if bytes.get(at + 1) != Some(&b'"') {
            break;
        }
        doubled = true;
        at += 2;
    }
    let (inner, rest) = (&text[..at], &text[at + 1..]);
    Some((if doubled { Cow::Owned(inner.replace("\"\"", "\"")) } else { Cow::Borrowed(inner) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart() {
        assert_eq!(split("a,,\"b\"\"c,\nd\",e").unwrap(), ["a", "", "b\"c,\nd", "e"]);
        assert_eq!(split("").unwrap(), [""]);
        assert_eq!(split("a,\"b"), None);
        assert_eq!(split("\"a\"b,c"), None);
    }
}
