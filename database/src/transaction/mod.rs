//! Transactions: what a session sees, what it writes, and when that counts.
//!
//! ```text
//!   Database ── begin ──► Transaction
//!                           view       a timestamp and a snapshot to read it from
//!                           write set  layers: savepoints, the running statement
//!                           read set   ranges, for SERIALIZABLE
//!                           locks      in the database's lock table
//! ```
//! * READ COMMITTED takes a view per statement. A statement that finds a locked row newer than its
//!   view drops its layer, keeps its locks, and runs again as a whole.
//! * REPEATABLE READ takes one view; a locked row newer than it is 40001.
//! * SERIALIZABLE is that and a read set, validated at the commit against everything before it.
//! * Constraints read the latest state and the write set, under locks.

mod access;
mod change;
mod clock;
mod constraint;
mod database;
mod error;
mod layer;
mod maintenance;
mod open;
mod planted;
mod read_set;
mod reader;
mod run;
mod scan;
mod state;
mod statement;
mod write_set;

pub use access::KeyRange;
pub use clock::{Clock, ManualClock, SystemClock};
pub use constraint::{Expressions, NoExpressions};
pub use database::{Database, DatabaseOptions};
pub use error::{Error, Result};
pub use layer::{Layer, Touched, Write, WriteKind};
pub use open::STORE_CACHE_BYTES;
pub use planted::Planted;
pub use read_set::{READ_RANGES_MAX, ReadSet};
pub use reader::Reader;
pub use scan::{IndexScan, Scan};
pub use state::{Begin, Isolation, Transaction};
pub use statement::RESTARTS_MAX;
pub use write_set::{WRITE_SET_MEMORY_BYTES, WriteSet};
