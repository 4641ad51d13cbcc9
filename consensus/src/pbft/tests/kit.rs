//! Validators for tests: a signature scheme that nobody here can forge, forged and true messages,
//! and a shell that runs the effects of one core.

use crate::pbft::{Effect, Input, Outbox, PbftCore, SafetyRecord, Setup, Timeouts};
use cairn_protocol::bft::{
    Ballot, Bitmap, Body, Certificate, Draft, Evidence, Justification, LeaderRule, Prepared, Round,
    Scope, Seal, SetRule, SignatureSet, Statement, ValidatorSet, Verified, ViewChangeVote,
};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::signature::{PublicKey, Signature, SignatureJob, SignatureScheme};
use cairn_protocol::state::Validator;
use std::sync::Arc;

/// A keyed hash instead of Ed25519: the "private" key is the public one, so only the honesty of the
/// test keeps it from forging.
#[derive(Clone, Copy)]
pub(super) struct Keyed;

pub(super) fn sign(key: &PublicKey, message: &[u8; 32]) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(blake3::keyed_hash(&key.0, message).as_bytes());
    Signature(bytes)
}

impl SignatureScheme for Keyed {
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize> {
        let bad = jobs
            .iter()
            .position(|job| sign(&job.key, &job.message) != job.signature);
        bad.map_or(Ok(()), Err)
    }
}

pub(super) const A: BlockId = BlockId([0xaa; 32]);
pub(super) const B: BlockId = BlockId([0xbb; 32]);

pub(super) fn scope() -> Scope {
    Scope {
        chain_id: BlockId([1; 32]),
        ruleset_id: Hash([2; 32]),
        instance: 8,
    }
}

/// Four validators of equal power; instance 8 makes validator 0 the leader of round 0.
pub(super) fn setup(me: u16) -> Arc<Setup> {
    setup_of(4, me)
}

pub(super) fn setup_of(n: u8, me: u16) -> Arc<Setup> {
    let validator = |i: u8| Validator {
        key: PublicKey([i + 1; 32]),
        power: 1,
    };
    Arc::new(Setup {
        scope: Scope {
            instance: 2 * u64::from(n),
            ..scope()
        },
        set: ValidatorSet::new(SetRule::Pbft, (0..n).map(validator).collect()).unwrap(),
        leaders: LeaderRule::Rotation,
        me: Some(me),
        timeouts: Timeouts { base_ms: 100 },
    })
}

/// Starts a core; answers what it did at once.
pub(super) fn start(me: u16, record: Option<SafetyRecord>) -> (PbftCore, Vec<Effect>) {
    let mut effects = Vec::new();
    let core = PbftCore::start(setup(me), record, 0, &mut effects).unwrap();
    (core, effects)
}

/// What a core does about an input.
pub(super) fn step(core: &mut PbftCore, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle(0, input, &mut effects);
    effects
}

/// A message that its signer really signed. It is judged as a receiver would.
pub(super) fn say(signer: u16, body: Body) -> Verified {
    let setup = setup(0);
    let message = draft(&setup, signer, body).into_message();
    message.verify(&setup.scope, &setup.set, &Keyed).unwrap()
}

/// A message that its signer really signed and nobody judged.
pub(super) fn draft(setup: &Setup, signer: u16, body: Body) -> Verified {
    let draft = Draft {
        scope: setup.scope,
        signer,
        body,
    };
    let key = setup.set.get(signer).unwrap().key;
    let signature = sign(&key, &draft.to_sign());
    draft.signed(signature)
}

pub(super) fn hear(core: &mut PbftCore, signer: u16, body: Body) -> Vec<Effect> {
    step(core, Input::Message(say(signer, body)))
}

pub(super) fn pre_prepare(id: BlockId) -> Body {
    Body::PrePrepare { id }
}

pub(super) fn first_ballot(id: BlockId) -> Ballot {
    let justification = Hash::ZERO;
    Ballot { id, justification }
}

pub(super) fn prepare(id: BlockId) -> Body {
    Body::Prepare {
        round: 0,
        ballot: first_ballot(id),
    }
}

pub(super) fn commit(round: Round, id: BlockId) -> Body {
    Body::Commit { round, id }
}

pub(super) fn view_change(round: Round, prepared: Option<Certificate>) -> Body {
    Body::ViewChange { round, prepared }
}

fn signed(signer: u16, statement: &Statement) -> Signature {
    let setup = setup(0);
    let key = setup.set.get(signer).unwrap().key;
    sign(&key, &statement.message(&setup.scope))
}

/// Prepare certificate by these signers.
pub(super) fn certificate(round: Round, ballot: Ballot, signers: &[u16]) -> Certificate {
    let empty = Certificate {
        round,
        ballot,
        votes: SignatureSet::default(),
    };
    let statement = empty.statement();
    let signatures: Vec<_> = signers
        .iter()
        .map(|signer| (*signer, signed(*signer, &statement)))
        .collect();
    let votes = SignatureSet::new(4, &signatures);
    Certificate { votes, ..empty }
}

pub(super) fn seal(round: Round, id: BlockId, signers: &[u16]) -> Seal {
    let statement = Statement::Commit { round, id };
    let signatures: Vec<_> = signers
        .iter()
        .map(|signer| (*signer, signed(*signer, &statement)))
        .collect();
    let votes = SignatureSet::new(4, &signatures);
    Seal { round, votes }
}

