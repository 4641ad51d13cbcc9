//! One seeded run: validators, a network that loses, doubles, delays and splits, disks that are slow
//! and tear, clocks that differ, crashes, pauses, villains.
//!
//! The story of every run: faults of changing kinds until every honest validator has decided the
//! planned number of instances; then the faults stop (the villains stay) and all must go on within
//! f + 2 rounds each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use cairn_consensus::pbft::Input;
use cairn_protocol::bft::{Body, Instance, Round};
use cairn_protocol::hash::BlockId;
use cairn_sim::keys::Scheme;
use cairn_sim::rng::Rng;

use crate::book::Book;
use crate::check::Checker;
use crate::honest::{Honest, Mail, Want};
use crate::report::Report;
use crate::villain::Villain;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Instances that are decided under faults.
    pub instances: u64,
    /// Runs with real signatures, in 1,000.
    pub ed25519_per_mille: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash over every event.
    pub trace: [u8; 32],
    /// What happened.
    pub report: Report,
}

/// Timeout of round 0, in milliseconds.
const BASE_MS: u64 = 60;
/// Instances that must follow once the faults have stopped.
const CALM_INSTANCES: u64 = 4;
/// The same where nobody is a villain: enough to compare the first of them with the last.
const CALM_INSTANCES_HONEST: u64 = 12;
/// Events after which the faults stop even if the plan is not reached.
const EVENTS_MAX: u64 = 4_000_000;
/// Events within which calm must do its work.
const CALM_EVENTS_MAX: u64 = 400_000;

/// Microseconds of the third and fourth decision after the faults stopped, summed over runs.
pub const EARLY_US: &str = "us of a decision right after the faults";
/// Microseconds of the last four, in the same runs.
pub const LATE_US: &str = "us of a decision long after the faults";

#[derive(Debug)]
enum Event {
    Deliver {
        from: u16,
        to: u16,
        mail: Mail,
    },
    Wake {
        to: u16,
        life: u64,
        instance: Instance,
        round: Round,
    },
    Synced {
        to: u16,
        life: u64,
        instance: Instance,
        rank: u64,
    },
    Judge {
        to: u16,
        life: u64,
        instance: Instance,
        round: Round,
        id: BlockId,
    },
    Restart {
        to: u16,
    },
    Weather,
    Crash,
}

/// Faults in force.
#[derive(Clone, Debug, Default)]
struct Weather {
    loss: u64,
    double: u64,
    delay_us: u64,
    /// `cut[from]`: a bit for each place that its mail does not reach.
    cut: Vec<u64>,
    torn: u64,
    failing: u64,
}

struct World {
    rng: Rng,
    now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    book: Book,
    honest: BTreeMap<u16, Honest>,
    villains: BTreeMap<u16, Villain>,
    villain_places: Vec<u16>,
    /// Lives begun by each honest node, so that events of an earlier life are not taken for its own.
    lives: BTreeMap<u16, u64>,
    /// Deliveries to a paused node wait until then.
    paused_us: BTreeMap<u16, u64>,
    skew_ms: Vec<u64>,
    weather: Weather,
    is_calm: bool,
    checker: Checker,
    report: Report,
    trace: blake3::Hasher,
    highest: Instance,
    /// When each instance was first decided since the faults stopped.
    calm_us: Vec<u64>,
}

/// Runs one seed. It panics with the story of what broke.
#[must_use]
pub fn run(seed: u64, plan: Plan) -> Outcome {
    let mut rng = Rng::new(seed);
    let scheme = if rng.chance(plan.ed25519_per_mille) {
        Scheme::Ed25519
    } else {
        let mut oracle = [0; 32];
        oracle[..8].copy_from_slice(&rng.bits().to_le_bytes());
        Scheme::KeyedHash(oracle)
    };
    let n = [4, 4, 4, 5, 7][rng.index(5)];
    let powers: Vec<u64> = if rng.chance(700) {
        vec![1; n]
    } else {
        (0..n).map(|_| rng.between(1, 9)).collect()
    };
    let book = Book::new(scheme, &powers);
    let villain_places = villains(&book, &mut rng);
    let world = World {
        now_us: 0,
        queue: BinaryHeap::new(),
        events: BTreeMap::new(),
        next: 0,
        honest: (0..n as u16)
            .filter(|place| !villain_places.contains(place))
            .map(|place| (place, Honest::new(place)))
            .collect(),
        villains: villain_places
            .iter()
            .map(|place| (*place, Villain::new(*place)))
            .collect(),
        villain_places,
        lives: BTreeMap::new(),
        paused_us: BTreeMap::new(),
        skew_ms: (0..n).map(|_| rng.between(0, 10_000)).collect(),
        weather: Weather {
            cut: vec![0; n],
            ..Weather::default()
        },
        is_calm: false,
        checker: Checker::default(),
        report: Report::default(),
        trace: blake3::Hasher::new(),
        highest: 0,
        calm_us: Vec::new(),
        book,
        rng,
    };
    world.play(seed, plan)
}

