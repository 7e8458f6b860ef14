//! From a rule as written to an expression over tests.
//!
//! Sigma modifiers appendix 2.1. Every modifier is either given its meaning here or the rule is refused; so is a
//! combination in which one would change nothing.

use super::ast::{Detection, Detections, Item, LogSource, Modifier, Op, Scalar};
use super::condition::Condition;
use super::fields::{self, Source};
use super::pattern::{self, Pattern};
use super::plan::{Expr, Pair, Planner};
use super::refused::Fault;
use super::route::Route;
use super::test::{self, How, Test};
use super::value::{Block, TimePart, number};
use std::collections::BTreeMap;

mod modifiers;

use modifiers::{Encoding, Plain, What};

/// Most tests in one rule.
pub const TESTS_MAX: usize = 512;
/// Most texts that the placeholders of one value may make.
pub const EXPANDED_MAX: usize = 1000;

/// Placeholder → its values.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// What all rules of a set share while they are compiled.
pub(crate) struct Compiler<'p> {
    pub(crate) planner: Planner,
    pub(crate) placeholders: &'p Placeholders,
}

type Compiled = Result<Expr, Fault>;

impl Compiler<'_> {
    /// A rule: its log source and its conditions.
    pub(crate) fn rule(&mut self, logsource: &LogSource, detections: &Detections) -> Compiled {
        let route = self.planner.route(Route::of(logsource));
        let found = self.detections(logsource, detections).map_err(|fault| fault.within("detection"))?;
        if found.tests() > TESTS_MAX {
            return Err(Fault::new("detection", format!("more than {TESTS_MAX} tests")));
        }
        Ok(Expr::All(vec![route, found]))
    }

    /// The conditions of a detection section; any of them.
    pub(crate) fn detections(&mut self, logsource: &LogSource, detections: &Detections) -> Compiled {
        let mut named = BTreeMap::new();
        for (name, detection) in &detections.named {
            let expr = self.detection(logsource, detection).map_err(|fault| fault.within(name))?;
            named.insert(name.as_str(), expr);
        }
        let conditions = detections.conditions.iter().map(|condition| of_condition(condition, &named));
        conditions.collect::<Result<_, Fault>>().map(Expr::any)
    }

    fn detection(&mut self, logsource: &LogSource, detection: &Detection) -> Compiled {
        match detection {
            Detection::All(items) => {
                let parts = items
                    .iter()
                    .map(|item| self.item(logsource, item).map_err(|fault| fault.within(&item.key)));
                parts.collect::<Result<_, Fault>>().map(Expr::all)
            }
            Detection::Any(parts) => parts
                .iter()
                .map(|part| self.detection(logsource, part))
                .collect::<Result<_, _>>()
                .map(Expr::any),
            Detection::Keywords(values) => {
                let item =
                    Item { key: String::new(), field: None, modifiers: vec![], values: values.clone() };
                self.item(logsource, &item)
            }
        }
    }

    fn item(&mut self, logsource: &LogSource, item: &Item) -> Compiled {
        let what = What::of(item)?;
        let source = item.field.as_deref().map_or(Source::Keywords, |field| fields::find(field, logsource));
        if let What::Exists(wanted) = what {
            let exists = self.planner.test(&source, Test::Exists);
            return Ok(if wanted { exists } else { Expr::Not(Box::new(exists)) });
        }
        let has = |modifier| item.modifiers.contains(&modifier);
        let mut parts = Vec::new();
        for value in &item.values {
            parts.push(self.value(logsource, &source, &what, value)?);
        }
        let found = if has(Modifier::All) { Expr::all(parts) } else { Expr::any(parts) };
        if has(Modifier::Neq) {
            // What is not there is not different either: it cannot be compared.
            let exists = self.planner.test(&source, Test::Exists);
            return Ok(Expr::All(vec![exists, Expr::Not(Box::new(found))]));
        }
        Ok(found)
    }

    fn value(&mut self, logsource: &LogSource, source: &Source, what: &What, value: &Scalar) -> Compiled {
        let fault = |what: String| Fault::new("", what);
        let test = match what {
            What::Plain(plain) => return self.plain(source, plain, value),
            What::Regex(flags) => {
                let pattern = text(value)?;
                let pattern = if flags.is_empty() { pattern } else { format!("(?{flags}){pattern}") };
                test::regex(&pattern).map_err(fault)?;
                Test::Regex(pattern)
            }
            What::Cidr => {
                let block = text(value)?;
                let parsed = Block::parse(&block);
                Test::Cidr(parsed.ok_or_else(|| fault(format!("`{block}` is not a block of addresses")))?)
            }
            What::Number(op) => Test::Number(*op, a_number(value)?.to_bits()),
            What::Part(part) => Test::Part(*part, a_number(value)?.to_bits()),
            What::FieldRef { how, cased } => {
                let name = text(value)?;
                let pattern = Pattern::parse(&name);
                let plain = pattern
                    .plain()
                    .ok_or_else(|| fault("the name of a field has no wildcards".to_owned()))?;
                let right = fields::find(plain, logsource);
                return Ok(self.planner.pair(Pair { left: source.clone(), right, how: *how, cased: *cased }));
            }
            What::Exists(_) => Test::Exists,
        };
        Ok(self.planner.test(source, test))
    }

    /// A value that is compared as it stands, or after encoding.
    fn plain(&mut self, source: &Source, plain: &Plain, value: &Scalar) -> Compiled {
        let keyword = *source == Source::Keywords;
        let texts = plain.modified();
        let test = match value {
            Scalar::Text(text) if plain.expand => return self.expanded(source, plain, text),
            Scalar::Text(text) => return self.text(source, plain, text),
            Scalar::Int(n) if texts || keyword => return self.literal(source, plain, &n.to_string()),
            Scalar::Float(n) if texts || keyword => return self.literal(source, plain, &n.to_string()),
            Scalar::Int(n) => Test::Number(Op::Eq, (*n as f64).to_bits()),
            Scalar::Float(n) => Test::Number(Op::Eq, n.to_bits()),
            Scalar::Bool(_) | Scalar::Null if texts || keyword => {
                return Err(Fault::new(
                    "",
                    "true, false and null are not texts; quote the word if it is meant",
                ));
            }
            Scalar::Bool(b) => Test::Truth(*b),
            Scalar::Null => Test::Null,
        };
        Ok(self.planner.test(source, test))
    }

    /// Every text that the placeholders make of one.
    fn expanded(&mut self, source: &Source, plain: &Plain, text: &str) -> Compiled {
        let mut texts = vec![text.to_owned()];
        for name in pattern::placeholders(text) {
            let values =
                self.placeholders.get(name).filter(|values| !values.is_empty()).ok_or_else(|| {
                    Fault::new(
                        "",
                        format!(
                            "placeholder %{name}% has no value; give it values in [[detect.placeholder]]"
                        ),
                    )
                })?;
            if texts.len() * values.len() > EXPANDED_MAX {
                return Err(Fault::new("", format!("its placeholders make more than {EXPANDED_MAX} texts")));
            }
            let sign = format!("%{name}%");
            let replace =
                |text: &String| values.iter().map(|v| text.replacen(&sign, v, 1)).collect::<Vec<_>>();
            texts = texts.iter().flat_map(replace).collect();
        }
        let parts = texts.iter().map(|text| self.text(source, plain, text));
        parts.collect::<Result<_, Fault>>().map(Expr::any)
    }

    fn text(&mut self, source: &Source, plain: &Plain, text: &str) -> Compiled {
        let pattern = Pattern::parse(text);
        if let Some(encoding) = &plain.encoding {
            let bytes =
                pattern.plain().ok_or_else(|| Fault::new("", "a text with wildcards cannot be encoded"))?;
            let forms = match encoding {
                Encoding::Base64(utf16) => {
                    return self.literal(source, plain, &pattern::base64(&utf16.bytes(bytes)));
                }
                Encoding::Base64Offset(utf16) => pattern::base64_offsets(&utf16.bytes(bytes)),
            };
            if forms.is_empty() {
                return Err(Fault::new("", format!("`{bytes}` is too short to be found in Base64")));
            }
            let forms = forms.iter().map(|form| self.literal(source, plain, form));
            return forms.collect::<Result<_, Fault>>().map(Expr::any);
        }
        let pattern = if plain.windash { pattern.windash() } else { pattern };
        if let Some(text) = pattern.plain() {
            return self.literal(source, plain, text);
        }
        let open = |how| matches!(plain.how, How::Contains) || plain.how == how;
        let pattern = pattern.open(open(How::Ends), open(How::Begins));
        let pattern = if plain.cased { pattern } else { pattern.lowercase() };
        Ok(self.planner.test(source, Test::Like { pattern, cased: plain.cased }))
    }

    fn literal(&mut self, source: &Source, plain: &Plain, text: &str) -> Compiled {
        let text = if plain.cased { text.to_owned() } else { text.to_lowercase() };
        Ok(self.planner.test(source, Test::Text { how: plain.how, text, cased: plain.cased }))
    }
}

