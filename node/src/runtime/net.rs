//! Events of the swarm to whom they concern, and our status to the peers.
//!
//! Invariant: this task never waits for a peer, a disk or the ledger: gossip and requests are handed
//! to tasks of their own, whose number the swarm bounds, and news for sync and ledger are left where
//! they find them.

use super::bft::BftHandle;
use super::inbox::Inbox;
use super::ledger::{LedgerEvent, LedgerHandle};
use super::peers::PeerNumbers;
use super::relay::Relay;
use super::serve;
use super::view::ChainView;
use cairn_consensus::chain::Source;
use cairn_network::{Multiaddr, NetworkEvent, NetworkHandle, Offence, Topic, Verdict};
use cairn_protocol::hash::BlockId;
use cairn_protocol::pow::work_to_bytes;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::wire::{SERVICE_LEDGER, STATUS_VERSION, Status};
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{Semaphore, mpsc};

/// Compact blocks judged or rebuilt at the same time, at 256 KiB each. Over it they are Ignored.
const BLOCK_TASKS_MAX: usize = 32;

/// Batches of transactions judged at the same time, at 128 KiB each. Over it they are Ignored.
const TRANSACTION_TASKS_MAX: usize = 64;

/// The task.
pub struct NetTask {
    ledger: LedgerHandle,
    network: NetworkHandle,
    relay: Arc<Relay>,
    numbers: Arc<PeerNumbers>,
    sync: Arc<Inbox>,
    bft: Option<BftHandle>,
    listen_port: u16,
    block_room: Arc<Semaphore>,
    transaction_room: Arc<Semaphore>,
}

/// Our status as of `view`.
pub fn status(params: &ChainParams, view: &ChainView, listen_port: u16) -> Status {
    Status {
        version: STATUS_VERSION,
        genesis: params.chain_id(),
        spec_hash: params.spec_hash(),
        schedule_hash: params.schedule_hash(view.height),
        next_announce: params.next_announce(view.height).unwrap_or(0),
        ruleset_id: params.ruleset_id(view.height),
        // Certified or anchored blocks only: genesis in pure proof of work.
        finalized_height: view.finalized_height,
        finalized_id: view.finalized,
        best_height: view.height,
        best_id: BlockId(view.tip.0),
        total_work: work_to_bytes(view.work),
        lowest_height: 0,
        services: SERVICE_LEDGER,
        listen_port,
    }
}

impl NetTask {
    /// A task over these parts.
    pub fn new(
        ledger: LedgerHandle,
        network: NetworkHandle,
        relay: Arc<Relay>,
        numbers: Arc<PeerNumbers>,
        sync: Arc<Inbox>,
        bft: Option<BftHandle>,
    ) -> NetTask {
        NetTask {
            ledger,
            network,
            relay,
            numbers,
            sync,
            bft,
            listen_port: 0,
            block_room: Arc::new(Semaphore::new(BLOCK_TASKS_MAX)),
            transaction_room: Arc::new(Semaphore::new(TRANSACTION_TASKS_MAX)),
        }
    }

    /// Runs until the swarm or the ledger stops; says which.
    pub async fn run(mut self, mut events: mpsc::Receiver<NetworkEvent>) -> String {
        let mut moves = self.ledger.subscribe();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return "the swarm has stopped".to_owned(),
                },
                event = moves.recv() => {
                    if self.follow(event).await.is_none() {
                        return "the ledger has stopped".to_owned();
                    }
                }
            }
        }
    }

    async fn handle(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Listening(address) => self.listening(address).await,
            NetworkEvent::PeerReady {
                peer,
                status,
                direction,
                agent,
            } => {
                tracing::info!(%peer, ?direction, agent, height = status.best_height, "peer ready");
                self.relay.set_peers(self.relay.peers() + 1);
                self.numbers.arrived(peer);
                if let Some(bft) = &self.bft {
                    bft.peer_ready(peer);
                }
                self.sync.status(peer, status);
            }
            NetworkEvent::PeerStatus { peer, status } => self.sync.status(peer, status),
            NetworkEvent::PeerGone { peer, reason } => {
                tracing::info!(%peer, reason, "peer gone");
                self.relay.set_peers(self.relay.peers().saturating_sub(1));
                self.sync.gone(peer);
                self.relay.peer_gone(peer);
                if let Some(bft) = &self.bft {
                    bft.peer_gone(&peer);
                }
                if let Some(source) = self.numbers.forget(&peer) {
                    self.ledger.forget(source);
                }
            }
            NetworkEvent::PeerRefused { peer, reason } => {
                tracing::warn!(%peer, reason, "peer refused");
            }
            NetworkEvent::Gossip {
                topic,
                from,
                data,
                token,
            } => {
                let relay = Arc::clone(&self.relay);
                let room = match topic {
                    Topic::Block => &self.block_room,
                    Topic::Transactions => &self.transaction_room,
                };
                let Ok(place) = Arc::clone(room).try_acquire_owned() else {
                    return self.network.verdict(token, Verdict::Ignore);
                };
                tokio::spawn(async move {
                    let _place = place;
                    match topic {
                        Topic::Block => relay.block(from, data, token).await,
                        Topic::Transactions => relay.transactions(from, data, token).await,
                    }
                });
            }
            NetworkEvent::Request {
                request, responder, ..
            } => {
                let ledger = self.ledger.clone();
                tokio::task::spawn_blocking(move || {
                    if responder.is_open() {
                        // The peer may have gone meanwhile: then nobody reads the answer.
                        let _ = responder.respond(serve::answer(&ledger, request));
                    }
                });
            }
        }
    }

    async fn listening(&mut self, address: Multiaddr) {
        super::say(&format!(
            "listening {address}/p2p/{}",
            self.network.local_peer_id()
        ));
        let text = address.to_string();
        let port = text
            .split_once("/tcp/")
            .and_then(|(_, rest)| rest.split('/').next().and_then(|port| port.parse().ok()));
        if let Some(port) = port {
            self.listen_port = port;
            self.tell_status().await;
        }
    }

    async fn tell_status(&self) {
        let status = status(self.ledger.params(), &self.ledger.view(), self.listen_port);
        self.network.set_status(status).await;
    }

    async fn follow(&self, event: Result<LedgerEvent, RecvError>) -> Option<()> {
        match event {
            Ok(LedgerEvent::TipChanged) | Err(broadcast::error::RecvError::Lagged(_)) => {
                self.tell_status().await;
                self.sync.tip_changed();
            }
            Ok(LedgerEvent::OrphanAdmitted { txid }) => self.relay.pass_on(&txid),
            Ok(LedgerEvent::InvalidBlock { source }) => {
                if let Some(peer) = self.numbers.peer(Source(source)) {
                    self.network.report(peer, Offence::InvalidBlock);
                }
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }
}
