//! The attack catalogue's rows V01 … V19 on blocks and transactions, one test a row: what an attacker
//! sends, and what must happen. Rows that are checked elsewhere say where.
//!
//! Every verdict leaves the chain as it was: `TestChain::try_connect` works on shared state, and
//! `refused` compares.

use cairn_fixtures::payment::Opening;
use cairn_fixtures::{Payment, TestChain, TestKey, easy_params};
use cairn_protocol::block::Block;
use cairn_protocol::codec::{decode, encode};
use cairn_protocol::coinbase::{COINBASE_VERSION, Coinbase};
use cairn_protocol::hash::{BlockId, Hash, TxId, Wtxid};
use cairn_protocol::ledger::{
    CheckedBlock, Coin, CoinView, ConnectError, Fault, check_transaction, connect_block,
};
use cairn_protocol::limits::{BLOCK_BYTES_MAX, EXTENSION_BYTES_MAX, TRANSACTION_BYTES_MAX};
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::merkle::{prove, root_of_proof, tx_root};
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::{
    CachedCheck, Ed25519, SignatureCache, SignatureCheck, SignatureJob,
};
use cairn_protocol::spec::{ChainParams, builtin};
use cairn_protocol::transaction::{OutPoint, Output, SighashBase, Transaction};
use cairn_protocol::units::Amount;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Connects nothing: the block's violation, after making sure that the chain did not move.
fn refused(chain: &TestChain, block: Block) -> Violation {
    let (state, coins) = (chain.state().clone(), chain.coins().clone());
    let outcome = chain.try_connect(block);
    assert_eq!((chain.state(), chain.coins()), (&state, &coins));
    match outcome {
        Err(ConnectError::Invalid(violation)) => violation,
        Err(ConnectError::Fault(fault)) => panic!("{fault}"),
        Ok(_) => panic!("the block was accepted"),
    }
}

fn rule(chain: &TestChain, block: Block) -> &'static str {
    refused(chain, block).id()
}

/// A payment of all of `account`'s funded coin.
fn transfer(chain: &TestChain, account: usize, fee: u64) -> Transaction {
    let (outpoint, coin) = chain.funded(account);
    let key = TestKey::new(account as u64);
    let payment = Payment::new()
        .spend(outpoint, &coin, &key)
        .pay_key(&key, coin.output.value.0 - fee);
    chain.sign(&payment)
}

#[test]
fn v01_output_sums_never_wrap() {
    let chain = TestChain::easy(1);
    let cap = chain.params().limits().money_cap.0;
    let (outpoint, coin) = chain.funded(0);
    let key = TestKey::new(0);
    // CVE-2010-5139: two outputs of 2^63 whose sum wraps to less than the input.
    for values in [
        vec![u64::MAX],
        vec![1 << 63, 1 << 63],
        vec![u64::MAX, 1],
        vec![cap, 1],
        vec![cap + 1],
        vec![1; 3].into_iter().chain([u64::MAX - 1]).collect(),
    ] {
        let mut payment = Payment::new().spend(outpoint, &coin, &key);
        for value in &values {
            payment = payment.pay_key(&key, *value);
        }
        let block = chain.block(vec![chain.sign(&payment)], 0);
        assert_eq!(rule(&chain, block), "TX-09", "{values:?}");
        let mut block = chain.block(Vec::new(), 0);
        block.coinbase.outputs = values
            .iter()
            .map(|value| Output {
                value: Amount(*value),
                lock: key.lock(),
            })
            .collect();
        chain.remake(&mut block);
        assert_eq!(rule(&chain, block), "TX-09", "coinbase {values:?}");
    }
}

