//! SQL as a part of the node: the database of the data directory, and the wire in front of it.
//!
//! ```text
//!   node's runtime: accept, authentication, cancel      SQL's own threads: sessions, statements
//! ```
//! Invariant: statements run on threads of their own, as many as the machine has processors and each
//! with less weight than those of the ledger, so that no query keeps a block waiting; a database that
//! stops ends the node with its cause.

mod chain;
mod gate;
mod metrics;

use super::disk::MeasuredDisk;
use super::error::NodeError;
use super::tasks::Tasks;
use crate::api::backend::Backend;
use crate::config::NodeConfig;
use crate::keystore::read_private_file;
use cairn_database::pg_catalog::{CairnTables, PgCatalog, Server as CatalogServer};
use cairn_database::sql::{Environment, VirtualTables};
use cairn_database::transaction::{Database, DatabaseOptions};
use cairn_database::wire::{Authentication, OneUser, Registry, Server, Tls, Verifier, WireOptions};
use cairn_storage::directory::DataDirectory;
use cairn_storage::disk::Disk;
use chain::ChainTables;
pub use gate::SqlGate;
pub use metrics::SqlMetrics;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where the database is below the data directory.
pub const DIRECTORY: &str = "sql";
/// Bytes of the store's cache on a development chain: the process stays below 120 MB.
const DEVNET_CACHE_BYTES: usize = 8 << 20;
/// Bytes of the store's cache elsewhere.
const CACHE_BYTES: usize = 64 << 20;
/// Threads of sessions at least: one that computes leaves another.
const THREADS_MIN: usize = 2;
/// How much weight these threads give up against those of the ledger.
const NICENESS: i32 = 5;
/// How often the database is asked whether it still runs.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of a password file at most.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// The running part.
pub struct SqlPart {
    database: Arc<Database>,
    server: Server,
    runtime: tokio::runtime::Runtime,
    gate: SqlGate,
}

/// What the part is started with.
pub struct SqlConfig<'a> {
    /// The node's settings.
    pub node: &'a NodeConfig,
    /// The data directory.
    pub directory: &'a DataDirectory,
    /// The node, for the ledger's tables.
    pub backend: Arc<dyn Backend>,
    /// The chain is one for development.
    pub is_devnet: bool,
    /// Counts.
    pub metrics: Arc<SqlMetrics>,
    /// Counts syncs.
    pub disk: MeasuredDisk,
}

impl SqlPart {
    /// Opens the database and listens.
    pub async fn start(tasks: &mut Tasks, config: SqlConfig<'_>) -> Result<SqlPart, NodeError> {
        let listen = config.node.sql.expect("the role sql has a place");
        let options = wire_options(listen, config.node)?;
        let path = config.directory.join(DIRECTORY);
        let (disk, is_devnet) = (config.disk, config.is_devnet);
        let opened = tokio::task::spawn_blocking(move || open(disk, &path, is_devnet));
        let opened = opened.await.map_err(|error| NodeError::Database {
            path: config.directory.join(DIRECTORY),
            cause: error.to_string(),
        })?;
        let database = opened?;
        let chain: Arc<dyn VirtualTables> = Arc::new(ChainTables::new(config.backend));
        let catalog = CatalogServer {
            database: options.database.clone(),
            user: options.user.clone(),
            version: options.server_version.clone(),
        };
        let registry = Arc::new(Registry::default());
        config.metrics.watch(&registry);
        let own = CairnTables::new(registry.clone(), database.locks().clone());
        let others: [Arc<dyn VirtualTables>; 2] = [chain, Arc::new(own)];
        let mut virtual_tables = PgCatalog::providers(&catalog, &others);
        virtual_tables.extend(others);
        let environment = Environment {
            virtual_tables,
            ..Environment::default()
        };
        let environment = Arc::new(environment);
        let runtime = runtime().map_err(NodeError::Runtime)?;
        let gate = SqlGate::new(
            database.clone(),
            environment.clone(),
            runtime.handle().clone(),
            options.user.clone(),
            options.database.clone(),
        );
        let mut server = Server::start(
            options,
            database.clone(),
            environment,
            registry,
            config.metrics,
            runtime.handle().clone(),
        )
        .await?;
        let ended = server.ended();
        tasks.spawn("sql listener", ended);
        tasks.spawn("database", database_end(database.clone()));
        Ok(SqlPart {
            database,
            server,
            runtime,
            gate,
        })
    }

