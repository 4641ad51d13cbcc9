//! A small chain builder: valid blocks over a store's tip, with made-up keys and signatures that a
//! trusting check accepts (signatures are the protocol's business, not the store's).

#![allow(dead_code, reason = "each test file uses its part")]

use cairn_protocol::address::{Address, key_hash};
use cairn_protocol::block::{Attachments, Block, block_root};
use cairn_protocol::codec::BoundedBytes;
use cairn_protocol::coinbase::{COINBASE_VERSION, Coinbase};
use cairn_protocol::extension::{EXTENSION_VERSION, Extension, SwitchRecord};
use cairn_protocol::hash::{BlockId, Hash, KeyHash, Wtxid};
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::ledger::{BlockStore, CheckedBlock, Coin, connect_block, disconnect_block};
use cairn_protocol::lock::{At, Lock, Threshold, Witness};
use cairn_protocol::merkle::tx_root;
use cairn_protocol::pow::Bits;
use cairn_protocol::signature::{PublicKey, Signature, SignatureCheck, SignatureJob};
use cairn_protocol::spec::{ChainParams, builtin};
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::{OutPoint, Output, TRANSACTION_VERSION, Transaction};
use cairn_protocol::units::Amount;
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::disk::Disk;
use cairn_storage::segment::SegmentOptions;
use std::path::Path;
use std::sync::Arc;

/// Accepts every signature.
pub struct Trusting;

impl SignatureCheck for Trusting {
    fn is_known(&self, _wtxid: &Wtxid) -> bool {
        true
    }
    fn verify(&mut self, _jobs: &[SignatureJob]) -> Result<(), usize> {
        Ok(())
    }
    fn remember(&mut self, _wtxid: Wtxid) {}
}

/// Owner `n` of the test chain.
pub fn key(n: u16) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    PublicKey(bytes)
}

/// Key hash of owner `n`.
pub fn owner(n: u16) -> KeyHash {
    key_hash(&key(n))
}

/// Owners that genesis funds.
pub const FUNDED: u16 = 40;

/// A devnet whose genesis funds owners 0 … `FUNDED` - 1 and whose coinbases mature at once.
pub fn params() -> Arc<ChainParams> {
    params_funding(FUNDED, 1)
}

/// A devnet with `owners` funded owners, each with `each` coins.
pub fn params_funding(owners: u16, each: u32) -> Arc<ChainParams> {
    params_funding_with(owners, each, 1_000_000_000)
}

/// The same with coins of this many pebbles.
pub fn params_funding_with(owners: u16, each: u32, pebbles: u64) -> Arc<ChainParams> {
    let mut file = builtin::devnet_file();
    file.limits.coinbase_maturity = 1;
    let network = file.network;

    file.funded = (0..owners)
        .flat_map(|n| (0..each).map(move |_| n))
        .map(|n| cairn_protocol::spec::Funded {
            address: Address::of_key(network, &key(n)).to_string(),
            amount: Amount(pebbles),
        })
        .collect();
    Arc::new(ChainParams::new(file).unwrap())
}

/// Options that roll segments and flush often, without threads.
pub fn tiny_options() -> StoreOptions {
    StoreOptions {
        segments: SegmentOptions {
            segment_bytes: 20_000,
        },
        dirty_coins_max: 60,
        background_flush: false,
        ..StoreOptions::small()
    }
}

