//! The header tree: every header that passed its rules, its total work, its status, and which
//! branch is best.
//!
//! Entries live in one vector, parents always before their children; a skip pointer per entry makes
//! any ancestor reachable in a logarithmic number of steps.
//!
//! ```text
//!   genesis ── 1 ── 2 ── 3 ── 4        status of each: header only, stored, connected, invalid, abandoned
//!               └── 2' ── 3'           score of a branch: (floor, total work, first seen)
//! ```
//!
//! Invariants: work is a checked 256-bit sum; a descendant of an invalid entry is invalid; a
//! descendant of the parent of the finalized floor that is not the floor's is abandoned;
//! `best_candidate` has every body from genesis on.
//!
//! Rule: `spec/06-proof-of-work.md#fork-choice`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::hash::BlockId;
use cairn_protocol::header::Header;
use cairn_protocol::pow::{Bits, Work};
use cairn_protocol::state::SwitchState;
use cairn_protocol::units::Height;

use super::path::Path;
use super::shed::Remap;
use super::switches::SwitchTable;

/// Place of an entry in the tree. Indexes of different trees, or from before headers were shed,
/// do not mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Index(pub(super) u32);

impl Index {
    /// The entry of genesis.
    pub const GENESIS: Index = Index(0);

    fn at(self) -> usize {
        self.0 as usize
    }
}

/// What is known of the block behind a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The header passed its rules; no body yet.
    HeaderOnly,
    /// The body is stored and bound to the header; its transactions were not judged yet.
    Stored,
    /// The block was connected once: it is valid, on the present chain or not.
    Connected,
    /// The block or an ancestor broke a rule.
    Invalid,
    /// The branch leaves the chain below the finalized floor.
    Abandoned,
}

/// The order of branches: floor, then total work. Equal scores: the first seen wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Score {
    /// Height of the highest certified or anchored block on the branch; 0 in pure proof of work.
    pub floor: Height,
    /// Sum of the work of all headers from genesis on.
    pub work: Work,
}

/// One header.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The block's id.
    pub id: BlockId,
    /// Height; genesis is 0.
    pub height: Height,
    /// The header's time.
    pub time: u32,
    /// The header's bits.
    pub bits: Bits,
    /// Floor and total work up to here.
    pub score: Score,
    /// What is known of the block.
    pub status: Status,
    /// Place of the switch state after it among the tree's distinct ones.
    switch: u32,
    parent: Index,
    skip: Index,
    first_child: Option<Index>,
    next_sibling: Option<Index>,
    /// Turn in which the last body from genesis to here arrived; smaller is earlier.
    complete_since: Option<u64>,
}

impl Entry {
    fn has_body(&self) -> bool {
        matches!(self.status, Status::Stored | Status::Connected)
    }
}

/// Total work does not fit 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkOverflow;

/// The header tree.
#[derive(Clone, Debug)]
pub struct HeaderTree {
    entries: Vec<Entry>,
    by_id: BTreeMap<BlockId, Index>,
    best_header: Path,
    candidates: BTreeSet<(Score, Reverse<u64>, Index)>,
    floor: Index,
    header_only: usize,
    turn: u64,
    switches: SwitchTable,
}

impl HeaderTree {
    /// A tree of genesis alone, which counts as connected and is the floor. Genesis has no work.
    #[must_use]
    pub fn new(genesis: BlockId, header: &Header) -> HeaderTree {
        let score = Score {
            floor: 0,
            work: Work::ZERO,
        };
        let entry = Entry {
            id: genesis,
            height: 0,
            time: header.time,
            bits: header.bits,
            score,
            status: Status::Connected,
            switch: 0,
            parent: Index::GENESIS,
            skip: Index::GENESIS,
            first_child: None,
            next_sibling: None,
            complete_since: Some(0),
        };
        HeaderTree {
            entries: vec![entry],
            by_id: BTreeMap::from([(genesis, Index::GENESIS)]),
            best_header: Path::new(),
            candidates: BTreeSet::from([(score, Reverse(0), Index::GENESIS)]),
            floor: Index::GENESIS,
            header_only: 0,
            turn: 0,
            switches: SwitchTable::new(),
        }
    }

    /// The entry at `index`.
    #[must_use]
    pub fn entry(&self, index: Index) -> &Entry {
        &self.entries[index.at()]
    }

    /// The entry of a block id, if its header is known.
    #[must_use]
    pub fn find(&self, id: &BlockId) -> Option<Index> {
        self.by_id.get(id).copied()
    }

