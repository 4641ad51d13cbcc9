//! Sending against a node that checks, refuses, forgets and breaks off.

use cairn_protocol::address::Network;

use super::super::balance::{Balance, balance};
use super::super::directory::KeyProtection;
use super::super::discovery::{GAP_LIMIT, discover};
use super::super::fake_node::{FakeNode, Mood};
use super::super::history::{HistoryEntry, history};
use super::super::words::Words;
use super::*;

struct Setting {
    _root: tempfile::TempDir,
    wallet: Wallet,
    keys: KeyRing,
    node: FakeNode,
    client: NodeClient,
}

/// A wallet with one mature coin per entry of `coins`, in CRN.
fn setting(network: Network, coins: &[u64]) -> Setting {
    let root = tempfile::tempdir().unwrap();
    let words = Words::generate();
    let keys = KeyRing::new(&words.seed()[..], network);
    let password = crate::keystore::Secret::new(b"x".to_vec());
    let protection = match network {
        Network::Devnet => KeyProtection::Open,
        _ => KeyProtection::Password(password),
    };
    let path = root.path().join("wallet");
    let wallet = Wallet::create(&path, network, &words, &protection).unwrap();
    let node = FakeNode::start(network);
    for &crn in coins {
        node.ledger()
            .fund(&wallet.state().current_address().address, crn, true);
    }
    let client = node.client();
    Setting {
        _root: root,
        wallet,
        keys,
        node,
        client,
    }
}

fn stranger(network: Network) -> Address {
    KeyRing::new(&[200; 64], network).address(Branch::Receive, 0)
}

impl Setting {
    fn pay(&mut self, crn: u64) -> Result<Sent, WalletError> {
        let to = stranger(self.wallet.network());
        let (fee, seed) = (FeeChoice::Rate(FeeRate(1000)), 1);
        let amount = Amount::from_crn(crn);
        send(
            &mut self.wallet,
            &self.keys,
            &self.client,
            to,
            amount,
            fee,
            seed,
        )
    }

    fn settle(&mut self) {
        settle(&mut self.wallet, &self.client).unwrap();
    }

    fn balance(&mut self) -> Balance {
        balance(&mut self.wallet, &self.client).unwrap()
    }

    fn progress(&self) -> Vec<PaymentProgress> {
        self.wallet
            .state()
            .payments
            .iter()
            .map(|payment| payment.progress)
            .collect()
    }
}

#[test]
fn a_payment_is_taken_counted_and_confirmed() {
    let mut s = setting(Network::Devnet, &[10]);
    let sent = s.pay(3).unwrap();
    assert_eq!(sent.change.0, Amount::from_crn(7).0 - sent.fee.0);
    let pending = s.balance();
    assert_eq!(pending.confirmed, Amount::from_crn(10));
    assert_eq!(
        pending.pending,
        -i128::from(Amount::from_crn(3).0 + sent.fee.0)
    );
    s.node.ledger().mine();
    s.settle();
    assert_eq!(s.progress(), [PaymentProgress::Confirmed]);
    let confirmed = s.balance();
    assert_eq!((confirmed.confirmed, confirmed.pending), (sent.change, 0));
}

#[test]
fn coins_of_waiting_payments_are_not_spent_again() {
    let mut s = setting(Network::Devnet, &[10, 10, 10]);
    for _ in 0..3 {
        s.pay(6).unwrap();
    }
    let ledger = s.node.ledger();
    let inputs: BTreeSet<OutPoint> = ledger
        .waiting()
        .iter()
        .flat_map(|t| t.inputs.clone())
        .collect();
    assert_eq!((ledger.waiting().len(), inputs.len()), (3, 3));
}

#[test]
fn own_change_pays_before_it_is_confirmed_when_nothing_else_does() {
    let mut s = setting(Network::Devnet, &[10]);
    s.pay(3).unwrap();
    s.pay(3).unwrap();
    s.pay(3).unwrap();
    assert_eq!(s.node.ledger().waiting().len(), 3);
    assert!(matches!(s.pay(3), Err(WalletError::Selection(_))));
    s.node.ledger().mine();
    s.settle();
    assert_eq!(s.progress(), [PaymentProgress::Confirmed; 3]);
}

