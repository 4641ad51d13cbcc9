//! A specification made ready: genesis, ids and rules by height.
//!
//! Invariant: made once, never changed; equal files give equal chains.

use super::{
    Engine, Immutable, Limits, MiningPolicy, PowRules, RulesetKind, ScheduleEntry, SpecError,
    SpecFile, Timing,
};
use crate::address::Network;
use crate::bft::{SetRule, ValidatorSet};
use crate::block::{Attachments, Block, block_root};
use crate::codec::{self, BoundedBytes};
use crate::coinbase::{COINBASE_VERSION, Coinbase, EXTRA_NONCE_BYTES};
use crate::extension::{COMMITMENT_SPEC, Commitment, EXTENSION_VERSION, Extension, SwitchRecord};
use crate::hash::{self, BlockId, Hash, TxId};
use crate::header::{HEADER_VERSION, Header};
use crate::ledger::Coin;
use crate::lthash::LtHash;
use crate::merkle::tx_root;
use crate::pow::{Bits, Target, Work, work_from_bytes};
use crate::state::{EngineState, LedgerState};
use crate::transaction::{OutPoint, Transaction};
use crate::units::{Amount, Height};

/// What there is of proof of work at a height without it.
static NO_WORK: PowRules = PowRules {
    initial_bits: Bits(0),
    subsidy: Vec::new(),
};

/// A chain, ready for use.
#[derive(Clone, Debug)]
pub struct ChainParams {
    file: SpecFile,
    immutable: Immutable,
    entries: Vec<ScheduleEntry>,
    /// Ruleset ids of each entry by kind.
    rulesets: Vec<[Hash; 3]>,
    /// The set of each entry; `None` under proof of work.
    sets: Vec<Option<ValidatorSet>>,
    spec_hash: Hash,
    genesis: Block,
    chain_id: BlockId,
    genesis_coins: Vec<(OutPoint, Coin)>,
    genesis_state: LedgerState,
    limit: Target,
}

impl ChainParams {
    /// Checks a specification and computes its genesis.
    pub fn new(file: SpecFile) -> Result<ChainParams, SpecError> {
        let immutable = file.immutable()?;
        let entries = file.entries()?;
        let limit = immutable.timing.limit_bits.to_target()?;
        let spec_hash = immutable.hash();
        let genesis = genesis_block(&immutable, spec_hash, schedule_hash(&entries, 0));
        let chain_id = genesis.id();
        let ids = |entry| RulesetKind::ALL.map(|kind| ruleset(&chain_id, entry, kind));
        let rulesets = entries.iter().map(ids).collect();
        let sets = entries.iter().map(|entry| set_of(&entry.engine)).collect();
        let coinbase_id = genesis.coinbase.id();
        let genesis_coins = funded_coins(&immutable, coinbase_id);
        let genesis_state = genesis_state(&immutable, &entries, chain_id, &genesis_coins);
        Ok(ChainParams {
            file,
            immutable,
            entries,
            rulesets,
            sets,
            spec_hash,
            genesis,
            chain_id,
            genesis_coins,
            genesis_state,
            limit,
        })
    }

    /// Reads and checks a specification.
    pub fn from_toml(text: &str) -> Result<ChainParams, SpecError> {
        ChainParams::new(SpecFile::parse(text)?)
    }

    /// The file it was made of.
    pub fn file(&self) -> &SpecFile {
        &self.file
    }

    /// Name of the chain.
    pub fn name(&self) -> &str {
        &self.immutable.name
    }

    /// Network of its addresses.
    pub fn network(&self) -> Network {
        self.file.network
    }

    /// Whether development keys and commands are allowed.
    pub fn is_devnet(&self) -> bool {
        self.immutable.devnet
    }

    /// The immutable part.
    pub fn immutable(&self) -> &Immutable {
        &self.immutable
    }

    /// Hash of the immutable part.
    pub fn spec_hash(&self) -> Hash {
        self.spec_hash
    }

    /// Limits.
    pub fn limits(&self) -> &Limits {
        &self.immutable.limits
    }

    /// Time and proof of work.
    pub fn timing(&self) -> &Timing {
        &self.immutable.timing
    }

    /// How this chain's nodes mine.
    pub fn mining(&self) -> MiningPolicy {
        self.file.mining
    }

    /// The easiest target.
    pub fn target_limit(&self) -> Target {
        self.limit
    }

    /// Work that a chain must show before memory is spent on its headers.
    pub fn minimum_chain_work(&self) -> Work {
        work_from_bytes(self.file.sync.minimum_chain_work.as_bytes())
    }

    /// Genesis.
    pub fn genesis(&self) -> &Block {
        &self.genesis
    }

    /// Id of genesis, which names the chain.
    pub fn chain_id(&self) -> BlockId {
        self.chain_id
    }

