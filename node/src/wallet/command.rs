//! `cairn wallet`: the command line of the wallet.
//!
//! Invariant: exit code 0 means done, 1 failed, 2 wrong usage; with `--json` standard output holds
//! one JSON document and nothing else; notes for people go to standard error.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use cairn_protocol::address::{Address, Network};
use cairn_protocol::units::{Amount, FeeRate};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::balance::balance;
use super::chain_binding::bind;
use super::derivation::Branch;
use super::directory::{KeyProtection, Wallet};
use super::discovery::{GAP_LIMIT, discover};
use super::error::WalletError;
use super::history::{HistoryEntry, history};
use super::node_client::NodeClient;
use super::send::{FeeChoice, send, settle};
use super::words::Words;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output;
use crate::keystore::PasswordSource;

/// Blocks within which a payment should confirm unless told otherwise.
const TARGET_BLOCKS: u64 = 6;
/// 24 words of at most 8 letters, with room for odd white space.
const WORDS_BYTES_MAX: u64 = 4096;

/// Arguments of `cairn wallet`.
#[derive(Args, Debug)]
pub struct WalletArgs {
    /// What to do
    #[command(subcommand)]
    pub command: WalletCommand,
    /// The wallet's own directory [default: $HOME/.cairn/wallet]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The HTTP interface of a node
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub api: String,
    /// A file whose first line is the password (or set CAIRN_WALLET_PASSWORD)
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The network of a new wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkName {
    /// Addresses begin with crn1
    Mainnet,
    /// Addresses begin with tcrn1
    Testnet,
    /// Addresses begin with dcrn1
    Devnet,
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::Mainnet => Self::Mainnet,
            NetworkName::Testnet => Self::Testnet,
            NetworkName::Devnet => Self::Devnet,
        }
    }
}

/// Commands of `cairn wallet`.
#[derive(Subcommand, Debug)]
pub enum WalletCommand {
    /// Make a wallet and print its words
    New {
        /// Whose addresses [default: the network of the node at --api, else devnet]
        #[arg(long)]
        network: Option<NetworkName>,
    },
    /// Make a wallet from the 12 or 24 words of an old one
    Restore {
        /// Whose addresses [default: the network of the node at --api, else devnet]
        #[arg(long)]
        network: Option<NetworkName>,
        /// A file with the words; without it they are read from standard input
        #[arg(long, value_name = "FILE")]
        words_file: Option<PathBuf>,
        /// Unused addresses in a row after which the search for old ones ends
        #[arg(long, value_name = "N", default_value_t = GAP_LIMIT)]
        gap_limit: usize,
    },
    /// List the wallet's addresses
    List,
    /// Print the address to give out
    Address {
        /// Make a new one
        #[arg(long)]
        new: bool,
        /// Name the address, for yourself
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Print what the wallet is worth
    Balance,
    /// Pay
    Send {
        /// The recipient's address
        #[arg(value_name = "TO")]
        to: String,
        /// How much, in CRN, such as 1.5
        #[arg(value_name = "AMOUNT", allow_hyphen_values = true)]
        amount: String,
        /// Pebbles per 1,000 weight
        #[arg(long, value_name = "RATE", conflicts_with = "target")]
        fee_rate: Option<u64>,
        /// Blocks within which it should confirm
        #[arg(long, value_name = "BLOCKS", default_value_t = TARGET_BLOCKS)]
        target: u64,
        /// Repeat the choice of coins of another payment with the same seed
        #[arg(long, value_name = "N", hide = true)]
        seed: Option<u64>,
    },
    /// List the wallet's transactions, newest first
    History,
    /// Print the addresses for somebody who may watch but not spend
    ExportWatch,
}

/// Runs one wallet command and prints its outcome.
///
/// # Errors
/// Exit code 2 for a wrong address or amount, 1 for everything that fails.
pub fn run(args: WalletArgs) -> CliResult {
    // No core dump and no debugger of another process may show keys; not worth failing for.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let is_json = args.json;
    let outcome = answer(args).map_err(|error| CliError::from(&error))?;
    if is_json {
        output::json(&outcome.json)
    } else {
        output::line(outcome.text.trim_end())
    }
}

impl From<&WalletError> for CliError {
    fn from(error: &WalletError) -> Self {
        if error.is_usage() {
            return Self::usage(error).next("cairn wallet --help");
        }
        Self::failed(error)
    }
}

/// What a command answers, for people and for programs.
struct Outcome {
    text: String,
    json: Value,
}

fn answer(args: WalletArgs) -> Result<Outcome, WalletError> {
    let path = match args.data_dir {
        Some(path) => path,
        None => default_directory()?,
    };
    let node = NodeClient::new(&args.api);
    let password = PasswordSource {
        file: args.password_file,
    };
    match args.command {
        WalletCommand::New { network } => new(&path, &node, &password, network),
        WalletCommand::Restore {
            network,
            words_file,
            gap_limit,
        } => {
            let words = read_words(words_file.as_deref())?;
            restore(&path, &node, &password, network, &words, gap_limit)
        }
        WalletCommand::List => Ok(list(&Wallet::open(&path)?)),
        WalletCommand::Address { new, label } => {
            address(&mut Wallet::open(&path)?, &password, new, label)
        }
        WalletCommand::Balance => show_balance(&mut Wallet::open(&path)?, &node),
        WalletCommand::Send {
            to,
            amount,
            fee_rate,
            target,
            seed,
        } => {
            let fee = fee_rate.map_or(FeeChoice::Target(target), |r| FeeChoice::Rate(FeeRate(r)));
            let seed = seed.unwrap_or_else(rand::random);
            pay(
                &mut Wallet::open(&path)?,
                &node,
                &password,
                &to,
                &amount,
                fee,
                seed,
            )
        }
        WalletCommand::History => show_history(&mut Wallet::open(&path)?, &node),
        WalletCommand::ExportWatch => Ok(export_watch(&Wallet::open(&path)?)),
    }
}

fn default_directory() -> Result<PathBuf, WalletError> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(|home| Path::new(&home).join(".cairn/wallet"))
        .ok_or_else(|| WalletError::Io {
            action: "find the wallet without --data-dir".into(),
            source: std::io::Error::other("HOME is not set"),
        })
}