/// Validators with less than a third of the power, at random.
fn villains(book: &Book, rng: &mut Rng) -> Vec<u16> {
    let mut places = Vec::new();
    for _ in 0..book.set.len() {
        let place = rng.index(book.set.len()) as u16;
        let mut more = places.clone();
        if !more.contains(&place) {
            more.push(place);
        }
        let power = book.set.power_of(more.iter().copied());
        if 3 * power < book.set.total() {
            places = more;
        }
    }
    if rng.chance(250) {
        places.clear();
    }
    places
}

impl World {
    fn play(mut self, seed: u64, plan: Plan) -> Outcome {
        let places: Vec<u16> = self.honest.keys().copied().collect();
        for place in &places {
            self.start(*place);
        }
        self.after(5_000, Event::Weather);
        self.after(20_000, Event::Crash);
        let (mut count, mut calm_since, mut goal) = (0u64, 0u64, 0u64);
        while let Some(Reverse((at_us, number))) = self.queue.pop() {
            let event = self.events.remove(&number).expect("each number once");
            self.now_us = at_us;
            count += 1;
            self.trace.update(&at_us.to_le_bytes());
            self.happen(event);
            let lowest = self
                .honest
                .values()
                .map(Honest::instance)
                .min()
                .unwrap_or(0);
            if !self.is_calm && (lowest > plan.instances || count > EVENTS_MAX) {
                self.calm();
                calm_since = count;
                goal = self
                    .honest
                    .values()
                    .map(Honest::instance)
                    .max()
                    .unwrap_or(0)
                    + match self.villains.is_empty() {
                        true => CALM_INSTANCES_HONEST,
                        false => CALM_INSTANCES,
                    };
            }
            if self.is_calm {
                if lowest >= goal {
                    break;
                }
                assert!(
                    count - calm_since < CALM_EVENTS_MAX,
                    "seed {seed}: no progress after the faults stopped, at {lowest} of {goal}\n{}",
                    self.story()
                );
            }
        }
        self.check_rounds(seed, goal);
        self.measure_calm();
        *self.report.0.entry("events").or_default() += count;
        *self.report.0.entry("decisions").or_default() += self.highest;
        self.report.count("runs");
        if matches!(self.book.scheme, Scheme::Ed25519) {
            self.report.count("runs with Ed25519");
        }
        Outcome {
            seed,
            trace: *self.trace.finalize().as_bytes(),
            report: self.report,
        }
    }

    /// Where everyone is, for whoever reads why a run failed.
    fn story(&self) -> String {
        let powers: Vec<u64> = self.book.set.validators().iter().map(|v| v.power).collect();
        let mut story = format!("powers {powers:?}, villains {:?}\n", self.villain_places);
        for node in self.honest.values() {
            let core = node.core.as_ref();
            story += &format!(
                "validator {}: instance {}, round {:?}, silent until {}, observing {:?}, promised {:?}\n",
                node.place,
                node.instance(),
                core.map(|core| core.round()),
                node.disk.silent_until,
                core.and_then(|core| core.observing()),
                core.map(|core| core.record()),
            );
        }
        story
    }

    /// The last instances began in calm: each must be over within f + 2 rounds.
    fn check_rounds(&self, seed: u64, goal: Instance) {
        let faulty = self.villain_places.len() as u32;
        for node in self.honest.values() {
            let last = usize::try_from(goal).expect("small") - 1;
            // The first of them may have begun under faults.
            for index in last - 2..last {
                let (_, seal) = &node.disk.chain[index];
                assert!(
                    seal.round <= faulty + 2,
                    "seed {seed}: instance {} took {} rounds in calm",
                    index + 1,
                    seal.round
                );
            }
        }
    }

