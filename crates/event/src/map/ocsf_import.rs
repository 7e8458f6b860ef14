//! A record of OCSF as an event: our own export again, or what another product wrote.
//!
//! Of another's record every value that the table has a place for is taken if nothing is lost by it; the rest is in
//! `content.unmapped` under its JSON pointer. Nothing is guessed: a class of several kinds names a kind only where
//! the record itself does.

use super::classes::{self, Class};
use super::fill;
use super::ocsf::{EXTENSION, kind, known, put_word, rows};
use super::table::Row;
use super::tree::{Json, get, leftover, object, plain_numbers, put, remove, spelled, take, text};
use super::twin::{Place, Twins};
use super::{Import, MapError, OCSF_MAX, distrust};
use crate::json::from_tree;
use crate::json::parse::parse_any;

/// Reads one record of OCSF, of any version 1.x.
///
/// # Errors
/// Not JSON, too long, without a `class_uid`, or our own export changed into what no event can be.
pub fn from_ocsf(bytes: &[u8]) -> Result<Import, MapError> {
    if bytes.len() > OCSF_MAX {
        return Err(MapError::new("record", "longer than a record may be"));
    }
    let record = std::str::from_utf8(bytes).map_err(|_| MapError::new("record", "not UTF-8"))?;
    let record = parse_any(record)?;
    let Some(Json::Int(uid)) = get(&record, "class_uid") else {
        return Err(MapError::new("class_uid", "required"));
    };
    let class = u64::try_from(*uid).ok().and_then(classes::by_uid);
    let ours = matches!(get(&record, EXTENSION), Some(Json::Object(_)));
    let mut importer = Importer::new(record, class, ours);
    importer.read();
    importer.finish()
}

struct Importer {
    record: Json,
    /// `None` = a class that has no place in the table.
    class: Option<&'static Class>,
    ours: bool,
    twins: Twins,
    taken: Vec<String>,
}

impl Importer {
    fn new(mut record: Json, class: Option<&'static Class>, ours: bool) -> Importer {
        let mut extension = object();
        if ours {
            extension = take(&mut record, EXTENSION).unwrap_or(extension);
            plain_numbers(&mut extension);
        }
        Importer { record, class, ours, twins: Twins::new(extension), taken: Vec::new() }
    }

    fn read(&mut self) {
        let class = self.class.unwrap_or(&classes::CLASSES[0]);
        if self.ours {
            self.agree_on_class(class);
        } else {
            self.kind_of_others(class);
        }
        let kind = kind(&self.twins.event).to_owned();
        for row in rows(class, &kind) {
            if self.ours {
                self.own(row, class);
            } else if !row.own {
                self.foreign(row);
            }
        }
        if self.ours {
            self.constants(class);
        }
        self.tokens();
    }

    /// The class stands for the kind, and for a finding.
    fn agree_on_class(&mut self, class: &'static Class) {
        if let (None, Some(only)) = (get(&self.twins.event, "core.kind"), class.implied_kind()) {
            put_word(&mut self.twins.event, "core.kind", only);
        }
        if classes::of(&self.twins.event) == class {
            return;
        }
        self.twins.disagree("core.kind");
        let is_finding = class.bit == classes::FINDING;
        if is_finding {
            put_word(&mut self.twins.event, "core.rec", "finding");
        } else if get(&self.twins.event, "core.rec") == Some(&text("finding")) {
            remove(&mut self.twins.event, "core.rec");
            remove(&mut self.twins.event, "core.sys");
        }
        if classes::of(&self.twins.event) != class {
            remove(&mut self.twins.event, "core.kind");
            if let Some(only) = class.only_kind() {
                put_word(&mut self.twins.event, "core.kind", only);
            }
        }
    }

    /// A kind only where the record names it: the class, or what of it is filled in.
    fn kind_of_others(&mut self, class: &'static Class) {
        let has = |path: &str| get(&self.record, path).is_some();
        let number = |path: &str| if let Some(Json::Int(n)) = get(&self.record, path) { *n } else { 0 };
        let kind = match class.bit {
            classes::API if has("cloud.provider") => Some("cloud_api"),
            classes::API => Some("rpc"),
            classes::DATA if has("databucket") || number("type_id") == 2 => Some("object"),
            classes::DATA if matches!(number("database.type_id"), 3 | 6) => Some("doc"),
            classes::DATA if number("database.type_id") == 1 || has("table") || has("query_info") => {
                Some("sql")
            }
            _ => class.only_kind(),
        };
        if let Some(kind) = kind {
            put_word(&mut self.twins.event, "core.kind", kind);
        }
    }

