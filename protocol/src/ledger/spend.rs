//! Contextual checks of one transaction: its coins, its witnesses, its fee.
//!
//! Invariant: signatures are collected, not checked, so that a block checks them in one batch after
//! every cheaper rule.
//! Rules: `spec/04-transactions.md#spending`.

use super::check::output_sum;
use super::coin::{Coin, CoinView, Fault};
use super::connect::ConnectError;
use crate::address::key_hash;
use crate::hash::{BlockId, KeyHash, sha256};
use crate::lock::{HashLock, LockRef, Threshold, Witness};
use crate::rules::Violation;
use crate::signature::{PublicKey, Signature, SignatureJob};
use crate::spec::Limits;
use crate::transaction::{SighashBase, Transaction, TransactionIds};
use crate::units::{Amount, Height};

/// Where on the chain a transaction is to stand.
#[derive(Clone, Copy, Debug)]
pub struct SpendContext<'a> {
    /// The chain.
    pub chain_id: BlockId,
    /// Its limits.
    pub limits: &'a Limits,
    /// Height of the block that will contain it.
    pub height: Height,
    /// Median time of that block's parent (PoW), or the parent's time (BFT).
    pub parent_time: u32,
}

/// A transaction that breaks no rule if its signatures are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// What it pays to the block.
    pub fee: Amount,
    /// Its signatures, in input order.
    pub signatures: Vec<SignatureJob>,
    /// The input that each signature belongs to.
    pub signature_inputs: Vec<u32>,
}

/// Finds the coins of all inputs, in order (TX-13).
pub fn spent_coins(tx: &Transaction, view: &dyn CoinView) -> Result<Vec<Coin>, ConnectError> {
    let find = |outpoint| -> Result<Coin, ConnectError> {
        let coin = view
            .coin(outpoint)
            .map_err(|fault: Fault| ConnectError::Fault(fault))?;
        coin.ok_or_else(|| {
            Violation::MissingCoin {
                outpoint: *outpoint,
            }
            .into()
        })
    };
    tx.inputs.iter().map(find).collect()
}

/// Checks a transaction over the `coins` that it spends, in input order (TX-12, TX-14 … TX-21).
/// `signed` says that its witnesses are known to be valid: no signature is collected then.
///
/// Panics if `coins` are not one per input.
pub fn check_spend(
    context: &SpendContext<'_>,
    tx: &Transaction,
    ids: &TransactionIds,
    coins: &[Coin],
    signed: bool,
) -> Result<Spend, Violation> {
    assert_eq!(coins.len(), tx.inputs.len(), "one coin per input");
    let &SpendContext {
        height,
        parent_time,
        limits,
        ..
    } = context;
    if !tx.valid_from.is_reached(height, parent_time) {
        return Err(Violation::NotYetValid {
            valid_from: tx.valid_from,
            height,
            parent_time,
        });
    }
    let fee = check_amounts(tx, coins, limits, height)?;
    let mut spend = Spend {
        fee,
        signatures: Vec::new(),
        signature_inputs: Vec::new(),
    };
    let base = (!signed).then(|| {
        SighashBase::new(
            context.chain_id,
            ids.txid,
            coins.iter().map(|coin| &coin.output),
        )
    });
    for (input, (coin, witness)) in coins.iter().zip(&tx.witnesses).enumerate() {
        let (closed_until, lock) = coin.output.lock.open();
        if let Some(opens) = closed_until.filter(|at| !at.is_reached(height, parent_time)) {
            return Err(Violation::LockNotOpen { input, opens });
        }
        let signers = check_witness(input, lock, witness, height, parent_time)?;
        let Some(base) = &base else { continue };
        let index = u32::try_from(input).expect("inputs are bounded");
        let message = base.sighash(index);
        for (key, signature) in signers {
            spend.signatures.push(SignatureJob {
                key,
                signature,
                message,
            });
            spend.signature_inputs.push(index);
        }
    }
    Ok(spend)
}

