//! A simulated node and its peers: honest, silent, lying. One property above all: with one honest
//! peer the node reaches its tip, and the honest peer is never punished.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    peers::score::{SCORE_BAN, Severity},
    sync::{HEADERS_PER_REQUEST, WINDOW_BATCHES},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Honest {
        latency_ms: u64,
        bodies_max: usize,
    },
    /// Claims the best tip and never answers.
    Silent,
    /// Claims more work than there is, and has no headers.
    Boaster,
    /// Sends headers that break a rule.
    BadHeaders,
    /// Honest headers, bodies of other blocks.
    WrongBodies,
    /// Honest headers, bodies whose content does not fit.
    BadContent,
    /// Honest headers, never a body.
    NoBodies,
    /// Shows one chain to presync and sends another.
    Changer,
    /// Shows only a short chain of little work.
    LowWork,
    /// Answers half of the time, then breaks the connection.
    Flaky,
    /// Honest, but with one header and one block per answer.
    Drip,
    /// Claims the best tip and breaks off every request: nothing to punish, only to avoid.
    Broken,
}

fn id(chain: u8, height: u64) -> BlockId {
    let mut bytes = [chain; 32];
    bytes[..8].copy_from_slice(&height.to_le_bytes());
    if height == 0 {
        BlockId([0; 32])
    } else {
        BlockId(bytes)
    }
}

fn tip(chain: u8, height: u64) -> Tip {
    Tip {
        height,
        id: id(chain, height),
        work: Work::from(10 * (height + 1)),
    }
}

fn need(best: Vec<(u64, BlockId)>) -> Input<u32> {
    let others = Vec::new();
    Input::Need { best, others }
}

const GOOD: u8 = 1;
const FAKE: u8 = 2;

struct Sim {
    scheduler: Scheduler<u32>,
    kinds: Vec<Kind>,
    gone: BTreeSet<u32>,
    height: u64,
    connected: u64,
    best: Tip,
    bodies: BTreeSet<u64>,
    now_ms: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Input<u32>>,
    asked: BTreeMap<RequestId, u32>,
    arrived: BTreeMap<RequestId, Vec<BlockId>>,
    bad: BTreeSet<u64>,
    points: BTreeMap<u32, f64>,
    offences: Vec<(u32, Offence)>,
    under_way_max: usize,
    asks: BTreeMap<u32, usize>,
}

impl Sim {
    fn new(kinds: &[Kind], height: u64, work_min: u64) -> Self {
        let best = tip(GOOD, 0);
        let mut sim = Self {
            scheduler: Scheduler::new([9; 16], Work::from(work_min), 0, best),
            kinds: kinds.to_vec(),
            gone: BTreeSet::new(),
            height,
            connected: 0,
            best,
            bodies: BTreeSet::new(),
            now_ms: 1_000,
            sequence: 0,
            events: BTreeMap::new(),
            asked: BTreeMap::new(),
            arrived: BTreeMap::new(),
            bad: BTreeSet::new(),
            points: BTreeMap::new(),
            offences: Vec::new(),
            under_way_max: 0,
            asks: BTreeMap::new(),
        };
        for peer in 0..kinds.len() as u32 {
            let claim = match sim.kinds[peer as usize] {
                Kind::Honest { .. } => tip(GOOD, height),
                Kind::LowWork => Tip {
                    work: Work::from(u64::MAX),
                    ..tip(FAKE, height + 9)
                },
                Kind::Boaster => Tip {
                    work: Work::from(u64::MAX),
                    ..tip(FAKE, height * 10)
                },
                _ => Tip {
                    work: Work::from(10 * (height + 5)),
                    ..tip(GOOD, height + 4)
                },
            };
            sim.after(
                0,
                Input::Peer {
                    peer,
                    tip: claim,
                    lowest: 0,
                },
            );
        }
        sim.after(1, Input::Tick);
        sim
    }

    fn after(&mut self, ms: u64, input: Input<u32>) {
        self.sequence += 1;
        self.events.insert((self.now_ms + ms, self.sequence), input);
    }

    /// Runs until the node is at the honest tip, or simulated time runs out.
    fn run(&mut self, until_ms: u64) -> bool {
        while let Some(((at, _), input)) = self.events.pop_first() {
            self.now_ms = at;
            if at > until_ms {
                return false;
            }
            self.handle(input);
            if self.connected == self.height {
                return true;
            }
        }
        false
    }

