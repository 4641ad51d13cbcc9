//! The one swarm: gossip, discovery, sync, streams, peer scoring, limits.
