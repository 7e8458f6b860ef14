//! From a table of the configuration to a mapping, or what is wrong with it and where.

use super::fields::{FIELDS, Target};
use super::source::Read;
use super::strptime::Format;
use super::value::{Pattern, Step, TimeForm};
use super::{Field, Mapper, REGEX_MAX, ROWS_MAX, Test};
use crate::plan::nearest;
use countersign_event::{Class, Kind, Outcome};

/// A value of a configuration, as TOML has it. Tables in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A truth value.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Vec<(String, Node)>),
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}{}", nearest.as_ref().map(|n| format!("; nearest right name: {n}")).unwrap_or_default())]
pub struct MapperError {
    /// Where: `format.orders.fields.op`.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// The right name that is nearest to a wrong one.
    pub nearest: Option<String>,
}

type Found<T> = Result<T, MapperError>;

fn wrong<T>(at: &str, what: impl Into<String>) -> Found<T> {
    Err(MapperError { at: at.to_owned(), what: what.into(), nearest: None })
}

fn unknown<T>(at: &str, name: &str, known: &[&str]) -> Found<T> {
    let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
    Err(MapperError { at: at.to_owned(), what: format!("unknown key `{name}`"), nearest })
}

/// A table being read: every key is asked for, or refused.
struct Table<'n> {
    at: &'n str,
    rows: &'n [(String, Node)],
}

impl<'n> Table<'n> {
    fn new(at: &'n str, node: &'n Node) -> Found<Table<'n>> {
        match node {
            Node::Table(rows) if rows.len() <= ROWS_MAX => Ok(Table { at, rows }),
            Node::Table(_) => wrong(at, "more than 256 entries"),
            _ => wrong(at, "must be a table"),
        }
    }

    fn only(&self, known: &[&str]) -> Found<()> {
        match self.rows.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => unknown(self.at, name, known),
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&'n Node> {
        self.rows.iter().find(|(own, _)| own == name).map(|(_, node)| node)
    }

    fn text(&self, name: &str) -> Found<Option<&'n str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => wrong(&format!("{}.{name}", self.at), "must be a text"),
        }
    }

    fn need(&self, name: &str) -> Found<&'n str> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => wrong(self.at, format!("`{name}` is missing")),
        }
    }

    fn texts(&self, name: &str) -> Found<Vec<String>> {
        let at = || format!("{}.{name}", self.at);
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Node::Text(text)) => Ok(vec![text.clone()]),
            Some(Node::List(list)) if list.len() <= ROWS_MAX => list
                .iter()
                .map(|node| match node {
                    Node::Text(text) => Ok(text.clone()),
                    _ => wrong(&at(), "must be texts"),
                })
                .collect(),
            Some(_) => wrong(&at(), "must be a text or at most 256 of them"),
        }
    }

    /// Pairs of a table below, numbers and truth values as texts.
    fn pairs(&self, name: &str) -> Found<Vec<(String, String)>> {
        let at = format!("{}.{name}", self.at);
        let Some(node) = self.get(name) else { return Ok(Vec::new()) };
        let table = Table::new(&at, node)?;
        let one = |(name, node): &(String, Node)| match node {
            Node::Text(text) => Ok((name.clone(), text.clone())),
            Node::Number(n) => Ok((name.clone(), n.to_string())),
            Node::Bool(b) => Ok((name.clone(), b.to_string())),
            _ => wrong(&format!("{at}.{name}"), "must be a text"),
        };
        table.rows.iter().map(one).collect()
    }
}

const KEYS: [&str; 10] =
    ["read", "when", "kind", "fields", "test", "columns", "delimiter", "pattern", "between", "equals"];
const OPERATIONS: [&str; 13] = [
    "from",
    "const",
    "split",
    "part",
    "lower",
    "upper",
    "table",
    "prefix",
    "time",
    "number",
    "template",
    "ip",
    "host_port",
];
const READS: [&str; 6] = ["json", "logfmt", "delimited", "regex", "kv", "csv"];
/// What a mapping may not set, whatever it is called.
const NEVER: [&str; 6] = ["verified", "who.verified", "agent", "seq", "t_obs", "eid"];

