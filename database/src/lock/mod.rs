//! Row, table and advisory locks in memory, and the graph of who waits for whom.
