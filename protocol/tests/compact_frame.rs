//! What a node that forwards a compact block can know without its transactions: the rules of
//! coinbase and attachments, judged from the compact form, give the verdicts of `blocks.json`.
//! A relay that left them out forwarded any coinbase under a valid proof of work.
//!
//! Rules: `spec/08-sync.md#relay`.

use cairn_protocol::block::Block;
use cairn_protocol::ledger::check_frame;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::wire::{CompactBlock, short_ids};
use serde_json::Value;

const FRAME_RULES: [&str; 7] = [
    "BLK-04", "BLK-05", "BLK-06", "BLK-08", "BLK-09", "BLK-12", "TX-09",
];

fn compact(block: &Block) -> CompactBlock {
    let ids: Vec<_> = block.transactions.iter().map(|tx| tx.ids()).collect();
    CompactBlock {
        header: block.header,
        tx_root: block.record().tx_root,
        extension: block.extension.clone(),
        coinbase: block.coinbase.clone(),
        attachments: block.attachments.clone(),
        seal: Default::default(),
        short_ids: short_ids(&block.id(), &ids),
    }
}

#[test]
fn the_frame_of_a_compact_block_keeps_its_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/vectors/blocks.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let params = ChainParams::from_toml(file["spec"].as_str().unwrap()).unwrap();
    let mut broken = std::collections::BTreeSet::new();
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let rule = case["rule"].as_str().unwrap();
        let block = hex::decode(case["block"].as_str().unwrap()).unwrap();
        let compact = compact(&Block::from_bytes(&block).unwrap());
        let outcome = compact.check(&params).map_err(|v| v.id());
        if case["valid"] == false && FRAME_RULES.contains(&rule) {
            assert!(compact.is_bound(), "{name}: its root commits to it");
            assert_eq!(outcome, Err(rule), "{name}");
            broken.insert(rule);
        } else if rule != "BLK-03" {
            assert_eq!(outcome, Ok(()), "{name}: its transactions decide");
        }
    }
    assert_eq!(broken.len(), FRAME_RULES.len(), "{broken:?}");
    // BLK-07 as far as it shows: header, extension and coinbase alone exceed a tiny limit.
    let block = &file["cases"][0]["block"];
    let block = Block::from_bytes(&hex::decode(block.as_str().unwrap()).unwrap()).unwrap();
    let mut limits = *params.limits();
    limits.block_weight_max = 100;
    let frame = check_frame(
        &block.extension,
        &block.coinbase,
        &block.attachments,
        &limits,
    );
    assert_eq!(frame.map_err(|v| v.id()), Err("BLK-07"));
}
