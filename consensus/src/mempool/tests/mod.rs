//! Tests of the pool as a whole, one subject a file.

pub(crate) mod kit;

mod admission;
mod flood;
mod orphanage;
mod reorganisation;
mod replacement;
