//! A node in memory: a chain of made-up blocks, enough to make every answer of the API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cairn_node::api::backend::{
    Address, AddressError, Answer, Backend, BackendError, ChainView, SubmitError,
};
use cairn_node::api::limits::Limits;
use cairn_node::api::model::address::{AddressSummary, Utxo, UtxoPage};
use cairn_node::api::model::amount::{Pebbles, PebblesDelta};
use cairn_node::api::model::block::{
    BlockDetail, BlockRef, BlockSeal, BlockSummary, ChainPoint, HeaderItem,
};
use cairn_node::api::model::chain::{
    Readiness, Schedule, ScheduleEntry, Status, Supply, Validators,
};
use cairn_node::api::model::fees::{BlockFees, FeeTarget, Fees};
use cairn_node::api::model::hash::{Hash32, HexBytes};
use cairn_node::api::model::mempool::{Mempool, MempoolTransaction};
use cairn_node::api::model::miner::{KernelRate, MinerStatus};
use cairn_node::api::model::peer::{Peer, Peers};
use cairn_node::api::model::stratum::{StratumStatus, StratumWorker};
use cairn_node::api::model::transaction::{
    AtJson, Confirmation, LockJson, TransactionDetail, TransactionInput, TransactionOutput,
    TransactionPage, TransactionProof,
};
use cairn_node::api::{ApiServer, ApiSettings, EventHub};
use cairn_node::metrics::{KnownLabels, Metrics};
use serde_json::{Value, json};

/// An address of this chain, and one of another network.
pub const ADDRESS: &str = "dcrn1someone";
pub const FOREIGN_ADDRESS: &str = "tcrn1someone";
/// Transactions whose first byte decides how they are received.
pub const UNDECODABLE: u8 = 0xff;
pub const INVALID: u8 = 0xfe;
pub const CONFLICT: u8 = 0xfd;
pub const REFUSED: u8 = 0xfc;
pub const BUSY: u8 = 0xfb;
pub const FAULT: u8 = 0xfa;
pub const PANIC: u8 = 0xf9;
pub const SLOW: u8 = 0xf8;

/// The id of a block: its height and the branch it is on.
pub fn block_id(height: u64, branch: u8) -> Hash32 {
    let mut id = [branch; 32];
    id[..8].copy_from_slice(&height.to_be_bytes());
    Hash32(id)
}

/// The one transaction of the block at a height.
pub fn txid(height: u64) -> Hash32 {
    block_id(height, 0x77)
}

/// Heights and branches of a chain; block h is on branch `branches[h]`.
#[derive(Clone, Debug)]
pub struct MemoryChain {
    pub branches: Vec<u8>,
    pub finalized: u64,
    /// Blocks that were once on the main chain and are still known by id.
    pub known: BTreeMap<Hash32, (u64, Hash32)>,
}

impl MemoryChain {
    pub fn new(height: u64) -> Self {
        let mut chain = Self {
            branches: Vec::new(),
            finalized: 0,
            known: BTreeMap::new(),
        };
        for _ in 0..=height {
            chain.push(0);
        }
        chain
    }

    pub fn push(&mut self, branch: u8) {
        let height = self.branches.len() as u64;
        self.branches.push(branch);
        let id = block_id(height, branch);
        let parent = match height {
            0 => Hash32([0; 32]),
            _ => block_id(height - 1, self.branches[height as usize - 1]),
        };
        self.known.insert(id, (height, parent));
    }

    /// Replaces everything above `fork` by `count` blocks of a branch.
    pub fn reorganise(&mut self, fork: u64, branch: u8, count: u64) {
        self.branches.truncate(fork as usize + 1);
        for _ in 0..count {
            self.push(branch);
        }
    }

    fn id(&self, height: u64) -> Option<Hash32> {
        self.branches
            .get(height as usize)
            .map(|branch| block_id(height, *branch))
    }

    fn find(&self, block: BlockRef) -> Option<(u64, Hash32)> {
        match block {
            BlockRef::Height(height) => self.id(height).map(|id| (height, id)),
            BlockRef::Id(id) => self.known.get(&id).map(|(height, _)| (*height, id)),
        }
    }

    fn summary(&self, height: u64, id: Hash32) -> BlockSummary {
        BlockSummary {
            id,
            height,
            parent: self.known[&id].1,
            time: 1_700_000_000 + height as u32,
            engine: "pow".into(),
            transactions: 1,
            finalized: height <= self.finalized,
            bytes: 300,
        }
    }

