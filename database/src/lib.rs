//! A SQL database inside the node: one log of entries, row versions over it, locks and commit rules.
//!
//! ```text
//!   types ── row, key ── version ──┐
//!                                  ├── transaction ── the commit pipeline ──► log (durable, ordered)
//!   catalog ── store ── lock ──────┘                        │                  │
//!                                                           └── applied ◄──────┘ entry, tree
//! ```
//!
//! Two numbers, never mixed: `(group, lsn)` is a place in one log, `commit_ts` is the version of a row
//! and the only snapshot token. Rules and bytes: `spec/13-database.md`.

pub mod catalog;
pub mod commit;
pub mod entry;
pub mod key;
pub mod limits;
pub mod lock;
pub mod log;
pub mod pg_catalog;
pub mod row;
pub mod sql;
pub mod store;
pub mod transaction;
pub mod tree;
pub mod types;
pub mod version;
pub mod wire;
