//! Which chain a wallet lives on: decided by the first node it talks to, kept for ever after.
//!
//! Invariant: a signature commits to the chain's genesis, so a payment is never built for a chain
//! the wallet was not used on. On devnets, which begin anew all the time, the wallet moves along and
//! forgets what it sent on the old chain.

use cairn_protocol::address::Network;

use super::directory::Wallet;
use super::error::WalletError;
use super::node_client::{NodeClient, NodeStatus};

/// Asks the node which chain it follows and binds the wallet to it, or refuses.
pub fn bind(wallet: &mut Wallet, node: &NodeClient) -> Result<NodeStatus, WalletError> {
    let status = node.status()?;
    let genesis = status.genesis.to_string();
    let known = wallet.state().genesis.clone();
    match known {
        Some(known) if known == genesis => return Ok(status),
        Some(known) if wallet.network() != Network::Devnet => {
            return Err(WalletError::OtherChain {
                api: node.base().to_owned(),
                found: genesis,
                expected: known,
            });
        }
        _ => {}
    }
    // The node judges the address: one of another network is refused with a 400.
    let probe = wallet.state().current_address().address.clone();
    node.address(&probe)?;
    wallet.update(|state| {
        if state.genesis.is_some() {
            state.payments.clear();
            for entry in state.receive.iter_mut().chain(&mut state.change) {
                entry.used = false;
            }
        }
        state.genesis = Some(genesis);
    })?;
    Ok(status)
}
