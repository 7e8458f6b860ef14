//! The steps of `pipeline.rs`, one file each: from the configuration's types to each crate's own.

pub(crate) mod alerts;
pub(crate) mod control;
mod desk;
pub(crate) mod detect;
pub(crate) mod downstream;
mod fetch;
pub(crate) mod follow;
pub(crate) mod gateway;
pub(crate) mod inputs;
pub(crate) mod ledger;
pub(crate) mod listeners;
pub(crate) mod prepare;
pub(crate) mod recover;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod ship;
mod snapshot;
pub(crate) mod web;
pub(crate) mod witness;
