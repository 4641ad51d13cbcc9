//! The chain as the API sees it, from one snapshot.

use super::convert::{self, Place, pebbles};
use crate::api::backend::{Address, Answer, BackendError, ChainView};
use crate::api::model::address::{AddressSummary, Utxo, UtxoPage};
use crate::api::model::amount::PebblesDelta;
use crate::api::model::block::{
    BlockDetail, BlockRef, BlockSeal, BlockSummary, ChainPoint, HeaderItem,
};
use crate::api::model::chain::{Schedule, ScheduleEntry, Supply, Validators};
use crate::api::model::hash::{Hash32, HexBytes};
use crate::api::model::transaction::{
    Confirmation, TransactionDetail, TransactionPage, TransactionProof,
};
use cairn_protocol::block::Block;
use cairn_protocol::codec;
use cairn_protocol::hash::{BlockId, KeyHash, TxId};
use cairn_protocol::ledger::Coin;
use cairn_protocol::merkle;
use cairn_protocol::spec::{ChainParams, Engine};
use cairn_protocol::transaction::{BODY_WEIGHT, OutPoint, Transaction};
use cairn_protocol::units::{Amount, Height};
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainSnapshot, HeaderMeta, TxPlace};
use std::sync::Arc;

/// One request's view.
pub(super) struct SnapshotView {
    pub(super) params: Arc<ChainParams>,
    pub(super) snapshot: Arc<ChainSnapshot>,
    /// Highest certified or anchored block.
    pub(super) finalized: (Height, BlockId),
}

pub(super) fn fault(error: StorageError) -> BackendError {
    BackendError::Fault(error.to_string())
}

fn invalid_cursor(cursor: &str) -> BackendError {
    BackendError::Invalid(format!(
        "cursor `{cursor}` is none that a page had: pass `next_cursor` of the page before"
    ))
}

impl SnapshotView {
    fn id_of(&self, block: BlockRef) -> Answer<Option<BlockId>> {
        match block {
            BlockRef::Height(height) => self.snapshot.block_id_at(height).map_err(fault),
            BlockRef::Id(id) => Ok(Some(BlockId(id.0))),
        }
    }

    fn body(&self, id: &BlockId) -> Answer<Option<Block>> {
        self.snapshot.block(id).map_err(fault)
    }

    /// Coins that a block's inputs spend, in order; empty for genesis.
    fn spent(&self, id: &BlockId) -> Answer<Vec<Coin>> {
        Ok(self
            .snapshot
            .undo(id)
            .map_err(fault)?
            .map_or_else(Vec::new, |undo| undo.spent))
    }

    /// None without a stored body: a header alone is no block yet.
    fn summary(&self, meta: &HeaderMeta) -> Answer<Option<BlockSummary>> {
        let Some(bytes) = meta.body_bytes else {
            return Ok(None);
        };
        Ok(Some(BlockSummary {
            id: Hash32(meta.id.0),
            height: meta.height,
            parent: Hash32(meta.header.parent.0),
            time: meta.header.time,
            engine: self.engine(meta.height).to_owned(),
            transactions: u64::from(meta.transactions),
            finalized: self.is_final(meta)?,
            bytes: u64::from(bytes),
        }))
    }

    fn is_final(&self, meta: &HeaderMeta) -> Answer<bool> {
        Ok(meta.height <= self.finalized.0 && self.snapshot.is_active(&meta.id).map_err(fault)?)
    }

    fn fees(&self, meta: &HeaderMeta, block: &Block) -> Answer<Amount> {
        let sum = |values: &mut dyn Iterator<Item = Amount>| {
            Amount::checked_sum(values).unwrap_or_default()
        };
        let spent = sum(&mut self.spent(&meta.id)?.iter().map(|coin| coin.output.value));
        let outputs = block.transactions.iter().flat_map(|tx| &tx.outputs);
        let made = sum(&mut outputs.map(|output| output.value));
        Ok(spent.checked_sub(made).unwrap_or_default())
    }

    fn engine(&self, height: Height) -> &str {
        self.params.schedule()[self.params.entry_index(height)]
            .engine
            .name()
    }

    fn confirmations(&self, height: Height) -> u64 {
        self.snapshot.tip().0.saturating_sub(height) + 1
    }

    fn place(&self, block: &Block, id: &BlockId, index: Option<u32>) -> Place {
        let height = block.extension.height;
        let (id, time) = (Hash32(id.0), block.header.time);
        let confirmation = Confirmation {
            id,
            height,
            time,
            index,
        };
        Place {
            confirmation,
            confirmations: self.confirmations(height),
        }
    }