    fn handle(&mut self, input: Input<u32>) {
        if let Input::Tick = input {
            self.after(500, Input::Tick);
        }
        if let Input::Failed { request, .. }
        | Input::BodiesArrived { request, .. }
        | Input::HeadersArrived { request, .. }
        | Input::BareHeadersArrived { request, .. } = &input
        {
            let Some(peer) = self.asked.remove(request) else {
                return;
            };
            if self.gone.contains(&peer) {
                return;
            }
        }
        let mut follow = Vec::new();
        match &input {
            Input::HeadersArrived { request, ids } => {
                self.arrived.insert(*request, ids.clone());
            }
            Input::BodiesArrived { request, ids } => {
                for id in ids {
                    let height = u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap());
                    if *id == super::tests::id(GOOD, height) && !self.bad.contains(&request.0) {
                        self.bodies.insert(height);
                    } else if self.bad.contains(&request.0) {
                        follow.push(Input::BodyBad {
                            id: *id,
                            is_content: true,
                        });
                    }
                }
            }
            _ => {}
        }
        self.give(input);
        for input in follow {
            self.give(input);
        }
        self.connect();
    }

    fn give(&mut self, input: Input<u32>) {
        let mut effects = Vec::new();
        self.scheduler.handle(self.now_ms, input, &mut effects);
        for effect in effects {
            self.effect(effect);
        }
        self.under_way_max = self.under_way_max.max(self.asked.len());
    }

    fn connect(&mut self) {
        let before = self.connected;
        while self.connected < self.best.height && self.bodies.contains(&(self.connected + 1)) {
            self.connected += 1;
        }
        if self.connected > before {
            self.give(Input::Chain {
                connected: self.connected,
                best_header: self.best,
            });
        }
    }

    fn effect(&mut self, effect: Effect<u32>) {
        match effect {
            Effect::AskHeaders {
                peer,
                request,
                start,
                deadline_ms,
            } => {
                self.asked.insert(request, peer);
                let input = self.headers(peer, request, start, deadline_ms);
                self.answer(peer, request, deadline_ms, input);
            }
            Effect::AskBareHeaders {
                peer,
                request,
                start,
                deadline_ms,
            } => {
                self.asked.insert(request, peer);
                let input = self.bare_headers(peer, request, start);
                self.answer(peer, request, deadline_ms, input);
            }
            Effect::AskBodies {
                peer,
                request,
                ids,
                deadline_ms,
            } => {
                self.asked.insert(request, peer);
                *self.asks.entry(peer).or_default() += 1;
                let of_peer = self.asked.values().filter(|other| **other == peer).count();
                assert!(
                    of_peer <= BATCHES_PER_PEER + 1,
                    "two batches and one header request"
                );
                let input = self.blocks(peer, request, ids);
                self.answer(peer, request, deadline_ms, input);
            }
            Effect::StoreHeaders { request, count } => {
                let ids = self.arrived.remove(&request).unwrap();
                assert_eq!(ids.len(), count);
                let is_good = ids.iter().all(|id| {
                    let height = u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap());
                    *id == super::tests::id(GOOD, height)
                });
                let input = if !is_good {
                    Input::HeadersBad {
                        request,
                        offence: Offence::InvalidHeader,
                    }
                } else {
                    let last = ids.last().map(|id| {
                        let height = u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap());
                        tip(GOOD, height)
                    });
                    if let Some(last) = last.filter(|last| last.work > self.best.work) {
                        self.best = last;
                    }
                    Input::HeadersStored {
                        request,
                        last,
                        refused: false,
                    }
                };
                self.after(0, input);
            }
            Effect::NeedBodies { .. } => {
                let missing = (self.connected + 1..=self.best.height)
                    .filter(|height| !self.bodies.contains(height))
                    .take(1_024)
                    .map(|height| (height, id(GOOD, height)))
                    .collect();
                self.after(0, need(missing));
            }
            Effect::Punish { peer, offence } => {
                self.offences.push((peer, offence));
                let points = self.points.entry(peer).or_default();
                *points += offence.severity().points();
                if *points < SCORE_BAN && self.gone.insert(peer) {
                    self.after(0, Input::PeerGone(peer));
                }
            }
            Effect::Progress(progress) => {
                assert!(progress.done <= progress.total);
                assert_eq!(progress.done, self.connected);
            }
        }
    }

    fn answer(
        &mut self,
        peer: u32,
        request: RequestId,
        deadline_ms: u64,
        input: Option<Input<u32>>,
    ) {
        match (input, self.kinds[peer as usize]) {
            (Some(input), Kind::Honest { latency_ms, .. }) => self.after(latency_ms, input),
            (Some(input), _) => self.after(20, input),
            (None, _) => {
                self.after(
                    deadline_ms,
                    Input::Failed {
                        request,
                        failure: Failure::Timeout,
                    },
                );
            }
        }
    }

    fn start_height(&self, start: Start) -> u64 {
        match start {
            Start::Locator => self.best.height,
            Start::After(id) => u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap()),
        }
    }

    fn headers(
        &mut self,
        peer: u32,
        request: RequestId,
        start: Start,
        _deadline_ms: u64,
    ) -> Option<Input<u32>> {
        let first = self.start_height(start) + 1;
        let last = self.height.min(first + HEADERS_PER_REQUEST as u64 - 1);
        let ids = |chain| (first..=last).map(|height| id(chain, height)).collect();
        match self.kinds[peer as usize] {
            Kind::Silent => None,
            Kind::Broken => Some(Input::Failed {
                request,
                failure: Failure::Lost,
            }),
            Kind::Flaky if request.0.is_multiple_of(2) => Some(Input::Failed {
                request,
                failure: Failure::Lost,
            }),
            Kind::Boaster | Kind::LowWork => Some(Input::HeadersArrived {
                request,
                ids: Vec::new(),
            }),
            Kind::BadHeaders | Kind::Changer => Some(Input::HeadersArrived {
                request,
                ids: ids(FAKE),
            }),
            Kind::Drip => Some(Input::HeadersArrived {
                request,
                ids: (first..=last.min(first))
                    .map(|height| id(GOOD, height))
                    .collect(),
            }),
            _ => Some(Input::HeadersArrived {
                request,
                ids: ids(GOOD),
            }),
        }
    }

    fn bare_headers(&mut self, peer: u32, request: RequestId, start: Start) -> Option<Input<u32>> {
        let kind = self.kinds[peer as usize];
        let first = self.start_height(start) + 1;
        let end = match kind {
            Kind::LowWork => self.height.min(30),
            Kind::Drip => self.height.min(first),
            _ => self.height,
        };
        let last = end.min(first + HEADERS_PER_REQUEST as u64 - 1);
        let work = Work::from(10u64);
        let facts = (first..=last)
            .map(|height| HeaderFacts {
                id: id(GOOD, height),
                parent: id(GOOD, height - 1),
                work,
            })
            .collect();
        let anchor = Some(tip(GOOD, first - 1));
        match kind {
            Kind::Silent => None,
            Kind::Broken => Some(Input::Failed {
                request,
                failure: Failure::Lost,
            }),
            Kind::Boaster => Some(Input::BareHeadersArrived {
                request,
                anchor: None,
                facts: Vec::new(),
            }),
            _ => Some(Input::BareHeadersArrived {
                request,
                anchor,
                facts,
            }),
        }
    }

    fn blocks(&mut self, peer: u32, request: RequestId, ids: Vec<BlockId>) -> Option<Input<u32>> {
        match self.kinds[peer as usize] {
            Kind::Honest { bodies_max, .. } => {
                let ids = ids.into_iter().take(bodies_max).collect();
                Some(Input::BodiesArrived { request, ids })
            }
            Kind::Silent => None,
            Kind::Broken => Some(Input::Failed {
                request,
                failure: Failure::Lost,
            }),
            Kind::Drip => Some(Input::BodiesArrived {
                request,
                ids: ids[..1].to_vec(),
            }),
            Kind::Flaky if request.0.is_multiple_of(2) => Some(Input::Failed {
                request,
                failure: Failure::Lost,
            }),
            Kind::WrongBodies => {
                let ids = (0..ids.len()).map(|at| id(FAKE, at as u64 + 1)).collect();
                Some(Input::BodiesArrived { request, ids })
            }
            Kind::BadContent => {
                self.bad.insert(request.0);
                Some(Input::BodiesArrived { request, ids })
            }
            Kind::NoBodies | Kind::Boaster | Kind::LowWork => Some(Input::BodiesArrived {
                request,
                ids: Vec::new(),
            }),
            _ => Some(Input::BodiesArrived { request, ids }),
        }
    }

    fn assert_honest_unpunished(&self) {
        for (peer, offence) in &self.offences {
            let kind = self.kinds[*peer as usize];
            assert!(
                !matches!(kind, Kind::Honest { .. }),
                "honest peer {peer}: {offence:?}"
            );
        }
    }
}