impl Mapper {
    /// The mapping called `name`, of its table.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and the nearest right name.
    pub fn new(name: &str, node: &Node) -> Result<Mapper, MapperError> {
        let at = format!("format.{name}");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return wrong(&at, "a format's name has 1 to 64 letters, digits, `-` and `_`");
        }
        if crate::formats::by_name(name).is_some() {
            return wrong(&at, "there is a format of this name already; choose another");
        }
        let table = Table::new(&at, node)?;
        table.only(&KEYS)?;
        let read = read(&table)?;
        let kind = match table.text("kind")? {
            None => None,
            Some(word) => match Kind::from_word(word) {
                Some(kind) => Some(kind),
                None => return one_of(&format!("{at}.kind"), word, Kind::ALL.iter().map(|kind| kind.word())),
            },
        };
        let fields_at = format!("{at}.fields");
        let fields = match table.get("fields") {
            Some(node) => Table::new(&fields_at, node)?,
            None => return wrong(&at, "`fields` is missing"),
        };
        let fields = fields.rows.iter().map(|(name, node)| field(&fields_at, name, node, &read));
        let fields = fields.collect::<Found<Vec<Field>>>()?;
        Ok(Mapper {
            name: name.to_owned(),
            when: table.pairs("when")?,
            kind,
            fields: with_ids_first(fields),
            tests: tests(&at, table.get("test"))?,
            read,
        })
    }
}

/// `who.name` alone makes an id of it; where there is an id, that comes first.
fn with_ids_first(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort_by_key(|field| {
        (field.target != Target::Field("who.id"), field.target == Target::Field("status"))
    });
    fields
}

fn one_of<'w, T>(at: &str, word: &str, words: impl Iterator<Item = &'w str>) -> Found<T> {
    let words: Vec<&str> = words.collect();
    let nearest = nearest(word, words.iter().copied()).map(str::to_owned);
    Err(MapperError { at: at.to_owned(), what: format!("`{word}` is none of {}", words.join(", ")), nearest })
}

fn read(table: &Table<'_>) -> Found<Read> {
    let word = table.need("read")?;
    let belongs = |keys: &[&str]| {
        let extra = ["columns", "delimiter", "pattern", "between", "equals"];
        let found = extra.into_iter().find(|key| table.get(key).is_some() && !keys.contains(key));
        found.map_or(Ok(()), |key| {
            wrong(&format!("{}.{key}", table.at), format!("does not belong to `read = \"{word}\"`"))
        })
    };
    let columns = || {
        let columns = table.texts("columns")?;
        if columns.is_empty() { wrong(table.at, "`columns` is missing") } else { Ok(columns) }
    };
    Ok(match word {
        "json" => belongs(&[]).map(|()| Read::Json)?,
        "logfmt" => belongs(&[]).map(|()| Read::Logfmt)?,
        "csv" => {
            belongs(&["columns"])?;
            Read::Csv { columns: columns()? }
        }
        "delimited" => {
            belongs(&["columns", "delimiter"])?;
            Read::Delimited { delimiter: table.need("delimiter")?.to_owned(), columns: columns()? }
        }
        "kv" => {
            belongs(&["between", "equals"])?;
            let text = |name: &str, default: &str| {
                Ok(table.text(name)?.filter(|t| !t.is_empty()).unwrap_or(default).to_owned())
            };
            Read::Kv { between: text("between", " ")?, equals: text("equals", "=")? }
        }
        "regex" => {
            belongs(&["pattern"])?;
            Read::Regex(Box::new(pattern(&format!("{}.pattern", table.at), table.need("pattern")?)?))
        }
        other => return one_of(&format!("{}.read", table.at), other, READS.into_iter()),
    })
}

/// A pattern for whole records. The engine has no way back: linear time, whatever the record.
fn pattern(at: &str, text: &str) -> Found<regex::Regex> {
    if text.len() > REGEX_MAX {
        return wrong(at, "a pattern is longer than 10 KiB");
    }
    let built = regex::RegexBuilder::new(&format!("\\A(?:{text})\\z")).size_limit(1 << 20).build();
    let regex = match built {
        Ok(regex) => regex,
        Err(error) => {
            return wrong(at, format!("not a pattern: {}", error.to_string().lines().last().unwrap_or("")));
        }
    };
    if regex.capture_names().flatten().next().is_none() {
        return wrong(at, "a pattern needs named captures: (?P<name>…)");
    }
    Ok(regex)
}

fn field(at: &str, name: &str, node: &Node, read: &Read) -> Found<Field> {
    let at = format!("{at}.{name}");
    if NEVER.contains(&name) {
        return wrong(&at, "a mapping cannot set it: it is ours to say");
    }
    let Some(target) = Target::new(name) else { return unknown(&at, name, &FIELDS) };
    let table = Table::new(&at, node)?;
    table.only(&OPERATIONS)?;
    let (from, fixed) = (table.texts("from")?, table.text("const")?.map(str::to_owned));
    if from.is_empty() && fixed.is_none() {
        return wrong(&at, "needs `from` or `const`");
    }
    if let Some(key) = from.iter().find(|key| read.is_json() && !key.starts_with('/')) {
        return wrong(&at, format!("`{key}` is no JSON pointer: it begins with `/`"));
    }
    let steps = steps(&table)?;
    if target.is_time() && !steps.iter().any(|step| matches!(step, Step::Time(_))) {
        return wrong(
            &at,
            "a time needs `time`: rfc3339, unix, unix_ms, unix_us, unix_ns or a format with `%`",
        );
    }
    for value in steps.iter().flat_map(results).chain(fixed.as_deref().filter(|_| steps.is_empty())) {
        check_word(&at, &target, value)?;
    }
    Ok(Field { target, from, fixed, steps })
}

