//! The switch from proof of work to BFT on a chain: anchor certificates and the floor that they make,
//! what a miner includes, and TERMINAL's block on a branch that is not our tip's.
//!
//! Invariants: one certificate of each entry is kept, verified; it makes a floor only where
//! `switch::counts_as_floor` says so, whenever that becomes true. A block that was judged on another
//! branch changes nothing that lasts.
//!
//! Rules: `spec/12-switching.md#from-proof-of-work-to-bft`, `spec/12-switching.md#terminal`.

use std::collections::BTreeMap;

use cairn_protocol::block::{Block, HeaderRecord, SealBytes};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::ledger::{
    BlockStore, CheckedBlock, Coin, CoinChanges, CoinView, ConnectError, Fault, connect_block,
    disconnect_block,
};
use cairn_protocol::rules::{SealFault, Violation};
use cairn_protocol::signature::SignatureCheck;
use cairn_protocol::spec::Ruleset;
use cairn_protocol::state::{LedgerState, SwitchState};
use cairn_protocol::transaction::OutPoint;

use super::Chain;
use crate::nakamoto::{Index, Status};
use crate::switch::{
    AnchorVote, anchor_choice, anchor_vote, check_anchor_cert, counts_as_floor, is_near,
    rules_after,
};
use crate::template::Carried;

/// The certificate of an entry's anchor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownAnchor {
    /// The block that ANCHOR decided.
    pub id: BlockId,
    /// The certificate.
    pub cert: SealBytes,
}

/// What became of an anchor certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnchorOutcome {
    /// It is kept, and a floor as soon as it counts.
    New,
    /// One of this entry and block was known.
    Known,
    /// Another block of this entry is certified too: more than a third of the power signed twice. The
    /// first stays.
    Conflict {
        /// The block of the first certificate.
        first: BlockId,
    },
    /// It certifies nothing.
    Bad(SealFault),
}

/// What a validator makes of TERMINAL's block before it prepares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TerminalVote {
    /// It may be prepared.
    Yes,
    /// Its parent is unknown here, or forks from our heaviest chain deeper than K/2: no vote now, and
    /// nobody is at fault.
    NotNow,
}

/// Certificates by entry.
#[derive(Debug, Default)]
pub(super) struct Anchors(BTreeMap<usize, KnownAnchor>);

