//! Foreign miners, as pure state machines: Stratum V1 sessions and getwork.
//!
//! ```text
//!            bytes            lines             outputs
//!   socket ────────> Lines ────────> Session ────────────> lines to send, shares, found blocks
//!   node   ── Work ─────────────────────┘ │
//!   node   ── tick ───────────────────────┘ Vardiff, Score
//! ```
//!
//! A [`Work`] is one block that waits for its nonce, without the address that is paid: each
//! session puts its own miner's address and its own eight bytes of extra-nonce into the coinbase,
//! so no two sessions ever search the same header. Invariants: nothing here has a socket, a clock
//! or a random source, time is an input; a session's memory is bounded by [`limits`]; the
//! difficulty of a session is never above the network's, so a miner never throws a block away; a
//! header that solves the block is always taken, whatever the session's difficulty.
//! Rules: `spec/14-mining.md`.

mod bans;
mod difficulty;
mod getwork;
mod job;
pub mod limits;
mod lines;
mod message;
mod score;
mod session;
mod shares;
mod vardiff;
mod workers;

pub use bans::Bans;
pub use difficulty::Difficulty;
pub use getwork::{GETWORK_BYTES, GetworkRefusal, Outstanding, getwork_data, getwork_header};
pub use job::{Found, Work};
pub use lines::{LineTooLong, Lines};
pub use message::{Code, Method, Refusal, Request, Submission};
pub use session::{Closing, Now, Output, Session, Worker};
pub use shares::Verdict;
pub use vardiff::Vardiff;
pub use workers::{WorkerRow, Workers};
