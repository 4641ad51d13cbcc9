//! Write sets, snapshots, validation and commit.
