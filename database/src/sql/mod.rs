//! SQL over the transactions: parse, bind, plan, run.
//!
//! ```text
//!   text ── parse ──► Statement ── bind ──► Prepared ── execute ──► Answer
//!            │  every field of the tree is looked at     │
//!            └─ what is not known answers 0A000          └─ the transaction API below
//! ```
//! A `Session` lives with one connection. It owns the state of the transaction, the settings, the
//! prepared statements that SQL names and the advisory locks.

mod aggregate;
mod answer;
mod array;
mod bind;
mod cast;
mod constraint;
mod copy;
mod define;
mod effect;
mod error;
mod expr;
mod function;
mod name;
mod number;
mod parse;
mod plan;
mod planner;
mod run;
mod session;
mod settings;
mod statement;
mod text;
mod time;
mod types;
mod utility;
mod utility_run;
mod virtual_table;

pub use answer::{Answer, Column, RowIterator, Rows};
pub use constraint::SqlExpressions;
pub use copy::{CopyFormat, CopyOut};
pub use error::{Notice, Result, SqlError};
pub use name::quote as quote_identifier;
pub use planner::{Planner, QueryPlan};
pub use session::{
    Canceller, Environment, Session, SessionStart, TransactionStatus, value_from_text,
    value_to_text,
};
pub use statement::{Kind, Prepared, Statement};
pub use types::{SqlType, of_column};
pub use virtual_table::{
    Pushed, VirtualColumn, VirtualContext, VirtualFunction, VirtualKey, VirtualRows,
    VirtualSnapshot, VirtualTable, VirtualTables,
};
