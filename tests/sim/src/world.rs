//! One seeded run: nodes, a network that loses, doubles, delays and splits, clocks that differ,
//! crashes, an adversary.
//!
//! The story of every run: the nodes mine and pay together; the network splits into two halves,
//! each of which mines its number of blocks; it heals; the faults stop; the world comes to rest.
//! Then `check` compares everyone with a fresh replay of the chain that won.
//!
//! Invariant: one seed, one trace. Time is simulated, the only source of chance is the seed's
//! generator.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_protocol::address::Address;
use cairn_protocol::hash::Hash;
use cairn_protocol::pow::Bits;
use cairn_protocol::spec::{ChainParams, Funded, builtin};
use cairn_protocol::units::Amount;

use crate::adversary::Adversary;
use crate::check::check;
use crate::keys::{Scheme, Signer};
use crate::node::{Message, Node};
use crate::payment::pay;
use crate::report::Report;
use crate::rng::Rng;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Blocks that each half mines alone.
    pub split_blocks: u64,
    /// Share of runs with real signatures, in 1,000.
    pub ed25519_per_mille: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            split_blocks: 50,
            ed25519_per_mille: 50,
        }
    }
}

/// What came out of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash over every event.
    pub trace: [u8; 32],
    /// What happened.
    pub report: Report,
}

/// Something that will happen.
enum Event {
    Deliver {
        from: usize,
        to: usize,
        message: Message,
    },
    Mine {
        node: usize,
    },
    Tick {
        node: usize,
    },
    Pay,
    Crash,
    Pause,
    CutLink,
    Attack,
}

/// Faults of the network and its machines; all off when the world comes to rest.
#[derive(Clone, Copy, Debug)]
struct Faults {
    loss_per_mille: u64,
    double_per_mille: u64,
    delay_ms_max: u64,
    crash_every_ms: u64,
    pause_every_ms: u64,
    cut_link_every_ms: u64,
    attack_every_ms: u64,
}

const NO_FAULTS: Faults = Faults {
    loss_per_mille: 0,
    double_per_mille: 0,
    delay_ms_max: 20,
    crash_every_ms: 0,
    pause_every_ms: 0,
    cut_link_every_ms: 0,
    attack_every_ms: 0,
};

/// Mean time between blocks of all nodes together.
const BLOCK_MS: u64 = 2_000;
/// Time between two questions of one node to a peer.
const TICK_MS: u64 = 2_000;
/// Mean time between payments.
const PAY_MS: u64 = 700;
/// Coins of the double spender at genesis.
const DOUBLE_SPENDER_COINS: usize = 12;
/// Coins of each node at genesis.
const COINS_PER_NODE: usize = 4;

struct World {
    rng: Rng,
    params: Arc<ChainParams>,
    nodes: Vec<Node>,
    adversary: Option<Adversary>,
    double_spender: Signer,
    double_spends: usize,
    faults: Faults,
    /// Nodes below this number are cut off from the others.
    split: Option<usize>,
    /// Links (from, to) over which nothing passes until a time.
    cut_links: BTreeMap<(usize, usize), u64>,
    /// Times until which nodes stand still.
    paused_until_ms: Vec<u64>,
    is_mining: bool,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    trace: blake3::Hasher,
    report: Report,
}

/// Runs a seed.
///
/// # Panics
/// If an invariant breaks; the message names it, the caller names the seed.
#[must_use]
pub fn run(seed: u64, plan: Plan) -> Outcome {
    let mut world = World::new(seed, plan);
    world.start();
    world.run_until("the first blocks", |world| world.lowest() >= 12);
    world.split(plan.split_blocks);
    world.heal();
    world.rest();
    check(
        &world.params,
        &world.nodes,
        world.adversary.as_ref(),
        &mut world.report,
    );
    Outcome {
        seed,
        trace: *world.trace.finalize().as_bytes(),
        report: world.report,
    }
}

