//! The listener: takes connections, lets those in that may, and hands them to the sessions' runtime.
//!
//! Invariant: first packets, authentication and requests to cancel are answered on the caller's
//! runtime, so that sessions at work cannot keep a cancel waiting; a listener that others than this
//! machine can reach never trusts.

use super::authentication::{Authentication, Refusal, Throttle};
use super::connection::Connection;
use super::message::Backend;
use super::observer::Observer;
use super::registry::Registry;
use super::report::Report;
use super::startup::{self, Begun};
use super::tls::Tls;
use super::watch::Watch;
use crate::limits::{CONNECTIONS_MAX, STARTUP_MS_MAX};
use crate::sql::Environment;
use crate::transaction::Database;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};

/// How the wire listens.
#[derive(Debug, Clone)]
pub struct WireOptions {
    /// Where.
    pub listen: SocketAddr,
    /// Who may come in.
    pub authentication: Authentication,
    /// Encryption, if a client wants it.
    pub tls: Option<Tls>,
    /// Connections at once.
    pub connections_max: usize,
    /// What `server_version` says.
    pub server_version: String,
    /// The name of the database.
    pub database: String,
    /// The user that is always there.
    pub user: String,
}

impl WireOptions {
    /// For a listener on loopback that trusts.
    pub fn trusting(listen: SocketAddr) -> Self {
        WireOptions {
            listen,
            authentication: Authentication::Trust,
            tls: None,
            connections_max: CONNECTIONS_MAX,
            server_version: concat!("15.0 (Cairn ", env!("CARGO_PKG_VERSION"), ")").to_owned(),
            database: "cairn".to_owned(),
            user: "cairn".to_owned(),
        }
    }
}

/// Why the wire does not listen.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Others could reach a listener that trusts.
    #[error(
        "SQL without a password listens on loopback only, and {0} is not: give a password file, or listen on 127.0.0.1"
    )]
    TrustBeyondLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen for SQL on {listen}: {error}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A thread of its own does not start.
    #[error("the thread of the timeouts: {0}")]
    Thread(io::Error),
}

/// What connections share.
pub(super) struct Shared {
    pub(super) options: WireOptions,
    pub(super) database: Arc<Database>,
    pub(super) environment: Arc<Environment>,
    pub(super) registry: Arc<Registry>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) watch: Watch,
    pub(super) throttle: Throttle,
    /// For the salts of users that do not exist.
    pub(super) secret: [u8; 32],
    stopping: AtomicBool,
    stop: Notify,
}

/// A running listener.
pub struct Server {
    shared: Arc<Shared>,
    local: SocketAddr,
    accepting: Option<JoinHandle<()>>,
    abort: AbortHandle,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.local)
    }
}

impl Server {
    /// Listens. Sessions run on `sessions`, everything before them on the caller's runtime.
    ///
    /// # Errors
    /// `WireError`.
    pub async fn start(
        options: WireOptions,
        database: Arc<Database>,
        environment: Arc<Environment>,
        registry: Arc<Registry>,
        observer: Arc<dyn Observer>,
        sessions: Handle,
    ) -> Result<Self, WireError> {
        let listen = options.listen;
        let trusts = matches!(options.authentication, Authentication::Trust);
        if trusts && !listen.ip().is_loopback() {
            return Err(WireError::TrustBeyondLoopback(listen));
        }
        let failed = |error| WireError::Listen { listen, error };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let places = Arc::new(Semaphore::new(options.connections_max));
        let shared = Arc::new(Shared {
            options,
            database,
            environment,
            registry,
            observer,
            watch: Watch::start().map_err(WireError::Thread)?,
            throttle: Throttle::default(),
            secret: rand::random(),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone(), places.clone(), sessions));
        Ok(Server {
            shared,
            local,
            abort: accepting.abort_handle(),
            accepting: Some(accepting),
            places,
        })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Resolves when the listener has ended by itself, with why; never after `stop`. To be asked once.
    pub fn ended(&mut self) -> impl Future<Output = String> + Send + use<> {
        let accepting = self.accepting.take();
        async move {
            match accepting {
                Some(accepting) => match accepting.await {
                    Err(error) if error.is_panic() => format!("it panicked: {error}"),
                    _ => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        }
    }

    /// The sessions.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Ends all sessions as PostgreSQL's fast shutdown does (57P01), and returns when they are gone.
    pub async fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.stop.notify_waiters();
        self.abort.abort();
        let all = self.shared.options.connections_max as u32;
        loop {
            // A connection may become a session just now: until all places are free.
            self.shared
                .registry
                .all()
                .iter()
                .for_each(|entry| entry.terminate());
            let gone = self.places.acquire_many(all);
            if tokio::time::timeout(Duration::from_millis(50), gone)
                .await
                .is_ok()
            {
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    sessions: Handle,
) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that left at once: others may fare better.
                tracing::warn!(%error, "cannot take an SQL connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let Ok(place) = places.clone().try_acquire_owned() else {
            refuse(stream);
            continue;
        };
        let (shared, sessions) = (shared.clone(), sessions.clone());
        tokio::spawn(async move {
            let Some(begun) = begin(stream, client, &shared).await else {
                return;
            };
            let session = async move {
                let mut begun = begun;
                if let Err(error) = begun.transport.rehome() {
                    tracing::warn!(%client, %error, "an SQL connection cannot be served");
                    return;
                }
                if let Some(connection) = Connection::new(begun, shared) {
                    connection.run().await;
                }
                drop(place);
            };
            sessions.spawn(session);
        });
    }
}

/// Says that there is no room. The answer fits the socket's buffer or is lost.
fn refuse(stream: TcpStream) {
    let mut out = Backend::default();
    out.error(&Report::fatal("53300", "sorry, too many clients already"));
    let _ = stream.try_write(out.bytes());
}

/// First packet to authentication, within its time.
async fn begin(stream: TcpStream, client: SocketAddr, shared: &Shared) -> Option<Begun> {
    let begun = startup::begin(stream, client, shared);
    let bounded = tokio::time::timeout(Duration::from_millis(STARTUP_MS_MAX), begun);
    let stopped = async {
        let notified = shared.stop.notified();
        if !shared.stopping.load(Ordering::SeqCst) {
            notified.await;
        }
    };
    tokio::select! {
        begun = bounded => match begun {
            Ok(Ok(begun)) => begun,
            Ok(Err(Refusal::Lost(error))) => {
                tracing::debug!(%client, %error, "an SQL client was lost before its session");
                None
            }
            Ok(Err(_)) => None,
            Err(_) => {
                tracing::debug!(%client, "an SQL client took too long to begin");
                None
            }
        },
        () = stopped => None,
    }
}
