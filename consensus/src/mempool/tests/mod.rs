//! Tests of the pool as a whole, one subject a file.

pub(crate) mod kit;

mod admission;
mod flood;
mod model;
mod orphanage;
mod persistence;
mod reorganisation;
mod replacement;
mod selection;
