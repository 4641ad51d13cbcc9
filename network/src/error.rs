//! What can go wrong when the network starts, and what a caller is told when a call is refused.
//!
//! Invariant: a refusal says whether trying again makes sense.

use std::path::PathBuf;

use libp2p::Multiaddr;

use crate::peers::store::StoreError;

/// The network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The Noise keys cannot be derived from the node's key.
    #[error("noise keys: {0}")]
    Noise(String),
    /// An address to listen on is taken or not supported.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why not.
        reason: String,
    },
    /// gossipsub refuses its configuration.
    #[error("gossip configuration: {0}")]
    Gossip(String),
    /// Links of this protocol are accepted by another part of the node.
    #[error("links of {0} are accepted already")]
    LinksTaken(String),
    /// mDNS cannot open its sockets.
    #[error("mdns: {0}")]
    Mdns(#[source] std::io::Error),
    /// The peers file cannot be opened.
    #[error(transparent)]
    Peers(#[from] StoreError),
    /// The node key cannot be read or written.
    #[error("node key {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The payload is over its topic's cap.
    #[error("payload of {bytes} bytes exceeds {bytes_max}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// The topic's cap.
        bytes_max: usize,
    },
    /// No connected peer listens to the topic: try again when there is one.
    #[error("no peer listens to the topic")]
    NoPeers,
    /// The same payload was published or received before: nothing to do.
    #[error("already published")]
    Duplicate,
    /// All send queues are full: back off.
    #[error("send queues of all {0} peers are full")]
    QueuesFull(usize),
    /// The command queue is full: back off. Only transactions are refused like this.
    #[error("too many commands are waiting")]
    Busy,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// A request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The peer is not connected, or its status is not accepted yet.
    #[error("peer is not connected")]
    NotConnected,
    /// Too many requests to this peer are in flight, or too many commands are waiting.
    #[error("too many requests in flight")]
    Busy,
    /// Our own limiter holds the request back, so that it does not exceed the peer's quota.
    #[error("quota of the peer is used up for {retry_after_ms} ms")]
    Limited {
        /// When it will pass.
        retry_after_ms: u64,
    },
    /// No answer within the deadline.
    #[error("no answer in time")]
    Timeout,
    /// The answer was no canonical message of at most the allowed size. The peer was punished.
    #[error("bad answer: {0}")]
    BadAnswer(String),
    /// The connection or the stream ended before the answer.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}
