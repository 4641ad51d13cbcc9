//! Context-free checks: what a transaction or a block can be judged by alone.
//!
//! Invariant: a `CheckedBlock` was bound to its header; its ids were computed once and are right.
//! Rules: `spec/04-transactions.md#context-free`, `spec/05-blocks-and-state.md#body`.

use crate::block::{Attachments, Block, HeaderRecord, block_root};
use crate::codec;
use crate::coinbase::{COINBASE_VERSION, Coinbase, EXTRA_NONCE_BYTES};
use crate::extension::Extension;
use crate::hash::{BlockId, Hash, TxId};
use crate::limits::{COINBASE_BYTES_MAX, HEADER_BYTES, THRESHOLD_KEYS_MAX};
use crate::lock::{Lock, LockRef};
use crate::merkle::tx_root;
use crate::rules::Violation;
use crate::spec::{ChainParams, Limits};
use crate::transaction::{
    BODY_WEIGHT, OutPoint, Output, TRANSACTION_VERSION, Transaction, TransactionIds,
};
use crate::units::{Amount, Weight};
use std::collections::BTreeSet;

/// Checks output `index` (TX-07, TX-08, TX-10, TX-11).
pub fn check_output(index: usize, output: &Output) -> Result<(), Violation> {
    if let Lock::Data(_) = output.lock {
        if output.value != Amount::ZERO {
            return Err(Violation::DataValue {
                index,
                value: output.value,
            });
        }
        return Ok(());
    }
    if output.value == Amount::ZERO {
        return Err(Violation::ZeroValue { index });
    }
    if let LockRef::Threshold(threshold) = output.lock.open().1 {
        let (m, keys) = (threshold.m, &threshold.keys);
        if m == 0 || usize::from(m) > keys.len() || keys.len() > THRESHOLD_KEYS_MAX {
            return Err(Violation::ThresholdBounds {
                m,
                keys: keys.len(),
            });
        }
        if let Some(at) = keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(Violation::ThresholdOrder { index: at + 1 });
        }
    }
    Ok(())
}

/// The checked sum of outputs (TX-09): each value and each running sum within the cap.
pub(super) fn output_sum(outputs: &[Output], cap: Amount) -> Option<Amount> {
    outputs.iter().try_fold(Amount::ZERO, |sum, output| {
        sum.checked_add(output.value).filter(|sum| *sum <= cap)
    })
}

/// Checks a transaction without any context and computes its ids (TX-01 … TX-11).
pub fn check_transaction(tx: &Transaction, limits: &Limits) -> Result<TransactionIds, Violation> {
    let ids = tx.ids();
    check_transaction_with(tx, &ids, limits)?;
    Ok(ids)
}

/// The same for ids that are already there.
fn check_transaction_with(
    tx: &Transaction,
    ids: &TransactionIds,
    limits: &Limits,
) -> Result<(), Violation> {
    if tx.version != TRANSACTION_VERSION {
        return Err(Violation::TransactionVersion {
            version: tx.version,
        });
    }
    if tx.inputs.is_empty() {
        return Err(Violation::NoInputs {});
    }
    if tx.outputs.is_empty() {
        return Err(Violation::NoOutputs {});
    }
    if tx.witnesses.len() != tx.inputs.len() {
        let (witnesses, inputs) = (tx.witnesses.len(), tx.inputs.len());
        return Err(Violation::WitnessCount { witnesses, inputs });
    }
    if ids.weight > limits.transaction_weight_max {
        let (weight, max) = (ids.weight, limits.transaction_weight_max);
        return Err(Violation::TransactionWeight { weight, max });
    }
    check_distinct(&tx.inputs)?;
    for (index, output) in tx.outputs.iter().enumerate() {
        check_output(index, output)?;
    }
    if output_sum(&tx.outputs, limits.money_cap).is_none() {
        return Err(Violation::OutputSum {
            cap: limits.money_cap,
        });
    }
    Ok(())
}

fn check_distinct(inputs: &[OutPoint]) -> Result<(), Violation> {
    // Most transactions have few inputs: comparing them all is cheaper than sorting.
    const FEW: usize = 8;
    let duplicate = if inputs.len() <= FEW {
        (1..inputs.len()).find(|&i| inputs[..i].contains(&inputs[i]))
    } else {
        let mut seen = BTreeSet::new();
        inputs.iter().position(|input| !seen.insert(input))
    };
    duplicate.map_or(Ok(()), |i| {
        Err(Violation::DuplicateInput {
            outpoint: inputs[i],
        })
    })
}

