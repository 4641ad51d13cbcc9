//! Versions of rows: what a read at a timestamp sees.
