//! What the modifiers of an item say together, or why they contradict each other.

use crate::sigma::ast::{Item, Modifier, Op, Scalar};
use crate::sigma::refused::Fault;
use crate::sigma::test::How;
use crate::sigma::value::TimePart;

/// How the values of an item are compared.
pub(super) enum What {
    Plain(Plain),
    /// With these flags.
    Regex(String),
    Cidr,
    Number(Op),
    Part(TimePart),
    FieldRef {
        how: How,
        cased: bool,
    },
    Exists(bool),
}

/// A comparison of texts, of numbers that are equal, of true, false and null.
pub(super) struct Plain {
    pub(super) how: How,
    pub(super) cased: bool,
    pub(super) windash: bool,
    pub(super) expand: bool,
    pub(super) encoding: Option<Encoding>,
}

pub(super) enum Encoding {
    Base64(Utf16),
    Base64Offset(Utf16),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Utf16 {
    No,
    LittleEndian,
    BigEndian,
    /// Little endian after a byte order mark.
    Marked,
}

impl Plain {
    /// Whether a modifier makes texts of all values.
    pub(super) fn modified(&self) -> bool {
        self.how != How::Equal || self.windash || self.expand || self.encoding.is_some() || self.cased
    }
}

impl What {
    /// What the modifiers of an item say.
    ///
    /// # Errors
    /// Modifiers that contradict each other, or of which one would change nothing.
    pub(super) fn of(item: &Item) -> Result<What, Fault> {
        use Modifier::*;
        let fault = |what: &str| Err(Fault::new("", what));
        let all = item.modifiers.as_slice();
        let has = |modifier| all.contains(&modifier);
        if all.iter().enumerate().any(|(at, modifier)| all[..at].contains(modifier)) {
            return fault("a modifier stands twice");
        }
        if has(All) && item.values.len() < 2 {
            return fault("`all` wants more than one value");
        }
        let kinds: Vec<Modifier> = all.iter().copied().filter(|m| is_kind(*m)).collect();
        let places: Vec<Modifier> =
            all.iter().copied().filter(|m| matches!(m, Contains | StartsWith | EndsWith)).collect();
        if kinds.len() + places.len() > 1 && (kinds.as_slice() != [FieldRef] || places.len() != 1) {
            return Err(Fault::new("", format!("`{}` cannot be combined", words(&[kinds, places].concat()))));
        }
        let how = match places.first() {
            Some(Contains) => How::Contains,
            Some(StartsWith) => How::Begins,
            Some(EndsWith) => How::Ends,
            _ if item.field.is_none() => How::Contains,
            _ => How::Equal,
        };
        let flags: Vec<Modifier> =
            all.iter().copied().filter(|m| matches!(m, IgnoreCase | MultiLine | DotAll)).collect();
        if !flags.is_empty() && !has(Re) {
            return Err(Fault::new("", format!("`{}` only with `re`", words(&flags))));
        }
        let Some(kind) = kinds.first() else { return plain(item, how).map(What::Plain) };
        let texts: Vec<Modifier> = all.iter().copied().filter(|m| changes_text(*m)).collect();
        if !texts.is_empty() {
            return Err(Fault::new(
                "",
                format!("`{}` changes nothing with `{}`", words(&texts), kind.word()),
            ));
        }
        if has(Cased) && !matches!(kind, Re | FieldRef) {
            return Err(Fault::new("", format!("`cased` changes nothing with `{}`", kind.word())));
        }
        if item.field.is_none() && *kind != Re {
            return Err(Fault::new("", format!("`{}` wants a field", kind.word())));
        }
        match kind {
            Re => Ok(What::Regex(flags.iter().map(|flag| flag_letter(*flag)).collect())),
            Cidr => Ok(What::Cidr),
            Exists => exists(item),
            FieldRef => {
                let at = |modifier| all.iter().position(|known| *known == modifier);
                match places.first().is_none_or(|place| at(FieldRef) < at(*place)) {
                    true => Ok(What::FieldRef { how, cased: has(Cased) }),
                    false => fault("`fieldref` comes before how the fields are compared"),
                }
            }
            other => match (TimePart::of_modifier(*other), op(*other)) {
                (Some(part), _) => Ok(What::Part(part)),
                (None, Some(op)) => Ok(What::Number(op)),
                (None, None) => fault("a modifier that is not evaluated"),
            },
        }
    }
}

fn plain(item: &Item, how: How) -> Result<Plain, Fault> {
    use Modifier::*;
    let has = |modifier| item.modifiers.contains(&modifier);
    let wide: Vec<Modifier> =
        item.modifiers.iter().copied().filter(|m| matches!(m, Utf16Le | Utf16Be | Utf16)).collect();
    let utf16 = match wide.as_slice() {
        [] => self::Utf16::No,
        [Utf16Le] => self::Utf16::LittleEndian,
        [Utf16Be] => self::Utf16::BigEndian,
        [_] => self::Utf16::Marked,
        _ => return Err(Fault::new("", format!("`{}` cannot be combined", words(&wide)))),
    };
    let encoding = match (has(Base64), has(Base64Offset)) {
        (false, false) if wide.is_empty() => None,
        (false, false) => {
            let what = "UTF-16 never stands in the text of a field but inside Base64: add `base64offset`";
            return Err(Fault::new("", what));
        }
        (true, true) => return Err(Fault::new("", "`base64|base64offset` cannot be combined")),
        (true, false) => Some(Encoding::Base64(utf16)),
        (false, true) if matches!(how, How::Begins | How::Ends) => {
            return Err(Fault::new("", "`base64offset` looks anywhere in a text"));
        }
        (false, true) => Some(Encoding::Base64Offset(utf16)),
    };
    if encoding.is_some() && has(WinDash) {
        return Err(Fault::new("", "`windash` changes nothing with Base64"));
    }
    let how = if has(Base64Offset) { How::Contains } else { how };
    Ok(Plain { how, cased: has(Cased), windash: has(WinDash), expand: has(Expand), encoding })
}

fn exists(item: &Item) -> Result<What, Fault> {
    let value = match item.values.as_slice() {
        [Scalar::Bool(b)] => Some(*b),
        [Scalar::Text(text)] => crate::sigma::value::truth(text),
        _ => None,
    };
    match value {
        Some(_) if item.modifiers.len() > 1 => Err(Fault::new("", "`exists` stands alone")),
        Some(value) => Ok(What::Exists(value)),
        None => Err(Fault::new("", "`exists` wants true or false")),
    }
}

/// Modifiers that say how a value is compared, but where in a text.
fn is_kind(modifier: Modifier) -> bool {
    use Modifier::*;
    matches!(modifier, Re | Cidr | Exists | FieldRef)
        || op(modifier).is_some()
        || TimePart::of_modifier(modifier).is_some()
}

/// Modifiers that make another text of a value.
fn changes_text(modifier: Modifier) -> bool {
    use Modifier::*;
    matches!(modifier, Base64 | Base64Offset | Utf16Le | Utf16Be | Utf16 | WinDash | Expand)
}

fn op(modifier: Modifier) -> Option<Op> {
    Some(match modifier {
        Modifier::Gt => Op::Gt,
        Modifier::Gte => Op::Gte,
        Modifier::Lt => Op::Lt,
        Modifier::Lte => Op::Lte,
        _ => return None,
    })
}

fn flag_letter(modifier: Modifier) -> char {
    match modifier {
        Modifier::IgnoreCase => 'i',
        Modifier::MultiLine => 'm',
        _ => 's',
    }
}

fn words(modifiers: &[Modifier]) -> String {
    modifiers.iter().map(|modifier| modifier.word()).collect::<Vec<_>>().join("|")
}
