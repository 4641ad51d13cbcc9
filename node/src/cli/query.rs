//! `cairn status | block | tx | mempool | peers`: what a node says, for people or as its own JSON.

use clap::Args;

use super::client::{Client, NodeUrl, typed};
use super::error::{CliError, CliResult};
use super::output::{self, crn, pairs, plain, table};
use crate::api::model::block::{BlockDetail, BlockRef};
use crate::api::model::chain::Status;
use crate::api::model::hash::Hash32;
use crate::api::model::mempool::Mempool;
use crate::api::model::peer::Peers;
use crate::api::model::transaction::{LockJson, TransactionDetail};

/// Transactions that `cairn mempool` shows to people.
const MEMPOOL_SHOWN: usize = 20;

/// The arguments of `cairn block`.
#[derive(Args, Debug)]
pub struct BlockArgs {
    /// A height or a block id
    #[arg(value_name = "HEIGHT|ID")]
    pub block: String,
    /// Where to ask
    #[command(flatten)]
    pub node: NodeUrl,
}

/// The arguments of `cairn tx`.
#[derive(Args, Debug)]
pub struct TxArgs {
    /// A transaction id
    pub txid: String,
    /// Where to ask
    #[command(flatten)]
    pub node: NodeUrl,
}

/// `cairn status`.
///
/// # Errors
/// When no node answers.
pub fn status(node: &NodeUrl) -> CliResult {
    let answer = Client::new(&node.api)?.get("/v1/status")?;
    if node.json {
        return output::json(&answer);
    }
    let status: Status = typed(&answer)?;
    output::line(pairs(&[
        ("chain", plain(&status.chain, 80)),
        ("genesis", status.genesis.to_string()),
        ("version", plain(&status.version, 80)),
        ("peer id", plain(&status.peer_id, 80)),
        ("consensus", plain(&status.consensus, 20)),
        ("height", status.height.to_string()),
        ("tip", status.tip.to_string()),
        ("finalized", status.finalized_height.to_string()),
        ("syncing", yes_or_no(status.syncing)),
        ("peers", status.peers.to_string()),
        (
            "mempool",
            format!("{} transactions", status.mempool_transactions),
        ),
        ("miner", format!("{} hashes/s", status.hashes_per_second)),
    ]))
}

/// `cairn block HEIGHT|ID`.
///
/// # Errors
/// When no node answers, or it has no such block.
pub fn block(args: &BlockArgs) -> CliResult {
    if BlockRef::parse(&args.block).is_none() {
        return Err(CliError::usage("not a block")
            .value(&args.block)
            .expected("a height in decimal digits or an id of 64 hex digits")
            .next("cairn status"));
    }
    let answer = Client::new(&args.node.api)?.get(&format!("/v1/blocks/{}", args.block))?;
    if args.node.json {
        return output::json(&answer);
    }
    let block: BlockDetail = typed(&answer)?;
    let summary = &block.summary;
    let mut text = pairs(&[
        ("id", summary.id.to_string()),
        ("height", summary.height.to_string()),
        ("parent", summary.parent.to_string()),
        ("time", summary.time.to_string()),
        ("engine", plain(&summary.engine, 20)),
        ("main chain", yes_or_no(block.main_chain)),
        ("finalized", yes_or_no(summary.finalized)),
        ("confirmations", block.confirmations.to_string()),
        ("bytes", summary.bytes.to_string()),
        ("weight", block.weight.to_string()),
        ("bits", format!("{:08x}", block.bits)),
        ("state root", block.state_root.to_string()),
        ("fees", format!("{} CRN", crn(block.fees.0))),
        ("coinbase", block.coinbase.to_string()),
        ("transactions", summary.transactions.to_string()),
    ]);
    for txid in &block.txids {
        text.push_str(&format!("\n  {txid}"));
    }
    output::line(text)
}

