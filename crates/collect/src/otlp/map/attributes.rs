//! Attributes, asked by what they mean; what was taken is marked.

use super::super::semconv::{Sets, TABLE, rank};
use super::super::{Any, Pair};
use std::borrow::Cow;
use std::cell::Cell;

/// Number of meanings.
const MEANINGS: usize = Sets::ErrorText as usize + 1;

pub(super) struct Attributes<'a> {
    list: &'a [Pair],
    /// What each means, and whether it was taken.
    used: Vec<(Option<Sets>, Cell<bool>)>,
    /// For each meaning the place of the attribute with the name that counts most.
    by_meaning: [Option<u32>; MEANINGS],
}

impl<'a> Attributes<'a> {
    pub(super) fn new(list: &'a [Pair]) -> Attributes<'a> {
        let mut best: [Option<(usize, u32)>; MEANINGS] = [None; MEANINGS];
        let mut used = Vec::with_capacity(list.len());
        for (at, pair) in list.iter().enumerate() {
            let meaning = rank(&pair.key).and_then(|rank| Some((rank, TABLE.get(rank)?.1)));
            used.push((meaning.map(|(_, sets)| sets), Cell::new(false)));
            let Some((rank, sets)) = meaning else { continue };
            if let Some(place) = best.get_mut(sets as usize)
                && place.is_none_or(|(known, _)| rank < known)
            {
                *place = Some((rank, at as u32));
            }
        }
        let by_meaning = best.map(|found| found.map(|(_, at)| at));
        Attributes { list, used, by_meaning }
    }

    fn find(&self, sets: Sets) -> Option<(usize, &'a Any)> {
        let at = (*self.by_meaning.get(sets as usize)?)? as usize;
        Some((at, self.list.get(at)?.value.as_ref()?))
    }

    fn mark(&self, at: usize) {
        if let Some((_, used)) = self.used.get(at) {
            used.set(true);
        }
    }

    /// Marks it as taken: another attribute says what it says.
    pub(super) fn taken(&self, sets: Sets) {
        if let Some((at, _)) = self.find(sets) {
            self.mark(at);
        }
    }

    /// Whether something means it.
    pub(super) fn has(&self, sets: Sets) -> bool {
        self.find(sets).is_some()
    }

    /// Its text, if it is one that is not empty. Takes it.
    pub(super) fn text(&self, sets: Sets) -> Option<&'a str> {
        match self.find(sets)? {
            (at, Any::Text(text)) if !text.is_empty() => {
                self.mark(at);
                Some(text)
            }
            _ => None,
        }
    }

    /// Its text without taking it.
    pub(super) fn peek(&self, sets: Sets) -> Option<&'a str> {
        match self.find(sets)? {
            (_, Any::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Its text, or its number as text. Takes it.
    pub(super) fn word(&self, sets: Sets) -> Option<Cow<'a, str>> {
        match self.find(sets)? {
            (at, Any::Int(number)) => {
                self.mark(at);
                Some(Cow::Owned(number.to_string()))
            }
            _ => self.text(sets).map(Cow::Borrowed),
        }
    }

    /// A number that is not negative, also spelled in a text. Takes it.
    pub(super) fn uint(&self, sets: Sets) -> Option<u64> {
        let (at, value) = self.find(sets)?;
        let number = match value {
            Any::Int(number) => u64::try_from(*number).ok(),
            Any::Text(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_some() {
            self.mark(at);
        }
        number
    }

    /// A list of texts, or one. Takes it.
    pub(super) fn texts(&self, sets: Sets) -> Vec<&'a str> {
        let Some((at, value)) = self.find(sets) else { return Vec::new() };
        let text = |value: &'a Any| match value {
            Any::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let found: Option<Vec<&str>> = match value {
            Any::Array(values) => values.iter().map(text).collect(),
            value => text(value).map(|text| vec![text]),
        };
        if found.is_some() {
            self.mark(at);
        }
        found.unwrap_or_default()
    }

    /// The text of the attribute called `name`, without taking it.
    pub(super) fn text_of(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|pair| pair.key == name).and_then(|pair| match &pair.value {
            Some(Any::Text(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    }

    /// As [`Attributes::text_of`], and takes it.
    pub(super) fn take(&self, name: &str) -> Option<&'a str> {
        let at = self.list.iter().position(|pair| pair.key == name)?;
        let text = self.text_of(name);
        if text.is_some() {
            self.mark(at);
        }
        text
    }

    /// Those that nobody took. One with an older name that says the same as the one taken is said already.
    pub(super) fn rest(&self, mut keep: impl FnMut(&Pair)) {
        let taken = |at: usize| self.used.get(at).is_some_and(|(_, used)| used.get());
        for (at, (pair, (meaning, used))) in self.list.iter().zip(&self.used).enumerate() {
            if used.get() {
                continue;
            }
            let said = meaning
                .and_then(|sets| self.find(sets))
                .is_some_and(|(of, value)| of != at && taken(of) && pair.value.as_ref() == Some(value));
            if !said {
                keep(pair);
            }
        }
    }
}