/// The asked network, else the node's, else devnet with a note.
fn network_for(asked: Option<NetworkName>, node: &NodeClient) -> Network {
    if let Some(name) = asked {
        return name.into();
    }
    let chain = node.status().map(|status| status.chain);
    match chain.as_deref() {
        Ok("mainnet") => Network::Mainnet,
        Ok("testnet") => Network::Testnet,
        Ok(_) => Network::Devnet,
        Err(_) => {
            let base = node.base();
            eprintln!("note: no node answers at {base}; this wallet is for devnets (--network)");
            Network::Devnet
        }
    }
}

fn new(
    path: &Path,
    node: &NodeClient,
    password: &PasswordSource,
    network: Option<NetworkName>,
) -> Result<Outcome, WalletError> {
    if Wallet::exists(path) {
        return Err(WalletError::Exists(path.into()));
    }
    let network = network_for(network, node);
    let protection = KeyProtection::Password(password.choose()?);
    let words = Words::generate();
    let wallet = Wallet::create(path, network, &words, &protection)?;
    let address = wallet.state().current_address().address.clone();
    let phrase = words.phrase();
    eprintln!("note: whoever knows the words has the money; write them down, on paper");
    Ok(Outcome {
        text: format!(
            "words    {}\naddress  {address}\nnetwork  {network}",
            *phrase
        ),
        json: json!({"address": address, "network": network, "words": *phrase}),
    })
}

fn read_words(file: Option<&Path>) -> Result<Words, WalletError> {
    let mut text = Zeroizing::new(String::with_capacity(WORDS_BYTES_MAX as usize + 1));
    let (from, read) = match file {
        Some(path) => {
            let opened = std::fs::File::open(path);
            let read = opened.and_then(|f| f.take(WORDS_BYTES_MAX).read_to_string(&mut text));
            (path.display().to_string(), read)
        }
        None if std::io::stdin().is_terminal() => {
            eprint!("Words: ");
            (
                "the terminal".to_owned(),
                std::io::stdin().read_line(&mut text),
            )
        }
        None => {
            let read = std::io::stdin()
                .take(WORDS_BYTES_MAX)
                .read_to_string(&mut text);
            ("standard input".to_owned(), read)
        }
    };
    read.map_err(|source| WalletError::Io {
        action: format!("read words from {from}"),
        source,
    })?;
    Ok(Words::parse(&text)?)
}

fn restore(
    path: &Path,
    node: &NodeClient,
    password: &PasswordSource,
    network: Option<NetworkName>,
    words: &Words,
    gap_limit: usize,
) -> Result<Outcome, WalletError> {
    if Wallet::exists(path) {
        return Err(WalletError::Exists(path.into()));
    }
    let network = network_for(network, node);
    let protection = KeyProtection::Password(password.choose()?);
    let mut wallet = Wallet::create(path, network, words, &protection)?;
    let keys = super::KeyRing::new(&words.seed()[..], network);
    let is_searched = match bind(&mut wallet, node) {
        Ok(_) => discover(&mut wallet, &keys, node, gap_limit).map(|_| true)?,
        Err(WalletError::Node(error)) => {
            eprintln!("note: old addresses were not looked for: {error}");
            eprintln!("note: remove the directory and restore again when a node answers");
            false
        }
        Err(error) => return Err(error),
    };
    let state = wallet.state();
    let address = state.current_address().address.clone();
    let (receive, change) = (state.receive.len(), state.change.len());
    Ok(Outcome {
        text: format!("address  {address}\nreceive  {receive}\nchange   {change}"),
        json: json!({
            "address": address, "network": network, "receive": receive, "change": change,
            "searched": is_searched,
        }),
    })
}

