//! What must hold after every event, judged from outside the nodes.
//!
//! * agreement: one value for each instance;
//! * validity: a decided value is good, on the value before it, and its seal verifies;
//! * accountability: nobody proves anything against an honest validator, and no two statements that
//!   one ever signed are an offence;
//! * durability: what an honest validator says is implied by a record that is on its disk;
//! * monotone votes: one statement for each (instance, round, kind), over all restarts.

use std::collections::BTreeMap;

use cairn_protocol::bft::{
    Evidence, Instance, Message, Round, SignedStatement, StatementKind, verify_seal,
};
use cairn_protocol::hash::BlockId;

use crate::book::Book;
use crate::honest::{Honest, implies};
use crate::verifier::{is_signed, judge_seal};

/// The judge of one run. It panics with the story of what broke.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    decided: BTreeMap<Instance, BlockId>,
    /// All that honest validators signed lately: by place and instance.
    said: BTreeMap<(u16, Instance), Vec<SignedStatement>>,
    one_each: BTreeMap<(u16, Instance, Round, u8), SignedStatement>,
}

impl Checker {
    /// A message left an honest node.
    pub fn sent(&mut self, book: &Book, node: &Honest, message: &Message) {
        let (place, instance) = (node.place, message.instance);
        let record = node.disk.record.as_ref();
        assert!(
            record.is_some_and(|record| implies(record, message)),
            "validator {place} said {message:?} under {record:?}"
        );
        let statement = message.body.statement();
        let scope = book.scope(instance);
        assert!(
            is_signed(book, &scope, place, &statement, message.signature),
            "a second reading of {message:?}: its signature is of something else"
        );
        let now = SignedStatement {
            statement,
            signature: message.signature,
        };
        let kind = match statement.kind() {
            StatementKind::PrePrepare | StatementKind::NewView => 1,
            other => other as u8,
        };
        let slot = (place, instance, statement.round(), kind);
        let before = self.one_each.entry(slot).or_insert(now);
        assert_eq!(before.statement, statement, "validator {place} said both");
        let key = book.signers[usize::from(place)].public();
        let said = self.said.entry((place, instance)).or_default();
        if said.contains(&now) {
            return;
        }
        for other in said.iter() {
            let proof = Evidence::between(&book.scope(instance), key, *other, now);
            assert!(
                proof.is_none(),
                "honest validator {place} is named: {proof:?}"
            );
        }
        said.push(now);
        // Old instances are final: nothing new is said in them.
        let oldest = instance.saturating_sub(4);
        self.said.retain(|(_, instance), _| *instance >= oldest);
        self.one_each
            .retain(|(_, instance, ..), _| *instance >= oldest);
    }

    /// An honest node decided.
    pub fn decided(&mut self, book: &Book, node: &Honest, instance: Instance, id: BlockId) {
        let known = *self.decided.entry(instance).or_insert(id);
        assert_eq!(
            known, id,
            "validator {} decided otherwise at {instance}",
            node.place
        );
        let index = usize::try_from(instance).expect("small") - 1;
        let (_, seal) = &node.disk.chain[index];
        let parent = index
            .checked_sub(1)
            .map_or(BlockId::ZERO, |before| node.disk.chain[before].0);
        assert!(
            book.is_valid(&id, instance, parent, seal.round),
            "a bad value was decided at {instance}"
        );
        let scope = book.scope(instance);
        let power = verify_seal(seal, &scope, id, &book.set, &book.scheme);
        assert!(
            power.is_ok(),
            "the seal of {instance} does not verify: {power:?}"
        );
        let second = judge_seal(book, &scope, id, seal);
        assert!(second.is_ok(), "a second reading of {instance}: {second:?}");
    }

    /// An honest node accuses somebody.
    pub fn accused(&self, book: &Book, villains: &[u16], evidence: &Evidence) {
        let scope = book.scope(evidence.instance);
        let proven = evidence.verify(scope.chain_id, &book.scheme);
        let proven = proven.unwrap_or_else(|why| panic!("evidence that proves nothing: {why}"));
        let place = book.set.index_of(&proven.key).expect("a validator");
        assert!(
            villains.contains(&place),
            "honest validator {place} is accused"
        );
    }

    /// A node's memory is bounded whatever others send.
    pub fn bounded(&self, node: &Honest) {
        assert!(
            node.waiting() <= 64,
            "messages that wait for the disk pile up"
        );
        assert!(node.disk.pending.len() <= 64, "records pile up");
    }
}
