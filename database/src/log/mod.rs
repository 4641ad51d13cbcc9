//! The append-only log of a node and its groups.

pub mod error;

pub use error::{LogError, Result};
