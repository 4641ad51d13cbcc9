//! The command line: one tree, one file per command, one way to fail.
//!
//! Invariant: exit code 0 means done, 1 failed, 2 wrong usage; answers go to standard output, logs
//! and errors to standard error. The tree is the one of the project's interface page; a command
//! whose part is not built is in the tree and says so.

pub mod absent;
pub mod error;
pub mod logging;
pub mod node;
pub mod output;
pub mod shell;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{devnet, wallet};
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
    /// Run a private network of nodes on this machine
    Devnet(Box<devnet::command::DevnetArgs>),
    /// Receive, hold and send money
    Wallet(wallet::command::WalletArgs),
    /// Bond, delegate and vote
    Validator(absent::AnyArgs),
    /// Check another implementation against the specification
    Conformance(absent::AnyArgs),
    /// Look after the replicated database
    Db(absent::AnyArgs),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Write manual pages
    Man(shell::ManArgs),
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
        Command::Devnet(args) => devnet::command::run(*args),
        Command::Wallet(args) => wallet::command::run(args),
        Command::Validator(args) => {
            absent::refuse("validator", "the validator (PBFT, PoS, DPoS)", &args)
        }
        Command::Conformance(args) => {
            absent::refuse("conformance", "the conformance runner", &args)
        }
        Command::Db(args) => absent::refuse("db", "the SQL database", &args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
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
