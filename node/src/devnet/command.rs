//! `cairn devnet`: the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::chain::ChainOrder;
use super::control::{self, Request};
use super::error::DevnetError;
use super::layout::Layout;
use super::ports::PortBase;
use super::start::Order;
use super::supervisor;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output;

/// More nodes than this on one machine are a mistake; each takes some 60 MB and a miner.
const NODES_MAX: u16 = 64;
/// The parts that the nodes run unless told otherwise.
const ROLES_DEFAULT: &str = "ledger,sql";
/// A day: the longest block time that a specification may have.
const BLOCK_TIME_MS_MAX: u64 = 86_400_000;

/// Arguments of `cairn devnet`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = false,
    subcommand_negates_reqs = true
)]
pub struct DevnetArgs {
    /// Act on a running devnet instead of starting one
    #[command(subcommand)]
    pub command: Option<DevnetCommand>,
    /// Everything of the devnet lives here
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "./cairn-devnet"
    )]
    pub data_dir: PathBuf,
    /// How many nodes [default: as many as last time, at first 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    pub nodes: Option<u16>,
    /// The engine that orders blocks
    #[arg(long, value_name = "ENGINE", conflicts_with = "spec")]
    pub consensus: Option<ConsensusName>,
    /// Begin a new chain
    #[arg(long)]
    pub fresh: bool,
    /// Time between blocks, such as 2s or 500ms [default: 2s]
    #[arg(long, value_name = "TIME", conflicts_with = "spec", value_parser = parse_block_time)]
    pub block_time: Option<u64>,
    /// The parts that the nodes run [default: ledger,sql]
    #[arg(long, value_name = "ledger,sql")]
    pub roles: Option<String>,
    /// Port for peers of node 0; node i takes this + i [default: 7000, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub p2p_port: Option<u16>,
    /// Port of the HTTP interface of node 0 [default: 8080, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Port of the SQL interface of node 0 [default: 5432, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub sql_port: Option<u16>,
    /// A chain specification to start from instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Restart nodes that end by themselves
    #[arg(long)]
    pub restart: bool,
    /// Print JSON (stop, status, add-node, start-node)
    #[arg(long, global = true)]
    pub json: bool,
}

/// The engines of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConsensusName {
    /// Proof of work
    Pow,
    /// Votes of fixed validators
    Pbft,
    /// Votes by stake
    Pos,
    /// Votes of delegates
    Dpos,
}

impl ConsensusName {
    /// The engine's name in a specification.
    fn engine(self) -> &'static str {
        match self {
            ConsensusName::Pow => "pow",
            ConsensusName::Pbft => "pbft",
            ConsensusName::Pos => "pos",
            ConsensusName::Dpos => "dpos",
        }
    }
}

/// Commands for a running devnet.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum DevnetCommand {
    /// Stop all nodes
    Stop,
    /// Tell how every node is
    Status,
    /// Start one more node
    AddNode,
    /// Start a node that is down
    StartNode {
        /// Its name, such as node-2
        #[arg(value_name = "NAME")]
        name: String,
    },
}

fn parse_block_time(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit_ms))
        .filter(|ms| (1..=BLOCK_TIME_MS_MAX).contains(ms))
        .ok_or_else(|| "expected a time from 1ms to 1440m, such as 2s or 500ms".to_owned())
}

/// Runs a devnet, or one command on a running one.
///
/// # Errors
/// Exit code 2 for wrong usage, 1 when a devnet does not start or not do as asked.
pub fn run(args: DevnetArgs) -> CliResult {
    let failed = |error: DevnetError| CliError::from(&error);
    let layout = Layout::new(&args.data_dir).map_err(failed)?;
    let Some(command) = args.command.clone() else {
        check_engine(args.consensus)?;
        return supervisor::run(layout, order(args)).map_err(failed);
    };
    let answer = act(&layout, &command).map_err(failed)?;
    if args.json {
        return output::json(&answer);
    }
    output::line(told(&command, &answer, layout.root()))
}

fn check_engine(consensus: Option<ConsensusName>) -> CliResult {
    let missing = match consensus {
        None | Some(ConsensusName::Pow | ConsensusName::Pbft) => return Ok(()),
        Some(ConsensusName::Pos) => "the proof-of-stake engine (--consensus pos)",
        Some(ConsensusName::Dpos) => "the delegated proof-of-stake engine (--consensus dpos)",
    };
    Err(CliError::not_built(missing))
}

