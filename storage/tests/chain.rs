//! A chain store through random connects, reorganisations, flushes and reopenings, compared with a
//! plain model after every step.
//!
//! One property: tip, coins, active heights, transactions and addresses of every snapshot, also of
//! those taken long before, are what a model in plain maps says for that tip.

mod common;

use cairn_protocol::block::Block;
use cairn_protocol::hash::{BlockId, KeyHash, TxId};
use cairn_protocol::ledger::{BlockStore, Coin};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_storage::chain::{ChainSnapshot, ChainStore, StoreOptions, TxPlace};
use cairn_storage::disk::{FakeDisk, Loss};
use common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The chain in plain maps, recomputed block by block.
#[derive(Clone, Default)]
struct Model {
    coins: BTreeMap<OutPoint, Coin>,
    blocks: Vec<(BlockId, Block, Vec<Coin>)>,
    places: BTreeMap<TxId, TxPlace>,
    by_address: BTreeMap<KeyHash, BTreeMap<(u64, u32), TxId>>,
}

impl Model {
    fn new(params: &ChainParams) -> Self {
        let mut model = Model::default();
        let genesis = params.genesis();
        for (outpoint, coin) in params.genesis_coins() {
            model.coins.insert(*outpoint, coin.clone());
            model.touch(0, 0, genesis.coinbase.id(), coin);
        }
        model.places.insert(
            genesis.coinbase.id(),
            TxPlace {
                height: 0,
                index: 0,
            },
        );
        model
            .blocks
            .push((genesis.id(), genesis.clone(), Vec::new()));
        model
    }

    fn touch(&mut self, height: u64, index: u32, txid: TxId, coin: &Coin) {
        for hash in coin.output.lock.key_hashes() {
            self.by_address
                .entry(hash)
                .or_default()
                .insert((height, index), txid);
        }
    }

    fn connect(&mut self, block: &Block) {
        let height = block.extension.height;
        let mut spent = Vec::new();
        let coinbase = (block.coinbase.id(), &block.coinbase.outputs, [].as_slice());
        let others = block.transactions.iter();
        let others = others.map(|tx| (tx.txid(), &tx.outputs, tx.inputs.as_slice()));
        for ((txid, outputs, inputs), index) in std::iter::once(coinbase).chain(others).zip(0u32..)
        {
            self.places.insert(txid, TxPlace { height, index });
            for input in inputs {
                let coin = self.coins.remove(input).unwrap();
                self.touch(height, index, txid, &coin);
                spent.push(coin);
            }
            for (output, at) in outputs.iter().zip(0..) {
                let outpoint = Transaction::outpoint(txid, at);
                let coin = Coin {
                    output: output.clone(),
                    height,
                    is_coinbase: index == 0,
                };
                self.touch(height, index, txid, &coin);
                self.coins.insert(outpoint, coin);
            }
        }
        self.blocks.push((block.id(), block.clone(), spent));
    }

    fn disconnect(&mut self) {
        let (_, block, spent) = self.blocks.pop().unwrap();
        let mut spent = spent.into_iter().rev();
        for tx in block.transactions.iter().rev() {
            self.forget(tx.txid(), tx.outputs.len());
            for input in tx.inputs.iter().rev() {
                self.coins.insert(*input, spent.next().unwrap());
            }
        }
        self.forget(block.coinbase.id(), block.coinbase.outputs.len());
        let height = block.extension.height;
        for rows in self.by_address.values_mut() {
            rows.retain(|place, _| place.0 != height);
        }
    }

    fn forget(&mut self, txid: TxId, outputs: usize) {
        self.places.remove(&txid);
        for at in 0..outputs {
            self.coins.remove(&Transaction::outpoint(txid, at));
        }
    }

    fn check(&self, snapshot: &ChainSnapshot) {
        let (tip, ..) = self.blocks.last().unwrap();
        assert_eq!(snapshot.tip(), (self.blocks.len() as u64 - 1, *tip));
        for (height, (id, block, spent)) in self.blocks.iter().enumerate() {
            assert_eq!(snapshot.block_id_at(height as u64).unwrap(), Some(*id));
            assert_eq!(snapshot.header_at(height as u64).unwrap().unwrap().id, *id);
            assert!(snapshot.is_active(id).unwrap());
            assert_eq!(snapshot.block(id).unwrap().as_ref(), Some(block));
            if height > 0 {
                assert_eq!(snapshot.undo(id).unwrap().unwrap().spent, *spent);
            }
        }
        assert_eq!(
            snapshot.block_id_at(self.blocks.len() as u64).unwrap(),
            None
        );
        for (txid, place) in &self.places {
            assert_eq!(snapshot.transaction_place(txid).unwrap(), Some(*place));
        }
        for n in 0..FUNDED {
            self.check_address(snapshot, n);
        }
    }

