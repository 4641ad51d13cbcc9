//! The header vectors of `spec/vectors/` against the chain driver and the retarget: each valid record
//! is taken, each other one breaks exactly the rule that it names.
//!
//! Rules: `spec/06-proof-of-work.md#headers`, `spec/05-blocks-and-state.md#extension`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cairn_consensus::asert::{Anchor, Pace, next_target};
use cairn_consensus::chain::{BlockOutcome, Chain, MemoryStore, Source};
use cairn_consensus::nakamoto::{HeaderTree, Index};
use cairn_fixtures::TestChain;
use cairn_protocol::block::{Block, HeaderRecord, SealBytes};
use cairn_protocol::codec::decode;
use cairn_protocol::hash::BlockId;
use cairn_protocol::pow::{Bits, work_of};
use cairn_protocol::signature::{CachedCheck, Ed25519, SignatureCache};
use cairn_protocol::spec::ChainParams;
use ruint::aliases::U256;
use serde_json::Value;

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../spec/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

fn block(hex_text: &str) -> Block {
    Block::from_bytes(&hex::decode(hex_text).expect("hexadecimal")).expect("a canonical block")
}

/// The kind of each rule, as `spec/rules.toml` says it.
fn kinds() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/rules.toml");
    let text = std::fs::read_to_string(&path).expect("the rules lie beside the vectors");
    let table: toml::Table = text.parse().expect("TOML");
    let rules = table["rule"].as_array().expect("a list");
    let word = |rule: &toml::Value, key: &str| rule[key].as_str().expect("a text").to_owned();
    rules
        .iter()
        .map(|rule| (word(rule, "id"), word(rule, "kind")))
        .collect()
}

#[test]
fn header_records() {
    let file = file("headers.json");
    let params =
        Arc::new(ChainParams::from_toml(text(&file, "spec")).expect("a valid specification"));
    let now = number(&file["cases"][0], "now") as u32;
    let mut sigs = CachedCheck::new(Ed25519, SignatureCache::new(100, (1, 2)));
    let mut chain =
        Chain::open(params.clone(), MemoryStore::new(&params), [7; 32]).expect("a new store");
    let setup = file["setup"].as_array().expect("a list");
    for setup in setup {
        let block = block(setup.as_str().expect("hexadecimal"));
        let outcome = chain
            .accept_block(now, block, Source::LOCAL)
            .expect("memory");
        assert_eq!(outcome, BlockOutcome::Stored { orphans: 0 });
    }
    chain.advance(&mut sigs, &mut Vec::new()).expect("memory");
    assert_eq!(chain.tip().height, setup.len() as u64);
    let invalid = chain.accept_block(now, block(text(&file, "invalid")), Source(1));
    assert_eq!(invalid, Ok(BlockOutcome::Stored { orphans: 0 }));
    chain.advance(&mut sigs, &mut Vec::new()).expect("memory");
    assert_eq!(
        chain.tip().height,
        setup.len() as u64,
        "the invalid block is not the tip"
    );
    let floor: BlockId = text(&file, "floor").parse().expect("an id");
    assert_eq!(chain.finalize(&floor), Ok(true));

    let kinds = kinds();
    let store = chain.into_store();
    let (mut kept, mut broken) = (0, 0);
    for case in file["cases"].as_array().expect("a list") {
        // Each case is judged apart: a record that was taken would be known to the next one.
        let mut chain =
            Chain::open(params.clone(), store.clone(), [7; 32]).expect("the same store");
        let bytes = hex::decode(text(case, "record")).expect("hexadecimal");
        let record: HeaderRecord = decode(&bytes, bytes.len()).expect("a canonical record");
        let outcome = chain
            .accept_headers(number(case, "now") as u32, &[record])
            .expect("memory");
        let found = outcome.violation.as_ref().map(|violation| violation.id());
        let (rule, valid) = (text(case, "rule"), case["valid"] == true);
        let expected = (!valid).then_some(rule);
        assert_eq!(found, expected, "{rule}: {}", text(case, "name"));
        assert_eq!(
            outcome.added,
            usize::from(valid),
            "{rule}: {}",
            text(case, "name")
        );
        if let Some(violation) = &outcome.violation {
            let kind = match (violation.is_mutation(), violation.is_temporary()) {
                (true, false) => "mutation",
                (false, true) => "refused",
                (false, false) => "invalid",
                (true, true) => panic!("{violation} is two kinds"),
            };
            assert_eq!(kinds[rule], kind, "{violation}");
            broken += 1;
        } else {
            kept += 1;
        }
    }
    assert!(kept >= 18 && broken >= 30, "{kept} kept, {broken} broken");
}

