//! The ledger thread under faults, and what it tells of orphans and stored blocks.

use super::{LedgerConfig, LedgerEvent, LedgerHandle, SubmitError, start};
use crate::metrics::{KnownLabels, Metrics};
use cairn_consensus::chain::{BlockOutcome, Source};
use cairn_consensus::mempool::Policy;
use cairn_fixtures::{Payment, TestChain, TestKey};
use cairn_protocol::ledger::Fault;
use cairn_protocol::transaction::Transaction;
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::disk::{Disk, DiskFile, RealDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

pub(in crate::runtime) fn open(
    folder: &Path,
    chain: &TestChain,
    disk: Arc<dyn Disk>,
) -> (LedgerHandle, mpsc::Receiver<Fault>) {
    let params = Arc::new(chain.params().clone());
    let options = StoreOptions {
        // Reads of the tables go to the disk.
        table_cache_bytes: 0,
        coin_cache_bytes: 0,
        ..StoreOptions::small()
    };
    let started = Instant::now();
    let store = loop {
        let (disk, params) = (Arc::clone(&disk), Arc::clone(&params));
        match ChainStore::open(disk, &folder.join("chain"), params, options) {
            Ok(store) => break store,
            // A ledger that was just stopped lets go of its files a moment later.
            Err(StorageError::Locked { .. }) if started.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let labels = KnownLabels {
        kernels: Vec::new(),
        queues: Vec::new(),
        stores: Vec::new(),
    };
    let config = LedgerConfig {
        params,
        policy: Policy::default(),
        dump_file: folder.join("mempool.dat"),
        fees_file: folder.join("fees.dat"),
        metrics: Arc::new(Metrics::new(&labels)),
    };
    let (failed, faults) = mpsc::channel(1);
    let report = move |fault| {
        let _ = failed.blocking_send(fault);
    };
    (start(config, store, report).unwrap(), faults)
}

/// What a test does to a disk and sees of it.
#[derive(Debug, Default)]
struct Watch {
    reads_fail: AtomicBool,
    syncs: AtomicU64,
}

/// A real disk whose reads fail once it is told so, and that counts its syncs.
#[derive(Debug)]
struct WatchedDisk(RealDisk, Arc<Watch>);

#[derive(Debug)]
struct WatchedFile(Arc<dyn DiskFile>, Arc<Watch>);

impl WatchedDisk {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile(file, Arc::clone(&self.1)))
    }
}

impl Disk for WatchedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.0.create_directory(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(path).map(|file| self.wrap(file))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(path).map(|file| self.wrap(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.sync_directory(path)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.1.reads_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("a bad sector"));
        }
        self.0.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}

fn payment(chain: &TestChain, account: usize, to: &TestKey) -> Transaction {
    let (outpoint, coin) = chain.funded(account);
    let left = coin.output.value.0 - 1_000;
    let spend = Payment::new().spend(outpoint, &coin, &TestKey::new(account as u64));
    chain.sign(&spend.pay_key(to, left))
}

/// A disk that cannot be read while a transaction looks for its coins is our fault: it was an answer
/// to the client, and the node went on promising.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_disk_at_a_submission_stops_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let chain = TestChain::easy(2_000);
    {
        let (ledger, _faults) = open(folder.path(), &chain, Arc::new(RealDisk));
        ledger.stop().await;
    }
    let watch = Arc::new(Watch::default());
    let disk = WatchedDisk(RealDisk, Arc::clone(&watch));
    let (ledger, mut faults) = open(folder.path(), &chain, Arc::new(disk));
    watch.reads_fail.store(true, Ordering::SeqCst);
    let to = TestKey::new(1_000_000);
    let mut stopped = false;
    for account in (0..2_000).step_by(20) {
        let payment = payment(&chain, account, &to);
        match ledger.submit(vec![payment], Source::LOCAL).await {
            Ok(verdicts) => assert!(verdicts[0].is_ok(), "{verdicts:?}"),
            Err(_) => {
                stopped = true;
                break;
            }
        }
    }
    assert!(stopped, "no read of the tables failed");
    let fault = faults.recv().await.expect("the ledger says why");
    assert!(fault.0.contains("a bad sector"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_ledger_is_reported_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, mut faults) = open(folder.path(), &TestChain::easy(1), Arc::new(RealDisk));
    ledger.panic().await;
    let fault = faults.recv().await.expect("the ledger says why");
    let said = "the ledger thread panicked: a test asked for it";
    assert_eq!(fault.0, said);
    assert!(ledger.find(TestChain::easy(1).chain_id()).await.is_err());
}

/// Children came before their parent: they are told of when they enter, once, and not as orphans.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_named_when_their_parent_came_in_a_batch_or_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = TestChain::easy(2);
    let (ledger, _faults) = open(folder.path(), &chain, Arc::new(RealDisk));
    let mut events = ledger.subscribe();
    let peer = Source(7);
    let mut named = Vec::new();
    for in_block in [false, true] {
        let key = TestKey::new(50 + u64::from(in_block));
        let parent = payment(&chain, usize::from(in_block), &key);
        let coin = cairn_protocol::ledger::Coin {
            output: parent.outputs[0].clone(),
            height: 1,
            is_coinbase: false,
        };
        let outpoint = Transaction::outpoint(parent.txid(), 0);
        let left = coin.output.value.0 - 2_000;
        let child = Payment::new()
            .spend(outpoint, &coin, &key)
            .pay_key(&key, left);
        let child = chain.sign(&child);
        let verdicts = ledger.submit(vec![child.clone()], peer).await.unwrap();
        assert!(matches!(verdicts[0], Err(SubmitError::Orphan(_))));
        if in_block {
            chain.extend(vec![parent]);
            let block = chain.blocks().last().unwrap().block().clone();
            let (stored, on_stored) = oneshot::channel();
            let reply = ledger.block_stored(block, Source::LOCAL, stored).await;
            assert!(matches!(
                reply.unwrap().outcome,
                BlockOutcome::Stored { .. }
            ));
            assert!(on_stored.await.is_ok(), "told that it is on disk");
        } else {
            let verdicts = ledger.submit(vec![parent], peer).await.unwrap();
            assert!(verdicts[0].is_ok());
        }
        named.push(child.txid());
    }
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let LedgerEvent::OrphanAdmitted { txid } = event {
            seen.push(txid);
        }
    }
    assert_eq!(seen, named);
    // A block that is not stored tells nobody.
    let known = chain.blocks().last().unwrap().block().clone();
    let (stored, on_stored) = oneshot::channel();
    let reply = ledger.block_stored(known, Source::LOCAL, stored).await;
    assert_eq!(reply.unwrap().outcome, BlockOutcome::Known);
    assert!(on_stored.await.is_err());
}

