//! Sealed headers: what a header record is judged by where validators and not work decide.
//!
//! ```text
//!   record h ── rules of h ──┬─ its own seal, or parent_seal of record h+1 ──> certified
//!                            └─ neither: not stored, the range is asked for
//! ```
//!
//! Nothing here reads a body, a coin or a clock. `crate::pbft` produces what is checked here.
//!
//! Rules: `spec/06-proof-of-work.md#headers`, `spec/05-blocks-and-state.md#extension`,
//! `spec/12-switching.md#certificates`.

mod rules;
mod verifier;

pub(crate) use rules::{Scheme, check_sealed_extension, claims_work};
pub use rules::{block_scope, check_claimed_seal, check_header, check_seal, is_timely};
pub use verifier::{HeaderVerifier, VerifiedHeaders};