const HONEST: Kind = Kind::Honest {
    latency_ms: 40,
    bodies_max: usize::MAX,
};
const HOUR_MS: u64 = 3_600_000;

#[test]
fn one_honest_peer_is_enough() {
    for height in [1, 2, 31, 32, 33, 513, 2_047, 2_048, 2_049, 5_000] {
        for work_min in [0, 10 * height / 2, 10 * (height + 1)] {
            let mut sim = Sim::new(&[HONEST], height, work_min);
            assert!(sim.run(HOUR_MS), "height {height}, minimum {work_min}");
            sim.assert_honest_unpunished();
            assert!(sim.scheduler.is_synced());
        }
    }
}

#[test]
fn each_kind_of_liar_is_overcome_and_punished() {
    for (liar, offence) in [
        (Kind::Silent, Offence::Stalled),
        (Kind::Boaster, Offence::Withheld),
        (Kind::BadHeaders, Offence::InvalidHeader),
        (Kind::WrongBodies, Offence::WrongAnswer),
        (Kind::BadContent, Offence::InvalidBlock),
        (Kind::NoBodies, Offence::Withheld),
        (Kind::Drip, Offence::Withheld),
    ] {
        let mut sim = Sim::new(&[liar, HONEST, liar], 3_000, 0);
        assert!(sim.run(HOUR_MS), "{liar:?}");
        sim.assert_honest_unpunished();
        assert!(
            sim.offences.iter().any(|(_, seen)| *seen == offence),
            "{liar:?}"
        );
    }
}

