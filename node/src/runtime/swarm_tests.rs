//! A node's relay between real swarms on loopback: what it forwards, and whom it blames.
//!
//! ```text
//!   liar ───┐
//!           ├──> node under test ──> observer
//!   honest ─┘
//! ```

use super::inbox::Inbox;
use super::ledger::tests::open;
use super::ledger::{LedgerEvent, LedgerHandle};
use super::net::{self, NetTask};
use super::peers::PeerNumbers;
use super::relay::{Announce, Relay};
use cairn_fixtures::{Payment, TestChain, TestKey};
use cairn_network::{
    Keypair, Multiaddr, NetworkConfig, NetworkEvent, NetworkHandle, PeerId, Topic, Verdict,
};
use cairn_protocol::block::Block;
use cairn_protocol::codec;
use cairn_protocol::ledger::{CheckedBlock, Coin};
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{CompactBlock, ErrorCode, ShortId, SyncResponse, TxBatch};
use cairn_storage::disk::RealDisk;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing takes this long unless it never happens.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn config(chain: &TestChain, ledger: &LedgerHandle, bootnodes: Vec<Multiaddr>) -> NetworkConfig {
    let status = net::status(chain.params(), &ledger.view(), 0);
    let mut config = NetworkConfig::new(Keypair::generate_ed25519(), status);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.bootnodes = bootnodes;
    config.private_addresses = true;
    config.kad_server = true;
    config
}

/// The node under test, without sync: what it knows came by gossip.
struct Node {
    ledger: LedgerHandle,
    network: NetworkHandle,
    relay: Arc<Relay>,
    address: Multiaddr,
    _folder: tempfile::TempDir,
}

impl Node {
    async fn start(chain: &TestChain) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, _faults) = open(folder.path(), chain, Arc::new(RealDisk));
        let (network, events) = cairn_network::start(config(chain, &ledger, Vec::new())).unwrap();
        let numbers = Arc::new(PeerNumbers::default());
        let relay = Relay::new(ledger.clone(), network.clone(), Arc::clone(&numbers));
        tokio::spawn(Arc::clone(&relay).keep_time());
        let task = NetTask::new(
            ledger.clone(),
            network.clone(),
            Arc::clone(&relay),
            numbers,
            Arc::new(Inbox::default()),
            None,
        );
        tokio::spawn(task.run(events));
        let listens = || !network.listen_addrs().is_empty();
        eventually("the node listens", listens).await;
        let (listen, id) = (&network.listen_addrs()[0], network.local_peer_id());
        let address = format!("{listen}/p2p/{id}").parse().unwrap();
        Node {
            ledger,
            network,
            relay,
            address,
            _folder: folder,
        }
    }

    fn score(&self, peer: PeerId) -> f64 {
        let peers = self.network.peers();
        let found = peers.iter().find(|info| info.peer == peer);
        found.map_or(f64::NEG_INFINITY, |info| info.score)
    }
}

/// A gossip message: its topic and its bytes.
type Heard = (Topic, Vec<u8>);

/// A peer made of a bare swarm: it forwards everything and answers nothing.
struct Stranger {
    network: NetworkHandle,
    heard: Arc<Mutex<Vec<Heard>>>,
    asked: Arc<Mutex<usize>>,
}

impl Stranger {
    async fn start(chain: &TestChain, node: &Node) -> Stranger {
        let config = config(chain, &node.ledger, vec![node.address.clone()]);
        let (network, mut events) = cairn_network::start(config).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Mutex::new(0));
        let (handle, list, count) = (network.clone(), Arc::clone(&heard), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    NetworkEvent::Gossip {
                        topic, data, token, ..
                    } => {
                        list.lock().push((topic, data));
                        handle.verdict(token, Verdict::Accept);
                    }
                    NetworkEvent::Request { responder, .. } => {
                        *count.lock() += 1;
                        responder.respond(SyncResponse::Error(ErrorCode::InvalidRequest));
                    }
                    _ => {}
                }
            }
        });
        let id = network.local_peer_id();
        eventually("the stranger is a peer", || node.score(id).is_finite()).await;
        Stranger {
            network,
            heard,
            asked,
        }
    }

    fn id(&self) -> PeerId {
        self.network.local_peer_id()
    }

    /// Publishes until somebody is subscribed.
    async fn publish(&self, topic: Topic, data: Vec<u8>) {
        let started = Instant::now();
        while self.network.publish(topic, data.clone()).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "nobody listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn heard(&self, topic: Topic, data: &[u8]) -> bool {
        let heard = self.heard.lock();
        heard.iter().any(|(t, d)| *t == topic && d == data)
    }
}

