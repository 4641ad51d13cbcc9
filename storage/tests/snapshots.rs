//! Snapshots beside a writer: readers on other threads, flushes in the background, expiry, pruning.
//!
//! One property: whatever runs beside, a snapshot's parts belong to one tip.

mod common;

use cairn_protocol::ledger::BlockStore;
use cairn_protocol::lthash::LtHash;
use cairn_protocol::transaction::Transaction;
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainSnapshot, StoreOptions};
use cairn_storage::disk::{FakeDisk, RealDisk};
use common::*;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const OWNERS: u16 = 12;

/// Coins by address, balances, state and heights must agree with each other.
fn is_consistent(snapshot: &ChainSnapshot) {
    let (height, tip) = snapshot.tip();
    let state = snapshot.state();
    assert_eq!((state.height, state.tip), (height, tip));
    assert_eq!(snapshot.block_id_at(height).unwrap(), Some(tip));
    assert_eq!(snapshot.block_id_at(height + 1).unwrap(), None);
    let mut coins = LtHash::default();
    let mut supply = 0;
    for n in 0..OWNERS {
        let summary = snapshot.address(&owner(n)).unwrap();
        let listed = snapshot.address_coins(&owner(n), None, usize::MAX).unwrap();
        assert_eq!(summary.coins, listed.len() as u64);
        let transactions = snapshot
            .address_transactions(&owner(n), None, usize::MAX)
            .unwrap();
        assert_eq!(summary.transactions, transactions.len() as u64);
        assert!(transactions.iter().all(|t| t.place.height <= height));
        if let Some(newest) = transactions.first() {
            assert_eq!(
                snapshot.transaction_place(&newest.txid).unwrap(),
                Some(newest.place)
            );
        }
        for coin in &listed {
            coin.coin.add_to(&coin.outpoint, &mut coins);
            supply += coin.coin.output.value.0;
        }
    }
    assert_eq!(coins, state.coins);
    assert_eq!(supply, state.engine.supply().0);
}