    fn check_address(&self, snapshot: &ChainSnapshot, n: u16) {
        let address = owner(n);
        let of = |coin: &Coin| coin.output.lock.key_hashes().contains(&address);
        let coins: Vec<_> = self.coins.iter().filter(|(_, coin)| of(coin)).collect();
        let alone = |coin: &Coin| coin.output.lock.key_hashes().len() == 1;
        let balance = coins.iter().filter(|(_, coin)| alone(coin));
        let summary = snapshot.address(&address).unwrap();
        assert_eq!(
            summary.balance.0,
            balance.map(|(_, coin)| coin.output.value.0).sum::<u64>()
        );
        assert_eq!(summary.coins, coins.len() as u64);
        let mut found = Vec::new();
        loop {
            let after = found
                .last()
                .map(|coin: &cairn_storage::chain::AddressCoin| coin.outpoint);
            let page = snapshot.address_coins(&address, after.as_ref(), 3).unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.outpoint, &c.coin, c.alone))
            .collect();
        let wanted: Vec<_> = coins.iter().map(|(o, c)| (**o, *c, alone(c))).collect();
        assert_eq!(found, wanted);
        let rows = self.by_address.get(&address).cloned().unwrap_or_default();
        assert_eq!(summary.transactions, rows.len() as u64);
        let mut listed = Vec::new();
        let mut before = None;
        loop {
            let page = snapshot.address_transactions(&address, before, 2).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.place);
            listed.extend(
                page.iter()
                    .map(|t| ((t.place.height, t.place.index), t.txid)),
            );
        }
        let wanted: Vec<_> = rows.into_iter().rev().collect();
        assert_eq!(listed, wanted);
    }
}

/// A step of the random test.
#[derive(Debug, Clone)]
enum Step {
    /// A block with this many payments, chosen by the number.
    Connect(u8, u64),
    Disconnect(u8),
    Flush,
    /// Stop and start: clean, by a kill, or by a power cut after a sync.
    Reopen(u8),
    Keep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..6, any::<u64>()).prop_map(|(count, pick)| Step::Connect(count, pick)),
        3 => (1u8..5).prop_map(Step::Disconnect),
        1 => Just(Step::Flush),
        1 => (0u8..3).prop_map(Step::Reopen),
        1 => Just(Step::Keep),
    ];
    prop::collection::vec(step, 1..40)
}

/// Payments of random coins; the second spends an output of the first.
fn payments(model: &Model, count: u8, mut pick: u64) -> Vec<Transaction> {
    let mut next = |bound: usize| {
        pick = pick
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (pick >> 33) as usize % bound.max(1)
    };
    let mut coins: Vec<(OutPoint, Coin)> = model
        .coins
        .iter()
        .map(|(outpoint, coin)| (*outpoint, coin.clone()))
        .collect();
    let mut made = Vec::new();
    for number in 0..count {
        let mut inputs = Vec::new();
        for _ in 0..=next(2) {
            if coins.is_empty() {
                break;
            }
            let (outpoint, coin) = coins.swap_remove(next(coins.len()));
            let n = (0..FUNDED).find(|n| coin.output.lock.key_hashes().contains(&owner(*n)));
            inputs.push((outpoint, coin, n.unwrap()));
        }
        let total: u64 = inputs.iter().map(|(_, coin, _)| coin.output.value.0).sum();
        if inputs.is_empty() || total < 10 {
            continue;
        }
        let (a, b) = (next(FUNDED as usize) as u16, next(FUNDED as usize) as u16);
        let first = 1 + next(total as usize / 2) as u64;
        let mut outputs = vec![pay(a, first)];
        if a != b && number % 2 == 0 {
            outputs.push(pay_either(a, b, total - first));
        } else {
            outputs.push(pay(b, total - first));
        }
        let tx = payment(&inputs, outputs);
        if number == 0 {
            let outpoint = Transaction::outpoint(tx.txid(), 0);
            let coin = Coin {
                output: tx.outputs[0].clone(),
                height: 0,
                is_coinbase: false,
            };
            coins.clear();
            coins.push((outpoint, coin));
        }
        made.push(tx);
    }
    made
}