#[test]
fn every_payment_has_a_change_address_of_its_own() {
    let mut s = setting(Network::Devnet, &[10, 10, 10]);
    for _ in 0..3 {
        s.pay(6).unwrap();
    }
    let payments = &s.wallet.state().payments;
    let indexes: Vec<u32> = payments
        .iter()
        .map(|payment| payment.change.as_ref().unwrap().index)
        .collect();
    assert_eq!(indexes, [0, 1, 2]);
}

#[test]
fn a_lost_answer_is_settled_by_asking() {
    let mut s = setting(Network::Devnet, &[10]);
    s.node.ledger().mood = Mood::LosesAnswers;
    assert!(matches!(
        s.pay(3),
        Err(WalletError::Node(ClientError::Unreachable { .. }))
    ));
    assert_eq!(s.progress(), [PaymentProgress::Signed]);
    s.node.ledger().mood = Mood::Honest;
    s.settle();
    assert_eq!(s.progress(), [PaymentProgress::Sent]);
    assert_eq!(s.node.ledger().waiting().len(), 1, "nothing was paid twice");
}

#[test]
fn a_payment_that_never_arrived_is_handed_over_again() {
    let mut s = setting(Network::Devnet, &[10, 10]);
    s.node.ledger().mood = Mood::LosesRequests;
    assert!(s.pay(3).is_err());
    s.node.ledger().mood = Mood::Honest;
    s.pay(4).unwrap();
    assert_eq!(s.progress(), [PaymentProgress::Sent; 2]);
    assert_eq!(s.node.ledger().waiting().len(), 2);
}

#[test]
fn a_payment_that_the_node_forgot_is_handed_over_again() {
    let mut s = setting(Network::Devnet, &[10]);
    let sent = s.pay(3).unwrap();
    s.node.ledger().forget();
    s.settle();
    assert_eq!(s.node.ledger().waiting()[0].txid(), sent.txid);
}

#[test]
fn a_refused_payment_frees_its_coins() {
    let mut s = setting(Network::Devnet, &[10]);
    s.node.ledger().mood = Mood::Refuses;
    let error = s.pay(3).unwrap_err();
    assert!(error.to_string().contains("fee too low"), "{error}");
    s.node.ledger().mood = Mood::Honest;
    s.pay(9).unwrap();
    assert_eq!(
        s.progress(),
        [PaymentProgress::Refused, PaymentProgress::Sent]
    );
}

#[test]
fn immature_coins_are_counted_and_not_spent() {
    let mut s = setting(Network::Devnet, &[]);
    let address = s.wallet.state().current_address().address.clone();
    s.node.ledger().fund(&address, 10, false);
    s.node.ledger().fund(&address, 2, true);
    let sum = s.balance();
    assert_eq!(
        (sum.confirmed, sum.immature),
        (Amount::from_crn(12), Amount::from_crn(10))
    );
    assert!(matches!(s.pay(3), Err(WalletError::Selection(_))));
    s.pay(1).unwrap();
}

#[test]
fn the_fee_follows_the_target() {
    let mut s = setting(Network::Devnet, &[10, 10]);
    let (to, amount) = (stranger(Network::Devnet), Amount::from_crn(3));
    let mut fee = |choice| {
        send(&mut s.wallet, &s.keys, &s.client, to, amount, choice, 1)
            .unwrap()
            .fee
            .0
    };
    let (urgent, asked) = (
        fee(FeeChoice::Target(6)),
        fee(FeeChoice::Rate(FeeRate(4000))),
    );
    assert!(
        urgent.abs_diff(asked) <= 8,
        "{urgent} at the node's 4,000, {asked} at the asked one"
    );
}

#[test]
fn nothing_is_no_payment() {
    let mut s = setting(Network::Devnet, &[10]);
    assert!(matches!(s.pay(0), Err(WalletError::NothingToPay { .. })));
}

