//! The cairn program: composition root of ledger, swarm, miner, wallet, API and CLI.
//!
//! This crate is the only place with sockets, a clock, tasks, configuration and a command line.
//! It runs the effects of the pure crates and holds none of their rules.

pub mod api;
pub mod cli;
pub mod config;
pub mod devnet;
pub mod keystore;
pub mod metrics;
pub mod runtime;
pub mod stratum;
pub mod wallet;
