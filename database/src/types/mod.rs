//! SQL values and their types, with PostgreSQL's order and equality.
//!
//! Invariant: `compare` is a total order on the values of one type, and the same order as that of
//! their keys (`crate::key`). Text compares by its bytes (the `C` collation).

mod data_type;
mod interval;
mod json;
mod numeric;
mod value;

pub use data_type::DataType;
pub use interval::Interval;
pub use json::{Json, JsonError};
pub use numeric::{NUMERIC_SCALE_MAX, Numeric, NumericError};
pub use value::Value;
