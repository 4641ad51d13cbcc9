//! Orders a cluster for mining and cuts the order into chunks of falling fee rate.
//!
//! Two steps. *Ancestor greedy*: take, again and again, the transaction whose not yet taken
//! ancestors together pay best, with those ancestors. Then *improvement*: groups of transactions
//! sink and rise past each other while that raises the diagram, once from each end; this makes every
//! chunk connected and every tree-shaped cluster optimal, and never makes a diagram worse.
//!
//! Invariants: the order is topological; the chunks' rates never rise; the diagram is nowhere below
//! the ancestor-greedy one; the result depends on the graph alone (ties go to the lower position).
//! Rule: `spec/11-mempool.md#linearization`.

use std::cmp::Ordering;

use super::diagram::Rate;
use super::graph::Graph;
use super::members::Members;

/// A run of an order that is mined as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// What the run pays and weighs.
    pub rate: Rate,
    /// How many transactions of the order belong to it.
    pub count: usize,
}

/// An order of a cluster's positions, parents first, with its chunks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linearization {
    /// Positions, parents before children.
    pub order: Vec<usize>,
    /// Consecutive runs of `order`, best rate first.
    pub chunks: Vec<Chunk>,
}

impl Linearization {
    /// The chunks' rates: the diagram of the cluster.
    pub fn diagram(&self) -> Vec<Rate> {
        self.chunks.iter().map(|chunk| chunk.rate).collect()
    }
}

/// The order and chunks the pool uses for a cluster.
pub fn linearize(graph: &Graph) -> Linearization {
    let mut order = ancestor_greedy(graph);
    if graph.count() > 2 {
        order = improve(graph, &order, Towards::Front);
        order = improve(graph, &order, Towards::Back);
    }
    let chunks = cut(graph, &order);
    Linearization { order, chunks }
}

/// Repeatedly takes the set "transaction and its remaining ancestors" of the best rate.
pub fn ancestor_greedy(graph: &Graph) -> Vec<usize> {
    let mut remaining = graph.all();
    let mut sums: Vec<Rate> = (0..graph.count())
        .map(|position| graph.rate_of(graph.ancestors(position)))
        .collect();
    let mut order = Vec::with_capacity(graph.count());
    while let Some(best) = best_candidate(&sums, remaining) {
        let taken = graph.ancestors(best) & remaining;
        append_topologically(graph, taken, &mut order);
        remaining = remaining.without(taken);
        for position in taken.iter() {
            for descendant in (graph.descendants(position) & remaining).iter() {
                sums[descendant] = sums[descendant].minus(graph.rate(position));
            }
        }
    }
    order
}

fn best_candidate(sums: &[Rate], remaining: Members) -> Option<usize> {
    remaining.iter().reduce(|best, candidate| {
        // Of equal rates the lighter set goes first: it leaves more room to the next choice.
        let (a, b) = (&sums[candidate], &sums[best]);
        match a.cmp_rate(b).then_with(|| b.weight.cmp(&a.weight)) {
            Ordering::Greater => candidate,
            Ordering::Less | Ordering::Equal => best,
        }
    })
}

