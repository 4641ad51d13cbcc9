//! Durable state: block and undo segments, coins, indexes, snapshots.
