//! The way of a transaction into the log and the store.
//!
//! ```text
//!   sessions ──► queue ──► sequence: validate, stamp, propose ──► log (one sync per batch)
//!                                                                   │
//!      answer, unlock ◄── publish ◄── settle: apply to the store ◄──┘
//! ```
//! Invariants:
//! * timestamps rise in the order of proposals, and the log keeps that order;
//! * a commit is validated against everything before it: applied, in flight, and earlier in its batch;
//! * nothing is answered and no lock is given back before the state that has it is published.

mod apply;
mod group_log;
mod link;
mod pipeline;
mod promise;
mod window;

pub(crate) use apply::replay;
pub use group_log::GroupLog;
pub use link::{CommitLog, Outcome, Ticket, Visit};
pub use pipeline::{Pipeline, PipelineOptions, Request, Settled};
pub use promise::{Promise, Resolver, promise};
pub use window::Window;