#[test]
fn v02_odd_values_are_refused() {
    let chain = TestChain::easy(1);
    let tx = transfer(&chain, 0, 5);
    let mut zero = tx.clone();
    zero.outputs[0].value = Amount(0);
    let limits = chain.params().limits();
    assert_eq!(check_transaction(&zero, limits).unwrap_err().id(), "TX-07");
    // There is no sign: eleven bytes, ten with a high last one, and overlong zero all fail to decode.
    let bytes = encode(&tx);
    let value = encode(&tx.outputs[0].value);
    let at = bytes
        .windows(value.len())
        .position(|window| window == value)
        .unwrap();
    for trick in [
        vec![0xff; 9].into_iter().chain([0x7f]).collect::<Vec<u8>>(),
        vec![0xff; 10].into_iter().chain([0x01]).collect(),
        vec![0x80, 0x00],
        vec![0x80, 0x80, 0x00],
    ] {
        let mut bytes = bytes.clone();
        bytes.splice(at..at + value.len(), trick.clone());
        assert!(
            decode::<Transaction>(&bytes, TRANSACTION_BYTES_MAX).is_err(),
            "{trick:x?}"
        );
    }
}

#[test]
fn v03_a_coin_twice_in_one_transaction() {
    let chain = TestChain::easy(1);
    let (outpoint, coin) = chain.funded(0);
    let key = TestKey::new(0);
    let payment = Payment::new()
        .spend(outpoint, &coin, &key)
        .spend(outpoint, &coin, &key)
        .pay_key(&key, coin.output.value.0 * 2);
    let tx = chain.sign(&payment);
    // Alone and in a block: the block's check does not lean on the mempool's.
    let alone = check_transaction(&tx, chain.params().limits());
    assert_eq!(alone.unwrap_err(), Violation::DuplicateInput { outpoint });
    assert_eq!(rule(&chain, chain.block(vec![tx], 0)), "TX-04");
    // Far apart among many inputs, where another algorithm searches.
    let mut many = transfer(&chain, 0, 0);
    many.inputs = (0..2_000)
        .map(|index| OutPoint {
            txid: TxId([9; 32]),
            index,
        })
        .collect();
    many.inputs[1_999].index = 7;
    many.witnesses = vec![many.witnesses[0].clone(); 2_000];
    let mut limits = *chain.params().limits();
    limits.transaction_weight_max = u64::MAX;
    assert_eq!(check_transaction(&many, &limits).unwrap_err().id(), "TX-04");
}

/// The same verdict in 1,000 shuffles: `chain.rs`.
#[test]
fn v04_a_coin_in_two_transactions_and_out_of_order() {
    let chain = TestChain::easy(2);
    let (first, second) = (transfer(&chain, 0, 1), transfer(&chain, 0, 2));
    let conflict = refused(&chain, chain.block(vec![first.clone(), second], 0));
    assert_eq!(
        conflict,
        Violation::MissingCoin {
            outpoint: chain.funded(0).0
        }
    );
    let coin = Coin {
        output: first.outputs[0].clone(),
        height: 1,
        is_coinbase: false,
    };
    let child = |pebbles| {
        let payment = Payment::new()
            .spend(
                Transaction::outpoint(first.txid(), 0),
                &coin,
                &TestKey::new(0),
            )
            .pay_key(&TestKey::new(1), pebbles);
        chain.sign(&payment)
    };
    let ordered = chain.block(vec![first.clone(), child(5)], 0);
    assert!(chain.try_connect(ordered).is_ok());
    assert_eq!(
        rule(&chain, chain.block(vec![child(5), first.clone()], 0)),
        "TX-13"
    );
    let two_children = chain.block(vec![first.clone(), child(5), child(6)], 0);
    assert_eq!(rule(&chain, two_children), "TX-13");
}

/// The table itself and the end of heights: `spec::params`, `subsidy.json`.
#[test]
fn v05_a_coinbase_claims_what_it_may() {
    let mut chain = TestChain::easy(1);
    let exact = chain.block(vec![transfer(&chain, 0, 77)], 77);
    let mut above = exact.clone();
    above.coinbase.outputs[0].value.0 += 1;
    chain.remake(&mut above);
    assert_eq!(rule(&chain, above), "BLK-10");
    chain.connect(exact);
    // No step, no subsidy; and never above the cap, however long the chain.
    let mut file = chain.params().file().clone();
    file.limits.money_cap = Amount(cairn_fixtures::chain::FUNDED_PEBBLES + 2_500_000_000);
    let mut chain = TestChain::new(ChainParams::new(file).unwrap());
    for expected in [1_000_000_000, 1_000_000_000, 500_000_000, 0, 0] {
        assert_eq!(chain.extend(Vec::new()).subsidy, Amount(expected));
        assert!(chain.state().engine.supply() <= chain.params().limits().money_cap);
    }
    assert_eq!(
        chain.state().engine.supply(),
        chain.params().limits().money_cap
    );
}

