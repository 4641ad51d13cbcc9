//! A peer that lies: mutated bodies, coinbases that claim too much, blocks without parents, forged
//! payments, side branches of headers. It has work (targets are trivial here) and no keys.

use std::sync::Arc;

use cairn_consensus::template::{BlockTemplate, Chosen};
use cairn_protocol::block::{Block, block_root};
use cairn_protocol::hash::BlockId;
use cairn_protocol::lock::{Lock, Witness};
use cairn_protocol::merkle::tx_root;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::units::Amount;

use crate::keys::{Scheme, Signer};
use crate::node::{Message, Node, solve};
use crate::payment::forge;
use crate::report::Report;
use crate::rng::Rng;

/// The liar.
pub struct Adversary {
    lock: Lock,
    params: Arc<ChainParams>,
}

impl Adversary {
    /// An adversary with an address of its own and nothing on it.
    #[must_use]
    pub fn new(params: Arc<ChainParams>, rng: &mut Rng) -> Adversary {
        // Its scheme has an oracle of its own: what it signs is worth nothing in the world.
        let signer = Signer::new(Scheme::KeyedHash(rng.bytes()), rng.bytes());
        Adversary {
            lock: signer.lock(),
            params,
        }
    }

    /// Where it would like the money to go.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// One attack on what it sees at `victim`.
    pub fn attack(
        &self,
        rng: &mut Rng,
        victim: &Node,
        now: u32,
        report: &mut Report,
    ) -> Option<Message> {
        match rng.below(6) {
            0 => self.mutated(rng, victim, report),
            1 => Some(self.greedy(victim, now, report)),
            2 => Some(self.orphan(rng, victim, now, report)),
            3 => self.forged(rng, victim, report),
            4 => Some(self.header_branch(rng, now, report)),
            _ => self.stolen_block(rng, victim, now, report),
        }
    }

    /// The tip's block with another body under the same header.
    fn mutated(&self, rng: &mut Rng, victim: &Node, report: &mut Report) -> Option<Message> {
        use cairn_protocol::ledger::BlockStore;
        let height = victim.chain.tip().height;
        let back = rng.below(height.clamp(1, 3));
        let id = victim.chain.connected_at(height - back)?.id;
        let stored = victim
            .chain
            .store()
            .block(&id)
            .expect("memory does not fail")?;
        let mut block = Block::clone(&stored);
        match (rng.below(3), block.transactions.first().cloned()) {
            (0, Some(first)) => block.transactions.push(first),
            (1, Some(_)) => {
                let Witness::Key { signature, .. } = &mut block.transactions[0].witnesses[0] else {
                    return None;
                };
                signature.0[5] ^= 1;
            }
            _ => block.coinbase.outputs.first_mut()?.lock = self.lock.clone(),
        }
        report.count("attack: mutated body");
        Some(Message::Blocks(vec![Arc::new(block)]))
    }

    /// A block that pays the adversary a pebble more than there is.
    fn greedy(&self, victim: &Node, now: u32, report: &mut Report) -> Message {
        let mut block = self.template(victim, now, &[]).block;
        block.coinbase.outputs[0].value.0 += 1;
        report.count("attack: greedy coinbase");
        Message::Blocks(vec![Arc::new(self.finish(block))])
    }

    /// A block whose parent does not exist.
    fn orphan(&self, rng: &mut Rng, victim: &Node, now: u32, report: &mut Report) -> Message {
        let mut block = self.template(victim, now, &[]).block;
        block.header.parent = BlockId(rng.bytes());
        report.count("attack: orphan");
        Message::Blocks(vec![Arc::new(solve(&self.params, block))])
    }

    /// A payment out of someone's coin with a signature of noise.
    fn forged(&self, rng: &mut Rng, victim: &Node, report: &mut Report) -> Option<Message> {
        let transaction = self.theft(rng, victim)?;
        report.count("attack: forged payment");
        Some(Message::Tx(Arc::new(transaction)))
    }

    /// A block with a forged payment: good headers and body, and a signature of noise.
    fn stolen_block(
        &self,
        rng: &mut Rng,
        victim: &Node,
        now: u32,
        report: &mut Report,
    ) -> Option<Message> {
        let transaction = self.theft(rng, victim)?;
        let ids = transaction.ids();
        let chosen = [Chosen {
            transaction: &transaction,
            ids: &ids,
            fee: Amount::ZERO,
        }];
        let block = self.template(victim, now, &chosen).block;
        report.count("attack: block with a forged payment");
        Some(Message::Blocks(vec![Arc::new(solve(&self.params, block))]))
    }

    fn theft(&self, rng: &mut Rng, victim: &Node) -> Option<Transaction> {
        let lock = victim.signer.lock();
        let mine = victim
            .chain
            .store()
            .coins()
            .iter()
            .filter(|(_, coin)| coin.output.lock == lock);
        let coins: Vec<_> = mine.filter(|(_, coin)| !coin.is_coinbase).collect();
        if coins.is_empty() {
            return None;
        }
        let (outpoint, coin) = coins[rng.index(coins.len())];
        let value = Amount(coin.output.value.0 - 5_000);
        Some(forge(
            victim.signer.public(),
            *outpoint,
            value,
            &self.lock,
            rng.bytes(),
        ))
    }

    /// A branch of empty headers from genesis: valid by every rule of headers, and of little work.
    fn header_branch(&self, rng: &mut Rng, now: u32, report: &mut Report) -> Message {
        let mut state = self.params.genesis_state().clone();
        let bits = self.params.pow_rules(1).initial_bits;
        let mut records = Vec::new();
        for _ in 0..rng.between(1, 8) {
            let template = BlockTemplate::new(&self.params, &state, bits, now, &self.lock, &[]);
            let mut block = template.expect("a time is left").block;
            block.coinbase.extra_nonce = rng.bytes()[..16].try_into().expect("16 of 32");
            let block = self.finish(block);
            state = LedgerState {
                height: state.height + 1,
                tip: block.id(),
                ..state
            };
            state.engine.push_time(block.header.time);
            records.push(block.record());
        }
        report.add("attack: side headers", records.len() as u64);
        Message::Headers(records)
    }

    fn template(&self, victim: &Node, now: u32, chosen: &[Chosen<'_>]) -> BlockTemplate {
        victim
            .chain
            .template(now, &self.lock, chosen)
            .expect("a time is left")
    }

    /// Binds the header to the body again and finds the nonce.
    fn finish(&self, mut block: Block) -> Block {
        let ids: Vec<_> = block.transactions.iter().map(Transaction::ids).collect();
        let tx_root = tx_root(ids.iter().map(|ids| (&ids.txid, &ids.wtxid)));
        block.header.root = block_root(&block.coinbase.id(), &block.extension.hash(), &tx_root);
        solve(&self.params, block)
    }
}
