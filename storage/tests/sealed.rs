//! Blocks that validators sealed: a seal is durable with its block, and every era replays and
//! verifies, evidence included.
//!
//! The seal of a tip is nowhere else until a child carries it: a node that lost it could neither
//! propose the next block nor show anybody that the tip is final.

mod common;

use cairn_fixtures::TestChain;
use cairn_fixtures::seal::{double_prepare, eras_file, seal_of};
use cairn_protocol::block::Block;
use cairn_protocol::ledger::{BlockStore, CheckedBlock, connect_block};
use cairn_protocol::spec::ChainParams;
use cairn_storage::chain::{ChainStore, verify};
use cairn_storage::disk::{FakeDisk, Loss};
use common::*;
use std::path::Path;
use std::sync::Arc;

/// PBFT to height 3, other validators to 7, work to 10; height 3 brings evidence.
fn blocks(params: &ChainParams) -> Vec<Block> {
    let mut chain = TestChain::new(params.clone());
    for height in 1..=10 {
        let mut block = chain.block(Vec::new(), 0);
        if height == 3 {
            block.attachments.evidence = vec![double_prepare(params, 1, 0).to_bytes()];
            chain.remake(&mut block);
        }
        chain.connect(block);
    }
    chain.blocks().map(|block| block.block().clone()).collect()
}

/// Stores a block with its seal.
fn put(store: &mut ChainStore, params: &ChainParams, block: &Block) -> CheckedBlock {
    let checked = CheckedBlock::new(block.clone(), params.limits()).unwrap();
    let (id, height) = (checked.id(), block.extension.height);
    let mut record = checked.record();
    record.seal = params
        .is_bft(height)
        .then(|| seal_of(params, height, id, 0));
    store.put_header(&id, height, &record).unwrap();
    store.put_block(&checked).unwrap();
    checked
}

fn connect_checked(store: &mut ChainStore, params: &ChainParams, checked: &CheckedBlock) {
    let state = BlockStore::state(store).clone();
    let connected = connect_block(params, &state, checked, &*store, &mut Trusting).unwrap();
    store.connect(checked, connected).unwrap();
}

#[test]
fn a_seal_survives_a_power_cut_as_soon_as_its_block_does() {
    let params = Arc::new(ChainParams::new(eras_file(4, 8)).unwrap());
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for block in &blocks(&params) {
        let checked = put(&mut store, &params, block);
        let (id, height) = (checked.id(), block.extension.height);
        let image = disk.crashed(Loss::Unsynced, height);
        let lost = open(&image, &params, tiny_options()).unwrap();
        assert!(BlockStore::block(&lost, &id).unwrap().is_some());
        let record = BlockStore::header(&lost, &id).unwrap().unwrap();
        let expected = params
            .is_bft(height)
            .then(|| seal_of(&params, height, id, 0));
        assert_eq!(record.seal, expected, "height {height}");
        connect_checked(&mut store, &params, &checked);
    }
}

#[test]
fn every_era_replays_from_the_log_and_verifies() {
    let params = Arc::new(ChainParams::new(eras_file(4, 8)).unwrap());
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for block in &blocks(&params) {
        let checked = put(&mut store, &params, block);
        connect_checked(&mut store, &params, &checked);
    }
    let state = BlockStore::state(&store).clone();
    assert_eq!((state.height, state.engine.offences.len()), (10, 1));
    drop(store);
    ChainStore::drop_tables(&disk, Path::new("/chain")).unwrap();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    assert_eq!(*BlockStore::state(&store), state);
    let found = verify(
        &mut store,
        Arc::new(disk.clone()),
        Path::new("/scratch"),
        &mut Trusting,
        &mut |_| {},
    )
    .unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
}
