//! What must hold when the world has come to rest.
//!
//! Everyone stands at one tip, with the state and the coins of a fresh replay from genesis; the money
//! is what the subsidy table says; the adversary owns nothing.

use std::sync::Arc;

use cairn_protocol::ledger::BlockStore;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::Amount;

use crate::adversary::Adversary;
use crate::node::{Message, Node};
use crate::report::Report;

/// Checks a world at rest.
///
/// # Panics
/// If something does not hold.
pub fn check(
    params: &Arc<ChainParams>,
    nodes: &[Node],
    adversary: Option<&Adversary>,
    report: &mut Report,
) {
    let fresh = replay(params, nodes);
    for node in nodes {
        assert_eq!(
            node.chain.tip(),
            fresh.chain.tip(),
            "tips differ from a fresh replay"
        );
        let (found, expected) = (node.chain.state().root(), fresh.chain.state().root());
        assert_eq!(found, expected, "the state differs from a fresh replay");
        assert_eq!(node.chain.store().coins(), fresh.chain.store().coins());
        assert!(node.chain.orphans().len() <= 200, "orphans are bounded");
    }
    check_money(params, &nodes[0], adversary);
    report.at_least("max height", nodes[0].chain.tip().height);
    report.count("seeds");
}

/// A new node that was given the blocks of the chain that won, and nothing else.
fn replay(params: &Arc<ChainParams>, nodes: &[Node]) -> Node {
    let winner = &nodes[0];
    let count = nodes.len();
    let signer = winner.signer.clone();
    let mut fresh = Node::new(Arc::clone(params), winner.scheme(), count, count, signer);
    let mut ignored = Report::default();
    for height in 1..=winner.chain.tip().height {
        let id = winner.chain.connected_at(height).expect("on the chain").id;
        let block = winner
            .chain
            .store()
            .block(&id)
            .expect("memory")
            .expect("stored");
        let time = block.header.time;
        fresh.handle(time, 0, Message::Blocks(vec![block]), &mut ignored);
    }
    fresh
}

fn check_money(params: &ChainParams, node: &Node, adversary: Option<&Adversary>) {
    let coins = node.chain.store().coins().values();
    let sum: u64 = coins.clone().map(|coin| coin.output.value.0).sum();
    let engine = &node.chain.state().engine;
    assert_eq!(engine.supply().0, sum, "the supply is the sum of all coins");
    let funded = params
        .genesis_coins()
        .iter()
        .map(|(_, coin)| coin.output.value.0);
    let mut issued: u64 = funded.sum();
    for height in 1..=node.chain.tip().height {
        issued += params.subsidy(height, Amount(issued)).0;
    }
    let found = (engine.issued.0, engine.burned.0);
    assert_eq!(found, (issued, 0), "issued by the table, nothing burned");
    if let Some(adversary) = adversary {
        let stolen = coins
            .filter(|coin| coin.output.lock == *adversary.lock())
            .count();
        assert_eq!(stolen, 0, "the adversary owns coins");
    }
}
