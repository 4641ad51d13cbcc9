//! Interned validators and what each event makes of them.
//!
//! Invariant: a number stands for one [`Local`] for ever, so equal states have equal numbers; every
//! transition is one call of the production core and is computed once.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use cairn_bft::book::Book;
use cairn_bft::solo::{Hand, Solo};
use cairn_consensus::pbft::{Input, Setup};
use cairn_protocol::bft::{
    Body, Draft, Evidence, Message, Round, Scope, SignedStatement, Verified,
};
use cairn_protocol::hash::BlockId;
use cairn_sim::keys::Scheme;

use crate::byzantine::Liar;
use crate::local::Local;
use crate::{State, Step};

/// What may go wrong, beyond time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Who lies.
    pub byzantine: Option<u16>,
    /// Whose power may go, once, after any effect.
    pub crashing: Option<u16>,
    /// Whether its record is lost with it: it then counts as the faulty one.
    pub record_lost: bool,
    /// Whether PREPAREs of round 0 reach the Byzantine validator only, so that it alone has a
    /// certificate of that round.
    pub first_prepares_lost: bool,
}

/// What happens to a validator. `Choice` is the value that it proposes if it is asked to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// It hears a message.
    Hear {
        /// The message's number.
        message: u32,
        /// The number of the Byzantine validator's message that comes right behind it.
        help: Option<u32>,
        /// The value that it would propose.
        choice: u8,
        /// Effects until its power goes.
        power: Option<u8>,
    },
    /// Its timer ends.
    Timeout {
        /// The value that it would propose.
        choice: u8,
        /// Effects until its power goes.
        power: Option<u8>,
    },
}

/// What may happen next to one validator, and what it would decide now.
#[derive(Debug)]
pub struct Moves {
    /// The steps.
    pub steps: Vec<Step>,
    /// Values that the COMMITs of this state decide.
    pub decides: Vec<BlockId>,
}

#[derive(Default)]
struct Known {
    locals: Vec<Arc<Local>>,
    numbers: HashMap<Arc<Local>, u32>,
    messages: Vec<Verified>,
    message_numbers: HashMap<(u16, Body), Option<u32>>,
    sets: HashMap<Vec<u32>, u32>,
    set_of: Vec<u32>,
    words: HashMap<[u32; 4], Arc<Vec<u32>>>,
    next: HashMap<(u32, Event), Option<Next>>,
    moves: HashMap<(u32, [u32; 4]), Arc<Moves>>,
}

#[derive(Clone, Copy)]
struct Next {
    local: u32,
    /// Something followed at once.
    is_effective: bool,
    asked: bool,
    /// Writes and messages: the places where the power may go.
    cuts: u8,
}

/// The model.
pub struct Table {
    book: Book,
    scope: Scope,
    setups: Vec<Arc<Setup>>,
    faults: Faults,
    rounds: Round,
    known: RwLock<Known>,
    first: State,
}

const VALUES: [BlockId; 2] = [BlockId([0xaa; 32]), BlockId([0xbb; 32])];

impl Table {
    /// Four validators, of whom `leader` leads round 0, and rounds up to `rounds`.
    ///
    /// # Panics
    /// If a core does not start.
    #[must_use]
    pub fn new(faults: Faults, rounds: Round) -> Table {
        let book = Book::new(Scheme::KeyedHash([3; 32]), &[1; 4]);
        let instance = 8;
        let setups = (0..4)
            .map(|place| book.setup(instance, Some(place), 100))
            .collect();
        let mut table = Table {
            scope: book.scope(instance),
            setups,
            book,
            faults,
            rounds,
            known: RwLock::default(),
            first: State([0; 4]),
        };
        let mut first = State([0; 4]);
        for place in 0..4u16 {
            if faults.byzantine == Some(place) {
                continue;
            }
            let make = |_: Round| VALUES[0];
            let mut hand = Hand::new(&table.book.signers[usize::from(place)], &make);
            let solo = Solo::start(table.setups[usize::from(place)].clone(), None, &mut hand);
            let said = hand.said;
            let local = Local {
                place,
                solo,
                said: Vec::new(),
                crashes: 0,
                lost: false,
                broken: None,
            };
            let known = table.known.get_mut().expect("no panic before");
            let local = Table::say(known, local, said, table.scope, &table.book);
            first.0[usize::from(place)] = Table::intern(known, local);
        }
        table.first = first;
        table
    }

