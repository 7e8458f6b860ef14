//! A field that came twice, in the extension and in the place that the schema has for it.

use super::tree::{Json, get, put, remove};

/// One place outside, with its conversions.
pub(super) struct Place<'a> {
    /// Path of the field in the event's JSON.
    pub(super) field: &'static str,
    /// The value there.
    pub(super) out: &'a dyn Fn(&Json) -> Option<Json>,
    /// The value here.
    pub(super) back: &'a dyn Fn(&Json) -> Option<Json>,
}

/// The extension, and the event that is made of it and of the places.
pub(super) struct Twins {
    /// The extension as it came.
    pub(super) extension: Json,
    /// The event in its JSON form.
    pub(super) event: Json,
    /// Fields that were told two things.
    pub(super) disagreements: Vec<String>,
}

impl Twins {
    pub(super) fn new(extension: Json) -> Twins {
        Twins { event: extension.clone(), extension, disagreements: Vec::new() }
    }

    pub(super) fn disagree(&mut self, field: &str) {
        if !self.disagreements.iter().any(|known| known == field) {
            self.disagreements.push(field.to_owned());
        }
    }

    /// Takes what was `found` at a place of our own export. Whether the event holds all of it now.
    pub(super) fn reconcile(&mut self, place: &Place<'_>, found: Option<&Json>) -> bool {
        let have = get(&self.extension, place.field);
        let expected = have.and_then(|have| (place.out)(have));
        let Some(found) = found else {
            // The place is there in every export that has the value: somebody took it out.
            if expected.is_some() {
                self.disagree(place.field);
                remove(&mut self.event, place.field);
            }
            return false;
        };
        if have.is_none()
            && let Some(current) = get(&self.event, place.field)
        {
            // From an earlier place of the same field, which loses nothing.
            let agrees = (place.out)(current).as_ref() == Some(found);
            if !agrees {
                self.disagree(place.field);
            }
            return agrees;
        }
        if expected.as_ref() == Some(found) {
            return true;
        }
        let back = (place.back)(found);
        let whole = back.as_ref().and_then(|back| (place.out)(back)).as_ref() == Some(found);
        // Without an extension the place alone is the value, if we could have written it.
        if have.is_some() || !whole {
            self.disagree(place.field);
        }
        remove(&mut self.event, place.field);
        if let Some(value) = back {
            put(&mut self.event, place.field, value);
        }
        whole
    }
}