impl World {
    fn new(seed: u64, plan: Plan) -> World {
        let mut rng = Rng::new(seed);
        let real = rng.chance(plan.ed25519_per_mille);
        let scheme = if real {
            Scheme::Ed25519
        } else {
            Scheme::KeyedHash(rng.bytes())
        };
        let count = rng.between(4, 7) as usize;
        let signers: Vec<Signer> = (0..count)
            .map(|_| Signer::new(scheme, rng.bytes()))
            .collect();
        let double_spender = Signer::new(scheme, rng.bytes());
        let params = Arc::new(parameters(&mut rng, &signers, &double_spender));
        let mut nodes = Vec::new();
        for (index, signer) in signers.into_iter().enumerate() {
            let mut node = Node::new(Arc::clone(&params), scheme, index, count, signer);
            node.skew_s = rng.between(0, 40) as i64 - 20;
            node.power = rng.between(1, 4);
            nodes.push(node);
        }
        let adversary = rng
            .chance(600)
            .then(|| Adversary::new(Arc::clone(&params), &mut rng));
        let faults = Faults {
            loss_per_mille: rng.below(120),
            double_per_mille: rng.below(80),
            delay_ms_max: rng.between(20, 1_500),
            crash_every_ms: if rng.chance(500) { 40_000 } else { 0 },
            pause_every_ms: if rng.chance(400) { 30_000 } else { 0 },
            cut_link_every_ms: if rng.chance(400) { 8_000 } else { 0 },
            attack_every_ms: if adversary.is_some() { 2_500 } else { 0 },
        };
        let mut report = Report::default();
        report.count(if real {
            "seeds with Ed25519"
        } else {
            "seeds with keyed hashes"
        });
        World {
            rng,
            params,
            nodes,
            adversary,
            double_spender,
            double_spends: 0,
            faults,
            split: None,
            cut_links: BTreeMap::new(),
            paused_until_ms: vec![0; count],
            is_mining: true,
            now_ms: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            trace: blake3::Hasher::new(),
            report,
        }
    }

    fn start(&mut self) {
        for node in 0..self.nodes.len() {
            self.schedule_mining(node);
            let first = self.rng.below(TICK_MS);
            self.schedule(first, Event::Tick { node });
        }
        self.schedule(PAY_MS, Event::Pay);
        let Faults {
            crash_every_ms,
            pause_every_ms,
            cut_link_every_ms,
            attack_every_ms,
            ..
        } = self.faults;
        for (every_ms, event) in [
            (crash_every_ms, Event::Crash),
            (pause_every_ms, Event::Pause),
            (cut_link_every_ms, Event::CutLink),
            (attack_every_ms, Event::Attack),
        ] {
            if every_ms > 0 {
                self.schedule(every_ms, event);
            }
        }
    }

    /// Cuts the network in two until each half has mined its blocks.
    fn split(&mut self, blocks: u64) {
        let at = self.rng.between(1, self.nodes.len() as u64 - 1) as usize;
        self.split = Some(at);
        self.report.count("partitions");
        let goal = |nodes: &[Node]| {
            nodes
                .iter()
                .map(|n| n.chain.tip().height)
                .max()
                .unwrap_or(0)
                + blocks
        };
        let goals = (goal(&self.nodes[..at]), goal(&self.nodes[at..]));
        self.run_until("both halves mined", |world| {
            let highest = |nodes: &[Node]| {
                nodes
                    .iter()
                    .map(|n| n.chain.tip().height)
                    .max()
                    .unwrap_or(0)
            };
            highest(&world.nodes[..at]) >= goals.0 && highest(&world.nodes[at..]) >= goals.1
        });
    }

    fn heal(&mut self) {
        self.split = None;
        self.report.count("heals");
        let goal = self.highest() + 5;
        self.run_until("the healed network mines on", |world| {
            world.lowest() >= goal
        });
    }

    /// All faults stop, then mining does; everyone must agree. A tie is broken by one more block.
    fn rest(&mut self) {
        self.faults = NO_FAULTS;
        self.cut_links.clear();
        self.is_mining = false;
        for _ in 0..10 {
            let until = self.now_ms + 20 * TICK_MS;
            self.run_until("rest", |world| world.now_ms >= until);
            if self
                .nodes
                .iter()
                .all(|node| node.chain.tip() == self.nodes[0].chain.tip())
            {
                return;
            }
            self.report.count("ties broken by a block");
            self.mine(0);
        }
        let tips: Vec<_> = self.nodes.iter().map(|node| node.chain.tip()).collect();
        panic!("the nodes do not agree at rest: {tips:?}");
    }