#[test]
fn a_wallet_stays_on_its_chain_and_a_devnet_wallet_moves_along() {
    let mut s = setting(Network::Testnet, &[10, 10]);
    s.pay(3).unwrap();
    s.node.ledger().genesis = BlockId([8; 32]);
    let error = s.pay(3).unwrap_err();
    assert!(matches!(error, WalletError::OtherChain { .. }), "{error}");

    let mut s = setting(Network::Devnet, &[10, 10]);
    s.pay(3).unwrap();
    s.node.ledger().forget();
    s.node.ledger().genesis = BlockId([8; 32]);
    s.pay(3).unwrap();
    assert_eq!(
        s.wallet.state().payments.len(),
        1,
        "the old chain's payments are gone"
    );
}

#[test]
fn history_tells_each_transaction_once_with_what_it_changed() {
    let mut s = setting(Network::Devnet, &[10, 10]);
    let first = s.pay(3).unwrap();
    s.node.ledger().mine();
    s.node.ledger().mine();
    let second = s.pay(4).unwrap();
    s.settle();
    let tip = s.node.ledger().height;
    let entries = history(&s.wallet, &s.client, tip).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.txid.clone(),
                entry.confirmations,
                entry.amount.clone(),
                entry.state,
            )
        })
        .collect();
    let lost = |sent: &Sent, crn| format!("-{}", Amount::from_crn(crn).0 + sent.fee.0);
    assert_eq!(
        told,
        [
            (second.txid.to_string(), 0, lost(&second, 4), "pending"),
            (first.txid.to_string(), 2, lost(&first, 3), "confirmed"),
        ]
    );
    assert_eq!(entries[1].fee, Some(first.fee.0.to_string()));
}

/// Money that is on its way shows before a block holds it, and once.
#[test]
fn history_tells_of_incoming_payments_that_wait() {
    let mut payer = setting(Network::Devnet, &[10]);
    let mut s = setting(Network::Devnet, &[]);
    let to = s.wallet.state().current_address().address.clone();
    let to = Address::parse(&to, Network::Devnet).unwrap();
    let (fee, amount) = (FeeChoice::Rate(FeeRate(1000)), Amount::from_crn(4));
    let sent = send(
        &mut payer.wallet,
        &payer.keys,
        &payer.client,
        to,
        amount,
        fee,
        1,
    )
    .unwrap();
    // Both wallets ask one node.
    s.client = payer.node.client();
    let told = |s: &Setting| {
        let tip = payer.node.ledger().height;
        let entries = history(&s.wallet, &s.client, tip).unwrap();
        let told = |entry: &HistoryEntry| {
            let HistoryEntry {
                txid,
                amount,
                state,
                ..
            } = entry;
            (txid.clone(), amount.clone(), *state, entry.confirmations)
        };
        entries.iter().map(told).collect::<Vec<_>>()
    };
    let (txid, value) = (sent.txid.to_string(), amount.0.to_string());
    assert_eq!(told(&s), [(txid.clone(), value.clone(), "pending", 0)]);
    payer.node.ledger().mine();
    assert_eq!(told(&s), [(txid, value, "confirmed", 1)]);
}

#[test]
fn a_restored_wallet_finds_its_coins_again() {
    let mut s = setting(Network::Devnet, &[10]);
    s.wallet.extend(&s.keys, Branch::Receive, 12).unwrap();
    let far = s.wallet.state().current_address().address.clone();
    s.node.ledger().fund(&far, 5, true);
    let sent = s.pay(3).unwrap();
    s.node.ledger().mine();
    let before = s.balance();
    assert_eq!(before.confirmed.0, Amount::from_crn(12).0 - sent.fee.0);

    let root = tempfile::tempdir().unwrap();
    let words = s.wallet.words(|| panic!("open")).unwrap();
    let path = root.path().join("wallet");
    s.wallet = Wallet::create(&path, Network::Devnet, &words, &KeyProtection::Open).unwrap();
    let found = discover(&mut s.wallet, &s.keys, &s.client, GAP_LIMIT).unwrap();
    assert_eq!((found.receive, found.change), (13, 1));
    assert_eq!(s.balance(), before);
}