/// A block whose body is bound to its header and breaks no context-free rule.
#[derive(Clone, Debug)]
pub struct CheckedBlock {
    block: Block,
    id: BlockId,
    coinbase_id: TxId,
    tx_root: Hash,
    transaction_ids: Vec<TransactionIds>,
    weight: Weight,
}

impl CheckedBlock {
    /// Checks `block` (BLK-01 … BLK-09, BLK-13 and the rules of its transactions; header and
    /// extension are the engine's, and see [`CheckedBlock::check_engine`]). The rules of mutation
    /// come first: they blame the sender and not the id.
    pub fn new(block: Block, limits: &Limits) -> Result<CheckedBlock, Violation> {
        let ids = block.transactions.iter().map(Transaction::ids).collect();
        CheckedBlock::with_ids(block, ids, limits)
    }

    /// The same for transactions whose ids were computed before, such as the mempool's.
    ///
    /// Panics if the ids are not one per transaction.
    pub fn with_ids(
        block: Block,
        transaction_ids: Vec<TransactionIds>,
        limits: &Limits,
    ) -> Result<CheckedBlock, Violation> {
        assert_eq!(
            transaction_ids.len(),
            block.transactions.len(),
            "one pair of ids per transaction"
        );
        let coinbase_id = block.coinbase.id();
        let tx_root = tx_root(transaction_ids.iter().map(|ids| (&ids.txid, &ids.wtxid)));
        check_binding(&block, &coinbase_id, &tx_root)?;
        let frame = check_frame(
            &block.extension,
            &block.coinbase,
            &block.attachments,
            limits,
        )?;
        let weight = frame + transaction_ids.iter().map(|ids| ids.weight).sum::<Weight>();
        if weight > limits.block_weight_max {
            return Err(Violation::BlockWeight {
                weight,
                max: limits.block_weight_max,
            });
        }
        let mut seen = BTreeSet::new();
        for (index, (tx, ids)) in block.transactions.iter().zip(&transaction_ids).enumerate() {
            check_transaction_with(tx, ids, limits)?;
            if !seen.insert(ids.txid) {
                return Err(Violation::DuplicateTransaction { index });
            }
        }
        let id = block.id();
        Ok(CheckedBlock {
            block,
            id,
            coinbase_id,
            tx_root,
            transaction_ids,
            weight,
        })
    }

    /// Rules that depend on the engine of the block's height (BLK-12, BLK-14).
    pub fn check_engine(&self, params: &ChainParams) -> Result<(), Violation> {
        let block = &self.block;
        check_engine_frame(
            &block.extension,
            &block.coinbase,
            &block.attachments,
            params,
        )
    }

    /// The block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The block, owned.
    pub fn into_block(self) -> Block {
        self.block
    }

    /// Its id.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Id of its coinbase.
    pub fn coinbase_id(&self) -> TxId {
        self.coinbase_id
    }

    /// Root over its transactions.
    pub fn tx_root(&self) -> Hash {
        self.tx_root
    }

    /// Ids of its transactions, in order.
    pub fn transaction_ids(&self) -> &[TransactionIds] {
        &self.transaction_ids
    }

    /// Its weight.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Its header record, without a detached seal.
    pub fn record(&self) -> HeaderRecord {
        record_of(&self.block, self.coinbase_id, self.tx_root)
    }
}

fn record_of(block: &Block, coinbase_id: TxId, tx_root: Hash) -> HeaderRecord {
    let present = |bytes: &crate::block::SealBytes| (!bytes.is_empty()).then(|| bytes.clone());
    HeaderRecord {
        header: block.header,
        coinbase_id,
        tx_root,
        extension: block.extension.clone(),
        parent_seal: present(&block.attachments.parent_seal),
        anchor_cert: present(&block.attachments.anchor_cert),
        seal: None,
    }
}