/// There is no place for a second coinbase: it is a field of the block, not a transaction. A
/// transaction cannot pose as one, nor the other way round.
#[test]
fn v06_there_is_one_coinbase() {
    let chain = TestChain::easy(1);
    let block = chain.block(vec![transfer(&chain, 0, 0)], 0);
    let coinbase_bytes = block.coinbase.to_bytes();
    assert!(decode::<Transaction>(&coinbase_bytes, TRANSACTION_BYTES_MAX).is_err());
    let transaction_bytes = encode(&block.transactions[0]);
    assert!(
        Coinbase::from_bytes(&transaction_bytes[..27]).is_err(),
        "too short for one"
    );
    let mut no_input = transfer(&chain, 0, 0);
    no_input.inputs.clear();
    no_input.witnesses.clear();
    assert_eq!(rule(&chain, chain.block(vec![no_input], 0)), "TX-02");
    let mut missing = block.clone();
    missing.coinbase = Coinbase {
        version: COINBASE_VERSION,
        height: 0,
        extra_nonce: [0; 16],
        outputs: Vec::new(),
    };
    chain.remake(&mut missing);
    assert_eq!(rule(&chain, missing), "BLK-05");
}

#[test]
fn v07_a_coinbase_rests_also_after_a_reorganisation() {
    let maturity = cairn_fixtures::chain::MATURITY;
    let mut chain = TestChain::easy(1);
    chain.extend(Vec::new());
    let (outpoint, coin) = chain
        .coins()
        .iter()
        .find(|(_, coin)| coin.is_coinbase)
        .map(|(outpoint, coin)| (*outpoint, coin.clone()))
        .unwrap();
    let spend = |chain: &TestChain| {
        let payment = Payment::new()
            .spend(outpoint, &coin, &chain.miner)
            .pay_key(&TestKey::new(1), 5);
        chain.block(vec![chain.sign(&payment)], 0)
    };
    for _ in 2..coin.height + maturity {
        assert_eq!(
            rule(&chain, spend(&chain)),
            "TX-14",
            "height {}",
            chain.height() + 1
        );
        chain.extend(Vec::new());
    }
    assert!(chain.try_connect(spend(&chain)).is_ok());
    // One block back, and the coin rests again; forth, and it is ripe.
    let block = chain.disconnect().unwrap().into_block();
    assert_eq!(rule(&chain, spend(&chain)), "TX-14");
    chain.connect(block);
    assert!(chain.try_connect(spend(&chain)).is_ok());
}

#[test]
fn v08_a_repeated_tail_is_a_mutation() {
    let chain = TestChain::easy(3);
    let txs: Vec<_> = (0..3).map(|i| transfer(&chain, i, 0)).collect();
    let clean = chain.block(txs.clone(), 0);
    for tail in 1..=3 {
        let mut mutated = clean.clone();
        mutated.transactions.extend_from_slice(&txs[3 - tail..]);
        let violation = refused(&chain, mutated);
        assert_eq!(violation.id(), "BLK-01");
        assert!(
            violation.is_mutation(),
            "the id may arrive valid from someone else"
        );
    }
    assert!(chain.try_connect(clean).is_ok());
}

/// An inner node of the tree, 64 bytes of two hashes, proves no transaction.
#[test]
fn v09_inner_nodes_are_no_transactions() {
    let ids: Vec<_> = (0..4u8)
        .map(|i| (TxId([i; 32]), Wtxid([i + 9; 32])))
        .collect();
    let root = tx_root(ids.iter().map(|(txid, wtxid)| (txid, wtxid)));
    let proof = prove(&ids, 0).unwrap();
    let leaf = |i: usize| cairn_protocol::merkle::leaf(&ids[i].0, &ids[i].1);
    let mut shorter = proof.clone();
    shorter.siblings.remove(0);
    for count in [1, 2, 3, 4] {
        for index in 0..count {
            let fake = cairn_protocol::merkle::TxProof {
                count,
                index,
                ..shorter.clone()
            };
            let found = root_of_proof(&fake, &TxId(leaf(0)), &Wtxid(leaf(1)));
            assert_ne!(found, Some(root));
        }
    }
    assert_eq!(root_of_proof(&proof, &ids[0].0, &ids[0].1), Some(root));
}

