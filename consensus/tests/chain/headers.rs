//! Header rules and floods: work first, encodings, retarget, bounds of the tree.

use cairn_consensus::chain::{BlockOutcome, Refusal};
use cairn_consensus::limits::{HEADERS_AHEAD_MAX, SIDE_HEADERS_MAX};
use cairn_consensus::nakamoto::check_work;
use cairn_protocol::block::{Block, HeaderRecord, block_root};
use cairn_protocol::hash::Hash;
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::pow::{Bits, work_of, work_to_bytes};
use cairn_protocol::rules::Violation;

use crate::world::{EASY, Node, rebind, solve, solve_header, spec};

/// A record on the tip with a change that its root commits to.
fn changed(node: &mut Node, change: impl FnOnce(&mut Block)) -> HeaderRecord {
    let mut block = node.next_block(&[]);
    change(&mut block);
    rebind(node.chain.params(), block).record()
}

fn violation(node: &mut Node, record: HeaderRecord) -> Violation {
    let outcome = node.chain.accept_headers(node.now, &[record]).unwrap();
    assert_eq!(outcome.added, 0);
    outcome.violation.expect("a broken rule")
}

/// H11: every encoding that is no target, or an easier one than the limit, is refused before a hash
/// is spent.
#[test]
fn encodings_that_are_no_target_are_refused() {
    let mut a = Node::new();
    let cases = [
        (0x0000_0000, "HDR-03"),
        (0x2000_0000, "HDR-03"),
        (0x1d80_ffff, "HDR-03"),
        (0xff12_3456, "HDR-03"),
        (0x2300_0001, "HDR-03"),
        (0x2100_ffff, "HDR-04"),
        (0x2200_00ff, "HDR-04"),
    ];
    for (bits, rule) in cases {
        let mut record = a.next_block(&[]).record();
        record.header.bits = Bits(bits);
        assert_eq!(violation(&mut a, record).id(), rule, "{bits:#x}");
    }
}

#[test]
fn each_header_rule_has_its_verdict() {
    let mut a = Node::new();
    a.mine(3);
    let mut record = a.next_block(&[]).record();
    record.header.version = 0x1000_0000;
    assert_eq!(violation(&mut a, record).id(), "HDR-01");
    let mut record = a.next_block(&[]).record();
    record.header.version |= 0x1fff_e000;
    record.header = solve_header(a.chain.params(), record.header);
    assert_eq!(
        a.chain.accept_headers(a.now, &[record]).unwrap().added,
        1,
        "rolled version bits"
    );
    let mut record = a.next_block(&[]).record();
    record.header.parent.0[0] ^= 1;
    record.header = solve_header(a.chain.params(), record.header);
    let unknown = violation(&mut a, record);
    assert!(unknown.id() == "HDR-02" && unknown.is_temporary());
    // A digest above the target: the nonce is moved until it fails.
    let mut record = a.next_block(&[]).record();
    while check_work(a.chain.params(), &record.header).is_ok() {
        record.header.nonce += 1;
    }
    assert_eq!(violation(&mut a, record).id(), "HDR-06");
    // Harder than asked for is as wrong as easier (H02).
    let mut record = a.next_block(&[]).record();
    record.header.bits = Bits(0x203f_ffff);
    record.header = solve_header(a.chain.params(), record.header);
    assert_eq!(violation(&mut a, record).id(), "HDR-05");
    let mut record = a.next_block(&[]).record();
    record.tx_root.0[0] ^= 1;
    let root = violation(&mut a, record);
    assert!(root.id() == "HDR-09" && root.is_mutation());
    let mut record = a.next_block(&[]).record();
    record.seal = Some(Default::default());
    assert_eq!(violation(&mut a, record).id(), "EXT-08");
    type Change = fn(&mut Block);
    let cases: [(Change, &str); 8] = [
        (|b| b.extension.ext_version = 2, "EXT-01"),
        (|b| b.extension.height += 1, "EXT-03"),
        (|b| b.extension.ruleset_id.0[0] ^= 1, "EXT-04"),
        (|b| b.extension.schedule_hash.0[0] ^= 1, "EXT-05"),
        (|b| b.extension.proposer = 1, "EXT-06"),
        (|b| b.extension.next_set_hash = Hash([1; 32]), "EXT-06"),
        (|b| b.extension.switch.entry = 1, "EXT-08"),
        (
            |b| b.extension.commitments = vec![commitment(5), commitment(5)],
            "EXT-07",
        ),
    ];
    for (change, rule) in cases {
        let record = changed(&mut a, change);
        assert_eq!(violation(&mut a, record).id(), rule);
    }
    let record = changed(&mut a, |b| {
        b.extension.commitments = vec![commitment(5), commitment(6)]
    });
    assert_eq!(
        a.chain.accept_headers(a.now, &[record]).unwrap().added,
        1,
        "unknown tags are accepted"
    );
}

