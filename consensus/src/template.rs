//! Blocks in the making: templates for proof of work, whole but for their nonce, and the parts that
//! they share with the proposals of `crate::chain`.
//!
//! Invariant: a solved template passes every rule of headers and blocks on the tip it was made for,
//! if the chosen transactions are valid there in their order; a caller who chose wrongly loses a
//! block, nothing else.
//!
//! Rules: `spec/05-blocks-and-state.md#block`, `spec/06-proof-of-work.md#time`.

use cairn_protocol::block::{Attachments, Block, SealBytes, block_root};
use cairn_protocol::coinbase::{COINBASE_VERSION, Coinbase, EXTRA_NONCE_BYTES};
use cairn_protocol::extension::{COMMITMENT_ANCHOR, Commitment, EXTENSION_VERSION, Extension};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::ledger::{BlockStore, Fault};
use cairn_protocol::limits::EVIDENCE_MAX;
use cairn_protocol::lock::Lock;
use cairn_protocol::merkle::tx_root;
use cairn_protocol::pow::{Bits, Target};
use cairn_protocol::spec::{ChainParams, Ruleset};
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The next block is made by another engine than the one that was asked for.
    #[error("block {height} is made by the engine `{engine}`: expected {expected}")]
    OtherEngine {
        /// Height of the next block.
        height: Height,
        /// Its engine.
        engine: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// More evidence than a block carries.
    #[error("{found} pieces of evidence: a block carries at most {EVIDENCE_MAX}")]
    TooMuchEvidence {
        /// Pieces given.
        found: usize,
    },
    /// The store.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The certificates that a block of work carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The seal of its parent, in the first block after a BFT era; empty elsewhere.
    pub parent_seal: SealBytes,
    /// The anchor that its branch includes with it, and the certificate.
    pub anchor: Option<(BlockId, SealBytes)>,
}

/// What a block is made of besides the state that it stands on.
pub(crate) struct Parts<'a> {
    /// The header's time.
    pub time: u32,
    /// The header's bits: zero under BFT.
    pub bits: Bits,
    /// Whom the coinbase pays.
    pub reward_lock: &'a Lock,
    /// Transactions.
    pub chosen: &'a [Chosen<'a>],
    /// Seals and evidence.
    pub attachments: Attachments,
    /// Proposer and round of a BFT block; zero under proof of work.
    pub proposer: (u16, u32),
    /// The anchor whose certificate is among the attachments.
    pub anchor: Option<BlockId>,
}

/// A block on `state`, with what the coinbase claims.
pub(crate) fn block_of(
    params: &ChainParams,
    state: &LedgerState,
    parts: Parts<'_>,
) -> Result<(Block, Amount), TemplateError> {
    let (height, chosen) = (state.height + 1, parts.chosen);
    let (issued, parent_time) = (state.engine.issued, state.engine.last_time());
    let rules = state.rules(params);
    let subsidy = rules.subsidy(issued, parent_time, parts.time);
    let reward = Amount::checked_sum(chosen.iter().map(|chosen| chosen.fee))
        .and_then(|fees| fees.checked_add(subsidy))
        .ok_or(TemplateError::FeesOverflow)?;
    let extension = Extension {
        ext_version: EXTENSION_VERSION,
        height,
        state_root: state.root(),
        tx_count: u32::try_from(chosen.len()).expect("a block holds fewer than 2^32 transactions"),
        attachments_hash: parts.attachments.hash(),
        ruleset_id: rules.ruleset_id(),
        schedule_hash: rules.schedule_hash(),
        switch: rules.switch_record(),
        set_hash: rules.set_hash(),
        next_set_hash: rules.next_set_hash(),
        proposer: parts.proposer.0,
        proposed_round: parts.proposer.1,
        seed_reveal: Default::default(),
        commitments: parts.anchor.map(anchor_commitment).into_iter().collect(),
    };
    let coinbase = coinbase(height, reward, parts.reward_lock);
    let ids = chosen
        .iter()
        .map(|chosen| (&chosen.ids.txid, &chosen.ids.wtxid));
    let header = Header {
        version: HEADER_VERSION,
        parent: state.tip,
        root: block_root(&coinbase.id(), &extension.hash(), &tx_root(ids)),
        time: parts.time,
        bits: parts.bits,
        nonce: 0,
    };
    let transactions = chosen.iter().map(|chosen| chosen.transaction.clone());
    let block = Block {
        header,
        extension,
        coinbase,
        attachments: parts.attachments,
        transactions: transactions.collect(),
    };
    Ok((block, reward))
}

impl BlockTemplate {
    /// A template on `state` with `bits`, whose reward goes to `reward_lock`. For a tip without a
    /// seal: see [`BlockTemplate::carrying`].
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
        let tip = (bits, Carried::default());
        BlockTemplate::carrying(params, state, tip, now, reward_lock, chosen)
    }

    /// The same with the certificates that the next block carries.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn carrying(
        params: &ChainParams,
        state: &LedgerState,
        (bits, carried): (Bits, Carried),
        now: u32,
        reward_lock: &Lock,
        chosen: &[Chosen<'_>],
    ) -> Result<BlockTemplate, TemplateError> {
        expect_engine(&state.rules(params), false)?;
        let median = state.engine.median_time();
        let time = template_time(median, now).ok_or(TemplateError::TimeExhausted { median })?;
        let (anchor, anchor_cert) = carried.anchor.unzip();
        let attachments = Attachments {
            parent_seal: carried.parent_seal,
            anchor_cert: anchor_cert.unwrap_or_default(),
            ..Attachments::default()
        };
        let parts = Parts {
            time,
            bits,
            reward_lock,
            chosen,
            attachments,
            proposer: (0, 0),
            anchor,
        };
        let (block, reward) = block_of(params, state, parts)?;
        let ids = chosen
            .iter()
            .map(|chosen| (&chosen.ids.txid, &chosen.ids.wtxid));
        let target = bits.to_target().expect("the retarget's bits are a target");
        Ok(BlockTemplate {
            tx_root: tx_root(ids),
            extension_hash: block.extension.hash(),
            block,
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
        expect_engine(&self.state().rules(self.params()), false)?;
        BlockTemplate::carrying(
            self.params(),
            self.state(),
            (self.next_bits(), self.carried()?),
            now,
            reward_lock,
            chosen,
        )
    }
}

/// Refuses to make a block of another engine than is in force at its height.
pub(crate) fn expect_engine(rules: &Ruleset<'_>, is_bft: bool) -> Result<(), TemplateError> {
    if rules.is_bft() == is_bft {
        return Ok(());
    }
    Err(TemplateError::OtherEngine {
        height: rules.height(),
        engine: rules.engine().name(),
        expected: if is_bft { "a BFT engine" } else { "`pow`" },
    })
}

fn anchor_commitment(anchor: BlockId) -> Commitment {
    Commitment {
        tag: COMMITMENT_ANCHOR,
        hash: Hash(anchor.0),
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
