//! The node as the wallet sees it: a few HTTP requests with deadlines.
//!
//! Invariant: an answer of another shape is an error that names the URL, never a guess. Amounts
//! arrive as strings of pebbles, hashes as lower-case hex in wire order.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::{Amount, FeeRate, Height};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// Opening a connection to a node on the same machine or network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One whole request: a busy node may queue it, a dead one must not hold the wallet.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Coins and transactions asked for at once.
const UTXOS_PAGE: usize = 1000;
const TRANSACTIONS_PAGE: usize = 100;
/// Pages followed for one address: at 100 a page and more this is far beyond any wallet.
const PAGES_MAX: usize = 10_000;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Why a node did not answer usefully.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or the connection broke.
    #[error("no answer from {url}: {reason}; is a node running there? try --api URL")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The node said no.
    #[error("{url} answered {status} {code}: {detail}")]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// The problem document's `code`.
        code: String,
        /// The problem document's `detail` or `title`.
        detail: String,
    },
    /// The answer is not what the interface promises.
    #[error("{url} did not answer like a cairn node: {reason}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What does not fit.
        reason: String,
    },
}

impl ClientError {
    /// Whether the node does not know what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the node judged the request and will judge it the same way again.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400..=499,
                ..
            }
        )
    }
}

/// `GET /v1/status`, as far as wallet and devnet need it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeStatus {
    /// The chain's name.
    pub chain: String,
    /// The chain's identity.
    pub genesis: BlockId,
    /// This node's id on the swarm.
    pub peer_id: String,
    /// The engine of the tip.
    pub consensus: String,
    /// Height of the tip.
    pub height: Height,
    /// The tip.
    pub tip: BlockId,
    /// Connected peers.
    pub peers: u64,
    /// Transactions that wait for a block.
    pub mempool_transactions: u64,
    /// Headers that its miner hashes per second.
    #[serde(default)]
    pub hashes_per_second: u64,
}

/// `GET /v1/addresses/{a}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AddressSummary {
    /// Confirmed at the tip, immature included.
    #[serde(deserialize_with = "pebbles")]
    pub balance: Amount,
    /// What the mempool would change.
    #[serde(deserialize_with = "signed_pebbles")]
    pub pending: i128,
    /// How many transactions touch it.
    pub transactions: u64,
}

impl AddressSummary {
    /// Whether anything ever happened on the address.
    pub fn is_used(&self) -> bool {
        self.transactions > 0 || self.balance > Amount::ZERO || self.pending != 0
    }
}

/// An unspent output of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Utxo {
    /// Its transaction.
    pub txid: TxId,
    /// Its place among the outputs.
    pub index: u32,
    /// Its value.
    #[serde(deserialize_with = "pebbles")]
    pub value: Amount,
    /// Whether the next block may spend it.
    pub mature: bool,
}

impl Utxo {
    /// Its name.
    pub fn outpoint(&self) -> OutPoint {
        OutPoint {
            txid: self.txid,
            index: self.index,
        }
    }
}

/// An input or output of a transaction as the node resolves it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Party {
    /// Whose it is, when the lock is a single key.
    pub address: Option<String>,
    /// How much.
    #[serde(deserialize_with = "pebbles")]
    pub value: Amount,
}

/// A transaction as the node tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TransactionRecord {
    /// Its id.
    pub txid: TxId,
    /// What it spends.
    pub inputs: Vec<Party>,
    /// What it creates.
    pub outputs: Vec<Party>,
    /// The block that holds it; none while it waits.
    pub block: Option<Confirmation>,
}

/// Where a transaction is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Confirmation {
    /// Height of the block.
    pub height: Height,
    /// Its time, seconds since 1970.
    pub time: u64,
}

#[derive(Deserialize)]
struct UtxoPage {
    utxos: Vec<Utxo>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct TransactionPage {
    transactions: Vec<TransactionRecord>,
    next_cursor: Option<String>,
}

/// `GET /v1/fees`, as far as a wallet needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fees {
    /// The least rate the mempool takes now.
    #[serde(deserialize_with = "rate")]
    pub min_fee_rate: FeeRate,
    /// Rates by target.
    pub targets: Vec<FeeTarget>,
}

/// The rate expected to confirm within some blocks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FeeTarget {
    /// Blocks.
    pub blocks: u64,
    /// Pebbles per 1,000 weight.
    #[serde(deserialize_with = "rate")]
    pub fee_rate: FeeRate,
}

impl Fees {
    /// The rate for confirmation within `blocks`: the estimate for the largest target not above
    /// it, else the most urgent one, never below the minimum.
    pub fn rate_for(&self, blocks: u64) -> FeeRate {
        let by_blocks: BTreeMap<u64, FeeRate> = self
            .targets
            .iter()
            .map(|target| (target.blocks, target.fee_rate))
            .collect();
        let within = by_blocks
            .range(..=blocks)
            .next_back()
            .or(by_blocks.iter().next());
        within.map_or(self.min_fee_rate, |(_, rate)| {
            (*rate).max(self.min_fee_rate)
        })
    }
}