    /// For statements of others than the wire.
    pub fn gate(&self) -> &SqlGate {
        &self.gate
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.server.local_address()
    }

    /// Ends the sessions and closes the database. What does not end in time is left behind: the log
    /// has every commit.
    pub async fn stop(self, time: Duration) {
        let SqlPart {
            database,
            server,
            runtime,
            gate,
        } = self;
        drop(gate);
        if tokio::time::timeout(time, server.stop()).await.is_err() {
            tracing::warn!("SQL sessions did not end in time");
        }
        runtime.shutdown_background();
        let closing = tokio::task::spawn_blocking(move || database.close());
        match tokio::time::timeout(time, closing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "closing the database"),
            Ok(Err(error)) => tracing::warn!(%error, "closing the database"),
            Err(_) => tracing::warn!("the database did not close in time"),
        }
    }
}

fn open(disk: MeasuredDisk, path: &Path, is_devnet: bool) -> Result<Arc<Database>, NodeError> {
    let failed = |cause: String| NodeError::Database {
        path: path.to_owned(),
        cause,
    };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let spill = path.join("spill");
    disk.create_directory(path)
        .and_then(|()| disk.create_directory(&spill))
        .map_err(|error| failed(error.to_string()))?;
    let cache = if is_devnet {
        DEVNET_CACHE_BYTES
    } else {
        CACHE_BYTES
    };
    let options = DatabaseOptions {
        spill_directory: spill,
        ..DatabaseOptions::default()
    };
    Database::open_directory(&disk, path, cache, options).map_err(|error| failed(error.to_string()))
}

/// Threads for sessions.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.max(THREADS_MIN))
        .thread_name("cairn-sql")
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

/// Gives the calling thread less weight than those of the ledger.
fn give_way() {
    // On Linux the call without an id concerns the calling thread alone.
    if cfg!(target_os = "linux") {
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

/// Ends when the database cannot go on.
async fn database_end(database: Arc<Database>) -> String {
    loop {
        if let Some(why) = database.pipeline().stopped() {
            return why;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn wire_options(listen: SocketAddr, config: &NodeConfig) -> Result<WireOptions, NodeError> {
    let mut options = WireOptions::trusting(listen);
    if let Some(path) = &config.sql_password_file {
        let password = password(path)?;
        options.authentication = Authentication::Scram(Arc::new(OneUser {
            name: options.user.clone(),
            verifier: Verifier::random(&password),
        }));
    }
    options.tls = match (&config.sql_tls_certificate, &config.sql_tls_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let tls = Tls::from_files(certificate, key);
            Some(tls.map_err(|error| NodeError::SqlFile(error.to_string()))?)
        }
        (Some(_), None) => {
            let why = "sql_tls_certificate needs sql_tls_key: give the file of its private key";
            return Err(NodeError::SqlFile(why.to_owned()));
        }
        (None, Some(_)) => {
            let why = "sql_tls_key needs sql_tls_certificate: give the file of its certificate";
            return Err(NodeError::SqlFile(why.to_owned()));
        }
    };
    Ok(options)
}

/// The first line of a private file.
fn password(path: &Path) -> Result<zeroize::Zeroizing<String>, NodeError> {
    let refused = |why: String| NodeError::SqlFile(format!("sql_password_file: {why}"));
    let bytes =
        read_private_file(path, PASSWORD_BYTES_MAX).map_err(|error| refused(error.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| refused(format!("{} is not UTF-8 text", path.display())))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refused(format!(
            "{} is empty: its first line is the password",
            path.display()
        )));
    }
    Ok(zeroize::Zeroizing::new(line.to_owned()))
}
