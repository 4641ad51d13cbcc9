//! Blocks of this node's own: on disk, then announced from memory, then connected.
//!
//! Invariants: nothing is announced before it is on disk; all that an announcement needs is computed
//! before the disk is waited for, and what is left of the ledger's work runs beside it.
//! Rule: `spec/08-sync.md#relay`.

use super::Relay;
use super::recent::IdsDigest;
use crate::runtime::ledger::{BlockReply, LedgerStopped};
use cairn_consensus::chain::{BlockOutcome, Source};
use cairn_network::{PublishError, Topic};
use cairn_protocol::block::{Block, SealBytes};
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::wire::CompactBlock;
use tokio::sync::oneshot;

/// When a block of ours is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// As soon as it is on disk: for blocks of our own templates, which connect.
    Stored,
    /// Once it is connected: for blocks that somebody else made.
    Connected,
}

/// A compact block, encoded.
struct Announcement {
    id: BlockId,
    digest: IdsDigest,
    bytes: Vec<u8>,
}

impl Announcement {
    fn new(checked: &CheckedBlock, seal: SealBytes) -> Announcement {
        let mut compact = CompactBlock::new(checked);
        compact.seal = seal;
        Announcement {
            id: checked.id(),
            digest: IdsDigest::of(&compact.short_ids),
            bytes: codec::encode(&compact),
        }
    }
}

impl Relay {
    /// Takes in a block that this node or its operator made, and tells the swarm.
    pub async fn submit(&self, block: Block, when: Announce) -> Result<BlockReply, LedgerStopped> {
        let checked = match CheckedBlock::new(block, self.ledger.params().limits()) {
            Ok(checked) => checked,
            Err(violation) => {
                return Ok(BlockReply {
                    outcome: BlockOutcome::Invalid(violation),
                    connected: false,
                });
            }
        };
        let announcement = Announcement::new(&checked, SealBytes::default());
        let (stored, on_stored) = oneshot::channel();
        let taken = self.ledger.block_stored(checked, Source::LOCAL, stored);
        if when == Announce::Connected {
            let reply = taken.await?;
            if reply.connected {
                self.announce(announcement).await;
            }
            return Ok(reply);
        }
        let announced = async {
            if on_stored.await.is_ok() {
                self.announce(announcement).await;
            }
        };
        let (reply, ()) = tokio::join!(taken, announced);
        reply
    }

    /// Tells the swarm of a block that validators decided.
    pub async fn announce_sealed(&self, block: &CheckedBlock, seal: SealBytes) {
        self.announce(Announcement::new(block, seal)).await;
    }

    async fn announce(&self, announcement: Announcement) {
        let Announcement { id, digest, bytes } = announcement;
        self.rebuilds.lock().recent.known(id, digest);
        match self.network.publish(Topic::Block, bytes).await {
            Ok(()) | Err(PublishError::Duplicate | PublishError::NoPeers) => {}
            Err(error) => tracing::warn!(%error, %id, "cannot announce a block"),
        }
    }
}
