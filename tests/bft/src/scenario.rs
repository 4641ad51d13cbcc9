//! What happens in a Twins run: who has a twin, who leads, who hears whom in which round.
//!
//! Scenarios are counted or drawn. Counted: all partitions of the nodes for rounds 0 to 2, times the
//! four orders of leaders. Drawn: more rounds, leaders by lot, another partition for each kind of
//! message, mail that comes late or never, any order of delivery.

use cairn_protocol::bft::{LeaderRule, Round};
use cairn_protocol::hash::Hash;
use cairn_sim::rng::Rng;

/// Nodes of the largest family: seven keys, two of them twice.
pub const NODES_MAX: usize = 9;
/// Rounds in which the network is split.
pub const SPLIT_ROUNDS: usize = 4;

/// The group of each node; only members of one group hear each other.
pub type Split = [u8; NODES_MAX];

/// Nobody is cut off.
pub const WHOLE: Split = [0; NODES_MAX];

/// How many validators there are, and which have a twin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Four with one twin: agreement must hold.
    Four,
    /// Seven with two twins: agreement must hold.
    Seven,
    /// Four with two twins, which is too many: whoever forks must be named.
    TooMany,
}

impl Family {
    /// Validators.
    #[must_use]
    pub fn validators(self) -> usize {
        match self {
            Family::Four | Family::TooMany => 4,
            Family::Seven => 7,
        }
    }

    /// Keys that run twice.
    #[must_use]
    pub fn twins(self) -> usize {
        match self {
            Family::Four => 1,
            Family::Seven | Family::TooMany => 2,
        }
    }

    /// Running nodes.
    #[must_use]
    pub fn nodes(self) -> usize {
        self.validators() + self.twins()
    }
}

/// One run. The twins have the places 0 and, if there are two, 1; their second halves stand behind
/// all others.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who takes part.
    pub family: Family,
    /// The height: it turns the order of leaders.
    pub instance: u64,
    /// Who leads.
    pub leaders: LeaderRule,
    /// Who hears whose proposals and PREPAREs of each round.
    pub prepares: [Split; SPLIT_ROUNDS],
    /// The same for COMMITs.
    pub commits: [Split; SPLIT_ROUNDS],
    /// The same for VIEW-CHANGEs.
    pub changes: [Split; SPLIT_ROUNDS],
    /// Whether mail that was cut off comes once the network is whole.
    pub late: bool,
    /// Order of delivery: as sent, or drawn from this seed.
    pub order: Option<u64>,
}

/// All partitions of `nodes` nodes into at most `groups` groups.
#[must_use]
pub fn partitions(nodes: usize, groups: u8) -> Vec<Split> {
    let mut all = vec![(WHOLE, 1u8)];
    for node in 1..nodes {
        let mut more = Vec::new();
        for (split, used) in all {
            for group in 0..groups.min(used + 1) {
                let mut split = split;
                split[node] = group;
                more.push((split, used.max(group + 1)));
            }
        }
        all = more;
    }
    all.into_iter().map(|(split, _)| split).collect()
}

/// How many scenarios [`counted`] knows with these partitions.
#[must_use]
pub fn count(splits: &[Split]) -> u64 {
    (splits.len() as u64).pow(3) * 4
}

/// A scenario by its number.
#[must_use]
pub fn counted(splits: &[Split], number: u64) -> Scenario {
    let base = splits.len() as u64;
    let digit = |place: u32| splits[(number / 4 / base.pow(place) % base) as usize];
    let rounds = [digit(0), digit(1), digit(2), WHOLE];
    Scenario {
        family: Family::Four,
        instance: 8 + number % 4,
        leaders: LeaderRule::Rotation,
        prepares: rounds,
        commits: rounds,
        changes: [WHOLE; SPLIT_ROUNDS],
        late: (number / 4).is_multiple_of(2),
        order: None,
    }
}

/// A scenario by lot.
#[must_use]
pub fn drawn(rng: &mut Rng) -> Scenario {
    let family = match rng.below(16) {
        0..=8 => Family::Four,
        9..=13 => Family::Seven,
        _ => Family::TooMany,
    };
    let leaders = if rng.chance(500) {
        LeaderRule::Rotation
    } else {
        let seed = Hash(rng.bytes());
        LeaderRule::Draw { seed }
    };
    let one_split = rng.chance(400);
    let mut scenario = Scenario {
        family,
        instance: rng.between(1, 28),
        leaders,
        prepares: [WHOLE; SPLIT_ROUNDS],
        commits: [WHOLE; SPLIT_ROUNDS],
        changes: [WHOLE; SPLIT_ROUNDS],
        late: rng.chance(500),
        order: rng.chance(700).then(|| rng.bits()),
    };
    for round in 0..SPLIT_ROUNDS {
        scenario.prepares[round] = split(family, rng);
        scenario.commits[round] = if one_split {
            scenario.prepares[round]
        } else {
            split(family, rng)
        };
        if rng.chance(200) {
            scenario.changes[round] = split(family, rng);
        }
    }
    scenario
}

/// Two groups mostly, with the halves of each twin apart: that is where forks would be.
fn split(family: Family, rng: &mut Rng) -> Split {
    let mut split = WHOLE;
    let groups = [1, 2, 2, 2, 2, 3][rng.index(6)];
    for group in split.iter_mut().take(family.nodes()) {
        *group = rng.below(groups) as u8;
    }
    if groups > 1 && rng.chance(700) {
        for twin in 0..family.twins() {
            split[twin] = 0;
            split[family.validators() + twin] = 1;
        }
    }
    split
}

/// Whether two nodes of a split hear each other.
#[must_use]
pub fn together(splits: &[Split; SPLIT_ROUNDS], round: Round, from: usize, to: usize) -> bool {
    let split = splits.get(round as usize).unwrap_or(&WHOLE);
    split[from] == split[to]
}