fn commitment(tag: u16) -> cairn_protocol::extension::Commitment {
    cairn_protocol::extension::Commitment {
        tag,
        hash: Hash([0; 32]),
    }
}

/// H02: with the retarget on, bits that are right one block earlier or later are wrong here.
#[test]
fn bits_of_a_neighbouring_height_are_refused() {
    let mut file = spec();
    file.timing.block_time_ms = 60_000;
    file.timing.half_life_s = 3_600;
    let mut a = Node::with(file);
    let start = a.chain.params().genesis().header.time;
    let mut bits = vec![a.chain.next_bits()];
    for height in 1..40 {
        let block = a.next_block_at(start + height * 20, &[]);
        assert_eq!(a.give(block), BlockOutcome::Stored { orphans: 0 });
        a.advance();
        bits.push(a.chain.next_bits());
    }
    assert_eq!(
        bits[0], EASY,
        "the first block of the era has the entry's own bits"
    );
    assert!(
        bits.last().unwrap() < &EASY,
        "three times too fast: the target fell"
    );
    let wrong = [bits[bits.len() - 2], EASY, Bits(bits.last().unwrap().0 + 1)];
    for bits in wrong {
        let mut block = a.next_block_at(start + 40 * 20, &[]);
        block.header.bits = bits;
        let record = solve(a.chain.params(), block).record();
        assert_eq!(violation(&mut a, record).id(), "HDR-05");
    }
}

/// H01: a block that nobody asked for, on a branch below the specification's minimum work, leaves
/// nothing behind. Headers that were shown first (presync) open the way.
#[test]
fn a_block_below_the_minimum_work_is_not_kept() {
    let mut file = spec();
    let easy_work = work_of(EASY.to_target().unwrap());
    let minimum = easy_work * ruint::aliases::U256::from(50u8);
    file.sync.minimum_chain_work = Hash(work_to_bytes(minimum));
    let (mut a, mut b) = (Node::with(file.clone()), Node::with(file));
    a.mine(60);
    let refused = b.give(a.block_at(1));
    assert!(matches!(
        refused,
        BlockOutcome::Refused(Refusal::LowWork { .. })
    ));
    assert_eq!(b.chain.tree().len(), 1);
    assert_eq!(
        b.chain.accept_headers(b.now, &a.records(1)).unwrap().added,
        60
    );
    assert_eq!(b.give(a.block_at(1)), BlockOutcome::Stored { orphans: 0 });
}

/// H01: a flood of valid headers off the best chain. The tree stays within its bound, the best
/// chain and the tip are untouched, and honest headers are still taken.
#[test]
fn a_flood_of_side_headers_is_bounded() {
    const BATCH: u64 = 2_000;
    let mut a = Node::new();
    a.mine(20);
    let mut template = a.block_at(1).record();
    let extension_hash = template.extension.hash();
    let (mut sent, mut largest) = (0, 0);
    let (tip, best) = (a.chain.tip(), a.chain.best_header());
    for batch in 0..(SIDE_HEADERS_MAX as u64 / BATCH) + 10 {
        let side = (0..BATCH).map(|at| {
            template.coinbase_id.0[..8].copy_from_slice(&(batch * BATCH + at).to_le_bytes());
            let parts = (&template.coinbase_id, &extension_hash, &template.tx_root);
            template.header.root = block_root(parts.0, parts.1, parts.2);
            template.header = solve_header(a.chain.params(), template.header);
            template.clone()
        });
        let side: Vec<HeaderRecord> = side.collect();
        let outcome = a.chain.accept_headers(a.now, &side).unwrap();
        assert_eq!((outcome.added as u64, outcome.violation), (BATCH, None));
        sent += BATCH;
        largest = largest.max(a.chain.tree().len());
    }
    println!(
        "{sent} side headers: at most {largest} entries, {} at the end",
        a.chain.tree().len()
    );
    assert!(
        largest <= SIDE_HEADERS_MAX + BATCH as usize + 21,
        "{largest} entries"
    );
    assert!(a.chain.tree().len() < largest, "something was forgotten");
    assert_eq!((a.chain.tip(), a.chain.best_header()), (tip, best));
    a.mine(3);
    let mut stored = 0;
    a.chain.store().headers(&mut |_| stored += 1).unwrap();
    assert_eq!(stored, 24, "the flood never reached the store");
}

/// Headers may lead the connected tip by a bound only; sync goes on when bodies catch up.
#[test]
fn headers_too_far_ahead_are_put_off() {
    let mut a = Node::new();
    let mut record = a.next_block(&[]).record();
    record.extension.height = HEADERS_AHEAD_MAX + 1;
    let outcome = a.chain.accept_headers(a.now, &[record]).unwrap();
    let max = HEADERS_AHEAD_MAX;
    assert_eq!(
        outcome.refusal,
        Some(Refusal::HeadersAhead {
            height: max + 1,
            max
        })
    );
}
