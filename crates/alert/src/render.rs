//! Notifications in the form of each kind of receiver.
//!
//! Pure functions: a notification and the dashboard's address in, bytes out. Invariant: texts in a notification are
//! hostile; each form escapes them by its own rules and keeps its own bounds.

pub(crate) mod webhook;
