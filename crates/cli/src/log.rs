//! What this program says of itself while it runs: warnings and errors, one line each, to standard error.
//!
//! Not the record: events are in the ledger alone. Invariants: only our own crates are heard, since a library's
//! line may quote what passes (h2 does, at debug); a line is one line, bounded, and no character of it steers a
//! terminal; what cannot be written is dropped, and nothing waits for a reader.

use crate::output::escape_line;
use serde_json::{Map, Value, json};
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Longest value of a field, characters; the rest is cut.
const VALUE_MAX: usize = 2_048;
/// Where the lines of our own crates come from.
const OWN: &str = "countersign";

/// Form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How much, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Lines of this level and worse.
    pub(crate) level: LevelFilter,
    /// Their form.
    pub(crate) form: Form,
}

impl Default for Settings {
    /// Warnings, errors, and the findings that are told to the log.
    fn default() -> Settings {
        Settings { level: LevelFilter::INFO, form: Form::Text }
    }
}

/// The level of a word of [`crate::config::LOG_LEVELS`]; anything else is off.
pub(crate) fn level(word: &str) -> LevelFilter {
    word.parse().unwrap_or(LevelFilter::OFF)
}

/// From here on lines go to standard error. A second call in one process changes nothing.
pub(crate) fn start(settings: Settings) {
    let to_stderr = |line: &str| {
        // One write a line, so that lines of threads do not mix.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    };
    let _ =
        tracing::subscriber::set_global_default(Registry::default().with(Lines { settings, to: to_stderr }));
}

/// Makes lines of events.
struct Lines<W> {
    settings: Settings,
    to: W,
}

impl<W> Lines<W> {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let own =
            target.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']));
        own && *metadata.level() <= self.settings.level
    }
}

impl<S: Subscriber, W: Fn(&str) + Send + Sync + 'static> Layer<S> for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.settings.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        (self.to)(&line(self.settings.form, &time, event.metadata(), fields));
    }
}

fn line(form: Form, time: &str, metadata: &Metadata<'_>, fields: Fields) -> String {
    let level = match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    // `countersign_ledger::open` is the ledger's; people need no more.
    let part = metadata.target().trim_start_matches(OWN).trim_start_matches(['_', ':']);
    let part = part.split("::").next().filter(|part| !part.is_empty()).unwrap_or("run");
    match form {
        Form::Text => {
            let mut out = format!("{time} {level:<5} {part}: {}", fields.message);
            for (name, value) in &fields.rest {
                let value = value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}\""));
                let _ = write!(out, " {name}={value}");
            }
            out
        }
        Form::Json => {
            let mut out = json!({"time": time, "level": level, "part": part, "message": fields.message});
            if let (false, Some(object)) = (fields.rest.is_empty(), out.as_object_mut()) {
                object.insert("fields".to_owned(), Value::Object(fields.rest));
            }
            out.to_string()
        }
    }
}

/// The values of one event, none of which can steer a terminal.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        let text = match text.char_indices().nth(VALUE_MAX) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        };
        let text = escape_line(&text);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.rest.insert(field.name().to_owned(), Value::String(text));
        }
    }

    fn value(&mut self, field: &Field, value: Value) {
        self.rest.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// The lines that `work` leads to.
    fn lines(level: LevelFilter, form: Form, work: impl FnOnce()) -> Vec<String> {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let ours = Arc::clone(&seen);
        let to = move |line: &str| ours.lock().unwrap().push(line.to_owned());
        let settings = Settings { level, form };
        tracing::subscriber::with_default(Registry::default().with(Lines { settings, to }), work);
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[test]
    fn a_library_is_never_heard_and_our_own_crates_are_by_level() {
        let work = || {
            tracing::error!(target: "h2::codec", "payload");
            tracing::error!(target: "hyper", "payload");
            tracing::error!(target: "countersigner", "payload");
            tracing::debug!(target: "countersign_gateway::pump", "debug");
            tracing::warn!(target: "countersign_gateway::pump", "warning");
        };
        let found = lines(LevelFilter::TRACE, Form::Text, work);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].contains(" warn  gateway: warning"), "{found:?}");
        assert_eq!(lines(LevelFilter::WARN, Form::Text, work).len(), 1);
        assert_eq!(lines(LevelFilter::OFF, Form::Text, work).len(), 0);
    }

    #[test]
    fn no_value_steers_a_terminal_or_makes_a_second_line() {
        let hostile = "a\u{1b}[31m\nb\r\u{9b}2J\u{202e}";
        for form in [Form::Text, Form::Json] {
            let found = lines(LevelFilter::INFO, form, || {
                tracing::error!(file = hostile, error = %hostile, n = 7_u64, ok = true, "{hostile}");
            });
            assert_eq!(found.len(), 1);
            assert!(found[0].chars().all(|c| !c.is_control() && c != '\u{202e}'), "{found:?}");
            assert!(found[0].contains("[31m"), "what was there is still told: {found:?}");
        }
    }

    #[test]
    fn json_has_its_fields_and_a_long_value_is_cut() {
        let long = "x".repeat(10_000);
        let found = lines(LevelFilter::INFO, Form::Json, || {
            tracing::warn!(target: "countersign_ledger::open", file = long, n = 7_u64, "torn");
        });
        let value: Value = serde_json::from_str(&found[0]).unwrap();
        assert_eq!((value["level"].as_str(), value["part"].as_str()), (Some("warn"), Some("ledger")));
        assert_eq!((value["message"].as_str(), value["fields"]["n"].as_u64()), (Some("torn"), Some(7)));
        assert!(value["fields"]["file"].as_str().unwrap().chars().count() <= VALUE_MAX + 1);
    }

    #[test]
    fn words_are_levels() {
        for word in crate::config::LOG_LEVELS {
            assert_eq!(level(word).to_string(), *word);
        }
    }
}
