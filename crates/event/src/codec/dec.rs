//! The decoder's vocabulary: readers of one value, each refusing what is never written.

use crate::cbor::{CborError, Reader, Value};
use crate::model::KeyedMap;

pub(super) type Read<T> = Result<T, CborError>;

/// Text; empty is never written.
#[inline]
pub(super) fn text(r: &mut Reader) -> Read<String> {
    let at = r.position();
    match r.text()? {
        "" => Err(r.error_at(at, "empty text is never written")),
        text => Ok(text.to_owned()),
    }
}
/// Bytes; empty is never written.
#[inline]
pub(super) fn bytes(r: &mut Reader) -> Read<Vec<u8>> {
    let at = r.position();
    match r.bytes()? {
        [] => Err(r.error_at(at, "an empty byte string is never written here")),
        bytes => Ok(bytes.to_vec()),
    }
}
/// A fixed byte string, in the shape of the model.
#[inline]
pub(super) fn blob<const N: usize>(r: &mut Reader) -> Read<Option<[u8; N]>> {
    r.bytes_of().map(Some)
}
/// A fixed byte string of which all zero means absent.
#[inline]
pub(super) fn blob_not_zero<const N: usize>(r: &mut Reader) -> Read<Option<[u8; N]>> {
    let at = r.position();
    let bytes = r.bytes_of()?;
    if bytes == [0; N] { Err(r.error_at(at, "an id of zeros is never written")) } else { Ok(Some(bytes)) }
}
/// An enum: unknown numbers are kept, 0 is never written.
#[inline]
pub(super) fn word<T>(r: &mut Reader, from_code: fn(u64) -> Option<T>) -> Read<T> {
    let at = r.position();
    let code = r.uint()?;
    from_code(code).ok_or_else(|| r.error_at(at, "the number 0 of an enum is never written"))
}
/// A count of which 1 is the default.
#[inline]
pub(super) fn not_one(r: &mut Reader) -> Read<Option<u64>> {
    let at = r.position();
    match r.uint()? {
        1 => Err(r.error_at(at, "the default 1 is never written")),
        n => Ok(Some(n)),
    }
}
/// A list of at most `max`; empty is never written.
#[inline]
pub(super) fn list<T>(
    r: &mut Reader,
    max: usize,
    mut item: impl FnMut(&mut Reader) -> Read<T>,
) -> Read<Vec<T>> {
    let at = r.position();
    r.enter()?;
    let len = r.array()?;
    if len == 0 {
        return Err(r.error_at(at, "an empty array is never written"));
    }
    if len > max {
        return Err(r.error_at(at, "more items than the field's bound"));
    }
    let mut items = Vec::with_capacity(len);
    for _ in 0..len {
        items.push(item(r)?);
    }
    r.leave();
    Ok(items)
}
/// A set of texts: sorted bytewise, no duplicates.
#[inline]
pub(super) fn set(r: &mut Reader, max: usize) -> Read<Vec<String>> {
    let at = r.position();
    let items = list(r, max, |r| r.text().map(str::to_owned))?;
    if items.is_sorted_by(|a, b| a < b) {
        Ok(items)
    } else {
        Err(r.error_at(at, "a set is not sorted, or repeats"))
    }
}
/// A value of a key that this version does not know, or of `detail` and `sys`.
#[inline]
pub(super) fn value(r: &mut Reader) -> Read<Value> {
    let at = r.position();
    let value = r.value()?;
    if value.is_empty() || value.holds_empty_field() {
        return Err(r.error_at(at, "an empty text, array or map is never the value of a key"));
    }
    Ok(value)
}
/// `detail` and `sys`.
#[inline]
pub(super) fn keyed(r: &mut Reader) -> Read<KeyedMap> {
    let mut map = KeyedMap::new();
    full_fields(r, |r, key| {
        map.insert(key, value(r)?);
        Ok(())
    })?;
    Ok(map)
}
/// The fields of a map that stands as a field itself: empty is never written.
#[inline]
pub(super) fn full_fields(r: &mut Reader, mut field: impl FnMut(&mut Reader, u64) -> Read<()>) -> Read<()> {
    let at = r.position();
    let mut any = false;
    r.fields(|r, key| {
        any = true;
        field(r, key)
    })?;
    if any { Ok(()) } else { Err(r.error_at(at, "an empty map is never written")) }
}
