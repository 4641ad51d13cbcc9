//! A simulated node: the production chain driver, mempool and signature check over a store in
//! memory.
//!
//! Everything it wants to say goes into an outbox; everything it learns comes through `handle`.
//! Invariants checked here after every move of the tip: total work never falls at rest, no honest
//! peer is blamed, and every transaction of an abandoned block is on the new chain, in the mempool,
//! or in conflict with what is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_consensus::chain::{BlockOutcome, Chain, ChainEvent, MemoryStore, Source};
use cairn_consensus::mempool::{Mempool, Policy, Refusal, Rejection};
use cairn_consensus::nakamoto::Status;
use cairn_consensus::template::Chosen;
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::ledger::{BlockStore, CoinView, SpendContext};
use cairn_protocol::lock::Lock;
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::{CachedCheck, SignatureCache};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_protocol::units::Amount;

use crate::keys::{Scheme, Signer};
use crate::payment::pay;
use crate::report::Report;

/// What nodes say to each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// What follows these ids on your chain?
    GetHeaders(Vec<BlockId>),
    /// Records, each the child of the one before.
    Headers(Vec<HeaderRecord>),
    /// The blocks of these ids, please.
    GetBlocks(Vec<BlockId>),
    /// Blocks, asked for or new.
    Blocks(Vec<Arc<Block>>),
    /// A new transaction.
    Tx(Arc<Transaction>),
}

impl Message {
    /// A short name for traces.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Message::GetHeaders(_) => "get headers",
            Message::Headers(_) => "headers",
            Message::GetBlocks(_) => "get blocks",
            Message::Blocks(_) => "blocks",
            Message::Tx(_) => "transaction",
        }
    }
}

/// Records in one answer: few, so that long branches take several.
const HEADERS_PER_ANSWER: usize = 20;

/// Blocks in one request.
const BLOCKS_PER_REQUEST: usize = 8;

/// A node.
pub struct Node {
    /// Its number; its source towards others is one more.
    pub index: usize,
    /// Its wallet.
    pub signer: Signer,
    /// How far its clock is ahead, in seconds.
    pub skew_s: i64,
    /// Hash power relative to others.
    pub power: u64,
    /// The chain.
    pub chain: Chain<MemoryStore>,
    /// The mempool.
    pub mempool: Mempool,
    scheme: Scheme,
    check: CachedCheck<Scheme>,
    mined: u64,
    /// Sources at or above this are the adversary's.
    honest: usize,
    /// What it wants to say: receiver (`None`: everyone) and message.
    pub outbox: Vec<(Option<usize>, Message)>,
    /// Transactions of abandoned blocks in the move under way.
    abandoned: Vec<Transaction>,
}

