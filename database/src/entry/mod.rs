//! The one canonical encoding of what a group's log carries.
//!
//! ```text
//! entry  := header || seed 16 || changes          (an entry without changes ends after its header)
//! header := fixed part 112 || part of the kind    -- leaf of the group's tree
//! ```
//! An entry says what became of rows, never how: no SQL, no `now()`, no plan runs a second time when it
//! is applied. It has neither lsn nor term: the log gives those, and a proposal that was lost can be
//! proposed again as it is.
//!
//! Invariant: what decodes, encodes to the same bytes; every length is checked against its bound before
//! anything is taken; nothing of an entry is outside its header's hashes. Bytes and rules:
//! `spec/13-database.md#entries`.

mod builder;
mod chain;
mod change;
mod codec;
mod error;
mod header;
mod history;
mod membership;
mod view;

pub use builder::{EntryBuilder, Seed};
pub use chain::{Chain, ChainBuilder};
pub use change::{Change, StorageId};
pub use error::{EntryError, RULES};
pub use header::{
    ClientId, CommitTs, FORMAT, HEADER_BYTES_MAX, Header, Incarnation, Kind, Resolution, Stamp,
    TransactionId,
};
pub use history::{Base, History};
pub use membership::{Membership, Origin};
pub use view::{ChangeProof, Changes, Entry};

#[cfg(test)]
mod tests;
