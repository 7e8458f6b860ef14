//! Groups 5 and 6: contents, payload sizes and digests, how the record was captured.

use super::core::pair;
use super::dec::{self, Read, text};
use super::enc::{Done, Enc, at_most, refuse};
use crate::ITEMS_MAX;
use crate::cbor::Reader;
use crate::enums::*;
use crate::fields::bound;
use crate::model::{Body, Capture, Change, Content, Payload, RawBytes, Unmapped};
use std::collections::BTreeMap;

pub(super) fn write(content: &Content, e: &mut Enc) -> Done {
    e.map("content", |e| {
        e.keyed(0, &content.detail, "detail")?;
        e.text_max(1, &content.stmt, bound::STMT, "stmt")?;
        e.blob(2, content.stmt_fp.as_ref());
        e.list(3, &content.params, ITEMS_MAX, "params", |e, param| {
            e.out().text(param);
            Ok(())
        })?;
        e.list(4, &content.headers, bound::HEADERS, "headers", |e, (name, value)| {
            e.out().array(2);
            e.out().text(name);
            e.out().text(value);
            Ok(())
        })?;
        e.text_max(5, &content.err, bound::ERR, "err")?;
        write_unmapped(&content.unmapped, e)?;
        e.list(7, &content.redacted, ITEMS_MAX, "redacted", |e, (rule, hits)| {
            e.out().array(2);
            e.out().text(rule);
            e.out().uint(*hits);
            Ok(())
        })?;
        e.list(8, &content.cut, ITEMS_MAX, "cut", |e, (field, length)| {
            e.out().array(2);
            e.out().uint(*field);
            e.out().uint(*length);
            Ok(())
        })?;
        e.other(8, &content.other, "content")
    })?;
    Ok(())
}

/// Keys by encoded bytes: shorter first, then bytewise, which is not the order of the tree.
fn write_unmapped(unmapped: &BTreeMap<String, Unmapped>, e: &mut Enc) -> Done {
    if unmapped.is_empty() {
        return Ok(());
    }
    at_most("unmapped", unmapped.len(), bound::UNMAPPED, "entries")?;
    let mut entries: Vec<(&String, &Unmapped)> = unmapped.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| (key.len(), *key));
    let size = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    at_most("unmapped", size, bound::UNMAPPED_BYTES, "bytes")?;
    e.key(6);
    e.out().map(entries.len());
    for (key, value) in entries {
        e.out().text(key);
        match value {
            Unmapped::Token(token) if token.is_empty() => {
                return Err(refuse("unmapped", "a JSON token is never empty"));
            }
            Unmapped::Token(token) => e.out().text(token),
            Unmapped::Bytes(bytes) => e.out().bytes(bytes),
        }
    }
    Ok(())
}

impl Unmapped {
    /// Bytes of the token or of the binary.
    fn len(&self) -> usize {
        match self {
            Unmapped::Token(token) => token.len(),
            Unmapped::Bytes(bytes) => bytes.len(),
        }
    }
}

pub(super) fn read(r: &mut Reader, content: &mut Content) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => content.detail = dec::keyed(r)?,
            1 => content.stmt = text(r)?,
            2 => content.stmt_fp = dec::blob(r)?,
            3 => content.params = dec::list(r, ITEMS_MAX, item)?,
            4 => content.headers = dec::list(r, bound::HEADERS, |r| pair(r, item, item))?,
            5 => content.err = text(r)?,
            6 => content.unmapped = read_unmapped(r)?,
            7 => content.redacted = dec::list(r, ITEMS_MAX, |r| pair(r, item, |r| r.uint()))?,
            8 => content.cut = dec::list(r, ITEMS_MAX, |r| pair(r, |r| r.uint(), |r| r.uint()))?,
            _ => content.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}

/// Text inside an array, where empty is a value.
fn item(r: &mut Reader) -> Read<String> {
    r.text().map(str::to_owned)
}

fn read_unmapped(r: &mut Reader) -> Read<BTreeMap<String, Unmapped>> {
    let at = r.position();
    let len = r.map()?;
    if len == 0 || len > bound::UNMAPPED {
        return Err(r.error_at(at, "unmapped holds 1 to 1024 entries"));
    }
    let mut unmapped = BTreeMap::new();
    let mut last: Option<&str> = None;
    for _ in 0..len {
        let at = r.position();
        let key = r.text()?;
        if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
            return Err(r.error_at(at, "keys do not ascend, or repeat"));
        }
        last = Some(key);
        let value =
            if r.at_text() { Unmapped::Token(text(r)?) } else { Unmapped::Bytes(r.bytes()?.to_vec()) };
        unmapped.insert(key.to_owned(), value);
    }
    Ok(unmapped)
}

