//! Mining inside the node: fresh templates to the miner, solved blocks to the ledger and the swarm.
//!
//! Invariants: a new tip replaces the template at once, a gain in fees at the next look; a solution
//! of an old template is never submitted; height 1 of a devnet is not throttled.

use super::ledger::{LedgerEvent, LedgerHandle};
use super::power;
use super::relay::{Announce, Relay};
use crate::metrics::Metrics;
use cairn_consensus::chain::BlockOutcome;
use cairn_consensus::template::BlockTemplate;
use cairn_miner::{
    Cancel, Miner, MinerError, Mining, PauseReason, Priority, Settings, Solution, Solved, Template,
    runs_on_battery,
};
use cairn_protocol::coinbase::EXTRA_NONCE_BYTES;
use cairn_protocol::lock::Lock;
use cairn_protocol::spec::ChainParams;
use parking_lot::Mutex;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};

/// How often fees, time and the reasons to rest are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks between two at the battery, whose state some machines take milliseconds to tell.
const BATTERY_LOOKS: u32 = 10;

/// Looks after which a template is renewed for its time alone.
const RENEW_LOOKS: u32 = 30;

/// Solutions that wait for the ledger; a miner finds the next one only after the last was taken.
const SOLUTIONS_MAX: usize = 4;

/// The miner in the node.
pub struct NodeMiner {
    miner: Arc<Miner>,
    mining: Mining,
    current: Mutex<Option<Current>>,
    found: AtomicU64,
    /// One worker at the process' priority, made when it is first needed.
    now: OnceLock<Miner>,
}

struct Current {
    number: u64,
    template: BlockTemplate,
}

/// What the mining task needs.
pub struct MiningSetup {
    /// The ledger.
    pub ledger: LedgerHandle,
    /// Where solved blocks are announced.
    pub relay: Arc<Relay>,
    /// Where rewards go.
    pub reward: Lock,
    /// Where hashes are counted.
    pub metrics: Arc<Metrics>,
    /// Whether to mine from the start.
    pub mine: bool,
    /// Whether this node still catches up.
    pub syncing: watch::Receiver<bool>,
    /// Where the system describes its batteries.
    pub power_supplies: PathBuf,
}

impl NodeMiner {
    /// Makes a miner that rests until [`NodeMiner::run`].
    pub fn new(miner: Arc<Miner>) -> std::io::Result<(Arc<NodeMiner>, mpsc::Receiver<Solved>)> {
        let (solved, solutions) = mpsc::channel(SOLUTIONS_MAX);
        let mining = miner.run(move |solution| {
            // A full queue means that the ledger has stopped taking blocks: this one is lost.
            if solved.try_send(solution).is_err() {
                tracing::warn!("a solved block was dropped: the ledger is too busy");
            }
        })?;
        let (current, found) = (Mutex::new(None), AtomicU64::new(0));
        let miner = NodeMiner {
            miner,
            mining,
            current,
            found,
            now: OnceLock::new(),
        };
        Ok((Arc::new(miner), solutions))
    }

    /// The kernels and their counters.
    pub fn miner(&self) -> &Arc<Miner> {
        &self.miner
    }

    /// The running search.
    pub fn mining(&self) -> &Mining {
        &self.mining
    }

