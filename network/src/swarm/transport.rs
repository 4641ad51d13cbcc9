//! The transport: TCP with Noise and Yamux, QUIC beside it, names resolved, traffic counted.
//!
//! Invariant: every connection attempt, in either direction, ends within the handshake budget;
//! the timer starts when the socket is accepted, so one byte per second does not extend it.

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade,
    },
    dns,
    identity::Keypair,
    metrics::{BandwidthTransport, Registry},
    noise, tcp, yamux,
};

use super::dial_filter::DialFilter;
use crate::{
    error::NetworkError,
    limits::{Limits, YAMUX_STREAMS_MAX},
};

/// What the swarm is built on.
pub type BoxedTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport of one node.
pub fn build(
    keypair: &Keypair,
    limits: &Limits,
    private_allowed: bool,
    registry: &mut Registry,
) -> Result<BoxedTransport, NetworkError> {
    let sockets =
        || sockets(keypair, limits).map(|transport| DialFilter::new(transport, private_allowed));
    let named = match dns::tokio::Transport::system(sockets()?) {
        Ok(transport) => transport.boxed(),
        Err(error) => {
            // No resolver configuration: addresses with names fail to dial, others work.
            tracing::warn!(%error, "names in addresses cannot be resolved on this system");
            sockets()?.boxed()
        }
    };
    Ok(BandwidthTransport::new(named, registry)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

fn tcp(keypair: &Keypair, limits: &Limits) -> Result<BoxedTransport, NetworkError> {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(YAMUX_STREAMS_MAX);
    let security =
        noise::Config::new(keypair).map_err(|error| NetworkError::Noise(error.to_string()))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxer)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(TransportTimeout::new(tcp, limits.transport_handshake()).boxed())
}

#[cfg(not(feature = "quic"))]
fn sockets(keypair: &Keypair, limits: &Limits) -> Result<BoxedTransport, NetworkError> {
    tcp(keypair, limits)
}

#[cfg(feature = "quic")]
fn sockets(keypair: &Keypair, limits: &Limits) -> Result<BoxedTransport, NetworkError> {
    use futures::future::Either;
    use libp2p::{core::transport::OrTransport, quic};

    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = limits.transport_handshake();
    let quic = quic::tokio::Transport::new(config)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = TransportTimeout::new(quic, limits.transport_handshake());
    let both = OrTransport::new(quic, tcp(keypair, limits)?);
    Ok(both
        .map(|output, _| match output {
            Either::Left(output) | Either::Right(output) => output,
        })
        .boxed())
}
