//! One validator in one instance: the production core, its outbox, a disk that is always quick.
//!
//! Invariant: what it says is covered by the record that it wrote before, as the node's shell does it;
//! values are good, so a verdict follows at once. Power may go after any effect.

use std::collections::VecDeque;
use std::sync::Arc;

use cairn_consensus::pbft::{Effect, Input, Outbox, PbftCore, SafetyRecord, Setup};
use cairn_protocol::bft::{Draft, Evidence, Message, Round, Seal, Verified};
use cairn_protocol::hash::BlockId;
use cairn_sim::keys::Signer;

use crate::honest::implies;

/// The validator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Solo {
    /// The production core.
    pub core: PbftCore,
    outbox: Outbox,
    /// What is on disk.
    pub record: Option<SafetyRecord>,
    /// What it decided, and why.
    pub decided: Option<(BlockId, Seal)>,
    /// Whom it proved guilty.
    pub evidence: Vec<Evidence>,
}

/// What a validator needs of its world for one step.
pub struct Hand<'a> {
    /// Its key.
    pub signer: &'a Signer,
    /// What it proposes when it is asked.
    pub make: &'a dyn Fn(Round) -> BlockId,
    /// Effects until the power goes; `None`: it stays.
    pub power: Option<usize>,
    /// What it says.
    pub said: Vec<Verified>,
    /// Whether it was asked for a value.
    pub asked: bool,
    /// Effects that had a consequence: all but accusations.
    pub done: usize,
}

impl<'a> Hand<'a> {
    /// A step without a power cut.
    pub fn new(signer: &'a Signer, make: &'a dyn Fn(Round) -> BlockId) -> Hand<'a> {
        Hand {
            signer,
            make,
            power: None,
            said: Vec::new(),
            asked: false,
            done: 0,
        }
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.power == Some(0)
    }
}

impl Solo {
    /// Starts, or starts again from what is on disk.
    ///
    /// # Panics
    /// If the record is of another instance.
    pub fn start(setup: Arc<Setup>, record: Option<SafetyRecord>, hand: &mut Hand<'_>) -> Solo {
        let mut effects = Vec::new();
        let rank = record.as_ref().map_or(0, SafetyRecord::rank);
        let core = PbftCore::start(setup, record.clone(), 0, &mut effects)
            .expect("the record is of this instance");
        let mut solo = Solo {
            core,
            outbox: Outbox::new(rank),
            record,
            decided: None,
            evidence: Vec::new(),
        };
        solo.run(effects, hand);
        solo
    }

    /// Takes an input. Its own messages are given back to it at once.
    pub fn take(&mut self, input: Input, hand: &mut Hand<'_>) {
        let mut effects = Vec::new();
        self.core.handle(0, input, &mut effects);
        self.run(effects, hand);
    }

    /// The time of its round ends.
    pub fn time_out(&mut self, hand: &mut Hand<'_>) {
        let round = self.core.round();
        self.take(Input::Timeout { round }, hand);
    }

    fn run(&mut self, effects: Vec<Effect>, hand: &mut Hand<'_>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            if hand.is_dark() {
                return;
            }
            if !matches!(effect, Effect::Evidence(_)) {
                hand.done += 1;
            }
            let mut more = Vec::new();
            match effect {
                Effect::Persist { seq, record } => {
                    assert_eq!(record.rank(), seq, "a record of another rank");
                    self.record = Some(record);
                    hand.power = hand.power.map(|left| left - 1);
                    let ready = self.outbox.durable(seq);
                    self.say(ready, hand, &mut more);
                }
                Effect::Send { after, draft } => {
                    let ready = self.outbox.push(after, draft);
                    self.say(ready, hand, &mut more);
                }
                Effect::Propose { round } => {
                    hand.asked = true;
                    let id = (hand.make)(round);
                    self.core
                        .handle(0, Input::Proposal { round, id }, &mut more);
                }
                Effect::Validate { round, id } => {
                    let ok = true;
                    self.core
                        .handle(0, Input::Validated { round, id, ok }, &mut more);
                }
                Effect::Evidence(evidence) => self.evidence.push(evidence),
                Effect::Timer { .. } | Effect::Observing(_) => {}
                Effect::Decided { id, seal } => self.decided = Some((id, seal)),
            }
            queue.extend(more);
        }
    }

    fn say(&mut self, ready: Vec<Draft>, hand: &mut Hand<'_>, more: &mut Vec<Effect>) {
        for draft in ready {
            if hand.is_dark() {
                return;
            }
            let signature = hand.signer.sign(&draft.to_sign());
            let verified = draft.signed(signature);
            self.covered(verified.message());
            hand.said.push(verified.clone());
            hand.power = hand.power.map(|left| left - 1);
            self.core.handle(0, Input::Message(verified), more);
        }
    }

    fn covered(&self, message: &Message) {
        let record = self.record.as_ref();
        let covered = record.is_some_and(|record| implies(record, message));
        assert!(covered, "{message:?} was said under {record:?}");
    }
}
