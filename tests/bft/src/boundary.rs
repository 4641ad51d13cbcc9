//! A short chain of four honest validators in which the power of one goes at a chosen effect.
//!
//! The story is fixed: mail comes in order, nothing is lost but what the height's kind says, and time
//! passes only when nothing else can happen. So every effect of the run has a number, and the power
//! can go before each of them, with what is on its way to the disk lost, kept or torn.

use std::collections::VecDeque;

use cairn_consensus::pbft::Input;
use cairn_protocol::bft::{Body, Instance, Round};
use cairn_protocol::hash::BlockId;
use cairn_sim::keys::Scheme;

use crate::book::Book;
use crate::check::Checker;
use crate::honest::{Honest, Mail, Want};
use crate::report::Report;

/// What becomes of records that are on their way to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writes {
    /// None arrived.
    Lost,
    /// All arrived.
    Kept,
    /// The first was cut: the node sees that and votes no more at this height.
    Torn,
}

/// When the power goes, counted in effects from the next event on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Effects that still happen.
    pub after: usize,
    /// What becomes of the writes.
    pub writes: Writes,
}

#[derive(Clone, Debug)]
enum Event {
    Deliver(u16, Mail),
    Synced(Instance, u64),
    Judge(Instance, Round, BlockId),
    Restart,
}

/// The world; a copy of it goes on from where it was taken.
#[derive(Clone, Debug)]
pub struct Stage {
    book: Book,
    nodes: Vec<Honest>,
    checker: Checker,
    /// To whom, in which of its lives, what.
    queue: VecDeque<(u16, u64, Event)>,
    lives: [u64; 4],
    timers: [Option<(Instance, Round, u64)>; 4],
    now_ms: u64,
    cut: Option<Cut>,
    /// Effects of the last event.
    effects: usize,
    /// What happened.
    pub report: Report,
}

/// Timeout of round 0.
const BASE_MS: u64 = 60;

impl Stage {
    /// Four validators that have just started.
    #[must_use]
    pub fn begin() -> Stage {
        let mut stage = Stage {
            book: Book::new(Scheme::KeyedHash([9; 32]), &[1; 4]),
            nodes: (0..4).map(Honest::new).collect(),
            checker: Checker::default(),
            queue: VecDeque::new(),
            lives: [0; 4],
            timers: [None; 4],
            now_ms: 0,
            cut: None,
            effects: 0,
            report: Report::default(),
        };
        for place in 0..4 {
            stage.queue.push_back((place, 0, Event::Restart));
        }
        stage
    }

    /// The lowest height that somebody has not decided.
    #[must_use]
    pub fn height(&self) -> Instance {
        let heights = self.nodes.iter().map(Honest::instance);
        heights.min().unwrap_or(0)
    }

