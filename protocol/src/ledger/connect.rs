//! Connecting a block to the state after its parent, and taking it off again.
//!
//! Invariant: `disconnect_block` after `connect_block` gives the very state and coins from before;
//! an error changes nothing.
//! Rules: `spec/05-blocks-and-state.md#connect`.

use super::check::{CheckedBlock, output_sum};
use super::coin::{Coin, CoinView, Fault};
use super::evidence::offences;
use super::spend::{SpendContext, check_spend};
use crate::block::Block;
use crate::codec::bounded;
use crate::hash::{TxId, Wtxid};
use crate::lthash::LtHash;
use crate::rules::Violation;
use crate::signature::{SignatureCheck, SignatureJob};
use crate::spec::ChainParams;
use crate::state::{EngineState, LedgerState, Offence};
use crate::transaction::{OutPoint, Output, Transaction};
use crate::units::{Amount, Height};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Coins that a block spends: 4,000,000 weight at 4 x 33 bytes an input, rounded up.
const SPENT_MAX: usize = 31_000;

/// What takes a block off again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockUndo {
    /// Every coin that the block's inputs spend, in order, those created in the block included.
    #[serde(deserialize_with = "bounded::<_, _, SPENT_MAX>")]
    pub spent: Vec<Coin>,
    /// The engine state after the parent.
    pub engine: EngineState,
}

/// What a step does to the coin set; no outpoint stands in both lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CoinChanges {
    /// Coins that appear.
    pub created: Vec<(OutPoint, Coin)>,
    /// Coins that go.
    pub removed: Vec<(OutPoint, Coin)>,
}

/// The outcome of connecting a block.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The state after the block.
    pub state: LedgerState,
    /// What it did to the coins.
    pub changes: CoinChanges,
    /// What takes it off again.
    pub undo: BlockUndo,
    /// The fee of each transaction, in order.
    pub fees: Vec<Amount>,
    /// The subsidy of its height.
    pub subsidy: Amount,
}

/// The outcome of taking a block off.
#[derive(Clone, Debug)]
pub struct Disconnected {
    /// The state after the parent.
    pub state: LedgerState,
    /// What it did to the coins.
    pub changes: CoinChanges,
}

/// Why a block did not connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The block breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Violation),
    /// Our own fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Coins of the block itself, before the view.
struct Overlay<'a, V: ?Sized> {
    view: &'a V,
    /// Created in this block; `None` once spent in it.
    created: BTreeMap<OutPoint, Option<Coin>>,
    /// Taken from the view, in order.
    removed: BTreeMap<OutPoint, Coin>,
}

impl<V: CoinView + ?Sized> Overlay<'_, V> {
    fn spend(&mut self, outpoint: &OutPoint) -> Result<Coin, ConnectError> {
        let missing = || Violation::MissingCoin {
            outpoint: *outpoint,
        };
        if let Some(slot) = self.created.get_mut(outpoint) {
            return Ok(slot.take().ok_or_else(missing)?);
        }
        if self.removed.contains_key(outpoint) {
            return Err(missing().into());
        }
        let coin = self.view.coin(outpoint)?.ok_or_else(missing)?;
        self.removed.insert(*outpoint, coin.clone());
        Ok(coin)
    }

    fn create(&mut self, txid: TxId, outputs: &[Output], height: Height, is_coinbase: bool) {
        for (outpoint, coin) in created_coins(txid, outputs, height, is_coinbase) {
            let before = self.created.insert(outpoint, Some(coin));
            assert!(
                before.is_none(),
                "transaction ids of a block are distinct (BLK-13)"
            );
        }
    }
}

fn created_coins(
    txid: TxId,
    outputs: &[Output],
    height: Height,
    is_coinbase: bool,
) -> impl Iterator<Item = (OutPoint, Coin)> + '_ {
    let coins = outputs
        .iter()
        .enumerate()
        .filter(|(_, output)| output.lock.makes_coin());
    coins.map(move |(index, output)| {
        let coin = Coin {
            output: output.clone(),
            height,
            is_coinbase,
        };
        (Transaction::outpoint(txid, index), coin)
    })
}

