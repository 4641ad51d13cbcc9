//! `cairn completions SHELL` and `cairn man DIR`: both are written from the command tree itself, so
//! they cannot lag behind it.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::error::{CliError, CliResult};
use super::output;

/// The arguments of `cairn completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell to write for
    pub shell: Shell,
}

/// The arguments of `cairn man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write the pages into this directory, made if missing
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print the names of the pages as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the completion script of a shell.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(args: &CompletionsArgs, mut tree: Command) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, "cairn", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes one page per command: `cairn.1`, `cairn-node.1`, `cairn-chain-verify.1` …
///
/// # Errors
/// When the directory or a page cannot be written.
pub fn man(args: &ManArgs, tree: Command) -> CliResult {
    let failed = |e: std::io::Error| {
        CliError::failed(format!("cannot write manual pages: {e}"))
            .value(args.dir.display())
            .expected("a directory that can be written")
            .next("cairn man ./man")
    };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let tree = tree.disable_help_subcommand(true);
    let mut pages = Vec::new();
    page_names(&tree, "cairn", &mut pages);
    clap_mangen::generate_to(tree, &args.dir).map_err(failed)?;
    if args.json {
        return output::json(&serde_json::json!({ "dir": args.dir, "pages": pages }));
    }
    output::line(format!(
        "wrote {} pages into {}",
        pages.len(),
        args.dir.display()
    ))
}

fn page_names(command: &Command, name: &str, pages: &mut Vec<String>) {
    pages.push(format!("{name}.1"));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page_names(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}
