//! What the tests of the chain driver share: a chain with trivial targets, keys, payments and
//! blocks made on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_consensus::chain::{BlockOutcome, Chain, ChainEvent, MemoryStore, Source};
use cairn_consensus::template::Chosen;
use cairn_protocol::address::key_hash;
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::BlockId;
use cairn_protocol::header::Header;
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::pow::Bits;
use cairn_protocol::signature::{CachedCheck, Ed25519, PublicKey, Signature, SignatureCache};
use cairn_protocol::spec::{ChainParams, Funded, SpecFile, builtin};
use cairn_protocol::transaction::{
    OutPoint, Output, SighashBase, TRANSACTION_VERSION, Transaction,
};
use cairn_protocol::units::Amount;

/// Two hashes find a block.
pub const EASY: Bits = Bits(0x207f_ffff);

/// Nodes made so far: two of them never find the same block.
static NODES: AtomicU64 = AtomicU64::new(0);

/// A peer that is not us.
pub const PEER: Source = Source(7);

/// A key of its own number.
pub struct Key(ed25519_zebra::SigningKey);

impl Key {
    pub fn new(number: u8) -> Key {
        Key(ed25519_zebra::SigningKey::from([number; 32]))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(ed25519_zebra::VerificationKeyBytes::from(&self.0).into())
    }

    pub fn lock(&self) -> Lock {
        Lock::Key(key_hash(&self.public()))
    }
}

/// The specification of the tests: devnet, easy, maturity 2, key 1 funded.
pub fn spec() -> SpecFile {
    let mut file = builtin::devnet_file();
    file.genesis.bits = EASY;
    file.schedule[0].initial_bits = EASY;
    file.limits.coinbase_maturity = 2;
    let network = file.network;
    let address = cairn_protocol::address::Address::of_key(network, &Key::new(1).public());
    file.funded = vec![Funded {
        address: address.to_string(),
        amount: Amount::from_crn(1_000),
    }];
    file
}

/// One node: a chain over memory, its signature check and a clock.
pub struct Node {
    pub chain: Chain<MemoryStore>,
    pub signatures: CachedCheck<Ed25519>,
    pub now: u32,
    mined: u64,
    number: u64,
}

impl Node {
    pub fn new() -> Node {
        Node::with(spec())
    }

