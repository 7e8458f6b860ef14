//! What the scanner keeps: texts within their bounds, keys that mean something, values in their fields.

use super::super::place::Place;
use super::super::{ARGUMENT_KEYS_MAX, Flags, Id};
use super::{Reader, State};

impl Reader {
    /// A UTF-16 code unit from `\u`.
    pub(super) fn unit(&mut self, unit: u16) {
        let pair = self.high.take();
        if let (Some(high), 0xdc00..=0xdfff) = (pair, unit) {
            let low = u32::from(unit) - 0xdc00;
            let code = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + low;
            return self.keep_char(char::from_u32(code).unwrap_or('\u{fffd}'));
        }
        if pair.is_some() {
            self.text_flags.set(Flags::SURROGATE);
            self.keep_char('\u{fffd}');
        }
        match unit {
            0xd800..=0xdbff => self.high = Some(unit),
            _ => {
                let char = char::from_u32(u32::from(unit));
                if char.is_none() {
                    self.text_flags.set(Flags::SURROGATE);
                }
                if unit == 0 {
                    self.text_flags.set(Flags::NUL);
                }
                self.keep_char(char.unwrap_or('\u{fffd}'));
            }
        }
    }

    /// A first half that no second one followed.
    pub(super) fn lone_half(&mut self) {
        if self.high.take().is_some() {
            self.text_flags.set(Flags::SURROGATE);
            self.keep_char('\u{fffd}');
        }
    }

    pub(super) fn keep_char(&mut self, char: char) {
        let mut buffer = [0; 4];
        let bytes = char.encode_utf8(&mut buffer).as_bytes();
        self.keep_bytes(bytes);
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.lone_half();
            self.keep_bytes(bytes);
        }
    }

    pub(super) fn keep_bytes(&mut self, bytes: &[u8]) {
        let room = self.text_max.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if bytes.len() > room {
            self.text_flags.set(Flags::LONG);
        }
    }

    /// The kept text. A cut at the bound may have split a character.
    pub(super) fn kept(&mut self) -> String {
        match String::from_utf8(std::mem::take(&mut self.text)) {
            Ok(text) => text,
            Err(e) => {
                let upto = e.utf8_error().valid_up_to();
                let mut bytes = e.into_bytes();
                bytes.truncate(upto);
                String::from_utf8(bytes).unwrap_or_default()
            }
        }
    }

    pub(super) fn text_ends(&mut self) {
        if self.in_key {
            self.key_ends();
            self.state = State::Colon;
            return;
        }
        if self.text_max > 0 {
            self.message.flags.set(self.text_flags);
            let text = self.kept();
            self.store(text, false);
        }
        self.value_ends();
    }

    pub(super) fn key_ends(&mut self) {
        self.place = Place::Other;
        if self.text_max == 0 {
            return;
        }
        let long = self.text_flags.has(Flags::LONG);
        let key = self.kept();
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.place == Place::Arguments {
            return self.argument_key(key);
        }
        // A key with a NUL or half a character may be cut there by a reader, and then be one of ours.
        if self.text_flags.has(Flags::NUL) || self.text_flags.has(Flags::SURROGATE) {
            self.message.flags.set(self.text_flags);
        }
        if long {
            return;
        }
        let (place, alike) = frame.place.child(&key);
        if alike {
            self.message.flags.set(Flags::CASE);
        }
        if place != Place::Other {
            if frame.seen & place.bit() != 0 {
                self.message.flags.set(Flags::DUPLICATE);
            }
            frame.seen |= place.bit();
        }
        self.place = place;
    }

    pub(super) fn argument_key(&mut self, key: String) {
        if self.text_flags.has(Flags::LONG) {
            self.message.flags.set(Flags::LONG);
        }
        if self.message.argument_keys.contains(&key) && !self.text_flags.has(Flags::LONG) {
            self.message.flags.set(Flags::DUPLICATE);
        } else if self.message.argument_keys.len() < ARGUMENT_KEYS_MAX {
            self.message.argument_keys.push(key);
        } else {
            self.message.argument_keys_more += 1;
        }
    }

    /// A string or number that is kept.
    pub(super) fn store(&mut self, text: String, number: bool) {
        let m = &mut self.message;
        let id = |text| if number { Id::Number(text) } else { Id::Text(text) };
        match self.place {
            Place::Version if text != "2.0" => m.flags.set(Flags::VERSION),
            Place::Id => m.id = Some(id(text)),
            Place::About => m.about = Some(id(text)),
            Place::Progress | Place::MetaProgress => m.progress = Some(id(text)),
            Place::Method => m.method = Some(text),
            Place::Name => m.name = Some(text),
            Place::Uri => m.uri = Some(text),
            Place::RefName => m.ref_name = Some(text),
            Place::RefUri => m.ref_uri = Some(text),
            Place::Task => m.task = Some(text),
            Place::TraceParent => m.traceparent = Some(text),
            Place::TraceState => m.tracestate = Some(text),
            Place::Revision => m.revision = Some(text),
            Place::ClientName => m.client.name = Some(text),
            Place::ClientVersion => m.client.version = Some(text),
            Place::ServerName => m.server.name = Some(text),
            Place::ServerVersion => m.server.version = Some(text),
            Place::ResultType => m.result_type = Some(text),
            Place::ErrorCode => m.error_code = Some(text),
            _ => {}
        }
    }
}
