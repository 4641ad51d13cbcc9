//! The protocol's messages as the swarm uses them: types of `cairn_protocol`, framed canonically.
//!
//! Invariant: what decodes encodes back to the same bytes; every message has a cap that is checked
//! first. Source: `spec/07-p2p.md`, `spec/08-sync.md`.

pub use cairn_protocol::wire::{
    ErrorCode, Goodbye, GoodbyeReason, Status, SyncRequest, SyncResponse,
};

use cairn_protocol::codec::{decode, encode};

use crate::{frame::FrameError, swarm::codec::Message};

macro_rules! canonical {
    ($($message:ty),*) => {$(
        impl Message for $message {
            fn to_payload(&self) -> Vec<u8> {
                encode(self)
            }

            fn from_payload(payload: &[u8], bytes_max: usize) -> Result<Self, FrameError> {
                decode(payload, bytes_max).map_err(|error| FrameError::Undecodable(error.to_string()))
            }
        }
    )*};
}

canonical!(Status, Goodbye, SyncRequest, SyncResponse);
