//! `cairn chain spec new | check`.

use std::io::Write;
use std::path::Path;

use cairn_protocol::hash::Hash;
use cairn_protocol::spec::{ChainParams, SpecFile, builtin};
use serde_json::{Value, json};

use super::SpecArgs;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output;

/// Reads a specification and makes a chain of it.
///
/// # Errors
/// Wrong usage: the file cannot be read, or a value in it breaks a rule of specifications.
pub fn read(path: &Path) -> Result<ChainParams, CliError> {
    let failed = |cause: String| {
        CliError::usage(cause)
            .value(path.display())
            .expected("a chain specification")
            .next("cairn chain spec new FILE")
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| failed(format!("cannot read the specification: {e}")))?;
    ChainParams::from_toml(&text).map_err(|e| failed(e.to_string()))
}

pub(super) fn new(args: &SpecArgs) -> CliResult {
    let file = SpecFile {
        seed: Hash(rand::random()),
        ..builtin::devnet_file()
    };
    let text = file.to_toml();
    let params = ChainParams::from_toml(&text).map_err(CliError::failed)?;
    let failed = |e: std::io::Error| {
        CliError::failed(format!("cannot write the specification: {e}"))
            .value(args.file.display())
            .expected("a file that does not exist yet, in a directory that can be written")
    };
    let mut out = std::fs::File::create_new(&args.file).map_err(failed)?;
    out.write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .map_err(failed)?;
    show(args, &params)
}

pub(super) fn check(args: &SpecArgs) -> CliResult {
    show(args, &read(&args.file)?)
}

fn describe(params: &ChainParams) -> Value {
    json!({
        "name": params.name(),
        "network": params.network().to_string(),
        "devnet": params.is_devnet(),
        "genesis": params.chain_id().to_hex(),
        "spec_hash": params.spec_hash().to_hex(),
        "chain_tag": params.chain_tag(),
        "block_time_ms": params.timing().block_time_ms,
        "pow_function": params.timing().pow_function,
        "money_cap": params.limits().money_cap.0.to_string(),
        "funded": params.genesis_coins().len(),
        "engines": params.schedule().iter().map(|entry| entry.engine.name()).collect::<Vec<_>>(),
    })
}

fn show(args: &SpecArgs, params: &ChainParams) -> CliResult {
    let Value::Object(facts) = describe(params) else {
        unreachable!("made as an object")
    };
    if args.json {
        return output::json(&facts);
    }
    let rows: Vec<(&str, String)> = facts
        .iter()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.as_str(), text)
        })
        .collect();
    output::line(output::pairs(&rows))
}
