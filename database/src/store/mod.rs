//! Rows and indexes on redb.
