//! The HTTP API over a real loopback listener and a node that lives in memory.

mod access;
mod bounds;
mod client;
mod events;
mod memory;
mod metrics;
mod openapi;
mod rpc;
mod shapes;