pub(super) fn write_body(body: &Body, e: &mut Enc) -> Done {
    e.map("body", |e| {
        for (key, name, payload) in [(0, "req", &body.req), (1, "rsp", &body.rsp)] {
            if let Some(payload) = payload {
                e.map_field(key, name, |e| write_payload(payload, e))?;
            }
        }
        if let Some(cap) = &body.cap {
            e.map_field(2, "cap", |e| write_capture(cap, e))?;
        }
        if let Some(raw) = &body.raw {
            e.map_field(3, "body.raw", |e| write_raw(raw, e))?;
        }
        if let Some(change) = &body.change {
            e.map_field(4, "change", |e| write_change(change, e))?;
        }
        e.other(4, &body.other, "body")
    })?;
    Ok(())
}

fn write_payload(payload: &Payload, e: &mut Enc) -> Done {
    e.uint(0, payload.size);
    e.blob(1, payload.digest.as_ref());
    e.text(2, &payload.reference);
    e.bool(3, payload.truncated);
    e.text(4, &payload.content_type);
    e.bytes(5, &payload.excerpt, bound::EXCERPT, "payload.excerpt")?;
    e.word(6, payload.alg.map(DigestAlg::code));
    e.uint(7, payload.messages);
    e.blob(8, payload.digest_sent.as_ref());
    e.other(8, &payload.other, "payload")
}

fn write_capture(cap: &Capture, e: &mut Enc) -> Done {
    if cap.merged == Some(1) {
        return Err(refuse("cap.merged", "the default 1 is never written"));
    }
    e.word(0, cap.mode.map(CaptureMode::code));
    e.text(1, &cap.fmt);
    e.text(2, &cap.parser);
    e.word(3, cap.conf.map(CaptureConf::code));
    e.text(4, &cap.source_id);
    e.uint(5, cap.offset);
    e.text(6, &cap.path);
    e.text(7, &cap.deliverer);
    e.word(8, cap.level.map(Verified::code));
    e.uint(9, cap.merged);
    e.set(10, &cap.changes, ITEMS_MAX, usize::MAX, "cap.changes")?;
    e.other(10, &cap.other, "cap")
}

fn write_raw(raw: &RawBytes, e: &mut Enc) -> Done {
    e.blob(0, raw.digest.as_ref());
    e.uint(1, raw.length);
    e.text(2, &raw.reference);
    e.bytes(3, &raw.bytes, bound::RAW_BYTES, "raw.bytes")?;
    e.word(4, raw.alg.map(DigestAlg::code));
    e.other(4, &raw.other, "body.raw")
}

fn write_change(change: &Change, e: &mut Enc) -> Done {
    e.blob(0, change.before.as_ref());
    e.blob(1, change.after.as_ref());
    e.word(2, change.alg.map(DigestAlg::code));
    e.other(2, &change.other, "change")
}

pub(super) fn read_body(r: &mut Reader, body: &mut Body) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => body.req = Some(read_payload(r)?),
            1 => body.rsp = Some(read_payload(r)?),
            2 => body.cap = Some(read_capture(r)?.into()),
            3 => body.raw = Some(Box::new(read_raw(r)?)),
            4 => body.change = Some(Box::new(read_change(r)?)),
            _ => body.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}

fn read_payload(r: &mut Reader) -> Read<Payload> {
    let mut payload = Payload::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => payload.size = Some(r.uint()?),
            1 => payload.digest = dec::blob(r)?,
            2 => payload.reference = text(r)?,
            3 => payload.truncated = Some(r.bool()?),
            4 => payload.content_type = text(r)?,
            5 => payload.excerpt = dec::bytes(r)?,
            6 => payload.alg = Some(dec::word(r, DigestAlg::from_code)?),
            7 => payload.messages = Some(r.uint()?),
            8 => payload.digest_sent = dec::blob(r)?,
            _ => payload.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(payload)
}

fn read_capture(r: &mut Reader) -> Read<Capture> {
    let mut cap = Capture::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => cap.mode = Some(dec::word(r, CaptureMode::from_code)?),
            1 => cap.fmt = text(r)?,
            2 => cap.parser = text(r)?,
            3 => cap.conf = Some(dec::word(r, CaptureConf::from_code)?),
            4 => cap.source_id = text(r)?,
            5 => cap.offset = Some(r.uint()?),
            6 => cap.path = text(r)?,
            7 => cap.deliverer = text(r)?,
            8 => cap.level = Some(dec::word(r, Verified::from_code)?),
            9 => cap.merged = dec::not_one(r)?,
            10 => cap.changes = dec::set(r, ITEMS_MAX)?,
            _ => cap.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(cap)
}

fn read_raw(r: &mut Reader) -> Read<RawBytes> {
    let mut raw = RawBytes::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => raw.digest = dec::blob(r)?,
            1 => raw.length = Some(r.uint()?),
            2 => raw.reference = text(r)?,
            3 => raw.bytes = dec::bytes(r)?,
            4 => raw.alg = Some(dec::word(r, DigestAlg::from_code)?),
            _ => raw.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(raw)
}

fn read_change(r: &mut Reader) -> Read<Change> {
    let mut change = Change::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => change.before = dec::blob(r)?,
            1 => change.after = dec::blob(r)?,
            2 => change.alg = Some(dec::word(r, DigestAlg::from_code)?),
            _ => change.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(change)
}
