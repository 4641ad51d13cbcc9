//! A node of a chain that devnet validators seal; all of them sign whatever they are asked to.

use std::sync::Arc;

use cairn_consensus::chain::{BlockOutcome, Chain, ChainEvent, MemoryStore, Source};
use cairn_fixtures::TestKey;
use cairn_fixtures::seal::seal_by_all;
use cairn_protocol::block::{Block, EvidenceBytes, HeaderRecord, SealBytes};
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::signature::{CachedCheck, Ed25519, SignatureCache};
use cairn_protocol::spec::{ChainParams, SpecFile};
use cairn_protocol::units::Height;

pub const PEER: Source = Source(7);

pub struct Node {
    pub chain: Chain<MemoryStore>,
    pub signatures: CachedCheck<Ed25519>,
    pub now: u32,
}

impl Node {
    pub fn new(file: SpecFile) -> Node {
        let params = Arc::new(ChainParams::new(file).expect("a valid specification"));
        let store = MemoryStore::new(&params);
        Node::over(params, store)
    }

    pub fn over(params: Arc<ChainParams>, store: MemoryStore) -> Node {
        let now = params.genesis().header.time + 10_000;
        Node {
            chain: Chain::open(params, store, [9; 32]).expect("a store of this chain"),
            signatures: CachedCheck::new(Ed25519, SignatureCache::new(1_000, (1, 2))),
            now,
        }
    }

    /// The same node after a crash in which every write was durable.
    pub fn restarted(&self) -> Node {
        let store = self.chain.store().clone();
        let mut node = Node::over(self.chain.params().clone(), store);
        node.now = self.now;
        node
    }

    pub fn params(&self) -> &ChainParams {
        self.chain.params()
    }

    pub fn propose(&self, round: u32) -> Block {
        self.propose_with(round, Vec::new())
    }

    pub fn propose_with(&self, round: u32, evidence: Vec<EvidenceBytes>) -> Block {
        let lock = TestKey::new(3).lock();
        self.chain
            .propose(self.now, round, &lock, &[], evidence)
            .expect("a proposal")
    }

    /// The seal of a block by all, decided in `round`.
    pub fn seal(&self, block: &Block, round: u32) -> SealBytes {
        let rules = self.params().claimed_rules(&block.extension);
        seal_by_all(&rules.expect("rules of the chain"), block.id(), round)
    }

    pub fn give(&mut self, block: &Block, seal: Option<&SealBytes>) -> BlockOutcome {
        self.chain
            .accept_sealed_block(self.now, block.clone(), seal, PEER)
            .expect("memory does not fail")
    }

    pub fn advance(&mut self) -> Vec<ChainEvent> {
        let mut events = Vec::new();
        self.chain
            .advance(&mut self.signatures, &mut events)
            .expect("memory does not fail");
        events
    }

    /// Proposes, judges, seals and appends a block; two seconds pass.
    pub fn decide(&mut self) -> Block {
        self.now += 2;
        let block = self.propose(0);
        self.decide_this(block)
    }

    pub fn decide_this(&mut self, block: Block) -> Block {
        self.chain
            .check_proposal(self.now, block.clone(), &mut self.signatures)
            .expect("a good proposal");
        let seal = self.seal(&block, block.extension.proposed_round);
        let outcome = self
            .chain
            .accept_decided(self.now, &block.id(), &seal)
            .expect("memory does not fail");
        assert_eq!(outcome, Some(BlockOutcome::Stored { orphans: 0 }));
        self.advance();
        assert_eq!(self.chain.tip().id, block.id());
        block
    }

    /// Mines a block after a BFT era.
    pub fn mine(&mut self) -> Block {
        self.now += 2;
        let lock = TestKey::new(3).lock();
        let template = self
            .chain
            .template(self.now, &lock, &[])
            .expect("a template");
        let mut block = template.solved([0; 16], 0);
        let function = self.params().timing().pow_function;
        cairn_fixtures::mine(function, &mut block.header);
        assert_eq!(self.give(&block, None), BlockOutcome::Stored { orphans: 0 });
        self.advance();
        assert_eq!(self.chain.tip().id, block.id());
        block
    }

    /// Grows the chain to `height`, whatever engine makes its blocks.
    pub fn grow(&mut self, height: Height) -> Vec<Block> {
        let mut blocks = Vec::new();
        while self.chain.tip().height < height {
            blocks.push(if self.chain.rules().is_bft() {
                self.decide()
            } else {
                self.mine()
            });
        }
        blocks
    }

    /// Records of the connected chain as a peer sends them: the last alone has its own seal.
    pub fn records(&self, from: Height) -> Vec<HeaderRecord> {
        let tip = self.chain.tip();
        let record = |height| {
            let id = self.chain.connected_at(height).expect("connected").id;
            let record = self.chain.store().header(&id).expect("memory");
            let mut record = record.expect("stored");
            if height < tip.height {
                record.seal = None;
            }
            record
        };
        (from..=tip.height).map(record).collect()
    }
}
