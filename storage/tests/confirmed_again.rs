//! A payment that a reorganisation takes off and confirms again at another height.
//!
//! Its coins have the same names and another height. The flush once took "was there, is there" for
//! "unchanged" and left the old height in the table: the next spend would have removed another
//! element from the state's commitment than was added.

mod common;

use cairn_protocol::ledger::BlockStore;
use cairn_protocol::transaction::Transaction;
use cairn_storage::disk::FakeDisk;
use common::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn its_coins_have_the_new_height_after_a_flush() {
    let params = params_funding(1, 1);
    let (outpoint, coin) = params.genesis_coins()[0].clone();
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    let payment = payment(&[(outpoint, coin, 0)], vec![pay(7, 1)]);
    let next = |store: &cairn_storage::ChainStore, transactions: Vec<Transaction>, salt| {
        block(&params, BlockStore::state(store), transactions, 1, salt)
    };
    let first = next(&store, vec![payment.clone()], 1);
    connect(&mut store, &first).unwrap();
    store.flush().unwrap();
    disconnect(&mut store).unwrap();
    let empty = next(&store, Vec::new(), 2);
    connect(&mut store, &empty).unwrap();
    let again = next(&store, vec![payment.clone()], 3);
    connect(&mut store, &again).unwrap();
    store.flush().unwrap();
    let paid = Transaction::outpoint(payment.txid(), 0);
    let height = |store: &cairn_storage::ChainStore| {
        store
            .snapshot()
            .coin(&paid)
            .unwrap()
            .expect("unspent")
            .height
    };
    assert_eq!(height(&store), 2, "beside a warm cache");
    drop(store);
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    assert_eq!(height(&store), 2, "from the table alone");
    let scratch = Arc::new(FakeDisk::new());
    let found = cairn_storage::chain::verify(
        &mut store,
        scratch,
        Path::new("/scratch"),
        &mut Trusting,
        &mut |_| {},
    )
    .unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
}
