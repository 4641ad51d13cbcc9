//! An honest validator: the production core, a disk that is slow, loses and tears, a clock that is
//! wrong, and a mailbox.
//!
//! Invariant: the shell does what the node's does: a draft leaves through the [`Outbox`] only, after
//! the record of its rank is on disk.

use std::collections::{BTreeMap, BTreeSet};

use cairn_consensus::pbft::{Effect, Input, Outbox, PbftCore, SafetyRecord};
use cairn_protocol::bft::{Body, Evidence, Instance, Message, Round, Seal, Verified, verify_seal};
use cairn_protocol::hash::BlockId;

use crate::book::{Book, Value};
use crate::report::Report;

/// Instances ahead of ours whose messages are kept.
const WINDOW: u64 = 3;
/// Messages kept for one of them.
const EARLY_MAX: usize = 256;

/// Something that another node sees or asks.
#[derive(Clone, Debug)]
pub enum Mail {
    /// A message of the engine.
    Message(Box<Message>),
    /// "This instance is decided."
    Sealed {
        /// Which.
        instance: Instance,
        /// What.
        id: BlockId,
        /// Why.
        seal: Seal,
    },
    /// "I am at this instance": whoever is ahead answers with a seal.
    Lagging(Instance),
}

/// What a node wants of its world.
#[derive(Clone, Debug)]
pub enum Want {
    /// Send to everyone.
    Broadcast(Mail),
    /// Send to one.
    Send(u16, Mail),
    /// Wake it at this time of its own clock.
    Wake {
        /// Which instance.
        instance: Instance,
        /// Which round.
        round: Round,
        /// When, in its milliseconds.
        at_ms: u64,
    },
    /// A record begins its way to the disk.
    Write {
        /// Of which instance.
        instance: Instance,
        /// Its rank.
        rank: u64,
    },
    /// Judge this value after a while.
    Judge {
        /// Which instance.
        instance: Instance,
        /// Which round.
        round: Round,
        /// Which value.
        id: BlockId,
    },
    /// A decision.
    Decided(Instance, BlockId),
    /// Somebody is accused.
    Accused(Box<Evidence>),
}

/// The part of a node that survives a crash.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    /// The last record that is surely there.
    pub record: Option<SafetyRecord>,
    /// Records on their way, oldest first.
    pub pending: Vec<SafetyRecord>,
    /// Decisions, by instance from 1 on.
    pub chain: Vec<(BlockId, Seal)>,
    /// No vote in instances up to this one: a record of it may be lost.
    pub silent_until: Instance,
}

/// The node.
#[derive(Clone, Debug)]
pub struct Honest {
    /// Its place.
    pub place: u16,
    /// What survives.
    pub disk: Disk,
    /// The instance under way; `None` while it is down.
    pub core: Option<PbftCore>,
    outbox: Outbox,
    early: BTreeMap<Instance, Vec<Message>>,
    /// Peers whose older messages were answered with a seal in this instance.
    told: BTreeSet<(u16, Instance)>,
    salt: u64,
    /// Messages that left, with the record that covered them: for the checker.
    pub sent: Vec<Message>,
}

impl Honest {
    /// A node that has not started.
    #[must_use]
    pub fn new(place: u16) -> Honest {
        Honest {
            place,
            disk: Disk::default(),
            core: None,
            outbox: Outbox::default(),
            early: BTreeMap::new(),
            told: BTreeSet::new(),
            salt: 0,
            sent: Vec::new(),
        }
    }

