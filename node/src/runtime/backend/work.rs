//! Blocks for scripts: templates out, solved blocks in, blocks at once on a devnet.

use super::NodeBackend;
use crate::api::backend::{Answer, BackendError};
use crate::api::model::hash::Hash32;
use crate::runtime::mining::search_template;
use crate::runtime::relay::Announce;
use cairn_consensus::chain::BlockOutcome;
use cairn_consensus::template::BlockTemplate;
use cairn_protocol::block::Block;
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::lock::Lock;
use serde_json::{Value, json};

/// Blocks of one call.
const GENERATE_MAX: u32 = 1_000;

fn stopped() -> BackendError {
    BackendError::Busy("the node is stopping".to_owned())
}

fn template(backend: &NodeBackend, reward: Lock) -> Answer<BlockTemplate> {
    let made = backend.runtime.block_on(backend.ledger.template(reward));
    made.map_err(|_| stopped())?.map_err(BackendError::Fault)
}

/// Mines blocks at once; the caller made sure that this is a devnet.
pub(super) fn generate(backend: &NodeBackend, blocks: u32, reward: Lock) -> Answer<Vec<Hash32>> {
    if blocks > GENERATE_MAX {
        let text = format!("{blocks} blocks are asked for: at most {GENERATE_MAX} in one call");
        return Err(BackendError::Invalid(text));
    }
    let function = backend.params().timing().pow_function;
    let mut ids = Vec::new();
    while ids.len() < blocks as usize {
        let template = template(backend, reward.clone())?;
        let search = search_template(&template, function)
            .map_err(|error| BackendError::Fault(error.to_string()))?;
        let found = backend.miner.search_now(&search);
        let found = found.map_err(|error| BackendError::Fault(error.to_string()))?;
        let Some(solution) = found else {
            return Err(BackendError::Fault(
                "the search space is exhausted".to_owned(),
            ));
        };
        let block = template.solved(solution.extra_nonce(), solution.nonce());
        let id = block.id();
        // Another block may have come first: then this one is stale and the next try follows it.
        match submit(backend, block, Announce::Stored)? {
            Ok(true) => ids.push(Hash32(id.0)),
            Ok(false) => {}
            Err(why) => {
                return Err(BackendError::Busy(format!(
                    "block {id} was not taken: {why}"
                )));
            }
        }
    }
    Ok(ids)
}

/// Whether the block is on the chain now; a text says why it was refused.
fn submit(backend: &NodeBackend, block: Block, when: Announce) -> Answer<Result<bool, String>> {
    let reply = backend.runtime.block_on(backend.relay.submit(block, when));
    let reply = reply.map_err(|_| stopped())?;
    Ok(match reply.outcome {
        BlockOutcome::Stored { .. } => Ok(reply.connected),
        BlockOutcome::Known => Err("duplicate".to_owned()),
        BlockOutcome::Invalid(violation) => Err(violation.to_string()),
        BlockOutcome::Orphan { parent } => Err(format!("parent {parent} is unknown")),
        BlockOutcome::Held { from } => Err(format!("its time has not come: valid from {from}")),
        BlockOutcome::Refused(refusal) => Err(format!("refused: {refusal:?}")),
    })
}

pub(super) fn submit_block(backend: &NodeBackend, bytes: &[u8]) -> Answer<Result<Hash32, String>> {
    let block = match Block::from_bytes(bytes) {
        Ok(block) => block,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let id: BlockId = block.id();
    Ok(match submit(backend, block, Announce::Connected)? {
        Ok(true) => Ok(Hash32(id.0)),
        Ok(false) => Err("not on the best chain".to_owned()),
        Err(why) => Err(why),
    })
}

/// The template as JSON: all that a script needs to solve it and to send it back.
pub(super) fn block_template(backend: &NodeBackend) -> Answer<Value> {
    let Some(address) = backend.reward else {
        return Err(BackendError::NotAvailable(
            "this node has no reward address: start it with --mine-to".to_owned(),
        ));
    };
    let template = template(backend, address.lock())?;
    let block = &template.block;
    let transactions = block.transactions.iter().map(|tx| {
        let ids = tx.ids();
        json!({
            "data": hex::encode(codec::encode(tx)),
            "txid": ids.txid.to_hex(),
            "hash": ids.wtxid.to_hex(),
            "weight": ids.weight,
        })
    });
    Ok(json!({
        "version": block.header.version,
        "previousblockhash": block.header.parent.to_hex(),
        "height": block.extension.height,
        "curtime": block.header.time,
        "mintime": block.header.time,
        "bits": format!("{:08x}", block.header.bits.0),
        "target": format!("{:064x}", template.target),
        "noncerange": "00000000ffffffff",
        "coinbasevalue": template.reward.0.to_string(),
        "coinbase": hex::encode(block.coinbase.to_bytes()),
        "extranonce_offset": cairn_protocol::coinbase::EXTRA_NONCE_OFFSET,
        "extension": hex::encode(codec::encode(&block.extension)),
        "extension_hash": template.extension_hash.to_hex(),
        "tx_root": template.tx_root.to_hex(),
        "header": hex::encode(block.header.to_bytes()),
        "block": hex::encode(block.to_bytes()),
        "transactions": transactions.collect::<Vec<_>>(),
        "longpollid": long_poll_id(&block.header.parent, best_fees(backend)),
    }))
}

fn best_fees(backend: &NodeBackend) -> u64 {
    let weight = backend.params().limits().block_weight_max;
    backend.ledger.mempool().read().best_fee_total(weight).0
}

/// What a template was made of: its parent and the fees that were to be had.
fn long_poll_id(parent: &BlockId, fees: u64) -> String {
    format!("{}-{fees}", parent.to_hex())
}

/// Whether a template with this `longpollid` is old: another tip, or more fees to be had. An id
/// without fees waits for a tip.
pub(super) fn is_old(backend: &NodeBackend, id: &str) -> bool {
    let (parent, fees) = id.split_once('-').unwrap_or((id, ""));
    if parent != backend.ledger.view().tip.to_hex() {
        return true;
    }
    match fees.parse::<u64>() {
        Ok(fees) => best_fees(backend) > fees,
        Err(_) => !fees.is_empty(),
    }
}
