//! The PBFT core under every fault that a seed can think of.
//!
//! ```text
//!   world ── events in order of time ──▶ honest: core + disk that tears + skewed clock
//!     │                                  villain: two heads with one key, mutated messages
//!     └── check after every event: agreement, validity, durable before sent, honest never named
//! ```
//! Beside it, for one instance: `twins` runs two copies of one key under every split of the network,
//! over `solo`, the smallest shell; `boundary` cuts the power after every effect; `verifier` reads the
//! specification a second time.
//!
//! One seed, one run: the only source of chance is the seed's generator, the only clock the queue
//! of events.

pub mod book;
pub mod boundary;
pub mod check;
pub mod honest;
pub mod report;
pub mod scenario;
pub mod solo;
pub mod twins;
pub mod verifier;
pub mod villain;
pub mod world;
