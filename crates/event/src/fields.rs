//! The registry of fields: what `docs/reference/fields.md` prints and what may only ever grow.
//!
//! One row a key of every map in the format. A field's meaning, type, bound and group never change and a
//! retired key is never reused: `tests/fixtures/fields-1.txt` holds what was released, and a test fails
//! on any change that is not an addition. The codec does not read this table (it is written out by hand,
//! for speed); a test checks that both know the same keys.

pub mod bound;
pub mod detail;
mod markdown;
pub mod sys;
mod table;

pub use markdown::{enums, markdown};
pub use table::FIELDS;

/// One key of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The map: a group's name, or `principal`, `endpoint`, `tls`, `decision`, `payload`, `cap`, `raw`, `change`.
    pub home: &'static str,
    /// Key in that map.
    pub key: u64,
    /// Name, as in JSON.
    pub name: &'static str,
    /// Type: `u` `i` integers, `t` text, `b` bytes (`bN`: exactly N), `e` enum, `bool`, `[…]` array, a map's name.
    pub ty: &'static str,
    /// Largest length in bytes, or items of a list; 0 = no bound but the group's.
    pub bound: usize,
    /// Present wherever its map is present.
    pub required: bool,
    /// Name in filters and SQL; empty = none of its own.
    pub column: &'static str,
    /// Meaning, in one line.
    pub meaning: &'static str,
}

impl Field {
    /// Field id, group × 256 + key; `None` inside a nested map.
    pub fn id(&self) -> Option<u64> {
        let group = crate::GROUP_NAMES.iter().position(|name| *name == self.home)?;
        Some(group as u64 * 256 + self.key)
    }
}

/// One registered key of `detail` or `sys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Key in the map.
    pub key: u64,
    /// Name, as in JSON and in `detail.<name>`.
    pub name: &'static str,
    /// Type, as in [`Field::ty`].
    pub ty: &'static str,
}

/// Constants and a table of the registered keys of one kind.
macro_rules! keys {
    ($($(#[$doc:meta])* $module:ident { $($name:ident = $key:literal $word:literal $ty:literal),+ $(,)? })+) => {
        $($(#[$doc])*
        pub mod $module {
            $(#[doc = concat!("`", $word, "`, type `", $ty, "`.")]
            pub const $name: u64 = $key;)+
            /// All keys, ascending.
            pub const KEYS: &[$crate::fields::Key] =
                &[$($crate::fields::Key { key: $key, name: $word, ty: $ty }),+];
        })+
    };
}
pub(crate) use keys;

/// The field with this id (group × 256 + key).
pub fn by_id(id: u64) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.id() == Some(id))
}