/// Connects `block` to `state`, the state after its parent; header rules were checked before.
///
/// Errors: the first broken rule in the order of the specification, signatures last; the same one
/// however signatures are batched. Our own faults from the view.
pub fn connect_block<V: CoinView + ?Sized>(
    params: &ChainParams,
    state: &LedgerState,
    block: &CheckedBlock,
    view: &V,
    signatures: &mut dyn SignatureCheck,
) -> Result<Connected, ConnectError> {
    let height = state.height + 1;
    check_place(state, block.block(), height)?;
    block.check_engine(params)?;
    let offences = offences(params, state, block.block(), signatures)?;
    let context = SpendContext {
        chain_id: params.chain_id(),
        limits: params.limits(),
        height,
        parent_time: state.lock_time(params),
    };
    let mut overlay = Overlay {
        view,
        created: BTreeMap::new(),
        removed: BTreeMap::new(),
    };
    let mut pending = PendingSignatures::default();
    let (mut spent, mut fees) = (
        Vec::new(),
        Vec::with_capacity(block.transaction_ids().len()),
    );
    for (tx, ids) in block
        .block()
        .transactions
        .iter()
        .zip(block.transaction_ids())
    {
        let first = spent.len();
        for outpoint in &tx.inputs {
            spent.push(overlay.spend(outpoint)?);
        }
        let known = signatures.is_known(&ids.wtxid);
        let spend = check_spend(&context, tx, ids, &spent[first..], known)?;
        fees.push(spend.fee);
        if !known {
            pending.push(ids.wtxid, spend.signatures, &spend.signature_inputs);
        }
        overlay.create(ids.txid, &tx.outputs, height, false);
    }
    let money = check_reward(params, state, block.block(), &fees)?;
    overlay.create(
        block.coinbase_id(),
        &block.block().coinbase.outputs,
        height,
        true,
    );
    pending.verify(signatures)?;
    let undo = BlockUndo {
        spent,
        engine: state.engine.clone(),
    };
    let created = overlay
        .created
        .into_iter()
        .filter_map(|(outpoint, coin)| Some((outpoint, coin?)));
    let changes = CoinChanges {
        created: created.collect(),
        removed: overlay.removed.into_iter().collect(),
    };
    let state = LedgerState {
        height,
        tip: block.id(),
        coins: changed_coins(&state.coins, &changes),
        engine: next_engine(params, state, block.block(), &money, offences),
    };
    Ok(Connected {
        state,
        changes,
        undo,
        fees,
        subsidy: money.subsidy,
    })
}

/// Whether the block stands on this state (parent, EXT-03, BLK-11).
fn check_place(state: &LedgerState, block: &Block, height: Height) -> Result<(), Violation> {
    assert_eq!(
        block.header.parent, state.tip,
        "a block is connected to its parent's state"
    );
    if block.extension.height != height {
        let (height, expected) = (block.extension.height, height);
        return Err(Violation::WrongHeight { height, expected });
    }
    let (claimed, expected) = (block.extension.state_root, state.root());
    if claimed != expected {
        return Err(Violation::StateRoot { claimed, expected });
    }
    Ok(())
}

/// Money that a block creates and destroys.
struct Money {
    subsidy: Amount,
    burned: Amount,
}

/// BLK-10: the coinbase claims no more than subsidy and fees; what it leaves is burned.
fn check_reward(
    params: &ChainParams,
    state: &LedgerState,
    block: &Block,
    fees: &[Amount],
) -> Result<Money, Violation> {
    let cap = params.limits().money_cap;
    let (issued, parent_time) = (state.engine.issued, state.engine.last_time());
    let rules = state.rules(params);
    let subsidy = rules.subsidy(issued, parent_time, block.header.time);
    let allowed = Amount::checked_sum(fees.iter().copied())
        .and_then(|fees| fees.checked_add(subsidy))
        .expect("fees are part of the supply and the subsidy keeps it below the cap");
    let claimed = output_sum(&block.coinbase.outputs, cap).ok_or(Violation::OutputSum { cap })?;
    let burned = allowed
        .checked_sub(claimed)
        .ok_or(Violation::CoinbaseOverpays { claimed, allowed })?;
    Ok(Money { subsidy, burned })
}