    pub fn with(file: SpecFile) -> Node {
        let params = Arc::new(ChainParams::new(file).expect("a valid specification"));
        let now = params.genesis().header.time + 1_000_000;
        let store = MemoryStore::new(&params);
        let chain = Chain::open(params, store, [9; 32]).expect("a new store");
        let signatures = CachedCheck::new(Ed25519, SignatureCache::new(1_000, (1, 2)));
        Node {
            chain,
            signatures,
            now,
            mined: 0,
            number: NODES.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Gives what this node knows to another of the same chain: all blocks of its connected chain.
    pub fn blocks(&self, from: u64) -> Vec<Block> {
        (from..=self.chain.tip().height)
            .map(|height| self.block_at(height))
            .collect()
    }

    pub fn block_at(&self, height: u64) -> Block {
        use cairn_protocol::ledger::BlockStore;
        let id = self.chain.connected_at(height).expect("on the chain").id;
        Block::clone(&self.chain.store().block(&id).unwrap().expect("stored"))
    }

    pub fn records(&self, from: u64) -> Vec<HeaderRecord> {
        self.blocks(from).iter().map(Block::record).collect()
    }

    /// A solved block on the tip, not yet taken in. Every call makes another one.
    pub fn next_block(&mut self, transactions: &[Transaction]) -> Block {
        self.next_block_at(self.now, transactions)
    }

    pub fn next_block_at(&mut self, time: u32, transactions: &[Transaction]) -> Block {
        let ids: Vec<_> = transactions.iter().map(Transaction::ids).collect();
        let chosen: Vec<_> = transactions
            .iter()
            .zip(&ids)
            .map(|(transaction, ids)| Chosen {
                transaction,
                ids,
                fee: Amount(0),
            })
            .collect();
        let template = self
            .chain
            .template(time, &Key::new(2).lock(), &chosen)
            .expect("a template");
        self.mined += 1;
        let mut extra_nonce = [0; 16];
        extra_nonce[..8].copy_from_slice(&self.mined.to_le_bytes());
        // Nodes of one test must not find each other's blocks.
        extra_nonce[8..].copy_from_slice(&self.number.to_le_bytes());
        solve(self.chain.params(), template.solved(extra_nonce, 0))
    }

    pub fn mine(&mut self, count: usize) -> Vec<Block> {
        self.mine_with(count, &[])
    }

    pub fn mine_with(&mut self, count: usize, transactions: &[Transaction]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for at in 0..count {
            let block = self.next_block(if at == 0 { transactions } else { &[] });
            assert_eq!(
                self.give_from(block.clone(), Source::LOCAL),
                BlockOutcome::Stored { orphans: 0 }
            );
            self.advance();
            assert_eq!(
                self.chain.tip().id,
                block.id(),
                "a mined block becomes the tip"
            );
            blocks.push(block);
        }
        blocks
    }

    pub fn give(&mut self, block: Block) -> BlockOutcome {
        self.give_from(block, PEER)
    }

    pub fn give_from(&mut self, block: Block, source: Source) -> BlockOutcome {
        self.chain
            .accept_block(self.now, block, source)
            .expect("memory does not fail")
    }

    pub fn advance(&mut self) -> Vec<ChainEvent> {
        let mut events = Vec::new();
        self.chain
            .advance(&mut self.signatures, &mut events)
            .expect("memory does not fail");
        events
    }

    /// Takes in all blocks and moves the tip after each.
    pub fn take(&mut self, blocks: &[Block]) -> Vec<ChainEvent> {
        let mut events = Vec::new();
        for block in blocks {
            self.give(block.clone());
            events.extend(self.advance());
        }
        events
    }

    /// A payment of a whole coin of `owner` to `to`, less `fee`.
    pub fn pay(&self, owner: &Key, outpoint: OutPoint, to: &Lock, fee: u64) -> Transaction {
        let coin = self
            .chain
            .store()
            .coins()
            .get(&outpoint)
            .expect("an unspent coin")
            .clone();
        let value = Amount(coin.output.value.0 - fee);
        spend(
            self.chain.params().chain_id(),
            owner,
            outpoint,
            &coin.output,
            to,
            value,
        )
    }

    /// The funded coin of key 1.
    pub fn funded(&self) -> OutPoint {
        self.chain.params().genesis_coins()[0].0
    }
}

/// A signed payment of `value` out of one coin.
pub fn spend(
    chain_id: BlockId,
    owner: &Key,
    outpoint: OutPoint,
    spent: &Output,
    to: &Lock,
    value: Amount,
) -> Transaction {
    let mut transaction = Transaction {
        version: TRANSACTION_VERSION,
        inputs: vec![outpoint],
        outputs: vec![Output {
            value,
            lock: to.clone(),
        }],
        valid_from: At::Height(0),
        witnesses: Vec::new(),
    };
    let sighash = SighashBase::new(chain_id, transaction.txid(), [spent]).sighash(0);
    let signature = Signature(owner.0.sign(&sighash).into());
    transaction.witnesses.push(Witness::Key {
        key: owner.public(),
        signature,
    });
    transaction
}

/// Finds the nonce.
pub fn solve(params: &ChainParams, mut block: Block) -> Block {
    block.header = solve_header(params, block.header);
    block
}

pub fn solve_header(params: &ChainParams, mut header: Header) -> Header {
    let target = header.bits.to_target().expect("bits of a test");
    while params.timing().pow_function.digest(&header.to_bytes()) > target {
        header.nonce += 1;
    }
    header
}

/// Binds a header to a changed body again, and solves it.
pub fn rebind(params: &ChainParams, mut block: Block) -> Block {
    block.extension.tx_count = block.transactions.len() as u32;
    let ids: Vec<_> = block.transactions.iter().map(Transaction::ids).collect();
    let tx_root = cairn_protocol::merkle::tx_root(ids.iter().map(|ids| (&ids.txid, &ids.wtxid)));
    let extension_hash = block.extension.hash();
    block.header.root =
        cairn_protocol::block::block_root(&block.coinbase.id(), &extension_hash, &tx_root);
    solve(params, block)
}

/// Names of the events in order, short: `+h` connected, `-h` disconnected, `!h` invalid, `=depth`
/// tip changed.
pub fn short(events: &[ChainEvent]) -> String {
    let word = |event: &ChainEvent| match event {
        ChainEvent::Connected(block) => format!("+{}", block.height),
        ChainEvent::Disconnected(block) => format!("-{}", block.height),
        ChainEvent::Invalid(block) => format!("!{}", block.height),
        ChainEvent::TipChanged(change) => format!("={}", change.depth),
    };
    events.iter().map(word).collect::<Vec<_>>().join(" ")
}