/// TX-14 … TX-16: maturity, sums, and the fee that is left.
fn check_amounts(
    tx: &Transaction,
    coins: &[Coin],
    limits: &Limits,
    height: Height,
) -> Result<Amount, Violation> {
    let mut inputs = Amount::ZERO;
    for (outpoint, coin) in tx.inputs.iter().zip(coins) {
        let maturity = limits.coinbase_maturity;
        if coin.is_coinbase && height < coin.height.saturating_add(maturity) {
            let (outpoint, created) = (*outpoint, coin.height);
            return Err(Violation::ImmatureCoinbase {
                outpoint,
                created,
                maturity,
                height,
            });
        }
        inputs = inputs
            .checked_add(coin.output.value)
            .filter(|sum| *sum <= limits.money_cap)
            .ok_or(Violation::InputSum {
                cap: limits.money_cap,
            })?;
    }
    let outputs = output_sum(&tx.outputs, limits.money_cap).ok_or(Violation::OutputSum {
        cap: limits.money_cap,
    })?;
    inputs
        .checked_sub(outputs)
        .ok_or(Violation::Overspend { inputs, outputs })
}

/// TX-17 … TX-21: whether `witness` fits `lock`; the signatures that remain to be checked.
fn check_witness(
    input: usize,
    lock: LockRef<'_>,
    witness: &Witness,
    height: Height,
    parent_time: u32,
) -> Result<Vec<(PublicKey, Signature)>, Violation> {
    match (lock, witness) {
        (LockRef::Key(hash), Witness::Key { key, signature }) => {
            check_key(input, hash, key)?;
            Ok(vec![(*key, *signature)])
        }
        (
            LockRef::Threshold(threshold),
            Witness::Threshold {
                signers,
                signatures,
            },
        ) => check_threshold(input, threshold, *signers, signatures),
        (
            LockRef::HashLock(lock),
            Witness::Claim {
                preimage,
                key,
                signature,
            },
        ) => {
            if sha256(preimage) != lock.digest {
                return Err(Violation::PreimageMismatch { input });
            }
            check_key(input, &lock.claim, key)?;
            Ok(vec![(*key, *signature)])
        }
        (LockRef::HashLock(lock), Witness::Refund { key, signature }) => {
            check_refund(input, lock, key, height, parent_time)?;
            Ok(vec![(*key, *signature)])
        }
        _ => Err(Violation::WitnessKind { input }),
    }
}

fn check_key(input: usize, expected: &KeyHash, key: &PublicKey) -> Result<(), Violation> {
    if key_hash(key) == *expected {
        return Ok(());
    }
    Err(Violation::KeyMismatch {
        input,
        expected: *expected,
    })
}

fn check_refund(
    input: usize,
    lock: &HashLock,
    key: &PublicKey,
    height: Height,
    parent_time: u32,
) -> Result<(), Violation> {
    if !lock.refund_at.is_reached(height, parent_time) {
        return Err(Violation::LockNotOpen {
            input,
            opens: lock.refund_at,
        });
    }
    check_key(input, &lock.refund, key)
}

fn check_threshold(
    input: usize,
    threshold: &Threshold,
    signers: u16,
    signatures: &[Signature],
) -> Result<Vec<(PublicKey, Signature)>, Violation> {
    let (m, keys) = (threshold.m, &threshold.keys);
    let foreign = u32::from(signers) >> keys.len() != 0;
    let count = signers.count_ones() as usize;
    if foreign || count != usize::from(m) || signatures.len() != count {
        let signatures = signatures.len();
        return Err(Violation::ThresholdSigners {
            input,
            signers,
            signatures,
            m,
        });
    }
    let chosen = keys
        .iter()
        .enumerate()
        .filter(|(i, _)| signers >> i & 1 == 1);
    Ok(chosen
        .zip(signatures)
        .map(|((_, key), signature)| (*key, *signature))
        .collect())
}
