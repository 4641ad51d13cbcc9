//! Block templates for proof of work: a whole block but for its nonce.
//!
//! Invariant: a solved template passes every rule of headers and blocks on the tip it was made for,
//! if the chosen transactions are valid there in their order; a caller who chose wrongly loses a
//! block, nothing else.
//!
//! Rules: `spec/05-blocks-and-state.md#block`, `spec/06-proof-of-work.md#time`.

use cairn_protocol::block::{Attachments, Block, block_root};
use cairn_protocol::coinbase::{COINBASE_VERSION, Coinbase, EXTRA_NONCE_BYTES};
use cairn_protocol::extension::{EXTENSION_VERSION, Extension, SwitchRecord};
use cairn_protocol::hash::Hash;
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::lock::Lock;
use cairn_protocol::merkle::tx_root;
use cairn_protocol::pow::{Bits, Target};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::{Output, Transaction, TransactionIds};
use cairn_protocol::units::{Amount, Height};

use crate::chain::Chain;
use crate::time::template_time;

/// A transaction chosen for a block, after everything that it spends.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Its ids.
    pub ids: &'a TransactionIds,
    /// Its fee.
    pub fee: Amount,
}

/// A block that waits for its nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTemplate {
    /// The block with nonce and extra-nonce zero; its root is right for that extra-nonce.
    pub block: Block,
    /// Root over the transactions, for whoever rolls the extra-nonce.
    pub tx_root: Hash,
    /// Hash of the extension, likewise.
    pub extension_hash: Hash,
    /// The highest digest that solves it.
    pub target: Target,
    /// What the coinbase claims: subsidy and fees.
    pub reward: Amount,
}

/// Why no template can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No 32-bit time is greater than the median of the last eleven.
    #[error("no time is left after the median {median}")]
    TimeExhausted {
        /// The median.
        median: u32,
    },
    /// The fees and the subsidy exceed 64 bits: they were never checked against coins.
    #[error("fees of the chosen transactions exceed 64 bits")]
    FeesOverflow,
}

impl BlockTemplate {
    /// A template on `state` with `bits`, whose reward goes to `reward_lock`.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(
        params: &ChainParams,
        state: &LedgerState,
        bits: Bits,
        now: u32,
        reward_lock: &Lock,
        chosen: &[Chosen<'_>],
    ) -> Result<BlockTemplate, TemplateError> {
        let height = state.height + 1;
        let median = state.engine.median_time();
        let time = template_time(median, now).ok_or(TemplateError::TimeExhausted { median })?;
        let reward = Amount::checked_sum(chosen.iter().map(|chosen| chosen.fee))
            .and_then(|fees| fees.checked_add(params.subsidy(height, state.engine.issued)))
            .ok_or(TemplateError::FeesOverflow)?;
        let attachments = Attachments::default();
        let extension = extension(params, state, height, chosen.len(), attachments.hash());
        let coinbase = coinbase(height, reward, reward_lock);
        let tx_root = tx_root(
            chosen
                .iter()
                .map(|chosen| (&chosen.ids.txid, &chosen.ids.wtxid)),
        );
        let extension_hash = extension.hash();
        let header = Header {
            version: HEADER_VERSION,
            parent: state.tip,
            root: block_root(&coinbase.id(), &extension_hash, &tx_root),
            time,
            bits,
            nonce: 0,
        };
        let transactions = chosen
            .iter()
            .map(|chosen| chosen.transaction.clone())
            .collect();
        let block = Block {
            header,
            extension,
            coinbase,
            attachments,
            transactions,
        };
        let target = bits.to_target().expect("the retarget's bits are a target");
        Ok(BlockTemplate {
            block,
            tx_root,
            extension_hash,
            target,
            reward,
        })
    }

    /// The block with the extra-nonce and nonce that a search found.
    #[must_use]
    pub fn solved(&self, extra_nonce: [u8; EXTRA_NONCE_BYTES], nonce: u32) -> Block {
        let mut block = self.block.clone();
        block.coinbase.extra_nonce = extra_nonce;
        block.header.root = block_root(&block.coinbase.id(), &self.extension_hash, &self.tx_root);
        block.header.nonce = nonce;
        block
    }
}

impl<S: BlockStore> Chain<S> {
    /// A template on the connected tip; see [`BlockTemplate::new`].
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn template(
        &self,
        now: u32,
        reward_lock: &Lock,
        chosen: &[Chosen<'_>],
    ) -> Result<BlockTemplate, TemplateError> {
        BlockTemplate::new(
            self.params(),
            self.state(),
            self.next_bits(),
            now,
            reward_lock,
            chosen,
        )
    }
}

fn extension(
    params: &ChainParams,
    state: &LedgerState,
    height: Height,
    transactions: usize,
    attachments_hash: Hash,
) -> Extension {
    Extension {
        ext_version: EXTENSION_VERSION,
        height,
        state_root: state.root(),
        tx_count: u32::try_from(transactions).expect("a block holds fewer than 2^32 transactions"),
        attachments_hash,
        ruleset_id: params.ruleset_id(height),
        schedule_hash: params.schedule_hash(height),
        switch: SwitchRecord::default(),
        set_hash: Hash::ZERO,
        next_set_hash: Hash::ZERO,
        proposer: 0,
        proposed_round: 0,
        seed_reveal: Default::default(),
        commitments: Vec::new(),
    }
}

/// A coinbase of one output, or of none if there is nothing to claim: a coin of value 0 breaks a
/// rule.
fn coinbase(height: Height, reward: Amount, lock: &Lock) -> Coinbase {
    let output = Output {
        value: reward,
        lock: lock.clone(),
    };
    let outputs = if reward == Amount::ZERO {
        Vec::new()
    } else {
        vec![output]
    };
    Coinbase {
        version: COINBASE_VERSION,
        height,
        extra_nonce: [0; EXTRA_NONCE_BYTES],
        outputs,
    }
}