fn list(wallet: &Wallet) -> Outcome {
    let entries: Vec<_> = wallet.state().addresses().collect();
    let line = |(branch, index, entry): &(Branch, u32, &super::AddressEntry)| {
        let label = entry.label.as_deref().unwrap_or("");
        let used = if entry.used { "used" } else { "" };
        format!(
            "{:<8}{index:>5}  {}  {used:<4}  {label}",
            branch.name(),
            entry.address
        )
    };
    let json = |(branch, index, entry): &(Branch, u32, &super::AddressEntry)| {
        json!({
            "address": entry.address, "branch": branch, "index": index, "label": entry.label,
            "used": entry.used,
        })
    };
    let lines: Vec<String> = entries
        .iter()
        .map(|e| line(e).trim_end().to_owned())
        .collect();
    Outcome {
        text: lines.join("\n"),
        json: json!({"addresses": entries.iter().map(json).collect::<Vec<_>>()}),
    }
}

fn address(
    wallet: &mut Wallet,
    password: &PasswordSource,
    is_new: bool,
    label: Option<String>,
) -> Result<Outcome, WalletError> {
    if is_new {
        if wallet.state().unused_tail() >= GAP_LIMIT {
            eprintln!("note: the last {GAP_LIMIT} addresses were never used; to find later ones a");
            eprintln!("note: restore needs a larger --gap-limit");
        }
        let keys = wallet.keys(|| password.read())?;
        let count = wallet.state().receive.len() + 1;
        wallet.extend(&keys, Branch::Receive, count)?;
    }
    if label.is_some() {
        wallet.update(|state| {
            if let Some(entry) = state.receive.last_mut() {
                entry.label = label;
            }
        })?;
    }
    let address = wallet.state().current_address().address.clone();
    Ok(Outcome {
        json: json!({"address": address}),
        text: address,
    })
}

fn show_balance(wallet: &mut Wallet, node: &NodeClient) -> Result<Outcome, WalletError> {
    bind(wallet, node)?;
    let sum = balance(wallet, node)?;
    let pending = match u64::try_from(sum.pending.unsigned_abs()) {
        Ok(pebbles) if sum.pending < 0 => format!("-{}", Amount(pebbles).to_crn()),
        Ok(pebbles) => Amount(pebbles).to_crn(),
        Err(_) => sum.pending.to_string(),
    };
    let mut text = format!("confirmed  {} CRN", sum.confirmed.to_crn());
    if sum.pending != 0 {
        text += &format!("\npending    {pending} CRN");
    }
    if sum.immature != Amount::ZERO {
        text += &format!("\nimmature   {} CRN", sum.immature.to_crn());
    }
    Ok(Outcome {
        text,
        json: json!({
            "confirmed": sum.confirmed.0.to_string(),
            "pending": sum.pending.to_string(),
            "immature": sum.immature.0.to_string(),
        }),
    })
}

fn pay(
    wallet: &mut Wallet,
    node: &NodeClient,
    password: &PasswordSource,
    to: &str,
    amount: &str,
    fee: FeeChoice,
    seed: u64,
) -> Result<Outcome, WalletError> {
    let to = Address::parse(to, wallet.network())?;
    let amount = Amount::parse_crn(amount)?;
    let keys = wallet.keys(|| password.read())?;
    let sent = send(wallet, &keys, node, to, amount, fee, seed)?;
    Ok(Outcome {
        text: format!(
            "sent    {} CRN\nfee     {} CRN\nchange  {} CRN\ntxid    {}",
            amount.to_crn(),
            sent.fee.to_crn(),
            sent.change.to_crn(),
            sent.txid
        ),
        json: json!({
            "txid": sent.txid,
            "fee": sent.fee.0.to_string(),
            "change": sent.change.0.to_string(),
        }),
    })
}

fn show_history(wallet: &mut Wallet, node: &NodeClient) -> Result<Outcome, WalletError> {
    let status = bind(wallet, node)?;
    settle(wallet, node)?;
    let entries = history(wallet, node, status.height)?;
    let lines: Vec<String> = entries.iter().map(history_line).collect();
    Ok(Outcome {
        text: lines.join("\n"),
        json: json!({"transactions": entries}),
    })
}

fn history_line(entry: &HistoryEntry) -> String {
    let pebbles = entry.amount.trim_start_matches('-');
    let crn = pebbles
        .parse()
        .map_or(pebbles.to_owned(), |pebbles| Amount(pebbles).to_crn());
    let sign = if entry.amount.starts_with('-') {
        "-"
    } else {
        "+"
    };
    let height = entry
        .height
        .map_or(entry.state.to_owned(), |height| format!("block {height}"));
    format!(
        "{}  {sign}{crn} CRN  {height}  {} confirmations",
        entry.txid, entry.confirmations
    )
}

fn export_watch(wallet: &Wallet) -> Outcome {
    let state = wallet.state();
    let addresses: Vec<Value> = state
        .addresses()
        .map(|(branch, index, entry)| {
            json!({"address": entry.address, "branch": branch, "index": index})
        })
        .collect();
    let json = json!({"network": state.network, "genesis": state.genesis, "addresses": addresses});
    Outcome {
        text: format!("{json:#}"),
        json,
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
