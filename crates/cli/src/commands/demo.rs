//! `demo`: see `crate::demo`.

pub(crate) use crate::demo::run;