    fn lowest(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| node.chain.tip().height)
            .min()
            .expect("nodes")
    }

    fn highest(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| node.chain.tip().height)
            .max()
            .expect("nodes")
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        let deadline_ms = self.now_ms + 3_600_000;
        while !done(self) {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                panic!("nothing happens: {what}")
            };
            assert!(at < deadline_ms, "an hour passed without: {what}");
            self.now_ms = at;
            self.report.count("events");
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Event::Deliver { to: node, .. } | Event::Mine { node } | Event::Tick { node } = event
        {
            let until = self.paused_until_ms[node];
            if until > self.now_ms {
                // It happens when the node wakes, in the order in which it came.
                return self.schedule(until - self.now_ms, event);
            }
        }
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Mine { node } => {
                if self.is_mining {
                    self.mine(node);
                    self.schedule_mining(node);
                }
            }
            Event::Tick { node } => {
                let peer = self.other_than(node);
                let now = self.nodes[node].now(self.now_ms);
                self.nodes[node].tick(now, peer, &mut self.report);
                self.flush(node);
                self.schedule(TICK_MS, Event::Tick { node });
            }
            Event::Pay => {
                self.pay();
                let wait = self.rng.exponential(PAY_MS);
                self.schedule(wait, Event::Pay);
            }
            Event::Crash => self.crash(),
            Event::Pause => self.pause(),
            Event::CutLink => self.cut_link(),
            Event::Attack => self.attack(),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        self.note(message.name(), from, to);
        if self.is_cut(from, to) {
            self.report.count("fault: cut by the partition");
            return;
        }
        let now = self.nodes[to].now(self.now_ms);
        self.report.count("messages delivered");
        self.nodes[to].handle(now, from, message, &mut self.report);
        self.flush(to);
    }

    fn mine(&mut self, node: usize) {
        self.note("mine", node, node);
        let now = self.nodes[node].now(self.now_ms);
        self.nodes[node].mine(now, &mut self.report);
        self.flush(node);
    }

    fn pay(&mut self) {
        if !self.is_mining {
            return;
        }
        if self.split.is_some() && self.rng.chance(120) {
            return self.double_spend();
        }
        let from = self.rng.index(self.nodes.len());
        let to = self.other_than(from);
        let (pick, now) = (self.rng.bits(), self.nodes[from].now(self.now_ms));
        let lock = self.nodes[to].signer.lock();
        self.nodes[from].spend(now, pick, &lock, &mut self.report);
        self.note("pay", from, to);
        self.flush(from);
    }

    /// One coin, two payments, one to each half of the split network (M04).
    fn double_spend(&mut self) {
        let Some(at) = self.split else { return };
        if self.double_spends >= DOUBLE_SPENDER_COINS {
            return;
        }
        let (outpoint, coin) = self.params.genesis_coins()[self.double_spends].clone();
        self.double_spends += 1;
        self.report.count("fault: double spend to both halves");
        for node in [0, at] {
            let to = self.nodes[node].signer.lock();
            let (fee, spent) = (Amount(10_000), &coin.output);
            let value = Amount(spent.value.0 - fee.0);
            let chain_id = self.params.chain_id();
            let payment = pay(
                chain_id,
                &self.double_spender,
                (outpoint, spent),
                &to,
                value,
                fee,
            );
            let now = self.nodes[node].now(self.now_ms);
            self.nodes[node].take_transaction(now, None, Arc::new(payment), &mut self.report);
            self.note("double spend", node, node);
            self.flush(node);
        }
    }

    fn crash(&mut self) {
        if self.faults.crash_every_ms == 0 {
            return;
        }
        let node = self.rng.index(self.nodes.len());
        self.note("crash", node, node);
        self.report.count("fault: crash and restart");
        let tip = self.nodes[node].chain.tip();
        self.nodes[node].restart();
        assert_eq!(self.nodes[node].chain.tip(), tip, "a restart keeps the tip");
        let wait = self.rng.exponential(self.faults.crash_every_ms);
        self.schedule(wait, Event::Crash);
    }

    /// A node stands still for a while, as under SIGSTOP: what is sent to it waits.
    fn pause(&mut self) {
        if self.faults.pause_every_ms == 0 {
            return;
        }
        let node = self.rng.index(self.nodes.len());
        self.paused_until_ms[node] = self.now_ms + self.rng.between(1_000, 20_000);
        self.note("pause", node, node);
        self.report.count("fault: pause");
        let wait = self.rng.exponential(self.faults.pause_every_ms);
        self.schedule(wait, Event::Pause);
    }

    /// One direction of one link is lost for a while.
    fn cut_link(&mut self) {
        if self.faults.cut_link_every_ms == 0 {
            return;
        }
        let from = self.rng.index(self.nodes.len());
        let to = self.other_than(from);
        let until = self.now_ms + self.rng.between(2_000, 15_000);
        self.cut_links.insert((from, to), until);
        self.note("cut link", from, to);
        self.report.count("fault: one-way cut of a link");
        let wait = self.rng.exponential(self.faults.cut_link_every_ms);
        self.schedule(wait, Event::CutLink);
    }

    fn attack(&mut self) {
        if self.faults.attack_every_ms == 0 {
            return;
        }
        let Some(adversary) = &self.adversary else {
            return;
        };
        let seen = self.rng.index(self.nodes.len());
        let now = self.nodes[seen].now(self.now_ms);
        let message = adversary.attack(&mut self.rng, &self.nodes[seen], now, &mut self.report);
        if let Some(message) = message {
            let from = self.nodes.len();
            for to in 0..self.nodes.len() {
                if self.rng.chance(700) {
                    let delay = self.rng.between(1, 100);
                    self.schedule(
                        delay,
                        Event::Deliver {
                            from,
                            to,
                            message: message.clone(),
                        },
                    );
                }
            }
        }
        let wait = self.rng.exponential(self.faults.attack_every_ms);
        self.schedule(wait, Event::Attack);
    }

    /// Sends what a node wants to say.
    fn flush(&mut self, node: usize) {
        for (to, message) in std::mem::take(&mut self.nodes[node].outbox) {
            match to {
                Some(to) => self.send(node, to, message),
                None => {
                    for to in (0..self.nodes.len()).filter(|&to| to != node) {
                        self.send(node, to, message.clone());
                    }
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        // What is said to the adversary leads nowhere.
        if to >= self.nodes.len() {
            return;
        }
        if self.is_cut(from, to) {
            self.report.count("fault: cut by the partition");
            return;
        }
        if self
            .cut_links
            .get(&(from, to))
            .is_some_and(|until| *until > self.now_ms)
        {
            self.report.count("fault: lost on a cut link");
            return;
        }
        if self.rng.chance(self.faults.loss_per_mille) {
            self.report.count("fault: lost message");
            return;
        }
        if self.rng.chance(self.faults.double_per_mille) {
            self.report.count("fault: doubled message");
            self.post(from, to, message.clone());
        }
        self.post(from, to, message);
    }

    fn post(&mut self, from: usize, to: usize, message: Message) {
        // Each message has its own delay: later ones overtake.
        let delay = self.rng.between(5, 5 + self.faults.delay_ms_max);
        self.schedule(delay, Event::Deliver { from, to, message });
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        let honest = from < self.nodes.len() && to < self.nodes.len();
        honest && self.split.is_some_and(|at| (from < at) != (to < at))
    }

    fn schedule_mining(&mut self, node: usize) {
        // Both halves keep the pace, however uneven they are: what is tested is the fork, not
        // patience.
        let reached = self
            .nodes
            .iter()
            .filter(|other| !self.is_cut(node, other.index));
        let total: u64 = reached.map(|node| node.power).sum();
        let mean = BLOCK_MS * total / self.nodes[node].power;
        let wait = self.rng.exponential(mean);
        self.schedule(wait, Event::Mine { node });
    }

    fn schedule(&mut self, wait_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue
            .insert((self.now_ms + wait_ms, self.sequence), event);
    }

    fn other_than(&mut self, node: usize) -> usize {
        (node + 1 + self.rng.index(self.nodes.len() - 1)) % self.nodes.len()
    }

    /// Adds an event to the trace, with the tips it found.
    fn note(&mut self, what: &str, from: usize, to: usize) {
        self.trace.update(what.as_bytes());
        self.trace.update(&self.now_ms.to_le_bytes());
        self.trace.update(&[from as u8, to as u8]);
        for node in [from, to] {
            if let Some(node) = self.nodes.get(node) {
                self.trace.update(node.chain.tip().id.as_bytes());
                self.trace.update(&node.mempool.sequence().to_le_bytes());
            }
        }
    }
}

/// A devnet with trivial targets: two hashes a block; coins for the double spender first, then for
/// each node.
pub(crate) fn parameters(
    rng: &mut Rng,
    signers: &[Signer],
    double_spender: &Signer,
) -> ChainParams {
    let mut file = builtin::devnet_file();
    let easy = Bits(0x207f_ffff);
    file.seed = Hash(rng.bytes());
    file.genesis.bits = easy;
    file.schedule[0].initial_bits = easy;
    file.limits.coinbase_maturity = rng.between(1, 10);
    file.timing.max_future_s = 30;
    let network = file.network;
    let fund = |signer: &Signer| Funded {
        address: Address::of_key(network, &signer.public()).to_string(),
        amount: Amount::from_crn(10),
    };
    let spenders = std::iter::repeat_n(double_spender, DOUBLE_SPENDER_COINS);
    let owners = signers
        .iter()
        .flat_map(|signer| std::iter::repeat_n(signer, COINS_PER_NODE));
    file.funded = spenders.chain(owners).map(fund).collect();
    ChainParams::new(file).expect("a valid specification")
}
