//! A database in a directory of its own, with the wire on a free port.

use cairn_database::sql::Environment;
use cairn_database::transaction::{Database, DatabaseOptions};
use cairn_database::wire::{Registry, Server, Unobserved, WireOptions};
use cairn_storage::disk::{Disk, RealDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// A server of a test.
pub struct TestServer {
    pub address: SocketAddr,
    pub registry: Arc<Registry>,
    server: Option<Server>,
    database: Arc<Database>,
    _directory: TempDir,
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl TestServer {
    /// On loopback, trusting.
    pub async fn trusting() -> Self {
        Self::with(WireOptions::trusting(loopback())).await
    }

    /// With options.
    pub async fn with(options: WireOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let database = Database::open_directory(
            &disk,
            directory.path(),
            4 << 20,
            DatabaseOptions {
                spill_directory: directory.path().to_owned(),
                ..DatabaseOptions::default()
            },
        )
        .unwrap();
        let registry = Arc::new(Registry::default());
        let server = Server::start(
            options,
            database.clone(),
            Arc::new(Environment::default()),
            registry.clone(),
            Arc::new(Unobserved),
            Handle::current(),
        )
        .await
        .unwrap();
        TestServer {
            address: server.local_address(),
            registry,
            server: Some(server),
            database,
            _directory: directory,
        }
    }

    /// Stops in order.
    pub async fn stop(mut self) {
        self.server.take().unwrap().stop().await;
        self.database.close().unwrap();
    }
}
