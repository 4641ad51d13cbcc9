//! What the wallet is worth, as its node sees it.
//!
//! Invariant: `confirmed` is the sum over all addresses of what the tip's coins hold, immature ones
//! included, as everywhere in the HTTP interface; `immature` says how much of it must still wait.

use cairn_protocol::units::Amount;

use super::directory::Wallet;
use super::error::WalletError;
use super::node_client::NodeClient;

/// Sums over all addresses of a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Held by coins at the tip.
    pub confirmed: Amount,
    /// What the mempool would add (or take away).
    pub pending: i128,
    /// The part of `confirmed` that cannot be spent yet.
    pub immature: Amount,
}

/// Asks the node about every address; addresses that were seen in use are marked.
pub fn balance(wallet: &mut Wallet, node: &NodeClient) -> Result<Balance, WalletError> {
    let mut sum = Balance::default();
    let mut used = Vec::new();
    for (branch, index, entry) in wallet.state().addresses() {
        let summary = node.address(&entry.address)?;
        if summary.is_used() && !entry.used {
            used.push((branch, index));
        }
        sum.confirmed = plus(sum.confirmed, summary.balance);
        sum.pending += summary.pending;
        if summary.balance > Amount::ZERO {
            let utxos = node.utxos(&entry.address)?;
            sum.immature = utxos
                .iter()
                .filter(|utxo| !utxo.mature)
                .fold(sum.immature, |immature, utxo| plus(immature, utxo.value));
        }
    }
    wallet.update(|state| {
        for (branch, index) in used {
            state.branch_mut(branch)[index as usize].used = true;
        }
    })?;
    Ok(sum)
}

/// The money cap keeps honest sums far below the limit; a lying node gets the largest number.
fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount(u64::MAX))
}
