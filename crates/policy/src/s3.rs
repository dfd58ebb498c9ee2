//! S3's host names: which pin a bucket, an access point or an object, and which leave the choice to what is inside TLS.

pub(crate) mod bucket;
mod classify;
#[rustfmt::skip] // As its generator writes it.
mod data;
mod form;
pub(crate) mod lint;
pub(crate) mod read;
pub(crate) mod regions;
pub(crate) mod spell;
pub(crate) mod subject;
#[cfg(test)]
mod tests;

pub(crate) use classify::{Class, at_or_below, classify, of_one_account};
#[cfg(test)]
pub(crate) use data::PARTITIONS;
pub(crate) use form::{Absent, Form, Kind, Place, is_absent};
