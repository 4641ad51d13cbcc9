//! `cairn chain verify`: nothing stored is believed.
//!
//! Two passes. The headers are judged by their engines' rules, as when a peer sends them, with every
//! seal. Then the
//! store reads the bytes of its blocks from the beginning, builds a second chain beside it and
//! compares every row. One flipped byte in any coin, undo or index row is found and named.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_consensus::nakamoto::check_clock;
use cairn_consensus::sealed::HeaderVerifier;
use cairn_protocol::block::HeaderRecord;
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::Ed25519;
use cairn_protocol::spec::ChainParams;
use cairn_storage::chain::{ChainSnapshot, verify};
use cairn_storage::disk::RealDisk;
use serde_json::json;

use super::VerifyArgs;
use super::store::{self, OpenChain, storage_error};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output;
use crate::cli::progress::Progress;

/// Header records read at a time.
const RECORDS: usize = 2_000;
/// The directory of the second chain, inside the data directory.
const SCRATCH_DIRECTORY: &str = "verify.scratch";

/// What was looked at and found.
#[derive(Default)]
struct Findings {
    headers: u64,
    records: u64,
    blocks: u64,
    rows: u64,
    problems: Vec<String>,
}

pub(super) fn run(args: &VerifyArgs) -> CliResult {
    let mut open = store::open(&args.stored)?;
    let snapshot = open.store.snapshot();
    let mut findings = Findings::default();
    headers(&open.params, &snapshot, &mut findings)?;
    drop(snapshot);
    if !args.headers {
        rows(&mut open, &mut findings)?;
    }
    report(args, &findings)
}

fn headers(
    params: &Arc<ChainParams>,
    snapshot: &ChainSnapshot,
    findings: &mut Findings,
) -> CliResult {
    let total = snapshot.tip().0;
    let mut progress = Progress::new("checking headers", total);
    let mut verifier = HeaderVerifier::new(params.clone());
    let mut height = 1;
    'chain: while height <= total {
        let records = snapshot.records(height, RECORDS).map_err(storage_error)?;
        if records.is_empty() {
            findings.problems.push(format!(
                "no header at height {height} below the tip at {total}"
            ));
            break;
        }
        for record in &records {
            if let Err(violation) = judge(params, &mut verifier, record) {
                findings
                    .problems
                    .push(format!("header at height {height}: {violation}"));
                break 'chain;
            }
            findings.headers += 1;
            height += 1;
        }
        progress.at(findings.headers, total);
    }
    progress.finish();
    Ok(())
}

/// Judges one record after all before it, as when a peer sends it.
fn judge(
    params: &ChainParams,
    verifier: &mut HeaderVerifier,
    record: &HeaderRecord,
) -> Result<(), Violation> {
    verifier.push(record, &Ed25519)?;
    // Sealed blocks are held to no clock.
    if params.is_sealed_ruleset(&record.extension.ruleset_id) {
        return Ok(());
    }
    check_clock(params, &record.header, now())
}

fn rows(open: &mut OpenChain, findings: &mut Findings) -> CliResult {
    let scratch = open.directory.join(SCRATCH_DIRECTORY);
    let failed = |error: std::io::Error| {
        CliError::failed(format!("cannot use the scratch directory: {error}"))
            .value(scratch.display())
            .expected("as much free space as the chain's tables have")
            .next("cairn doctor --data-dir DIR")
    };
    let clear = || match std::fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    };
    // An interrupted verification may have left one.
    clear()?;
    let mut progress = Progress::new("verifying", open.store.snapshot().tip().0);
    let verified = verify(
        &mut open.store,
        Arc::new(RealDisk),
        &scratch,
        &mut store::signature_check(),
        &mut |p| progress.at(p.blocks, p.blocks_total),
    );
    progress.finish();
    clear()?;
    let verified = verified.map_err(storage_error)?;
    findings.records = verified.records;
    findings.blocks = verified.blocks;
    findings.rows = verified.rows;
    findings.problems.extend(verified.problems);
    Ok(())
}

fn report(args: &VerifyArgs, findings: &Findings) -> CliResult {
    if args.stored.json {
        output::json(&json!({
            "ok": findings.problems.is_empty(),
            "headers": findings.headers,
            "records": findings.records,
            "blocks": findings.blocks,
            "rows": findings.rows,
            "problems": findings.problems,
        }))?;
    } else {
        for problem in &findings.problems {
            output::line(problem)?;
        }
    }
    if let Some(first) = findings.problems.first() {
        let count = findings.problems.len();
        return Err(
            CliError::failed(format!("the stored chain is not sound: {count} problems"))
                .value(first)
                .next("stop using this directory; import a chain file into a new one"),
        );
    }
    if args.stored.json {
        return Ok(());
    }
    output::line(format!(
        "sound: {} headers, {} log records, {} blocks connected again, {} rows compared",
        findings.headers, findings.records, findings.blocks, findings.rows
    ))
}

fn now() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
