//! News for the sync task, gathered by peer: whoever brings news never waits.
//!
//! Invariant: at most one entry for each peer that has news, whatever the number of statuses; of a
//! peer that left and came back both are told, in that order.

use super::sync::SyncInput;
use cairn_network::PeerId;
use cairn_protocol::wire::Status;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::Notify;

/// The inbox.
#[derive(Debug, Default)]
pub struct Inbox {
    news: Mutex<News>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct News {
    peers: BTreeMap<PeerId, OfPeer>,
    tip_changed: bool,
}

#[derive(Debug, Default)]
struct OfPeer {
    left: bool,
    status: Option<Box<Status>>,
}

impl Inbox {
    /// A peer is ready, or has a new best block.
    pub fn status(&self, peer: PeerId, status: Box<Status>) {
        self.news.lock().peers.entry(peer).or_default().status = Some(status);
        self.arrived.notify_one();
    }

    /// A peer left.
    pub fn gone(&self, peer: PeerId) {
        let left = OfPeer {
            left: true,
            status: None,
        };
        self.news.lock().peers.insert(peer, left);
        self.arrived.notify_one();
    }

    /// Our tip moved.
    pub fn tip_changed(&self) {
        self.news.lock().tip_changed = true;
        self.arrived.notify_one();
    }

    /// Returns when there may be news.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes the news.
    pub fn take(&self) -> Vec<SyncInput> {
        let News { peers, tip_changed } = std::mem::take(&mut *self.news.lock());
        let mut inputs = Vec::new();
        for (peer, OfPeer { left, status }) in peers {
            inputs.extend(left.then_some(SyncInput::Gone { peer }));
            inputs.extend(status.map(|status| SyncInput::Peer { peer, status }));
        }
        inputs.extend(tip_changed.then_some(SyncInput::TipChanged));
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::spec::builtin;

    fn status(height: u64) -> Box<Status> {
        let params = builtin::by_name("devnet").unwrap();
        let status = Status {
            version: 1,
            genesis: params.chain_id(),
            spec_hash: params.spec_hash(),
            schedule_hash: params.schedule_hash(0),
            next_announce: 0,
            ruleset_id: params.ruleset_id(0),
            finalized_height: 0,
            finalized_id: params.chain_id(),
            best_height: height,
            best_id: params.chain_id(),
            total_work: [0; 32],
            lowest_height: 0,
            services: 0,
            listen_port: 0,
        };
        Box::new(status)
    }

    #[test]
    fn news_of_a_peer_are_one_entry_and_keep_their_order() {
        let (inbox, peer) = (Inbox::default(), PeerId::random());
        for height in 0..10_000 {
            inbox.status(peer, status(height));
        }
        assert!(matches!(
            &inbox.take()[..],
            [SyncInput::Peer { status, .. }] if status.best_height == 9_999
        ));
        inbox.status(peer, status(1));
        inbox.gone(peer);
        inbox.status(peer, status(2));
        inbox.tip_changed();
        assert!(matches!(
            &inbox.take()[..],
            [SyncInput::Gone { .. }, SyncInput::Peer { status, .. }, SyncInput::TipChanged]
                if status.best_height == 2
        ));
        assert!(inbox.take().is_empty());
    }
}
