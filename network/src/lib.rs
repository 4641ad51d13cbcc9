//! The one swarm: gossip, discovery, sync, streams, peer scoring, limits.
//!
//! ```text
//!             node
//!    commands │  ▲ events
//!             ▼  │
//!   handle ─▶ swarm task ─▶ libp2p ─▶ peers        moves bytes and verdicts, never validates
//!             sync, relay, peers                   pure state machines: time and input in, effects out
//! ```
//! The node starts a swarm with [`start`], reads [`NetworkEvent`]s and calls the [`NetworkHandle`].
//! [`sync`] and [`relay`] decide what to ask whom; the node runs their effects through the handle,
//! so that a simulator can run the same code without any network.
//!
//! Invariant: no validation rule and no storage of the chain lives here.

pub mod config;
pub mod counters;
pub mod error;
pub mod event;
pub mod frame;
pub mod handle;
pub mod identity;
pub mod limits;
pub mod links;
pub mod names;
pub mod peers;
pub mod quota;
pub mod relay;
mod swarm;
pub mod sync;
mod wire;

pub use config::NetworkConfig;
pub use counters::NetCounters;
pub use error::{NetworkError, PublishError, RequestError};
pub use event::{GossipToken, NetworkEvent, Responder, Verdict};
pub use handle::{NetworkHandle, PeerInfo};
pub use libp2p::{Multiaddr, PeerId, StreamProtocol, identity::Keypair};
pub use limits::Limits;
pub use names::{Names, Topic};
pub use peers::{book::Direction, score::Offence};
pub use swarm::start::start;