    /// One place of our own export: it must say what the extension says.
    fn own(&mut self, row: &Row, class: &'static Class) {
        let expects = get(&self.twins.extension, row.field).and_then(|have| row.conv.out(have)).is_some();
        let known = known(&self.twins.event);
        let found = get(&self.record, row.ocsf);
        let found =
            found.filter(|found| expects || !fill::is_filler(class, row.ocsf, found, &known)).cloned();
        let place = Place {
            field: row.field,
            out: &|ours| row.conv.out(ours),
            back: &|theirs| row.conv.back(theirs),
        };
        if self.twins.reconcile(&place, found.as_ref()) {
            self.took(row);
        }
    }

    fn took(&mut self, row: &Row) {
        if take(&mut self.record, row.ocsf).is_some() {
            self.taken.push(pointer(row.ocsf));
        }
    }

    /// One place of another's record; of two places of one field the first counts.
    fn foreign(&mut self, row: &Row) {
        let Some(found) = get(&self.record, row.ocsf) else { return };
        let value = match get(&self.twins.event, row.field) {
            Some(current) => Some(current.clone()),
            None => row.conv.back(found),
        };
        let Some(value) = value else { return };
        let whole = row.conv.out(&value).as_ref() == Some(found);
        if get(&self.twins.event, row.field).is_none() {
            put(&mut self.twins.event, row.field, value);
        }
        if whole {
            self.took(row);
        }
    }

    /// What our own export says in every record, or says twice.
    fn constants(&mut self, class: &'static Class) {
        for path in ["class_uid", "category_uid", "type_uid", "metadata.profiles"] {
            take(&mut self.record, path);
        }
        let known = known(&self.twins.event);
        for (path, _) in fill::places(class) {
            let is =
                get(&self.record, &path).is_some_and(|value| fill::is_filler(class, &path, value, &known));
            if is {
                take(&mut self.record, &path);
            }
        }
    }

    /// What no row took.
    fn tokens(&mut self) {
        let mut kept = match get(&self.twins.event, "content.unmapped") {
            Some(Json::Object(fields)) => fields.clone(),
            _ => Vec::new(),
        };
        if self.ours
            && let Some(Json::Object(fields)) = take(&mut self.record, "unmapped")
        {
            // What was taken before leaves a mark: the extension itself.
            let fields = fields.into_iter().filter(|(name, _)| name != "countersign");
            kept.extend(fields.map(|(name, value)| (name, Json::Text(spelled(&value)))));
        }
        leftover(&self.record, &mut String::new(), &mut |pointer, token| {
            kept.push((pointer.to_owned(), Json::Text(token)));
        });
        remove(&mut self.twins.event, "content.unmapped");
        if !kept.is_empty() {
            // An object with one name twice is no event: the first counts, which came in the extension.
            let mut seen = std::collections::HashSet::new();
            kept.retain(|(name, _)| seen.insert(name.clone()));
            put(&mut self.twins.event, "content.unmapped", Json::Object(kept));
        }
    }

    fn finish(mut self) -> Result<Import, MapError> {
        if !self.ours {
            let nothing = [("eid", text(&"0".repeat(32))), ("stream", text(&"0".repeat(32)))];
            let zero = [("seq", Json::Int(0)), ("t_obs", Json::Int(0))];
            for (name, value) in nothing.into_iter().chain(zero) {
                put(&mut self.twins.event, &format!("core.{name}"), value);
            }
            if get(&self.twins.event, "who.who").is_some() {
                put(&mut self.twins.event, "who.who.verified", Json::Int(1));
            }
        }
        let mut event = from_tree(self.twins.event)?;
        if !self.twins.disagreements.is_empty() {
            distrust(&mut event);
        }
        if self.ours {
            event.encode().map_err(|error| MapError::new("event", &error.to_string()))?;
        }
        Ok(Import { event, ours: self.ours, disagreements: self.twins.disagreements, taken: self.taken })
    }
}

/// A path of the table as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}
