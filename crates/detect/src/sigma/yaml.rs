//! The text of a rule file as YAML documents, with the collection actions `global`, `reset` and `repeat`.
//!
//! Bounds: [`TEXT_MAX_BYTES`], [`ALIASES_MAX`], [`NESTING_MAX`], [`DOCUMENTS_MAX`]; the YAML reader itself
//! refuses duplicate keys and documents that aliases would make grow.

use super::refused::Fault;
use serde::Deserialize;
use yaml_serde::{Mapping, Value};

/// Longest rule file, in bytes.
pub const TEXT_MAX_BYTES: usize = 256 << 10;
/// Most YAML aliases in one file.
pub const ALIASES_MAX: usize = 64;
/// Deepest nesting of a document.
pub const NESTING_MAX: usize = 64;
/// Most brackets and braces open at one place of a file, wherever they stand. The YAML reader's time grows with
/// the square of them.
pub const OPEN_MAX: usize = 200;
/// Most documents in one file.
pub const DOCUMENTS_MAX: usize = 1000;

/// One document, or why it is none; with its number in the text, from 1 (0 = the text as a whole).
pub(crate) type Document = (usize, Result<Mapping, Fault>);

/// The documents of `text`, actions applied.
pub(crate) fn documents(text: &str) -> Vec<Document> {
    if let Err(fault) = bounds(text, TEXT_MAX_BYTES) {
        return vec![(0, Err(fault))];
    }
    let mut out = Vec::new();
    let mut state = Actions::default();
    for (at, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        if at == DOCUMENTS_MAX {
            out.push((0, Err(Fault::new("", format!("more than {DOCUMENTS_MAX} documents")))));
            break;
        }
        let read = Value::deserialize(document).map_err(|e| Fault::new("", format!("not YAML: {e}")));
        // After an error the reader's place in the text is undefined.
        let lost = read.is_err();
        match read.and_then(|value| state.apply(value)) {
            Ok(Some(mapping)) => out.push((at + 1, Ok(mapping))),
            Ok(None) => {}
            Err(fault) => out.push((at + 1, Err(fault))),
        }
        if lost {
            break;
        }
    }
    out
}

/// Whether a text of at most `max` bytes can be given to the YAML reader.
pub(crate) fn bounds(text: &str, max: usize) -> Result<(), Fault> {
    if text.len() > max {
        return Err(Fault::new("", format!("longer than {max} bytes")));
    }
    if text.contains('\0') {
        return Err(Fault::new("", "holds a NUL byte"));
    }
    let mut open = 0usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > OPEN_MAX {
            return Err(Fault::new("", format!("more than {OPEN_MAX} brackets open")));
        }
    }
    // Never less than there are: a star after a quotation mark begins a text, not an alias.
    let aliases = text.as_bytes().windows(3).filter(|w| {
        matches!(w, [before, b'*', after] if b" \t\n[,{:-".contains(before) && after.is_ascii_alphanumeric())
    });
    if aliases.count() > ALIASES_MAX {
        return Err(Fault::new("", format!("more than {ALIASES_MAX} YAML aliases")));
    }
    Ok(())
}

/// What the actions of earlier documents left behind.
#[derive(Default)]
struct Actions {
    global: Option<Mapping>,
    previous: Option<Mapping>,
}

impl Actions {
    /// The document to read; `None` for one that only sets the scene.
    fn apply(&mut self, value: Value) -> Result<Option<Mapping>, Fault> {
        let mut mapping = match value {
            // `---` at the end of a file.
            Value::Null => return Ok(None),
            Value::Mapping(mapping) => mapping,
            _ => return Err(Fault::new("", "not a map")),
        };
        if mapping.values().any(|value| depth(value) > NESTING_MAX) {
            return Err(Fault::new("", format!("nested deeper than {NESTING_MAX}")));
        }
        let action = match mapping.remove("action") {
            None => None,
            Some(Value::String(action)) => Some(action),
            Some(_) => return Err(Fault::new("action", "not a text")),
        };
        match action.as_deref() {
            None => {}
            Some("global") => {
                self.global = Some(mapping);
                return Ok(None);
            }
            Some("reset") => {
                self.global = None;
                return Ok(None);
            }
            Some("repeat") => {
                let Some(previous) = &self.previous else {
                    return Err(Fault::new("action", "`repeat` without a document before it"));
                };
                mapping = merged(previous.clone(), mapping);
            }
            Some(other) => {
                let known = super::refused::meant(other, &["global", "reset", "repeat"]);
                return Err(Fault::new("action", format!("unknown action `{other}`{known}")));
            }
        }
        if let Some(global) = &self.global {
            mapping = merged(global.clone(), mapping);
        }
        self.previous = Some(mapping.clone());
        Ok(Some(mapping))
    }
}

/// `over` laid upon `under`: maps key by key, everything else replaced.
fn merged(mut under: Mapping, over: Mapping) -> Mapping {
    for (key, value) in over {
        let value = match (under.remove(&key), value) {
            (Some(Value::Mapping(under)), Value::Mapping(over)) => Value::Mapping(merged(under, over)),
            (_, value) => value,
        };
        under.insert(key, value);
    }
    under
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Sequence(items) => items.iter().map(depth).max(),
        Value::Mapping(map) => map.iter().map(|(k, v)| depth(k).max(depth(v))).max(),
        Value::Tagged(tagged) => Some(depth(&tagged.value)),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> String {
        let documents = documents(text);
        documents.into_iter().find_map(|(_, d)| d.err()).map(|fault| fault.what).unwrap_or_default()
    }

    #[test]
    fn actions_lay_a_document_upon_others() {
        let text = "action: global\na: {x: 1}\n---\nb: 1\n---\naction: repeat\nb: 2\n---\naction: reset\n---\nc: 3\n";
        let all: Vec<String> =
            documents(text).into_iter().map(|(_, d)| yaml_serde::to_string(&d.unwrap()).unwrap()).collect();
        assert_eq!(all, ["a:\n  x: 1\nb: 1\n", "a:\n  x: 1\nb: 2\n", "c: 3\n"]);
        assert!(what("action: repeat\n").contains("without a document"));
        assert!(what("action: globl\n").contains("did you mean `global`"));
    }

    #[test]
    fn what_would_grow_or_nest_without_end_is_refused() {
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (from, to) in ('a'..='y').zip('b'..) {
            let again = format!("*{from}, ").repeat(9);
            bomb.push_str(&format!("{to}: &{to} [{again}*{from}]\n"));
        }
        assert!(what(&bomb).contains("64 YAML aliases"));
        let mut few = String::from("a0: &a0 [x, x]\n");
        for n in 1..30 {
            few.push_str(&format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
        }
        assert!(what(&few).contains("repetition limit"), "{}", what(&few));
        assert!(what(&format!("a: {}{}\n", "[".repeat(100), "]".repeat(100))).contains("nested deeper"));
        assert!(what(&format!("a: {}\n", "[".repeat(200_000))).contains("brackets open"));
        assert!(what(&format!("{}a\n", "- ".repeat(100_000))).contains("not YAML"));
        assert!(what(&format!("{}a\n", "? ".repeat(100_000))).contains("not YAML"));
        assert!(what(&"#".repeat(TEXT_MAX_BYTES + 1)).contains("longer than"));
        assert!(what("a: 1\na: 2\n").contains("duplicate"));
        assert!(what("a: *nobody\n").contains("not YAML"));
    }
}