fn payments(chain: &TestChain, count: usize) -> Vec<Transaction> {
    let pay = |account: usize| {
        let (outpoint, coin) = chain.funded(account);
        let left = coin.output.value.0 - 1_000;
        let spend = Payment::new().spend(outpoint, &coin, &TestKey::new(account as u64));
        chain.sign(&spend.pay_key(&TestKey::new(500), left))
    };
    (0..count).map(pay).collect()
}

/// The next block with these payments, and its compact form.
fn next_block(chain: &mut TestChain, payments: Vec<Transaction>) -> (Block, CompactBlock) {
    chain.extend(payments);
    let checked = chain.blocks().last().expect("one was added");
    (checked.block().clone(), CompactBlock::new(checked))
}

/// The first relayer's short ids are made up. The node takes the honest version when it comes, asks
/// nobody for the whole block, forwards only the honest one and blames the liar's link alone.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_short_ids_are_overcome_and_blamed_on_their_link() {
    let mut chain = TestChain::easy(8);
    let node = Node::start(&chain).await;
    let liar = Stranger::start(&chain, &node).await;
    let honest = Stranger::start(&chain, &node).await;
    let observer = Stranger::start(&chain, &node).await;
    let known = payments(&chain, 8);
    let verdicts = node
        .ledger
        .submit(known.clone(), cairn_consensus::chain::Source::LOCAL);
    assert!(verdicts.await.unwrap().iter().all(Result::is_ok));
    let (block, compact) = next_block(&mut chain, known);
    let mut wrong = compact.clone();
    for (n, id) in wrong.short_ids.iter_mut().enumerate() {
        *id = ShortId([n as u8; 6]);
    }
    let (wrong, right) = (codec::encode(&wrong), codec::encode(&compact));
    liar.publish(Topic::Block, wrong.clone()).await;
    eventually("the liar is asked for what its ids lack", || {
        *liar.asked.lock() > 0
    })
    .await;
    honest.publish(Topic::Block, right.clone()).await;
    eventually("the block is connected", || {
        node.ledger.view().tip == block.id()
    })
    .await;
    eventually("the observer hears the honest version", || {
        observer.heard(Topic::Block, &right)
    })
    .await;
    eventually("the liar is blamed", || node.score(liar.id()) < 0.0).await;
    assert_eq!(node.score(honest.id()), 0.0);
    assert_eq!(node.score(observer.id()), 0.0);
    assert_eq!(*honest.asked.lock(), 0, "all of it was in the mempool");
    assert!(!observer.heard(Topic::Block, &wrong));
    // A later version with other ids is known to be wrong at once.
    let mut later = compact.clone();
    later.short_ids.reverse();
    let late = Stranger::start(&chain, &node).await;
    late.publish(Topic::Block, codec::encode(&later)).await;
    eventually("the late liar is blamed", || node.score(late.id()) < 0.0).await;
}

/// A coinbase that breaks a rule is seen in the compact block: it is not forwarded, its header is not
/// even kept, and who sent it is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_with_a_wrong_coinbase_is_not_forwarded() {
    let mut chain = TestChain::easy(2);
    let node = Node::start(&chain).await;
    let liar = Stranger::start(&chain, &node).await;
    let honest = Stranger::start(&chain, &node).await;
    let observer = Stranger::start(&chain, &node).await;
    let (block, good) = next_block(&mut chain, Vec::new());
    let mut bad_block = block.clone();
    bad_block.coinbase.version = 2;
    chain.remake(&mut bad_block);
    let bad = CompactBlock {
        header: bad_block.header,
        coinbase: bad_block.coinbase.clone(),
        ..good.clone()
    };
    assert!(bad.is_bound(), "only its coinbase is wrong");
    let (bad, good) = (codec::encode(&bad), codec::encode(&good));
    liar.publish(Topic::Block, bad.clone()).await;
    eventually("the liar is blamed", || node.score(liar.id()) < 0.0).await;
    assert_eq!(node.ledger.find(bad_block.id()).await.unwrap(), None);
    honest.publish(Topic::Block, good.clone()).await;
    eventually("a good block passes", || {
        observer.heard(Topic::Block, &good)
    })
    .await;
    assert!(!observer.heard(Topic::Block, &bad));
    assert_eq!(node.score(honest.id()), 0.0);
}

