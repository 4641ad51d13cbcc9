//! The listener: accepts, bounds, stops.
//!
//! Invariant: a client can use up its own connection only. It has ten seconds for its headers,
//! twenty for its body and must take a byte of its answer every twenty; connections are counted,
//! and one too many is told so and closed. (The server that comes with axum has none of these
//! bounds, therefore hyper is driven here.)

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

use super::access::{Access, Token, TokenError};
use super::backend::Backend;
use super::events::EventHub;
use super::limits::Limits;
use super::openapi;
use super::state::Api;
use crate::metrics::Metrics;

/// How long a stop waits for requests under way.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which means that this process is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Headers of a request together, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// What one connection buffers at most.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file with the token for writes on a listener that is not loopback.
    pub token_file: Option<PathBuf>,
    /// The bounds.
    pub limits: Limits,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not of this machine.
    #[error("cannot listen on {address} for the API: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The token file cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A running server. Dropping it leaves the server running; [`ApiServer::stop`] ends it.
pub struct ApiServer {
    local_address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Listens and serves from then on.
    ///
    /// # Errors
    /// When the address is taken or the token file cannot be used.
    pub async fn start(
        settings: ApiSettings,
        backend: Arc<dyn Backend>,
        events: Arc<EventHub>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let token = settings
            .token_file
            .as_deref()
            .map(Token::read)
            .transpose()?;
        let failed = |cause| StartError::Listen {
            address: settings.listen,
            cause,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let local_address = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(false);
        let access = Access::new(local_address.ip(), token);
        let limits = settings.limits;
        let api = Api::new(backend, events, metrics, access, limits, stopping.clone());
        let router = openapi::router(Arc::new(api));
        let task = tokio::spawn(serve(listener, router, stopping));
        Ok(Self {
            local_address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Stops: no more connections, two seconds for requests under way, then an end.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn serve(
    listener: TcpListener,
    (router, limits): (Router, Limits),
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(place) => {
                let serving = connection(stream, router.clone(), limits.clone(), stopping.clone());
                connections.spawn(async move {
                    let _place = place;
                    serving.await;
                });
            }
            Err(_) => refuse(&stream),
        }
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_GRACE, all_done).await;
    connections.shutdown().await;
}

/// Tells a connection too many so, if its socket takes the words at once, and closes it.
fn refuse(stream: &TcpStream) {
    let body = r#"{"type":"urn:cairn:problem:busy","title":"Service Unavailable","status":503,"code":"busy","detail":"too many connections"}"#;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(text.as_bytes());
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(StallGuard::new(stream, limits.write_stall_timeout));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(io, TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = stopping.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an API connection ended early");
    }
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct StallGuard {
    stream: TcpStream,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallGuard {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            stalled: None,
        }
    }

    /// Passes progress on; without progress waits for the end of patience.
    fn watch<T>(
        &mut self,
        progress: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let patience = self.patience;
        let sleep = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client reads nothing",
        )))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(progress, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.watch(progress, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