    /// Blocks found in this run that became part of the chain.
    pub fn blocks_found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Pauses on request, or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.mining.set_paused(PauseReason::Requested, paused);
    }

    /// Searches a template now, for a caller who waits: at the priority of the process, because idle
    /// workers find nothing while others keep the machine busy. Blocks.
    ///
    /// Errors: the system gave no thread.
    pub fn search_now(&self, template: &Template) -> Result<Option<Solution>, MinerError> {
        let miner = match self.now.get() {
            Some(miner) => miner,
            None => {
                let settings = Settings {
                    threads: Some(1),
                    priority: Priority::Normal,
                    ..Settings::default()
                };
                let made = Miner::new(settings)?;
                self.now.get_or_init(|| made)
            }
        };
        Ok(miner.search(template, 0..u64::MAX, &Cancel::new()))
    }

    /// Keeps the search fed until the ledger stops; says what stopped.
    pub async fn run(
        self: Arc<Self>,
        mut setup: MiningSetup,
        mut solutions: mpsc::Receiver<Solved>,
    ) -> String {
        const LEDGER: &str = "the ledger has stopped";
        self.set_paused(!setup.mine);
        let mut events = setup.ledger.subscribe();
        let mut look = tokio::time::interval(LOOK);
        let (mut looks, mut fees) = (0, None);
        let mut until_battery = 0u32;
        loop {
            let renew = tokio::select! {
                solved = solutions.recv() => {
                    let Some(solved) = solved else {
                        return "the search has stopped".to_owned();
                    };
                    self.submit(&setup, solved).await;
                    true
                }
                event = events.recv() => match event {
                    Ok(LedgerEvent::TipChanged) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        true
                    }
                    Ok(_) => false,
                    Err(broadcast::error::RecvError::Closed) => return LEDGER.to_owned(),
                },
                _ = look.tick() => {
                    looks += 1;
                    self.look(&mut setup);
                    if until_battery == 0 {
                        until_battery = BATTERY_LOOKS;
                        self.look_at_battery(&setup).await;
                    }
                    until_battery -= 1;
                    looks >= RENEW_LOOKS || self.fees_grew(&setup, fees)
                }
            };
            if renew {
                looks = 0;
                match self.renew(&setup).await {
                    Ok(template_fees) => fees = Some(template_fees),
                    Err(Stopped) => return LEDGER.to_owned(),
                }
            }
        }
    }

    /// Reasons to rest, and the counters.
    fn look(&self, setup: &mut MiningSetup) {
        let syncing = *setup.syncing.borrow_and_update();
        let is_devnet = setup.ledger.params().is_devnet();
        for (reason, holds) in network_reasons(is_devnet, syncing, setup.relay.peers()) {
            self.mining.set_paused(reason, holds);
        }
        for rate in self.miner.hash_rates() {
            let labels = [rate.algo.name(), rate.kernel.name()];
            let counter = setup.metrics.miner_hashes.with_label_values(&labels);
            counter.inc_by(rate.hashes.saturating_sub(counter.get()));
        }
    }

    /// Rests while the machine lives on its battery.
    async fn look_at_battery(&self, setup: &MiningSetup) {
        let folder = setup.power_supplies.clone();
        let supplies = tokio::task::spawn_blocking(move || power::supplies(&folder)).await;
        if let Ok(supplies) = supplies {
            let holds = runs_on_battery(&supplies);
            self.mining.set_paused(PauseReason::OnBattery, holds);
        }
    }

    /// Whether the mempool's best fees are above those of the template in work.
    fn fees_grew(&self, setup: &MiningSetup, fees: Option<u64>) -> bool {
        let Some(fees) = fees else { return true };
        let weight = setup.ledger.params().limits().block_weight_max;
        let best = setup.ledger.mempool().read().best_fee_total(weight);
        best.0 > fees
    }

    async fn renew(&self, setup: &MiningSetup) -> Result<u64, Stopped> {
        let next = setup.ledger.view().height + 1;
        if setup.ledger.params().is_bft(next) {
            // Validators make this height.
            self.mining.clear_template();
            return Ok(u64::MAX);
        }
        let template = match setup.ledger.template(setup.reward.clone()).await {
            Ok(Ok(template)) => template,
            Ok(Err(error)) => {
                tracing::warn!(%error, "no template for the miner");
                self.mining.clear_template();
                return Ok(0);
            }
            Err(_) => return Err(Stopped),
        };
        let params = setup.ledger.params();
        let height = template.block.extension.height;
        let subsidy = params.subsidy(height, setup.ledger.snapshot().state().engine.issued);
        let fees = template.reward.0.saturating_sub(subsidy.0);
        let unthrottled = height == 1;
        let rate = NonZeroU64::new(params.mining().hashes_per_second);
        self.mining.set_limit(rate.filter(|_| !unthrottled));
        match search_template(&template, params.timing().pow_function) {
            Ok(search) => {
                let mut current = self.current.lock();
                let number = self.mining.set_template(search);
                *current = Some(Current { number, template });
            }
            Err(error) => tracing::warn!(%error, "the miner refuses a template"),
        }
        Ok(fees)
    }

    async fn submit(&self, setup: &MiningSetup, solved: Solved) {
        let template = {
            let mut current = self.current.lock();
            match current.take() {
                Some(current) if current.number == solved.template => current.template,
                other => {
                    *current = other;
                    return;
                }
            }
        };
        let extra_nonce: [u8; EXTRA_NONCE_BYTES] = solved.solution.extra_nonce();
        let block = template.solved(extra_nonce, solved.solution.nonce());
        let (id, height) = (block.id(), block.extension.height);
        if block.header.parent != setup.ledger.view().tip {
            tracing::debug!(height, %id, "a solution of an old template is dropped");
            return;
        }
        match setup.relay.submit(block, Announce::Stored).await {
            Ok(reply) if matches!(reply.outcome, BlockOutcome::Stored { .. }) => {
                tracing::info!(height, %id, "mined a block");
                self.found
                    .fetch_add(u64::from(reply.connected), Ordering::Relaxed);
            }
            Ok(reply) => {
                tracing::warn!(height, %id, outcome = ?reply.outcome, "lost a mined block")
            }
            Err(_) => {}
        }
    }
}

