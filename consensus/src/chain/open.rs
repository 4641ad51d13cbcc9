//! Start: the header tree from what the store knows.
//!
//! Invariant: after `open` the connected path ends at the store's tip, and `advance` goes on from
//! there as if the process had never stopped. The store's own headers are not judged again; `cairn
//! chain verify` does that.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_protocol::ledger::{BlockStore, Fault, StoredHeader};
use cairn_protocol::pow::{Work, work_of};
use cairn_protocol::signature::{Ed25519, SignatureScheme};
use cairn_protocol::spec::ChainParams;

use super::Chain;
use super::bodies::CheckedBodies;
use super::propose::Proposals;
use super::seals::{SealScheme, Seals};
use super::switch::Anchors;
use crate::nakamoto::{HeaderTree, HeldBlocks, Index, OrphanLimits, OrphanPool, Path};
use crate::switch::rules_after;

impl<S: BlockStore> Chain<S> {
    /// Opens the chain of `params` over `store`. `secret` keys the draws of evictions.
    ///
    /// # Errors
    /// A fault of the store, or a store that contradicts itself or belongs to another chain.
    pub fn open(params: Arc<ChainParams>, store: S, secret: [u8; 32]) -> Result<Chain<S>, Fault> {
        Chain::open_with(params, store, secret, Arc::new(Ed25519))
    }

    /// The same with another scheme of signatures for seals, such as a simulator's.
    ///
    /// # Errors
    /// As [`Chain::open`].
    pub fn open_with(
        params: Arc<ChainParams>,
        store: S,
        secret: [u8; 32],
        scheme: Arc<dyn SignatureScheme + Send + Sync>,
    ) -> Result<Chain<S>, Fault> {
        let genesis = params.genesis();
        let mut chain = Chain {
            tree: HeaderTree::new(params.chain_id(), &genesis.header),
            connected: Path::new(),
            orphans: OrphanPool::new(OrphanLimits::default(), secret),
            held: HeldBlocks::default(),
            bodies: CheckedBodies::default(),
            seals: Seals::default(),
            proposals: Proposals::default(),
            anchors: Anchors::default(),
            scheme: SealScheme(scheme),
            senders: BTreeMap::new(),
            unattached: Default::default(),
            params,
            store,
        };
        chain.load_headers()?;
        chain.load_tip()?;
        chain.load_floor()?;
        Ok(chain)
    }

    fn load_headers(&mut self) -> Result<(), Fault> {
        let mut stored = Vec::new();
        self.store.headers(&mut |header| stored.push(header))?;
        // A body may have been stored before its parent's. The sort is stable: of equals the first
        // to arrive stays first.
        stored.sort_by_key(|header| header.height);
        for header in &stored {
            self.load_header(header)?;
        }
        Ok(())
    }

    fn load_header(&mut self, stored: &StoredHeader) -> Result<(), Fault> {
        let StoredHeader {
            id,
            height,
            header,
            has_body,
            invalid,
        } = stored;
        if *height == 0 {
            let expected = self.params.chain_id();
            let text = || format!("the store's genesis is {id}: expected {expected}");
            return if *id == expected {
                Ok(())
            } else {
                Err(Fault(text()))
            };
        }
        let Some(parent) = self.tree.find(&header.parent) else {
            if *has_body {
                self.unattached.insert(*id);
            }
            return Ok(());
        };
        let damaged = |what: &str| Fault(format!("stored header {id} at height {height}: {what}"));
        if self.tree.entry(parent).height + 1 != *height {
            return Err(damaged("its parent is at another height"));
        }
        let is_sealed = rules_after(&self.params, &self.tree, parent).is_bft();
        let (switch, record) = self.stored_switch(parent, id)?;
        let work = match header.bits.to_target() {
            _ if is_sealed => Work::ZERO,
            Ok(target) => work_of(target),
            Err(error) => return Err(damaged(&error.to_string())),
        };
        let index = self
            .tree
            .insert_with(*id, header, work, parent, &switch)
            .map_err(|_| damaged("total work exceeds 256 bits"))?;
        if is_sealed {
            // Its seal was verified before it was stored, and is stored with it.
            self.tree.certify(index);
        }
        if let Some(record) = record {
            self.anchor_included(index, &record);
        }
        if *invalid {
            self.tree.mark_invalid(index);
        } else if *has_body {
            self.tree.body_stored(index);
        }
        Ok(())
    }

    /// Leads the connected path to the store's tip and lets it win ties.
    fn load_tip(&mut self) -> Result<(), Fault> {
        let id = self.store.state().tip;
        let unknown = || Fault(format!("the store's tip {id} is not among its headers"));
        let tip = self.tree.find(&id).ok_or_else(unknown)?;
        let height = self.tree.entry(tip).height;
        for height in 1..=height {
            let index = self
                .tree
                .ancestor(tip, height)
                .expect("at most the tip's height");
            self.tree.connected(index);
        }
        self.connected.set_tip(&self.tree, tip);
        self.tree.prefer(tip);
        Ok(())
    }

    fn load_floor(&mut self) -> Result<(), Fault> {
        self.certify_anchors();
        // The highest certified block of the connected chain: sealed, or an anchor.
        let certified = self.tree.entry(self.connected.tip()).score.floor;
        if let Some(floor) = self.connected.at(certified) {
            let moved = self.tree.set_floor(floor);
            moved.map_err(|_| Fault("a certified block was not connected".to_owned()))?;
        }
        let Some(id) = self.store.floor()? else {
            return Ok(());
        };
        let floor = self
            .tree
            .find(&id)
            .filter(|&index| self.connected.contains(&self.tree, index));
        let floor: Index =
            floor.ok_or_else(|| Fault(format!("the floor {id} is not on the connected chain")))?;
        if self.tree.is_ancestor(floor, self.tree.floor()) {
            return Ok(());
        }
        self.tree
            .set_floor(floor)
            .map_err(|_| Fault(format!("the floor {id} is not a connected block")))?;
        Ok(())
    }
}