#[test]
fn presync_refuses_little_work_and_changed_chains() {
    for (liar, offence) in [
        (Kind::LowWork, Offence::LowWork),
        (Kind::Changer, Offence::WrongAnswer),
    ] {
        let mut sim = Sim::new(&[liar, HONEST], 5_000, 40_000);
        assert!(sim.run(HOUR_MS), "{liar:?}");
        sim.assert_honest_unpunished();
        assert!(
            sim.offences
                .iter()
                .any(|(peer, seen)| (*peer, *seen) == (0, offence)),
            "{liar:?}"
        );
    }
}

#[test]
fn many_peers_share_the_bodies() {
    let mut sim = Sim::new(&[HONEST; 8], 10_000, 0);
    assert!(sim.run(HOUR_MS));
    assert!(
        sim.under_way_max >= 12,
        "{} requests at once",
        sim.under_way_max
    );
    assert!(sim.under_way_max <= WINDOW_BATCHES + 1);
    assert!((0..8).all(|peer| sim.asks[&peer] > 10), "{:?}", sim.asks);
}

#[test]
fn a_fast_peer_is_asked_more_than_a_slow_one() {
    let slow = Kind::Honest {
        latency_ms: 1_500,
        bodies_max: usize::MAX,
    };
    let mut sim = Sim::new(&[HONEST, slow], 20_000, 0);
    assert!(sim.run(HOUR_MS));
    assert!(sim.asks[&0] > 5 * sim.asks[&1], "{:?}", sim.asks);
    sim.assert_honest_unpunished();
}

#[test]
fn a_peer_that_only_breaks_off_is_avoided_and_not_punished() {
    let mut sim = Sim::new(&[Kind::Broken, HONEST, Kind::Broken], 3_000, 0);
    assert!(sim.run(60_000), "stuck at {}", sim.connected);
    assert!(sim.offences.is_empty());
}

/// A peer that brings one block per answer, each just in time, does not set the pace.
#[test]
fn a_dripping_peer_does_not_hold_up_the_others() {
    let slow = Kind::Honest {
        latency_ms: 1_900,
        bodies_max: 1,
    };
    let alone = {
        let mut sim = Sim::new(&[HONEST, HONEST], 5_000, 0);
        assert!(sim.run(HOUR_MS));
        sim.now_ms
    };
    let mut sim = Sim::new(&[slow, HONEST, HONEST], 5_000, 0);
    assert!(sim.run(HOUR_MS));
    // It may hold up each window once for the length of one answer. Simulated time, so this is
    // arithmetic and not a measurement.
    let windows = 5_000 / (WINDOW_BATCHES * BLOCKS_PER_BATCH) as u64 + 2;
    assert!(
        sim.now_ms < 2 * alone + windows * 1_900,
        "{} ms against {alone} ms",
        sim.now_ms
    );
}

