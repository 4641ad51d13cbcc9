//! A database in a directory of its own, with the wire on a free port.

use cairn_database::pg_catalog::{CairnTables, PgCatalog, Server as CatalogServer};
use cairn_database::sql::{Environment, VirtualTables};
use cairn_database::transaction::{Database, DatabaseOptions};
use cairn_database::wire::{Registry, Server, Unobserved, WireOptions};
use cairn_storage::disk::{Disk, RealDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;

/// A server of a test.
pub struct TestServer {
    pub address: SocketAddr,
    pub registry: Arc<Registry>,
    server: Option<Server>,
    database: Arc<Database>,
    _directory: TempDir,
    /// Threads of sessions, apart from that of the test.
    sessions: Option<tokio::runtime::Runtime>,
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
        let catalog = CatalogServer {
            database: options.database.clone(),
            user: options.user.clone(),
            version: options.server_version.clone(),
        };
        let own: [Arc<dyn VirtualTables>; 1] = [Arc::new(CairnTables::new(
            registry.clone(),
            database.locks().clone(),
        ))];
        let mut virtual_tables = PgCatalog::providers(&catalog, &own);
        virtual_tables.extend(own);
        let environment = Arc::new(Environment {
            virtual_tables,
            ..Environment::default()
        });
        let sessions = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::start(
            options,
            database.clone(),
            environment,
            registry.clone(),
            Arc::new(Unobserved),
            sessions.handle().clone(),
        )
        .await
        .unwrap();
        TestServer {
            address: server.local_address(),
            registry,
            server: Some(server),
            database,
            _directory: directory,
            sessions: Some(sessions),
        }
    }

    /// Stops in order.
    pub async fn stop(mut self) {
        self.server.take().unwrap().stop().await;
        self.database.close().unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A runtime may not be waited for inside another.
        if let Some(sessions) = self.sessions.take() {
            sessions.shutdown_background();
        }
    }
}
