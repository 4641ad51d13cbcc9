//! SQL over the ledger and over the node's own data. Its room is reserved: the database issue builds it.
