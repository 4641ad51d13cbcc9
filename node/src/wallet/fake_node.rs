//! A node for the wallet's tests: real HTTP, real signatures, a ledger of a few lines.
//!
//! Invariant: a transaction is taken only when its inputs exist, are unspent and are signed for this
//! chain, as a real node would see it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_protocol::address::{Address, Network};
use cairn_protocol::codec;
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::lock::{Lock, Witness};
use cairn_protocol::signature::{Ed25519, SignatureJob, SignatureScheme};
use cairn_protocol::transaction::{OutPoint, Output, SighashBase, Transaction};
use cairn_protocol::units::Amount;
use serde_json::{Value, json};

use super::node_client::NodeClient;

/// What happens to the next transactions that are handed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As a node should.
    Honest,
    /// Refused by policy.
    Refuses,
    /// Taken, and the connection breaks before the answer.
    LosesAnswers,
    /// The connection breaks before anything is taken.
    LosesRequests,
}

/// The fake node's ledger.
pub struct Ledger {
    /// The chain's identity.
    pub genesis: BlockId,
    /// Tip.
    pub height: u64,
    /// What it does with transactions.
    pub mood: Mood,
    network: Network,
    coins: BTreeMap<OutPoint, (Output, bool)>,
    known: BTreeMap<TxId, (Transaction, Vec<Output>, Option<u64>)>,
}

/// A running fake node.
pub struct FakeNode {
    ledger: Arc<Mutex<Ledger>>,
    url: String,
}

impl FakeNode {
    /// Starts one on a free port.
    pub fn start(network: Network) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger {
            genesis: BlockId([9; 32]),
            height: 5,
            mood: Mood::Honest,
            network,
            coins: BTreeMap::new(),
            known: BTreeMap::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&ledger);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), &mut shared.lock().unwrap());
            }
        });
        Self { ledger, url }
    }

    /// A client for it.
    pub fn client(&self) -> NodeClient {
        NodeClient::new(&self.url)
    }

    /// Its ledger, to look at or to change.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }
}

impl Ledger {
    /// Gives an address a confirmed coin.
    pub fn fund(&mut self, address: &str, crn: u64, is_mature: bool) {
        let txid = TxId([u8::try_from(self.coins.len()).unwrap() + 1; 32]);
        let lock = Address::parse(address, self.network).unwrap().lock();
        let output = Output {
            value: Amount::from_crn(crn),
            lock,
        };
        self.coins
            .insert(OutPoint { txid, index: 0 }, (output, is_mature));
    }

    /// A block with everything that waits.
    pub fn mine(&mut self) {
        self.height += 1;
        let waiting = self
            .known
            .iter_mut()
            .filter(|(_, (_, _, height))| height.is_none());
        for (txid, (transaction, _, height)) in waiting {
            *height = Some(self.height);
            for (index, output) in (0..).zip(&transaction.outputs) {
                let outpoint = OutPoint { txid: *txid, index };
                self.coins.insert(outpoint, (output.clone(), true));
            }
        }
        let spent: Vec<OutPoint> = self
            .known
            .values()
            .flat_map(|(t, _, _)| t.inputs.clone())
            .collect();
        self.coins.retain(|outpoint, _| !spent.contains(outpoint));
    }

    /// Forgets everything that waits, as a node with a full mempool may.
    pub fn forget(&mut self) {
        self.known.retain(|_, (_, _, height)| height.is_some());
    }

    /// The transactions that wait.
    pub fn waiting(&self) -> Vec<&Transaction> {
        let waiting = self
            .known
            .values()
            .filter(|(_, _, height)| height.is_none());
        waiting.map(|(transaction, _, _)| transaction).collect()
    }

    fn output(&self, outpoint: &OutPoint) -> Option<Output> {
        let confirmed = self.coins.get(outpoint).map(|(output, _)| output.clone());
        confirmed.or_else(|| {
            let (transaction, _, _) = self.known.get(&outpoint.txid)?;
            transaction.outputs.get(outpoint.index as usize).cloned()
        })
    }