    /// How long decisions take once two were made without faults, and how long when that is long ago.
    /// Villains cost time at any time, so only runs without them are measured.
    fn measure_calm(&mut self) {
        let times = &self.calm_us;
        if self.villains.is_empty() && times.len() >= 10 {
            let last = times.len() - 1;
            let mut add = |what, time: u64| *self.report.0.entry(what).or_default() += time;
            add(EARLY_US, (times[3] - times[1]) / 2);
            add(LATE_US, (times[last] - times[last - 4]) / 4);
        }
    }

    fn calm(&mut self) {
        self.is_calm = true;
        self.weather = Weather {
            cut: vec![0; self.book.set.len()],
            ..Weather::default()
        };
        self.paused_us.clear();
        let down: Vec<u16> = self
            .honest
            .values()
            .filter(|node| node.core.is_none())
            .map(|node| node.place)
            .collect();
        for place in down {
            self.start(place);
        }
        // Whoever missed something says where it is.
        let places: Vec<u16> = self.honest.keys().copied().collect();
        for place in places {
            let instance = self.honest[&place].instance();
            self.broadcast(place, &Mail::Lagging(instance));
        }
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        self.next += 1;
        self.queue
            .push(Reverse((self.now_us + delay_us, self.next)));
        self.events.insert(self.next, event);
    }

    fn clock_ms(&self, place: u16) -> u64 {
        self.now_us / 1_000 + self.skew_ms[usize::from(place)]
    }

