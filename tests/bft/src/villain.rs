//! A validator that lies: with its own key it says whatever may hurt, to whom it may hurt.
//!
//! It votes for everything, proposes two values, forgets what it committed to, hides prepared values
//! in NEW-VIEWs, replays, forges names, sends false seals, or is silent. It cannot sign for others.

use std::collections::BTreeMap;

use cairn_protocol::bft::{
    Ballot, Bitmap, Body, Certificate, Draft, Instance, Justification, LeaderRule, Message, Round,
    Seal, SignatureSet, ViewChangeVote,
};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::signature::Signature;
use cairn_sim::rng::Rng;

use crate::book::{Book, Value};
use crate::honest::Mail;
use crate::report::Report;

/// Messages remembered of one instance.
const SEEN_MAX: usize = 400;

/// The villain.
#[derive(Debug)]
pub struct Villain {
    /// Its place.
    pub place: u16,
    seen: BTreeMap<Instance, Vec<Message>>,
    /// How many values it proposed, by instance and round.
    proposed: BTreeMap<(Instance, Round), u64>,
    salt: u64,
}

/// Mail and whom it goes to: a bit for each place.
pub type Sent = (u64, Mail);

impl Villain {
    /// A villain.
    #[must_use]
    pub fn new(place: u16) -> Villain {
        Villain {
            place,
            seen: BTreeMap::new(),
            proposed: BTreeMap::new(),
            salt: 0,
        }
    }

    fn say(&self, book: &Book, instance: Instance, body: Body) -> Mail {
        let draft = Draft {
            scope: book.scope(instance),
            signer: self.place,
            body,
        };
        let signature = book.signers[usize::from(self.place)].sign(&draft.to_sign());
        Mail::Message(Box::new(draft.signed(signature).into_message()))
    }

    /// Something was heard: what it does about it.
    pub fn act(
        &mut self,
        book: &mut Book,
        rng: &mut Rng,
        mail: &Mail,
        parent_of: impl Fn(Instance) -> Option<BlockId>,
        report: &mut Report,
    ) -> Vec<Sent> {
        let Mail::Message(message) = mail else {
            return Vec::new();
        };
        let instance = message.instance;
        self.seen = self.seen.split_off(&instance.saturating_sub(3));
        self.proposed = self.proposed.split_off(&(instance.saturating_sub(3), 0));
        let seen = self.seen.entry(instance).or_default();
        if seen.len() < SEEN_MAX && !seen.contains(message) {
            seen.push(message.as_ref().clone());
        }
        let subset = rng.bits();
        let mut sent = Vec::new();
        match rng.below(11) {
            0..=5 => self.echo(book, message, subset, &mut sent, report),
            6 => self.replay(rng, instance, subset, &mut sent, report),
            7 => self.forge(book, rng, message, subset, &mut sent, report),
            8 => self.false_seal(book, rng, message, subset, &mut sent, report),
            9 => {
                report.count("villain runs ahead");
                let round = message.body.statement().round() + rng.between(1, 3) as Round;
                let prepared = None;
                let body = Body::ViewChange { round, prepared };
                sent.push((u64::MAX, self.say(book, instance, body)));
            }
            _ => report.count("villain silent"),
        }
        let round = message.body.statement().round();
        if let Some(parent) = parent_of(instance) {
            self.lead(book, rng, (instance, parent), round, &mut sent, report);
        }
        sent
    }

    /// Votes for whatever was heard.
    fn echo(
        &self,
        book: &Book,
        message: &Message,
        subset: u64,
        sent: &mut Vec<Sent>,
        report: &mut Report,
    ) {
        let instance = message.instance;
        match &message.body {
            Body::PrePrepare { id } => {
                let justification = Hash::ZERO;
                let ballot = Ballot {
                    id: *id,
                    justification,
                };
                self.vote_both(book, instance, 0, ballot, subset, sent);
            }
            Body::NewView {
                round,
                id,
                justification,
            } => {
                let ballot = justification.ballot(*round, *id);
                self.vote_both(book, instance, *round, ballot, subset, sent);
            }
            Body::Prepare { round, ballot } => {
                self.vote_both(book, instance, *round, *ballot, subset, sent);
            }
            Body::Commit { round, id } => {
                let body = Body::Commit {
                    round: *round,
                    id: *id,
                };
                sent.push((subset, self.say(book, instance, body)));
            }
            Body::ViewChange { round, .. } => {
                // Amnesia: whatever it committed to before, it now names a low certificate or none.
                let low = self
                    .certificates(book, instance)
                    .into_iter()
                    .find(|c| c.round < *round);
                let none = Body::ViewChange {
                    round: *round,
                    prepared: None,
                };
                sent.push((subset, self.say(book, instance, none)));
                if let Some(low) = low {
                    report.count("villain names a low certificate");
                    let body = Body::ViewChange {
                        round: *round,
                        prepared: Some(low),
                    };
                    sent.push((!subset, self.say(book, instance, body)));
                }
            }
        }
    }

