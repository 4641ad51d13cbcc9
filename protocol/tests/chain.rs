//! Random chains of valid blocks: taking blocks off gives exactly what was there before, and money
//! is neither made nor lost (planted bug 6: an undo that forgets an output).

use cairn_fixtures::payment::Opening;
use cairn_fixtures::{Payment, TestChain, TestKey};
use cairn_protocol::hash::sha256;
use cairn_protocol::ledger::{
    CheckedBlock, Coin, CoinView, Fault, connect_block, disconnect_block,
};
use cairn_protocol::lock::{After, At, HashLock, InnerLock, Lock, Threshold};
use cairn_protocol::lthash::LtHash;
use cairn_protocol::signature::{Ed25519, SignatureCheck, SignatureJob, SignatureScheme};
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_protocol::units::Amount;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ACCOUNTS: u64 = 4;
const SECRET: [u8; 32] = [42; 32];

/// One random payment: who pays, to which kind of lock, which part of a coin, and the fee.
type Choice = (u8, u8, u8, u16);

fn choices() -> impl Strategy<Value = Vec<Vec<Choice>>> {
    proptest::collection::vec(proptest::collection::vec(any::<Choice>(), 0..5), 1..10)
}

fn lock_of(kind: u8, key: &TestKey, height: u64) -> Lock {
    let at = At::Height(height + u64::from(kind % 3));
    let threshold = || {
        let mut keys: Vec<_> = (0..3).map(|i| TestKey::new(i).public()).collect();
        keys.sort();
        Box::new(Threshold { m: 2, keys })
    };
    let hash_lock = || {
        Box::new(HashLock {
            digest: sha256(&SECRET),
            claim: key.key_hash(),
            refund: key.key_hash(),
            refund_at: at,
        })
    };
    match kind % 7 {
        0 | 1 => key.lock(),
        2 => Lock::Threshold(threshold()),
        3 => Lock::HashLock(hash_lock()),
        4 => Lock::After(Box::new(After {
            at,
            lock: InnerLock::Key(key.key_hash()),
        })),
        5 => Lock::After(Box::new(After {
            at,
            lock: InnerLock::Threshold(threshold()),
        })),
        _ => Lock::After(Box::new(After {
            at,
            lock: InnerLock::HashLock(hash_lock()),
        })),
    }
}

/// How this test's keys open a coin, if they can at `height`.
fn opening(coin: &Coin, keys: &[TestKey], height: u64) -> Option<Opening> {
    use cairn_protocol::lock::LockRef;
    if coin.is_coinbase && coin.height + cairn_fixtures::chain::MATURITY > height {
        return None;
    }
    let (closed, lock) = coin.output.lock.open();
    if closed.is_some_and(|at| !at.is_reached(height, 0)) {
        return None;
    }
    match lock {
        LockRef::Key(hash) => {
            let key = keys.iter().find(|key| key.key_hash() == *hash)?;
            Some(Opening::Keys(vec![*key]))
        }
        LockRef::Threshold(_) => Some(Opening::Keys(keys.to_vec())),
        LockRef::HashLock(lock) => {
            let key = keys.iter().find(|key| key.key_hash() == lock.claim)?;
            if lock.refund_at.is_reached(height, 0) && height.is_multiple_of(2) {
                Some(Opening::Refund(*key))
            } else {
                Some(Opening::Claim(SECRET, *key))
            }
        }
        LockRef::Data => None,
    }
}

