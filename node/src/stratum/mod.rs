//! Miners of others: where their work comes from, and the sockets of Stratum.
//!
//! ```text
//!   ledger ──templates──> WorkFeed ──Work──> connection (one task each) <── TCP ──> miner
//!      ^                     │  └──Work──> getwork, over the HTTP API
//!      └──────found blocks───┘
//! ```
//!
//! The protocol itself is `cairn_miner::stratum`, which has no socket and no clock; here are only
//! those. Invariants: all miners search the same work, each with an extra-nonce of its own; a new
//! tip replaces the work at once; nothing of this exists where the chain's function is not
//! `sha256d`. Rules: `spec/14-mining.md`.

mod connection;
mod feed;
mod files;
mod limits;
mod metrics;
mod server;

pub use feed::{FoundOutcome, NoWork, Stopped, WorkFeed};
pub use server::{StratumError, StratumServer};

use cairn_protocol::pow::PowFunction;
use cairn_protocol::spec::ChainParams;

/// Why foreign miners are not served on a chain; none where they are.
pub fn refusal(params: &ChainParams) -> Option<String> {
    let function = params.timing().pow_function;
    (function != PowFunction::Sha256d).then(|| {
        format!(
            "Stratum and getwork are for miners of sha256d; the function of `{}` is {}: \
             mine with this node itself (--mine)",
            params.name(),
            function.name()
        )
    })
}
