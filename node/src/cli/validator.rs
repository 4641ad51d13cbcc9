//! `cairn validator`: keys of validators.

use super::error::{CliError, CliResult};
use super::output;
use crate::keystore::{Secret, ValidatorKey};
use cairn_protocol::signature::PublicKey;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Arguments of `cairn validator`.
#[derive(Args, Debug)]
pub struct ValidatorArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ValidatorCommand,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum ValidatorCommand {
    /// Show the public key of a key file, or make a new one
    Key {
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Make the file, which must not exist yet
        #[arg(long)]
        new: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put coins at stake
    #[command(disable_help_flag = true)]
    Bond(super::absent::AnyArgs),
    /// Take coins back
    #[command(disable_help_flag = true)]
    Unbond(super::absent::AnyArgs),
    /// Vote with coins for somebody else
    #[command(disable_help_flag = true)]
    Delegate(super::absent::AnyArgs),
    /// How a validator does
    #[command(disable_help_flag = true)]
    Status(super::absent::AnyArgs),
}

/// Runs the command.
///
/// # Errors
/// Exit code 1 when the file cannot be used, 2 for parts that are not built.
pub fn run(args: &ValidatorArgs) -> CliResult {
    let refuse =
        |name: &str, part, rest| super::absent::refuse(&format!("validator {name}"), part, rest);
    match &args.command {
        ValidatorCommand::Key { file, new, json } => key(file, *new, *json),
        ValidatorCommand::Bond(rest) => refuse("bond", "proof of stake", rest),
        ValidatorCommand::Unbond(rest) => refuse("unbond", "proof of stake", rest),
        ValidatorCommand::Delegate(rest) => refuse("delegate", "delegated proof of stake", rest),
        ValidatorCommand::Status(rest) => refuse("status", "the validators' statistics", rest),
    }
}

fn key(file: &std::path::Path, new: bool, as_json: bool) -> CliResult {
    let failed = |error: crate::keystore::ValidatorKeyError| CliError::failed(error.to_string());
    let public: PublicKey = if new {
        let random = Secret::random(32);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(random.expose());
        ValidatorKey::create(file, &seed).map_err(failed)?
    } else {
        ValidatorKey::read(file).map_err(failed)?.public
    };
    let public = hex::encode(public.0);
    if as_json {
        return output::json(&json!({"key": public, "file": file}));
    }
    output::line(public)
}
