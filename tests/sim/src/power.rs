//! The chain driver over the durable store, on a disk that loses power.
//!
//! Two authors in memory write a story of forks and reorganisations; a subject follows it over the
//! production store on a simulated disk, a few steps of the chain at a time, and is cut off again and
//! again: the disk keeps what was synced and any part of the rest.
//!
//! Invariants: after each cut the store opens at a tip of the story whose state is the authors' own;
//! every block that was taken before the cut is still there; at the end the subject stands where the
//! authors do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::chain::{BlockOutcome, Chain, Source};
use cairn_protocol::block::Block;
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::signature::{CachedCheck, SignatureCache};
use cairn_protocol::spec::ChainParams;
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::disk::{FakeDisk, Loss};
use cairn_storage::segment::SegmentOptions;

use crate::keys::{Scheme, Signer};
use crate::node::{Message, Node};
use crate::report::Report;
use crate::rng::Rng;
use crate::world::parameters;

/// What the authors wrote.
struct Story {
    params: Arc<ChainParams>,
    scheme: Scheme,
    blocks: Vec<Arc<Block>>,
    /// State root after each block.
    roots: BTreeMap<BlockId, Hash>,
    tip: BlockId,
    now: u32,
}

/// Runs a seed and reports what it did.
///
/// # Panics
/// If an invariant breaks.
#[must_use]
pub fn run(seed: u64) -> Report {
    let mut rng = Rng::new(seed);
    let mut report = Report::default();
    let story = write(&mut rng);
    let mut subject = Subject::open(FakeDisk::new(), &story);
    let mut at = 0;
    while at < story.blocks.len() {
        subject.take(&story, at, &mut report);
        at += 1;
        subject.move_on(&mut rng, &mut report);
        if rng.chance(120) {
            subject = subject.cut(&mut rng, &story, &mut report);
            // What came last comes again, as from a peer that does not know how much was kept.
            at = at.saturating_sub(rng.index(6));
        }
    }
    subject.finish(&story, &mut report);
    report.count("seeds");
    report
}

struct Subject {
    disk: FakeDisk,
    chain: Chain<ChainStore>,
    check: CachedCheck<Scheme>,
    taken: BTreeSet<BlockId>,
    now: Duration,
}

impl Subject {
    fn open(disk: FakeDisk, story: &Story) -> Subject {
        let options = StoreOptions {
            segments: SegmentOptions {
                segment_bytes: 30_000,
            },
            dirty_coins_max: 40,
            background_flush: false,
            ..StoreOptions::small()
        };
        let params = Arc::clone(&story.params);
        let device = Arc::new(disk.clone());
        let store = ChainStore::open(device, Path::new("/chain"), Arc::clone(&params), options);
        let chain = Chain::open(params, store.expect("a sound disk"), [5; 32]);
        Subject {
            disk,
            chain: chain.expect("a sound store"),
            check: CachedCheck::new(story.scheme, SignatureCache::new(1_000, (3, 4))),
            taken: BTreeSet::new(),
            now: Duration::ZERO,
        }
    }

    fn take(&mut self, story: &Story, at: usize, report: &mut Report) {
        let block = Block::clone(&story.blocks[at]);
        let id = block.id();
        match self
            .chain
            .accept_block(story.now, block, Source(1))
            .expect("the disk works")
        {
            BlockOutcome::Stored { .. } => {
                report.count("blocks stored");
                self.taken.insert(id);
            }
            BlockOutcome::Known => report.count("blocks known after a cut"),
            BlockOutcome::Orphan { .. } => report.count("orphans"),
            other => panic!("block {id}: {other:?}"),
        }
    }

    /// A few steps, or all; now and then a flush or the store's upkeep.
    fn move_on(&mut self, rng: &mut Rng, report: &mut Report) {
        let steps = if rng.chance(400) {
            u64::MAX
        } else {
            rng.below(4)
        };
        let mut events = Vec::new();
        for _ in 0..steps {
            if !self
                .chain
                .step(&mut self.check, &mut events)
                .expect("the disk works")
            {
                break;
            }
            report.count("steps");
        }
        match rng.below(12) {
            0 => {
                self.chain.store_mut().flush().expect("the disk works");
                report.count("flushes");
            }
            1 | 2 => {
                self.now += Duration::from_secs(rng.below(90));
                self.chain
                    .store_mut()
                    .maintain(self.now)
                    .expect("the disk works");
            }
            _ => {}
        }
    }