/// Whether each reason to rest that the network gives holds. A devnet's first node has no peer to
/// wait for.
fn network_reasons(is_devnet: bool, syncing: bool, peers: usize) -> [(PauseReason, bool); 2] {
    [
        (PauseReason::Syncing, syncing),
        (PauseReason::NoPeers, !is_devnet && peers == 0),
    ]
}

/// Idle, except where the specification bounds the rate: such a search takes little, and a chain
/// that waits for it must not stand still on a busy machine.
pub(super) fn suitable_priority(params: &ChainParams) -> Priority {
    match params.mining().hashes_per_second {
        0 => Priority::Idle,
        _ => Priority::Normal,
    }
}

/// The ledger has stopped.
struct Stopped;

/// The miner's view of a template.
pub(super) fn search_template(
    template: &BlockTemplate,
    function: cairn_protocol::pow::PowFunction,
) -> Result<Template, cairn_miner::TemplateError> {
    // A random start: two miners that pay to one address do not search the same headers.
    let mut coinbase = template.block.coinbase.clone();
    coinbase.extra_nonce = rand::random();
    Template::new(
        template.block.header.to_bytes(),
        coinbase.to_bytes(),
        template.extension_hash.0,
        template.tx_root.0,
        template.target,
        function,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_rests_while_it_syncs_or_is_alone_unless_on_a_devnet() {
        let holding = |is_devnet, syncing, peers| {
            let reasons = network_reasons(is_devnet, syncing, peers);
            let holding = reasons.into_iter().filter(|(_, holds)| *holds);
            holding.map(|(reason, _)| reason).collect::<Vec<_>>()
        };
        assert_eq!(holding(false, false, 1), []);
        assert_eq!(holding(false, false, 0), [PauseReason::NoPeers]);
        assert_eq!(holding(false, true, 1), [PauseReason::Syncing]);
        assert_eq!(
            holding(false, true, 0),
            [PauseReason::Syncing, PauseReason::NoPeers]
        );
        assert_eq!(holding(true, false, 0), []);
        assert_eq!(holding(true, true, 0), [PauseReason::Syncing]);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod priority_tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Nice values of this process' search threads, by thread id.
    fn nice_of_searchers() -> BTreeMap<String, i32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
        let nice = |id: String| {
            // A thread may end while the list is read.
            let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
            let (name, after) = stat.rsplit_once(") ")?;
            let nice = after.split(' ').nth(16)?.parse().ok()?;
            name.contains("(cairn-search-").then_some((id, nice))
        };
        ids.filter_map(nice).collect()
    }

    /// On a busy machine `generatetoaddress` waited for idle workers, for ever.
    #[test]
    fn a_caller_who_waits_is_served_at_the_priority_of_the_process() {
        let idle = Miner::new(Settings {
            threads: Some(1),
            ..Settings::default()
        });
        let (miner, _solutions) = NodeMiner::new(Arc::new(idle.unwrap())).unwrap();
        let before = nice_of_searchers();
        let params = cairn_protocol::spec::builtin::by_name("devnet").unwrap();
        let lock = Lock::Key(cairn_protocol::hash::KeyHash([7; 32]));
        let (state, bits) = (params.genesis_state(), params.pow_rules(1).initial_bits);
        let template = BlockTemplate::new(&params, state, bits, 1, &lock, &[]).unwrap();
        let search = search_template(&template, params.timing().pow_function).unwrap();
        assert!(miner.search_now(&search).unwrap().is_some());
        let after = nice_of_searchers();
        let new: Vec<i32> = after
            .iter()
            .filter(|(id, _)| !before.contains_key(*id))
            .map(|(_, nice)| *nice)
            .collect();
        let own = rustix::process::getpriority_process(None).unwrap();
        assert!(
            new.contains(&own),
            "{before:?} then {after:?}: ours is {own}"
        );
    }
}
