//! What the wallet remembers besides its key: addresses, labels and payments sent.
//!
//! Invariant: nothing here is secret, and all but labels can be found again from the words.

use cairn_protocol::address::Network;
use serde::{Deserialize, Serialize};

use super::derivation::{Branch, KeyRing};

/// Version of the state file.
pub const STATE_VERSION: u32 = 1;
/// Payments that left the mempool are remembered up to this number, for the history.
const PAYMENTS_MAX: usize = 10_000;

/// An address of the wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressEntry {
    /// Its text.
    pub address: String,
    /// The owner's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether a node was seen to know a transaction of it.
    #[serde(default)]
    pub used: bool,
}

/// How far a payment has come, as of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProgress {
    /// Written down, perhaps never told to a node.
    Signed,
    /// A node took it.
    Sent,
    /// In a block when last looked at.
    Confirmed,
    /// Refused by a node and not expected to confirm.
    Refused,
}

/// The change output of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeOutput {
    /// Its place among the outputs.
    pub output: u32,
    /// Which change address it pays to.
    pub index: u32,
    /// Pebbles.
    pub value: u64,
}

/// A payment this wallet signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Transaction id, hex.
    pub txid: String,
    /// The signed transaction, hex.
    pub hex: String,
    /// Spent coins as "txid:index".
    pub inputs: Vec<String>,
    /// The recipient.
    pub to: String,
    /// Pebbles to the recipient.
    pub amount: u64,
    /// Pebbles to the miner.
    pub fee: u64,
    /// What came back.
    pub change: Option<ChangeOutput>,
    /// Seconds since 1970.
    pub time: u64,
    /// How far it has come.
    pub progress: PaymentProgress,
}

impl Payment {
    /// Whether its inputs are spoken for although no block holds it yet.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.progress,
            PaymentProgress::Signed | PaymentProgress::Sent
        )
    }
}

/// The state file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletState {
    /// `STATE_VERSION`.
    pub version: u32,
    /// Whose addresses.
    pub network: Network,
    /// The chain this wallet was first used on, hex of its genesis id.
    pub genesis: Option<String>,
    /// Addresses for others, by index.
    pub receive: Vec<AddressEntry>,
    /// Addresses for change, by index.
    pub change: Vec<AddressEntry>,
    /// Payments in the order of signing.
    pub payments: Vec<Payment>,
}

impl WalletState {
    /// A new wallet's state: one receive address.
    pub fn new(network: Network, keys: &KeyRing) -> Self {
        let mut state = Self {
            version: STATE_VERSION,
            network,
            genesis: None,
            receive: Vec::new(),
            change: Vec::new(),
            payments: Vec::new(),
        };
        state.extend(keys, Branch::Receive, 1);
        state
    }

    /// The addresses of one branch.
    pub fn branch(&self, branch: Branch) -> &[AddressEntry] {
        match branch {
            Branch::Receive => &self.receive,
            Branch::Change => &self.change,
        }
    }

    /// The addresses of one branch, to change.
    pub fn branch_mut(&mut self, branch: Branch) -> &mut Vec<AddressEntry> {
        match branch {
            Branch::Receive => &mut self.receive,
            Branch::Change => &mut self.change,
        }
    }

    /// Derives addresses until the branch has `count` of them.
    pub fn extend(&mut self, keys: &KeyRing, branch: Branch, count: usize) {
        let entries = self.branch_mut(branch);
        for index in entries.len()..count {
            let index = u32::try_from(index).expect("a branch has far fewer than 2^31 addresses");
            let address = keys.address(branch, index).to_string();
            entries.push(AddressEntry {
                address,
                label: None,
                used: false,
            });
        }
    }

    /// All addresses with their branch and index, receive before change.
    pub fn addresses(&self) -> impl Iterator<Item = (Branch, u32, &AddressEntry)> {
        [Branch::Receive, Branch::Change]
            .into_iter()
            .flat_map(|branch| {
                self.branch(branch)
                    .iter()
                    .zip(0..)
                    .map(move |(entry, index)| (branch, index, entry))
            })
    }

    /// The address to give out: the last receive address.
    pub fn current_address(&self) -> &AddressEntry {
        self.receive
            .last()
            .expect("a wallet has at least one receive address")
    }

    /// Receive addresses after the last one that was used.
    pub fn unused_tail(&self) -> usize {
        self.receive
            .iter()
            .rev()
            .take_while(|entry| !entry.used)
            .count()
    }

    /// Remembers a payment, forgetting the oldest finished ones beyond the bound.
    pub fn remember(&mut self, payment: Payment) {
        self.payments.push(payment);
        while self.payments.len() > PAYMENTS_MAX {
            let finished = self
                .payments
                .iter()
                .position(|payment| !payment.is_pending());
            self.payments.remove(finished.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(number: usize, progress: PaymentProgress) -> Payment {
        Payment {
            txid: number.to_string(),
            hex: String::new(),
            inputs: vec![],
            to: String::new(),
            amount: 1,
            fee: 1,
            change: None,
            time: 0,
            progress,
        }
    }

    #[test]
    fn addresses_are_those_of_the_key_ring_in_order() {
        let keys = KeyRing::new(&[1; 64], Network::Devnet);
        let mut state = WalletState::new(Network::Devnet, &keys);
        assert_eq!(
            state.current_address().address,
            keys.address(Branch::Receive, 0).to_string()
        );
        state.extend(&keys, Branch::Receive, 3);
        state.extend(&keys, Branch::Change, 2);
        state.extend(&keys, Branch::Change, 1);
        let listed: Vec<_> = state
            .addresses()
            .map(|(branch, index, _)| (branch, index))
            .collect();
        let (r, c) = (Branch::Receive, Branch::Change);
        assert_eq!(listed, [(r, 0), (r, 1), (r, 2), (c, 0), (c, 1)]);
        for (branch, index, entry) in state.addresses() {
            assert_eq!(entry.address, keys.address(branch, index).to_string());
        }
        state.receive[1].used = true;
        assert_eq!(state.unused_tail(), 1);
    }

    #[test]
    fn a_pending_payment_is_never_forgotten() {
        let keys = KeyRing::new(&[1; 64], Network::Devnet);
        let mut state = WalletState::new(Network::Devnet, &keys);
        state.remember(payment(0, PaymentProgress::Sent));
        for number in 1..=PAYMENTS_MAX {
            state.remember(payment(number, PaymentProgress::Confirmed));
        }
        assert_eq!(state.payments.len(), PAYMENTS_MAX);
        assert_eq!(state.payments[0].txid, "0");
        assert_eq!(state.payments[1].txid, "2");
    }

    #[test]
    fn the_file_form_reads_back() {
        let keys = KeyRing::new(&[1; 64], Network::Devnet);
        let mut state = WalletState::new(Network::Devnet, &keys);
        state.receive[0].label = Some("rent".into());
        state.remember(payment(7, PaymentProgress::Signed));
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<WalletState>(&text).unwrap(), state);
    }
}
