//! A stranger: a libp2p node without our rules, which opens any stream and writes any bytes.

use std::io;

use cairn_network::{Keypair, Multiaddr, PeerId, StreamProtocol};
use cairn_protocol::{
    codec::{decode, encode},
    wire::{Names, Status, SyncRequest, SyncResponse},
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Swarm, Transport,
    core::upgrade,
    noise,
    swarm::{self, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::sync::{mpsc, oneshot};

struct Dial(Multiaddr, oneshot::Sender<bool>);

/// The stranger.
pub struct Stranger {
    pub id: PeerId,
    names: Names,
    streams: libp2p_stream::Control,
    orders: mpsc::UnboundedSender<Dial>,
    pub closed: mpsc::UnboundedReceiver<()>,
}

/// What came back on a stream.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// One frame's payload.
    Frame(Vec<u8>),
    /// The stream was closed or reset without one.
    Nothing,
}

impl Stranger {
    /// A stranger that has not dialled anyone; it uses the names of `status`'s chain.
    pub fn new(keypair: Keypair, status: &Status) -> Self {
        let id = keypair.public().to_peer_id();
        let transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(upgrade::Version::V1Lazy)
            .authenticate(noise::Config::new(&keypair).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let behaviour = libp2p_stream::Behaviour::new();
        let streams = behaviour.new_control();
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(std::time::Duration::from_secs(3_600));
        let mut swarm = Swarm::new(transport, behaviour, id, config);
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let (on_close, closed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut dials = Vec::<(swarm::ConnectionId, oneshot::Sender<bool>)>::new();
            let finish = |dials: &mut Vec<_>, id, outcome| {
                if let Some(place) = dials.iter().position(|(dial, _)| *dial == id) {
                    let (_, done): (_, oneshot::Sender<bool>) = dials.remove(place);
                    let _ = done.send(outcome);
                }
            };
            loop {
                tokio::select! {
                    order = inbox.recv() => match order {
                        Some(Dial(address, done)) => {
                            let options = DialOpts::unknown_peer_id()
                                .address(address)
                                .allocate_new_port()
                                .build();
                            dials.push((options.connection_id(), done));
                            swarm.dial(options).unwrap();
                        }
                        None => return,
                    },
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                            finish(&mut dials, connection_id, true);
                        }
                        SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                            finish(&mut dials, connection_id, false);
                        }
                        SwarmEvent::ConnectionClosed { .. } => {
                            let _ = on_close.send(());
                        }
                        _ => {}
                    },
                }
            }
        });
        Self {
            id,
            names: Names::new(&status.genesis),
            streams,
            orders,
            closed,
        }
    }

    /// Connects; says whether the transport's handshake worked. The other side may still close.
    pub async fn dial(&self, address: &Multiaddr) -> bool {
        let (done, outcome) = oneshot::channel();
        assert!(self.orders.send(Dial(address.clone(), done)).is_ok());
        outcome.await.unwrap()
    }

    /// Writes bytes on a new stream of `protocol` and closes its writing half.
    pub async fn begin(
        &mut self,
        peer: PeerId,
        protocol: &str,
        bytes: &[u8],
    ) -> io::Result<libp2p::Stream> {
        let protocol = StreamProtocol::try_from_owned(self.names.of(protocol)).unwrap();
        let mut stream = self
            .streams
            .open_stream(peer, protocol)
            .await
            .map_err(io::Error::other)?;
        stream.write_all(bytes).await?;
        stream.close().await?;
        Ok(stream)
    }

    /// Writes bytes on a new stream of `protocol`, closes it and reads what comes.
    pub async fn send(&mut self, peer: PeerId, protocol: &str, bytes: &[u8]) -> io::Result<Reply> {
        Ok(finish(self.begin(peer, protocol, bytes).await?).await)
    }

    /// Says a status and returns the answer.
    pub async fn greet(&mut self, peer: PeerId, status: &Status) -> Option<Status> {
        let reply = self
            .send(peer, "status", &framed(&encode(status)))
            .await
            .ok()?;
        match reply {
            Reply::Frame(payload) => decode(&payload, 1_024).ok(),
            Reply::Nothing => None,
        }
    }

    /// Asks something and returns the answer.
    pub async fn ask(&mut self, peer: PeerId, request: &SyncRequest) -> Option<SyncResponse> {
        let reply = self
            .send(peer, "sync", &framed(&encode(request)))
            .await
            .ok()?;
        match reply {
            Reply::Frame(payload) => decode(&payload, 1 << 24).ok(),
            Reply::Nothing => None,
        }
    }
}

/// Reads a stream to its end.
pub async fn finish(mut stream: libp2p::Stream) -> Reply {
    let mut answer = Vec::new();
    // A reset is an answer too.
    let _ = stream.read_to_end(&mut answer).await;
    unframed(&answer).map_or(Reply::Nothing, Reply::Frame)
}

/// A frame around `payload`.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = length(payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The length prefix of a frame.
pub fn length(mut length: u64) -> Vec<u8> {
    let mut prefix = Vec::new();
    while length >= 0x80 {
        prefix.push(length as u8 | 0x80);
        length >>= 7;
    }
    prefix.push(length as u8);
    prefix
}

fn unframed(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let mut value = 0usize;
    for (place, byte) in bytes[..=end].iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
    }
    let payload = &bytes[end + 1..];
    (payload.len() == value).then(|| payload.to_vec())
}