impl Block {
    /// The header record of a block that needs no check, such as one that was stored.
    pub fn record(&self) -> HeaderRecord {
        let ids: Vec<_> = self.transactions.iter().map(Transaction::ids).collect();
        let tx_root = tx_root(ids.iter().map(|ids| (&ids.txid, &ids.wtxid)));
        record_of(self, self.coinbase.id(), tx_root)
    }
}

/// BLK-01 … BLK-03: whether header and extension commit to this very body.
fn check_binding(block: &Block, coinbase_id: &TxId, tx_root: &Hash) -> Result<(), Violation> {
    let computed = block_root(coinbase_id, &block.extension.hash(), tx_root);
    if block.header.root != computed {
        return Err(Violation::BodyRoot {
            root: block.header.root,
            computed,
        });
    }
    let (claimed, found) = (block.extension.tx_count, block.transactions.len());
    if claimed as usize != found {
        return Err(Violation::TransactionCount { claimed, found });
    }
    let (claimed, computed) = (block.extension.attachments_hash, block.attachments.hash());
    if claimed != computed {
        return Err(Violation::AttachmentsHash { claimed, computed });
    }
    Ok(())
}

/// What a block can be judged by before its transactions are known (BLK-04 … BLK-06, BLK-08, BLK-09,
/// TX-09, and BLK-07 for what is there); returns its weight without them. Whoever forwards a compact
/// block checks this first, and [`check_engine_frame`].
pub fn check_frame(
    extension: &Extension,
    coinbase: &Coinbase,
    attachments: &Attachments,
    limits: &Limits,
) -> Result<Weight, Violation> {
    let coinbase_bytes = coinbase.to_bytes().len();
    check_coinbase(coinbase, extension, coinbase_bytes, limits)?;
    let bytes = HEADER_BYTES
        + codec::encode(extension).len()
        + coinbase_bytes
        + codec::encode(attachments).len();
    let (weight, max) = (BODY_WEIGHT * bytes as u64, limits.block_weight_max);
    if weight > max {
        return Err(Violation::BlockWeight { weight, max });
    }
    Ok(weight)
}

/// The same for the engine that the block claims (BLK-12, BLK-14; whether the claim is right is
/// EXT-04's to say, and whether an anchor certificate may stand there SWT-01's).
pub fn check_engine_frame(
    extension: &Extension,
    coinbase: &Coinbase,
    attachments: &Attachments,
    params: &ChainParams,
) -> Result<(), Violation> {
    let height = extension.height;
    let Attachments {
        parent_seal,
        anchor_cert,
        evidence,
    } = attachments;
    let has_bft = params.has_bft_until(height);
    let is_early = !has_bft && (!parent_seal.is_empty() || !evidence.is_empty());
    let has_switch = anchor_cert.is_empty() || params.may_include_anchor(height);
    if is_early || !has_switch {
        return Err(Violation::AttachmentsUnderPow {});
    }
    let is_zero = coinbase.extra_nonce == [0; EXTRA_NONCE_BYTES];
    if params.is_sealed_ruleset(&extension.ruleset_id) && !is_zero {
        return Err(Violation::ExtraNonce {});
    }
    Ok(())
}

fn check_coinbase(
    coinbase: &Coinbase,
    extension: &Extension,
    bytes: usize,
    limits: &Limits,
) -> Result<(), Violation> {
    if coinbase.version != COINBASE_VERSION {
        return Err(Violation::CoinbaseVersion {
            version: coinbase.version,
        });
    }
    if coinbase.height != extension.height {
        let (height, expected) = (coinbase.height, extension.height);
        return Err(Violation::CoinbaseHeight { height, expected });
    }
    if bytes > COINBASE_BYTES_MAX {
        return Err(Violation::CoinbaseBytes {
            bytes,
            max: COINBASE_BYTES_MAX,
        });
    }
    for (index, output) in coinbase.outputs.iter().enumerate() {
        if !matches!(
            output.lock,
            Lock::Key(_) | Lock::Threshold(_) | Lock::Data(_)
        ) {
            return Err(Violation::CoinbaseLock { index });
        }
        check_output(index, output).map_err(|_| Violation::CoinbaseOutput { index })?;
    }
    if output_sum(&coinbase.outputs, limits.money_cap).is_none() {
        return Err(Violation::OutputSum {
            cap: limits.money_cap,
        });
    }
    Ok(())
}
