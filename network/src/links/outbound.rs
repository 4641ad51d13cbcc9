//! Our half of a link: opens the stream, greets, then writes what the queue holds.
//!
//! Invariant: frames of one link leave in their order; what waited while there was no stream is
//! not sent late: votes of the past help nobody, the node repeats what still counts on
//! [`LinkEvent::Open`].

use std::{sync::Arc, time::Duration};

use futures::{AsyncWriteExt, io::BufWriter};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::mpsc;

use super::{Greeting, LinkEvent};
use crate::{
    frame::write_frame,
    limits::{FRAME_READ_STEP_BYTES, GREETING_BYTES_MAX},
};

/// First wait after a link broke; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A peer that does not speak the protocol may become a validator later.
const RETRY_STRANGER: Duration = Duration::from_secs(60);

pub(super) struct Link {
    pub peer: PeerId,
    pub protocol: StreamProtocol,
    pub control: Control,
    pub greeting: Arc<dyn Greeting>,
    pub events: mpsc::Sender<LinkEvent>,
}

impl Link {
    /// Runs until the queue's sender is dropped.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Arc<[u8]>>) {
        let mut wait = RETRY_MIN;
        loop {
            let opened = self
                .control
                .open_stream(self.peer, self.protocol.clone())
                .await;
            match opened {
                Ok(stream) => match self.pump(stream, &mut queue).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::debug!(peer = %self.peer, %error, "link broke");
                        wait = RETRY_MIN;
                    }
                },
                Err(OpenStreamError::UnsupportedProtocol(_)) => wait = RETRY_STRANGER,
                Err(error) => tracing::debug!(peer = %self.peer, %error, "cannot open a link"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Writes frames until the stream fails, or `Ok` when nobody sends any more.
    async fn pump(
        &self,
        stream: Stream,
        queue: &mut mpsc::Receiver<Arc<[u8]>>,
    ) -> std::io::Result<()> {
        let mut stream = BufWriter::with_capacity(FRAME_READ_STEP_BYTES, stream);
        let hello = self.greeting.hello(self.peer);
        debug_assert!(hello.len() <= GREETING_BYTES_MAX);
        write_frame(&mut stream, &hello).await?;
        stream.flush().await?;
        while queue.try_recv().is_ok() {}
        if self.events.send(LinkEvent::Open(self.peer)).await.is_err() {
            return Ok(());
        }
        while let Some(frame) = queue.recv().await {
            write_frame(&mut stream, &frame).await?;
            while let Ok(frame) = queue.try_recv() {
                write_frame(&mut stream, &frame).await?;
            }
            stream.flush().await?;
        }
        stream.close().await
    }
}