#[test]
fn sealed_header_records() {
    let (kept, broken) = judged_after_setup("sealed_headers.json");
    assert!(kept >= 22 && broken >= 35, "{kept} kept, {broken} broken");
}

#[test]
fn header_records_of_a_switch() {
    let (kept, broken) = judged_after_setup("switch_headers.json");
    assert!(kept >= 14 && broken >= 30, "{kept} kept, {broken} broken");
}

/// Judges the cases of a file each after as many blocks of its setup as it says.
fn judged_after_setup(name: &str) -> (usize, usize) {
    let file = file(name);
    let params =
        Arc::new(ChainParams::from_toml(text(&file, "spec")).expect("a valid specification"));
    let mut sigs = CachedCheck::new(Ed25519, SignatureCache::new(100, (1, 2)));
    let mut chain =
        Chain::open(params.clone(), MemoryStore::new(&params), [7; 32]).expect("a new store");
    let mut stores = vec![chain.store().clone()];
    let now = number(&file["cases"][0], "now") as u32;
    for setup in file["setup"].as_array().expect("a list") {
        let seal = setup["seal"].as_str().map(|seal| {
            let bytes = hex::decode(seal).expect("hexadecimal");
            SealBytes::new(bytes).expect("a short seal")
        });
        let outcome = chain
            .accept_sealed_block(now, block(text(setup, "block")), seal.as_ref(), Source(1))
            .expect("memory");
        assert_eq!(outcome, BlockOutcome::Stored { orphans: 0 });
        chain.advance(&mut sigs, &mut Vec::new()).expect("memory");
        stores.push(chain.store().clone());
        assert_eq!(chain.tip().height as usize + 1, stores.len());
    }
    let kinds = kinds();
    let (mut kept, mut broken) = (0, 0);
    for case in file["cases"].as_array().expect("a list") {
        let store = stores[number(case, "after") as usize].clone();
        let mut chain = Chain::open(params.clone(), store, [7; 32]).expect("the same store");
        let bytes = hex::decode(text(case, "record")).expect("hexadecimal");
        let record: HeaderRecord = decode(&bytes, bytes.len()).expect("a canonical record");
        let outcome = chain
            .accept_headers(number(case, "now") as u32, &[record])
            .expect("memory");
        let found = outcome.violation.as_ref().map(|violation| violation.id());
        let (rule, valid) = (text(case, "rule"), case["valid"] == true);
        assert_eq!(found, (!valid).then_some(rule), "{}", text(case, "name"));
        assert_eq!(outcome.added, usize::from(valid), "{}", text(case, "name"));
        if let Some(violation) = &outcome.violation {
            let kind = match (violation.is_mutation(), violation.is_temporary()) {
                (true, false) => "mutation",
                (false, true) => "refused",
                (false, false) => "invalid",
                (true, true) => panic!("{violation} is two kinds"),
            };
            assert_eq!(kinds[rule], kind, "{violation}");
            broken += 1;
        } else {
            kept += 1;
        }
    }
    (kept, broken)
}

#[test]
fn sums_of_work() {
    let file = file("work.json");
    let number = |value: &Value, key: &str| {
        U256::from_str_radix(text(value, key), 16).expect("64 hexadecimal digits")
    };
    let header = cairn_protocol::spec::builtin::by_name("devnet").expect("built in");
    let header = header.genesis().header;
    for sum in file["sums"].as_array().expect("a list") {
        let bits = Bits(u32::from_str_radix(text(sum, "bits"), 16).expect("eight digits"));
        let work = work_of(bits.to_target().expect("a target"));
        let mut tree = HeaderTree::new(BlockId([0; 32]), &header);
        let before = tree
            .insert(
                BlockId([1; 32]),
                &header,
                number(sum, "total_before"),
                Index::GENESIS,
            )
            .expect("genesis has no work");
        let outcome = tree.insert(BlockId([2; 32]), &header, work, before);
        assert_eq!(outcome.is_ok(), sum["valid"] == true, "{sum}");
        if let Ok(index) = outcome {
            assert_eq!(tree.entry(index).score.work, number(sum, "total_after"));
        }
    }
    for case in file["cases"].as_array().expect("a list") {
        let bits = Bits(u32::from_str_radix(text(case, "bits"), 16).expect("eight digits"));
        match bits.to_target() {
            Ok(target) => {
                assert_eq!(target, number(case, "target"));
                assert_eq!(work_of(target), number(case, "work"));
                let canonical = format!("{:08x}", Bits::from_target(target).0);
                assert_eq!(canonical, text(case, "canonical_bits"));
            }
            Err(error) => assert!(error.to_string().contains(text(case, "error")), "{error}"),
        }
    }
}

