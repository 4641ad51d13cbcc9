//! The words and the laws of Cairn: types, canonical bytes, hashes, ledger rules, wire messages, limits.