    /// The first four bytes of the chain id in hexadecimal, as protocol names carry them.
    pub fn chain_tag(&self) -> String {
        hex::encode(&self.chain_id.as_bytes()[..4])
    }

    /// Coins that genesis creates.
    pub fn genesis_coins(&self) -> &[(OutPoint, Coin)] {
        &self.genesis_coins
    }

    /// The state after genesis.
    pub fn genesis_state(&self) -> &LedgerState {
        &self.genesis_state
    }

    /// The schedule.
    pub fn schedule(&self) -> &[ScheduleEntry] {
        &self.entries
    }

    /// Index of the entry planned for `height`: the last that has started. It is the one in force
    /// where no entry slips or lapses; what judges or makes blocks asks [`ChainParams::rules`].
    pub fn entry_index(&self, height: Height) -> usize {
        self.entries
            .iter()
            .rposition(|entry| entry.start <= height)
            .unwrap_or(0)
    }

    /// The engine of the block at `height`; genesis is made by none, and counts as the first
    /// entry's.
    pub fn engine(&self, height: Height) -> &Engine {
        &self.entries[self.entry_index(height)].engine
    }

    /// Whether validators seal the block at `height`. Nobody seals genesis.
    pub fn is_bft(&self, height: Height) -> bool {
        height > 0 && self.engine(height).is_bft()
    }

    /// The highest height up to `height` whose block is sealed.
    pub fn last_bft_height(&self, height: Height) -> Option<Height> {
        let ends = self.entries.iter().skip(1).map(|entry| entry.start - 1);
        let ends = ends.chain([Height::MAX]);
        let eras = self.entries.iter().zip(ends);
        eras.filter(|(entry, _)| entry.engine.is_bft() && entry.start <= height)
            .map(|(_, end)| end.min(height))
            .last()
    }

    /// The validators who seal the block at `height`; `None` under proof of work.
    pub fn validator_set(&self, height: Height) -> Option<&ValidatorSet> {
        if height == 0 {
            return None;
        }
        self.sets[self.entry_index(height)].as_ref()
    }

    /// `set_hash` of the extension at `height`: that of its validators, zero under proof of work.
    pub fn set_hash(&self, height: Height) -> Hash {
        self.validator_set(height)
            .map_or(Hash::ZERO, ValidatorSet::hash)
    }

    /// `next_set_hash` of the extension at `height`: that of the validators of the entry that takes
    /// over from the one in force, once it is announced; zero while there is none, or if it has no
    /// validators.
    pub fn next_set_hash(&self, height: Height) -> Hash {
        let next = self.entry_index(height) + 1;
        let follows = self.is_bft(height)
            && self
                .entries
                .get(next)
                .is_some_and(|entry| entry.announce <= height);
        let set = self.sets.get(next).filter(|_| follows);
        set.and_then(Option::as_ref)
            .map_or(Hash::ZERO, ValidatorSet::hash)
    }

    /// Whether any block up to `height` may be sealed.
    pub fn has_bft_until(&self, height: Height) -> bool {
        let mut started = self.entries.iter().filter(|entry| entry.start <= height);
        started.any(|entry| entry.engine.is_bft())
    }

    /// Ruleset of the blocks of `height`; zero for genesis, whose id it would depend on.
    pub fn ruleset_id(&self, height: Height) -> Hash {
        if height == 0 {
            Hash::ZERO
        } else {
            self.entry_ruleset_id(self.entry_index(height), RulesetKind::Blocks)
        }
    }

    /// Ruleset id of one of the schedule's entries for what `kind` decides.
    ///
    /// Panics if there is no entry of this index.
    pub fn entry_ruleset_id(&self, entry: usize, kind: RulesetKind) -> Hash {
        self.rulesets[entry][usize::from(kind.tag())]
    }

    /// The validators of one of the schedule's entries; `None` under proof of work. (Sets that are
    /// read from the state take this place with their engines.)
    pub fn entry_set(&self, entry: usize) -> Option<&ValidatorSet> {
        self.sets.get(entry)?.as_ref()
    }

    /// Hash of the entries announced up to `height`.
    pub fn schedule_hash(&self, height: Height) -> Hash {
        schedule_hash(&self.entries, height)
    }

    /// Height at which the next entry is announced; `None` if none is to come.
    pub fn next_announce(&self, height: Height) -> Option<Height> {
        self.entries
            .iter()
            .map(|entry| entry.announce)
            .find(|announce| *announce > height)
    }

    /// Proof-of-work rules in force at `height`; no target and no subsidy where another engine is.
    pub fn pow_rules(&self, height: Height) -> &PowRules {
        pow_rules(self.engine(height))
    }

