//! The other half of a link: accepts streams, checks the greeting, reads frames.
//!
//! Invariant: the accept loop only spawns, because streams are dropped while it is busy; a peer
//! reads as fast as its quota and the node's queue let it, and holds one frame in memory.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, io::BufReader};
use libp2p::{PeerId, Stream};
use libp2p_stream::IncomingStreams;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{GREETING, Greeting, LinkEvent};
use crate::{
    counters::{BadInput, Limited},
    frame::{ReadError, read_frame},
    handle::NetworkHandle,
    limits::{
        FRAME_READ_STEP_BYTES, GREETING_BYTES_MAX, LINK_FRAME_BYTES_MAX, LINK_QUOTA,
        LINKS_INBOUND_MAX,
    },
    peers::score::Offence,
    quota::{Gcra, Limit},
};

pub(super) struct Acceptor {
    pub greeting: Arc<dyn Greeting>,
    pub events: mpsc::Sender<LinkEvent>,
    pub network: NetworkHandle,
}

impl Acceptor {
    pub async fn run(self, mut streams: IncomingStreams) {
        let mut readers: BTreeMap<PeerId, JoinHandle<()>> = BTreeMap::new();
        while let Some((peer, stream)) = streams.next().await {
            readers.retain(|_, reader| !reader.is_finished());
            if let Some(older) = readers.remove(&peer) {
                older.abort();
            } else if readers.len() >= LINKS_INBOUND_MAX {
                self.network.counters().limited(Limited::Links);
                continue;
            }
            let reader = Reader {
                peer,
                greeting: Arc::clone(&self.greeting),
                events: self.events.clone(),
                network: self.network.clone(),
            };
            readers.insert(peer, tokio::spawn(reader.run(stream)));
        }
        for reader in readers.values() {
            reader.abort();
        }
    }
}

struct Reader {
    peer: PeerId,
    greeting: Arc<dyn Greeting>,
    events: mpsc::Sender<LinkEvent>,
    network: NetworkHandle,
}

impl Reader {
    async fn run(self, stream: Stream) {
        let mut stream = BufReader::with_capacity(FRAME_READ_STEP_BYTES, stream);
        let hello = read_frame(&mut stream, GREETING_BYTES_MAX);
        let hello = match tokio::time::timeout(GREETING, hello).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return self.blame(&error),
            Err(_) => return,
        };
        if !self.greeting.admits(self.peer, &hello) {
            // Whoever left the set a moment ago is no liar: closing is enough.
            tracing::debug!(peer = %self.peer, "link of a stranger refused");
            self.network.counters().limited(Limited::LinkStranger);
            return;
        }
        let (mut quota, started) = (Gcra::new(LINK_QUOTA), Instant::now());
        loop {
            let payload = match read_frame(&mut stream, LINK_FRAME_BYTES_MAX).await {
                Ok(payload) => payload,
                Err(error) => return self.blame(&error),
            };
            let now_ms = started.elapsed().as_millis() as u64;
            if let Err(Limit::RetryAfterMs(wait_ms)) = quota.take(now_ms, 1) {
                // The sender's stream fills up meanwhile: it pays with its own frames.
                self.network.counters().limited(Limited::LinkFrames);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                quota.charge(started.elapsed().as_millis() as u64, 1);
            }
            let from = self.peer;
            if self
                .events
                .send(LinkEvent::Frame { from, payload })
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// A frame that breaks the rules is the peer's fault; a stream that ends is nobody's.
    fn blame(&self, error: &ReadError) {
        use crate::frame::FrameError::{Length, Oversized};
        if let ReadError::Frame(wrong @ (Oversized { .. } | Length)) = error {
            tracing::debug!(peer = %self.peer, error = %wrong, "bad frame on a link");
            self.network.counters().bad_input(BadInput::Oversized);
            self.network.report(self.peer, Offence::Oversized);
        }
    }
}
