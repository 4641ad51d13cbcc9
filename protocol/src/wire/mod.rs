//! Messages between nodes: their types, caps and names.
//!
//! Invariant: every message has a cap that its decoder checks first.
//! Rules: `spec/07-p2p.md`, `spec/08-sync.md`.

mod compact;
mod link;
mod names;
mod status;
mod sync;

pub use compact::{CompactBlock, Reconstruction, ShortId, short_id, short_id_key, short_ids};
pub use link::{LinkMessage, Placed};
pub use names::{Names, PROTOCOL_ORDINAL, topic};
pub use status::{Goodbye, GoodbyeReason, SERVICE_LEDGER, STATUS_VERSION, Status};
pub use sync::{BareHeader, ErrorCode, ProofResponse, SyncRequest, SyncResponse, TxBatch};
