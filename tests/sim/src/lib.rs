//! Seeded simulation over the production cores: chain driver, header tree, mempool, ledger rules.
//!
//! ```text
//!   seed ──> world: nodes (chain + mempool + wallet), network, clocks, crashes, adversary
//!              │   events in simulated time, invariants after every move of a tip
//!              └─> at rest: everyone equals a fresh replay, the supply is exact, the adversary has nothing
//! ```
//!
//! `CAIRN_TEST_BUDGET` chooses how many seeds run: unset for a few hundred, a number, or `full` for
//! thousands.
pub mod adversary;
pub mod budget;
pub mod check;
pub mod keys;
pub mod node;
pub mod payment;
pub mod power;
pub mod report;
pub mod rng;
pub mod selfish;
pub mod timewarp;
pub mod world;
