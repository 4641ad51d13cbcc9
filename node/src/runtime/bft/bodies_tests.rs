//! Blocks of proposals: rebuilt, asked for, served; a liar's answers change nothing.

use super::*;
use cairn_fixtures::{Payment, TestChain, TestKey};
use cairn_protocol::ledger::CheckedBlock;

/// A block of `count` payments and its compact form.
fn block(count: usize) -> (Block, CompactBlock) {
    let chain = TestChain::easy(count as u64);
    let pay = |account: usize| {
        let (outpoint, coin) = chain.funded(account);
        let left = coin.output.value.0 - 1_000;
        let spend = Payment::new().spend(outpoint, &coin, &TestKey::new(account as u64));
        chain.sign(&spend.pay_key(&TestKey::new(99), left))
    };
    let block = chain.block((0..count).map(pay).collect(), count as u64 * 1_000);
    let checked = CheckedBlock::new(block.clone(), chain.params().limits()).unwrap();
    (block, CompactBlock::new(&checked))
}

fn knows_nothing(compact: CompactBlock) -> Reconstruction {
    compact.reconstruct(|_| None)
}

fn all_of(block: &Block) -> Vec<Placed> {
    let placed = |(index, transaction): (u32, &Transaction)| Placed {
        index,
        transaction: transaction.clone(),
    };
    (0..).zip(&block.transactions).map(placed).collect()
}

#[test]
fn a_block_is_asked_for_and_becomes_whole() {
    let (block, compact) = block(3);
    let (id, peer, mut bodies) = (block.id(), PeerId::random(), Bodies::default());
    bodies.want(0, id, peer);
    let question = bodies.on_proposal(0, peer, compact, knows_nothing);
    let indexes = vec![0, 1, 2];
    let expected = LinkMessage::GetTransactions { id, indexes };
    assert_eq!(question, Some((peer, expected)));
    assert!(bodies.get(&id).is_none());
    assert_eq!(bodies.on_transactions(0, peer, id, all_of(&block)), None);
    assert_eq!(bodies.get(&id), Some(&block));
    assert_eq!(bodies.next_due_ms(), None, "nothing is asked any more");
}

#[test]
fn what_nobody_wanted_is_not_kept() {
    let (block, compact) = block(1);
    let (id, peer, mut bodies) = (block.id(), PeerId::random(), Bodies::default());
    assert_eq!(bodies.on_proposal(0, peer, compact, knows_nothing), None);
    assert_eq!(bodies.on_transactions(0, peer, id, all_of(&block)), None);
    assert!(bodies.get(&id).is_none());
}

#[test]
fn transactions_of_another_place_fill_none() {
    let (block, compact) = block(2);
    let (id, peer, mut bodies) = (block.id(), PeerId::random(), Bodies::default());
    bodies.want(0, id, peer);
    bodies.on_proposal(0, peer, compact, knows_nothing);
    let mut swapped = all_of(&block);
    (swapped[0].index, swapped[1].index) = (1, 0);
    let liar = PeerId::random();
    bodies.on_transactions(0, liar, id, swapped);
    assert!(bodies.get(&id).is_none(), "short ids name each place");
    bodies.on_transactions(0, peer, id, all_of(&block));
    assert_eq!(bodies.get(&id), Some(&block));
}

#[test]
fn a_peer_that_is_silent_is_followed_by_the_next() {
    let (block, _) = block(1);
    let id = block.id();
    let (first, second, mut bodies) = (PeerId::random(), PeerId::random(), Bodies::default());
    bodies.want(0, id, first);
    bodies.want(0, id, second);
    assert_eq!(bodies.tick(PATIENCE_MS - 1), []);
    let question = LinkMessage::GetProposal { id };
    assert_eq!(bodies.tick(PATIENCE_MS), [(second, question.clone())]);
    assert_eq!(bodies.tick(2 * PATIENCE_MS), [(first, question)]);
}

#[test]
fn phantom_wishes_do_not_keep_a_later_block_out() {
    let (block, compact) = block(1);
    let (id, peer, mut bodies) = (block.id(), PeerId::random(), Bodies::default());
    for number in 0..100u8 {
        bodies.want(0, BlockId([number; 32]), peer);
    }
    bodies.want(0, id, peer);
    assert!(bodies.wanted.len() <= WANTED_MAX);
    bodies.on_proposal(0, peer, compact, knows_nothing);
    bodies.on_transactions(0, peer, id, all_of(&block));
    assert_eq!(bodies.get(&id), Some(&block));
}

#[test]
fn questions_are_answered_within_bounds() {
    let (block, compact) = block(3);
    let (id, mut bodies) = (block.id(), Bodies::default());
    bodies.add_own(id, block.clone());
    let ask = |bodies: &Bodies, indexes: Vec<u32>| {
        let question = LinkMessage::GetTransactions { id, indexes };
        bodies.serve(&question, |_| Some(compact.clone()))
    };
    let transactions = all_of(&block).split_off(1);
    let answer = LinkMessage::Transactions { id, transactions };
    assert_eq!(ask(&bodies, vec![1, 2, 77]), [answer]);
    assert_eq!(
        ask(&bodies, vec![1; 4_096]),
        [],
        "one index again and again"
    );
    assert_eq!(ask(&bodies, vec![2, 1]), []);
    // Those who are a little behind are still answered, others not for ever.
    bodies.next_instance(Some(id));
    assert_eq!(ask(&bodies, vec![0]).len(), 1);
    for number in 0..RECENT_MAX as u8 {
        let id = BlockId([number; 32]);
        bodies.add_own(id, block.clone());
        bodies.next_instance(Some(id));
    }
    assert_eq!(ask(&bodies, vec![0]), []);
}
