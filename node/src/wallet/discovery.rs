//! Finding a restored wallet's addresses again: look ahead until a gap of unused ones.
//!
//! Invariant: every address up to the last used one of each branch is in the state afterwards.
//! Source: BIP-44 "Address gap limit" (20).

use super::derivation::{Branch, KeyRing};
use super::directory::Wallet;
use super::error::WalletError;
use super::node_client::{ClientError, NodeClient};

/// Unused addresses in a row after which the search ends, unless told otherwise.
pub const GAP_LIMIT: usize = 20;

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// Receive addresses the wallet has now.
    pub receive: usize,
    /// Change addresses the wallet has now.
    pub change: usize,
}

/// Looks for used addresses on both branches and keeps those up to the last used one, plus one
/// fresh receive address.
pub fn discover(
    wallet: &mut Wallet,
    keys: &KeyRing,
    node: &NodeClient,
    gap_limit: usize,
) -> Result<Discovery, WalletError> {
    let is_used = |address: &str| node.address(address).map(|summary| summary.is_used());
    let receive = used_count(keys, Branch::Receive, gap_limit, is_used)?;
    let change = used_count(keys, Branch::Change, gap_limit, is_used)?;
    wallet.update(|state| {
        for (branch, used) in [(Branch::Receive, &receive), (Branch::Change, &change)] {
            let spare = usize::from(branch == Branch::Receive);
            state.extend(keys, branch, used.len() + spare);
            for (entry, &used) in state.branch_mut(branch).iter_mut().zip(used) {
                entry.used |= used;
            }
        }
        Discovery {
            receive: state.receive.len(),
            change: state.change.len(),
        }
    })
}

/// For each address up to the last used one of a branch, whether it was used.
fn used_count(
    keys: &KeyRing,
    branch: Branch,
    gap_limit: usize,
    is_used: impl Fn(&str) -> Result<bool, ClientError>,
) -> Result<Vec<bool>, ClientError> {
    let mut seen = Vec::new();
    let mut kept = 0;
    while seen.len() - kept < gap_limit {
        let index = u32::try_from(seen.len()).expect("the gap ends the search long before");
        let used = is_used(&keys.address(branch, index).to_string())?;
        seen.push(used);
        if used {
            kept = seen.len();
        }
    }
    seen.truncate(kept);
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use cairn_protocol::address::Network;

    use super::*;

    fn search(used: &[u32], gap_limit: usize) -> (Vec<bool>, usize) {
        let keys = KeyRing::new(&[3; 64], Network::Devnet);
        let used: Vec<String> = used
            .iter()
            .map(|&i| keys.address(Branch::Receive, i).to_string())
            .collect();
        let asked = Cell::new(0);
        let found = used_count(&keys, Branch::Receive, gap_limit, |address| {
            asked.set(asked.get() + 1);
            Ok(used.iter().any(|known| known == address))
        });
        (found.unwrap(), asked.get())
    }

    #[test]
    fn the_search_goes_on_until_the_gap_is_full() {
        assert_eq!(search(&[], 20), (vec![], 20));
        assert_eq!(search(&[0], 20), (vec![true], 21));
        let (found, asked) = search(&[2, 21], 20);
        assert_eq!((found.len(), asked), (22, 42));
        assert_eq!(found.iter().filter(|used| **used).count(), 2);
        // One further and it is out of sight, as BIP-44 says.
        assert_eq!(search(&[2, 23], 20).0.len(), 3);
        assert_eq!(search(&[2, 23], 21).0.len(), 24);
    }
}