    fn vote_both(
        &self,
        book: &Book,
        instance: Instance,
        round: Round,
        ballot: Ballot,
        subset: u64,
        sent: &mut Vec<Sent>,
    ) {
        sent.push((
            subset,
            self.say(book, instance, Body::Prepare { round, ballot }),
        ));
        let id = ballot.id;
        sent.push((
            !subset,
            self.say(book, instance, Body::Commit { round, id }),
        ));
    }

    fn replay(
        &self,
        rng: &mut Rng,
        instance: Instance,
        subset: u64,
        sent: &mut Vec<Sent>,
        report: &mut Report,
    ) {
        report.count("villain replays");
        let of = rng.between(instance.saturating_sub(2), instance);
        if let Some(seen) = self.seen.get(&of)
            && !seen.is_empty()
        {
            let message = seen[rng.index(seen.len())].clone();
            sent.push((subset, Mail::Message(Box::new(message))));
        }
    }

    fn forge(
        &self,
        book: &Book,
        rng: &mut Rng,
        message: &Message,
        subset: u64,
        sent: &mut Vec<Sent>,
        report: &mut Report,
    ) {
        report.count("villain forges");
        let mut forged = message.clone();
        match rng.below(4) {
            0 => forged.signer = rng.index(book.signers.len()) as u16,
            1 => forged.signature = Signature([rng.bits() as u8; 64]),
            2 => forged.instance += 1,
            _ => {
                if let Body::Prepare { round, .. } | Body::Commit { round, .. } = &mut forged.body {
                    *round += 1;
                }
            }
        }
        sent.push((subset, Mail::Message(Box::new(forged))));
    }

    /// A seal of too few, of the same one twice, or of PREPAREs.
    fn false_seal(
        &self,
        book: &Book,
        rng: &mut Rng,
        message: &Message,
        subset: u64,
        sent: &mut Vec<Sent>,
        report: &mut Report,
    ) {
        report.count("villain shows a false seal");
        let instance = message.instance;
        let seen = self.seen.get(&instance).map_or(&[][..], Vec::as_slice);
        let mut signatures: Vec<(u16, Signature)> = Vec::new();
        let mut target = None;
        for message in seen {
            let (id, is_commit) = match &message.body {
                Body::Commit { id, .. } => (*id, true),
                Body::Prepare { ballot, .. } => (ballot.id, false),
                _ => continue,
            };
            if *target.get_or_insert(id) == id && (is_commit || rng.chance(300)) {
                signatures.push((message.signer, message.signature));
            }
        }
        let Some(id) = target else { return };
        signatures.sort_by_key(|(signer, _)| *signer);
        signatures.dedup_by_key(|(signer, _)| *signer);
        // One signature of a stranger fills the place that is missing.
        let missing = (0..book.set.len() as u16)
            .find(|place| !signatures.iter().any(|(signer, _)| signer == place));
        if let (Some(missing), Some((_, any))) = (missing, signatures.first().copied()) {
            signatures.push((missing, any));
            signatures.sort_by_key(|(signer, _)| *signer);
        }
        let votes = SignatureSet::new(book.set.len(), &signatures);
        let seal = Seal { round: 0, votes };
        sent.push((subset, Mail::Sealed { instance, id, seal }));
    }

    /// Certificates that can be made of what was heard.
    fn certificates(&self, book: &Book, instance: Instance) -> Vec<Certificate> {
        let mut votes: BTreeMap<(Round, Ballot), BTreeMap<u16, Signature>> = BTreeMap::new();
        for message in self.seen.get(&instance).into_iter().flatten() {
            if let Body::Prepare { round, ballot } = &message.body {
                let of = votes.entry((*round, *ballot)).or_default();
                of.insert(message.signer, message.signature);
            }
        }
        let is_quorum = |signers: &BTreeMap<u16, Signature>| {
            book.set
                .is_quorum(book.set.power_of(signers.keys().copied()))
        };
        votes
            .into_iter()
            .filter(|(_, signers)| is_quorum(signers))
            .map(|((round, ballot), signers)| {
                let signatures: Vec<_> = signers.into_iter().collect();
                let votes = SignatureSet::new(book.set.len(), &signatures);
                Certificate {
                    round,
                    ballot,
                    votes,
                }
            })
            .collect()
    }

