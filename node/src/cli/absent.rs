//! Commands of parts that are not in this version: they exist, exit 2 and name what is missing.

use clap::Args;

use super::error::{CliError, CliResult};

/// Whatever follows the name of a command that is not built; read only to be refused politely.
#[derive(Args, Debug)]
pub struct AnyArgs {
    /// Anything; the command itself is not part of this version
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

/// Refuses a command of a part that is not built.
///
/// # Errors
/// Always, with exit code 2.
pub fn refuse(command: &str, part: &str, args: &AnyArgs) -> CliResult {
    let mut words = vec!["cairn", command];
    words.extend(args.rest.iter().map(String::as_str));
    Err(CliError::not_built(part).value(words.join(" ")))
}
