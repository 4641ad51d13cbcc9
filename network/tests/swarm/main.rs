//! Real swarms on loopback, friends and strangers. One binary, because linking libp2p is slow.

mod common;
mod exchange;
mod floods;
mod frames;
mod handshake;
mod links;
mod memory_of_peers;
mod quotas;