/// A header whose body has not come is found: the store does not have it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_its_body_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = TestChain::easy(1);
    let (ledger, _faults) = open(folder.path(), &chain, Arc::new(RealDisk));
    chain.extend(Vec::new());
    let checked = chain.blocks().last().unwrap().clone();
    assert_eq!(ledger.find(checked.id()).await.unwrap(), None);
    ledger.headers(vec![checked.record()]).await.unwrap();
    let place = ledger.find(checked.id()).await.unwrap();
    assert_eq!(place.map(|place| place.height), Some(1));
    assert_eq!(ledger.snapshot().header(&checked.id()).unwrap(), None);
    let missing = ledger.missing_bodies(9, vec![checked.id()]).await.unwrap();
    assert_eq!(missing.best, [(1, checked.id())]);
    assert_eq!(missing.others, [(checked.id(), missing.best.clone())]);
}

/// Bodies far below the best header share syncs; near it each has its own.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_sync_while_the_node_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = TestChain::easy(1);
    let (blocks, near) = (300, 65);
    for _ in 0..blocks {
        chain.extend(Vec::new());
    }
    let watch = Arc::new(Watch::default());
    let disk = WatchedDisk(RealDisk, Arc::clone(&watch));
    let (ledger, _faults) = open(folder.path(), &chain, Arc::new(disk));
    let records = chain.blocks().map(|block| block.record()).collect();
    ledger.headers(records).await.unwrap();
    let syncs = || watch.syncs.load(Ordering::SeqCst);
    let before = syncs();
    let mut far = 0;
    for (at, block) in chain.blocks().enumerate() {
        let reply = ledger
            .block(block.block().clone(), Source(7))
            .await
            .unwrap();
        assert!(reply.connected);
        if at + 1 == blocks - near {
            far = syncs() - before;
        }
    }
    // Ticks and flushes of a slow machine add some.
    assert!(far < (blocks - near) as u64 / 4, "{far} syncs");
    let close = syncs() - before - far;
    assert!(close >= near as u64 - 1, "{close} syncs of {near} bodies");
}
