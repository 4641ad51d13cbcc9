//! The chain by its header records alone.

use cairn_consensus::sealed::HeaderVerifier;
use cairn_fixtures::seal::{eras_file, pbft_file, seal_by};
use cairn_protocol::signature::Ed25519;

use crate::world::Node;

#[test]
fn records_alone_prove_the_chain_over_every_era() {
    let mut node = Node::new(eras_file(12, 24));
    node.grow(30);
    let records = node.records(1);
    let mut verifier = HeaderVerifier::new(node.chain.params().clone());
    for record in &records {
        verifier
            .push(record, &Ed25519)
            .expect("a record of the chain");
    }
    let found = verifier.found();
    let tip = node.chain.tip();
    assert_eq!((found.height, found.id, found.work), (30, tip.id, tip.work));
    assert_eq!((found.certified_height, found.seals), (23, 23));
    assert_eq!(found.certified_id, node.chain.floor().id);
}

#[test]
fn the_tip_counts_as_certified_only_with_its_own_seal() {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(6);
    let mut records = node.records(1);
    let take = |records: &[_]| {
        let mut verifier = HeaderVerifier::new(node.chain.params().clone());
        for record in records {
            verifier.push(record, &Ed25519)?;
        }
        Ok::<_, cairn_protocol::rules::Violation>(verifier.found())
    };
    assert_eq!(take(&records).unwrap().certified_height, 6);
    assert_eq!(take(&records[1..]).unwrap_err().id(), "HDR-02");
    let place = (6, records[5].header.id(), 0);
    let seal = std::mem::take(&mut records[5].seal);
    assert!(seal.is_some());
    let found = take(&records).unwrap();
    assert_eq!((found.height, found.certified_height), (6, 5));
    records[5].seal = Some(seal_by(node.params(), place, [2, 3]));
    assert_eq!(take(&records).unwrap_err().id(), "HDR-17");
    records[5].seal = seal;
    let place = (3, records[2].header.id(), 0);
    records[3].parent_seal = Some(seal_by(node.params(), place, [2, 3]));
    assert_eq!(take(&records).unwrap_err().id(), "HDR-16");
    records[3].parent_seal = None;
    assert_eq!(take(&records).unwrap_err().id(), "HDR-15");
}
