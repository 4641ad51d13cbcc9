//! Bodies come from many peers in any order: a block is stored before its parent's header is.
//!
//! The store once refused a header whose parent it did not have, which stopped a node in the middle
//! of its sync as soon as two peers answered out of turn.

mod common;

use cairn_protocol::ledger::{BlockStore, CheckedBlock};
use cairn_protocol::pow::Work;
use cairn_storage::disk::FakeDisk;
use common::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn blocks_are_stored_in_reverse_and_connect_in_order() {
    let params = params();
    let source_disk = FakeDisk::new();
    let mut source = open(&source_disk, &params, tiny_options()).unwrap();
    let mut blocks = Vec::new();
    for salt in 0..8 {
        let state = BlockStore::state(&source).clone();
        let next = block(&params, &state, Vec::new(), 1, salt);
        connect(&mut source, &next).unwrap();
        blocks.push(next);
    }
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for block in blocks.iter().rev() {
        let checked = CheckedBlock::new(block.clone(), params.limits()).unwrap();
        let height = block.extension.height;
        store
            .put_header(&checked.id(), height, &checked.record())
            .unwrap();
        store.put_block(&checked).unwrap();
    }
    // A start in between finds them all.
    drop(store);
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    for block in &blocks {
        connect(&mut store, block).unwrap();
    }
    let (here, there) = (store.snapshot(), source.snapshot());
    assert_eq!(here.tip(), there.tip());
    for block in &blocks {
        let work = |snapshot: &cairn_storage::ChainSnapshot| {
            snapshot.header(&block.id()).unwrap().unwrap().work
        };
        assert_eq!(work(&here), work(&there));
        assert_ne!(work(&here), Work::ZERO);
    }
    let found = cairn_storage::chain::verify(
        &mut store,
        Arc::new(disk.clone()),
        Path::new("/scratch"),
        &mut Trusting,
        &mut |_| {},
    )
    .unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
}