/// The best branch leaves ours below the connected tip: its bodies are fetched at any height, each
/// once. (A real partition stalled when heights up to the tip were taken for connected.)
#[test]
fn a_branch_that_leaves_ours_below_the_tip_is_fetched_whole_and_once() {
    let best_header = tip(GOOD, 9);
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, best_header);
    let mut effects = Vec::new();
    let peer = Input::Peer {
        peer: 1u32,
        tip: best_header,
        lowest: 0,
    };
    scheduler.handle(0, peer, &mut effects);
    let chain = Input::Chain {
        connected: 8,
        best_header,
    };
    scheduler.handle(0, chain, &mut effects);
    let old = (1..=9).map(|height| (height, id(GOOD, height))).collect();
    scheduler.handle(0, need(old), &mut effects);
    let asked: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::AskBodies { ids, .. } => Some(ids.clone()),
            _ => None,
        })
        .collect();
    let whole: Vec<_> = (1..=9).map(|height| id(GOOD, height)).collect();
    assert_eq!(asked, std::slice::from_ref(&whole));
    let request = effects.iter().find_map(|effect| match effect {
        Effect::AskBodies { request, .. } => Some(*request),
        _ => None,
    });
    effects.clear();
    let arrived = Input::BodiesArrived {
        request: request.expect("asked"),
        ids: whole,
    };
    scheduler.handle(1, arrived, &mut effects);
    let again = |effect: &Effect<u32>| matches!(effect, Effect::AskBodies { .. });
    assert!(!effects.iter().any(again), "{effects:?}");
}

#[test]
fn deadlines_double_up_to_the_bound_and_recover() {
    let mut peers = SyncPeers::new();
    peers.update(1u32, tip(GOOD, 1), 0);
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(peers.deadline_ms());
        peers.timed_out(0, &1);
    }
    assert_eq!(seen, [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000]);
    for _ in 0..30 {
        peers.succeeded(&1, 10);
    }
    assert_eq!(peers.deadline_ms(), 2_000);
}

#[test]
fn a_peer_that_asks_to_wait_is_left_alone_and_not_blamed() {
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 0));
    let mut effects = Vec::new();
    scheduler.handle(
        0,
        Input::Peer {
            peer: 1u32,
            tip: tip(GOOD, 9),
            lowest: 0,
        },
        &mut effects,
    );
    let Effect::AskHeaders { request, .. } = effects[0] else {
        panic!("{effects:?}")
    };
    effects.clear();
    let failure = Failure::Wait { ms: 700 };
    scheduler.handle(100, Input::Failed { request, failure }, &mut effects);
    scheduler.handle(799, Input::Tick, &mut effects);
    assert!(
        effects.is_empty() || matches!(effects[..], [Effect::Progress(_)]),
        "{effects:?}"
    );
    scheduler.handle(800, Input::Tick, &mut effects);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::AskHeaders { .. }))
    );
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Punish { .. }))
    );
}

fn handle(scheduler: &mut Scheduler<u32>, now_ms: u64, input: Input<u32>) -> Vec<Effect<u32>> {
    let mut effects = Vec::new();
    scheduler.handle(now_ms, input, &mut effects);
    effects
}

fn peer(peer: u32, tip: Tip) -> Input<u32> {
    let lowest = 0;
    Input::Peer { peer, tip, lowest }
}

fn asked_headers(effects: &[Effect<u32>]) -> Vec<(u32, RequestId, Start)> {
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::AskHeaders {
            peer,
            request,
            start,
            ..
        } => Some((*peer, *request, *start)),
        _ => None,
    });
    asked.collect()
}

fn asked_bodies(effects: &[Effect<u32>]) -> Vec<(u32, RequestId, Vec<BlockId>)> {
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::AskBodies {
            peer, request, ids, ..
        } => Some((*peer, *request, ids.clone())),
        _ => None,
    });
    asked.collect()
}

fn is_punished(effects: &[Effect<u32>]) -> bool {
    let punish = |effect: &Effect<u32>| matches!(effect, Effect::Punish { .. });
    effects.iter().any(punish)
}