    /// Lets the power of whoever acts next go.
    pub fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    /// Whether the power is still to go.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.cut.is_some()
    }

    /// One event. Answers how many effects it had.
    ///
    /// # Panics
    /// If a promise is broken.
    pub fn step(&mut self) -> usize {
        self.effects = 0;
        match self.queue.pop_front() {
            Some((place, life, event)) => self.happen(place, life, event),
            None => self.wait(),
        }
        self.effects
    }

    fn wait(&mut self) {
        let next = (0u16..4)
            .zip(&self.timers)
            .filter_map(|(place, timer)| timer.map(|(_, _, at_ms)| (at_ms, place)))
            .min();
        let (at_ms, place) = next.expect("somebody waits for a timer");
        self.now_ms = self.now_ms.max(at_ms);
        let (instance, round, _) = self.timers[usize::from(place)].take().expect("it runs");
        self.input(place, instance, Input::Timeout { round });
    }

    fn happen(&mut self, place: u16, life: u64, event: Event) {
        let index = usize::from(place);
        if let Event::Restart = event {
            self.lives[index] += 1;
            let mut wants = Vec::new();
            self.nodes[index].start(&mut self.book, self.now_ms, BASE_MS, &mut wants);
            return self.run(place, wants);
        }
        if self.nodes[index].core.is_none() {
            return;
        }
        match event {
            Event::Deliver(from, mail) => {
                let (clock, mut wants) = ((self.now_ms, BASE_MS), Vec::new());
                self.nodes[index].receive(
                    &mut self.book,
                    clock,
                    from,
                    mail,
                    &mut wants,
                    &mut self.report,
                );
                self.run(place, wants);
            }
            Event::Synced(instance, rank) => {
                if self.lives[index] == life && self.nodes[index].instance() == instance {
                    let mut wants = Vec::new();
                    self.nodes[index].synced(
                        &mut self.book,
                        self.now_ms,
                        BASE_MS,
                        rank,
                        &mut wants,
                    );
                    self.run(place, wants);
                }
            }
            Event::Judge(instance, round, id) => {
                if self.lives[index] == life {
                    let ok = self
                        .book
                        .is_valid(&id, instance, self.nodes[index].parent(), round);
                    self.input(place, instance, Input::Validated { round, id, ok });
                }
            }
            Event::Restart => {}
        }
    }

    fn input(&mut self, place: u16, instance: Instance, input: Input) {
        let node = &mut self.nodes[usize::from(place)];
        if node.instance() != instance || node.core.is_none() {
            return;
        }
        let mut wants = Vec::new();
        node.input(&mut self.book, self.now_ms, BASE_MS, input, &mut wants);
        self.run(place, wants);
    }

    /// Does what a node wants, effect by effect, until its power goes.
    fn run(&mut self, place: u16, wants: Vec<Want>) {
        let index = usize::from(place);
        for message in std::mem::take(&mut self.nodes[index].sent) {
            self.checker.sent(&self.book, &self.nodes[index], &message);
        }
        self.checker.bounded(&self.nodes[index]);
        for want in wants {
            if self.cut.is_some_and(|cut| cut.after == self.effects) {
                return self.power_cut(place);
            }
            self.effects += 1;
            self.happens(place, want);
        }
    }

    fn power_cut(&mut self, place: u16) {
        let index = usize::from(place);
        let cut = self.cut.take().expect("it is armed");
        let pending = self.nodes[index].disk.pending.len();
        let (keep, torn) = match cut.writes {
            Writes::Lost => (0, false),
            Writes::Kept => (pending, false),
            Writes::Torn => (0, true),
        };
        if torn && pending > 0 {
            self.report.count("torn records");
        }
        self.nodes[index].crash(keep, torn);
        self.timers[index] = None;
        self.lives[index] += 1;
        self.report.count("power cuts");
        self.queue.push_back((place, 0, Event::Restart));
    }

    fn happens(&mut self, place: u16, want: Want) {
        let index = usize::from(place);
        let life = self.lives[index];
        match want {
            Want::Broadcast(mail) => {
                for to in (0..4).filter(|to| *to != place) {
                    self.post(place, to, mail.clone());
                }
            }
            Want::Send(to, mail) => self.post(place, to, mail),
            Want::Wake {
                instance,
                round,
                at_ms,
            } => self.timers[index] = Some((instance, round, at_ms)),
            Want::Write { instance, rank } => {
                self.queue
                    .push_back((place, life, Event::Synced(instance, rank)));
            }
            Want::Judge {
                instance,
                round,
                id,
            } => {
                self.queue
                    .push_back((place, life, Event::Judge(instance, round, id)));
            }
            Want::Decided(instance, id) => {
                self.checker
                    .decided(&self.book, &self.nodes[index], instance, id);
                self.report.count("decisions");
            }
            Want::Accused(evidence) => self.checker.accused(&self.book, &[], &evidence),
        }
    }

    fn post(&mut self, from: u16, to: u16, mail: Mail) {
        if let Mail::Message(message) = &mail
            && is_lost(message.instance, to, &message.body)
        {
            return self.report.count("messages lost by the story");
        }
        if let Mail::Message(message) = &mail {
            match &message.body {
                Body::ViewChange {
                    prepared: Some(_), ..
                } => self.report.count("view changes with a prepared value"),
                Body::NewView { justification, .. } if justification.certificate.is_some() => self
                    .report
                    .count("new views that propose the prepared value again"),
                Body::NewView { .. } => self.report.count("new views"),
                _ => {}
            }
        }
        let life = self.lives[usize::from(to)];
        self.queue.push_back((to, life, Event::Deliver(from, mail)));
    }
}

/// Heights come in four kinds: nothing is lost; the first proposal; its COMMITs; some PREPAREs.
fn is_lost(instance: Instance, to: u16, body: &Body) -> bool {
    match (instance % 4, body) {
        (1, Body::PrePrepare { .. }) => true,
        (2, Body::Commit { round: 0, .. }) => true,
        (3, Body::Prepare { round: 0, .. }) => to % 2 == 1,
        _ => false,
    }
}