    /// The power goes; what the disk kept is opened again.
    fn cut(self, rng: &mut Rng, story: &Story, report: &mut Report) -> Subject {
        let loss = match rng.below(4) {
            0 => Loss::Nothing,
            1 => Loss::Unsynced,
            _ => Loss::Random,
        };
        report.count(match loss {
            Loss::Nothing => "fault: killed",
            Loss::Unsynced => "fault: power cut, nothing unsynced kept",
            Loss::Random => "fault: power cut, any part kept",
        });
        let before = self.chain.tip();
        let disk = self.disk.crashed(loss, rng.bits());
        let mut next = Subject::open(disk, story);
        let tip = next.chain.tip();
        if tip != before {
            report.count("tips taken back by a cut");
        }
        let expected = story.roots.get(&tip.id).expect("a tip of the story");
        assert_eq!(
            next.chain.state().root(),
            *expected,
            "the state of the tip after a cut"
        );
        for id in &self.taken {
            let block = next.chain.store().block(id).expect("a sound disk");
            assert!(
                block.is_some(),
                "block {id} was taken and is gone after a cut"
            );
        }
        next.taken = self.taken;
        next
    }

    fn finish(mut self, story: &Story, report: &mut Report) {
        for at in 0..story.blocks.len() {
            self.take(story, at, report);
        }
        let mut events = Vec::new();
        self.chain
            .advance(&mut self.check, &mut events)
            .expect("the disk works");
        assert_eq!(
            self.chain.tip().id,
            story.tip,
            "the subject ends where the authors do"
        );
        assert_eq!(self.chain.state().root(), story.roots[&story.tip]);
        report.at_least("max height", self.chain.tip().height);
    }
}

/// Forks of random lengths with payments; after each round both authors follow the longer branch.
fn write(rng: &mut Rng) -> Story {
    let scheme = Scheme::KeyedHash(rng.bytes());
    let signers: Vec<Signer> = (0..2).map(|_| Signer::new(scheme, rng.bytes())).collect();
    let stranger = Signer::new(scheme, rng.bytes());
    let params = Arc::new(parameters(rng, &signers, &stranger));
    let mut ignored = Report::default();
    let author =
        |(index, signer): (usize, Signer)| Node::new(Arc::clone(&params), scheme, index, 2, signer);
    let mut authors: Vec<Node> = signers.into_iter().enumerate().map(author).collect();
    let (mut blocks, mut roots) = (Vec::new(), BTreeMap::new());
    roots.insert(params.chain_id(), params.genesis_state().root());
    let mut world_ms = 0;
    for round in 0..5 {
        // One branch is always longer, so that both authors agree at the end of a round.
        let short = if round == 0 { 0 } else { rng.below(9) };
        let lengths = [short, short + 1 + rng.below(4)];
        let mut branches = [Vec::new(), Vec::new()];
        for (index, branch) in branches.iter_mut().enumerate() {
            let to = authors[1 - index].signer.lock();
            for _ in 0..lengths[index] {
                world_ms += rng.between(500, 4_000);
                let author = &mut authors[index];
                let now = author.now(world_ms);
                for _ in 0..rng.below(4) {
                    author.spend(now, rng.bits(), &to, &mut ignored);
                }
                author.mine(now, &mut ignored);
                let tip = author.chain.tip().id;
                let block = author
                    .chain
                    .store()
                    .block(&tip)
                    .expect("memory")
                    .expect("mined");
                branch.push(block);
                roots.insert(tip, author.chain.state().root());
            }
        }
        let now = authors[0].now(world_ms);
        for (index, branch) in branches.iter().enumerate() {
            let message = Message::Blocks(branch.clone());
            authors[1 - index].handle(now, index, message, &mut ignored);
        }
        assert_eq!(authors[0].chain.tip(), authors[1].chain.tip());
        let [mut a, mut b] = branches.map(Vec::into_iter);
        while a.len() + b.len() > 0 {
            let next = if rng.chance(500) {
                a.next().or_else(|| b.next())
            } else {
                b.next().or_else(|| a.next())
            };
            blocks.extend(next);
        }
    }
    let (tip, now) = (authors[0].chain.tip().id, authors[0].now(world_ms));
    Story {
        params,
        scheme,
        blocks,
        roots,
        tip,
        now,
    }
}