    fn detail(&self, height: u64) -> TransactionDetail {
        TransactionDetail {
            txid: txid(height),
            wtxid: Hash32([0x78; 32]),
            version: 1,
            coinbase: false,
            bytes: 200,
            weight: 500,
            fee: Pebbles(10),
            fee_rate: Pebbles(20),
            valid_from: AtJson::Height(0),
            inputs: vec![TransactionInput {
                txid: txid(height.saturating_sub(1)),
                index: 0,
                value: Pebbles(u64::MAX),
                address: Some(ADDRESS.into()),
                lock: LockJson::Key {
                    key_hash: Hash32([1; 32]),
                },
            }],
            outputs: vec![TransactionOutput {
                index: 0,
                value: Pebbles(5),
                address: None,
                lock: LockJson::After {
                    at: AtJson::Time(7),
                    lock: Box::new(LockJson::Key {
                        key_hash: Hash32([2; 32]),
                    }),
                },
            }],
            block: self.id(height).map(|id| Confirmation {
                id,
                height,
                time: 1_700_000_000 + height as u32,
                index: Some(0),
            }),
            confirmations: self.tip().height + 1 - height,
            hex: HexBytes(vec![1, 2, 3]),
        }
    }

    fn by_txid(&self, wanted: Hash32) -> Option<u64> {
        (0..self.branches.len() as u64).find(|height| txid(*height) == wanted)
    }
}

impl ChainView for MemoryChain {
    fn tip(&self) -> ChainPoint {
        let height = self.branches.len() as u64 - 1;
        ChainPoint {
            height,
            id: self.id(height).unwrap(),
        }
    }

    fn finalized(&self) -> ChainPoint {
        ChainPoint {
            height: self.finalized,
            id: self.id(self.finalized).unwrap(),
        }
    }

    fn block_summary(&self, height: u64) -> Answer<Option<BlockSummary>> {
        Ok(self.id(height).map(|id| self.summary(height, id)))
    }

    fn block(&self, block: BlockRef) -> Answer<Option<BlockDetail>> {
        let Some((height, id)) = self.find(block) else {
            return Ok(None);
        };
        let main_chain = self.id(height) == Some(id);
        Ok(Some(BlockDetail {
            summary: self.summary(height, id),
            weight: 1200,
            fees: Pebbles(10),
            main_chain,
            confirmations: if main_chain {
                self.tip().height + 1 - height
            } else {
                0
            },
            next: if main_chain {
                self.id(height + 1)
            } else {
                None
            },
            version: 0x2000_0000,
            bits: 0x207f_ffff,
            nonce: 7,
            root: Hash32([3; 32]),
            state_root: Hash32([4; 32]),
            total_work: "0a".into(),
            coinbase: Hash32([5; 32]),
            coinbase_outputs: Vec::new(),
            txids: vec![txid(height)],
        }))
    }

    fn block_bytes(&self, block: BlockRef) -> Answer<Option<Vec<u8>>> {
        Ok(self.find(block).map(|(height, _)| vec![height as u8; 300]))
    }

    fn header(&self, height: u64) -> Answer<Option<HeaderItem>> {
        Ok(self.id(height).map(|id| HeaderItem {
            id,
            height,
            parent: self.known[&id].1,
            time: 1_700_000_000,
            version: 0x2000_0000,
            bits: 0x207f_ffff,
            nonce: 7,
            root: Hash32([3; 32]),
            coinbase: Hash32([5; 32]),
            tx_root: Hash32([6; 32]),
            state_root: Hash32([4; 32]),
            header: HexBytes(vec![0; 80]),
            hex: HexBytes(vec![0; 200]),
        }))
    }

    fn seal(&self, _: BlockRef) -> Answer<Option<BlockSeal>> {
        Ok(None)
    }

    fn transaction(&self, wanted: Hash32) -> Answer<Option<TransactionDetail>> {
        Ok(self.by_txid(wanted).map(|height| self.detail(height)))
    }

    fn transaction_proof(&self, wanted: Hash32) -> Answer<Option<TransactionProof>> {
        Ok(self.by_txid(wanted).map(|height| TransactionProof {
            txid: wanted,
            wtxid: Hash32([0x78; 32]),
            block: self.id(height).unwrap(),
            height,
            index: 0,
            count: 1,
            branch: Vec::new(),
            tx_root: Hash32([6; 32]),
            coinbase: Hash32([5; 32]),
            extension_hash: Hash32([8; 32]),
            header: HexBytes(vec![0; 80]),
            hex: HexBytes(vec![9; 90]),
        }))
    }

    fn address(&self, address: &Address) -> Answer<AddressSummary> {
        Ok(AddressSummary {
            address: address.text.clone(),
            balance: Pebbles(u64::MAX),
            pending: PebblesDelta(0),
            transactions: self.branches.len() as u64,
        })
    }