    pub(crate) fn first(&self) -> State {
        self.first
    }

    pub(crate) fn honest(&self) -> impl Iterator<Item = u16> + use<> {
        let byzantine = self.faults.byzantine;
        (0..4).filter(move |place| byzantine != Some(*place))
    }

    /// The two values.
    #[must_use]
    pub fn values(&self) -> [BlockId; 2] {
        VALUES
    }

    /// How many cores were seen, and how many messages.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let known = self.known.read().expect("no panic before");
        (known.locals.len(), known.messages.len())
    }

    /// The validators of a state.
    #[must_use]
    pub fn locals(&self, state: &State) -> Vec<Arc<Local>> {
        let known = self.known.read().expect("no panic before");
        self.honest()
            .map(|place| known.locals[state.0[usize::from(place)] as usize].clone())
            .collect()
    }

    /// Whether an honest validator said something of this kind.
    pub(crate) fn says(&self, state: &State, is: impl Fn(&Body) -> bool) -> bool {
        let known = self.known.read().expect("no panic before");
        let said = |place: u16| {
            let local = &known.locals[state.0[usize::from(place)] as usize];
            local
                .said
                .iter()
                .any(|number| is(&known.messages[*number as usize].message().body))
        };
        self.honest().any(said)
    }

    /// All values that somebody may decide, sorted.
    pub(crate) fn decisions(&self, state: &State) -> Vec<BlockId> {
        let mut values = Vec::new();
        for place in self.honest() {
            values.extend_from_slice(&self.moves(state, place).decides);
        }
        values.sort();
        values
    }

    /// What may happen to a validator.
    pub(crate) fn moves(&self, state: &State, place: u16) -> Arc<Moves> {
        let own = state.0[usize::from(place)];
        let key = {
            let known = self.known.read().expect("no panic before");
            let key = (own, self.network(&known, state));
            if let Some(moves) = known.moves.get(&key) {
                return moves.clone();
            }
            key
        };
        let mut known = self.known.write().expect("no panic before");
        let moves = Arc::new(self.compute(&mut known, state, place, key.1));
        known.moves.insert(key, moves.clone());
        moves
    }

    fn network(&self, known: &Known, state: &State) -> [u32; 4] {
        let mut sets = [0; 4];
        for place in self.honest() {
            let place = usize::from(place);
            sets[place] = known.set_of[state.0[place] as usize];
        }
        sets
    }

    fn compute(&self, known: &mut Known, state: &State, place: u16, network: [u32; 4]) -> Moves {
        let number = state.0[usize::from(place)];
        let local = known.locals[number as usize].clone();
        let others: Vec<u32> = self
            .honest()
            .filter(|other| *other != place)
            .flat_map(|other| {
                known.locals[state.0[usize::from(other)] as usize]
                    .said
                    .clone()
            })
            .collect();
        let mut steps = Vec::new();
        if local.broken.is_none() {
            match self.faults.byzantine {
                Some(liar) => self.hear_helped(known, (number, liar), &others, &mut steps),
                None => self.hear_alone(known, number, &others, &mut steps),
            }
            for message in self.words(known, state, network).iter() {
                let body = &known.messages[*message as usize].message().body;
                let leads = |round: Round| local.solo.core.setup().leads(round);
                let alone = match body {
                    Body::PrePrepare { .. } | Body::NewView { .. } => true,
                    Body::ViewChange { round, .. } => leads(*round),
                    Body::Prepare { .. } | Body::Commit { .. } => false,
                };
                if alone {
                    let heard = Some((*message, None));
                    self.try_step(known, number, heard, true, &mut steps);
                }
            }
            if local.solo.core.round() < self.rounds {
                self.try_step(known, number, None, false, &mut steps);
            }
        }
        let decides = self.decides(known, &local, &others);
        Moves { steps, decides }
    }

    /// With a Byzantine validator at hand, one honest message and one of its own make each quorum
    /// that any two honest ones make.
    fn hear_helped(
        &self,
        known: &mut Known,
        (number, liar): (u32, u16),
        others: &[u32],
        steps: &mut Vec<Step>,
    ) {
        let local = known.locals[number as usize].clone();
        let core = &local.solo.core;
        let mut done: Vec<Body> = Vec::new();
        for message in others {
            let body = known.messages[*message as usize].message().body.clone();
            let round = body.statement().round();
            if round < core.round() || matches!(body, Body::Commit { .. }) {
                continue;
            }
            let is_first = matches!(body, Body::Prepare { round: 0, .. });
            if is_first && self.faults.first_prepares_lost {
                continue;
            }
            let help = match &body {
                Body::Prepare { round, ballot } if *round == core.round() => {
                    let (round, ballot) = (*round, *ballot);
                    Body::Prepare { round, ballot }
                }
                Body::Prepare { .. } | Body::ViewChange { .. } => {
                    let prepared = None;
                    Body::ViewChange { round, prepared }
                }
                _ => {
                    self.try_step(known, number, Some((*message, None)), false, steps);
                    continue;
                }
            };
            if matches!(body, Body::ViewChange { .. }) && core.setup().leads(round) {
                // A leader needs the claim itself.
                self.try_step(known, number, Some((*message, None)), false, steps);
            }
            if done.contains(&help) {
                continue;
            }
            let before = steps.len();
            let helper = self.number_of(known, liar, help.clone());
            self.try_step(known, number, Some((*message, helper)), true, steps);
            if steps.len() > before {
                done.push(help);
            }
        }
    }

    /// Without one every message counts for itself.
    fn hear_alone(&self, known: &mut Known, number: u32, others: &[u32], steps: &mut Vec<Step>) {
        let local = known.locals[number as usize].clone();
        let core = &local.solo.core;
        let leads_later = (core.round()..=self.rounds).any(|round| core.setup().leads(round));
        let mut done: Vec<Body> = Vec::new();
        for message in others {
            let body = known.messages[*message as usize].message().body.clone();
            let matters = match &body {
                Body::Commit { .. } => false,
                Body::Prepare { round, .. } => *round >= core.round() && !done.contains(&body),
                Body::ViewChange { round, prepared } => {
                    *round >= core.round() || (prepared.is_some() && leads_later)
                }
                Body::PrePrepare { .. } | Body::NewView { .. } => {
                    body.statement().round() >= core.round()
                }
            };
            if !matters {
                continue;
            }
            let before = steps.len();
            self.try_step(known, number, Some((*message, None)), false, steps);
            if steps.len() > before {
                done.push(body);
            }
        }
    }

    /// What the Byzantine validator may say.
    fn words(&self, known: &mut Known, state: &State, network: [u32; 4]) -> Arc<Vec<u32>> {
        let Some(place) = self.faults.byzantine else {
            return Arc::default();
        };
        if let Some(words) = known.words.get(&network) {
            return words.clone();
        }
        let bodies = {
            let heard: Vec<&Message> = self
                .honest()
                .flat_map(|other| &known.locals[state.0[usize::from(other)] as usize].said)
                .map(|number| known.messages[*number as usize].message())
                .collect();
            let signer = &self.book.signers[usize::from(place)];
            let liar = Liar {
                place,
                validators: 4,
                rounds: self.rounds,
                values: VALUES,
                heard: &heard,
                sign: &|statement| signer.sign(&statement.message(&self.scope)),
            };
            let setup = &self.setups[usize::from(place)];
            liar.words(|round| setup.leads(round))
        };
        let numbers = bodies
            .into_iter()
            .filter_map(|body| self.number_of(known, place, body));
        let words = Arc::new(numbers.collect::<Vec<u32>>());
        known.words.insert(network, words.clone());
        words
    }

    /// The number of a message that passes verification.
    fn number_of(&self, known: &mut Known, place: u16, body: Body) -> Option<u32> {
        let key = (place, body);
        if let Some(number) = known.message_numbers.get(&key) {
            return *number;
        }
        let draft = Draft {
            scope: self.scope,
            signer: place,
            body: key.1.clone(),
        };
        let signature = self.book.signers[usize::from(place)].sign(&draft.to_sign());
        let message = draft.signed(signature).into_message();
        let verified = message
            .verify(&self.scope, &self.book.set, &self.book.scheme)
            .ok();
        let number = verified.map(|verified| {
            known.messages.push(verified);
            known.messages.len() as u32 - 1
        });
        known.message_numbers.insert(key, number);
        number
    }

    fn try_step(
        &self,
        known: &mut Known,
        number: u32,
        heard: Option<(u32, Option<u32>)>,
        only_effective: bool,
        steps: &mut Vec<Step>,
    ) {
        let place = known.locals[number as usize].place;
        let event = |choice: u8, power: Option<u8>| match heard {
            Some((message, help)) => Event::Hear {
                message,
                help,
                choice,
                power,
            },
            None => Event::Timeout { choice, power },
        };
        let mut choices = 1;
        let mut choice = 0;
        while choice < choices {
            let whole = event(choice, None);
            let Some(next) = self.next(known, number, whole) else {
                return;
            };
            if next.asked {
                choices = 2;
            }
            if next.local != number && (next.is_effective || !only_effective) {
                steps.push(Step {
                    place: place as u8,
                    event: whole,
                    next: next.local,
                });
            }
            let local = &known.locals[number as usize];
            let may_crash = self.faults.crashing == Some(place) && local.crashes == 0;
            if may_crash && next.is_effective {
                for power in 1..=next.cuts {
                    let cut = event(choice, Some(power));
                    if let Some(after) = self.next(known, number, cut) {
                        steps.push(Step {
                            place: place as u8,
                            event: cut,
                            next: after.local,
                        });
                    }
                }
            }
            choice += 1;
        }
    }

    /// One call of the core, remembered.
    fn next(&self, known: &mut Known, number: u32, event: Event) -> Option<Next> {
        if let Some(next) = known.next.get(&(number, event)) {
            return *next;
        }
        let mut local = known.locals[number as usize].as_ref().clone();
        let input = |number: u32| Input::Message(known.messages[number as usize].clone());
        let (inputs, choice, power) = match event {
            Event::Hear {
                message,
                help,
                choice,
                power,
            } => {
                let both = std::iter::once(message).chain(help);
                (both.map(input).collect(), choice, power)
            }
            Event::Timeout { choice, power } => (Vec::new(), choice, power),
        };
        let signer = &self.book.signers[usize::from(local.place)];
        let make = |_: Round| VALUES[usize::from(choice)];
        let mut hand = Hand::new(signer, &make);
        hand.power = power.map(usize::from);
        let writes = local.solo.record.clone();
        if inputs.is_empty() {
            local.solo.time_out(&mut hand);
        }
        for input in inputs {
            local.solo.take(input, &mut hand);
        }
        let wrote = usize::from(local.solo.record != writes) * 2;
        let mut said = hand.said;
        let mut next = Next {
            local: number,
            is_effective: hand.done > 0,
            asked: hand.asked,
            cuts: (wrote + said.len()) as u8,
        };
        if power.is_some() {
            let record = match self.faults.record_lost {
                true => None,
                false => local.solo.record.clone(),
            };
            let mut hand = Hand::new(signer, &make);
            let setup = self.setups[usize::from(local.place)].clone();
            local.solo = Solo::start(setup, record, &mut hand);
            local.crashes += 1;
            local.lost |= self.faults.record_lost;
            said.extend(hand.said);
        }
        let forgetful = self.faults.crashing.filter(|_| self.faults.record_lost);
        let faulty: Vec<_> = (self.faults.byzantine.iter().chain(&forgetful))
            .map(|place| self.book.signers[usize::from(*place)].public())
            .collect();
        let accused = &local.solo.evidence;
        if accused
            .iter()
            .any(|evidence| !faulty.contains(&evidence.key))
        {
            local.broken = Some("it accused an honest validator");
        }
        local.solo.evidence.clear();
        let local = Table::say(known, local, said, self.scope, &self.book);
        next.local = Table::intern(known, local);
        known.next.insert((number, event), Some(next));
        Some(next)
    }

    /// Adds what a validator said, and judges whether it may.
    fn say(
        known: &mut Known,
        mut local: Local,
        said: Vec<Verified>,
        scope: Scope,
        book: &Book,
    ) -> Local {
        let key = book.signers[usize::from(local.place)].public();
        for verified in said {
            let message = verified.message();
            let slot = (local.place, message.body.clone());
            let number = match known.message_numbers.get(&slot) {
                Some(number) => *number,
                None => {
                    let judged = message.clone().verify(&scope, &book.set, &book.scheme);
                    let number = judged.ok().map(|verified| {
                        known.messages.push(verified);
                        known.messages.len() as u32 - 1
                    });
                    known.message_numbers.insert(slot, number);
                    number
                }
            };
            let Some(number) = number else {
                local.broken = Some("it said what is refused");
                continue;
            };
            let signed = |message: &Message| SignedStatement {
                statement: message.body.statement(),
                signature: message.signature,
            };
            let now = signed(message);
            let mut before = local.said.iter();
            let offends = before.any(|number| {
                let before = signed(known.messages[*number as usize].message());
                Evidence::between(&scope, key, before, now).is_some()
            });
            if offends && !local.lost {
                local.broken = Some("it contradicted itself");
            }
            if let Err(at) = local.said.binary_search(&number) {
                local.said.insert(at, number);
            }
        }
        local
    }

    fn intern(known: &mut Known, local: Local) -> u32 {
        if let Some(number) = known.numbers.get(&local) {
            return *number;
        }
        let count = known.sets.len() as u32;
        let set = *known.sets.entry(local.said.clone()).or_insert(count);
        let local = Arc::new(local);
        let number = known.locals.len() as u32;
        known.locals.push(local.clone());
        known.set_of.push(set);
        known.numbers.insert(local, number);
        number
    }

    /// What this validator decides if it hears all COMMITs that exist, and either of the Byzantine
    /// validator's.
    fn decides(&self, known: &Known, local: &Local, others: &[u32]) -> Vec<BlockId> {
        let mut decided = Vec::new();
        if local.lost {
            return decided;
        }
        let commits: Vec<&Verified> = others
            .iter()
            .map(|number| &known.messages[*number as usize])
            .filter(|verified| matches!(verified.message().body, Body::Commit { .. }))
            .collect();
        if commits.is_empty() {
            return decided;
        }
        for id in VALUES {
            let mut core = local.solo.core.clone();
            let mut effects = Vec::new();
            if let Some(place) = self.faults.byzantine {
                let signer = &self.book.signers[usize::from(place)];
                for round in 0..=self.rounds {
                    let draft = Draft {
                        scope: self.scope,
                        signer: place,
                        body: Body::Commit { round, id },
                    };
                    let signature = signer.sign(&draft.to_sign());
                    core.handle(0, Input::Message(draft.signed(signature)), &mut effects);
                }
            }
            for commit in &commits {
                core.handle(0, Input::Message((*commit).clone()), &mut effects);
            }
            decided.extend(core.decided());
        }
        decided.sort();
        decided.dedup();
        decided
    }
}
