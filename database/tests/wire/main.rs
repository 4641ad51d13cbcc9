//! The wire from outside: raw bytes where a stock client would not send them, a stock client for what
//! applications do.

mod authentication;
mod client;
mod limits;
mod malformed;
mod server;
mod startup;