/// The texts that a table can lead to.
fn results(step: &Step) -> Vec<&str> {
    match step {
        Step::Table(rows) => rows.iter().map(|(_, value)| value.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Words of closed lists are checked before any record comes.
fn check_word(at: &str, target: &Target, word: &str) -> Found<()> {
    match target {
        Target::Field("outcome") if Outcome::from_word(word).is_none() => {
            one_of(at, word, Outcome::ALL.iter().map(|outcome| outcome.word()))
        }
        Target::Field("class") if Class::from_word(word).is_none() => {
            one_of(at, word, Class::ALL.iter().map(|class| class.word()))
        }
        _ => Ok(()),
    }
}

fn steps(table: &Table<'_>) -> Found<Vec<Step>> {
    let mut steps = Vec::new();
    let on = |name: &str| match table.get(name) {
        None | Some(Node::Bool(false)) => Ok(false),
        Some(Node::Bool(true)) => Ok(true),
        Some(_) => wrong(&format!("{}.{name}", table.at), "must be true or false"),
    };
    match (table.text("split")?, table.get("part")) {
        (Some(""), _) => return wrong(&format!("{}.split", table.at), "must not be empty"),
        (Some(at), None) => steps.push(Step::Split(at.to_owned(), 0)),
        (Some(at), Some(Node::Number(part))) => match usize::try_from(*part) {
            Ok(part) => steps.push(Step::Split(at.to_owned(), part)),
            Err(_) => return wrong(&format!("{}.part", table.at), "counts from 0"),
        },
        (None, None) => {}
        _ => return wrong(&format!("{}.part", table.at), "is a number and needs `split`"),
    }
    if on("lower")? {
        steps.push(Step::Lower);
    }
    if on("upper")? {
        steps.push(Step::Upper);
    }
    if table.get("table").is_some() {
        let rows = table.pairs("table")?;
        steps.push(Step::Table(rows.into_iter().map(|(key, value)| (Pattern::new(&key), value)).collect()));
    }
    if on("template")? {
        steps.push(Step::Template);
    }
    if on("ip")? {
        steps.push(Step::Ip);
    }
    if on("host_port")? {
        steps.push(Step::HostPort);
    }
    if let Some(prefix) = table.text("prefix")? {
        steps.push(Step::Prefix(prefix.to_owned()));
    }
    if let Some(word) = table.text("time")? {
        steps.push(Step::Time(time(&format!("{}.time", table.at), word)?));
    }
    if let Some(word) = table.text("number")? {
        steps.push(Step::Number(unit(&format!("{}.number", table.at), word)?));
    }
    Ok(steps)
}

fn time(at: &str, word: &str) -> Found<TimeForm> {
    Ok(match word {
        "rfc3339" => TimeForm::Rfc3339,
        "unix" => TimeForm::Unix(1_000_000_000),
        "unix_ms" => TimeForm::Unix(1_000_000),
        "unix_us" => TimeForm::Unix(1_000),
        "unix_ns" => TimeForm::Unix(1),
        format if format.contains('%') => match Format::new(format) {
            Ok(format) => TimeForm::Strptime(format),
            Err(why) => return wrong(at, why),
        },
        other => return one_of(at, other, ["rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"].into_iter()),
    })
}

/// ns of a unit of time; 1 for numbers that are none.
fn unit(at: &str, word: &str) -> Found<u64> {
    let units = [("plain", 1), ("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    match units.iter().find(|(name, _)| *name == word) {
        Some((_, ns)) => Ok(*ns),
        None => one_of(at, word, units.into_iter().map(|(name, _)| name)),
    }
}

fn tests(at: &str, node: Option<&Node>) -> Found<Vec<Test>> {
    let at = format!("{at}.test");
    let list = match node {
        None => return Ok(Vec::new()),
        Some(Node::List(list)) if list.len() <= ROWS_MAX => list,
        Some(_) => return wrong(&at, "must be a list of tables, at most 256"),
    };
    let one = |node: &Node| {
        let table = Table::new(&at, node)?;
        table.only(&["input", "expect"])?;
        let expect = table.pairs("expect")?.into_iter().map(|(name, want)| match Target::new(&name) {
            Some(target) => Ok((target, want)),
            None => unknown(&format!("{at}.expect"), &name, &FIELDS),
        });
        Ok(Test { input: table.need("input")?.to_owned(), expect: expect.collect::<Found<Vec<_>>>()? })
    };
    list.iter().map(one).collect()
}
