//! The command line: one tree, one file per command, one way to fail.
//!
//! Invariant: exit code 0 means done, 1 failed, 2 wrong usage; answers go to standard output, logs
//! and errors to standard error. The tree is the one of the project's interface page; a command
//! whose part is not built is in the tree and says so.

pub mod absent;
pub mod chain;
pub mod client;
pub mod doctor;
pub mod error;
pub mod logging;
pub mod miner;
pub mod node;
pub mod output;
pub mod progress;
pub mod query;
pub mod shell;
pub mod validator;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::devnet::command::{self as devnet, DevnetArgs};
use crate::wallet::command::{self as wallet, WalletArgs};
use error::CliResult;

/// A node of a proof-of-work ledger with SQL over it: run one, run a private network, ask, mine.
#[derive(Parser, Debug)]
#[command(name = "cairn", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Every command of `cairn`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a node
    Node(Box<node::NodeArgs>),
    /// Run a private network of real nodes on this machine
    Devnet(Box<DevnetArgs>),
    /// Keep keys, see balances, pay
    Wallet(Box<WalletArgs>),
    /// Show the state of a running node
    Status(client::NodeUrl),
    /// Show a block
    Block(query::BlockArgs),
    /// Show a transaction
    Tx(query::TxArgs),
    /// Show what waits for a block
    Mempool(client::NodeUrl),
    /// Show a node's peers
    Peers(client::NodeUrl),
    /// Work with specifications and stored chains
    #[command(subcommand)]
    Chain(chain::ChainCommand),
    /// Measure kernels, pause and resume a node's miner
    #[command(subcommand)]
    Miner(miner::MinerCommand),
    /// Keys of validators; bond, delegate and vote
    Validator(validator::ValidatorArgs),
    /// Check another implementation against the specification
    Conformance(absent::AnyArgs),
    /// Look after the replicated database
    Db(absent::AnyArgs),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Write manual pages
    Man(shell::ManArgs),
    /// Look whether this machine can run a node
    Doctor(doctor::DoctorArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with exit code 0 and standard output.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

fn run(command: Command) -> CliResult {
    match command {
        Command::Node(args) => node::run(&args),
        Command::Devnet(args) => devnet::run(*args),
        Command::Wallet(args) => wallet::run(*args),
        Command::Status(node) => query::status(&node),
        Command::Block(args) => query::block(&args),
        Command::Tx(args) => query::transaction(&args),
        Command::Mempool(node) => query::mempool(&node),
        Command::Peers(node) => query::peers(&node),
        Command::Chain(command) => chain::run(&command),
        Command::Miner(command) => miner::run(&command),
        Command::Validator(args) => validator::run(&args),
        Command::Conformance(args) => {
            absent::refuse("conformance", "the conformance runner", &args)
        }
        Command::Db(args) => absent::refuse("db", "the SQL database", &args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
        Command::Doctor(args) => doctor::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