    /// Number of entries, genesis included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: genesis is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The parent, `None` for genesis.
    #[must_use]
    pub fn parent(&self, index: Index) -> Option<Index> {
        (index != Index::GENESIS).then(|| self.entry(index).parent)
    }

    /// The ancestor at `height`, `index` itself included; `None` above it.
    #[must_use]
    pub fn ancestor(&self, index: Index, height: Height) -> Option<Index> {
        let mut at = index;
        if self.entry(at).height < height {
            return None;
        }
        while self.entry(at).height > height {
            let skip = self.entry(at).skip;
            at = if self.entry(skip).height >= height {
                skip
            } else {
                self.entry(at).parent
            };
        }
        Some(at)
    }

    /// Whether `ancestor` is `index` or one of its ancestors.
    #[must_use]
    pub fn is_ancestor(&self, ancestor: Index, index: Index) -> bool {
        self.ancestor(index, self.entry(ancestor).height) == Some(ancestor)
    }

    /// The highest common ancestor of two entries.
    #[must_use]
    pub fn fork_point(&self, a: Index, b: Index) -> Index {
        let (mut low, mut high) = (0, self.entry(a).height.min(self.entry(b).height));
        // Genesis is common; search the highest common height.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.ancestor(a, middle) == self.ancestor(b, middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.ancestor(a, low).expect("low is at most a's height")
    }

    /// Times of the last `min(11, n)` headers that end at `index`, newest first.
    #[must_use]
    pub fn recent_times(&self, index: Index) -> Vec<u32> {
        let mut times = Vec::with_capacity(cairn_protocol::limits::MEDIAN_TIMES);
        let mut at = Some(index);
        while let (Some(index), true) = (at, times.len() < cairn_protocol::limits::MEDIAN_TIMES) {
            times.push(self.entry(index).time);
            at = self.parent(index);
        }
        times
    }

    /// The switch state after an entry.
    #[must_use]
    pub fn switch(&self, index: Index) -> &SwitchState {
        self.switches.get(self.entry(index).switch)
    }

    /// Adds a header after which the switch state is its parent's; see [`HeaderTree::insert_with`].
    ///
    /// # Panics
    /// If the id is known already.
    ///
    /// # Errors
    /// If the total work would exceed 256 bits; the tree is unchanged.
    pub fn insert(
        &mut self,
        id: BlockId,
        header: &Header,
        work: Work,
        parent: Index,
    ) -> Result<Index, WorkOverflow> {
        let switch = *self.switch(parent);
        self.insert_with(id, header, work, parent, &switch)
    }

    /// Adds a header whose rules were checked, and the switch state after it. A child of an invalid
    /// or abandoned entry shares its fate.
    ///
    /// # Panics
    /// If the id is known already.
    ///
    /// # Errors
    /// If the total work would exceed 256 bits; the tree is unchanged.
    pub fn insert_with(
        &mut self,
        id: BlockId,
        header: &Header,
        work: Work,
        parent: Index,
        switch: &SwitchState,
    ) -> Result<Index, WorkOverflow> {
        let above = self.entry(parent);
        let total = above.score.work.checked_add(work).ok_or(WorkOverflow)?;
        let status = match above.status {
            Status::Invalid => Status::Invalid,
            Status::Abandoned => Status::Abandoned,
            _ => Status::HeaderOnly,
        };
        let height = above.height + 1;
        let score = Score {
            floor: above.score.floor,
            work: total,
        };
        let next_sibling = above.first_child;
        let index = Index(u32::try_from(self.entries.len()).expect("fewer than 2^32 headers"));
        let switch = self.switches.place_of(above.switch, switch);
        let skip = self
            .ancestor(parent, skip_height(height))
            .expect("a skip is below the parent");
        let known = self.by_id.insert(id, index);
        assert!(known.is_none(), "header {id} inserted twice");
        self.entries[parent.at()].first_child = Some(index);
        self.entries.push(Entry {
            id,
            height,
            time: header.time,
            bits: header.bits,
            score,
            status,
            switch,
            parent,
            skip,
            first_child: None,
            next_sibling,
            complete_since: None,
        });
        if status == Status::HeaderOnly {
            self.header_only += 1;
            self.consider_header(index);
        }
        Ok(index)
    }

    /// The header with the best score, bodies aside; of equals the first seen.
    #[must_use]
    pub fn best_header(&self) -> Index {
        self.best_header.tip()
    }

    /// The entry at `height` on the branch of the best header.
    #[must_use]
    pub fn on_best_header_chain(&self, height: Height) -> Option<Index> {
        self.best_header.at(height)
    }