/// A justification of `round` by signers with what each of them names.
pub(super) fn justification(
    round: Round,
    claims: &[(u16, Option<(Round, BlockId)>)],
    certificate: Option<Certificate>,
) -> Justification {
    let vote = |(signer, claim): &(u16, Option<(Round, BlockId)>)| {
        let prepared = claim.map(|(round, id)| Prepared { round, id });
        let statement = Statement::ViewChange { round, prepared };
        ViewChangeVote {
            prepared,
            signature: signed(*signer, &statement),
        }
    };
    Justification {
        bitmap: Bitmap::of(4, claims.iter().map(|(signer, _)| *signer)),
        view_changes: claims.iter().map(vote).collect(),
        certificate,
    }
}

pub(super) fn new_view(round: Round, id: BlockId, justification: Justification) -> Body {
    Body::NewView {
        round,
        id,
        justification,
    }
}

/// A justification in which nobody names a prepared value.
pub(super) fn free(round: Round) -> Justification {
    justification(round, &[(1, None), (2, None), (3, None)], None)
}

/// Names of effects, for tables.
pub(super) fn names(effects: &[Effect]) -> Vec<&'static str> {
    let name = |effect: &Effect| match effect {
        Effect::Persist { .. } => "persist",
        Effect::Send { draft, .. } => match draft.body {
            Body::PrePrepare { .. } => "PRE-PREPARE",
            Body::Prepare { .. } => "PREPARE",
            Body::Commit { .. } => "COMMIT",
            Body::ViewChange { .. } => "VIEW-CHANGE",
            Body::NewView { .. } => "NEW-VIEW",
        },
        Effect::Propose { .. } => "propose",
        Effect::Validate { .. } => "validate",
        Effect::Timer { .. } => "timer",
        Effect::Evidence(_) => "evidence",
        Effect::Observing(_) => "observing",
        Effect::Decided { .. } => "decided",
    };
    effects.iter().map(name).collect()
}

/// One validator with its shell: a disk that is always quick and a mailbox.
pub(super) struct Node {
    pub(super) core: PbftCore,
    outbox: Outbox,
    /// The last record on disk.
    pub(super) disk: Option<SafetyRecord>,
    /// The value that it proposes when asked.
    pub(super) value: BlockId,
    /// What it decided, with the seal.
    pub(super) decided: Option<(BlockId, Seal)>,
    /// The round whose timer runs.
    pub(super) timer: Round,
    /// Whom it proved guilty.
    pub(super) evidence: Vec<Evidence>,
    /// Writes fail from here on.
    pub(super) disk_full: bool,
}

impl Node {
    /// Starts a node; answers what it says.
    pub(super) fn start(
        setup: Arc<Setup>,
        value: BlockId,
        disk: Option<SafetyRecord>,
    ) -> (Node, Vec<Verified>) {
        let mut effects = Vec::new();
        let core = PbftCore::start(setup, disk.clone(), 0, &mut effects).unwrap();
        let rank = disk.as_ref().map_or(0, SafetyRecord::rank);
        let mut node = Node {
            core,
            outbox: Outbox::new(rank),
            disk,
            value,
            decided: None,
            timer: 0,
            evidence: Vec::new(),
            disk_full: false,
        };
        let said = node.run(effects);
        (node, said)
    }

    /// Takes an input; answers what it says to all, its own copies taken already.
    pub(super) fn take(&mut self, input: Input) -> Vec<Verified> {
        let mut effects = Vec::new();
        self.core.handle(0, input, &mut effects);
        self.run(effects)
    }

    fn run(&mut self, effects: Vec<Effect>) -> Vec<Verified> {
        let mut said = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { .. } if self.disk_full => {
                    self.outbox.clear();
                    said.extend(self.take(Input::PersistFailed));
                }
                Effect::Persist { seq, record } => {
                    let before = self.disk.as_ref().map_or(0, SafetyRecord::rank);
                    assert!(
                        record.rank() == seq && (seq > before || before == 0),
                        "ranks rise"
                    );
                    self.disk = Some(record);
                    let ready = self.outbox.durable(seq);
                    said.extend(self.sign(ready));
                }
                Effect::Send { after, draft } => {
                    let ready = self.outbox.push(after, draft);
                    said.extend(self.sign(ready));
                }
                Effect::Propose { round } => {
                    let id = self.value;
                    said.extend(self.take(Input::Proposal { round, id }));
                }
                Effect::Validate { round, id } => {
                    let ok = true;
                    said.extend(self.take(Input::Validated { round, id, ok }));
                }
                Effect::Timer { round, .. } => self.timer = round,
                Effect::Evidence(evidence) => self.evidence.push(evidence),
                Effect::Observing(_) => {}
                Effect::Decided { id, seal } => self.decided = Some((id, seal)),
            }
        }
        said
    }

    fn sign(&mut self, drafts: Vec<Draft>) -> Vec<Verified> {
        let mut said = Vec::new();
        for draft in drafts {
            let key = self.core.setup().set.get(draft.signer).unwrap().key;
            let signature = sign(&key, &draft.to_sign());
            let message = draft.signed(signature);
            said.push(message.clone());
            said.extend(self.take(Input::Message(message)));
        }
        said
    }
}