    /// The instance it is in.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.disk.chain.len() as u64 + 1
    }

    /// The value it builds on.
    #[must_use]
    pub fn parent(&self) -> BlockId {
        self.disk.chain.last().map_or(BlockId::ZERO, |(id, _)| *id)
    }

    /// Starts or restarts.
    pub fn start(&mut self, book: &mut Book, now_ms: u64, base_ms: u64, wants: &mut Vec<Want>) {
        self.begin(book, now_ms, base_ms, wants);
        let instance = self.instance();
        wants.push(Want::Broadcast(Mail::Lagging(instance)));
    }

    fn begin(&mut self, book: &mut Book, now_ms: u64, base_ms: u64, wants: &mut Vec<Want>) {
        let instance = self.instance();
        let me = (instance > self.disk.silent_until).then_some(self.place);
        let record = self
            .disk
            .record
            .clone()
            .filter(|record| record.instance == instance);
        let rank = record.as_ref().map_or(0, SafetyRecord::rank);
        let mut effects = Vec::new();
        let setup = book.setup(instance, me, base_ms);
        let core = PbftCore::start(setup, record, now_ms, &mut effects)
            .expect("the record is of this instance");
        self.core = Some(core);
        self.outbox = Outbox::new(rank);
        self.told.clear();
        self.run(book, now_ms, base_ms, effects, wants);
        let early = self.early.remove(&instance).unwrap_or_default();
        self.early = self.early.split_off(&instance);
        for message in early {
            self.hear(book, now_ms, base_ms, message, wants);
        }
    }

    /// Power is gone. `keep` says how many pending records made it to the disk; `torn` that the one
    /// after them was cut.
    pub fn crash(&mut self, keep: usize, torn: bool) {
        self.core = None;
        self.early.clear();
        let mut pending = std::mem::take(&mut self.disk.pending).into_iter();
        for record in pending.by_ref().take(keep) {
            self.disk.record = Some(record);
        }
        if torn && pending.next().is_some() {
            // The node cannot tell a torn write from a lost promise.
            let known = self
                .disk
                .record
                .as_ref()
                .map_or(0, |record| record.instance);
            self.disk.silent_until = (known + 1).max(self.instance());
        }
    }

    /// The record of this rank and all before it are on disk.
    pub fn synced(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        rank: u64,
        wants: &mut Vec<Want>,
    ) {
        let Some(core) = &self.core else { return };
        let instance = core.setup().scope.instance;
        let covered = |record: &SafetyRecord| record.instance == instance && record.rank() <= rank;
        while self.disk.pending.first().is_some_and(covered) {
            self.disk.record = Some(self.disk.pending.remove(0));
        }
        let ready = self.outbox.durable(rank);
        let effects = self.send(book, now_ms, ready, wants);
        self.run(book, now_ms, base_ms, effects, wants);
    }

    /// The disk failed.
    pub fn write_failed(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        wants: &mut Vec<Want>,
    ) {
        self.outbox.clear();
        self.disk.pending.clear();
        self.disk.silent_until = self.disk.silent_until.max(self.instance());
        self.input(book, now_ms, base_ms, Input::PersistFailed, wants);
    }

    /// Messages that wait for the disk.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// One input to the core.
    pub fn input(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        input: Input,
        wants: &mut Vec<Want>,
    ) {
        let Some(core) = &mut self.core else { return };
        let mut effects = Vec::new();
        core.handle(now_ms, input, &mut effects);
        self.run(book, now_ms, base_ms, effects, wants);
    }

    /// Mail came.
    pub fn receive(
        &mut self,
        book: &mut Book,
        (now_ms, base_ms): (u64, u64),
        from: u16,
        mail: Mail,
        wants: &mut Vec<Want>,
        report: &mut Report,
    ) {
        if self.core.is_none() {
            return;
        }
        let instance = self.instance();
        match mail {
            Mail::Message(message) if message.instance == instance => {
                self.hear(book, now_ms, base_ms, *message, wants);
            }
            Mail::Message(message) if message.instance > instance => {
                let ahead = message.instance;
                if ahead - instance <= WINDOW {
                    let early = self.early.entry(ahead).or_default();
                    if early.len() < EARLY_MAX {
                        early.push(*message);
                    }
                }
                if self.told.insert((from, ahead)) {
                    wants.push(Want::Send(from, Mail::Lagging(instance)));
                }
            }
            Mail::Message(message) => {
                if self.told.insert((from, message.instance)) {
                    self.answer(from, message.instance, wants);
                }
            }
            Mail::Lagging(behind) => {
                if behind < instance {
                    self.answer(from, behind, wants);
                } else {
                    self.input(book, now_ms, base_ms, Input::Resend, wants);
                }
            }
            Mail::Sealed {
                instance: of,
                id,
                seal,
            } => {
                let scope = book.scope(of);
                if of == instance && verify_seal(&seal, &scope, id, &book.set, &book.scheme).is_ok()
                {
                    report.count("caught up by a seal");
                    self.decide(book, now_ms, base_ms, id, seal, wants);
                    let next = self.instance();
                    wants.push(Want::Send(from, Mail::Lagging(next)));
                } else if of == instance {
                    report.count("a false seal was refused");
                }
            }
        }
    }

    fn answer(&self, to: u16, instance: Instance, wants: &mut Vec<Want>) {
        let index = usize::try_from(instance).expect("small") - 1;
        if let Some((id, seal)) = self.disk.chain.get(index) {
            let (id, seal) = (*id, seal.clone());
            wants.push(Want::Send(to, Mail::Sealed { instance, id, seal }));
        }
    }

    fn hear(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        message: Message,
        wants: &mut Vec<Want>,
    ) {
        let scope = book.scope(self.instance());
        if let Ok(verified) = message.verify(&scope, &book.set, &book.scheme) {
            self.input(book, now_ms, base_ms, Input::Message(verified), wants);
        }
    }

    fn send(
        &mut self,
        book: &Book,
        now_ms: u64,
        drafts: Vec<cairn_protocol::bft::Draft>,
        wants: &mut Vec<Want>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for draft in drafts {
            let signature = book.signers[usize::from(self.place)].sign(&draft.to_sign());
            let verified: Verified = draft.signed(signature);
            self.sent.push(verified.message().clone());
            wants.push(Want::Broadcast(Mail::Message(Box::new(
                verified.message().clone(),
            ))));
            if let Some(core) = &mut self.core {
                core.handle(now_ms, Input::Message(verified), &mut effects);
            }
        }
        effects
    }

    fn run(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        effects: Vec<Effect>,
        wants: &mut Vec<Want>,
    ) {
        let mut queue = std::collections::VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            let instance = self.instance();
            match effect {
                Effect::Persist { seq, record } => {
                    self.disk.pending.push(record);
                    wants.push(Want::Write {
                        instance,
                        rank: seq,
                    });
                }
                Effect::Send { after, draft } => {
                    let ready = self.outbox.push(after, draft);
                    queue.extend(self.send(book, now_ms, ready, wants));
                }
                Effect::Propose { round } => {
                    self.salt += 1;
                    let value = Value {
                        instance,
                        parent: self.parent(),
                        round,
                        good: true,
                    };
                    let id = book.value(value, self.salt << 16 | u64::from(self.place));
                    if let Some(core) = &mut self.core {
                        let mut more = Vec::new();
                        core.handle(now_ms, Input::Proposal { round, id }, &mut more);
                        queue.extend(more);
                    }
                }
                Effect::Validate { round, id } => wants.push(Want::Judge {
                    instance,
                    round,
                    id,
                }),
                Effect::Timer { round, at_ms } => wants.push(Want::Wake {
                    instance,
                    round,
                    at_ms,
                }),
                Effect::Evidence(evidence) => wants.push(Want::Accused(Box::new(evidence))),
                Effect::Observing(_) => {}
                Effect::Decided { id, seal } => {
                    self.decide(book, now_ms, base_ms, id, seal, wants);
                    // What is left in the queue was of the instance that ended.
                    return;
                }
            }
        }
    }

    fn decide(
        &mut self,
        book: &mut Book,
        now_ms: u64,
        base_ms: u64,
        id: BlockId,
        seal: Seal,
        wants: &mut Vec<Want>,
    ) {
        wants.push(Want::Decided(self.instance(), id));
        self.disk.chain.push((id, seal));
        self.disk.pending.clear();
        self.begin(book, now_ms, base_ms, wants);
    }
}

/// Whether a record on disk implies that its owner may have said this.
#[must_use]
pub fn implies(record: &SafetyRecord, message: &Message) -> bool {
    if record.instance != message.instance {
        return record.instance > message.instance;
    }
    let round = message.body.statement().round();
    if record.round != round {
        return record.round > round;
    }
    match &message.body {
        Body::PrePrepare { id } | Body::NewView { id, .. } => {
            record.proposed.is_some_and(|ballot| ballot.id == *id)
        }
        Body::Prepare { ballot, .. } => record.prepare == Some(*ballot),
        Body::Commit { id, .. } => record
            .prepared
            .as_ref()
            .is_some_and(|seen| seen.round == round && seen.ballot.id == *id),
        Body::ViewChange { .. } => true,
    }
}
