//! The Stratum listener: who may come in, and how many.
//!
//! Invariants: connections are bounded in all and per address; an address that is shut out is told
//! so and closed before anything of it is read.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cairn_miner::stratum::Bans;
use cairn_protocol::address::Network;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::connection::{Connection, error_line};
use super::feed::WorkFeed;
use super::files;
use super::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use crate::runtime::clock::monotonic_ms;

/// Why Stratum cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for Stratum: {cause}")]
pub struct StratumError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub cause: io::Error,
}

/// Who is in and who is shut out.
pub(super) struct Doors {
    feed: Arc<WorkFeed>,
    inside: Mutex<BTreeMap<IpAddr, usize>>,
    bans: Mutex<Bans>,
}

impl Doors {
    /// Lets an address in, or says why not.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Inside, String> {
        if let Some(ms) = self.bans.lock().remaining_ms(monotonic_ms(), address) {
            return Err(format!(
                "shut out for {} s: too much was wrong",
                ms / 1000 + 1
            ));
        }
        let group = Bans::group(address);
        let mut inside = self.inside.lock();
        let total: usize = inside.values().sum();
        if total >= CONNECTIONS_MAX {
            return Err(format!(
                "this node has {CONNECTIONS_MAX} connections, its most"
            ));
        }
        let count = inside.entry(group).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX && !Bans::is_shared(address) {
            return Err(format!(
                "{address} has {CONNECTIONS_PER_ADDRESS_MAX} connections, its most"
            ));
        }
        *count += 1;
        self.feed.metrics().connections.inc();
        Ok(Inside {
            doors: Arc::clone(self),
            group,
        })
    }

    /// Shuts an address out.
    pub fn shut_out(&self, address: IpAddr) {
        let now_ms = monotonic_ms();
        self.feed.metrics().bans.inc();
        if self.bans.lock().ban(now_ms, address) {
            tracing::info!(%address, "a Stratum client did too much wrong: shut out");
        } else {
            // It may come back at once: a line for each would be its way to fill the disk.
            tracing::debug!(%address, "a Stratum client did too much wrong: closed");
        }
    }
}

/// A place inside; given back when it is dropped.
struct Inside {
    doors: Arc<Doors>,
    group: IpAddr,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut inside = self.doors.inside.lock();
        if let Some(count) = inside.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.group);
            }
        }
        self.doors.feed.metrics().connections.dec();
    }
}

/// A running listener.
pub struct StratumServer {
    local_address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl StratumServer {
    /// Listens and serves from then on; the feed must be running.
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub async fn start(
        address: SocketAddr,
        network: Network,
        feed: Arc<WorkFeed>,
    ) -> Result<StratumServer, StratumError> {
        let failed = |cause| StratumError { address, cause };
        files::raise_limit();
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_address = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(false);
        let doors = Arc::new(Doors {
            feed,
            inside: Mutex::default(),
            bans: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, network, doors, stopping));
        Ok(StratumServer {
            local_address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Closes all connections and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn serve(
    listener: TcpListener,
    network: Network,
    doors: Arc<Doors>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "Stratum cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        match doors.enter(address) {
            Ok(inside) => {
                let connection = Connection {
                    stream,
                    address,
                    network,
                    feed: Arc::clone(&doors.feed),
                    doors: Arc::clone(&doors),
                };
                let stopping = stopping.clone();
                connections.spawn(async move {
                    let _inside = inside;
                    connection.run(stopping).await;
                });
            }
            Err(why) => {
                doors.feed.metrics().refused.inc();
                refuse(&stream, &why);
            }
        }
    }
    connections.shutdown().await;
}

/// Says why, if the socket takes the words at once, and closes it.
fn refuse(stream: &TcpStream, why: &str) {
    let _ = stream.try_write(format!("{}\n", error_line(why)).as_bytes());
}
