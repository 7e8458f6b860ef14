//! How an [`crate::Event`] stays small in memory: [`Shared`] for the groups that many events have in common,
//! [`Other`] for what is nearly always empty. Neither has an encoding of its own: they are read and written as
//! what they hold.
//!
//! Invariant: equality, debug output and every field are those of the value inside; which events share one
//! cannot be told from outside.

use crate::cbor::Value;
use crate::model::{Body, Capture, Peer, Target, Who};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

/// A value in one pointer. Copies share it until one of them is changed; the default takes no room at all.
#[derive(Clone)]
pub struct Shared<T>(Option<Arc<T>>);

/// A type whose default is kept once in the process, to be shown where nothing was ever set.
pub trait Blank: Clone + Default + 'static {
    /// The default.
    fn blank() -> &'static Self;
}

macro_rules! blank {
    ($($name:ident),+) => { $(impl Blank for $name {
        fn blank() -> &'static $name {
            static BLANK: LazyLock<$name> = LazyLock::new($name::default);
            &BLANK
        }
    })+ };
}
blank!(Who, Peer, Target, Body, Capture);

impl<T: Blank> Shared<T> {
    /// Whether both are one value in memory; a quick first look before comparing what is inside.
    pub fn is_same(&self, other: &Shared<T>) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    /// The value to be changed, if there is one: for changes that would leave a default as it is, and need not make
    /// room for one.
    #[inline]
    pub fn set_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut().map(Arc::make_mut)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(None)
    }
}

impl<T: Blank> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => T::blank(),
        }
    }
}

impl<T: Blank> DerefMut for Shared<T> {
    /// Copies what others share first.
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Some(Arc::new(value)))
    }
}

impl<T: Blank + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl<T: Blank + Eq> Eq for Shared<T> {}

impl<T: Blank + PartialEq> PartialEq<T> for Shared<T> {
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl<T: Blank + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Map keys that a newer version wrote, ascending by key: a list in one pointer, which is null when it is empty.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "an empty list must take one pointer, not three")]
pub struct Other(Option<Box<Vec<(u64, Value)>>>);

impl Other {
    /// Adds a key; the encoder refuses one that does not ascend.
    pub fn push(&mut self, pair: (u64, Value)) {
        self.0.get_or_insert_default().push(pair);
    }
}

impl Deref for Other {
    type Target = [(u64, Value)];

    fn deref(&self) -> &[(u64, Value)] {
        self.0.as_ref().map_or(&[], |list| list.as_slice())
    }
}

impl From<Vec<(u64, Value)>> for Other {
    fn from(list: Vec<(u64, Value)>) -> Other {
        Other((!list.is_empty()).then(|| Box::new(list)))
    }
}

impl FromIterator<(u64, Value)> for Other {
    fn from_iter<I: IntoIterator<Item = (u64, Value)>>(pairs: I) -> Other {
        pairs.into_iter().collect::<Vec<_>>().into()
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Transport};

    #[test]
    fn an_event_takes_at_most_a_kibibyte() {
        assert!(size_of::<Event>() <= 1000, "{} bytes", size_of::<Event>());
        assert_eq!(size_of::<Other>(), size_of::<usize>());
    }

    #[test]
    fn copies_share_a_group_until_one_is_changed() {
        let mut first = Event::default();
        first.peer.transport = Some(Transport::Tcp);
        let mut second = first.clone();
        assert!(first.peer.is_same(&second.peer));
        second.peer.retries = Some(1);
        assert!(!first.peer.is_same(&second.peer));
        assert_eq!((first.peer.retries, second.peer.transport), (None, Some(Transport::Tcp)));
    }

    #[test]
    fn nothing_and_the_default_are_the_same() {
        let (nothing, default) = (Shared::<Peer>::default(), Shared::from(Peer::default()));
        assert!(!nothing.is_same(&default));
        assert_eq!(nothing, default);
        assert_eq!(format!("{nothing:?}"), format!("{:?}", Peer::default()));
        assert_eq!(Other::default(), Other::from(Vec::new()));
    }

    #[test]
    fn what_was_never_set_has_nothing_to_change_and_a_change_reaches_no_copy() {
        let mut peer = Shared::<Peer>::default();
        assert_eq!(peer.set_mut(), None);
        peer.retries = Some(1);
        let copy = peer.clone();
        peer.set_mut().unwrap().retries = Some(2);
        assert_eq!((peer.retries, copy.retries), (Some(2), Some(1)));
    }
}
