//! The header tree against a plain model: every branch is walked, nothing is cached.
//!
//! One property per test; each random history is drawn from its number, and the run says how often
//! the interesting things happened.

use std::collections::BTreeMap;

use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::pow::{Bits, Work};
use ruint::aliases::U256;

use super::tree::{HeaderTree, Index, Score, Status, WorkOverflow};

/// A small generator: splitmix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

fn header(parent: BlockId, number: u32) -> Header {
    Header {
        version: HEADER_VERSION,
        parent,
        root: Hash::ZERO,
        time: number,
        bits: Bits(0x207f_ffff),
        nonce: 0,
    }
}

fn id(number: usize) -> BlockId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    BlockId(bytes)
}

fn new_tree() -> HeaderTree {
    HeaderTree::new(id(0), &header(BlockId::ZERO, 0))
}

fn work(number: u64) -> Work {
    U256::from(number)
}

/// What the model knows of one header: its number is its place.
#[derive(Clone)]
struct Known {
    parent: usize,
    work: u64,
    has_body: bool,
    is_invalid: bool,
}

struct Model(Vec<Known>);

impl Model {
    fn path(&self, at: usize) -> Vec<usize> {
        let mut path = vec![at];
        while *path.last().unwrap() != 0 {
            path.push(self.0[*path.last().unwrap()].parent);
        }
        path.reverse();
        path
    }

    fn score(&self, at: usize) -> u64 {
        self.path(at).iter().map(|&at| self.0[at].work).sum()
    }

    fn lives(&self, at: usize) -> bool {
        self.path(at).iter().all(|&at| !self.0[at].is_invalid)
    }

    fn complete(&self, at: usize) -> bool {
        self.lives(at) && self.path(at).iter().all(|&at| self.0[at].has_body)
    }

    fn best(&self, allowed: impl Fn(usize) -> bool) -> (u64, usize) {
        let best = (0..self.0.len())
            .filter(|&at| allowed(at))
            .map(|at| (self.score(at), at));
        best.max_by_key(|&(score, at)| (score, std::cmp::Reverse(at)))
            .expect("genesis")
    }
}

fn index(tree: &HeaderTree, at: usize) -> Index {
    tree.find(&id(at)).expect("in the tree")
}

fn number(tree: &HeaderTree, at: Index) -> usize {
    u64::from_be_bytes(tree.entry(at).id.0[..8].try_into().unwrap()) as usize
}

fn compare(tree: &HeaderTree, model: &Model, draw: &mut Draw) {
    let (score, best) = model.best(|at| model.lives(at));
    assert_eq!(number(tree, tree.best_header()), best);
    assert_eq!(
        tree.entry(tree.best_header()).score,
        Score {
            floor: 0,
            work: work(score)
        }
    );
    let candidate = number(tree, tree.best_candidate());
    assert!(model.complete(candidate));
    assert_eq!(
        model.score(candidate),
        model.best(|at| model.complete(at)).0
    );
    let waiting = |at: &usize| model.lives(*at) && !model.0[*at].has_body;
    assert_eq!(
        tree.header_only(),
        (0..model.0.len()).filter(waiting).count()
    );
    let (a, b) = (draw.below(model.0.len()), draw.below(model.0.len()));
    let (path_a, path_b) = (model.path(a), model.path(b));
    let shared = path_a
        .iter()
        .zip(&path_b)
        .take_while(|(x, y)| x == y)
        .count();
    let fork = tree.fork_point(index(tree, a), index(tree, b));
    assert_eq!(number(tree, fork), path_a[shared - 1]);
    for (height, &at) in path_a.iter().enumerate() {
        let ancestor = tree
            .ancestor(index(tree, a), height as u64)
            .expect("not above");
        assert_eq!(number(tree, ancestor), at);
    }
    assert_eq!(tree.ancestor(index(tree, a), path_a.len() as u64), None);
    assert_eq!(
        tree.is_ancestor(index(tree, b), index(tree, a)),
        path_a.contains(&b)
    );
    let best_path = model.path(best);
    let height = draw.below(best_path.len() + 2);
    let on_path = tree
        .on_best_header_chain(height as u64)
        .map(|at| number(tree, at));
    assert_eq!(on_path, best_path.get(height).copied());
    let dead = tree.entry(index(tree, a)).status == Status::Invalid;
    assert_eq!(dead, !model.lives(a));
}