impl<S: BlockStore> Chain<S> {
    /// The rules of the block after the connected tip.
    #[must_use]
    pub fn rules(&self) -> Ruleset<'_> {
        rules_after(&self.params, &self.tree, self.connected.tip())
    }

    /// The certificate of an entry's anchor, included or not.
    #[must_use]
    pub fn anchor(&self, entry: usize) -> Option<&KnownAnchor> {
        self.anchors.0.get(&entry)
    }

    /// Takes in an anchor certificate, however it came. The caller keeps it durably until a block
    /// includes it, and calls [`Chain::advance`].
    ///
    /// # Panics
    /// If the schedule has no entry of this index that has validators.
    pub fn accept_anchor(&mut self, entry: usize, id: BlockId, cert: &SealBytes) -> AnchorOutcome {
        if let Some(known) = self.anchors.0.get(&entry)
            && known.id == id
        {
            return AnchorOutcome::Known;
        }
        let scheme = self.scheme.as_ref();
        if let Err(error) = check_anchor_cert(&self.params, scheme, (entry, id), cert) {
            return AnchorOutcome::Bad(error);
        }
        if let Some(known) = self.anchors.0.get(&entry) {
            let first = known.id;
            return AnchorOutcome::Conflict { first };
        }
        self.keep_anchor(entry, id, cert.clone());
        self.raise_to_anchor();
        AnchorOutcome::New
    }

    /// The block that this node proposes in ANCHOR of `entry`; see [`anchor_choice`].
    #[must_use]
    pub fn anchor_choice(&self, entry: usize) -> Option<BlockId> {
        anchor_choice(&self.params, &self.tree, self.connected.tip(), entry)
    }

    /// Whether this node votes for `id` in ANCHOR of `entry`.
    #[must_use]
    pub fn anchor_vote(&self, entry: usize, id: BlockId) -> AnchorVote {
        anchor_vote(&self.params, &self.tree, self.connected.tip(), (entry, id))
    }

    /// The certificates that the next block of work carries: the seal of a BFT tip, and an anchor that
    /// this branch has and does not include yet.
    pub(crate) fn carried(&self) -> Result<Carried, Fault> {
        let anchor = self.rules().open_anchor().and_then(|entry| {
            let known = self.anchors.0.get(&entry)?;
            let index = self.tree.find(&known.id)?;
            let is_ours = self.connected.contains(&self.tree, index);
            is_ours.then(|| (known.id, known.cert.clone()))
        });
        Ok(Carried {
            parent_seal: self.tip_seal()?.unwrap_or_default(),
            anchor,
        })
    }

    /// SWT-04: the certificate of a record on `parent` decides the anchor that it names.
    pub(super) fn judge_anchor_cert(
        &self,
        parent: Index,
        record: &HeaderRecord,
    ) -> Result<(), Violation> {
        let rules = rules_after(&self.params, &self.tree, parent);
        let anchor = record.extension.anchor();
        let (Some(bytes), Some(anchor), Some(entry)) =
            (&record.anchor_cert, anchor, rules.open_anchor())
        else {
            return Ok(());
        };
        if let Some(known) = self.anchors.0.get(&entry)
            && (known.id, &known.cert) == (anchor, bytes)
        {
            return Ok(());
        }
        check_anchor_cert(&self.params, self.scheme.as_ref(), (entry, anchor), bytes)
            .map_err(|error| Violation::BadAnchor { error })
    }

    /// Remembers the certificate that a new header of the tree includes, which was verified.
    pub(super) fn anchor_included(&mut self, index: Index, record: &HeaderRecord) {
        let Some(parent) = self.tree.parent(index) else {
            return;
        };
        let entry = rules_after(&self.params, &self.tree, parent).open_anchor();
        if let (Some(cert), Some(id), Some(entry)) =
            (&record.anchor_cert, record.extension.anchor(), entry)
        {
            self.keep_anchor(entry, id, cert.clone());
        }
        self.certify_anchors();
    }

    fn keep_anchor(&mut self, entry: usize, id: BlockId, cert: SealBytes) {
        self.anchors
            .0
            .entry(entry)
            .or_insert(KnownAnchor { id, cert });
    }

    /// Raises the branches of every anchor that counts and whose header is here.
    pub(super) fn certify_anchors(&mut self) {
        for (entry, known) in &self.anchors.0 {
            let Some(index) = self.tree.find(&known.id) else {
                continue;
            };
            let place = self.tree.entry(index);
            let is_dead = matches!(place.status, Status::Invalid | Status::Abandoned);
            if is_dead || place.score.floor >= place.height {
                continue;
            }
            if counts_as_floor(&self.params, &self.tree, self.tree.best_header(), *entry) {
                self.tree.certify(index);
            }
        }
    }

    /// Lets the floor follow the certified blocks of the connected chain.
    pub(super) fn raise_to_anchor(&mut self) {
        self.certify_anchors();
        let certified = self.tree.entry(self.connected.tip()).score.floor;
        if certified > self.tree.entry(self.tree.floor()).height
            && let Some(index) = self.connected.at(certified)
        {
            let moved = self.tree.set_floor(index);
            assert_eq!(
                moved,
                Ok(true),
                "the connected chain descends from the floor"
            );
        }
    }

    /// The switch state after a stored header on `parent`. Its record is read only where a switch
    /// waits for its anchor.
    pub(super) fn stored_switch(
        &mut self,
        parent: Index,
        id: &BlockId,
    ) -> Result<(SwitchState, Option<HeaderRecord>), Fault> {
        let height = self.tree.entry(parent).height + 1;
        let before = *self.tree.switch(parent);
        let record = match before.is_open() {
            true => self.store.header(id)?,
            false => None,
        };
        let anchor = record.as_ref().and_then(|record| record.extension.anchor());
        let after = self.params.switch_after(&before, height, anchor);
        Ok((after, record))
    }

    /// Judges TERMINAL's block before a vote for it, on whatever branch its parent is: every rule that
    /// [`Chain::check_proposal`] knows, and that its parent forks from our heaviest chain at most K/2
    /// deep. Changes nothing that lasts.
    ///
    /// # Errors
    /// The broken rule, or a fault of the store.
    pub fn check_terminal(
        &mut self,
        now: u32,
        block: Block,
        signatures: &mut dyn SignatureCheck,
    ) -> Result<TerminalVote, ConnectError> {
        let tip = self.connected.tip();
        let Some(parent) = self.tree.find(&block.header.parent) else {
            return Ok(TerminalVote::NotNow);
        };
        let rules = rules_after(&self.params, &self.tree, parent);
        if !rules.is_terminal() {
            let (ruleset, expected) = (block.extension.ruleset_id, Hash::ZERO);
            return Err(Violation::WrongRuleset { ruleset, expected }.into());
        }
        let is_whole = matches!(
            self.tree.entry(parent).status,
            Status::Stored | Status::Connected
        );
        let depth = rules.entry().burial();
        if !is_whole || !is_near(&self.tree, tip, parent, depth) {
            return Ok(TerminalVote::NotNow);
        }
        let checked = self.judge_proposal(now, parent, block)?;
        let Some(side) = self.side_of(parent, signatures)? else {
            return Ok(TerminalVote::NotNow);
        };
        let view = SideView {
            store: &self.store,
            coins: &side.coins,
        };
        let connected = connect_block(&self.params, &side.state, &checked, &view, signatures)?;
        self.keep_proposal(checked, connected);
        Ok(TerminalVote::Yes)
    }

    /// State and coins after a stored block near the tip; `None` if a body is missing or a block on
    /// the way breaks a rule.
    fn side_of(
        &self,
        goal: Index,
        signatures: &mut dyn SignatureCheck,
    ) -> Result<Option<Side>, Fault> {
        let fork = self.tree.fork_point(self.connected.tip(), goal);
        let mut side = Side {
            state: self.store.state().clone(),
            coins: BTreeMap::new(),
        };
        while side.state.tip != self.tree.entry(fork).id {
            let id = side.state.tip;
            let (Some(block), Some(undo)) = (self.store.block(&id)?, self.store.undo(&id)?) else {
                return Err(Fault(format!("block {id} is connected and not whole")));
            };
            let taken = disconnect_block(&side.state, &block, &undo)?;
            side.apply(taken.state, taken.changes);
        }
        for height in self.tree.entry(fork).height + 1..=self.tree.entry(goal).height {
            let index = self.tree.ancestor(goal, height);
            let id = index.map(|index| self.tree.entry(index).id);
            let Some(id) = id else { return Ok(None) };
            let Some(block) = self.store.block(&id)? else {
                return Ok(None);
            };
            let Ok(checked) = CheckedBlock::new(Block::clone(&block), self.params.limits()) else {
                return Ok(None);
            };
            let view = SideView {
                store: &self.store,
                coins: &side.coins,
            };
            match connect_block(&self.params, &side.state, &checked, &view, signatures) {
                Ok(connected) => side.apply(connected.state, connected.changes),
                Err(ConnectError::Invalid(_)) => return Ok(None),
                Err(ConnectError::Fault(fault)) => return Err(fault),
            }
        }
        Ok(Some(side))
    }
}

/// State and coins of another branch, where they differ from the store's.
struct Side {
    state: LedgerState,
    coins: BTreeMap<OutPoint, Option<Coin>>,
}

impl Side {
    fn apply(&mut self, state: LedgerState, changes: CoinChanges) {
        self.state = state;
        for (outpoint, _) in changes.removed {
            self.coins.insert(outpoint, None);
        }
        for (outpoint, coin) in changes.created {
            self.coins.insert(outpoint, Some(coin));
        }
    }
}

struct SideView<'a, S> {
    store: &'a S,
    coins: &'a BTreeMap<OutPoint, Option<Coin>>,
}

impl<S: CoinView> CoinView for SideView<'_, S> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        match self.coins.get(outpoint) {
            Some(coin) => Ok(coin.clone()),
            None => self.store.coin(outpoint),
        }
    }
}