fn path(chain: u8, from: u64, to: u64) -> Vec<(u64, BlockId)> {
    (from..=to)
        .map(|height| (height, id(chain, height)))
        .collect()
}

/// A liar shows the headers of a heavier branch and keeps its bodies. The honest peer is asked for
/// the branch to its own tip only, at once, and is neither benched nor blamed for the other.
#[test]
fn a_withheld_heavier_branch_does_not_hold_up_the_available_one() {
    let (heavy, honest) = (tip(FAKE, 40), tip(GOOD, 30));
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, heavy);
    let mut effects = handle(&mut scheduler, 0, peer(1, heavy));
    effects.extend(handle(&mut scheduler, 0, peer(2, honest)));
    let toward = effects.iter().find_map(|effect| match effect {
        Effect::NeedBodies { toward } => Some(toward.clone()),
        _ => None,
    });
    assert_eq!(
        toward,
        Some(Vec::new()),
        "the honest tip was not known then"
    );
    let effects = handle(&mut scheduler, 500, Input::Tick);
    assert!(effects.contains(&Effect::NeedBodies {
        toward: vec![honest.id]
    }));
    let missing = Input::Need {
        best: path(FAKE, 1, 40),
        others: vec![(honest.id, path(GOOD, 1, 30))],
    };
    let asked = asked_bodies(&handle(&mut scheduler, 500, missing));
    let mut of_honest = BTreeSet::new();
    for (who, _, ids) in &asked {
        let own = if *who == 1 { FAKE } else { GOOD };
        let is_own = |block: &BlockId| (1..=40).any(|height| *block == id(own, height));
        assert!(ids.iter().all(is_own), "peer {who} is asked for {ids:?}");
        of_honest.extend(ids.iter().filter(|_| *who == 2).copied());
    }
    assert_eq!(of_honest.len(), 30, "the whole available branch");
    // The liar's empty answer speaks against itself alone.
    let (_, request, _) = asked.iter().find(|(who, ..)| *who == 1).unwrap().clone();
    let ids = Vec::new();
    let effects = handle(&mut scheduler, 600, Input::BodiesArrived { request, ids });
    let withheld = Effect::Punish {
        peer: 1,
        offence: Offence::Withheld,
    };
    assert!(effects.contains(&withheld), "{effects:?}");
    assert!(asked_bodies(&effects).iter().all(|(who, ..)| *who == 1));
}

/// A branch that is not the best takes a small part of the window, however long it is.
#[test]
fn a_side_branch_takes_a_small_part_of_the_window() {
    let (best, side) = (tip(GOOD, 900), tip(FAKE, 800));
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, best);
    for who in 1..=4 {
        handle(&mut scheduler, 0, peer(who, side));
    }
    let missing = Input::Need {
        best: path(GOOD, 1, 512),
        others: vec![(side.id, path(FAKE, 1, 512))],
    };
    let asked = asked_bodies(&handle(&mut scheduler, 0, missing));
    let blocks: usize = asked.iter().map(|(.., ids)| ids.len()).sum();
    assert_eq!(blocks, crate::sync::SIDE_BLOCKS_MAX);
}

/// Our own bound on headers, or our clock, stopped the answer: nobody withheld anything, and other
/// peers may be asked meanwhile.
#[test]
fn headers_that_we_refuse_ourselves_blame_nobody() {
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 0));
    let effects = handle(&mut scheduler, 0, peer(1, tip(GOOD, 9_000)));
    let (_, request, _) = asked_headers(&effects)[0];
    let ids = (1..=2_000).map(|height| id(GOOD, height)).collect();
    handle(&mut scheduler, 1, Input::HeadersArrived { request, ids });
    let last = Some(tip(GOOD, 50));
    let refused = true;
    let stored = Input::HeadersStored {
        request,
        last,
        refused,
    };
    let effects = handle(&mut scheduler, 2, stored);
    assert!(!is_punished(&effects), "{effects:?}");
    assert!(asked_headers(&effects).is_empty(), "not again at once");
    let effects = handle(&mut scheduler, 3, peer(2, tip(GOOD, 8_000)));
    assert_eq!(asked_headers(&effects)[0].0, 2);
    handle(&mut scheduler, 3, Input::PeerGone(2));
    let effects = handle(&mut scheduler, 6_000, Input::Tick);
    assert_eq!(asked_headers(&effects)[0].0, 1, "it may have more");
}