    fn address_utxos(&self, _: &Address, cursor: Option<&str>, limit: usize) -> Answer<UtxoPage> {
        let from: u64 = number(cursor)?;
        let heights: Vec<u64> = (from..self.branches.len() as u64).take(limit).collect();
        let utxos = heights.iter().map(|height| Utxo {
            txid: txid(*height),
            index: 0,
            value: Pebbles(5),
            lock: LockJson::Key {
                key_hash: Hash32([1; 32]),
            },
            height: *height,
            coinbase: false,
            mature: true,
            confirmations: 1,
        });
        Ok(UtxoPage {
            utxos: utxos.collect(),
            next_cursor: self.next(&heights),
        })
    }

    fn address_transactions(
        &self,
        _: &Address,
        cursor: Option<&str>,
        limit: usize,
    ) -> Answer<TransactionPage> {
        let from: u64 = number(cursor)?;
        let heights: Vec<u64> = (from..self.branches.len() as u64).take(limit).collect();
        let transactions = heights.iter().map(|height| self.detail(*height)).collect();
        Ok(TransactionPage {
            transactions,
            next_cursor: self.next(&heights),
        })
    }

    fn supply(&self) -> Answer<Supply> {
        Ok(Supply {
            height: self.tip().height,
            issued: Pebbles(100),
            burned: Pebbles(1),
            supply: Pebbles(99),
            cap: Pebbles(u64::MAX),
            next_subsidy: Pebbles(50),
        })
    }

    fn schedule(&self) -> Answer<Schedule> {
        Ok(Schedule {
            schedule_hash: Hash32([9; 32]),
            entries: vec![ScheduleEntry {
                entry: 0,
                announce: 0,
                start: 0,
                engine: "pow".into(),
                active: true,
                ruleset_id: Hash32([10; 32]),
                parameters: json!({}),
            }],
        })
    }

    fn validators(&self) -> Answer<Validators> {
        let set_hash = Hash32([0; 32]);
        Ok(Validators {
            engine: "pow".into(),
            set_hash,
            validators: Vec::new(),
        })
    }
}

impl MemoryChain {
    fn next(&self, heights: &[u64]) -> Option<String> {
        let next = heights.last()? + 1;
        (next < self.branches.len() as u64).then(|| next.to_string())
    }
}

fn number(cursor: Option<&str>) -> Answer<u64> {
    cursor.map_or(Ok(0), |text| {
        text.parse()
            .map_err(|_| BackendError::Invalid(format!("no page ended at `{text}`")))
    })
}

/// The node.
pub struct MemoryNode {
    pub chain: Mutex<Arc<MemoryChain>>,
    pub events: Arc<EventHub>,
    pub metrics: Arc<Metrics>,
    pub is_devnet: AtomicBool,
    pub is_ready: AtomicBool,
    pub is_paused: AtomicBool,
    pub submitted: Mutex<Vec<Vec<u8>>>,
    pub libp2p_page: Mutex<String>,
    /// How long a transaction that begins with [`SLOW`] takes.
    pub slowness: std::time::Duration,
}

impl MemoryNode {
    pub fn new(height: u64) -> Arc<Self> {
        Self::with_queue(height, 64)
    }

    /// A node whose event clients may leave `queue_max` transactions unread.
    pub fn with_queue(height: u64, queue_max: usize) -> Arc<Self> {
        let known = KnownLabels {
            kernels: vec![("sha256d".into(), "naive".into())],
            queues: vec!["transactions".into()],
            stores: vec!["blocks".into()],
        };
        Arc::new(Self {
            chain: Mutex::new(Arc::new(MemoryChain::new(height))),
            events: Arc::new(EventHub::new(queue_max)),
            metrics: Arc::new(Metrics::new(&known)),
            is_devnet: AtomicBool::new(true),
            is_ready: AtomicBool::new(true),
            is_paused: AtomicBool::new(false),
            submitted: Mutex::new(Vec::new()),
            libp2p_page: Mutex::new(String::new()),
            slowness: std::time::Duration::from_secs(4),
        })
    }

    /// Changes the chain, publishes it, then says so, as the node does.
    pub fn change(&self, change: impl FnOnce(&mut MemoryChain)) {
        let mut chain = (**self.chain.lock().unwrap()).clone();
        change(&mut chain);
        *self.chain.lock().unwrap() = Arc::new(chain);
        self.events.chain_changed();
    }
}

