//! `cairn chain export | import`: chain files.
//!
//! An import trusts nothing but the file's framing: every header and every block is judged by the
//! same engine as a block that came from a peer.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cairn_consensus::chain::{BlockOutcome, Chain, ChainEvent, Source};
use cairn_protocol::ledger::Fault;
use cairn_storage::chain::{ChainFileReader, export_chain};
use serde_json::json;

use super::TransferArgs;
use super::store::{self, storage_error};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output;
use crate::cli::progress::Progress;

/// Blocks between two syncs of the log: what a power cut can take from an import.
const SYNC_EVERY_BLOCKS: u64 = 1_000;

fn file_error(args: &TransferArgs, doing: &str, error: std::io::Error) -> CliError {
    CliError::failed(format!("cannot {doing} the chain file: {error}")).value(args.file.display())
}

fn fault(error: Fault) -> CliError {
    CliError::failed(error.0).next("cairn chain verify --data-dir DIR")
}

pub(super) fn export(args: &TransferArgs) -> CliResult {
    let open = store::open(&args.stored)?;
    let snapshot = open.store.snapshot();
    let (tip, id) = snapshot.tip();
    let temporary = args.file.with_extension("part");
    let out = File::create(&temporary).map_err(|e| file_error(args, "create", e))?;
    let mut progress = Progress::new("exporting", tip);
    let written = export_chain(&snapshot, BufWriter::new(out), &mut |p| {
        progress.at(p.blocks, p.blocks_total);
    });
    progress.finish();
    let out = written.map_err(storage_error)?;
    let file = out
        .into_inner()
        .map_err(|e| file_error(args, "write", e.into_error()))?;
    file.sync_all().map_err(|e| file_error(args, "sync", e))?;
    let bytes = file
        .metadata()
        .map_err(|e| file_error(args, "read", e))?
        .len();
    std::fs::rename(&temporary, &args.file).map_err(|e| file_error(args, "rename", e))?;
    if args.stored.json {
        return output::json(&json!({ "blocks": tip, "tip": id.to_hex(), "bytes": bytes }));
    }
    let file = args.file.display();
    output::line(format!(
        "wrote {tip} blocks up to {id} ({bytes} bytes) into {file}"
    ))
}

pub(super) fn import(args: &TransferArgs) -> CliResult {
    let input = File::open(&args.file).map_err(|e| file_error(args, "open", e))?;
    let open = store::open_or_create(&args.stored)?;
    // Held until the end: no other process may use the directory meanwhile.
    let _directory = open.directory;
    let mut reader = ChainFileReader::new(BufReader::new(input), open.params.chain_id())
        .map_err(storage_error)?;
    let mut chain = Chain::open(open.params, open.store, rand::random()).map_err(fault)?;
    let mut signatures = store::signature_check();
    let mut progress = Progress::new("importing", reader.progress().blocks_total);
    let (started, mut taken) = (Instant::now(), 0u64);
    loop {
        let height = reader.heights().0;
        let Some(block) = reader.next_block().map_err(storage_error)? else {
            break;
        };
        let outcome = chain
            .accept_block(now(), block, Source::LOCAL)
            .map_err(fault)?;
        taken += u64::from(is_new(&outcome, height)?);
        let mut events = Vec::new();
        chain.advance(&mut signatures, &mut events).map_err(fault)?;
        let invalid = events.iter().find_map(|event| match event {
            ChainEvent::Invalid(invalid) => Some(invalid),
            _ => None,
        });
        if let Some(invalid) = invalid {
            return Err(refused(height, &invalid.violation));
        }
        let done = reader.progress();
        progress.at(done.blocks, done.blocks_total);
        if done.blocks % SYNC_EVERY_BLOCKS == 0 {
            chain.store_mut().sync().map_err(storage_error)?;
        }
    }
    progress.finish();
    chain.store_mut().sync().map_err(storage_error)?;
    chain.store_mut().flush().map_err(storage_error)?;
    let (seconds, tip) = (started.elapsed().as_secs_f64(), chain.tip());
    let read = reader.progress().blocks;
    if args.stored.json {
        return output::json(&json!({
            "blocks": read, "new": taken, "height": tip.height, "tip": tip.id.to_hex(),
            "seconds": seconds,
        }));
    }
    output::line(format!(
        "read {read} blocks, {taken} of them new, in {seconds:.1} s; the tip is {} at height {}",
        tip.id, tip.height
    ))
}

/// Whether the block was not there before.
fn is_new(outcome: &BlockOutcome, height: u64) -> Result<bool, CliError> {
    match outcome {
        BlockOutcome::Stored { .. } => Ok(true),
        BlockOutcome::Known => Ok(false),
        BlockOutcome::Invalid(violation) => Err(refused(height, violation)),
        BlockOutcome::Orphan { parent } => Err(CliError::failed(format!(
            "the file's block at height {height} follows {parent}, which is not stored here"
        ))
        .expected("a file that begins at or below this chain's tip")),
        BlockOutcome::Held { from } => Err(CliError::failed(format!(
            "the block at height {height} is of the future: its time comes at {from}"
        ))
        .next("cairn doctor")),
        BlockOutcome::Refused(refusal) => Err(CliError::failed(format!(
            "the block at height {height} was not taken: {refusal:?}"
        ))),
    }
}

fn refused(height: u64, violation: &impl std::fmt::Display) -> CliError {
    CliError::failed(format!(
        "the block at height {height} is invalid: {violation}"
    ))
    .expected("a chain file of a sound chain")
}

fn now() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