impl Node {
    /// A new node at genesis among `honest` honest ones.
    #[must_use]
    pub fn new(
        params: Arc<ChainParams>,
        scheme: Scheme,
        index: usize,
        honest: usize,
        signer: Signer,
    ) -> Node {
        let store = MemoryStore::new(&params);
        Node {
            index,
            signer,
            skew_s: 0,
            power: 1,
            chain: open(params, store, index),
            mempool: Mempool::new(Policy::default()),
            scheme,
            check: CachedCheck::new(scheme, SignatureCache::new(10_000, (index as u64, 1))),
            mined: 0,
            honest,
            outbox: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// A crash: all but the store is lost.
    pub fn restart(&mut self) {
        let (params, store) = (Arc::clone(self.chain.params()), self.chain.store().clone());
        self.chain = open(params, store, self.index);
        self.mempool = Mempool::new(Policy::default());
        self.outbox.clear();
    }

    /// How it checks signatures.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Seconds since 1970 on this node's clock.
    #[must_use]
    pub fn now(&self, world_ms: u64) -> u32 {
        let genesis = i64::from(self.chain.params().genesis().header.time);
        (genesis + 1_000 + (world_ms / 1_000) as i64 + self.skew_s) as u32
    }

    /// Takes a message from `from`.
    pub fn handle(&mut self, now: u32, from: usize, message: Message, report: &mut Report) {
        match message {
            Message::GetHeaders(locator) => self.serve_headers(from, &locator),
            Message::GetBlocks(ids) => self.serve_blocks(from, &ids),
            Message::Headers(records) => self.take_headers(now, from, &records, report),
            Message::Blocks(blocks) => self.take_blocks(now, from, blocks, report),
            Message::Tx(transaction) => {
                self.take_transaction(now, Some(from), transaction, report);
            }
        }
    }

    /// What a node does from time to time: take held blocks, ask someone what is new.
    pub fn tick(&mut self, now: u32, peer: usize, report: &mut Report) {
        for (_, source, outcome) in self.chain.release_held(now).expect("memory does not fail") {
            report.count("held blocks released");
            self.judge(source, &outcome);
        }
        self.advance(now, report);
        self.outbox
            .push((Some(peer), Message::GetHeaders(self.chain.locator())));
        self.ask_for_bodies(peer);
    }

    /// Finds a block on the tip at once: simulated mining decides when, not how.
    pub fn mine(&mut self, now: u32, report: &mut Report) {
        let limits = self.chain.params().limits();
        let selection = self.mempool.select(limits.block_weight_max - 20_000);
        let chosen: Vec<Chosen<'_>> = selection
            .transactions
            .iter()
            .map(|s| Chosen {
                transaction: &s.transaction,
                ids: &s.ids,
                fee: s.fee,
            })
            .collect();
        let template = self
            .chain
            .template(now, &self.signer.lock(), &chosen)
            .expect("a time is left");
        self.mined += 1;
        let mut extra_nonce = [0; 16];
        extra_nonce[..8].copy_from_slice(&self.mined.to_le_bytes());
        extra_nonce[8] = self.index as u8;
        let block = solve(self.chain.params(), template.solved(extra_nonce, 0));
        let outcome = self
            .chain
            .accept_block(now, block, Source::LOCAL)
            .expect("memory does not fail");
        match outcome {
            BlockOutcome::Stored { .. } => report.count("blocks mined"),
            // The median ran ahead of this node's slow clock by more than the bound.
            BlockOutcome::Held { .. } | BlockOutcome::Refused(_) => report.count("own blocks held"),
            other => panic!("node {} made a block that is {other:?}", self.index),
        }
        self.advance(now, report);
    }

    /// Pays a part of one of its coins to `to`. Returns whether it had one.
    pub fn spend(&mut self, now: u32, pick: u64, to: &Lock, report: &mut Report) -> bool {
        let Some((outpoint, coin)) = self.spendable(pick) else {
            return false;
        };
        let fee = Amount(1_000 + pick % 5_000);
        let value = Amount((coin.value.0 - fee.0) / 2);
        let chain_id = self.chain.params().chain_id();
        let transaction = pay(chain_id, &self.signer, (outpoint, &coin), to, value, fee);
        report.count("payments");
        self.take_transaction(now, None, Arc::new(transaction), report)
    }

    fn spendable(&self, pick: u64) -> Option<(OutPoint, cairn_protocol::transaction::Output)> {
        let (height, maturity) = (
            self.chain.tip().height + 1,
            self.chain.params().limits().coinbase_maturity,
        );
        let lock = self.signer.lock();
        let coins = self.chain.store().coins().iter();
        let mine: Vec<_> = coins
            .filter(|(_, coin)| coin.output.lock == lock && coin.output.value.0 > 100_000)
            .filter(|(_, coin)| !coin.is_coinbase || coin.height + maturity <= height)
            .filter(|(outpoint, _)| self.mempool.spender(outpoint).is_none())
            .collect();
        let (outpoint, coin) = mine.get(pick as usize % mine.len().max(1))?;
        Some((**outpoint, coin.output.clone()))
    }

    fn serve_headers(&mut self, to: usize, locator: &[BlockId]) {
        let ids = self
            .chain
            .ids_after(locator, &BlockId::ZERO, HEADERS_PER_ANSWER);
        let record = |id| {
            self.chain
                .store()
                .header(id)
                .expect("memory")
                .expect("connected")
        };
        let records: Vec<HeaderRecord> = ids.iter().map(record).collect();
        if !records.is_empty() {
            self.outbox.push((Some(to), Message::Headers(records)));
        }
    }

    fn serve_blocks(&mut self, to: usize, ids: &[BlockId]) {
        // Only blocks that were connected are served: what was not judged is not passed on.
        let connected = ids.iter().filter(|id| self.chain.is_connected(id));
        let block = |id| {
            self.chain
                .store()
                .block(id)
                .expect("memory")
                .expect("connected")
        };
        let blocks: Vec<Arc<Block>> = connected.map(block).collect();
        if !blocks.is_empty() {
            self.outbox.push((Some(to), Message::Blocks(blocks)));
        }
    }

    fn take_headers(
        &mut self,
        now: u32,
        from: usize,
        records: &[HeaderRecord],
        report: &mut Report,
    ) {
        let outcome = self
            .chain
            .accept_headers(now, records)
            .expect("memory does not fail");
        report.add("headers accepted", outcome.added as u64);
        match &outcome.violation {
            Some(Violation::UnknownParent { .. }) => {
                self.outbox
                    .push((Some(from), Message::GetHeaders(self.chain.locator())));
            }
            Some(violation) if violation.is_temporary() => report.count("headers held back"),
            Some(violation) => self.blame(from, violation, report),
            None => {}
        }
        // A full batch has more behind it, also when an earlier try brought all of it.
        if outcome.added + outcome.known == HEADERS_PER_ANSWER {
            let mut locator = self.chain.locator();
            locator.insert(0, outcome.last.expect("the whole batch is in the tree"));
            self.outbox.push((Some(from), Message::GetHeaders(locator)));
        }
        self.ask_for_bodies(from);
    }

    fn take_blocks(&mut self, now: u32, from: usize, blocks: Vec<Arc<Block>>, report: &mut Report) {
        for block in blocks {
            let known = self.chain.status(&block.id());
            if matches!(known, Some(Status::Stored | Status::Connected)) {
                continue;
            }
            let outcome = self
                .chain
                .accept_block(now, Block::clone(&block), source_of(from));
            let outcome = outcome.expect("memory does not fail");
            match &outcome {
                BlockOutcome::Stored { orphans } => report.add("orphans adopted", *orphans as u64),
                BlockOutcome::Orphan { .. } => {
                    report.count("orphans");
                    self.outbox
                        .push((Some(from), Message::GetHeaders(self.chain.locator())));
                }
                BlockOutcome::Held { .. } => report.count("blocks held"),
                BlockOutcome::Invalid(violation) if !violation.is_temporary() => {
                    self.blame(from, violation, report);
                }
                _ => {}
            }
            self.advance(now, report);
        }
        self.ask_for_bodies(from);
    }

    fn ask_for_bodies(&mut self, peer: usize) {
        let missing = self.chain.missing_bodies(BLOCKS_PER_REQUEST);
        if !missing.is_empty() {
            let ids = missing.into_iter().map(|(_, id)| id).collect();
            self.outbox.push((Some(peer), Message::GetBlocks(ids)));
        }
    }

    /// Offers a transaction to the mempool and passes it on if it is taken.
    pub fn take_transaction(
        &mut self,
        now: u32,
        from: Option<usize>,
        transaction: Arc<Transaction>,
        report: &mut Report,
    ) -> bool {
        let params = Arc::clone(self.chain.params());
        let context = context(&params, &self.chain);
        let (store, now) = (self.chain.store(), u64::from(now));
        let prepared = self
            .mempool
            .prepare(now, Arc::clone(&transaction), store, &context);
        let result = prepared.and_then(|candidate| {
            let scheme = &mut self.check;
            let known =
                |jobs: &[_]| cairn_protocol::signature::SignatureCheck::verify(scheme, jobs);
            match candidate_verdict(&candidate, known) {
                Ok(()) => self
                    .mempool
                    .insert(now, candidate.verified(), store, &context),
                Err(violation) => Err(Rejection::Invalid(violation)),
            }
        });
        match result {
            Ok(_) => {
                report.count("transactions accepted");
                self.outbox.push((None, Message::Tx(transaction)));
                true
            }
            Err(Rejection::Invalid(violation)) => {
                match from {
                    // A coin may be gone on our branch and alive on the sender's.
                    Some(from) if !matches!(violation, Violation::MissingCoin { .. }) => {
                        self.blame(from, &violation, report);
                    }
                    _ => {}
                }
                false
            }
            Err(Rejection::Refused(_)) => false,
            Err(Rejection::Fault(fault)) => panic!("memory does not fail: {fault}"),
        }
    }

    fn judge(&self, source: Source, outcome: &BlockOutcome) {
        let BlockOutcome::Invalid(violation) = outcome else {
            return;
        };
        let honest = source.0 <= self.honest as u64;
        assert!(
            !honest || violation.is_temporary(),
            "source {source:?} is honest: {violation}"
        );
    }

    fn blame(&self, from: usize, violation: &Violation, report: &mut Report) {
        assert!(
            from >= self.honest,
            "node {} blames honest node {from}: {violation}",
            self.index
        );
        report.count("the adversary blamed");
    }

    fn advance(&mut self, now: u32, report: &mut Report) {
        let before = self.chain.tip();
        let mut events = Vec::new();
        self.chain
            .advance(&mut self.check, &mut events)
            .expect("memory does not fail");
        for event in events {
            self.follow(now, event, report);
        }
        assert!(
            self.chain.tip().work >= before.work,
            "work fell at node {}",
            self.index
        );
    }

    fn follow(&mut self, now: u32, event: ChainEvent, report: &mut Report) {
        match event {
            ChainEvent::Connected(connected) => {
                let block = connected.block.block();
                let ids = connected.block.transaction_ids();
                self.mempool
                    .block_connected(connected.height, &block.transactions, ids);
                report.count("blocks connected");
                report.add("transactions connected", block.transactions.len() as u64);
                let announced = Message::Blocks(vec![Arc::new(block.clone())]);
                self.outbox.push((None, announced));
            }
            ChainEvent::Disconnected(disconnected) => {
                let transactions = &disconnected.block.transactions;
                self.mempool
                    .block_disconnected(disconnected.height, transactions);
                self.abandoned.extend(transactions.iter().cloned());
                report.count("blocks disconnected");
            }
            ChainEvent::Invalid(invalid) => {
                report.count("invalid blocks found at connection");
                if let Some(Source(source)) = invalid.source {
                    assert!(
                        source > self.honest as u64,
                        "honest source {source}: {}",
                        invalid.violation
                    );
                }
            }
            ChainEvent::TipChanged(change) => {
                let params = Arc::clone(self.chain.params());
                let context = context(&params, &self.chain);
                let changed =
                    self.mempool
                        .tip_changed(u64::from(now), self.chain.store(), &context);
                changed.expect("memory does not fail");
                if change.depth > 0 {
                    report.count("reorganisations");
                    report.at_least("max reorganisation depth", change.depth);
                }
                self.check_abandoned(now, report);
            }
        }
    }

    /// Every transaction of an abandoned block is confirmed, waiting, or impossible now.
    fn check_abandoned(&mut self, now: u32, report: &mut Report) {
        let abandoned = std::mem::take(&mut self.abandoned);
        // A descendant of an impossible transaction is impossible too; blocks come newest first.
        let mut impossible: BTreeSet<TxId> = BTreeSet::new();
        let mut left: Vec<&Transaction> = abandoned.iter().collect();
        loop {
            let before = left.len();
            left.retain(|transaction| {
                let txid = transaction.txid();
                if self.mempool.get(&txid).is_some() {
                    report.count("transactions returned to the mempool");
                    return false;
                }
                let confirmed = (0..transaction.outputs.len())
                    .any(|index| self.coin_exists(&Transaction::outpoint(txid, index)));
                let dead_input = transaction.inputs.iter().any(|input| {
                    impossible.contains(&input.txid)
                        || self.mempool.spender(input).is_some()
                        || !self.coin_exists(input) && self.mempool.get(&input.txid).is_none()
                });
                if confirmed {
                    report.count("transactions on both branches");
                } else if dead_input {
                    impossible.insert(txid);
                    report.count("transactions lost to a conflict");
                }
                !(confirmed || dead_input)
            });
            if left.is_empty() {
                return;
            }
            if left.len() == before {
                let why = self.why_not(now, left[0]);
                let refused = matches!(why, Rejection::Refused(Refusal::ClusterCount { .. }));
                assert!(
                    refused,
                    "transaction {} was lost in a reorganisation: {why}",
                    left[0].txid()
                );
                // A chain of more payments than one cluster may hold: its owner sends the rest
                // again.
                impossible.insert(left.remove(0).txid());
                report.count("transactions over the cluster limit");
            }
        }
    }

    /// The mempool's answer to a transaction that it does not have.
    fn why_not(&mut self, now: u32, transaction: &Transaction) -> Rejection {
        let params = Arc::clone(self.chain.params());
        let context = context(&params, &self.chain);
        let transaction = Arc::new(transaction.clone());
        let answer =
            self.mempool
                .prepare(u64::from(now), transaction, self.chain.store(), &context);
        answer.expect_err("it would be taken now, and was not")
    }

    fn coin_exists(&self, outpoint: &OutPoint) -> bool {
        self.chain
            .store()
            .coin(outpoint)
            .expect("memory does not fail")
            .is_some()
    }
}

/// The source that a node is to others.
#[must_use]
pub fn source_of(index: usize) -> Source {
    Source(index as u64 + 1)
}

fn open(params: Arc<ChainParams>, store: MemoryStore, index: usize) -> Chain<MemoryStore> {
    Chain::open(params, store, [index as u8; 32]).expect("a sound store")
}

fn context<'a>(params: &'a ChainParams, chain: &Chain<MemoryStore>) -> SpendContext<'a> {
    SpendContext {
        chain_id: params.chain_id(),
        limits: params.limits(),
        height: chain.tip().height + 1,
        parent_time: chain.median_time_past(),
    }
}

fn candidate_verdict(
    candidate: &cairn_consensus::mempool::Candidate,
    mut verify: impl FnMut(&[cairn_protocol::signature::SignatureJob]) -> Result<(), usize>,
) -> Result<(), Violation> {
    verify(candidate.signatures()).map_err(|at| candidate.bad_signature(at))
}

/// Finds the nonce: two tries on average.
#[must_use]
pub fn solve(params: &ChainParams, mut block: Block) -> Block {
    let target = block
        .header
        .bits
        .to_target()
        .expect("the retarget's bits are a target");
    while params
        .timing()
        .pow_function
        .digest(&block.header.to_bytes())
        > target
    {
        block.header.nonce += 1;
    }
    block
}