#[derive(Deserialize)]
struct Accepted {
    txid: TxId,
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// A node's HTTP interface.
pub struct NodeClient {
    base: String,
    agent: ureq::Agent,
}

impl NodeClient {
    /// A client for the node at `url`, such as `http://127.0.0.1:8080`; nothing is sent yet.
    pub fn new(url: &str) -> Self {
        Self::with_timeout(url, REQUEST_TIMEOUT)
    }

    /// The same with another deadline for one whole request.
    pub fn with_timeout(url: &str, timeout: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(timeout))
            .build()
            .new_agent();
        let url = url.trim_end_matches('/');
        let base = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        Self { base, agent }
    }

    /// The node's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the node is and how far it is.
    pub fn status(&self) -> Result<NodeStatus, ClientError> {
        self.get("/v1/status")
    }

    /// An address's sums.
    pub fn address(&self, address: &str) -> Result<AddressSummary, ClientError> {
        self.get(&format!("/v1/addresses/{address}"))
    }

    /// All unspent outputs of an address.
    pub fn utxos(&self, address: &str) -> Result<Vec<Utxo>, ClientError> {
        self.pages(
            &format!("/v1/addresses/{address}/utxos?limit={UTXOS_PAGE}"),
            |page: UtxoPage| (page.utxos, page.next_cursor),
        )
    }

    /// All transactions of an address.
    pub fn transactions(&self, address: &str) -> Result<Vec<TransactionRecord>, ClientError> {
        self.pages(
            &format!("/v1/addresses/{address}/transactions?limit={TRANSACTIONS_PAGE}"),
            |page: TransactionPage| (page.transactions, page.next_cursor),
        )
    }

    /// What waits in the node's mempool for an address.
    pub fn waiting(&self, address: &str) -> Result<Vec<TransactionRecord>, ClientError> {
        let page: TransactionPage = self.get(&format!("/v1/addresses/{address}/mempool"))?;
        Ok(page.transactions)
    }

    /// One transaction, if the node knows it.
    pub fn transaction(&self, txid: &str) -> Result<Option<TransactionRecord>, ClientError> {
        match self.get(&format!("/v1/transactions/{txid}")) {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fee rates.
    pub fn fees(&self) -> Result<Fees, ClientError> {
        self.get("/v1/fees")
    }

    /// Hands a signed transaction over; done when the node answered 202 with its id.
    pub fn submit(&self, hex: &str) -> Result<TxId, ClientError> {
        let url = format!("{}/v1/transactions", self.base);
        let sent = self
            .agent
            .post(&url)
            .send_json(serde_json::json!({ "hex": hex }));
        self.answer::<Accepted>(&url, sent)
            .map(|accepted| accepted.txid)
    }

    /// Whether `path` is answered at all, and with which status.
    pub fn probe(&self, path: &str) -> Result<u16, ClientError> {
        let url = format!("{}{path}", self.base);
        let answer = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| unreachable(&url, &error))?;
        Ok(answer.status().as_u16())
    }

    /// Any JSON answer of the node.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let sent = self.agent.get(&url).call();
        self.answer(&url, sent)
    }

    fn pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        split: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut query = String::new();
        for _ in 0..PAGES_MAX {
            let (items, next) = split(self.get(&format!("{path}{query}"))?);
            all.extend(items);
            match next {
                Some(cursor) => query = format!("&cursor={}", percent_encoded(&cursor)),
                None => return Ok(all),
            }
        }
        let url = format!("{}{path}", self.base);
        Err(ClientError::Malformed {
            url,
            reason: format!("more than {PAGES_MAX} pages"),
        })
    }

    fn answer<T: DeserializeOwned>(
        &self,
        url: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let mut response = sent.map_err(|error| unreachable(url, &error))?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec();
        let body = body.map_err(|error| unreachable(url, &error))?;
        if !(200..300).contains(&status) {
            return Err(refusal(url, status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::Malformed {
            url: url.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn unreachable(url: &str, error: &ureq::Error) -> ClientError {
    ClientError::Unreachable {
        url: url.to_owned(),
        reason: error.to_string(),
    }
}

fn refusal(url: &str, status: u16, body: &[u8]) -> ClientError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let detail = if problem.detail.is_empty() {
        problem.title
    } else {
        problem.detail
    };
    let code = problem.code;
    ClientError::Refused {
        url: url.to_owned(),
        status,
        code,
        detail,
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn pebbles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Amount)
        .map_err(|_| D::Error::custom(format!("'{text}' is no amount")))
}

fn signed_pebbles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("'{text}' is no signed amount")))
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FeeRate, D::Error> {
    pebbles(deserializer).map(|amount| FeeRate(amount.0))
}

#[cfg(test)]
#[path = "node_client_tests.rs"]
mod tests;