#[test]
fn readers_see_one_tip_while_blocks_reorganisations_and_flushes_go_on() {
    let params = params_funding(OWNERS, 3);
    let options = StoreOptions {
        background_flush: true,
        ..tiny_options()
    };
    let directory = tempfile::tempdir().unwrap();
    let mut store = cairn_storage::chain::ChainStore::open(
        Arc::new(RealDisk),
        directory.path(),
        params.clone(),
        options,
    )
    .unwrap();
    let stop = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = store.reader();
            scope.spawn(|| {
                let reader = reader;
                while !stop.load(Ordering::Relaxed) {
                    is_consistent(&reader.snapshot());
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut coins: VecDeque<_> = params.genesis_coins().iter().cloned().collect();
        let mut kept = Vec::new();
        let mut salt = 0;
        while salt < 250 || (reads.load(Ordering::Relaxed) < 20 && salt < 5000) {
            let state = BlockStore::state(&store).clone();
            let mut made = Vec::new();
            for _ in 0..8 {
                let (outpoint, coin) = coins.pop_front().unwrap();
                let from = (0..OWNERS).find(|n| coin.output.lock.key_hashes() == [owner(*n)]);
                let from = from.unwrap();
                let value = coin.output.value.0;
                let to = (salt as u16 + 5) % OWNERS;
                let tx = payment(&[(outpoint, coin, from)], vec![pay(to, value)]);
                let outpoint = Transaction::outpoint(tx.txid(), 0);
                coins.push_back((
                    outpoint,
                    cairn_protocol::ledger::Coin {
                        output: tx.outputs[0].clone(),
                        height: state.height + 1,
                        is_coinbase: false,
                    },
                ));
                made.push(tx);
            }
            let first = block(&params, &state, made.clone(), 1, salt);
            connect(&mut store, &first).unwrap();
            if salt % 4 == 3 {
                disconnect(&mut store).unwrap();
                connect(&mut store, &block(&params, &state, made, 2, 10_000 + salt)).unwrap();
            }
            if salt % 16 == 0 {
                kept.push(store.snapshot());
            }
            if salt % 10 == 9 {
                store.maintain(Duration::from_secs(salt)).unwrap();
            }
            salt += 1;
        }
        stop.store(true, Ordering::Relaxed);
        for snapshot in &kept {
            is_consistent(snapshot);
        }
    });
    let flushes = store.stats().unwrap().flushes;
    let reads = reads.load(Ordering::Relaxed);
    println!("{reads} consistent reads beside {flushes} background flushes");
    assert!(
        flushes >= 10 && reads >= 20,
        "{flushes} flushes, {reads} reads"
    );
    // What ran beside is durable and sound.
    store.flush().unwrap();
    let tip = store.snapshot().tip();
    drop(store);
    let store = cairn_storage::chain::ChainStore::open(
        Arc::new(RealDisk),
        directory.path(),
        params,
        options,
    )
    .unwrap();
    assert_eq!(store.snapshot().tip(), tip);
    is_consistent(&store.snapshot());
}

#[test]
fn a_snapshot_expires_only_after_its_cap_and_says_so() {
    let params = params_funding(OWNERS, 1);
    let mut store = open(&FakeDisk::new(), &params, tiny_options()).unwrap();
    let cap = tiny_options().snapshot_age_max;
    store.maintain(Duration::from_secs(5)).unwrap();
    let old = store.snapshot();
    let state = BlockStore::state(&store).clone();
    connect(&mut store, &block(&params, &state, vec![], 1, 1)).unwrap();
    store.flush().unwrap();
    store.maintain(Duration::from_secs(4) + cap).unwrap();
    is_consistent(&old);
    store.maintain(Duration::from_secs(6) + cap).unwrap();
    let outpoint = params.genesis_coins()[0].0;
    // The genesis coins were in the layer of the old snapshot; a coin below it needs the reader.
    let unknown = Transaction::outpoint(params.genesis().coinbase.id(), 999);
    assert!(matches!(
        old.coin(&unknown),
        Err(StorageError::SnapshotExpired)
    ));
    assert!(store.snapshot().coin(&outpoint).unwrap().is_some());
    is_consistent(&store.snapshot());
}

#[test]
fn changes_are_flushed_when_they_are_old_enough() {
    let params = params_funding(OWNERS, 1);
    let mut store = open(&FakeDisk::new(), &params, tiny_options()).unwrap();
    store.flush().unwrap();
    let before = store.stats().unwrap().flushes;
    let state = BlockStore::state(&store).clone();
    connect(&mut store, &block(&params, &state, vec![], 1, 1)).unwrap();
    store.maintain(Duration::from_secs(10)).unwrap();
    store.maintain(Duration::from_secs(69)).unwrap();
    assert_eq!(store.stats().unwrap().flushes, before);
    store.maintain(Duration::from_secs(70)).unwrap();
    assert_eq!(store.stats().unwrap().flushes, before + 1);
    assert_eq!(store.stats().unwrap().dirty_coins, 0);
}

#[test]
fn pruned_blocks_are_said_to_be_pruned_and_the_chain_goes_on() {
    let params = params_funding(OWNERS, 1);
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for salt in 0..100 {
        let state = BlockStore::state(&store).clone();
        connect(&mut store, &block(&params, &state, vec![], 1, salt)).unwrap();
    }
    let before = store.stats().unwrap().log_bytes;
    assert!(store.prune(70).unwrap() >= 2);
    assert!(store.stats().unwrap().log_bytes < before);
    let snapshot = store.snapshot();
    let id = |height| snapshot.block_id_at(height).unwrap().unwrap();
    assert!(matches!(
        snapshot.block_bytes(&id(1)),
        Err(StorageError::Pruned { .. })
    ));
    for height in 70..=100 {
        assert!(snapshot.block(&id(height)).unwrap().is_some());
        assert!(snapshot.undo(&id(height)).unwrap().is_some());
    }
    // The header of a pruned block stays.
    assert_eq!(snapshot.header_at(1).unwrap().unwrap().height, 1);
    assert!(store.prune(101).is_err());
    drop((snapshot, store));
    let disk = disk.crashed(cairn_storage::disk::Loss::Unsynced, 0);
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for salt in 100..110 {
        let state = BlockStore::state(&store).clone();
        connect(&mut store, &block(&params, &state, vec![], 1, salt)).unwrap();
    }
    is_consistent(&store.snapshot());
    let scratch: Arc<dyn cairn_storage::disk::Disk> = Arc::new(FakeDisk::new());
    let refused = cairn_storage::chain::verify(
        &mut store,
        scratch,
        Path::new("/s"),
        &mut Trusting,
        &mut |_| (),
    );
    assert!(
        matches!(refused, Err(StorageError::Pruned { .. })),
        "{refused:?}"
    );
    // What is pruned cannot be replayed either.
    drop(store);
    let disk = disk.crashed(cairn_storage::disk::Loss::Nothing, 0);
    cairn_storage::chain::ChainStore::drop_tables(&disk, Path::new("/chain")).unwrap();
    let refused = open(&disk, &params, tiny_options()).unwrap_err();
    assert!(
        refused.to_string().contains("beginning has been pruned"),
        "{refused}"
    );
}