fn next_engine(
    params: &ChainParams,
    state: &LedgerState,
    block: &Block,
    money: &Money,
    offences: Vec<Offence>,
) -> EngineState {
    let mut engine = state.engine.clone();
    engine.offences.extend(offences);
    let sum = |a: Amount, b: Amount| a.checked_add(b).expect("totals stay below the money cap");
    engine.issued = sum(engine.issued, money.subsidy);
    engine.burned = sum(engine.burned, money.burned);
    engine.push_time(block.header.time);
    let (height, before) = (state.height + 1, engine.switch);
    engine.switch = params.switch_after(&before, height, block.extension.anchor());
    if engine.switch.entry != before.entry {
        let entry = &params.schedule()[engine.switch.entry as usize];
        engine.enter(entry, height + 1, block.header.time);
    }
    engine
}

fn changed_coins(before: &LtHash, changes: &CoinChanges) -> LtHash {
    let mut coins = before.clone();
    for (outpoint, coin) in &changes.removed {
        coin.remove_from(outpoint, &mut coins);
    }
    for (outpoint, coin) in &changes.created {
        coin.add_to(outpoint, &mut coins);
    }
    coins
}

/// Takes `block` off `state`, the state after it.
///
/// Errors: a fault if the undo data does not belong to the block. The block commits to the state that
/// it was built on, so that damaged undo data never passes for that state.
pub fn disconnect_block(
    state: &LedgerState,
    block: &Block,
    undo: &BlockUndo,
) -> Result<Disconnected, Fault> {
    let height = state.height;
    assert!(
        height > 0 && block.id() == state.tip,
        "only the tip is taken off, never genesis"
    );
    let inputs = || block.transactions.iter().flat_map(|tx| &tx.inputs);
    if inputs().count() != undo.spent.len() {
        let (found, expected) = (undo.spent.len(), inputs().count());
        let text = format!(
            "undo of block {} has {found} coins: expected {expected}",
            state.tip
        );
        return Err(Fault(text));
    }
    let mut removed: BTreeMap<OutPoint, Coin> = BTreeMap::new();
    for tx in &block.transactions {
        removed.extend(created_coins(tx.txid(), &tx.outputs, height, false));
    }
    removed.extend(created_coins(
        block.coinbase.id(),
        &block.coinbase.outputs,
        height,
        true,
    ));
    let mut created = Vec::new();
    for (outpoint, coin) in inputs().zip(&undo.spent) {
        match removed.remove(outpoint) {
            None => created.push((*outpoint, coin.clone())),
            // A coin that was made and spent in the block leaves no trace.
            Some(made) if made == *coin => {}
            Some(_) => {
                let text = format!("undo of block {} has another coin {outpoint}", state.tip);
                return Err(Fault(text));
            }
        }
    }
    let changes = CoinChanges {
        created,
        removed: removed.into_iter().collect(),
    };
    let state = LedgerState {
        height: height - 1,
        tip: block.header.parent,
        coins: changed_coins(&state.coins, &changes),
        engine: undo.engine.clone(),
    };
    let (expected, found) = (block.extension.state_root, state.root());
    if found != expected {
        let text = format!(
            "undo of block {} leads to the state {found}: the block was built on {expected}",
            block.id()
        );
        return Err(Fault(text));
    }
    Ok(Disconnected { state, changes })
}

/// Signatures of a block, checked in one go after all else.
#[derive(Default)]
struct PendingSignatures {
    jobs: Vec<SignatureJob>,
    inputs: Vec<u32>,
    transactions: Vec<Wtxid>,
}

impl PendingSignatures {
    fn push(&mut self, wtxid: Wtxid, jobs: Vec<SignatureJob>, inputs: &[u32]) {
        self.jobs.extend(jobs);
        self.inputs.extend(inputs);
        self.transactions.push(wtxid);
    }

    /// TX-22.
    fn verify(self, signatures: &mut dyn SignatureCheck) -> Result<(), Violation> {
        if let Err(bad) = signatures.verify(&self.jobs) {
            let input = self.inputs.get(bad).map_or(0, |input| *input as usize);
            return Err(Violation::BadSignature { input });
        }
        for wtxid in self.transactions {
            signatures.remember(wtxid);
        }
        Ok(())
    }
}