/// A transaction that waits.
pub fn waiting(number: u64) -> MempoolTransaction {
    MempoolTransaction {
        txid: block_id(number, 0x66),
        wtxid: Hash32([0x67; 32]),
        fee: Pebbles(10),
        fee_rate: Pebbles(20),
        bytes: 200,
        weight: 500,
        time: 1_700_000_000,
    }
}

impl Backend for MemoryNode {
    fn is_devnet(&self) -> bool {
        self.is_devnet.load(Ordering::SeqCst)
    }

    fn status(&self) -> Answer<Status> {
        let chain = self.chain()?;
        Ok(Status {
            chain: "memory".into(),
            genesis: block_id(0, 0),
            version: "0.1.0".into(),
            peer_id: "12D3KooWmemory".into(),
            consensus: "pow".into(),
            height: chain.tip().height,
            tip: chain.tip().id,
            finalized_height: chain.finalized().height,
            syncing: false,
            peers: 1,
            mempool_transactions: 1,
            hashes_per_second: 1100,
        })
    }

    fn readiness(&self) -> Readiness {
        let ready = self.is_ready.load(Ordering::SeqCst);
        let reasons = if ready {
            Vec::new()
        } else {
            vec!["12 blocks behind".into()]
        };
        Readiness { ready, reasons }
    }

    fn chain(&self) -> Answer<Arc<dyn ChainView>> {
        let chain = Arc::clone(&*self.chain.lock().unwrap());
        Ok(chain)
    }

    fn parse_address(&self, text: &str) -> Result<Address, AddressError> {
        match text {
            t if t.starts_with("dcrn1") => Ok(Address {
                text: t.into(),
                key_hash: Hash32([1; 32]),
            }),
            FOREIGN_ADDRESS => Err(AddressError::OtherNetwork(format!("`{text}` is of tcrn"))),
            _ => Err(AddressError::Malformed(format!("`{text}` is no address"))),
        }
    }

    fn mempool(&self, limit: usize) -> Answer<Mempool> {
        Ok(Mempool {
            count: 3,
            bytes: 600,
            weight: 1500,
            fees: Pebbles(30),
            min_fee_rate: Pebbles(1),
            transactions: (0..3).map(waiting).take(limit).collect(),
        })
    }

    fn mempool_transaction(&self, wanted: Hash32) -> Answer<Option<TransactionDetail>> {
        let chain = self.chain.lock().unwrap();
        let is_waiting = (0..3).any(|number| waiting(number).txid == wanted);
        Ok(is_waiting.then(|| TransactionDetail {
            txid: wanted,
            block: None,
            confirmations: 0,
            ..chain.detail(0)
        }))
    }

    fn pending(&self, _: &Address) -> Answer<PebblesDelta> {
        Ok(PebblesDelta(-7))
    }

    fn pending_transactions(&self, _: &Address, limit: usize) -> Answer<Vec<TransactionDetail>> {
        let waiting = (0..3).map(|number| self.mempool_transaction(waiting(number).txid));
        let waiting = waiting.filter_map(Result::transpose).take(limit);
        waiting.collect()
    }

    fn submit_transaction(&self, bytes: &[u8]) -> Result<Hash32, SubmitError> {
        let why = || "because the test said so".to_owned();
        match bytes.first() {
            None | Some(&UNDECODABLE) => Err(SubmitError::Undecodable(why())),
            Some(&INVALID) => Err(SubmitError::Invalid {
                rule: "TX-03".into(),
                detail: why(),
            }),
            Some(&CONFLICT) => Err(SubmitError::Conflict(why())),
            Some(&REFUSED) => Err(SubmitError::Refused(why())),
            Some(&BUSY) => Err(SubmitError::Busy(why())),
            Some(&FAULT) => Err(SubmitError::Fault(why())),
            Some(&PANIC) => panic!("a planted panic"),
            Some(&SLOW) => {
                std::thread::sleep(self.slowness);
                Err(SubmitError::Busy(why()))
            }
            Some(_) => {
                self.submitted.lock().unwrap().push(bytes.to_vec());
                Ok(Hash32([bytes[0]; 32]))
            }
        }
    }

    fn fees(&self) -> Answer<Fees> {
        let rate = Pebbles(20);
        Ok(Fees {
            min_fee_rate: Pebbles(1),
            targets: vec![FeeTarget {
                blocks: 1,
                fee_rate: rate,
            }],
            blocks: vec![BlockFees {
                height: 1,
                min: rate,
                median: rate,
                mean: rate,
                max: rate,
            }],
        })
    }

    fn peers(&self) -> Answer<Peers> {
        Ok(Peers {
            peers: vec![Peer {
                peer_id: "12D3KooWother".into(),
                address: "/ip4/127.0.0.1/tcp/7001".into(),
                direction: "inbound".into(),
                agent: Some("cairn/0.1.0/linux".into()),
                height: Some(3),
                ping_ms: Some(0.5),
                score: 1.0,
                connected_seconds: 60,
            }],
        })
    }