/// Valid transactions for the next block; a later one may spend what an earlier one makes.
fn transactions(chain: &TestChain, keys: &[TestKey], choices: &[Choice]) -> Vec<Transaction> {
    let height = chain.height() + 1;
    let mut coins: BTreeMap<OutPoint, Coin> = chain.coins().clone();
    let mut made = Vec::new();
    for &(who, kind, part, fee) in choices {
        let usable: Vec<_> = coins
            .iter()
            .filter_map(|(outpoint, coin)| {
                let opening = opening(coin, keys, height)?;
                (coin.output.value.0 > 200_000).then(|| (*outpoint, coin.clone(), opening))
            })
            .collect();
        let Some((outpoint, coin, opening)) = usable.get(usize::from(who) % usable.len().max(1))
        else {
            continue;
        };
        let value = coin.output.value.0 - u64::from(fee);
        let first = value / 256 * u64::from(part) + 1;
        let key = &keys[usize::from(kind) % keys.len()];
        let mut payment = Payment::new()
            .open(*outpoint, coin, opening.clone())
            .pay(lock_of(kind, key, height), first)
            .pay_key(key, value - first);
        if kind % 5 == 0 {
            let note = Lock::Data(
                cairn_protocol::codec::BoundedBytes::new(vec![kind; 9]).expect("nine bytes"),
            );
            payment = payment.pay(note, 0);
        }
        let tx = chain.sign(&payment);
        coins.remove(outpoint);
        let txid = tx.txid();
        for (index, output) in tx.outputs.iter().enumerate() {
            if output.lock.makes_coin() {
                let coin = Coin {
                    output: output.clone(),
                    height,
                    is_coinbase: false,
                };
                coins.insert(Transaction::outpoint(txid, index), coin);
            }
        }
        made.push(tx);
    }
    made
}

fn check_money(chain: &TestChain) {
    let sum = Amount::checked_sum(chain.coins().values().map(|coin| coin.output.value));
    assert_eq!(sum, Some(chain.state().engine.supply()));
    let mut commitment = LtHash::default();
    for (outpoint, coin) in chain.coins() {
        coin.add_to(outpoint, &mut commitment);
    }
    assert_eq!(
        commitment,
        chain.state().coins,
        "the commitment is over these coins"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn taking_blocks_off_gives_what_was_before(choices in choices(), claim in any::<bool>()) {
        let mut chain = TestChain::easy(ACCOUNTS);
        let keys = TestKey::many(ACCOUNTS);
        let mut history = Vec::new();
        for block_choices in &choices {
            history.push((chain.state().clone(), chain.coins().clone()));
            let transactions = transactions(&chain, &keys, block_choices);
            if claim {
                chain.extend(transactions);
            } else {
                // Fees that nobody claims are burned.
                let block = chain.block(transactions, 0);
                chain.connect(block);
            }
            check_money(&chain);
        }
        let after = chain.clone();
        let mut blocks = Vec::new();
        while let Some((state, coins)) = history.pop() {
            blocks.push(chain.disconnect().expect("a block per step"));
            prop_assert_eq!(chain.state(), &state);
            prop_assert_eq!(chain.coins(), &coins);
        }
        prop_assert!(chain.disconnect().is_none());
        for block in blocks.into_iter().rev() {
            chain.connect(block.into_block());
        }
        prop_assert_eq!(chain.state(), after.state());
        prop_assert_eq!(chain.coins(), after.coins());
    }

    /// V22: undo data with any one coin changed never passes for the state before.
    #[test]
    fn damaged_undo_is_a_fault(which in any::<prop::sample::Index>(), how in 0u8..5) {
        let mut chain = TestChain::easy(ACCOUNTS);
        let keys = TestKey::many(ACCOUNTS);
        let spends: Vec<_> = (0..3u8).map(|i| (i * 3, 0, 100, 7)).collect();
        let txs = transactions(&chain, &keys, &spends);
        let connected = chain.extend(txs);
        let block = chain.blocks().last().unwrap().block().clone();
        let mut undo = connected.undo.clone();
        let at = which.index(undo.spent.len());
        match how {
            0 => undo.spent[at].output.value.0 += 1,
            1 => undo.spent[at].height += 1,
            2 => undo.spent[at].is_coinbase ^= true,
            3 => { undo.spent.remove(at); }
            _ => undo.engine.issued.0 += 1,
        }
        prop_assert!(disconnect_block(chain.state(), &block, &connected.undo).is_ok());
        prop_assert!(disconnect_block(chain.state(), &block, &undo).is_err());
    }
}

/// Knows some transactions and checks the jobs of the rest in pieces of any size and order, as a
/// node with several threads would.
struct Shuffled {
    known: BTreeSet<usize>,
    asked: std::cell::Cell<usize>,
    seed: u64,
}

impl Shuffled {
    fn next(&mut self, bound: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % bound
    }
}

impl SignatureCheck for Shuffled {
    fn is_known(&self, _: &cairn_protocol::hash::Wtxid) -> bool {
        let index = self.asked.get();
        self.asked.set(index + 1);
        self.known.contains(&index)
    }
    fn verify(&mut self, jobs: &[SignatureJob]) -> Result<(), usize> {
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        for i in (1..order.len()).rev() {
            let j = self.next(i + 1);
            order.swap(i, j);
        }
        let mut bad = None::<usize>;
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(self.next(rest.len()) + 1);
            let batch: Vec<_> = piece.iter().map(|i| jobs[*i]).collect();
            if Ed25519.verify(&batch).is_err() {
                let culprits = piece
                    .iter()
                    .filter(|i| Ed25519.verify(&[jobs[**i]]).is_err());
                bad = bad.into_iter().chain(culprits.copied()).min();
            }
            rest = tail;
        }
        bad.map_or(Ok(()), Err)
    }
    fn remember(&mut self, _: cairn_protocol::hash::Wtxid) {}
}

