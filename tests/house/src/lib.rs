//! Checks of the house itself stand in `tests/`: walls between members, purity of the pure crates,
//! versions of dependencies. This crate has no code of its own.