/// A peer that claims ever more and shows none of it, and one that only ever asks to wait, are asked
/// ever less, and their word stops counting.
#[test]
fn claims_without_proof_and_endless_waits_count_as_failures() {
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 0));
    let (mut now_ms, mut asks) = (0, Vec::new());
    for _ in 0..400 {
        let effects = handle(&mut scheduler, now_ms, peer(1, tip(FAKE, 9_000)));
        for (_, request, _) in asked_headers(&effects) {
            asks.push(now_ms);
            let ids = Vec::new();
            handle(
                &mut scheduler,
                now_ms,
                Input::HeadersArrived { request, ids },
            );
            let (last, refused) = (None, false);
            let stored = Input::HeadersStored {
                request,
                last,
                refused,
            };
            handle(&mut scheduler, now_ms, stored);
        }
        now_ms += 1_000;
    }
    assert!(asks.len() <= 9, "asked at {asks:?}");
    assert!(scheduler.is_synced(), "nobody believes it any more");

    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 0));
    let mut asks = 0;
    let mut effects = handle(&mut scheduler, 0, peer(1, tip(FAKE, 9_000)));
    for now_ms in 0..60_000 {
        for (_, request, _) in asked_headers(&effects) {
            asks += 1;
            let failure = Failure::Wait { ms: 1 };
            handle(&mut scheduler, now_ms, Input::Failed { request, failure });
        }
        effects = handle(&mut scheduler, now_ms + 1, Input::Tick);
    }
    assert!(asks < 100, "{asks} questions in a minute");
}

/// The same known headers again and again are no progress.
#[test]
fn an_answer_that_leads_no_further_ends_the_run() {
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 500));
    let mut effects = handle(&mut scheduler, 0, peer(1, tip(FAKE, 9_000)));
    let mut asks = 0;
    while let Some((_, request, _)) = asked_headers(&effects).first().copied() {
        asks += 1;
        let ids = (1..=200).map(|height| id(GOOD, height)).collect();
        handle(&mut scheduler, 1, Input::HeadersArrived { request, ids });
        let (last, refused) = (Some(tip(GOOD, 200)), false);
        let stored = Input::HeadersStored {
            request,
            last,
            refused,
        };
        effects = handle(&mut scheduler, 1, stored);
        assert!(asks < 10, "it goes on for ever");
    }
    assert!(is_punished(&effects));
}

/// A peer that moved to another branch between two answers is asked anew from our own locator, a
/// little later, without blame.
#[test]
fn a_peer_that_moved_is_asked_anew() {
    let mut scheduler = Scheduler::new([0; 16], Work::ZERO, 0, tip(GOOD, 0));
    let effects = handle(&mut scheduler, 0, peer(1, tip(GOOD, 9_000)));
    let (_, request, _) = asked_headers(&effects)[0];
    let effects = handle(&mut scheduler, 1, Input::Moved { request });
    assert!(!is_punished(&effects) && asked_headers(&effects).is_empty());
    let effects = handle(&mut scheduler, 1_001, Input::Tick);
    assert_eq!(asked_headers(&effects)[0].2, Start::Locator);
}

#[test]
fn only_proof_of_malice_bans_at_once() {
    for offence in [
        Offence::Stalled,
        Offence::Withheld,
        Offence::LowWork,
        Offence::WrongAnswer,
    ] {
        assert_ne!(offence.severity(), Severity::Fatal);
    }
}

fn any_liar() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Silent,
        Kind::Boaster,
        Kind::BadHeaders,
        Kind::WrongBodies,
        Kind::BadContent,
        Kind::NoBodies,
        Kind::Changer,
        Kind::LowWork,
        Kind::Flaky,
        Kind::Drip,
        Kind::Broken,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn one_honest_peer_among_liars_guarantees_progress(
        mut kinds in prop::collection::vec(any_liar(), 0..12),
        place in 0usize..12,
        latency_ms in 1u64..1_900,
        bodies_max in 1usize..64,
        height in 1u64..2_500,
        needs_presync: bool,
    ) {
        let honest = Kind::Honest { latency_ms, bodies_max };
        kinds.insert(place.min(kinds.len()), honest);
        let work_min = if needs_presync { 10 * height } else { 0 };
        let mut sim = Sim::new(&kinds, height, work_min);
        prop_assert!(sim.run(48 * HOUR_MS), "stuck at {} of {height}", sim.connected);
        sim.assert_honest_unpunished();
    }
}
