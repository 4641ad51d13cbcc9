//! `cairn chain`: specifications and the stored chain, without a running node.

mod specification;
mod store;
mod transfer;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::error::CliResult;

pub use store::{SPECIFICATION_FILE, remember_specification};

/// The commands of `cairn chain`.
#[derive(Subcommand, Debug)]
pub enum ChainCommand {
    /// Make or check a chain specification
    #[command(subcommand)]
    Spec(SpecCommand),
    /// Write the chain of a data directory into a file
    Export(TransferArgs),
    /// Read the blocks of a file into a data directory, checking every rule
    Import(TransferArgs),
    /// Recompute a stored chain from its blocks' bytes and compare every stored row
    Verify(VerifyArgs),
}

/// The commands of `cairn chain spec`.
#[derive(Subcommand, Debug)]
pub enum SpecCommand {
    /// Write a specification to start from: a devnet with a seed of its own
    New(SpecArgs),
    /// Check a specification and tell its genesis
    Check(SpecArgs),
}

/// The arguments of `cairn chain spec new|check`.
#[derive(Args, Debug)]
pub struct SpecArgs {
    /// The specification
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which stored chain.
#[derive(Args, Debug)]
pub struct StoredChain {
    /// The data directory of a node that does not run
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The chain in it; without it the chain.toml in DIR or above it
    #[arg(long, value_name = "devnet|testnet|FILE")]
    pub chain: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `cairn chain export|import`.
#[derive(Args, Debug)]
pub struct TransferArgs {
    /// The chain file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The chain
    #[command(flatten)]
    pub stored: StoredChain,
}

/// The arguments of `cairn chain verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Check the headers' rules only: work, targets, times, what they commit to
    #[arg(long)]
    pub headers: bool,
    /// The chain
    #[command(flatten)]
    pub stored: StoredChain,
}

/// Runs a command of `cairn chain`.
///
/// # Errors
/// When a file or directory cannot be used, or what is in it is not sound.
pub fn run(command: &ChainCommand) -> CliResult {
    match command {
        ChainCommand::Spec(SpecCommand::New(args)) => specification::new(args),
        ChainCommand::Spec(SpecCommand::Check(args)) => specification::check(args),
        ChainCommand::Export(args) => transfer::export(args),
        ChainCommand::Import(args) => transfer::import(args),
        ChainCommand::Verify(args) => verify::run(args),
    }
}
