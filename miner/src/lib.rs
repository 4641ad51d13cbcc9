//! The nonce search: kernels, jobs, hash rate.
//!
//! ```text
//!  template ──> Mining ──────────> Miner ────────> workers ─────────> Kernel
//!  (newest)     coordinator:       own pool,       claim batches      proposes candidates,
//!               pause, throttle,   lowest hit      until cancelled    the plain crates decide
//!  Solved <──── never a stale one
//! ```
//!
//! Start a [`Miner`], then either [`Miner::search`] one range, or [`Miner::run`] and give the
//! resulting [`Mining`] each new [`Template`]. Invariants: every kernel and every thread count
//! gives the same answer, the lowest hit; every hit was recomputed by the plain crates; a solution
//! of an old template is never delivered. No network, no storage.
//!
//! [`stratum`] is for miners of others: the pure part of Stratum and getwork.

pub mod bench;
mod cancel;
mod claims;
mod hash_rate;
mod kernel;
mod miner;
mod mining;
mod pace;
mod pause;
mod power;
mod priority;
pub mod stratum;
mod template;

pub use cairn_protocol::pow::PowFunction;
pub use cancel::Cancel;
pub use hash_rate::{Clock, HashRate, History, MonotonicClock, network_hash_rate};
pub use kernel::self_test::Refusal;
pub use kernel::{Kernel, UnknownKernel};
pub use miner::{Miner, MinerError, Settings, THREADS_MAX};
pub use mining::{Mining, MiningStatus, Solved};
pub use pace::limit_for;
pub use pause::{PauseReason, PauseReasons};
pub use power::{PowerSupply, runs_on_battery};
pub use priority::Priority;
pub use template::{EXTRA_NONCE, HEADER_BYTES, Solution, Template, TemplateError};