/// A value as a text; numbers as they are written.
fn text(value: &Scalar) -> Result<String, Fault> {
    match value {
        Scalar::Text(text) => Ok(text.clone()),
        Scalar::Int(n) => Ok(n.to_string()),
        Scalar::Float(n) => Ok(n.to_string()),
        Scalar::Bool(_) | Scalar::Null => Err(Fault::new("", "the modifier wants a text")),
    }
}

fn a_number(value: &Scalar) -> Result<f64, Fault> {
    let found = match value {
        Scalar::Int(n) => Some(*n as f64),
        Scalar::Float(n) => Some(*n),
        Scalar::Text(text) => number(text),
        Scalar::Bool(_) | Scalar::Null => None,
    };
    found.ok_or_else(|| Fault::new("", "the modifier wants a number"))
}

fn of_condition(condition: &Condition, named: &BTreeMap<&str, Expr>) -> Compiled {
    let fault = |what: String| Fault::new("condition", what);
    let each =
        |parts: &[Condition]| parts.iter().map(|part| of_condition(part, named)).collect::<Result<_, _>>();
    match condition {
        Condition::All(parts) => each(parts).map(Expr::all),
        Condition::Any(parts) => each(parts).map(Expr::any),
        Condition::Not(part) => Ok(Expr::Not(Box::new(of_condition(part, named)?))),
        Condition::Name(name) => named.get(name.as_str()).cloned().ok_or_else(|| {
            let known: Vec<&str> = named.keys().copied().collect();
            fault(format!("no detection is called `{name}`{}", super::refused::meant(name, &known)))
        }),
        Condition::Of(least, pattern) => {
            let parts: Vec<Expr> =
                named.iter().filter(|(name, _)| pattern.takes(name)).map(|(_, expr)| expr.clone()).collect();
            let least = least.map_or(parts.len(), |n| usize::try_from(n).unwrap_or(usize::MAX));
            match (least, parts.len()) {
                (_, 0) => Err(fault("a selector takes no detection".to_owned())),
                (least, count) if least > count => {
                    Err(fault(format!("`{least} of` can never hold: it takes {count} detections")))
                }
                (1, _) => Ok(Expr::any(parts)),
                (least, count) if least == count => Ok(Expr::all(parts)),
                (least, _) => Ok(Expr::AtLeast(least, parts)),
            }
        }
    }
}

pub(crate) use modifiers::Utf16;

impl Utf16 {
    fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Utf16::No => text.as_bytes().to_vec(),
            Utf16::LittleEndian => pattern::utf16(text, u16::to_le_bytes),
            Utf16::BigEndian => pattern::utf16(text, u16::to_be_bytes),
            Utf16::Marked => [&[0xff, 0xfe][..], &pattern::utf16(text, u16::to_le_bytes)].concat(),
        }
    }
}

impl TimePart {
    pub(crate) fn of_modifier(modifier: Modifier) -> Option<TimePart> {
        Some(match modifier {
            Modifier::Minute => TimePart::Minute,
            Modifier::Hour => TimePart::Hour,
            Modifier::Day => TimePart::Day,
            Modifier::Week => TimePart::Week,
            Modifier::Month => TimePart::Month,
            Modifier::Year => TimePart::Year,
            _ => return None,
        })
    }
}