    /// The best branch whose bodies are all there: what the connected tip moves toward.
    #[must_use]
    pub fn best_candidate(&self) -> Index {
        let (_, _, index) = self
            .candidates
            .last()
            .expect("the connected tip is a candidate at least");
        *index
    }

    /// Number of entries without a body on living branches.
    #[must_use]
    pub fn header_only(&self) -> usize {
        self.header_only
    }

    /// The finalized floor: genesis unless one was set.
    #[must_use]
    pub fn floor(&self) -> Index {
        self.floor
    }

    /// Records that the body of `index` is stored; it and waiting descendants may become
    /// candidates.
    pub fn body_stored(&mut self, index: Index) {
        if self.entry(index).status != Status::HeaderOnly {
            return;
        }
        self.entries[index.at()].status = Status::Stored;
        self.header_only -= 1;
        self.spread_completeness(index);
    }

    /// Records that the block of `index` was connected: it is valid.
    pub fn connected(&mut self, index: Index) {
        debug_assert!(self.entry(index).has_body());
        self.entries[index.at()].status = Status::Connected;
        // A candidate weaker than a connected tip can win again only through an invalid block above
        // the tip, and then the tip itself is stronger.
        let score = self.entry(index).score;
        while let Some(weakest) = self.candidates.first().copied() {
            if weakest.0 >= score {
                break;
            }
            self.candidates.remove(&weakest);
        }
    }

    /// Marks an entry and all its descendants invalid; returns their ids, the entry's first.
    ///
    /// # Panics
    /// If the entry is the floor or an ancestor of it: a finalized block cannot become invalid.
    pub fn mark_invalid(&mut self, index: Index) -> Vec<BlockId> {
        assert!(
            !self.is_ancestor(index, self.floor),
            "finalized block {} turned invalid",
            self.entry(index).id
        );
        let marked = self.mark_branch(index, Status::Invalid);
        marked.iter().map(|&index| self.entry(index).id).collect()
    }

    /// Raises the floor: no branch that leaves the chain below `index` is chosen any more. Returns
    /// whether it moved.
    ///
    /// # Errors
    /// The present floor, if `index` does not descend from it (two histories are final, which only
    /// an operator can resolve), was not connected, or is invalid.
    pub fn set_floor(&mut self, index: Index) -> Result<bool, Index> {
        if self.entry(index).status != Status::Connected || !self.is_ancestor(self.floor, index) {
            return Err(self.floor);
        }
        if index == self.floor {
            return Ok(false);
        }
        let old = std::mem::replace(&mut self.floor, index);
        let mut inside = index;
        while inside != old {
            let above = self.entry(inside).parent;
            for child in self.children(above).collect::<Vec<_>>() {
                if child != inside && self.entry(child).status != Status::Invalid {
                    self.mark_branch(child, Status::Abandoned);
                }
            }
            inside = above;
        }
        // A weaker branch may have become the only one: the connected tip's own candidates were
        // dropped with it.
        for at in self.descendants(index) {
            self.offer_candidate(at);
        }
        Ok(true)
    }

    /// Lets `index` win ties against every other entry: the tip that a store reopened with was seen
    /// first.
    pub fn prefer(&mut self, index: Index) {
        if let Some(key) = self.candidate_key(index) {
            self.candidates.remove(&key);
            self.entries[index.at()].complete_since = Some(0);
            self.offer_candidate(index);
        }
    }

    /// Records a certificate for `index`: its branch outranks every branch without one that high.
    pub fn certify(&mut self, index: Index) {
        let height = self.entry(index).height;
        for at in self.descendants(index) {
            if self.entry(at).score.floor >= height {
                continue;
            }
            let key = self.candidate_key(at);
            let was_candidate = key.is_some_and(|key| self.candidates.remove(&key));
            self.entries[at.at()].score.floor = height;
            if was_candidate || self.entry(at).complete_since.is_some() {
                self.offer_candidate(at);
            }
            if !matches!(self.entry(at).status, Status::Invalid | Status::Abandoned) {
                self.consider_header(at);
            }
        }
    }

    /// The entry and all its descendants, parents first.
    fn descendants(&self, index: Index) -> Vec<Index> {
        let mut found = vec![index];
        let mut next = 0;
        while let Some(&at) = found.get(next) {
            found.extend(self.children(at));
            next += 1;
        }
        found
    }