/// `cairn tx TXID`.
///
/// # Errors
/// When no node answers, or it knows no such transaction.
pub fn transaction(args: &TxArgs) -> CliResult {
    let txid: Hash32 = args.txid.parse().map_err(|_| {
        CliError::usage("not a transaction id")
            .value(&args.txid)
            .expected("64 hex digits")
            .next("cairn mempool")
    })?;
    let answer = Client::new(&args.node.api)?.get(&format!("/v1/transactions/{txid}"))?;
    if args.node.json {
        return output::json(&answer);
    }
    let transaction: TransactionDetail = typed(&answer)?;
    let block = match transaction.block {
        Some(at) => format!("{} at height {}", at.id, at.height),
        None => "none, it waits in the mempool".to_owned(),
    };
    let mut text = pairs(&[
        ("txid", transaction.txid.to_string()),
        ("wtxid", transaction.wtxid.to_string()),
        ("block", block),
        ("confirmations", transaction.confirmations.to_string()),
        ("bytes", transaction.bytes.to_string()),
        ("weight", transaction.weight.to_string()),
        ("fee", format!("{} CRN", crn(transaction.fee.0))),
        (
            "fee rate",
            format!("{} pebbles per 1000 weight", transaction.fee_rate),
        ),
    ]);
    if transaction.coinbase {
        text.push_str("\ncoinbase");
    }
    for input in &transaction.inputs {
        let from = owner(input.address.as_deref(), &input.lock);
        text.push_str(&format!(
            "\nin   {:>20}  {from}  {}:{}",
            crn(input.value.0),
            input.txid,
            input.index
        ));
    }
    for made in &transaction.outputs {
        let to = owner(made.address.as_deref(), &made.lock);
        text.push_str(&format!("\nout  {:>20}  {to}", crn(made.value.0)));
    }
    output::line(text)
}

/// `cairn mempool`.
///
/// # Errors
/// When no node answers.
pub fn mempool(node: &NodeUrl) -> CliResult {
    let client = Client::new(&node.api)?;
    if node.json {
        return output::json(&client.get("/v1/mempool")?);
    }
    let mempool: Mempool = typed(&client.get(&format!("/v1/mempool?limit={MEMPOOL_SHOWN}"))?)?;
    let mut text = pairs(&[
        ("transactions", mempool.count.to_string()),
        ("bytes", mempool.bytes.to_string()),
        ("weight", mempool.weight.to_string()),
        ("fees", format!("{} CRN", crn(mempool.fees.0))),
        (
            "least fee rate",
            format!("{} pebbles per 1000 weight", mempool.min_fee_rate),
        ),
    ]);
    let rows: Vec<Vec<String>> = mempool
        .transactions
        .iter()
        .map(|tx| {
            vec![
                tx.txid.to_string(),
                tx.fee.to_string(),
                tx.fee_rate.to_string(),
                tx.bytes.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&["transaction", "fee", "fee rate", "bytes"], &rows));
    }
    output::line(text)
}

/// `cairn peers`.
///
/// # Errors
/// When no node answers.
pub fn peers(node: &NodeUrl) -> CliResult {
    let answer = Client::new(&node.api)?.get("/v1/peers")?;
    if node.json {
        return output::json(&answer);
    }
    let peers: Peers = typed(&answer)?;
    if peers.peers.is_empty() {
        return output::line("no peers");
    }
    let rows: Vec<Vec<String>> = peers
        .peers
        .iter()
        .map(|peer| {
            vec![
                plain(&peer.peer_id, 80),
                plain(&peer.direction, 10),
                peer.height.map(|h| h.to_string()).unwrap_or_default(),
                peer.ping_ms
                    .map(|ms| format!("{ms:.1} ms"))
                    .unwrap_or_default(),
                format!("{:.1}", peer.score),
                plain(&peer.address, 80),
                plain(peer.agent.as_deref().unwrap_or_default(), 60),
            ]
        })
        .collect();
    output::line(table(
        &[
            "peer",
            "direction",
            "height",
            "ping",
            "score",
            "address",
            "agent",
        ],
        &rows,
    ))
}

fn yes_or_no(flag: bool) -> String {
    (if flag { "yes" } else { "no" }).to_owned()
}

/// Whose an output is: its address, or the kind of its lock.
fn owner(address: Option<&str>, lock: &LockJson) -> String {
    if let Some(address) = address {
        return plain(address, 100);
    }
    match lock {
        LockJson::Key { key_hash } => format!("key {key_hash}"),
        LockJson::Threshold { m, keys } => format!("{m} of {} keys", keys.len()),
        LockJson::HashLock { .. } => "hash lock".to_owned(),
        LockJson::After { .. } => "time lock".to_owned(),
        LockJson::Data { hex } => format!("data of {} bytes", hex.0.len()),
    }
}