#[test]
fn v10_coinbase_ids_never_repeat() {
    let mut chain = TestChain::easy(1);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..10 {
        chain.extend(Vec::new());
    }
    for block in chain.blocks() {
        assert!(
            ids.insert(block.coinbase_id()),
            "height {}",
            block.block().coinbase.height
        );
    }
    // The coinbase of another height does not fit this one.
    let old = chain.blocks().next().unwrap().block().coinbase.clone();
    let mut block = chain.block(Vec::new(), 0);
    block.coinbase = old;
    chain.remake(&mut block);
    assert_eq!(rule(&chain, block), "BLK-05");
}

#[test]
fn v11_a_changed_witness_is_a_mutation_and_no_transaction_changes_its_id() {
    let chain = TestChain::easy(1);
    let clean = chain.block(vec![transfer(&chain, 0, 0)], 0);
    let mut mutated = clean.clone();
    if let Witness::Key { signature, .. } = &mut mutated.transactions[0].witnesses[0] {
        signature.0[50] ^= 1;
    }
    assert_eq!(mutated.transactions[0].txid(), clean.transactions[0].txid());
    let violation = refused(&chain, mutated);
    assert!(violation.is_mutation(), "{violation}");
    assert!(chain.try_connect(clean).is_ok());
}

/// Points of small order, one by one and in batches: `signature.rs` and `signatures.json`. Here: the
/// cache never turns a bad signature into a good one.
#[test]
fn v12_a_cache_gives_the_verdict_of_a_check() {
    let chain = TestChain::easy(1);
    let good = transfer(&chain, 0, 0);
    let mut bad = good.clone();
    if let Witness::Key { signature, .. } = &mut bad.witnesses[0] {
        signature.0[33] ^= 4;
    }
    let mut signatures = CachedCheck::new(Ed25519, SignatureCache::new(100, (1, 2)));
    let mut connect = |tx: &Transaction| {
        let block = chain.block(vec![tx.clone()], 0);
        let checked = CheckedBlock::new(block, chain.params().limits()).unwrap();
        let (params, state) = (chain.params(), chain.state());
        connect_block(params, state, &checked, chain.coins(), &mut signatures).is_ok()
    };
    for _ in 0..3 {
        assert!(connect(&good));
        assert!(!connect(&bad));
    }
    assert!(signatures.cache().contains(&good.wtxid()));
    assert!(!signatures.cache().contains(&bad.wtxid()));
}

#[test]
fn v13_a_signature_binds_chain_transaction_input_and_coins() {
    let chain = TestChain::easy(2);
    let spent = Output {
        value: Amount(5),
        lock: TestKey::new(0).lock(),
    };
    let base = |chain_id, txid, spent: &[Output]| SighashBase::new(chain_id, txid, spent);
    let (id, txid) = (chain.chain_id(), TxId([1; 32]));
    let mut other_value = spent.clone();
    other_value.value.0 += 1;
    let mut other_lock = spent.clone();
    other_lock.lock = TestKey::new(1).lock();
    let two = [spent.clone(), spent.clone()];
    let hashes = [
        base(id, txid, &two).sighash(0),
        base(id, txid, &two).sighash(1),
        base(BlockId([2; 32]), txid, &two).sighash(0),
        base(id, TxId([2; 32]), &two).sighash(0),
        base(id, txid, &two[..1]).sighash(0),
        base(id, txid, &[spent.clone(), other_value]).sighash(0),
        base(id, txid, &[spent, other_lock]).sighash(0),
    ];
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
    // A replay on a chain that funds the same accounts.
    let mut file = chain.params().file().clone();
    file.seed = Hash([1; 32]);
    let other = TestChain::new(ChainParams::new(file).unwrap());
    let (outpoint, coin) = other.funded(0);
    let payment = Payment::new()
        .spend(outpoint, &coin, &TestKey::new(0))
        .pay_key(&TestKey::new(1), 5);
    let replayed = payment.sign(chain.chain_id());
    assert_eq!(rule(&other, other.block(vec![replayed], 0)), "TX-22");
}