#[test]
fn random_histories_agree_with_the_model() {
    let (mut inserted, mut bodies, mut condemned) = (0, 0, 0);
    for history in 0..300 {
        let mut draw = Draw(history);
        let mut tree = new_tree();
        let root = Known {
            parent: 0,
            work: 0,
            has_body: true,
            is_invalid: false,
        };
        let mut model = Model(vec![root]);
        for _ in 0..60 {
            match draw.below(10) {
                0..=5 => {
                    // Mostly near the end, so that branches get long.
                    let len = model.0.len();
                    let parent = len - 1 - draw.below(len.min(4));
                    let work_here = 1 + draw.below(3) as u64;
                    let (id, at) = (id(len), index(&tree, parent));
                    let header = header(tree.entry(at).id, len as u32);
                    tree.insert(id, &header, work(work_here), at)
                        .expect("no overflow");
                    let known = Known {
                        parent,
                        work: work_here,
                        has_body: false,
                        is_invalid: false,
                    };
                    model.0.push(known);
                    inserted += 1;
                }
                6..=8 => {
                    let at = draw.below(model.0.len());
                    tree.body_stored(index(&tree, at));
                    bodies += usize::from(!model.0[at].has_body && model.lives(at));
                    model.0[at].has_body |= model.lives(at);
                }
                _ => {
                    let at = draw.below(model.0.len());
                    if at != 0 && draw.below(3) == 0 {
                        tree.mark_invalid(index(&tree, at));
                        condemned += usize::from(model.lives(at));
                        model.0[at].is_invalid = true;
                    }
                }
            }
            compare(&tree, &model, &mut draw);
        }
    }
    println!("300 histories: {inserted} headers, {bodies} bodies, {condemned} condemned");
    assert!(inserted > 8_000 && bodies > 2_000 && condemned > 200);
}

/// First seen wins: among complete branches of equal score, the one whose bodies were there first.
#[test]
fn of_equal_candidates_the_first_complete_wins() {
    let mut tree = new_tree();
    let genesis = Index::GENESIS;
    let a = tree
        .insert(id(1), &header(id(0), 1), work(5), genesis)
        .unwrap();
    let b = tree
        .insert(id(2), &header(id(0), 2), work(5), genesis)
        .unwrap();
    tree.body_stored(b);
    tree.body_stored(a);
    assert_eq!((tree.best_header(), tree.best_candidate()), (a, b));
    tree.prefer(a);
    assert_eq!(tree.best_candidate(), a);
}

/// H12: total work that does not fit 256 bits is refused and changes nothing.
#[test]
fn total_work_is_checked() {
    let mut tree = new_tree();
    let near = tree
        .insert(
            id(1),
            &header(id(0), 1),
            Work::MAX - work(1),
            Index::GENESIS,
        )
        .unwrap();
    tree.insert(id(2), &header(id(1), 2), work(1), near)
        .unwrap();
    assert_eq!(
        tree.insert(id(3), &header(id(1), 3), work(2), near),
        Err(WorkOverflow)
    );
    assert_eq!((tree.len(), tree.find(&id(3))), (3, None));
}

/// A certified block outranks any work without a certificate that high.
#[test]
fn a_certificate_outranks_work() {
    let mut tree = new_tree();
    let light = tree
        .insert(id(1), &header(id(0), 1), work(1), Index::GENESIS)
        .unwrap();
    let heavy = tree
        .insert(id(2), &header(id(0), 2), work(100), Index::GENESIS)
        .unwrap();
    let child = tree
        .insert(id(3), &header(id(1), 3), work(1), light)
        .unwrap();
    for at in [light, heavy, child] {
        tree.body_stored(at);
    }
    assert_eq!((tree.best_header(), tree.best_candidate()), (heavy, heavy));
    tree.certify(light);
    assert_eq!((tree.best_header(), tree.best_candidate()), (child, child));
    // A descendant that comes later inherits it.
    let later = tree
        .insert(id(4), &header(id(3), 4), work(1), child)
        .unwrap();
    assert_eq!(
        tree.entry(later).score,
        Score {
            floor: 1,
            work: work(3)
        }
    );
    assert_eq!(tree.best_header(), later);
}