/// Appends a set closed under remaining ancestors, parents first: a transaction has strictly more
/// ancestors than any of its own.
fn append_topologically(graph: &Graph, set: Members, order: &mut Vec<usize>) {
    let from = order.len();
    order.extend(set.iter());
    order[from..].sort_by_key(|&position| (graph.ancestors(position).count(), position));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Towards {
    Front,
    Back,
}

/// A run of transactions that move together while an order is improved.
struct Group {
    set: Members,
    /// Union of the members' ancestors, the members included.
    ancestors: Members,
    rate: Rate,
    order: Vec<usize>,
}

impl Group {
    fn single(graph: &Graph, position: usize) -> Group {
        Group {
            set: Members::one(position),
            ancestors: graph.ancestors(position),
            rate: graph.rate(position),
            order: vec![position],
        }
    }

    fn followed_by(mut self, next: Group) -> Group {
        self.set |= next.set;
        self.ancestors |= next.ancestors;
        self.rate = self.rate.plus(next.rate);
        self.order.extend(next.order);
        self
    }
}

/// Rebuilds the order one transaction at a time. Towards the front, each transaction moves ahead of
/// groups that pay less, or joins the first of them that it depends on; towards the back the mirror
/// image. Groups stay topological throughout.
fn improve(graph: &Graph, order: &[usize], towards: Towards) -> Vec<usize> {
    let mut groups: Vec<Group> = Vec::with_capacity(order.len());
    match towards {
        Towards::Front => order
            .iter()
            .for_each(|&p| raise(&mut groups, Group::single(graph, p))),
        // Kept in reverse: the last element of `groups` is the front of the order built so far.
        Towards::Back => order
            .iter()
            .rev()
            .for_each(|&p| sink(&mut groups, Group::single(graph, p))),
    }
    if towards == Towards::Back {
        groups.reverse();
    }
    groups.into_iter().flat_map(|group| group.order).collect()
}

fn raise(groups: &mut Vec<Group>, mut group: Group) {
    let mut place = groups.len();
    while place > 0 && group.rate.beats(&groups[place - 1].rate) {
        place -= 1;
        if group.ancestors.meets(groups[place].set) {
            group = groups.remove(place).followed_by(group);
        }
    }
    groups.insert(place, group);
}

fn sink(groups: &mut Vec<Group>, mut group: Group) {
    let mut place = groups.len();
    while place > 0 && groups[place - 1].rate.beats(&group.rate) {
        place -= 1;
        if groups[place].ancestors.meets(group.set) {
            group = group.followed_by(groups.remove(place));
        }
    }
    groups.insert(place, group);
}

/// Cuts an order of a graph into chunks.
pub fn cut(graph: &Graph, order: &[usize]) -> Vec<Chunk> {
    cut_rates(order.iter().map(|&position| graph.rate(position)))
}

/// Cuts a sequence into chunks: an element joins the run before it while that run pays less.
pub fn cut_rates(rates: impl Iterator<Item = Rate>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for rate in rates {
        let mut chunk = Chunk { rate, count: 1 };
        while let Some(last) = chunks.pop_if(|last| chunk.rate.beats(&last.rate)) {
            chunk = Chunk {
                rate: last.rate.plus(chunk.rate),
                count: last.count + chunk.count,
            };
        }
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::super::diagram::compare;
    use super::*;
    use proptest::prelude::*;

    /// A graph from rates and edges (parent, child) with parent < child.
    fn graph(rates: &[(u64, u64)], edges: &[(usize, usize)]) -> Graph {
        let mut nodes: Vec<(Rate, Members)> = rates
            .iter()
            .map(|&(fee, weight)| (Rate::new(fee, weight), Members::EMPTY))
            .collect();
        for &(parent, child) in edges {
            nodes[child].1.insert(parent);
        }
        Graph::new(&nodes)
    }

    fn diagram_of(graph: &Graph, order: &[usize]) -> Vec<Rate> {
        cut(graph, order).iter().map(|chunk| chunk.rate).collect()
    }

    #[test]
    fn child_pays_for_parent() {
        let graph = graph(&[(1, 10), (21, 10)], &[(0, 1)]);
        let result = linearize(&graph);
        assert_eq!(result.order, vec![0, 1]);
        assert_eq!(
            result.chunks,
            vec![Chunk {
                rate: Rate::new(22, 20),
                count: 2
            }]
        );
    }

    #[test]
    fn poor_child_stays_behind_its_parent() {
        let graph = graph(&[(20, 10), (1, 10)], &[(0, 1)]);
        assert_eq!(
            linearize(&graph).diagram(),
            vec![Rate::new(20, 10), Rate::new(1, 10)]
        );
    }

    /// Two children together pay for a parent that neither would pay for alone: greedy over ancestor
    /// sets takes the lone rich transaction of a lower rate first, the improvement repairs it.
    #[test]
    fn siblings_pay_for_a_parent_together() {
        // 0: parent (0/10); 1, 2: children (12/10); 3: grandchild-free sibling of rate 0.7.
        let graph = graph(
            &[(0, 10), (12, 10), (12, 10), (7, 10)],
            &[(0, 1), (0, 2), (0, 3)],
        );
        let greedy = diagram_of(&graph, &ancestor_greedy(&graph));
        let best = linearize(&graph).diagram();
        assert_ne!(compare(&best, &greedy), Some(Ordering::Less));
        assert_eq!(best[0], Rate::new(24, 30));
    }

    /// Found by search: rising through the order cuts a chunk here that sinking leaves whole.
    #[test]
    fn both_directions_improve() {
        let rates = [(2, 4), (5, 1), (10, 3), (6, 4), (0, 3), (14, 3)];
        let edges = [(0, 1), (0, 2), (1, 5), (2, 5), (3, 5), (4, 5)];
        let graph = graph(&rates, &edges);
        let greedy = ancestor_greedy(&graph);
        let sunk = diagram_of(&graph, &improve(&graph, &greedy, Towards::Back));
        assert_eq!(sunk, vec![Rate::new(37, 18)]);
        let best = linearize(&graph).diagram();
        assert_eq!(best, vec![Rate::new(17, 8), Rate::new(20, 10)]);
        assert_eq!(best, optimal(&graph));
    }

    #[test]
    fn empty_and_full_clusters() {
        assert_eq!(linearize(&graph(&[], &[])), Linearization::default());
        let rates: Vec<(u64, u64)> = (0..64).map(|i| (i, 1)).collect();
        let edges: Vec<(usize, usize)> = (1..64).map(|i| (i - 1, i)).collect();
        let chain = linearize(&graph(&rates, &edges));
        assert_eq!(chain.order, (0..64).collect::<Vec<_>>());
        assert_eq!(
            chain.chunks,
            vec![Chunk {
                rate: Rate::new(63 * 64 / 2, 64),
                count: 64
            }]
        );
    }

    /// The best height at every weight over all topological orders, as chunks of the upper hull: the
    /// optimal diagram. For up to 7 transactions.
    fn optimal(graph: &Graph) -> Vec<Rate> {
        let all = graph.all();
        let closed = |set: Members| graph.ancestors_of(set).is_subset_of(set);
        let subsets = (0u64..1 << graph.count()).map(|bits| {
            (0..graph.count())
                .filter(|i| bits >> i & 1 == 1)
                .fold(Members::EMPTY, |mut s, i| {
                    s.insert(i);
                    s
                })
        });
        let candidates: Vec<Members> = subsets.filter(|set| closed(*set)).collect();
        let (mut done, mut chunks) = (Members::EMPTY, Vec::new());
        while done != all {
            let next = candidates
                .iter()
                .filter(|set| done.is_subset_of(**set) && **set != done)
                .map(|set| (set, graph.rate_of(set.without(done))))
                .reduce(|best, next| if next.1.beats(&best.1) { next } else { best })
                .expect("the full set is a candidate");
            done = *next.0;
            chunks.push(next.1);
        }
        chunks
    }

    fn any_graph(count_max: usize) -> impl Strategy<Value = Graph> {
        (1..=count_max).prop_flat_map(|count| {
            let rates = proptest::collection::vec((0u64..50, 1u64..8), count);
            let edges = proptest::collection::vec(any::<bool>(), count * count);
            let density = 1usize..5;
            (rates, edges, density).prop_map(move |(rates, bits, density)| {
                let edges: Vec<(usize, usize)> = (0..count)
                    .flat_map(|child| (0..child).map(move |parent| (parent, child)))
                    .filter(|(p, c)| bits[p * count + c] && (p + c) % density == 0)
                    .collect();
                graph(&rates, &edges)
            })
        })
    }

    /// A forest: every transaction has at most one parent.
    fn any_tree() -> impl Strategy<Value = Graph> {
        proptest::collection::vec((0u64..50, 1u64..8, any::<prop::sample::Index>()), 1..8).prop_map(
            |nodes| {
                let rates: Vec<(u64, u64)> = nodes.iter().map(|n| (n.0, n.1)).collect();
                let edges: Vec<(usize, usize)> = nodes
                    .iter()
                    .enumerate()
                    .map(|(child, n)| (n.2.index(child + 1), child))
                    .filter(|(parent, child)| parent != child)
                    .collect();
                graph(&rates, &edges)
            },
        )
    }

    fn assert_valid(graph: &Graph, result: &Linearization) -> Result<(), TestCaseError> {
        let mut seen = Members::EMPTY;
        for &position in &result.order {
            prop_assert!(!seen.contains(position));
            seen.insert(position);
            prop_assert!(
                graph.ancestors(position).is_subset_of(seen),
                "a child before its parent"
            );
        }
        prop_assert_eq!(seen, graph.all());
        let (mut from, mut total) = (0, Rate::default());
        for chunk in &result.chunks {
            let run = &result.order[from..from + chunk.count];
            let rate = run
                .iter()
                .fold(Rate::default(), |sum, p| sum.plus(graph.rate(*p)));
            prop_assert_eq!(rate, chunk.rate);
            from += chunk.count;
            total = total.plus(rate);
        }
        prop_assert_eq!(from, graph.count());
        prop_assert_eq!(total, graph.rate_of(graph.all()));
        prop_assert!(
            result
                .chunks
                .windows(2)
                .all(|w| !w[1].rate.beats(&w[0].rate))
        );
        Ok(())
    }

    proptest! {
        #[test]
        fn topological_and_no_worse_than_greedy(graph in any_graph(20)) {
            let result = linearize(&graph);
            assert_valid(&graph, &result)?;
            let greedy = diagram_of(&graph, &ancestor_greedy(&graph));
            let order = compare(&result.diagram(), &greedy);
            prop_assert!(matches!(order, Some(Ordering::Greater | Ordering::Equal)), "{order:?}");
        }

        #[test]
        fn never_above_the_optimum(graph in any_graph(7)) {
            let order = compare(&linearize(&graph).diagram(), &optimal(&graph));
            prop_assert!(matches!(order, Some(Ordering::Less | Ordering::Equal)), "{order:?}");
        }

        /// Every transaction has at most one child.
        #[test]
        fn optimal_on_trees_upside_down(
            nodes in proptest::collection::vec((0u64..50, 1u64..8, any::<prop::sample::Index>()), 1..8),
        ) {
            let count = nodes.len();
            let rates: Vec<(u64, u64)> = nodes.iter().map(|n| (n.0, n.1)).collect();
            let edges: Vec<(usize, usize)> = nodes
                .iter()
                .enumerate()
                .map(|(parent, n)| (parent, parent + n.2.index(count - parent)))
                .filter(|(parent, child)| parent != child)
                .collect();
            let graph = graph(&rates, &edges);
            let order = compare(&linearize(&graph).diagram(), &optimal(&graph));
            prop_assert_eq!(order, Some(Ordering::Equal));
        }

        #[test]
        fn optimal_on_trees(graph in any_tree()) {
            let order = compare(&linearize(&graph).diagram(), &optimal(&graph));
            prop_assert_eq!(order, Some(Ordering::Equal));
        }
    }
}