struct CountingView<'a> {
    coins: &'a BTreeMap<OutPoint, Coin>,
    reads: Cell<usize>,
}

impl CoinView for CountingView<'_> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        self.reads.set(self.reads.get() + 1);
        self.coins.coin(outpoint)
    }
}

#[derive(Default)]
struct CountingSignatures {
    jobs: usize,
}

impl SignatureCheck for CountingSignatures {
    fn is_known(&self, _: &Wtxid) -> bool {
        false
    }
    fn verify(&mut self, jobs: &[SignatureJob]) -> Result<(), usize> {
        self.jobs += jobs.len();
        Ok(())
    }
    fn remember(&mut self, _: Wtxid) {}
}

/// One transaction of `inputs` inputs over a chain that funded as many coins: the time to connect it,
/// signatures only counted.
fn connect_huge(inputs: u64) -> (usize, usize, std::time::Duration) {
    let chain = TestChain::new(easy_params(inputs));
    let mut payment = Payment::new().pay_key(&TestKey::new(0), 1);
    for account in 0..inputs {
        let (outpoint, coin) = chain.funded(account as usize);
        let key = TestKey::new(account);
        payment = payment.open(outpoint, &coin, Opening::Keys(vec![key]));
    }
    let block = chain.block(vec![chain.sign(&payment)], 0);
    let checked = CheckedBlock::new(block, chain.params().limits()).unwrap();
    let connect = || {
        let view = CountingView {
            coins: chain.coins(),
            reads: Cell::new(0),
        };
        let mut signatures = CountingSignatures::default();
        let start = cpu_time();
        let (params, state) = (chain.params(), chain.state());
        connect_block(params, state, &checked, &view, &mut signatures).unwrap();
        (view.reads.get(), signatures.jobs, cpu_time() - start)
    };
    // The fastest of several: what the machine does beside it only adds.
    (0..7)
        .map(|_| connect())
        .min_by_key(|(.., time)| *time)
        .unwrap()
}

fn cpu_time() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// One read and one signature an input; four times the inputs cost four times the work, not sixteen.
#[test]
fn v14_cost_is_linear_in_inputs() {
    let (reads, jobs, small) = connect_huge(400);
    assert_eq!((reads, jobs), (400, 400));
    let (reads, jobs, large) = connect_huge(1_600);
    assert_eq!((reads, jobs), (1_600, 1_600));
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    assert!(
        ratio < 10.0,
        "1,600 inputs cost {ratio:.1} times what 400 cost"
    );
}

/// The dearest block has a bounded number of signatures.
#[test]
fn v14_signatures_of_a_block_are_bounded_by_its_weight() {
    let signature_weight = 64;
    let most = builtin::by_name("testnet")
        .unwrap()
        .limits()
        .block_weight_max
        / signature_weight;
    assert!(
        most <= 62_500,
        "{most} signatures take about a second of one core"
    );
}

