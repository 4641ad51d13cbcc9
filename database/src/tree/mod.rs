//! RFC 6962 trees over entries and over the rows of one entry.
