//! One operation as a document writes it, and whether an event's is it.

use serde::Serialize;

/// `GET /orders/{id}`, `shop.Orders/Get`, `SELECT public.orders`, `publish`; `*` at the end = anything that begins so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Operation(String);

impl Operation {
    /// From a document's own words.
    pub fn new(text: &str) -> Operation {
        Operation(text.trim().to_owned())
    }

    /// As the document has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `seen` is this operation: the verb in any case, the rest exactly but for templates: a segment in braces
    /// on either side stands for any one segment.
    pub fn takes(&self, seen: &str) -> bool {
        let (verb, rest) = self.0.split_once(' ').unwrap_or((&self.0, ""));
        let (seen_verb, seen_rest) = seen.split_once(' ').unwrap_or((seen, ""));
        if rest.is_empty() {
            return match verb.strip_suffix('*') {
                Some(begin) => starts_with(seen, begin),
                None => verb.eq_ignore_ascii_case(seen_verb),
            };
        }
        (verb == "*" || verb.eq_ignore_ascii_case(seen_verb)) && path_takes(rest, seen_rest)
    }
}

impl Operation {
    /// In how many segments one side has a template and the other has not: of several operations that take a call, the
    /// one with the fewest is meant.
    pub(crate) fn unlike(&self, seen: &str) -> usize {
        let pairs = self.0.split('/').zip(seen.split('/'));
        pairs.filter(|(rule, seen)| is_template(rule) != is_template(seen)).count()
    }
}

fn starts_with(text: &str, begin: &str) -> bool {
    text.get(..begin.len()).is_some_and(|head| head.eq_ignore_ascii_case(begin))
}

fn path_takes(rule: &str, seen: &str) -> bool {
    if let Some(begin) = rule.strip_suffix('*') {
        return seen.starts_with(begin);
    }
    let trimmed = |path: &str| if path.len() > 1 { path.trim_end_matches('/').len() } else { path.len() };
    let (rule, seen) = (&rule[..trimmed(rule)], &seen[..trimmed(seen)]);
    let (mut of_rule, mut of_seen) = (rule.split('/'), seen.split('/'));
    loop {
        match (of_rule.next(), of_seen.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || is_template(a) || is_template(b) => {}
            _ => return false,
        }
    }
}

fn is_template(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_stand_for_one_segment_and_nothing_else() {
        let takes = |rule: &str, seen: &str| Operation::new(rule).takes(seen);
        assert!(takes("GET /orders/{orderId}", "get /orders/{id}"));
        assert!(takes("GET /orders/{orderId}", "GET /orders/7/"));
        assert!(!takes("GET /orders/{orderId}", "GET /orders"));
        assert!(!takes("GET /orders/{orderId}", "GET /orders/7/items"));
        assert!(!takes("GET /orders/{orderId}", "DELETE /orders/7"));
        assert!(takes("SELECT", "SELECT public.orders") && !takes("SELECT", "SELECTED x"));
        assert!(takes("SELECT public.orders", "select public.orders"));
        assert!(!takes("SELECT public.orders", "SELECT public.users"));
        assert!(takes("* /admin/*", "POST /admin/keys") && !takes("* /admin/*", "POST /"));
        assert!(takes("shop.Orders/*", "shop.Orders/Get") && !takes("shop.Orders/*", "shop.Users/Get"));
    }
}
