//! Durable commits per second through the whole pipeline, beside a probe of the disk's sync.
//!
//! `cargo bench -p cairn-database --bench commits [seconds]` prints, for each number of threads, single
//! row inserts per second, how many commits shared one sync, and the ratio to what the disk can sync.

use cairn_database::catalog::{Column, Table};
use cairn_database::transaction::{Begin, Database, DatabaseOptions, Result, Transaction};
use cairn_database::types::{DataType, Value};
use cairn_storage::disk::{Disk, RealDisk};
use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Appends of 4 KiB with a sync each, per second.
fn probe(directory: &std::path::Path, time: Duration) -> f64 {
    let mut file = std::fs::File::create(directory.join("probe")).expect("a file");
    file.write_all(&vec![0; 16 << 20]).expect("room");
    file.sync_all().expect("a sync");
    let start = Instant::now();
    let mut syncs = 0u64;
    while start.elapsed() < time {
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], (syncs % 4096) * 4096)
            .expect("a write");
        file.sync_data().expect("a sync");
        syncs += 1;
    }
    syncs as f64 / start.elapsed().as_secs_f64()
}

fn create(database: &Arc<Database>) -> Result<()> {
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        not_null: false,
        default: None,
        missing: None,
        dropped: false,
    };
    block_on(async {
        let mut t = database.begin(Begin::default());
        let definition = Table {
            id: t.new_object_id(),
            storage: t.new_object_id(),
            schema: "public".into(),
            name: "rows".into(),
            columns: vec![column("id", DataType::BigInt), column("v", DataType::Text)],
            primary_key: vec![0],
            primary_name: "rows_pkey".into(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            hidden_key: false,
            options: Vec::new(),
        };
        t.statement(async |t| t.create_table(definition.clone()).await)
            .await?;
        t.commit().await.map(drop)
    })
}

async fn insert(t: &mut Transaction, id: i64) -> Result<()> {
    t.statement(async |t| {
        let relation = t.relation("public", "rows")?;
        let value = Value::Text("x".repeat(100));
        t.insert(&relation, vec![Value::BigInt(id), value])
            .await
            .map(drop)
    })
    .await
}

fn main() {
    let seconds = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next();
    let time = Duration::from_secs(seconds.unwrap_or(2));
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let database = Database::open_directory(
        &disk,
        &directory.path().join("db"),
        32 << 20,
        DatabaseOptions::default(),
    )
    .expect("a database");
    create(&database).expect("a table");
    let next = AtomicI64::new(0);
    println!(
        "{:>8} {:>12} {:>14} {:>10}",
        "threads", "commits/s", "syncs/s probe", "ratio"
    );
    for threads in [1, 8, 32, 256] {
        let syncs = probe(directory.path(), time / 2);
        let start = Instant::now();
        let before = next.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while start.elapsed() < time {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        let mut t = database.begin(Begin::default());
                        block_on(insert(&mut t, id)).expect("an insert");
                        block_on(t.commit()).expect("a commit");
                    }
                });
            }
        });
        let commits =
            (next.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        println!(
            "{threads:>8} {commits:>12.0} {syncs:>14.0} {:>10.2}",
            commits / syncs
        );
    }
    database.close().expect("an end");
}