/// Opens the test chain.
pub fn open(
    disk: &(impl Disk + Clone + 'static),
    params: &Arc<ChainParams>,
    options: StoreOptions,
) -> cairn_storage::Result<ChainStore> {
    ChainStore::open(
        Arc::new(disk.clone()),
        Path::new("/chain"),
        params.clone(),
        options,
    )
}

/// A payment of coins with Key or 1-of-n locks to outputs.
pub fn payment(inputs: &[(OutPoint, Coin, u16)], outputs: Vec<Output>) -> Transaction {
    let witness = |(_, coin, n): &(OutPoint, Coin, u16)| match coin.output.lock {
        Lock::Threshold(ref threshold) => {
            let at = threshold.keys.iter().position(|k| *k == key(*n)).unwrap();
            Witness::Threshold {
                signers: 1 << at,
                signatures: vec![Signature([1; 64])],
            }
        }
        _ => Witness::Key {
            key: key(*n),
            signature: Signature([1; 64]),
        },
    };
    Transaction {
        version: TRANSACTION_VERSION,
        inputs: inputs.iter().map(|(outpoint, ..)| *outpoint).collect(),
        outputs,
        valid_from: At::START,
        witnesses: inputs.iter().map(witness).collect(),
    }
}

/// An output to one owner.
pub fn pay(n: u16, pebbles: u64) -> Output {
    Output {
        value: Amount(pebbles),
        lock: Lock::Key(owner(n)),
    }
}

/// An output that either of two owners opens.
pub fn pay_either(a: u16, b: u16, pebbles: u64) -> Output {
    let mut keys = vec![key(a), key(b)];
    keys.sort();
    Output {
        value: Amount(pebbles),
        lock: Lock::Threshold(Box::new(Threshold { m: 1, keys })),
    }
}

/// A valid block over `state`; `salt` makes blocks of equal contents distinct.
pub fn block(
    params: &ChainParams,
    state: &LedgerState,
    transactions: Vec<Transaction>,
    miner: u16,
    salt: u64,
) -> Block {
    let height = state.height + 1;
    let subsidy = params.subsidy(height, state.engine.issued);
    let outputs = if subsidy == Amount::ZERO {
        vec![]
    } else {
        vec![pay(miner, subsidy.0)]
    };
    let mut extra_nonce = [0; 16];
    extra_nonce[..8].copy_from_slice(&salt.to_le_bytes());
    let coinbase = Coinbase {
        version: COINBASE_VERSION,
        height,
        extra_nonce,
        outputs,
    };
    let attachments = Attachments::default();
    let extension = Extension {
        ext_version: EXTENSION_VERSION,
        height,
        state_root: state.root(),
        tx_count: transactions.len() as u32,
        attachments_hash: attachments.hash(),
        ruleset_id: params.ruleset_id(height),
        schedule_hash: params.schedule_hash(height),
        switch: SwitchRecord::default(),
        set_hash: Hash::ZERO,
        next_set_hash: Hash::ZERO,
        proposer: 0,
        proposed_round: 0,
        seed_reveal: BoundedBytes::default(),
        commitments: Vec::new(),
    };
    let ids: Vec<_> = transactions.iter().map(Transaction::ids).collect();
    let tx_root = tx_root(ids.iter().map(|ids| (&ids.txid, &ids.wtxid)));
    let header = Header {
        version: HEADER_VERSION,
        parent: state.tip,
        root: block_root(&coinbase.id(), &extension.hash(), &tx_root),
        time: 1_700_000_000 + height as u32,
        bits: Bits(0x207f_ffff),
        nonce: 0,
    };
    Block {
        header,
        extension,
        coinbase,
        attachments,
        transactions,
    }
}

/// Stores and connects a block as the chain driver does.
pub fn connect(store: &mut ChainStore, block: &Block) -> cairn_storage::Result<BlockId> {
    let faulty = |fault: cairn_protocol::ledger::Fault| {
        cairn_storage::StorageError::Misuse(fault.to_string())
    };
    let params = store.params().clone();
    let checked = CheckedBlock::new(block.clone(), params.limits()).expect("a valid block");
    let id = checked.id();
    store
        .put_header(&id, block.extension.height, &checked.record())
        .map_err(faulty)?;
    store.put_block(&checked).map_err(faulty)?;
    let state = BlockStore::state(store).clone();
    let connected = connect_block(&params, &state, &checked, &*store, &mut Trusting)
        .unwrap_or_else(|error| panic!("block {id} does not connect: {error}"));
    store.connect(&checked, connected).map_err(faulty)?;
    Ok(id)
}

/// Takes the tip off as the chain driver does.
pub fn disconnect(store: &mut ChainStore) -> cairn_storage::Result<Block> {
    let faulty = |fault: cairn_protocol::ledger::Fault| {
        cairn_storage::StorageError::Misuse(fault.to_string())
    };
    let tip = BlockStore::state(store).tip;
    let block = BlockStore::block(store, &tip)
        .map_err(faulty)?
        .expect("the tip's body");
    let undo = BlockStore::undo(store, &tip)
        .map_err(faulty)?
        .expect("the tip's undo data");
    let state = BlockStore::state(store).clone();
    let disconnected = disconnect_block(&state, &block, &undo).map_err(faulty)?;
    store.disconnect(&block, disconnected).map_err(faulty)?;
    Ok(Block::clone(&block))
}