    fn transaction_at(&self, place: TxPlace) -> Answer<Option<TransactionDetail>> {
        let Some(id) = self.snapshot.block_id_at(place.height).map_err(fault)? else {
            return Ok(None);
        };
        let Some(block) = self.body(&id)? else {
            return Ok(None);
        };
        let spent = match place.index {
            0 => Vec::new(),
            _ => self.spent(&id)?,
        };
        Ok(self.transaction_of(&id, &block, &spent, place.index))
    }

    /// The transaction at a place of a block that was read already; 0 is the coinbase.
    fn transaction_of(
        &self,
        id: &BlockId,
        block: &Block,
        spent: &[Coin],
        index: u32,
    ) -> Option<TransactionDetail> {
        let network = self.params.network();
        let Some(index) = index.checked_sub(1) else {
            let place = self.place(block, id, None);
            let mut detail = convert::coinbase(network, &block.coinbase, place);
            if block.extension.height == 0 {
                // Funded accounts are spent by the name of genesis' coinbase.
                let funded = self.params.genesis_coins().iter();
                let outputs: Vec<_> = funded.map(|(_, coin)| coin.output.clone()).collect();
                detail.outputs = convert::outputs(network, &outputs);
            }
            return Some(detail);
        };
        let tx = block.transactions.get(index as usize)?;
        let before = block.transactions[..index as usize]
            .iter()
            .map(|tx| tx.inputs.len());
        let first = before.sum::<usize>();
        let coins = spent
            .get(first..first + tx.inputs.len())
            .unwrap_or_default();
        let place = self.place(block, id, Some(index));
        Some(convert::transaction(
            network,
            tx,
            &tx.ids(),
            coins,
            Some(place),
        ))
    }
}

impl ChainView for SnapshotView {
    fn tip(&self) -> ChainPoint {
        let (height, id) = self.snapshot.tip();
        ChainPoint {
            height,
            id: Hash32(id.0),
        }
    }

    fn finalized(&self) -> ChainPoint {
        ChainPoint {
            height: self.finalized.0,
            id: Hash32(self.finalized.1.0),
        }
    }

    fn block_id(&self, height: u64) -> Answer<Option<Hash32>> {
        Ok(self
            .snapshot
            .block_id_at(height)
            .map_err(fault)?
            .map(|id| Hash32(id.0)))
    }

    fn block_summary(&self, height: u64) -> Answer<Option<BlockSummary>> {
        let Some(meta) = self.snapshot.header_at(height).map_err(fault)? else {
            return Ok(None);
        };
        self.summary(&meta)
    }

    fn block(&self, block: BlockRef) -> Answer<Option<BlockDetail>> {
        let Some(id) = self.id_of(block)? else {
            return Ok(None);
        };
        let Some(meta) = self.snapshot.header(&id).map_err(fault)? else {
            return Ok(None);
        };
        let (Some(summary), Some(block)) = (self.summary(&meta)?, self.body(&id)?) else {
            return Ok(None);
        };
        let main_chain = self.snapshot.is_active(&id).map_err(fault)?;
        let next = match main_chain {
            true => self.block_id(meta.height + 1)?,
            false => None,
        };
        Ok(Some(BlockDetail {
            summary,
            weight: weight(&block),
            fees: pebbles(self.fees(&meta, &block)?),
            main_chain,
            confirmations: if main_chain {
                self.confirmations(meta.height)
            } else {
                0
            },
            next,
            version: meta.header.version,
            bits: meta.header.bits.0,
            nonce: meta.header.nonce,
            root: Hash32(meta.header.root.0),
            state_root: Hash32(block.extension.state_root.0),
            total_work: format!("{:x}", meta.work),
            coinbase: Hash32(block.coinbase.id().0),
            coinbase_outputs: convert::outputs(self.params.network(), &block.coinbase.outputs),
            txids: block
                .transactions
                .iter()
                .map(|tx| Hash32(tx.txid().0))
                .collect(),
        }))
    }

    fn block_bytes(&self, block: BlockRef) -> Answer<Option<Vec<u8>>> {
        let Some(id) = self.id_of(block)? else {
            return Ok(None);
        };
        self.snapshot.block_bytes(&id).map_err(fault)
    }

    fn header(&self, height: u64) -> Answer<Option<HeaderItem>> {
        let Some(meta) = self.snapshot.header_at(height).map_err(fault)? else {
            return Ok(None);
        };
        let Some(record) = self.snapshot.record(&meta.id).map_err(fault)? else {
            return Ok(None);
        };
        Ok(Some(HeaderItem {
            id: Hash32(meta.id.0),
            height,
            parent: Hash32(record.header.parent.0),
            time: record.header.time,
            version: record.header.version,
            bits: record.header.bits.0,
            nonce: record.header.nonce,
            root: Hash32(record.header.root.0),
            coinbase: Hash32(record.coinbase_id.0),
            tx_root: Hash32(record.tx_root.0),
            state_root: Hash32(record.extension.state_root.0),
            header: HexBytes(record.header.to_bytes().to_vec()),
            hex: HexBytes(codec::encode(&record)),
        }))
    }

