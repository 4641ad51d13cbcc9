//! The PostgreSQL wire: connections, protocol 3.0 and 3.2, authentication, simple and extended query.

pub mod authentication;
pub mod error;
pub mod format;
pub mod message;
pub mod registry;
pub mod scram;
pub mod tls;
pub mod transport;