fn run(steps: &[Step], seed: u64) -> (usize, usize) {
    let params = params();
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    let mut disk = disk;
    let mut model = Model::new(&params);
    let mut kept: Vec<(Arc<ChainSnapshot>, Model)> = Vec::new();
    let (mut connected, mut taken_off) = (0, 0);
    for (step, salt) in steps.iter().zip(seed..) {
        match step {
            Step::Connect(count, pick) => {
                let transactions = payments(&model, *count, *pick);
                let state = BlockStore::state(&store).clone();
                let miner = (*pick % u64::from(FUNDED)) as u16;
                let block = block(&params, &state, transactions, miner, salt);
                connect(&mut store, &block).unwrap();
                model.connect(&block);
                connected += 1;
            }
            Step::Disconnect(count) => {
                for _ in 0..*count {
                    if model.blocks.len() == 1 {
                        break;
                    }
                    let block = disconnect(&mut store).unwrap();
                    assert_eq!(block.id(), model.blocks.last().unwrap().0);
                    model.disconnect();
                    assert!(!store.snapshot().is_active(&block.id()).unwrap());
                    taken_off += 1;
                }
            }
            Step::Flush => store.flush().unwrap(),
            Step::Reopen(how) => {
                kept.clear();
                let loss = match how {
                    0 => {
                        store.flush().unwrap();
                        Loss::Unsynced
                    }
                    1 => Loss::Nothing,
                    _ => {
                        store.sync().unwrap();
                        Loss::Random
                    }
                };
                let image = disk.crashed(loss, salt);
                drop(store);
                disk = image;
                store = open(&disk, &params, tiny_options()).unwrap();
            }
            Step::Keep => kept.push((store.snapshot(), model.clone())),
        }
        model.check(&store.snapshot());
    }
    for (snapshot, model) in &kept {
        model.check(snapshot);
    }
    let coins: BTreeSet<_> = model.coins.keys().collect();
    for (_, block, _) in &model.blocks {
        for input in block.transactions.iter().flat_map(|tx| &tx.inputs) {
            let found = store.snapshot().coin(input).unwrap();
            assert_eq!(found.is_some(), coins.contains(input));
        }
    }
    let mut commitment = cairn_protocol::lthash::LtHash::default();
    for (outpoint, coin) in &model.coins {
        assert_eq!(
            store.snapshot().coin(outpoint).unwrap().as_ref(),
            Some(coin)
        );
        coin.add_to(outpoint, &mut commitment);
    }
    assert_eq!(BlockStore::state(&store).coins, commitment);
    (connected, taken_off)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_a_model(steps in steps(), seed in any::<u32>()) {
        run(&steps, u64::from(seed));
    }
}

/// The same with a fixed story, so that the interesting steps surely happen.
#[test]
fn a_long_story_with_a_deep_reorganisation() {
    let mut story = Vec::new();
    for round in 0..6u64 {
        story.push(Step::Keep);
        story.extend((0..12).map(|i| Step::Connect((i % 6) as u8, round * 100 + i)));
        story.push(Step::Keep);
        story.push(Step::Flush);
        story.extend([Step::Disconnect(4), Step::Disconnect(4), Step::Keep]);
        story.push(Step::Connect(3, round));
        story.push(Step::Reopen((round % 3) as u8));
    }
    let (connected, taken_off) = run(&story, 1);
    assert!(
        connected > 70 && taken_off > 40,
        "{connected} connected, {taken_off} taken off"
    );
}

#[test]
fn the_store_of_another_chain_is_refused() {
    let disk = FakeDisk::new();
    drop(open(&disk, &params(), tiny_options()).unwrap());
    let other = params_funding(3, 1);
    let refused = |disk: &FakeDisk| {
        let disk = disk.crashed(Loss::Nothing, 0);
        open(&disk, &other, tiny_options()).unwrap_err().to_string()
    };
    // Before the first flush the log tells, after it the tables.
    assert!(
        refused(&disk).contains("choose another --data-dir"),
        "{}",
        refused(&disk)
    );
    let disk = disk.crashed(Loss::Nothing, 0);
    open(&disk, &params(), tiny_options())
        .unwrap()
        .flush()
        .unwrap();
    assert!(
        refused(&disk).contains("choose another --data-dir"),
        "{}",
        refused(&disk)
    );
}

/// A record of the log whose digest is right but whose contents are not: a bug's doing, not a disk's.
#[test]
fn undo_data_that_does_not_fit_its_block_is_not_replayed() {
    use cairn_storage::segment::{Position, SegmentLog};
    let params = params();
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    let state = BlockStore::state(&store).clone();
    let id = connect(&mut store, &block(&params, &state, vec![], 1, 1)).unwrap();
    let mut undo = BlockStore::undo(&store, &id).unwrap().unwrap();
    drop(store);
    let disk = disk.crashed(Loss::Nothing, 0);
    let directory = std::path::PathBuf::from("/chain/log");
    let segments = tiny_options().segments;
    let disk_again: Arc<dyn cairn_storage::disk::Disk> = Arc::new(disk.clone());
    let (mut log, _) = SegmentLog::open(
        disk_again,
        directory,
        "chain",
        segments,
        Position::default(),
    )
    .unwrap();
    // Taken off (kind 4) and connected again (kind 3) with wrong undo data.
    log.append(4, &[id.as_bytes()]).unwrap();
    undo.engine.issued.0 += 1;
    log.append(3, &[id.as_bytes(), &cairn_protocol::codec::encode(&undo)])
        .unwrap();
    log.sync().unwrap();
    drop(log);
    let refused = open(&disk, &params, tiny_options())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&id.to_string()) && refused.contains("undo data"),
        "{refused}"
    );
}