    fn take(&mut self, transaction: Transaction) -> Result<TxId, (u16, &'static str)> {
        let txid = transaction.txid();
        if self.known.contains_key(&txid) {
            return Ok(txid);
        }
        let is_spent = |outpoint| {
            self.known
                .values()
                .any(|(t, _, _)| t.inputs.contains(outpoint))
        };
        if transaction.inputs.iter().any(is_spent) {
            return Err((409, "transaction_conflict"));
        }
        let spent: Option<Vec<Output>> = transaction
            .inputs
            .iter()
            .map(|input| self.output(input))
            .collect();
        let spent = spent.ok_or((422, "missing_input"))?;
        let base = SighashBase::new(self.genesis, txid, &spent);
        for (input, (witness, output)) in (0..).zip(transaction.witnesses.iter().zip(&spent)) {
            let Witness::Key { key, signature } = *witness else {
                return Err((422, "witness"));
            };
            let job = SignatureJob {
                key,
                signature,
                message: base.sighash(input),
            };
            let is_owner = Address::of_key(self.network, &key).lock() == output.lock;
            if !is_owner || Ed25519.verify(&[job]).is_err() {
                return Err((422, "signature"));
            }
        }
        self.known.insert(txid, (transaction, spent, None));
        Ok(txid)
    }

    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let answer = match (method, &parts[..]) {
            ("GET", ["v1", "status"]) => (200, self.status()),
            ("GET", ["v1", "fees"]) => {
                let targets = json!([{"blocks": 2, "fee_rate": "4000"}]);
                (
                    200,
                    json!({"min_fee_rate": "1000", "targets": targets, "blocks": []}),
                )
            }
            ("GET", ["v1", "addresses", address]) => (200, self.summary(address)),
            ("GET", ["v1", "addresses", address, "utxos"]) => (200, self.utxos(address)),
            ("GET", ["v1", "addresses", address, "transactions"]) => {
                (200, self.transactions(address, true))
            }
            ("GET", ["v1", "addresses", address, "mempool"]) => {
                (200, self.transactions(address, false))
            }
            ("GET", ["v1", "transactions", txid]) => match self.known.get(&txid.parse().unwrap()) {
                Some(entry) => (200, self.record(entry)),
                None => (404, json!({"code": "not_found"})),
            },
            ("POST", ["v1", "transactions"]) => return self.submitted(body),
            _ => (404, json!({"code": "unknown_endpoint"})),
        };
        Some(answer)
    }

    fn submitted(&mut self, body: &[u8]) -> Option<(u16, Value)> {
        if self.mood == Mood::LosesRequests {
            return None;
        }
        if self.mood == Mood::Refuses {
            return Some((
                422,
                json!({"code": "transaction_refused", "detail": "fee too low"}),
            ));
        }
        let request: Value = serde_json::from_slice(body).unwrap();
        let bytes = hex::decode(request["hex"].as_str().unwrap()).unwrap();
        let taken = self.take(codec::decode(&bytes, 400_000).unwrap());
        if self.mood == Mood::LosesAnswers {
            return None;
        }
        Some(match taken {
            Ok(txid) => (202, json!({"txid": txid})),
            Err((status, code)) => (status, json!({"code": code})),
        })
    }

    fn status(&self) -> Value {
        json!({
            "chain": self.network.to_string(), "genesis": self.genesis, "peer_id": "p",
            "consensus": "pow", "height": self.height, "tip": self.genesis, "peers": 0,
            "mempool_transactions": self.waiting().len(),
        })
    }

    fn is_of(&self, output: &Output, address: &str) -> bool {
        Address::parse(address, self.network).unwrap().lock() == output.lock
    }

    fn summary(&self, address: &str) -> Value {
        let sum = |outputs: Vec<&Output>| -> i128 {
            let own = outputs
                .into_iter()
                .filter(|output| self.is_of(output, address));
            own.map(|output| i128::from(output.value.0)).sum()
        };
        let balance = sum(self.coins.values().map(|(output, _)| output).collect());
        let waiting = self
            .known
            .values()
            .filter(|(_, _, height)| height.is_none());
        let pending: i128 = waiting
            .map(|(t, spent, _)| sum(t.outputs.iter().collect()) - sum(spent.iter().collect()))
            .sum();
        let count = self.transactions(address, true)["transactions"]
            .as_array()
            .unwrap()
            .len();
        json!({
            "address": address, "balance": balance.to_string(), "pending": pending.to_string(),
            "transactions": count + usize::from(balance > 0),
        })
    }

    fn utxos(&self, address: &str) -> Value {
        let own = self
            .coins
            .iter()
            .filter(|(_, (output, _))| self.is_of(output, address));
        let utxos: Vec<Value> = own
            .map(|(outpoint, (output, is_mature))| {
                json!({
                    "txid": outpoint.txid, "index": outpoint.index,
                    "value": output.value.0.to_string(), "mature": is_mature,
                })
            })
            .collect();
        json!({"utxos": utxos, "next_cursor": null})
    }

    fn transactions(&self, address: &str, confirmed: bool) -> Value {
        let touches = |(transaction, spent, height): &&(Transaction, Vec<Output>, Option<u64>)| {
            let mut outputs = transaction.outputs.iter().chain(spent);
            height.is_some() == confirmed && outputs.any(|output| self.is_of(output, address))
        };
        let records: Vec<Value> = self
            .known
            .values()
            .filter(touches)
            .map(|entry| self.record(entry))
            .collect();
        json!({"transactions": records, "next_cursor": null})
    }

    fn record(&self, entry: &(Transaction, Vec<Output>, Option<u64>)) -> Value {
        let (transaction, spent, height) = entry;
        let party = |output: &Output| {
            let Lock::Key(key_hash) = output.lock else {
                panic!("only single keys here")
            };
            let address = Address {
                network: self.network,
                key_hash,
            }
            .to_string();
            json!({"address": address, "value": output.value.0.to_string()})
        };
        json!({
            "txid": transaction.txid(),
            "inputs": spent.iter().map(party).collect::<Vec<_>>(),
            "outputs": transaction.outputs.iter().map(party).collect::<Vec<_>>(),
            "block": height.map(|height| json!({"height": height, "time": 1_000 + height})),
        })
    }
}

fn serve(stream: &mut TcpStream, ledger: &mut Ledger) {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    let mut words = head.split(' ');
    let (method, path) = (
        words.next().unwrap().to_uppercase(),
        words.next().unwrap_or(""),
    );
    if let Some((status, answer)) = ledger.answer(&method, path, &body) {
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: ");
        let _ = stream.write_all(format!("{head}{}\r\n\r\n{text}", text.len()).as_bytes());
    }
}
