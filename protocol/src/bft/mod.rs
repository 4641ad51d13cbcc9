//! The words of the BFT engines: validator sets, what validators sign, certificates, evidence.
//!
//! ```text
//!   Scope (chain, ruleset, instance) + Statement ── sign bytes ──> B3 ──> Ed25519
//!   Message = Statement's body + signer + signature      Certificate, Seal = bitmap + signatures
//!   Evidence = two statements of one key that no honest validator makes
//! ```
//!
//! Invariant: nothing here votes or keeps state; every check is a pure function of bytes, a
//! validator set and a signature scheme. The state machine is `cairn-consensus`' `pbft`.
//! Rules: `spec/09-bft.md`.

mod certificate;
mod evidence;
mod greeting;
mod instance;
mod leader;
mod message;
mod new_view;
mod set;
mod statement;
mod violation;

pub use certificate::{Ballot, Bitmap, Certificate, Seal, SignatureSet, verify_seal};
pub use evidence::{Evidence, OffenceKind, Proven, SignedStatement};
pub use greeting::Greeting;
pub use instance::{Instance, InstanceKind, Scope};
pub use leader::LeaderRule;
pub use message::{Body, Draft, Message, Verified, verify_messages};
pub use new_view::{Justification, ViewChangeVote};
pub use set::{SetRule, ValidatorSet, check_key, is_quorum, is_weak_quorum};
pub use statement::{Prepared, ROUND_NONE, Round, Statement, StatementKind};
pub use violation::{BFT_RULES, BftViolation};
