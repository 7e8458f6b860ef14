//! The one-line explanation of a finding, rendered when it is read.
//!
//! Invariant: values come from the wire and are hostile; control, format and direction characters are shown as
//! escapes, so an explanation is one line that means what it shows.

use crate::finding::{clip, detail};
use countersign_event::cbor::Value;
use countersign_event::{Event, Rec};

/// Longest value shown, in bytes.
const SHOWN_MAX_BYTES: usize = 256;

/// The explanation of a finding's event; `None` for other events. Escape it again for HTML, as any text.
pub fn explain(event: &Event) -> Option<String> {
    if event.core.rec != Some(Rec::Finding) {
        return None;
    }
    let template = event.content.detail.get(&detail::TEMPLATE)?.as_text()?;
    let Some(Value::Map(values)) = event.content.detail.get(&detail::VALUES) else {
        return Some(visible(template));
    };
    let value = |name: &str| {
        let found = values.iter().find(|(key, _)| key.as_text() == Some(name));
        found.and_then(|(_, value)| value.as_text())
    };
    Some(render(template, value))
}

/// Fills `{name}` with the value of that name; one that is missing shows as `?`.
fn render<'v>(template: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(&visible(before));
        let Some((name, tail)) = after.split_once('}') else {
            rest = after;
            break;
        };
        match value(name) {
            Some(text) if text.len() > SHOWN_MAX_BYTES => {
                out.push_str(&visible(clip(text, SHOWN_MAX_BYTES)));
                out.push('…');
            }
            Some(text) => out.push_str(&visible(text)),
            None => out.push('?'),
        }
        rest = tail;
    }
    out.push_str(&visible(rest));
    out
}

/// Characters that hide or reorder what stands around them.
pub(crate) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `text` with everything [`hidden`] shown as `\u{…}`.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_fill_the_template_once_and_in_place() {
        let value = |name: &str| match name {
            "a" => Some("{b}"),
            "b" => Some("x\u{202e}y\n"),
            _ => None,
        };
        assert_eq!(render("{a} called {b}: {c}", value), "{b} called x\\u{202e}y\\u{a}: ?");
        assert_eq!(render("open {a", value), "open a");
    }

    proptest! {
        #[test]
        fn any_template_and_value_give_one_visible_line(template in ".{0,60}", text in ".{0,300}") {
            let line = render(&template, |_| Some(&text));
            prop_assert!(!line.chars().any(hidden));
        }
    }
}