    /// The subsidy that proof of work's table gives `height` when `issued` was created before,
    /// within the cap; 0 where another engine is.
    pub fn subsidy(&self, height: Height, issued: Amount) -> Amount {
        self.work_subsidy(self.engine(height), height, issued)
    }

    fn work_subsidy(&self, engine: &Engine, height: Height, issued: Amount) -> Amount {
        let steps = &pow_rules(engine).subsidy;
        let table = steps.iter().rev().find(|step| step.height <= height);
        let table = table.map_or(Amount::ZERO, |step| step.subsidy);
        table.min(self.left_to_issue(issued))
    }

    /// The subsidy of a block at `height` with `time` after a parent with `parent_time`, when
    /// `issued` was created before: the table's under proof of work, by the second elsewhere.
    pub fn block_subsidy(
        &self,
        height: Height,
        issued: Amount,
        parent_time: u32,
        time: u32,
    ) -> Amount {
        self.engine_subsidy(self.engine(height), height, issued, parent_time, time)
    }

    pub(super) fn engine_subsidy(
        &self,
        engine: &Engine,
        height: Height,
        issued: Amount,
        parent_time: u32,
        time: u32,
    ) -> Amount {
        if !engine.is_bft() {
            return self.work_subsidy(engine, height, issued);
        }
        let seconds = u64::from(time.saturating_sub(parent_time));
        let left = self.left_to_issue(issued);
        let rate = engine.subsidy_per_second();
        rate.0.checked_mul(seconds).map_or(left, Amount).min(left)
    }

    fn left_to_issue(&self, issued: Amount) -> Amount {
        let cap = self.limits().money_cap;
        cap.checked_sub(issued).unwrap_or(Amount::ZERO)
    }
}

/// An engine's rules of proof of work; none under BFT.
pub(super) fn pow_rules(engine: &Engine) -> &PowRules {
    match engine {
        Engine::Pow(rules) => rules,
        Engine::Pbft(_) | Engine::Pos(_) | Engine::Dpos(_) => &NO_WORK,
    }
}

fn set_of(engine: &Engine) -> Option<ValidatorSet> {
    let rule = match engine {
        Engine::Pow(_) => return None,
        Engine::Pbft(_) => SetRule::Pbft,
        Engine::Pos(_) => SetRule::Pos,
        Engine::Dpos(_) => SetRule::Dpos,
    };
    let set = ValidatorSet::new(rule, engine.validators().to_vec());
    Some(set.expect("the specification was checked"))
}

fn ruleset(chain_id: &BlockId, entry: &ScheduleEntry, kind: RulesetKind) -> Hash {
    let entry = codec::encode(entry);
    Hash(hash::RULESET.hash(&[chain_id.as_ref(), &entry, &[kind.tag()]]))
}

fn schedule_hash(entries: &[ScheduleEntry], height: Height) -> Hash {
    let announced: Vec<_> = entries
        .iter()
        .filter(|entry| entry.announce <= height)
        .collect();
    Hash(hash::SCHEDULE.hash(&[&codec::encode(&announced)]))
}

/// The state before genesis, to which its extension commits.
fn void_state() -> LedgerState {
    LedgerState {
        height: 0,
        tip: BlockId::ZERO,
        coins: LtHash::default(),
        engine: EngineState::default(),
    }
}

fn genesis_block(immutable: &Immutable, spec_hash: Hash, schedule_hash: Hash) -> Block {
    let attachments = Attachments::default();
    let coinbase = Coinbase {
        version: COINBASE_VERSION,
        height: 0,
        extra_nonce: [0; EXTRA_NONCE_BYTES],
        outputs: Vec::new(),
    };
    let extension = Extension {
        ext_version: EXTENSION_VERSION,
        height: 0,
        state_root: void_state().root(),
        tx_count: 0,
        attachments_hash: attachments.hash(),
        ruleset_id: Hash::ZERO,
        schedule_hash,
        switch: SwitchRecord::default(),
        set_hash: Hash::ZERO,
        next_set_hash: Hash::ZERO,
        proposer: 0,
        proposed_round: 0,
        seed_reveal: BoundedBytes::default(),
        commitments: vec![Commitment {
            tag: COMMITMENT_SPEC,
            hash: spec_hash,
        }],
    };
    let header = Header {
        version: HEADER_VERSION,
        parent: BlockId::ZERO,
        root: block_root(&coinbase.id(), &extension.hash(), &tx_root([])),
        time: immutable.genesis_time,
        bits: immutable.genesis_bits,
        nonce: 0,
    };
    Block {
        header,
        extension,
        coinbase,
        attachments,
        transactions: Vec::new(),
    }
}

fn funded_coins(immutable: &Immutable, coinbase_id: TxId) -> Vec<(OutPoint, Coin)> {
    let coin = |(index, output): (usize, &crate::transaction::Output)| {
        let coin = Coin {
            output: output.clone(),
            height: 0,
            is_coinbase: false,
        };
        (Transaction::outpoint(coinbase_id, index), coin)
    };
    immutable.funded.iter().enumerate().map(coin).collect()
}