/// The reference in Python wrote these.
#[test]
fn retargets() {
    let file = file("asert.json");
    let target = |value: &Value, key: &str| {
        let bits = u32::from_str_radix(text(value, key), 16).expect("eight digits");
        Bits(bits).to_target().expect("a target")
    };
    let mut steps = 0;
    for case in file["cases"].as_array().expect("a list") {
        let anchor = Anchor {
            height: number(case, "height"),
            parent_time: number(case, "parent_time") as u32,
            target: target(case, "bits"),
        };
        let pace = Pace {
            spacing_s: number(case, "spacing_s") as u32,
            half_life_s: number(case, "half_life_s") as u32,
            limit: target(case, "limit_bits"),
        };
        for step in case["steps"].as_array().expect("a list") {
            let (height, time) = (step[0].as_u64(), step[1].as_u64());
            let next = next_target(
                &anchor,
                &pace,
                height.expect("a height"),
                time.expect("a time") as u32,
            );
            let found = format!("{:08x}", Bits::from_target(next).0);
            assert_eq!(
                Some(found.as_str()),
                step[2].as_str(),
                "{} {step}",
                text(case, "name")
            );
            steps += 1;
        }
    }
    assert!(steps > 400, "{steps} steps");
}

/// The same numbers as headers: the era is anchored at height 1 and genesis' time, and a header that
/// keeps the first block's bits is refused as soon as the retarget says otherwise.
#[test]
fn retargets_of_a_chain() {
    let vectors = file("asert.json");
    let cases = vectors["cases"].as_array().expect("a list");
    let run = cases.last().expect("eras");
    assert_eq!(text(run, "name"), "a chain of headers");
    let bits = |value: &Value| {
        let digits = value.as_str().expect("eight digits");
        Bits(u32::from_str_radix(digits, 16).expect("eight digits"))
    };
    let mut spec = cairn_fixtures::easy_file(0);
    spec.genesis.time = number(run, "parent_time") as u32;
    spec.timing.block_time_ms = 1_000 * number(run, "spacing_s");
    spec.timing.half_life_s = number(run, "half_life_s");
    spec.schedule[0].initial_bits = bits(&run["bits"]);
    assert_eq!(spec.timing.limit_bits, bits(&run["limit_bits"]));
    let params = Arc::new(ChainParams::new(spec).expect("valid changes"));
    let mut made = TestChain::new((*params).clone());
    let mut chain =
        Chain::open(params.clone(), MemoryStore::new(&params), [7; 32]).expect("a new store");
    let mut sigs = CachedCheck::new(Ed25519, SignatureCache::new(100, (1, 2)));
    let (mut next, mut refused) = (bits(&run["bits"]), 0);
    for step in run["steps"].as_array().expect("a list") {
        let (height, time) = (step[0].as_u64().expect("a height"), step[1].as_u64());
        assert_eq!(made.height() + 1, height);
        let mut block = made.block(Vec::new(), 0);
        block.header.time = time.expect("a time") as u32;
        let now = block.header.time;
        if block.header.bits != next {
            made.mine(&mut block);
            let outcome = chain
                .accept_block(now, block.clone(), Source(1))
                .expect("memory");
            let BlockOutcome::Invalid(violation) = outcome else {
                panic!("height {height}: {outcome:?}");
            };
            assert_eq!(violation.id(), "HDR-05");
            refused += 1;
        }
        block.header.bits = next;
        made.mine(&mut block);
        let outcome = chain
            .accept_block(now, block.clone(), Source(1))
            .expect("memory");
        assert_eq!(
            outcome,
            BlockOutcome::Stored { orphans: 0 },
            "height {height}"
        );
        chain.advance(&mut sigs, &mut Vec::new()).expect("memory");
        assert_eq!(chain.tip().height, height);
        made.connect(block);
        next = bits(&step[2]);
        assert_eq!(chain.next_bits(), next);
    }
    assert!(
        refused > 10,
        "{refused} blocks had other bits than the first"
    );
}
