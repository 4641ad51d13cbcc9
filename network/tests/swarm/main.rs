//! Real swarms on loopback, friends and strangers. One binary, because linking libp2p is slow.

mod common;
mod exchange;
mod floods;
mod frames;
mod handshake;
mod memory_of_peers;
mod quotas;
