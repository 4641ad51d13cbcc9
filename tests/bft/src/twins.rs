//! Twins: two honest copies of one key are a Byzantine validator that lies in no message of its own
//! making (after Bano, Sonnino, Chursin, Perelman, Malkhi: "Twins: White-Glove Approach for BFT
//! Testing", 2020).
//!
//! One run: rounds under the splits of its [`Scenario`], each until nothing more can be delivered,
//! then all timers end; then the network is whole, and every honest validator must decide. Judged at
//! the end of each run: agreement, validity by [`crate::verifier`], no honest validator named by
//! anybody, the guilt of a fork's makers, and rounds until the decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cairn_consensus::pbft::{Input, Setup, Timeouts};
use cairn_protocol::bft::{
    Body, Evidence, Round, Scope, SignedStatement, StatementKind, Verified, verify_seal,
};
use cairn_protocol::hash::BlockId;
use cairn_sim::rng::Rng;

use crate::book::Book;
use crate::report::Report;
use crate::scenario::{Family, SPLIT_ROUNDS, Scenario, together};
use crate::solo::{Hand, Solo};
use crate::verifier::{is_quorum, judge_seal};

/// The worlds of all families.
#[derive(Debug)]
pub struct Bench {
    four: Book,
    seven: Book,
}

impl Default for Bench {
    fn default() -> Bench {
        let scheme = cairn_sim::keys::Scheme::KeyedHash([5; 32]);
        Bench {
            four: Book::new(scheme, &[1; 4]),
            seven: Book::new(scheme, &[1; 7]),
        }
    }
}

/// Timeouts of all validators in a row after which a run is stuck: each round takes one or two.
const TIMEOUTS_MAX: usize = 100;

/// Who has said what, for the judge.
struct Heard {
    node: usize,
    verified: Verified,
}

struct Run<'a> {
    book: &'a Book,
    scope: Scope,
    scenario: &'a Scenario,
    nodes: Vec<Solo>,
    pool: Vec<Heard>,
    /// Pairs of message and receiver.
    mail: VecDeque<(usize, usize)>,
    held: Vec<(usize, usize)>,
    rng: Option<Rng>,
    is_whole: bool,
    deliveries: u64,
    /// By node: the messages that it took.
    taken: Vec<Vec<usize>>,
}

/// Runs one scenario. It panics with the story of what broke.
pub fn run(bench: &Bench, scenario: &Scenario, report: &mut Report) {
    let book = match scenario.family {
        Family::Four | Family::TooMany => &bench.four,
        Family::Seven => &bench.seven,
    };
    let mut run = Run {
        book,
        scope: book.scope(scenario.instance),
        scenario,
        nodes: Vec::new(),
        pool: Vec::new(),
        mail: VecDeque::new(),
        held: Vec::new(),
        rng: scenario.order.map(Rng::new),
        is_whole: false,
        deliveries: 0,
        taken: vec![Vec::new(); scenario.family.nodes()],
    };
    run.start();
    for _ in 0..=SPLIT_ROUNDS {
        run.deliver();
        if run.honest().all(|node| run.nodes[node].decided.is_some()) {
            break;
        }
        run.time_out();
    }
    let limit = run.heal();
    run.finish(limit);
    run.judge(limit, report);
}