    fn seal(&self, block: BlockRef) -> Answer<Option<BlockSeal>> {
        match self.id_of(block)? {
            Some(id) => self.seal_of(&id),
            None => Ok(None),
        }
    }

    fn transaction(&self, txid: Hash32) -> Answer<Option<TransactionDetail>> {
        match self
            .snapshot
            .transaction_place(&TxId(txid.0))
            .map_err(fault)?
        {
            Some(place) => self.transaction_at(place),
            None => Ok(None),
        }
    }

    fn block_transactions(&self, height: u64) -> Answer<Vec<TransactionDetail>> {
        let Some(id) = self.snapshot.block_id_at(height).map_err(fault)? else {
            return Ok(Vec::new());
        };
        let Some(block) = self.body(&id)? else {
            return Ok(Vec::new());
        };
        let spent = self.spent(&id)?;
        let count = u32::try_from(block.transactions.len()).unwrap_or(u32::MAX);
        let transactions =
            (0..=count).filter_map(|index| self.transaction_of(&id, &block, &spent, index));
        Ok(transactions.collect())
    }

    fn is_unspent(&self, txid: Hash32, index: u32) -> Answer<bool> {
        let outpoint = OutPoint {
            txid: TxId(txid.0),
            index,
        };
        Ok(self.snapshot.coin(&outpoint).map_err(fault)?.is_some())
    }

    fn transaction_proof(&self, txid: Hash32) -> Answer<Option<TransactionProof>> {
        let place = self
            .snapshot
            .transaction_place(&TxId(txid.0))
            .map_err(fault)?;
        let Some(place) = place else { return Ok(None) };
        // A coinbase is proved by the header record itself.
        let Some(index) = place.index.checked_sub(1) else {
            return Ok(None);
        };
        let Some(id) = self.snapshot.block_id_at(place.height).map_err(fault)? else {
            return Ok(None);
        };
        let Some(block) = self.body(&id)? else {
            return Ok(None);
        };
        let ids: Vec<_> = block.transactions.iter().map(Transaction::ids).collect();
        let pairs: Vec<_> = ids.iter().map(|ids| (ids.txid, ids.wtxid)).collect();
        let Some(proof) = merkle::prove(&pairs, index as usize) else {
            return Ok(None);
        };
        let record = block.record();
        Ok(Some(TransactionProof {
            txid,
            wtxid: Hash32(pairs[index as usize].1.0),
            block: Hash32(id.0),
            height: place.height,
            index,
            count: proof.count,
            branch: proof.siblings.iter().map(|hash| Hash32(hash.0)).collect(),
            tx_root: Hash32(record.tx_root.0),
            coinbase: Hash32(record.coinbase_id.0),
            extension_hash: Hash32(record.extension.hash().0),
            header: HexBytes(record.header.to_bytes().to_vec()),
            hex: HexBytes(codec::encode(&(&record, &proof))),
        }))
    }

    fn address(&self, address: &Address) -> Answer<AddressSummary> {
        let summary = self
            .snapshot
            .address(&KeyHash(address.key_hash.0))
            .map_err(fault)?;
        Ok(AddressSummary {
            address: address.text.clone(),
            balance: pebbles(summary.balance),
            pending: PebblesDelta(0),
            transactions: summary.transactions,
        })
    }

    fn address_utxos(
        &self,
        address: &Address,
        cursor: Option<&str>,
        limit: usize,
    ) -> Answer<UtxoPage> {
        let after = cursor.map(parse_outpoint).transpose()?;
        let key_hash = KeyHash(address.key_hash.0);
        let mut coins = self
            .snapshot
            .address_coins(&key_hash, after.as_ref(), limit + 1)
            .map_err(fault)?;
        let more = coins.len() > limit;
        coins.truncate(limit);
        let next_cursor = coins
            .last()
            .filter(|_| more)
            .map(|last| last.outpoint.to_string());
        let maturity = self.params.limits().coinbase_maturity;
        let next_height = self.snapshot.tip().0 + 1;
        let convert = |found: cairn_storage::chain::AddressCoin| {
            let (outpoint, coin) = (found.outpoint, found.coin);
            Utxo {
                txid: Hash32(outpoint.txid.0),
                index: outpoint.index,
                value: pebbles(coin.output.value),
                lock: convert::lock(&coin.output.lock),
                height: coin.height,
                coinbase: coin.is_coinbase,
                mature: !coin.is_coinbase || next_height >= coin.height.saturating_add(maturity),
                confirmations: self.confirmations(coin.height),
            }
        };
        Ok(UtxoPage {
            utxos: coins.into_iter().map(convert).collect(),
            next_cursor,
        })
    }

