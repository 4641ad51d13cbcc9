//! The switch from proof of work to BFT: which rules a branch has, what an anchor certificate must
//! be, and what an honest validator asks before it votes in ANCHOR and TERMINAL.
//!
//! ```text
//!   F ........ V ........ F + K ....... a ......... S_i
//!   set fixed  anchor     ANCHOR votes  certificate TERMINAL: one block, one parent
//!              (floor as soon as its certificate is known)
//! ```
//!
//! Invariant: what others can check is a function of the record and its ancestors; what only we can
//! check (our own heaviest chain) decides a vote or a floor and never validity.
//!
//! Rules: `spec/12-switching.md#from-proof-of-work-to-bft`.

mod rules;
mod votes;

pub use rules::{check_anchor, check_anchor_cert, is_sealed, rules_after, switch_after};
pub use votes::{AnchorVote, anchor_choice, anchor_vote, counts_as_floor, is_near};
