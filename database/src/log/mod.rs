//! The append-only log of a node and its groups.