fn order(args: DevnetArgs) -> Order {
    let base = |what, flag, given: Option<u16>, first| PortBase {
        what,
        flag,
        first: given.unwrap_or(first),
        is_given: given.is_some(),
    };
    Order {
        nodes: args.nodes.map(usize::from),
        chain: ChainOrder {
            spec: args.spec,
            block_time_ms: args.block_time,
            engine: args.consensus.map(ConsensusName::engine),
        },
        is_fresh: args.fresh,
        restarts: args.restart,
        roles: args.roles.unwrap_or_else(|| ROLES_DEFAULT.to_owned()),
        p2p: base("p2p", "--p2p-port", args.p2p_port, 7000),
        api: base("api", "--api-port", args.api_port, 8080),
        sql: base("sql", "--sql-port", args.sql_port, 5432),
    }
}

fn act(layout: &Layout, command: &DevnetCommand) -> Result<Value, DevnetError> {
    let request = match command {
        DevnetCommand::Stop => Request::Stop,
        DevnetCommand::Status => Request::Status,
        DevnetCommand::AddNode => Request::AddNode,
        DevnetCommand::StartNode { name } => Request::StartNode { name: name.clone() },
    };
    control::call(layout, &request)
}

fn told(command: &DevnetCommand, answer: &Value, root: &Path) -> String {
    match command {
        DevnetCommand::Stop => format!("stopped the devnet in {}", root.display()),
        DevnetCommand::Status => status_text(answer, root),
        DevnetCommand::AddNode | DevnetCommand::StartNode { .. } => {
            format!(
                "{} is up: http://{}/",
                field(answer, "name"),
                field(answer, "api")
            )
        }
    }
}

fn status_text(answer: &Value, root: &Path) -> String {
    let mut lines = vec![format!(
        "devnet in {}, chain {}",
        root.display(),
        field(answer, "chain")
    )];
    for node in answer["nodes"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{:<8} {:<8} pid {:<8} height {:<8} peers {:<3} http://{}/",
            field(node, "name"),
            field(node, "state"),
            field(node, "pid"),
            field(node, "height"),
            field(node, "peers"),
            field(node, "api"),
        ));
    }
    lines.join("\n")
}

fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Cli {
        #[command(flatten)]
        devnet: DevnetArgs,
    }

    fn parse(line: &str) -> Result<DevnetArgs, clap::Error> {
        let words = std::iter::once("devnet").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.devnet)
    }

    #[test]
    fn the_flags_of_the_interface_are_there() {
        let args = parse(
            "--nodes 4 --consensus pow --data-dir D --fresh --block-time 2s --roles ledger,sql \
             --p2p-port 7000 --api-port 8080 --sql-port 5432",
        )
        .unwrap();
        assert_eq!((args.nodes, args.block_time), (Some(4), Some(2000)));
        let order = order(args);
        assert!(order.is_fresh && order.p2p.is_given && order.api.is_given);
        let plain = super::order(parse("").unwrap());
        assert_eq!((plain.p2p.first, plain.p2p.is_given), (7000, false));
        assert_eq!((plain.api.first, plain.api.is_given), (8080, false));
    }

    #[test]
    fn commands_take_the_directory_before_and_after() {
        for line in ["--data-dir D stop", "stop --data-dir D"] {
            let args = parse(line).unwrap();
            assert_eq!(args.command, Some(DevnetCommand::Stop));
            assert_eq!(args.data_dir, PathBuf::from("D"));
        }
        for line in ["status --json", "add-node", "start-node node-2"] {
            assert!(parse(line).unwrap().command.is_some(), "{line}");
        }
        assert!(parse("start-node").is_err());
    }

    #[test]
    fn a_specification_excludes_what_it_decides() {
        assert!(parse("--spec F").is_ok());
        for line in ["--spec F --consensus pow", "--spec F --block-time 2s"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn wrong_numbers_are_wrong_usage() {
        for line in [
            "--nodes 0",
            "--nodes 65",
            "--block-time 0s",
            "--block-time 2h",
            "--block-time -1s",
            "--block-time 1441m",
            "--block-time x",
            "--consensus raft",
            "--p2p-port 65536",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        let time = |line: &str| parse(line).unwrap().block_time;
        assert_eq!(time("--block-time 500ms"), Some(500));
        assert_eq!(time("--block-time 1m"), Some(60_000));
    }

    #[test]
    fn engines_that_are_not_built_are_named() {
        for (name, word) in [("pos", "proof-of-stake"), ("dpos", "delegated")] {
            let args = parse(&format!("--consensus {name}")).unwrap();
            let error = check_engine(args.consensus).unwrap_err();
            assert!(
                error.is_usage && error.to_string().contains(word),
                "{error}"
            );
        }
        for built in [ConsensusName::Pow, ConsensusName::Pbft] {
            assert!(check_engine(Some(built)).is_ok());
        }
    }
}