/// Properties over every type: `round_trip.rs`. Here: the spellings that the row names.
#[test]
fn v15_other_spellings_of_a_block_are_refused() {
    let chain = TestChain::easy(1);
    let bytes = chain.block(vec![transfer(&chain, 0, 0)], 0).to_bytes();
    assert!(Block::from_bytes(&bytes).is_ok());
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Block::from_bytes(&longer).is_err());
    // Each byte of the extension and the body in turn spelled as a longer varint.
    let mut refused = 0;
    for at in 80..bytes.len() {
        if bytes[at] < 0x80 {
            let mut overlong = bytes.clone();
            overlong.splice(at..=at, [bytes[at] | 0x80, 0]);
            if let Ok(block) = Block::from_bytes(&overlong) {
                assert_eq!(
                    block.to_bytes(),
                    overlong,
                    "another block, canonical by itself"
                );
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

/// Memory under lying lengths: `memory.rs`. Here: depth.
#[test]
fn v16_locks_do_not_nest() {
    for depth in [2, 3, 100, 10_000] {
        let mut bytes = [3u8, 0, 5].repeat(depth);
        bytes.push(0);
        bytes.extend([7; 32]);
        assert!(
            decode::<Lock>(&bytes, BLOCK_BYTES_MAX).is_err(),
            "depth {depth}"
        );
    }
}

/// The truth table of points: `transactions.json`. Here: in a block, at the block's own place.
#[test]
fn v17_points_are_exact_in_blocks() {
    let mut chain = TestChain::easy(1);
    chain.extend(Vec::new());
    let (height, time) = (chain.height() + 1, chain.state().engine.median_time());
    let (outpoint, coin) = chain.funded(0);
    for (at, valid) in [
        (At::Height(height), true),
        (At::Height(height + 1), false),
        (At::Time(time), true),
        (At::Time(time + 1), false),
    ] {
        let payment = Payment::new()
            .spend(outpoint, &coin, &TestKey::new(0))
            .pay_key(&TestKey::new(0), 5)
            .valid_from(at);
        let block = chain.block(vec![chain.sign(&payment)], 0);
        assert_eq!(chain.try_connect(block).is_ok(), valid, "{at}");
    }
}

#[test]
fn v18_a_fee_is_what_inputs_leave() {
    let chain = TestChain::easy(1);
    let (outpoint, coin) = chain.funded(0);
    let pay = |pebbles| {
        let payment = Payment::new()
            .spend(outpoint, &coin, &TestKey::new(0))
            .pay_key(&TestKey::new(0), pebbles);
        chain.block(vec![chain.sign(&payment)], 0)
    };
    let value = coin.output.value.0;
    let (_, connected) = chain.try_connect(pay(value - 9)).unwrap();
    assert_eq!(connected.fees, [Amount(9)]);
    assert_eq!(
        chain.try_connect(pay(1)).unwrap().1.fees,
        [Amount(value - 1)]
    );
    let violation = refused(&chain, pay(value + 1));
    let (inputs, outputs) = (Amount(value), Amount(value + 1));
    assert_eq!(violation, Violation::Overspend { inputs, outputs });
}

/// Exactly at the limits and one above: `blocks.json` and `transactions.json`. Here: no transaction
/// at all, and the room that the smallest and the largest allowed parts leave.
#[test]
fn v19_limits_fit_one_another() {
    let chain = TestChain::easy(1);
    assert!(chain.try_connect(chain.block(Vec::new(), 0)).is_ok());
    let mut extension = chain.block(Vec::new(), 0).extension;
    extension.height = u64::MAX;
    extension.tx_count = u32::MAX;
    extension.switch.entry = u32::MAX;
    extension.switch.included_at = u64::MAX;
    extension.switch.activation = u64::MAX;
    extension.proposer = u16::MAX;
    extension.proposed_round = u32::MAX;
    let reveal = cairn_protocol::codec::BoundedBytes::new(vec![1; 96]);
    extension.seed_reveal = reveal.unwrap();
    let commitment = cairn_protocol::extension::Commitment {
        tag: u16::MAX,
        hash: Hash([1; 32]),
    };
    extension.commitments = vec![commitment; 8];
    assert_eq!(encode(&extension).len(), 651);
    assert!(encode(&extension).len() <= EXTENSION_BYTES_MAX);
}

/// 600 signatures fall into three batches; whichever of them are bad, the block has one error.
#[test]
fn v20_one_block_has_one_error() {
    let chain = TestChain::easy(600);
    let clean: Vec<_> = (0..600).map(|i| transfer(&chain, i, 0)).collect();
    for bad in [
        vec![599],
        vec![0, 599],
        vec![256, 300],
        vec![255, 256, 511, 512],
    ] {
        let mut txs = clean.clone();
        for at in &bad {
            if let Witness::Key { signature, .. } = &mut txs[*at].witnesses[0] {
                signature.0[40] ^= 1;
            }
        }
        let violation = refused(&chain, chain.block(txs, 0));
        assert_eq!(violation, Violation::BadSignature { input: 0 }, "{bad:?}");
    }
    assert!(chain.try_connect(chain.block(clean, 0)).is_ok());
}
