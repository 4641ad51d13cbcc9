//! Chains whose blocks validators seal, over the chain driver: proposals, seals, floors, sync,
//! restarts and changes of engine. Rules: `spec/06-proof-of-work.md#headers`,
//! `spec/12-switching.md`.

mod accept;
mod eras;
mod evidence;
mod propose;
mod verifier;
mod world;
