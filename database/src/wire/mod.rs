//! The PostgreSQL wire: connections, protocol 3.0 and 3.2, authentication, simple and extended query.
//!
//! ```text
//!   caller's runtime                          sessions' runtime
//!   accept ─► startup ─► authentication ────► connection ─► extended, copy ─► sql::Session
//!               │ cancel ─► registry ───────────┘ (flag, lock waits)
//! ```
//! Everything that comes from a client passes `message`, whose every length is checked, and `transport`,
//! whose every buffer is bounded. The rules are those of rows Q01-Q07 and Q13 of the plan of attacks.

// An error ends a statement or a connection: its size matters to nobody.
#![allow(clippy::result_large_err)]

pub mod authentication;
mod connection;
mod copy;
mod extended;
pub mod format;
pub mod message;
pub mod observer;
pub mod registry;
pub mod report;
pub mod scram;
pub mod server;
mod startup;
pub mod tls;
pub mod transport;
mod watch;

pub use authentication::{Authentication, OneUser, Verifiers};
pub use observer::{Observer, QueryKind, Unobserved};
pub use registry::{Entry, Registry};
pub use scram::Verifier;
pub use server::{Server, WireError, WireOptions};
pub use tls::{Tls, TlsError};