/// V04, V12, V20: one verdict, whatever was checked before, in whatever pieces and order.
#[test]
fn verdicts_do_not_depend_on_how_signatures_are_checked() {
    let chain = TestChain::easy(8);
    let payments: Vec<_> = (0..8)
        .map(|i| {
            let (outpoint, coin) = chain.funded(i);
            let key = TestKey::new(i as u64);
            let payment = Payment::new()
                .spend(outpoint, &coin, &key)
                .pay_key(&key, coin.output.value.0 - 10);
            chain.sign(&payment)
        })
        .collect();
    let valid = chain.block(payments.clone(), 80);
    let mut two_bad = payments;
    for (i, tx) in two_bad.iter_mut().enumerate() {
        if let (3 | 6, cairn_protocol::lock::Witness::Key { signature, .. }) =
            (i, &mut tx.witnesses[0])
        {
            signature.0[40] ^= 1;
        }
    }
    let invalid = chain.block(two_bad, 80);
    let mut overpaid = invalid.clone();
    overpaid.coinbase.outputs[0].value.0 += 1;
    chain.remake(&mut overpaid);
    for (block, rule) in [
        (valid, None),
        (invalid, Some("TX-22")),
        (overpaid, Some("BLK-10")),
    ] {
        let checked = CheckedBlock::new(block, chain.params().limits()).unwrap();
        for seed in 0..334 {
            // Transactions 3 and 6 were never valid, so that no cache knows them.
            let known = (0..8).filter(|i| *i != 3 && *i != 6 && seed >> (i % 5) & 1 == 1);
            let mut signatures = Shuffled {
                known: known.collect(),
                asked: 0.into(),
                seed,
            };
            let outcome = connect_block(
                chain.params(),
                chain.state(),
                &checked,
                chain.coins(),
                &mut signatures,
            );
            let found = outcome.err().map(|error| match error {
                cairn_protocol::ledger::ConnectError::Invalid(violation) => violation.id(),
                cairn_protocol::ledger::ConnectError::Fault(fault) => panic!("{fault}"),
            });
            assert_eq!(found, rule, "seed {seed}");
        }
    }
}

/// A view that cannot read is our fault, never the block's.
#[test]
fn a_failing_view_is_a_fault() {
    struct Broken;
    impl CoinView for Broken {
        fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, Fault> {
            Err(Fault("row is damaged".into()))
        }
    }
    let chain = TestChain::easy(1);
    let (outpoint, coin) = chain.funded(0);
    let key = TestKey::new(0);
    let payment = Payment::new().spend(outpoint, &coin, &key).pay_key(&key, 5);
    let block = chain.block(vec![chain.sign(&payment)], 0);
    let checked = CheckedBlock::new(block, chain.params().limits()).unwrap();
    let mut signatures = Shuffled {
        known: BTreeSet::new(),
        asked: 0.into(),
        seed: 1,
    };
    let outcome = connect_block(
        chain.params(),
        chain.state(),
        &checked,
        &Broken,
        &mut signatures,
    );
    assert!(matches!(
        outcome,
        Err(cairn_protocol::ledger::ConnectError::Fault(_))
    ));
}
