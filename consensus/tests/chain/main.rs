//! The chain driver over a store in memory: fork choice, reorganisation, bad blocks, headers,
//! waiting blocks, restarts.
//!
//! Rows H01 … H12, V08, V11 and V21 of the attack catalogue, as far as they concern the choice of a
//! chain.

mod fork_choice;
mod headers;
mod invalid;
mod restart;
mod template;
mod waiting;
mod world;
