//! What is known about peers, as pure state: scores, addresses, groups and when to dial whom.
//!
//! Invariant: time and random bits are inputs; nothing here opens a socket. Only [`store`] touches
//! a file, and the swarm calls it from outside its loop.

pub mod book;
pub mod dialing;
pub mod groups;
pub mod score;
pub mod store;
