//! A checker of list-append histories after Elle (Kingsbury and Alvaro, VLDB 2020).
//!
//! Each transaction appends unique values to lists and reads whole lists, so every read says the order
//! of the writes before it. From that follow the edges
//! * ww: `a`'s value stands right before `b`'s in the same list;
//! * wr: `b` read a list that ends with `a`'s value;
//! * rw: `a` read a list to which `b` then appended the next value.
//!
//! Anomalies (Adya's names): G0 a cycle of ww; G1a a read of an aborted value; G1b a read of a value that
//! its writer overwrote; G1c a cycle of ww and wr; G-single a cycle with one rw; long fork a cycle whose
//! rw edges never follow each other (snapshots never allow it); G2-item any other cycle. A committed
//! value that is in no final list is a lost update, and two reads that do not extend each other are an
//! order that no history has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub type Key = i64;
pub type Val = i64;

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    Append(Key, Val),
    Read(Key, Vec<Val>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    Unknown,
}

/// A transaction of a history.
#[derive(Debug, Clone)]
pub struct Txn {
    pub did: Vec<Did>,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    G0,
    G1a,
    G1b,
    G1c,
    GSingle,
    LongFork,
    G2Item,
    LostUpdate,
    IncompatibleOrder,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Ww,
    Wr,
    Rw,
}

/// The anomalies of a history. `last` is every list at the end.
pub fn anomalies(history: &[Txn], last: &BTreeMap<Key, Vec<Val>>) -> BTreeSet<Anomaly> {
    let mut found = BTreeSet::new();
    let mut writer: BTreeMap<(Key, Val), usize> = BTreeMap::new();
    for (index, txn) in history.iter().enumerate() {
        for did in &txn.did {
            if let Did::Append(key, value) = did {
                assert!(
                    writer.insert((*key, *value), index).is_none(),
                    "values are unique"
                );
            }
        }
    }
    let at_end: BTreeSet<(Key, Val)> = last
        .iter()
        .flat_map(|(key, list)| list.iter().map(|value| (*key, *value)))
        .collect();
    let lived: Vec<bool> = history
        .iter()
        .map(|txn| match txn.end {
            End::Committed => true,
            End::Aborted => false,
            End::Unknown => txn.did.iter().any(
                |did| matches!(did, Did::Append(key, value) if at_end.contains(&(*key, *value))),
            ),
        })
        .collect();
    for ((key, value), index) in &writer {
        match (lived[*index], at_end.contains(&(*key, *value))) {
            (true, false) => drop(found.insert(Anomaly::LostUpdate)),
            (false, true) => drop(found.insert(Anomaly::G1a)),
            _ => {}
        }
    }
    // The last append of each transaction to each list.
    let mut final_of: BTreeMap<(usize, Key), Val> = BTreeMap::new();
    for (index, txn) in history.iter().enumerate() {
        for did in &txn.did {
            if let Did::Append(key, value) = did {
                final_of.insert((index, *key), *value);
            }
        }
    }
    let mut edges: Vec<BTreeSet<(usize, Edge)>> = vec![BTreeSet::new(); history.len()];
    let mut link = |from: usize, to: usize, edge: Edge| {
        if from != to && lived[from] && lived[to] {
            edges[from].insert((to, edge));
        }
    };
    for (key, list) in last {
        let writers: Vec<usize> = list
            .iter()
            .filter_map(|value| writer.get(&(*key, *value)).copied())
            .collect();
        for pair in writers.windows(2) {
            link(pair[0], pair[1], Edge::Ww);
        }
    }
    for (index, txn) in history.iter().enumerate() {
        if !lived[index] {
            continue;
        }
        let mut own: BTreeSet<(Key, Val)> = BTreeSet::new();
        for did in &txn.did {
            let (key, list) = match did {
                Did::Append(key, value) => {
                    own.insert((*key, *value));
                    continue;
                }
                Did::Read(key, list) => (*key, list),
            };
            let foreign: Vec<Val> = list
                .iter()
                .copied()
                .filter(|value| !own.contains(&(key, *value)))
                .collect();
            let all = last.get(&key).map(Vec::as_slice).unwrap_or_default();
            if foreign
                .iter()
                .any(|value| writer.get(&(key, *value)).is_none_or(|w| !lived[*w]))
            {
                found.insert(Anomaly::G1a);
                continue;
            }
            if !all.starts_with(&foreign) {
                found.insert(Anomaly::IncompatibleOrder);
                continue;
            }
            if let Some(value) = foreign.last() {
                let from = writer[&(key, *value)];
                if from != index && final_of[&(from, key)] != *value {
                    found.insert(Anomaly::G1b);
                }
                link(from, index, Edge::Wr);
            }
            if let Some(next) = all.get(foreign.len())
                && !own.contains(&(key, *next))
            {
                link(index, writer[&(key, *next)], Edge::Rw);
            }
        }
    }
    cycles(&edges, &mut found);
    found
}

fn cycles(edges: &[BTreeSet<(usize, Edge)>], found: &mut BTreeSet<Anomaly>) {
    // Can `to` be reached from `from` by edges that `allowed` takes after the last one?
    let reaches = |from: usize, to: usize, start: Edge, allowed: &dyn Fn(Edge, Edge) -> bool| {
        let mut seen = BTreeSet::from([(from, start)]);
        let mut queue = VecDeque::from([(from, start)]);
        while let Some((at, came)) = queue.pop_front() {
            for (next, edge) in &edges[at] {
                if !allowed(came, *edge) {
                    continue;
                }
                // Closing with rw beside the first rw edge counts as two in a row.
                if *next == to && allowed(*edge, start) {
                    return true;
                }
                if seen.insert((*next, *edge)) {
                    queue.push_back((*next, *edge));
                }
            }
        }
        false
    };
    for (from, out) in edges.iter().enumerate() {
        for (to, edge) in out {
            match edge {
                Edge::Ww if reaches(*to, from, Edge::Ww, &|_, e| e == Edge::Ww) => {
                    found.insert(Anomaly::G0);
                }
                Edge::Wr if reaches(*to, from, Edge::Wr, &|_, e| e != Edge::Rw) => {
                    found.insert(Anomaly::G1c);
                }
                Edge::Rw => {
                    let single = edges_reach(edges, *to, from, |e| e != Edge::Rw);
                    let apart = reaches(*to, from, Edge::Rw, &|a, b| {
                        !(a == Edge::Rw && b == Edge::Rw)
                    });
                    let any = edges_reach(edges, *to, from, |_| true);
                    if single {
                        found.insert(Anomaly::GSingle);
                    } else if apart {
                        found.insert(Anomaly::LongFork);
                    } else if any {
                        found.insert(Anomaly::G2Item);
                    }
                }
                Edge::Ww | Edge::Wr => {}
            }
        }
    }
}

fn edges_reach(
    edges: &[BTreeSet<(usize, Edge)>],
    from: usize,
    to: usize,
    allowed: impl Fn(Edge) -> bool,
) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut queue = vec![from];
    while let Some(at) = queue.pop() {
        for (next, edge) in &edges[at] {
            if !allowed(*edge) {
                continue;
            }
            if *next == to {
                return true;
            }
            if seen.insert(*next) {
                queue.push(*next);
            }
        }
    }
    false
}