impl Run<'_> {
    fn place(&self, node: usize) -> u16 {
        let validators = self.scenario.family.validators();
        (if node < validators {
            node
        } else {
            node - validators
        }) as u16
    }

    /// Nodes whose key runs once.
    fn honest(&self) -> impl Iterator<Item = usize> + use<> {
        self.scenario.family.twins()..self.scenario.family.validators()
    }

    fn start(&mut self) {
        let setups: Vec<Arc<Setup>> = (0..self.scenario.family.validators() as u16)
            .map(|place| {
                Arc::new(Setup {
                    scope: self.scope,
                    set: self.book.set.clone(),
                    leaders: self.scenario.leaders,
                    me: Some(place),
                    timeouts: Timeouts { base_ms: 100 },
                })
            })
            .collect();
        for node in 0..self.scenario.family.nodes() {
            let place = usize::from(self.place(node));
            let make = |round| value(node, round);
            let mut hand = Hand::new(&self.book.signers[place], &make);
            let solo = Solo::start(setups[place].clone(), None, &mut hand);
            let said = hand.said;
            self.nodes.push(solo);
            self.post(node, said);
        }
    }

    /// What a node said goes to all who hear it now; it waits for the others.
    fn post(&mut self, node: usize, said: Vec<Verified>) {
        for verified in said {
            let statement = verified.message().body.statement();
            let known = |heard: &Heard| {
                heard.node == node && heard.verified.message().body.statement() == statement
            };
            if !self.is_whole && self.pool.iter().any(known) {
                // Said again to the same listeners: they know it.
                continue;
            }
            // What an honest core says, every receiver accepts.
            let message = verified.into_message();
            let verdict = message.verify(&self.scope, &self.book.set, &self.book.scheme);
            let verified = verdict.expect("a core says nothing that is refused");
            let splits = match statement.kind() {
                StatementKind::Commit => &self.scenario.commits,
                StatementKind::ViewChange => &self.scenario.changes,
                _ => &self.scenario.prepares,
            };
            let number = self.pool.len();
            for to in 0..self.scenario.family.nodes() {
                // A half that hears its twin would fall silent: then there is nothing to test.
                if self.place(to) == self.place(node) {
                    continue;
                }
                if self.is_whole || together(splits, statement.round(), node, to) {
                    self.mail.push_back((number, to));
                } else if self.scenario.late {
                    self.held.push((number, to));
                }
            }
            self.pool.push(Heard { node, verified });
        }
    }

    fn input(&mut self, node: usize, input: Option<Input>) {
        let make = |round| value(node, round);
        let mut hand = Hand::new(&self.book.signers[usize::from(self.place(node))], &make);
        match input {
            Some(input) => self.nodes[node].take(input, &mut hand),
            None => self.nodes[node].time_out(&mut hand),
        }
        let said = hand.said;
        self.post(node, said);
    }

    fn deliver(&mut self) {
        loop {
            if let Some(rng) = &mut self.rng
                && !self.mail.is_empty()
            {
                let chosen = rng.index(self.mail.len());
                self.mail.swap(0, chosen);
            }
            let Some((number, to)) = self.mail.pop_front() else {
                return;
            };
            if self.nodes[to].decided.is_none() {
                self.deliveries += 1;
                self.taken[to].push(number);
                let verified = self.pool[number].verified.clone();
                self.input(to, Some(Input::Message(verified)));
            }
        }
    }

    fn time_out(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].decided.is_none() {
                self.input(node, None);
            }
        }
    }

    /// The network is whole. Answers the round by which all must have decided: two rounds of honest
    /// leaders from the highest on.
    fn heal(&mut self) -> Round {
        self.is_whole = true;
        self.mail.extend(std::mem::take(&mut self.held));
        let tops = (0..self.nodes.len()).map(|node| self.nodes[node].core.round());
        let mut round = tops.max().unwrap_or(0);
        let mut honest_leaders = 0;
        while honest_leaders < 2 {
            round += 1;
            let scenario = self.scenario;
            let leader = scenario
                .leaders
                .leader(&self.book.set, scenario.instance, round);
            if usize::from(leader) >= scenario.family.twins() {
                honest_leaders += 1;
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].decided.is_none() {
                self.input(node, Some(Input::Resend));
            }
        }
        round
    }

    /// Whoever has decided answers with its seal; the others go on until they decide.
    fn finish(&mut self, limit: Round) {
        for _ in 0..TIMEOUTS_MAX {
            self.deliver();
            let is_open = |node: &usize| self.nodes[*node].decided.is_none();
            let open: Vec<usize> = self.honest().filter(is_open).collect();
            if open.is_empty() {
                return;
            }
            let seal = self
                .honest()
                .find_map(|node| self.nodes[node].decided.clone());
            if let Some((id, seal)) = seal {
                let verdict =
                    verify_seal(&seal, &self.scope, id, &self.book.set, &self.book.scheme);
                assert!(verdict.is_ok(), "a seal does not verify: {verdict:?}");
                for node in open {
                    self.nodes[node].decided = Some((id, seal.clone()));
                }
                return;
            }
            let lowest = open.iter().map(|node| self.nodes[*node].core.round()).min();
            let is_late = lowest > Some(limit);
            if is_late && self.scenario.family == Family::TooMany {
                // With too many twins nothing is promised but that they are named.
                return;
            }
            assert!(
                !is_late,
                "no decision by round {limit} although the network is whole: {:?}",
                self.scenario
            );
            self.time_out();
        }
        panic!(
            "nobody moves although the network is whole: {:?}",
            self.scenario
        );
    }

    fn judge(&self, limit: Round, report: &mut Report) {
        report.count(match self.scenario.family {
            Family::Four => "scenarios of four with one twin",
            Family::Seven => "scenarios of seven with two twins",
            Family::TooMany => "scenarios of four with two twins",
        });
        let mut values = BTreeSet::new();
        for node in self.honest() {
            let Some((id, seal)) = &self.nodes[node].decided else {
                continue;
            };
            values.insert(*id);
            let verdict = judge_seal(self.book, &self.scope, *id, seal);
            assert!(verdict.is_ok(), "{verdict:?}: {:?}", self.scenario);
            assert!(self.is_proposed(*id), "nobody proposed {id:?}");
            assert!(
                seal.round <= limit || self.scenario.family == Family::TooMany,
                "decided in round {} instead of {limit}: {:?}",
                seal.round,
                self.scenario
            );
            if seal.round > 0 {
                report.count("decisions in a later round");
            }
        }
        self.count(report);
        let guilty = self.guilty();
        let accused = self.accused();
        assert!(accused.is_subset(&guilty));
        if !guilty.is_empty() {
            report.count("scenarios in which a twin contradicts itself");
            if !accused.is_empty() {
                report.count("scenarios in which an honest validator proves it");
            }
        }
        if values.len() <= 1 {
            return;
        }
        assert_eq!(
            self.scenario.family,
            Family::TooMany,
            "FORK {values:?}: {:?}",
            self.scenario
        );
        report.count("forks by too many twins, all makers named");
        let power = self.book.set.power_of(guilty.iter().copied());
        assert!(
            3 * power > self.book.set.total(),
            "a fork names only {guilty:?}: {:?}",
            self.scenario
        );
    }

    fn is_proposed(&self, id: BlockId) -> bool {
        (0..self.nodes.len()).any(|node| (0..64).any(|round| value(node, round) == id))
    }

    /// Keys that said two things which no honest one says. An honest one among them is a bug.
    fn guilty(&self) -> BTreeSet<u16> {
        let mut guilty = BTreeSet::new();
        let all: Vec<usize> = (0..self.pool.len()).collect();
        for place in 0..self.scenario.family.validators() as u16 {
            if let Some(proof) = self.proof(place, &all) {
                assert!(
                    usize::from(place) < self.scenario.family.twins(),
                    "honest validator {place} is named: {proof:?}"
                );
                guilty.insert(place);
            }
        }
        guilty
    }

    /// Two statements of `place` among these messages that no honest validator makes.
    fn proof(&self, place: u16, numbers: &[usize]) -> Option<Evidence> {
        let key = self.book.signers[usize::from(place)].public();
        let said: Vec<SignedStatement> = numbers
            .iter()
            .map(|number| &self.pool[*number])
            .filter(|heard| self.place(heard.node) == place)
            .map(|heard| SignedStatement {
                statement: heard.verified.message().body.statement(),
                signature: heard.verified.message().signature,
            })
            .collect();
        said.iter().enumerate().find_map(|(at, first)| {
            let mut later = said[at + 1..].iter();
            later.find_map(|second| Evidence::between(&self.scope, key, *first, *second))
        })
    }

    /// Keys that an honest core accused, with a proof that holds. Whoever took two contradicting
    /// messages must have noticed.
    fn accused(&self) -> BTreeSet<u16> {
        let mut accused = BTreeSet::new();
        for node in self.honest() {
            let mut own = BTreeSet::new();
            for evidence in &self.nodes[node].evidence {
                let proven = evidence.verify(self.scope.chain_id, &self.book.scheme);
                let proven = proven.expect("evidence proves what it says");
                let place = self.book.set.index_of(&proven.key).expect("a validator");
                assert!(
                    usize::from(place) < self.scenario.family.twins(),
                    "honest validator {place} is accused: {evidence:?}"
                );
                own.insert(place);
            }
            // A core keeps four rounds of each kind: what is older may be forgotten.
            let is_long = self.nodes[node].core.round() > 3;
            for twin in 0..self.scenario.family.twins() as u16 {
                let proof = self.proof(twin, &self.taken[node]);
                assert!(
                    is_long || own.contains(&twin) || proof.is_none(),
                    "validator {node} overlooked {proof:?}: {:?}",
                    self.scenario
                );
            }
            accused.extend(own);
        }
        accused
    }

    /// Counts what makes a scenario worth running.
    fn count(&self, report: &mut Report) {
        *report.0.entry("deliveries").or_default() += self.deliveries;
        let mut votes: BTreeMap<(bool, Round), BTreeMap<BlockId, BTreeSet<u16>>> = BTreeMap::new();
        for heard in &self.pool {
            let (is_commit, round, id) = match &heard.verified.message().body {
                Body::Prepare { round, ballot } => (false, *round, ballot.id),
                Body::Commit { round, id } => (true, *round, *id),
                Body::ViewChange {
                    prepared: Some(_), ..
                } => {
                    report.count("view changes with a prepared value");
                    continue;
                }
                Body::NewView { justification, .. } => {
                    report.count(match &justification.certificate {
                        Some(_) => "new views that propose the prepared value again",
                        None => "new views",
                    });
                    continue;
                }
                Body::PrePrepare { .. } | Body::ViewChange { .. } => continue,
            };
            let of = votes.entry((is_commit, round)).or_default();
            of.entry(id).or_default().insert(self.place(heard.node));
        }
        for ((is_commit, _), values) in votes {
            let quorums = values
                .values()
                .filter(|places| is_quorum(self.book, places))
                .count();
            let nearly = |places: &&BTreeSet<u16>| {
                let missing = (0..self.book.set.len() as u16).find(|place| !places.contains(place));
                let more = places.iter().copied().chain(missing).collect();
                !is_quorum(self.book, places) && is_quorum(self.book, &more)
            };
            if quorums >= 1 && values.values().any(|places| nearly(&places)) {
                report.count(if is_commit {
                    "twin quorum attempts with COMMITs"
                } else {
                    "twin quorum attempts with PREPAREs"
                });
            }
            if quorums > 1 {
                report.count("two quorums in one round");
            }
        }
    }
}

/// A value by the name of who makes it and the round in which.
fn value(node: usize, round: Round) -> BlockId {
    let mut id = [0x77; 32];
    id[0] = node as u8 + 1;
    id[1] = round as u8 + 1;
    BlockId(id)
}
