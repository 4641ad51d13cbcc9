//! Transactions of the simulated wallets.

use cairn_protocol::hash::BlockId;
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::signature::{PublicKey, Signature};
use cairn_protocol::transaction::{
    OutPoint, Output, SighashBase, TRANSACTION_VERSION, Transaction,
};
use cairn_protocol::units::Amount;

use crate::keys::Signer;

/// A payment of `value` to `to`; the rest of the coin, less `fee`, goes back to its owner.
#[must_use]
pub fn pay(
    chain_id: BlockId,
    owner: &Signer,
    (outpoint, spent): (OutPoint, &Output),
    to: &Lock,
    value: Amount,
    fee: Amount,
) -> Transaction {
    let mut outputs = vec![Output {
        value,
        lock: to.clone(),
    }];
    let change = spent.value.0 - value.0 - fee.0;
    if change > 0 {
        outputs.push(Output {
            value: Amount(change),
            lock: owner.lock(),
        });
    }
    let mut transaction = unsigned(outpoint, outputs);
    let sighash = SighashBase::new(chain_id, transaction.txid(), [spent]).sighash(0);
    let witness = Witness::Key {
        key: owner.public(),
        signature: owner.sign(&sighash),
    };
    transaction.witnesses.push(witness);
    transaction
}

/// What a thief can do: the owner's public key is known from the chain, the signature is noise.
#[must_use]
pub fn forge(
    key: PublicKey,
    outpoint: OutPoint,
    value: Amount,
    to: &Lock,
    noise: [u8; 32],
) -> Transaction {
    let mut transaction = unsigned(
        outpoint,
        vec![Output {
            value,
            lock: to.clone(),
        }],
    );
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&noise);
    transaction.witnesses.push(Witness::Key {
        key,
        signature: Signature(signature),
    });
    transaction
}

fn unsigned(outpoint: OutPoint, outputs: Vec<Output>) -> Transaction {
    Transaction {
        version: TRANSACTION_VERSION,
        inputs: vec![outpoint],
        outputs,
        valid_from: At::Height(0),
        witnesses: Vec::new(),
    }
}