/// A child that came before its parent was never forwarded, and this node was the only one to have
/// it: now it is gossiped when it enters the mempool.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_gossiped_when_its_parent_came() {
    let chain = TestChain::easy(1);
    let node = Node::start(&chain).await;
    let sender = Stranger::start(&chain, &node).await;
    let observer = Stranger::start(&chain, &node).await;
    let parent = payments(&chain, 1).remove(0);
    let key = TestKey::new(500);
    let coin = Coin {
        output: parent.outputs[0].clone(),
        height: 1,
        is_coinbase: false,
    };
    let outpoint = Transaction::outpoint(parent.txid(), 0);
    let left = coin.output.value.0 - 2_000;
    let spend = Payment::new().spend(outpoint, &coin, &key);
    let child = chain.sign(&spend.pay_key(&key, left));
    let batch = |tx: &Transaction| codec::encode(&TxBatch(vec![tx.clone()]));
    sender.publish(Topic::Transactions, batch(&child)).await;
    eventually("the child waits", || {
        node.ledger.mempool().read().knows(&child.wtxid())
    })
    .await;
    sender.publish(Topic::Transactions, batch(&parent)).await;
    let heard = |tx: &Transaction| {
        let heard = observer.heard.lock();
        heard.iter().any(|(_, data)| {
            codec::decode::<TxBatch>(data, data.len()).is_ok_and(|batch| batch.0.contains(tx))
        })
    };
    eventually("the observer hears the parent", || heard(&parent)).await;
    eventually("the observer hears the child", || heard(&child)).await;
}

/// A block of this node is announced from memory after it was stored; a broken one is not stored and
/// nobody hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn own_blocks_are_stored_then_announced() {
    let mut chain = TestChain::easy(4);
    let node = Node::start(&chain).await;
    let observer = Stranger::start(&chain, &node).await;
    let transactions = payments(&chain, 4);
    let (block, compact) = next_block(&mut chain, transactions);
    let mut broken = block.clone();
    broken.transactions.pop();
    let reply = node.relay.submit(broken, Announce::Stored).await.unwrap();
    assert!(!reply.connected);
    let mut events = node.ledger.subscribe();
    let reply = node.relay.submit(block.clone(), Announce::Stored).await;
    assert!(reply.unwrap().connected);
    assert!(matches!(events.try_recv(), Ok(LedgerEvent::TipChanged)));
    let checked = CheckedBlock::new(block, chain.params().limits()).unwrap();
    assert_eq!(node.ledger.view().tip, checked.id());
    let bytes = codec::encode(&compact);
    eventually("the observer hears of it", || {
        observer.heard(Topic::Block, &bytes)
    })
    .await;
    assert_eq!(observer.heard.lock().len(), 1);
}

/// The swarm is gone: the task that hands on its events says so, and the node does not go on alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_ends_ends_the_node() {
    let chain = TestChain::easy(1);
    let folder = tempfile::tempdir().unwrap();
    let (ledger, mut faults) = open(folder.path(), &chain, Arc::new(RealDisk));
    let (network, events) = cairn_network::start(config(&chain, &ledger, Vec::new())).unwrap();
    let numbers = Arc::new(PeerNumbers::default());
    let relay = Relay::new(ledger.clone(), network.clone(), Arc::clone(&numbers));
    let inbox = Arc::new(Inbox::default());
    let task = NetTask::new(ledger, network.clone(), relay, numbers, inbox, None);
    let mut tasks = super::tasks::Tasks::default();
    tasks.spawn("network", task.run(events));
    network.shutdown().await;
    let ended = tasks.first_end(&mut faults).await;
    assert_eq!(
        ended.to_string(),
        "the network task ended: the swarm has stopped"
    );
}
