//! What a Byzantine validator can say, given what the honest have said.
//!
//! It signs for itself only. Of the rest it makes certificates and justifications of any shape; what
//! does not pass the production code's verification no honest validator ever hears.

use std::collections::BTreeMap;

use cairn_protocol::bft::Justification;
use cairn_protocol::bft::{
    Ballot, Bitmap, Body, Certificate, Message, Prepared, Round, SignatureSet, Statement,
    ViewChangeVote,
};
use cairn_protocol::hash::BlockId;
use cairn_protocol::signature::Signature;

/// What it knows and how it signs.
pub struct Liar<'a> {
    /// Its place.
    pub place: u16,
    /// Validators in the set.
    pub validators: usize,
    /// The last round of the model.
    pub rounds: Round,
    /// Values that it may propose.
    pub values: [BlockId; 2],
    /// All that the honest said.
    pub heard: &'a [&'a Message],
    /// Its signature of a statement.
    pub sign: &'a dyn Fn(&Statement) -> Signature,
}

impl Liar<'_> {
    /// Everything that it may try to say; `leads` says in which rounds it proposes.
    #[must_use]
    pub fn words(&self, leads: impl Fn(Round) -> bool) -> Vec<Body> {
        let mut words = Vec::new();
        if leads(0) {
            words.extend(self.values.map(|id| Body::PrePrepare { id }));
        }
        let ballots = self.ballots();
        for (round, ballot) in ballots.keys() {
            let (round, ballot) = (*round, *ballot);
            words.push(Body::Prepare { round, ballot });
        }
        let certificates = self.certificates(&ballots);
        for round in 1..=self.rounds {
            let earlier = certificates.iter().filter(|known| known.round < round);
            let shown: Vec<Option<Certificate>> = std::iter::once(None)
                .chain(earlier.cloned().map(Some))
                .collect();
            for prepared in shown.iter().cloned() {
                words.push(Body::ViewChange { round, prepared });
            }
            if leads(round) {
                self.new_views(round, &shown, &mut words);
            }
        }
        words
    }

    /// Who prepared what.
    fn ballots(&self) -> BTreeMap<(Round, Ballot), BTreeMap<u16, Signature>> {
        let mut ballots: BTreeMap<_, BTreeMap<u16, Signature>> = BTreeMap::new();
        for message in self.heard {
            if let Body::Prepare { round, ballot } = &message.body {
                let signers = ballots.entry((*round, *ballot)).or_default();
                signers.insert(message.signer, message.signature);
            }
        }
        ballots
    }

    /// Certificates of two honest PREPAREs and its own.
    fn certificates(
        &self,
        ballots: &BTreeMap<(Round, Ballot), BTreeMap<u16, Signature>>,
    ) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for ((round, ballot), signers) in ballots {
            if signers.len() < 2 {
                continue;
            }
            let statement = Statement::Prepare {
                round: *round,
                id: ballot.id,
                justification: ballot.justification,
            };
            let own = (self.place, (self.sign)(&statement));
            let honest = signers
                .iter()
                .take(2)
                .map(|(place, signature)| (*place, *signature));
            let mut votes: Vec<_> = honest.chain([own]).collect();
            votes.sort_by_key(|(place, _)| *place);
            certificates.push(Certificate {
                round: *round,
                ballot: *ballot,
                votes: SignatureSet::new(self.validators, &votes),
            });
        }
        certificates
    }

    /// NEW-VIEWs from any one or two honest VIEW-CHANGEs and its own, which names nothing; with any
    /// certificate or none; for either value.
    fn new_views(&self, round: Round, shown: &[Option<Certificate>], words: &mut Vec<Body>) {
        let mut asked: BTreeMap<u16, ViewChangeVote> = BTreeMap::new();
        for message in self.heard {
            if let Body::ViewChange {
                round: to,
                prepared,
            } = &message.body
                && *to == round
            {
                let prepared = prepared.as_ref().map(|certificate| Prepared {
                    round: certificate.round,
                    id: certificate.ballot.id,
                });
                let signature = message.signature;
                asked.insert(
                    message.signer,
                    ViewChangeVote {
                        prepared,
                        signature,
                    },
                );
            }
        }
        let nothing = Statement::ViewChange {
            round,
            prepared: None,
        };
        let own = ViewChangeVote {
            prepared: None,
            signature: (self.sign)(&nothing),
        };
        let places: Vec<u16> = asked.keys().copied().collect();
        for (at, first) in places.iter().enumerate() {
            for second in &places[at..] {
                let mut votes = BTreeMap::from([(self.place, own)]);
                votes.insert(*first, asked[first]);
                votes.insert(*second, asked[second]);
                for certificate in shown {
                    let justification = Justification {
                        bitmap: Bitmap::of(self.validators, votes.keys().copied()),
                        view_changes: votes.values().copied().collect(),
                        certificate: certificate.clone(),
                    };
                    words.extend(self.values.map(|id| Body::NewView {
                        round,
                        id,
                        justification: justification.clone(),
                    }));
                }
            }
        }
    }
}