    fn children(&self, index: Index) -> impl Iterator<Item = Index> + '_ {
        std::iter::successors(self.entry(index).first_child, |&child| {
            self.entry(child).next_sibling
        })
    }

    /// Sets a dead status on a branch and forgets it as candidate and best header.
    fn mark_branch(&mut self, index: Index, status: Status) -> Vec<Index> {
        let branch = self.descendants(index);
        let lost_best = self.is_ancestor(index, self.best_header());
        for &at in &branch {
            if let Some(key) = self.candidate_key(at) {
                self.candidates.remove(&key);
            }
            let entry = &mut self.entries[at.at()];
            if entry.status == Status::HeaderOnly {
                self.header_only -= 1;
            }
            entry.complete_since = None;
            entry.status = status;
        }
        if lost_best {
            self.search_best_header();
        }
        if self.candidates.is_empty() {
            // The connected tip itself was condemned, and what is weaker was dropped when it was
            // connected.
            for index in (0..self.entries.len() as u32).map(Index) {
                self.offer_candidate(index);
            }
        }
        branch
    }

    /// Moves every entry to its new place; those without one are gone.
    pub(super) fn apply(&mut self, remap: &Remap) {
        const CLOSED: &str = "what is kept is closed under parents";
        let mut entries = Vec::new();
        for (at, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            if remap.get(Index(at as u32)).is_none() {
                self.header_only -= usize::from(entry.status == Status::HeaderOnly);
                continue;
            }
            let parent = remap.get(entry.parent).expect(CLOSED);
            let skip = remap.get(entry.skip).expect(CLOSED);
            entries.push(Entry {
                parent,
                skip,
                first_child: None,
                next_sibling: None,
                ..entry
            });
        }
        self.entries = entries;
        let used = self.entries.iter_mut().map(|entry| &mut entry.switch);
        self.switches.keep(used);
        for at in 1..self.entries.len() {
            let index = Index(at as u32);
            let parent = self.entries[at].parent;
            self.entries[at].next_sibling = self.entries[parent.at()].first_child.replace(index);
        }
        self.by_id = self
            .entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.id, Index(at as u32)))
            .collect();
        let candidates = std::mem::take(&mut self.candidates);
        let place = |index| remap.get(index).expect("a candidate has its body");
        self.candidates = candidates
            .into_iter()
            .map(|(score, turn, index)| (score, turn, place(index)))
            .collect();
        self.floor = remap.get(self.floor).expect("the floor was connected");
        self.best_header.remap(remap);
    }

    fn candidate_key(&self, index: Index) -> Option<(Score, Reverse<u64>, Index)> {
        let entry = self.entry(index);
        entry
            .complete_since
            .map(|turn| (entry.score, Reverse(turn), index))
    }

    fn offer_candidate(&mut self, index: Index) {
        if let Some(key) = self.candidate_key(index) {
            self.candidates.insert(key);
        }
    }

    /// Gives `index` and its descendants with bodies their turn, if its parent has all bodies.
    fn spread_completeness(&mut self, index: Index) {
        let parent = self.entry(index).parent;
        if self.entry(parent).complete_since.is_none() {
            return;
        }
        let mut open = vec![index];
        while let Some(at) = open.pop() {
            if !self.entry(at).has_body() || self.entry(at).complete_since.is_some() {
                continue;
            }
            self.turn += 1;
            self.entries[at.at()].complete_since = Some(self.turn);
            self.offer_candidate(at);
            open.extend(self.children(at));
        }
    }

    fn consider_header(&mut self, index: Index) {
        if self.entry(index).score > self.entry(self.best_header()).score {
            let mut path = std::mem::take(&mut self.best_header);
            path.set_tip(self, index);
            self.best_header = path;
        }
    }

    /// Finds the best living header again, after its branch died.
    fn search_best_header(&mut self) {
        let living = (0..self.entries.len() as u32).map(Index).filter(|&index| {
            !matches!(
                self.entry(index).status,
                Status::Invalid | Status::Abandoned
            )
        });
        let best = living.max_by_key(|&index| (self.entry(index).score, Reverse(index)));
        let mut path = std::mem::take(&mut self.best_header);
        path.set_tip(self, best.expect("genesis lives"));
        self.best_header = path;
    }
}

/// Height that the skip pointer of an entry at `height` leads to: alternating long and short jumps,
/// so that any ancestor is a logarithmic number of steps away.
fn skip_height(height: Height) -> Height {
    let without_lowest_bit = |x: Height| x & x.wrapping_sub(1);
    match height {
        0 | 1 => 0,
        odd if odd % 2 == 1 => without_lowest_bit(without_lowest_bit(odd - 1)) + 1,
        even => without_lowest_bit(even),
    }
}
