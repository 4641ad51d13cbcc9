//! Whole decisions between validators that hear everything, some of them silent.

use super::kit::{A, Keyed, Node, setup_of};
use crate::pbft::Input;
use cairn_protocol::bft::{Body, Verified, verify_seal};
use cairn_protocol::hash::BlockId;

fn value(i: u16) -> BlockId {
    BlockId([i as u8 + 0x10; 32])
}

/// Delivers every message to every node that is `up` until nobody says anything new.
fn settle(nodes: &mut [Node], up: &[usize], mut said: Vec<Verified>) -> usize {
    let mut delivered = 0;
    while !said.is_empty() {
        let mut next = Vec::new();
        for message in said {
            for i in up {
                if usize::from(message.message().signer) != *i {
                    next.extend(nodes[*i].take(Input::Message(message.clone())));
                    delivered += 1;
                }
            }
        }
        said = next;
    }
    delivered
}

fn network(n: u8) -> (Vec<Node>, Vec<Verified>) {
    let (mut nodes, mut said) = (Vec::new(), Vec::new());
    for i in 0..n {
        let me = u16::from(i);
        let (node, first) = Node::start(setup_of(n, me), value(me), None);
        nodes.push(node);
        said.extend(first);
    }
    (nodes, said)
}

fn check(nodes: &[Node], up: &[usize], id: BlockId) {
    for i in up {
        let (decided, seal) = nodes[*i].decided.as_ref().expect("a decision");
        assert_eq!(*decided, id, "node {i}");
        let setup = nodes[*i].core.setup();
        verify_seal(seal, &setup.scope, id, &setup.set, &Keyed).expect("a valid seal");
        assert!(nodes[*i].evidence.is_empty());
    }
}

#[test]
fn all_decide_what_the_leader_proposes() {
    for n in 1..=10 {
        let (mut nodes, said) = network(n);
        let up: Vec<_> = (0..usize::from(n)).collect();
        let delivered = settle(&mut nodes, &up, said);
        check(&nodes, &up, value(0));
        assert!(nodes.iter().all(|node| node.core.round() == 0));
        // One proposal, n PREPAREs, n COMMITs, each to n - 1.
        let n = usize::from(n);
        assert_eq!(delivered, (2 * n + 1) * (n - 1));
    }
}

/// C02: silent leaders cost a round each, up to a third of the set.
#[test]
fn silent_leaders_are_passed_over() {
    for (n, silent) in [(4, 1), (7, 1), (7, 2), (10, 3)] {
        let (mut nodes, mut said) = network(n);
        let up: Vec<_> = (silent..usize::from(n)).collect();
        said.retain(|message| usize::from(message.message().signer) >= silent);
        for round in 0..silent as u32 {
            settle(&mut nodes, &up, std::mem::take(&mut said));
            for i in &up {
                assert!(nodes[*i].decided.is_none());
                assert_eq!(nodes[*i].timer, round);
                said.extend(nodes[*i].take(Input::Timeout { round }));
            }
        }
        settle(&mut nodes, &up, said);
        check(&nodes, &up, value(silent as u16));
    }
}

/// More than a third silent: nothing is decided, and nothing is once they are back but the truth.
#[test]
fn without_a_quorum_the_instance_halts_and_resumes() {
    let (mut nodes, said) = network(4);
    let up = [0, 1];
    settle(&mut nodes, &up, said);
    for _ in 0..5 {
        let mut said = Vec::new();
        for i in up {
            let round = nodes[i].timer;
            said.extend(nodes[i].take(Input::Timeout { round }));
        }
        settle(&mut nodes, &up, said);
    }
    assert!(nodes.iter().all(|node| node.decided.is_none()));
    // They went one round on and wait there: alone they are no quorum.
    assert!(up.iter().all(|i| nodes[*i].core.round() == 1));
    // All are there again: the two ahead say again where they are, f + 1 heads, and all jump.
    let mut said = nodes[0].take(Input::Resend);
    said.extend(nodes[1].take(Input::Resend));
    settle(&mut nodes, &[0, 1, 2, 3], said);
    check(&nodes, &[0, 1, 2, 3], value(1));
    assert!(nodes.iter().all(|node| node.core.round() == 1));
}

/// C05: a value that one validator may have decided is proposed again, whoever leads.
#[test]
fn a_prepared_value_survives_the_leader() {
    let (mut nodes, mut said) = network(4);
    // Round 0 runs, but nobody hears a COMMIT but validator 0, which decides and is gone.
    let mut commits = Vec::new();
    while !said.is_empty() {
        let mut next = Vec::new();
        for message in said {
            if matches!(message.message().body, Body::Commit { .. }) {
                commits.push(message);
                continue;
            }
            for node in &mut nodes {
                next.extend(node.take(Input::Message(message.clone())));
            }
        }
        said = next;
    }
    for message in commits {
        nodes[0].take(Input::Message(message));
    }
    let decided = nodes[0].decided.as_ref().expect("a decision").0;
    assert_eq!(decided, value(0));
    let mut said = Vec::new();
    for node in &mut nodes[1..] {
        assert!(node.decided.is_none());
        said.extend(node.take(Input::Timeout { round: 0 }));
    }
    settle(&mut nodes, &[1, 2, 3], said);
    check(&nodes, &[1, 2, 3], value(0));
    assert_ne!(value(0), A);
}

/// A full disk: the node hears, decides and says nothing.
#[test]
fn a_node_that_cannot_write_is_silent() {
    let (mut nodes, said) = network(4);
    nodes[3].disk_full = true;
    let mut third = 0;
    let mut said = said;
    while !said.is_empty() {
        let mut next = Vec::new();
        for message in said {
            third += usize::from(message.message().signer == 3);
            for node in &mut nodes {
                next.extend(node.take(Input::Message(message.clone())));
            }
        }
        said = next;
    }
    check(&nodes, &[0, 1, 2, 3], value(0));
    assert_eq!(third, 0, "a vote left without a record");
    assert!(nodes[3].core.observing().is_some());
}
