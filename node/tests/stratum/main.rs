//! Foreign miners against a real node: Stratum over sockets, getwork over HTTP.
//!
//! The client here is written from `spec/14-mining.md` and shares no code with the node's Stratum:
//! it recomputes each coinbase, root and header from the notify, and the chain is asked what it
//! took.

mod client;
mod crowd;
mod getwork;
mod mining;
mod misuse;
mod node;