    fn start(&mut self, place: u16) {
        *self.lives.entry(place).or_default() += 1;
        let (now_ms, mut wants) = (self.clock_ms(place), Vec::new());
        if let Some(node) = self.honest.get_mut(&place) {
            node.start(&mut self.book, now_ms, BASE_MS, &mut wants);
        }
        self.want(place, wants);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Weather => self.change_weather(),
            Event::Crash => self.crash_one(),
            Event::Restart { to } => {
                if self.honest[&to].core.is_none() {
                    if self.honest[&to].disk.record.is_some() {
                        self.report.count("restarts with a record");
                    }
                    self.start(to);
                }
            }
            Event::Deliver { from, to, mail } => self.deliver(from, to, mail),
            Event::Wake {
                to,
                life,
                instance,
                round,
            } => {
                self.input(to, life, instance, |_, _| Input::Timeout { round });
            }
            Event::Judge {
                to,
                life,
                instance,
                round,
                id,
            } => {
                self.input(to, life, instance, |book, node| {
                    let ok = book.is_valid(&id, instance, node.parent(), round);
                    Input::Validated { round, id, ok }
                });
            }
            Event::Synced {
                to,
                life,
                instance,
                rank,
            } => self.synced(to, life, instance, rank),
        }
    }

    fn input(
        &mut self,
        to: u16,
        life: u64,
        instance: Instance,
        make: impl FnOnce(&Book, &Honest) -> Input,
    ) {
        if self.lives[&to] != life {
            return;
        }
        let (now_ms, mut wants) = (self.clock_ms(to), Vec::new());
        let Some(node) = self.honest.get_mut(&to) else {
            return;
        };
        if node.instance() != instance || node.core.is_none() {
            return;
        }
        let input = make(&self.book, node);
        node.input(&mut self.book, now_ms, BASE_MS, input, &mut wants);
        self.want(to, wants);
    }

    fn synced(&mut self, to: u16, life: u64, instance: Instance, rank: u64) {
        if self.lives[&to] != life || self.honest[&to].instance() != instance {
            return;
        }
        let (now_ms, mut wants) = (self.clock_ms(to), Vec::new());
        let fails = self.rng.chance(self.weather.failing) && self.may_fall_silent(to);
        let Some(node) = self.honest.get_mut(&to) else {
            return;
        };
        if fails {
            self.report.count("failed writes");
            node.write_failed(&mut self.book, now_ms, BASE_MS, &mut wants);
        } else {
            node.synced(&mut self.book, now_ms, BASE_MS, rank, &mut wants);
        }
        self.want(to, wants);
    }

    fn deliver(&mut self, from: u16, to: u16, mail: Mail) {
        if let Some(until_us) = self.paused_us.get(&to).copied()
            && until_us > self.now_us
        {
            let wait_us = until_us - self.now_us + self.rng.below(2_000);
            return self.after(wait_us, Event::Deliver { from, to, mail });
        }
        if let Some(villain) = self.villains.get_mut(&to) {
            if self.villain_places.contains(&from) {
                // Villains that answer each other would talk for ever and hurt nobody.
                return;
            }
            let mut chain: Vec<BlockId> = Vec::new();
            if let Some(node) = self.honest.values().max_by_key(|node| node.instance()) {
                chain = node.disk.chain.iter().map(|(id, _)| *id).collect();
            }
            let parent_of = |instance: Instance| match instance {
                0 => None,
                1 => Some(BlockId::ZERO),
                later => chain.get(usize::try_from(later).ok()? - 2).copied(),
            };
            let acts = villain.act(
                &mut self.book,
                &mut self.rng,
                &mail,
                parent_of,
                &mut self.report,
            );
            for (places, mail) in acts {
                for place in 0..self.book.set.len() as u16 {
                    if places >> place & 1 == 1 && place != to {
                        self.post(to, place, mail.clone());
                    }
                }
            }
            return;
        }
        let (clock, mut wants) = ((self.clock_ms(to), BASE_MS), Vec::new());
        if let Some(node) = self.honest.get_mut(&to) {
            node.receive(
                &mut self.book,
                clock,
                from,
                mail,
                &mut wants,
                &mut self.report,
            );
            self.checker.bounded(node);
        }
        self.want(to, wants);
    }

    /// Does what a node wants, and checks all that it said.
    fn want(&mut self, place: u16, wants: Vec<Want>) {
        let life = self.lives[&place];
        let node = self.honest.get_mut(&place).expect("only honest nodes want");
        for message in std::mem::take(&mut node.sent) {
            match &message.body {
                Body::ViewChange {
                    prepared: Some(_), ..
                } => {
                    self.report.count("view changes with a prepared value");
                }
                Body::ViewChange { .. } => self.report.count("view changes"),
                Body::NewView { justification, .. } if justification.certificate.is_some() => {
                    self.report
                        .count("new views that propose the prepared value again");
                }
                Body::NewView { .. } => self.report.count("new views"),
                _ => {}
            }
            self.checker
                .sent(&self.book, &self.honest[&place], &message);
        }
        for want in wants {
            match want {
                Want::Broadcast(mail) => self.broadcast(place, &mail),
                Want::Send(to, mail) => self.post(place, to, mail),
                Want::Wake {
                    instance,
                    round,
                    at_ms,
                } => {
                    let delay_us = at_ms.saturating_sub(self.clock_ms(place)) * 1_000;
                    self.after(
                        delay_us,
                        Event::Wake {
                            to: place,
                            life,
                            instance,
                            round,
                        },
                    );
                }
                Want::Write { instance, rank } => {
                    let delay_us = self.rng.between(100, 3_000);
                    self.after(
                        delay_us,
                        Event::Synced {
                            to: place,
                            life,
                            instance,
                            rank,
                        },
                    );
                }
                Want::Judge {
                    instance,
                    round,
                    id,
                } => {
                    let delay_us = self.rng.between(50, 2_000);
                    self.after(
                        delay_us,
                        Event::Judge {
                            to: place,
                            life,
                            instance,
                            round,
                            id,
                        },
                    );
                }
                Want::Decided(instance, id) => {
                    self.checker
                        .decided(&self.book, &self.honest[&place], instance, id);
                    if self.is_calm && instance > self.highest {
                        self.calm_us.push(self.now_us);
                    }
                    self.highest = self.highest.max(instance);
                    if self.honest[&place].disk.chain[instance as usize - 1]
                        .1
                        .round
                        > 0
                    {
                        self.report.count("decisions in a later round");
                    }
                }
                Want::Accused(evidence) => {
                    self.report.count("villains proven guilty");
                    self.checker
                        .accused(&self.book, &self.villain_places, &evidence);
                }
            }
        }
    }

    fn broadcast(&mut self, from: u16, mail: &Mail) {
        for to in 0..self.book.set.len() as u16 {
            if to != from {
                self.post(from, to, mail.clone());
            }
        }
    }

    fn post(&mut self, from: u16, to: u16, mail: Mail) {
        if self.weather.cut[usize::from(from)] >> to & 1 == 1 {
            return self.report.count("mail cut off");
        }
        if self.rng.chance(self.weather.loss) {
            return self.report.count("mail lost");
        }
        let copies = 1 + u64::from(self.rng.chance(self.weather.double));
        for _ in 0..copies {
            let delay_us = 200 + self.rng.exponential(1_000 + self.weather.delay_us);
            let mail = mail.clone();
            self.after(delay_us, Event::Deliver { from, to, mail });
        }
    }

    fn change_weather(&mut self) {
        if self.is_calm {
            return;
        }
        let n = self.book.set.len();
        let mut weather = Weather {
            cut: vec![0; n],
            torn: 600,
            failing: u64::from(self.rng.chance(50)) * 20,
            ..Weather::default()
        };
        match self.rng.below(8) {
            0 => weather.loss = self.rng.between(10, 300),
            1 => weather.double = self.rng.between(10, 500),
            2 => {
                self.report.count("slow networks");
                weather.delay_us = self.rng.between(1_000, 60_000);
            }
            3 => {
                self.report.count("partitions");
                let side = self.rng.bits();
                for from in 0..n {
                    let mine = side >> from & 1;
                    weather.cut[from] = if mine == 1 { !side } else { side };
                }
            }
            4 => {
                self.report.count("one-way partitions");
                for from in 0..n {
                    weather.cut[from] = self.rng.bits() & self.rng.bits();
                }
            }
            5 => {
                let places: Vec<u16> = self.honest.keys().copied().collect();
                let place = places[self.rng.index(places.len())];
                self.report.count("pauses");
                let until_us = self.now_us + self.rng.between(10_000, 400_000);
                self.paused_us.insert(place, until_us);
            }
            _ => {}
        }
        self.weather = weather;
        let length_us = self.rng.between(20_000, 500_000);
        self.after(length_us, Event::Weather);
    }

    /// Whether this validator may lose its vote without the chain stopping, as it rightly would: the
    /// villains, the silent and this one together stay below a third.
    fn may_fall_silent(&self, place: u16) -> bool {
        let silent = self.honest.values().filter(|node| {
            node.place == place || node.disk.silent_until >= node.instance().min(self.highest)
        });
        let silent = silent.map(|node| node.place);
        let places = silent.chain(self.villain_places.iter().copied());
        let power = self.book.set.power_of(places);
        3 * power < self.book.set.total()
    }

    fn crash_one(&mut self) {
        if self.is_calm {
            return;
        }
        let up: Vec<u16> = self
            .honest
            .values()
            .filter(|node| node.core.is_some())
            .map(|node| node.place)
            .collect();
        // Sometimes everyone at once: a power cut.
        let victims = if self.rng.chance(50) {
            self.report.count("power cuts");
            up
        } else if up.is_empty() {
            up
        } else {
            // Crashes hurt most while a write is on its way.
            let writing = up
                .iter()
                .find(|place| !self.honest[place].disk.pending.is_empty());
            let any = up[self.rng.index(up.len())];
            vec![if self.rng.chance(500) {
                writing.copied().unwrap_or(any)
            } else {
                any
            }]
        };
        for place in victims {
            let node = self.honest.get_mut(&place).expect("it is up");
            let pending = node.disk.pending.len();
            let keep = self.rng.below(pending as u64 + 1) as usize;
            let torn = keep < pending && self.rng.chance(self.weather.torn);
            let torn = torn && self.may_fall_silent(place);
            let node = self.honest.get_mut(&place).expect("it is up");
            node.crash(keep, torn);
            *self.lives.entry(place).or_default() += 1;
            self.report.count("crashes");
            if torn {
                self.report.count("torn records");
            }
            let down_us = self.rng.between(1_000, 300_000);
            self.after(down_us, Event::Restart { to: place });
        }
        let next_us = self.rng.between(10_000, 800_000);
        self.after(next_us, Event::Crash);
    }
}