#[test]
fn the_floor_gives_up_what_leaves_below_it() {
    let mut tree = new_tree();
    let mut chain = vec![Index::GENESIS];
    for at in 1..=6 {
        let parent = *chain.last().unwrap();
        chain.push(
            tree.insert(id(at), &header(id(at - 1), at as u32), work(1), parent)
                .unwrap(),
        );
    }
    let side = |tree: &mut HeaderTree, at: usize, parent: Index| {
        tree.insert(
            id(at),
            &header(tree.entry(parent).id, at as u32),
            work(50),
            parent,
        )
        .unwrap()
    };
    let below = side(&mut tree, 10, chain[2]);
    let below_child = side(&mut tree, 11, below);
    let above = side(&mut tree, 12, chain[4]);
    assert_eq!(
        tree.set_floor(chain[3]),
        Err(Index::GENESIS),
        "not connected yet"
    );
    for &at in &chain[1..] {
        tree.body_stored(at);
        tree.connected(at);
    }
    assert_eq!(tree.set_floor(chain[3]), Ok(true));
    assert_eq!(tree.set_floor(chain[3]), Ok(false));
    assert_eq!(tree.set_floor(chain[2]), Err(chain[3]), "it never sinks");
    for (at, status) in [
        (below, Status::Abandoned),
        (below_child, Status::Abandoned),
        (above, Status::HeaderOnly),
        (chain[3], Status::Connected),
    ] {
        assert_eq!(tree.entry(at).status, status);
    }
    assert_eq!(
        (tree.best_header(), tree.best_candidate()),
        (above, chain[6])
    );
    let late = side(&mut tree, 13, below_child);
    assert_eq!(
        tree.entry(late).status,
        Status::Abandoned,
        "a late child shares the fate"
    );
}

/// H01: side branches are forgotten from the weakest on; all that matters stays, and says the same
/// under its new index.
#[test]
fn shedding_keeps_what_matters() {
    let mut kept_branches = 0;
    for history in 0..40 {
        let mut draw = Draw(1_000 + history);
        let mut tree = new_tree();
        let mut paths: BTreeMap<usize, Vec<usize>> = BTreeMap::from([(0, vec![0])]);
        for at in 1..=400 {
            let parent = if draw.below(3) == 0 {
                draw.below(at)
            } else {
                at - 1
            };
            let parent_index = index(&tree, parent);
            let header = header(id(parent), at as u32);
            tree.insert(
                id(at),
                &header,
                work(1 + draw.below(4) as u64),
                parent_index,
            )
            .unwrap();
            let mut path = paths[&parent].clone();
            path.push(at);
            paths.insert(at, path);
        }
        let condemned = index(&tree, 1 + draw.below(400));
        for _ in 0..60 {
            tree.body_stored(index(&tree, draw.below(401)));
        }
        tree.mark_invalid(condemned);
        let (best, candidate) = (tree.best_header(), tree.best_candidate());
        let before: Vec<(usize, Status)> = (0..401)
            .map(|at| (at, tree.entry(index(&tree, at)).status))
            .collect();
        let (best, candidate) = (number(&tree, best), number(&tree, candidate));
        assert!(
            tree.clone().shed(1_000).is_none(),
            "nothing to do below the bound"
        );
        let side_max = 60;
        let Some(remap) = tree.shed(side_max) else {
            continue;
        };
        assert_eq!(
            (
                number(&tree, tree.best_header()),
                number(&tree, tree.best_candidate())
            ),
            (best, candidate)
        );
        let mut spare = 0;
        for (at, status) in before {
            let Some(index) = tree.find(&id(at)) else {
                assert!(
                    !matches!(status, Status::Stored | Status::Connected),
                    "a body's entry went"
                );
                assert!(
                    !paths[&best].contains(&at),
                    "an entry of the best header chain went"
                );
                continue;
            };
            assert_eq!(tree.entry(index).status, status);
            for (height, &ancestor) in paths[&at].iter().enumerate() {
                let found = tree.ancestor(index, height as u64).expect("not above");
                assert_eq!(number(&tree, found), ancestor);
            }
            assert_eq!(tree.entry(index).height + 1, paths[&at].len() as u64);
            spare += usize::from(!paths[&best].contains(&at) && status == Status::HeaderOnly);
        }
        kept_branches += usize::from(spare > 0);
        assert!(remap.get(Index::GENESIS) == Some(Index::GENESIS));
        let living = |at: &usize| {
            tree.find(&id(*at))
                .is_some_and(|at| tree.entry(at).status == Status::HeaderOnly)
        };
        assert_eq!(tree.header_only(), (0..401).filter(living).count());
        // The tree goes on growing where it was.
        let tip = tree.best_header();
        let next = header(tree.entry(tip).id, 1);
        let grown = tree.insert(id(9_999), &next, work(1), tip).unwrap();
        assert_eq!(tree.best_header(), grown);
    }
    assert!(
        kept_branches >= 10,
        "{kept_branches} of 40 runs kept side branches"
    );
}