    /// Proposes if it leads: two values in round 0, and what it likes under a NEW-VIEW.
    fn lead(
        &mut self,
        book: &mut Book,
        rng: &mut Rng,
        (instance, parent): (Instance, BlockId),
        round: Round,
        sent: &mut Vec<Sent>,
        report: &mut Report,
    ) {
        for round in [round, round + 1] {
            let leads = LeaderRule::Rotation.leader(&book.set, instance, round) == self.place;
            let done = self.proposed.get(&(instance, round)).copied().unwrap_or(0);
            if !leads || done >= 3 || rng.chance(400) {
                continue;
            }
            let justification = if round == 0 {
                None
            } else {
                let Some(justification) = self.justify(book, rng, instance, round, report) else {
                    continue;
                };
                Some(justification)
            };
            let claimed = justification
                .as_ref()
                .and_then(|why| why.certificate.as_ref())
                .map(|certificate| certificate.ballot.id);
            let id = match claimed {
                Some(id) if rng.chance(700) => id,
                _ => {
                    self.salt += 1;
                    let value = Value {
                        instance,
                        parent,
                        round: round + u32::from(rng.chance(100)),
                        good: !rng.chance(250),
                    };
                    if !value.good {
                        report.count("villain proposes a bad value");
                    }
                    book.value(value, self.salt << 32 | u64::from(self.place))
                }
            };
            let body = match &justification {
                None => Body::PrePrepare { id },
                Some(why) => Body::NewView {
                    round,
                    id,
                    justification: why.clone(),
                },
            };
            let of = self.proposed.entry((instance, round)).or_default();
            *of += 1;
            if *of > 1 {
                report.count("villain proposes twice");
            }
            sent.push((rng.bits(), self.say(book, instance, body)));
        }
    }

    /// A justification made of what was heard: if it can, one that hides what is prepared.
    fn justify(
        &self,
        book: &Book,
        rng: &mut Rng,
        instance: Instance,
        round: Round,
        report: &mut Report,
    ) -> Option<Justification> {
        let mut votes: BTreeMap<u16, (Option<Certificate>, Signature)> = BTreeMap::new();
        for message in self.seen.get(&instance)? {
            if let Body::ViewChange {
                round: to,
                prepared,
            } = &message.body
                && *to == round
            {
                votes.insert(message.signer, (prepared.clone(), message.signature));
            }
        }
        let own = Draft {
            scope: book.scope(instance),
            signer: self.place,
            body: Body::ViewChange {
                round,
                prepared: None,
            },
        };
        let signature = book.signers[usize::from(self.place)].sign(&own.to_sign());
        votes.insert(self.place, (None, signature));
        let power = |votes: &BTreeMap<u16, (Option<Certificate>, Signature)>| {
            book.set.power_of(votes.keys().copied())
        };
        // Leave out those who name something, as long as a quorum stays.
        let naming: Vec<u16> = votes
            .iter()
            .filter(|(_, (prepared, _))| prepared.is_some())
            .map(|(signer, _)| *signer)
            .collect();
        for signer in naming {
            let mut fewer = votes.clone();
            fewer.remove(&signer);
            if book.set.is_quorum(power(&fewer)) || rng.chance(100) {
                report.count("villain hides a prepared value");
                votes = fewer;
            }
        }
        if !book.set.is_quorum(power(&votes)) && !rng.chance(200) {
            return None;
        }
        let highest = votes
            .values()
            .filter_map(|(prepared, _)| prepared.as_ref())
            .max_by_key(|certificate| certificate.round)
            .cloned();
        let known = self.certificates(book, instance);
        let certificate = match rng.below(20) {
            0..=2 => None,
            3..=6 if !known.is_empty() => {
                report.count("villain shows another certificate");
                Some(known[rng.index(known.len())].clone())
            }
            _ => highest,
        };
        let view_changes = votes.values().map(|(prepared, signature)| ViewChangeVote {
            prepared: prepared
                .as_ref()
                .map(|certificate| cairn_protocol::bft::Prepared {
                    round: certificate.round,
                    id: certificate.ballot.id,
                }),
            signature: *signature,
        });
        Some(Justification {
            bitmap: Bitmap::of(book.set.len(), votes.keys().copied()),
            view_changes: view_changes.collect(),
            certificate,
        })
    }
}