    fn address_transactions(
        &self,
        address: &Address,
        cursor: Option<&str>,
        limit: usize,
    ) -> Answer<TransactionPage> {
        let before = cursor.map(parse_place).transpose()?;
        let key_hash = KeyHash(address.key_hash.0);
        let mut rows = self
            .snapshot
            .address_transactions(&key_hash, before, limit + 1)
            .map_err(fault)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| format!("{}-{}", last.place.height, last.place.index));
        let mut transactions = Vec::with_capacity(rows.len());
        for row in rows {
            transactions.extend(self.transaction_at(row.place)?);
        }
        Ok(TransactionPage {
            transactions,
            next_cursor,
        })
    }

    fn supply(&self) -> Answer<Supply> {
        let state = self.snapshot.state();
        let next = self.params.subsidy(state.height + 1, state.engine.issued);
        Ok(Supply {
            height: state.height,
            issued: pebbles(state.engine.issued),
            burned: pebbles(state.engine.burned),
            supply: pebbles(state.engine.supply()),
            cap: pebbles(self.params.limits().money_cap),
            next_subsidy: pebbles(next),
        })
    }

    fn schedule(&self) -> Answer<Schedule> {
        let height = self.snapshot.tip().0;
        let active = self.params.entry_index(height);
        let convert =
            |(index, entry): (usize, &cairn_protocol::spec::ScheduleEntry)| ScheduleEntry {
                entry: u32::try_from(index).expect("the schedule is bounded"),
                announce: entry.announce,
                start: entry.start,
                engine: entry.engine.name().to_owned(),
                active: index == active,
                ruleset_id: Hash32(self.params.ruleset_id(entry.start).0),
                parameters: parameters(entry),
            };
        Ok(Schedule {
            schedule_hash: Hash32(self.params.schedule_hash(height).0),
            entries: self
                .params
                .schedule()
                .iter()
                .enumerate()
                .map(convert)
                .collect(),
        })
    }

    fn validators(&self) -> Answer<Validators> {
        Ok(self.validators_now())
    }
}

/// Weight of a whole block, as its rule counts it.
fn weight(block: &Block) -> u64 {
    let overhead = 80
        + codec::encode(&block.extension).len()
        + block.coinbase.to_bytes().len()
        + codec::encode(&block.attachments).len();
    let transactions = block.transactions.iter().map(Transaction::weight);
    BODY_WEIGHT * overhead as u64 + transactions.sum::<u64>()
}

fn parse_outpoint(cursor: &str) -> Answer<OutPoint> {
    let parse = || {
        let (txid, index) = cursor.split_once(':')?;
        Some(OutPoint {
            txid: txid.parse().ok()?,
            index: index.parse().ok()?,
        })
    };
    parse().ok_or_else(|| invalid_cursor(cursor))
}

fn parse_place(cursor: &str) -> Answer<TxPlace> {
    let parse = || {
        let (height, index) = cursor.split_once('-')?;
        Some(TxPlace {
            height: height.parse().ok()?,
            index: index.parse().ok()?,
        })
    };
    parse().ok_or_else(|| invalid_cursor(cursor))
}

/// What an entry of the schedule sets, by the names of the specification file.
fn parameters(entry: &cairn_protocol::spec::ScheduleEntry) -> serde_json::Value {
    let Engine::Pow(rules) = &entry.engine else {
        let validator = |validator: &cairn_protocol::state::Validator| {
            serde_json::json!({
                "key": hex::encode(validator.key.0),
                "power": validator.power,
            })
        };
        let validators = entry.engine.validators().iter().map(validator);
        return serde_json::json!({
            "validators": validators.collect::<Vec<_>>(),
            "subsidy_per_second": entry.engine.subsidy_per_second().0.to_string(),
            "evidence_window_s": entry.engine.evidence_window_s(),
            "k": entry.k,
            "m": entry.m,
        });
    };
    let step = |step: &cairn_protocol::spec::SubsidyStep| {
        serde_json::json!({
            "height": step.height,
            "subsidy": step.subsidy.0.to_string(),
        })
    };
    serde_json::json!({
        "initial_bits": rules.initial_bits.0,
        "subsidy": rules.subsidy.iter().map(step).collect::<Vec<_>>(),
        "k": entry.k,
        "m": entry.m,
    })
}