#[test]
fn files_are_private_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data = cairn_storage::DataDirectory::open(&directory.path().join("data")).unwrap();
    let disk: Arc<dyn cairn_storage::disk::Disk> = Arc::new(cairn_storage::disk::RealDisk);
    let chain = data.join("chain");
    let mut store = ChainStore::open(disk, &chain, params(), tiny_options()).unwrap();
    store.flush().unwrap();
    let mut seen = 0;
    let mut open = vec![data.path().to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            wanted,
            "{}",
            path.display()
        );
        seen += 1;
        if metadata.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert!(seen >= 7, "only {seen} files and directories");
}

#[test]
fn lost_tables_are_rebuilt_from_the_log() {
    let params = params();
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    let mut model = Model::new(&params);
    for salt in 0..30 {
        let transactions = payments(&model, 4, salt);
        let state = BlockStore::state(&store).clone();
        let block = block(&params, &state, transactions, 1, salt);
        connect(&mut store, &block).unwrap();
        model.connect(&block);
        if salt % 7 == 6 {
            disconnect(&mut store).unwrap();
            model.disconnect();
        }
    }
    store.flush().unwrap();
    drop(store);
    let disk = disk.crashed(Loss::Nothing, 0);
    ChainStore::drop_tables(&disk, std::path::Path::new("/chain")).unwrap();
    let store = open(&disk, &params, tiny_options()).unwrap();
    model.check(&store.snapshot());
}

/// Attack catalogue V21: a reorganisation of 1,088 blocks with conflicting spends ends in the very
/// state of a node that saw only the winning branch.
#[test]
fn a_reorganisation_of_1088_blocks_equals_a_fresh_sync() {
    const DEPTH: u64 = 1088;
    let params = params();
    let options = StoreOptions {
        dirty_coins_max: 700,
        ..tiny_options()
    };
    let mut store = open(&FakeDisk::new(), &params, options).unwrap();
    let spend = |coins: &mut Vec<(OutPoint, Coin, u16)>, to: u16| {
        let input = coins.pop().unwrap();
        let value = input.1.output.value.0;
        let tx = payment(&[input], vec![pay(to, value)]);
        let coin = Coin {
            output: tx.outputs[0].clone(),
            height: 0,
            is_coinbase: false,
        };
        coins.insert(0, (Transaction::outpoint(tx.txid(), 0), coin, to));
        tx
    };
    let funded = || -> Vec<(OutPoint, Coin, u16)> {
        let coins = params.genesis_coins().iter().zip(0u16..);
        coins
            .map(|((outpoint, coin), n)| (*outpoint, coin.clone(), n))
            .collect()
    };
    let mut coins = funded();
    for salt in 0..DEPTH {
        let tx = spend(&mut coins, (salt % 7) as u16);
        let state = BlockStore::state(&store).clone();
        connect(&mut store, &block(&params, &state, vec![tx], 1, salt)).unwrap();
    }
    let losing = store.snapshot();
    for _ in 0..DEPTH {
        disconnect(&mut store).unwrap();
    }
    assert_eq!(BlockStore::state(&store), params.genesis_state());
    // The same coins, spent to others.
    let mut fresh = open(&FakeDisk::new(), &params, options).unwrap();
    let mut coins = funded();
    for salt in 0..=DEPTH {
        let tx = spend(&mut coins, 20 + (salt % 11) as u16);
        let state = BlockStore::state(&store).clone();
        let made = block(&params, &state, vec![tx], 2, 1_000_000 + salt);
        connect(&mut store, &made).unwrap();
        connect(&mut fresh, &made).unwrap();
    }
    assert_eq!(BlockStore::state(&store), BlockStore::state(&fresh));
    let (after, fresh) = (store.snapshot(), fresh.snapshot());
    for n in 0..FUNDED {
        let address = owner(n);
        assert_eq!(
            after.address(&address).unwrap(),
            fresh.address(&address).unwrap()
        );
        let coins = |s: &ChainSnapshot| s.address_coins(&address, None, usize::MAX).unwrap();
        assert_eq!(coins(&after), coins(&fresh));
        let history =
            |s: &ChainSnapshot| s.address_transactions(&address, None, usize::MAX).unwrap();
        assert_eq!(history(&after), history(&fresh));
    }
    // Who looks at the losing branch still sees it.
    assert_eq!(losing.tip().0, DEPTH);
    assert!(losing.address(&owner(3)).unwrap().transactions > 100);
    assert_eq!(losing.block_id_at(DEPTH).unwrap(), Some(losing.tip().1));
}