fn genesis_state(
    immutable: &Immutable,
    entries: &[ScheduleEntry],
    chain_id: BlockId,
    coins: &[(OutPoint, Coin)],
) -> LedgerState {
    let mut state = LedgerState {
        tip: chain_id,
        ..void_state()
    };
    for (outpoint, coin) in coins {
        coin.add_to(outpoint, &mut state.coins);
    }
    let funded = coins.iter().map(|(_, coin)| coin.output.value);
    state.engine.issued = Amount::checked_sum(funded).expect("checked against the money cap");
    state.engine.enter(&entries[0], 1, immutable.genesis_time);
    state.engine.push_time(immutable.genesis_time);
    state
}

/// The specification files that are built in.
pub mod builtin {
    use super::{ChainParams, SpecFile};

    /// A private chain's template: `cairn devnet` adds a seed and a funded account.
    pub const DEVNET: &str = include_str!("../../../spec/chains/devnet.toml");

    /// The public test chain.
    pub const TESTNET: &str = include_str!("../../../spec/chains/testnet.toml");

    /// The built-in chain of this name, if there is one.
    pub fn by_name(name: &str) -> Option<ChainParams> {
        let text = match name {
            "devnet" => DEVNET,
            "testnet" => TESTNET,
            _ => return None,
        };
        Some(
            ChainParams::from_toml(text)
                .expect("built-in specifications are valid; a test reads them"),
        )
    }

    /// The devnet's template, to be changed and written to a file.
    pub fn devnet_file() -> SpecFile {
        SpecFile::parse(DEVNET).expect("the built-in template is valid; a test reads it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::CheckedBlock;

    #[test]
    fn built_in_chains_are_valid_and_distinct() {
        let devnet = builtin::by_name("devnet").unwrap();
        let testnet = builtin::by_name("testnet").unwrap();
        assert_ne!(devnet.chain_id(), testnet.chain_id());
        for params in [&devnet, &testnet] {
            let genesis = params.genesis().clone();
            CheckedBlock::new(genesis, params.limits()).unwrap();
            let file = SpecFile::parse(&params.file().to_toml()).unwrap();
            assert_eq!(
                ChainParams::new(file).unwrap().chain_id(),
                params.chain_id()
            );
        }
        assert!(builtin::by_name("mainnet").is_none());
    }

    /// Attack catalogue V05: the table's steps are exact and the cap holds to the end of heights.
    #[test]
    fn the_subsidy_follows_its_table() {
        let params = builtin::by_name("testnet").unwrap();
        let steps = params.pow_rules(1).subsidy.clone();
        for pair in steps.windows(2) {
            let before = params.subsidy(pair[1].height - 1, Amount::ZERO);
            assert_eq!(before, pair[0].subsidy);
            assert_eq!(
                params.subsidy(pair[1].height, Amount::ZERO),
                pair[1].subsidy
            );
        }
        assert_eq!(
            params.subsidy(u64::MAX, Amount::ZERO),
            steps.last().unwrap().subsidy
        );
        let cap = params.limits().money_cap;
        assert_eq!(params.subsidy(1, cap), Amount::ZERO);
        assert_eq!(params.subsidy(1, Amount(cap.0 - 1)), Amount(1));
        let total: u128 = steps
            .windows(2)
            .map(|pair| u128::from(pair[1].height - pair[0].height) * u128::from(pair[0].subsidy.0))
            .sum();
        assert!(
            total <= u128::from(cap.0),
            "{total} pebbles are promised, {cap} may exist"
        );
        assert_eq!(steps.last().unwrap().subsidy, Amount::ZERO);
    }

    #[test]
    fn every_immutable_value_changes_the_chain() {
        let base = builtin::devnet_file();
        let mut ids = std::collections::BTreeSet::new();
        let mut add = |change: &dyn Fn(&mut SpecFile)| {
            let mut file = base.clone();
            change(&mut file);
            assert!(ids.insert(ChainParams::new(file).unwrap().chain_id()));
        };
        add(&|_| {});
        add(&|f| f.name.push('x'));
        add(&|f| f.seed = Hash([1; 32]));
        add(&|f| f.genesis.time += 1);
        add(&|f| f.limits.block_weight_max -= 1);
        add(&|f| f.limits.transaction_weight_max -= 1);
        add(&|f| f.limits.coinbase_maturity += 1);
        add(&|f| f.limits.money_cap.0 -= 1);
        add(&|f| f.timing.block_time_ms += 1);
        add(&|f| f.timing.max_future_s += 1);
        add(&|f| f.schedule[0].subsidy[0].subsidy.0 += 1);
    }
}
