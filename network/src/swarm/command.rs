//! What the node asks of the swarm task.
//!
//! Invariant: urgent commands (blocks, answers, verdicts) and patient ones (transactions,
//! requests, reports) travel in separate bounded queues, so that the second never delay the first.

use libp2p::{Multiaddr, PeerId, request_response::ResponseChannel};
use tokio::sync::oneshot;

use crate::{
    error::{PublishError, RequestError},
    event::{GossipToken, Verdict},
    names::Topic,
    peers::score::Offence,
    swarm::codec::Answer,
    wire::{Status, SyncRequest, SyncResponse},
};

/// One command.
#[derive(Debug)]
pub enum Command {
    /// Publish a gossip message.
    Publish {
        /// Its topic.
        topic: Topic,
        /// The payload.
        data: Vec<u8>,
        /// Told whether it worked.
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    /// Judge a gossip message.
    Verdict {
        /// Which.
        token: GossipToken,
        /// How.
        verdict: Verdict,
    },
    /// Answer a request.
    Respond {
        /// Who asked.
        peer: PeerId,
        /// Where the answer goes.
        channel: ResponseChannel<Answer<SyncResponse>>,
        /// The encoded answer.
        payload: Vec<u8>,
    },
    /// Ask a peer.
    Request {
        /// Whom.
        peer: PeerId,
        /// What.
        request: SyncRequest,
        /// How long to wait.
        deadline_ms: u64,
        /// Takes the answer.
        reply: oneshot::Sender<Result<SyncResponse, RequestError>>,
    },
    /// Punish a peer.
    Report {
        /// Whom.
        peer: PeerId,
        /// What for.
        offence: Offence,
    },
    /// Our status changed.
    SetStatus(Box<Status>),
    /// Dial an address and keep it in the book.
    Dial(Multiaddr),
    /// Say goodbye to a peer and close its connections.
    Disconnect(PeerId),
    /// Say goodbye to everyone, save the book and stop.
    Shutdown(oneshot::Sender<()>),
}
