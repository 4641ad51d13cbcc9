//! The one canonical encoding of what a log carries.
