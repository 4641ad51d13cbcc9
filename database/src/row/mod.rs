//! Bytes of rows.