    fn miner(&self) -> Answer<MinerStatus> {
        Ok(MinerStatus {
            enabled: true,
            paused: self.is_paused.load(Ordering::SeqCst),
            pauses: Vec::new(),
            algo: "sha256d".into(),
            kernel: "naive".into(),
            threads: 1,
            hashes_per_second: 1000.0,
            rates: vec![KernelRate {
                algo: "sha256d".into(),
                kernel: "naive".into(),
                hashes: 12345,
                hashes_per_second_10s: 1100.0,
                hashes_per_second_60s: 1000.0,
                hashes_per_second_15m: 900.0,
                hashes_per_cpu_second: 4000.0,
            }],
            network_hashes_per_second: 3000.0,
            hashes: 12345,
            blocks_found: 2,
            address: Some(ADDRESS.into()),
            stratum: Some(StratumStatus {
                listen: "127.0.0.1:3333".into(),
                connections: 1,
                hashes_per_second: 1e6,
                workers_total: 1,
                workers: vec![StratumWorker {
                    address: ADDRESS.into(),
                    worker: "rig".into(),
                    connections: 1,
                    accepted: 5,
                    stale: 1,
                    duplicate: 0,
                    low_difficulty: 0,
                    invalid: 0,
                    blocks_found: 1,
                    difficulty: 0.5,
                    hashes_per_second: 1e6,
                    last_share_seconds: Some(3),
                }],
            }),
        })
    }

    fn set_miner_paused(&self, paused: bool) -> Answer<MinerStatus> {
        self.is_paused.store(paused, Ordering::SeqCst);
        self.miner()
    }

    fn generate_to_address(&self, blocks: u32, _: &Address) -> Answer<Vec<Hash32>> {
        self.change(|chain| (0..blocks).for_each(|_| chain.push(0)));
        let chain = self.chain()?;
        let tip = chain.tip().height;
        Ok((tip + 1 - u64::from(blocks)..=tip)
            .map(|height| block_id(height, 0))
            .collect())
    }

    fn block_template(&self) -> Answer<Value> {
        Ok(json!({ "height": self.chain()?.tip().height + 1 }))
    }

    fn submit_block(&self, bytes: &[u8]) -> Answer<Result<Hash32, String>> {
        Ok(match bytes.first() {
            Some(1) => Ok(Hash32([1; 32])),
            Some(&SLOW) => {
                std::thread::sleep(self.slowness);
                Ok(Hash32([1; 32]))
            }
            _ => Err("high-hash".into()),
        })
    }

    fn template_is_old(&self, longpollid: &str) -> Answer<bool> {
        Ok(longpollid != self.chain()?.tip().height.to_string())
    }

    fn get_work(&self, user: Option<&str>) -> Answer<Value> {
        match user {
            // A user that no test of a blake3 chain sends.
            Some(user) => Ok(json!({ "data": user, "target": "" })),
            None => Err(BackendError::NotAvailable(
                "getwork is not available on a blake3 chain".into(),
            )),
        }
    }

    fn submit_work(&self, data: &[u8]) -> Answer<Result<(), String>> {
        Ok(match data.len() {
            128 => Ok(()),
            _ => Err("stale".into()),
        })
    }

    fn libp2p_metrics(&self) -> String {
        self.libp2p_page.lock().unwrap().clone()
    }

    fn refresh_metrics(&self) {
        self.metrics
            .chain_height
            .set(self.chain.lock().unwrap().tip().height as i64);
    }
}

/// A running server over a node in memory.
pub struct Served {
    pub server: ApiServer,
    pub at: SocketAddr,
}

/// Serves a node on a free loopback port.
pub async fn serve(node: &Arc<MemoryNode>, limits: Limits) -> Served {
    serve_on(node, "127.0.0.1:0", None, limits).await
}

/// Serves a node where the test wants it.
pub async fn serve_on(
    node: &Arc<MemoryNode>,
    listen: &str,
    token_file: Option<PathBuf>,
    limits: Limits,
) -> Served {
    let settings = ApiSettings {
        listen: listen.parse().unwrap(),
        token_file,
        limits,
    };
    let backend = Arc::clone(node) as Arc<dyn Backend>;
    let server = ApiServer::start(
        settings,
        backend,
        Arc::clone(&node.events),
        Arc::clone(&node.metrics),
    );
    let server = server.await.unwrap();
    let at = server.local_address();
    Served { server, at }
}
