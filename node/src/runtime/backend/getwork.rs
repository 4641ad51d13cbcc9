//! getwork: headers out to miners older than Stratum, solved headers in.
//!
//! Rules: `spec/14-mining.md#getwork`.

use super::NodeBackend;
use crate::api::backend::{Answer, BackendError};
use crate::stratum::{self, FoundOutcome, NoWork};
use cairn_miner::stratum::{getwork_data, getwork_header};
use cairn_protocol::address::Address;
use cairn_protocol::lock::Lock;
use serde_json::{Value, json};

/// Refuses on a chain that no foreign miner can mine.
fn check_function(backend: &NodeBackend) -> Answer<()> {
    match stratum::refusal(backend.params()) {
        Some(why) => Err(BackendError::NotAvailable(why)),
        None => Ok(()),
    }
}

/// Whom a miner's blocks pay: the address that it names as its user, or else this node's.
fn reward(backend: &NodeBackend, user: Option<&str>) -> Answer<Lock> {
    let named = user.map(|user| user.split_once('.').map_or(user, |(address, _)| address));
    if let Some(text) = named {
        match Address::parse(text, backend.params().network()) {
            Ok(address) => return Ok(address.lock()),
            // A typing error must not pay somebody else.
            Err(error) if looks_like_an_address(text) => {
                return Err(BackendError::Invalid(error.to_string()));
            }
            Err(_) => {}
        }
    }
    backend.reward.map(|address| address.lock()).ok_or_else(|| {
        BackendError::NotAvailable(
            "getwork has no address to pay: give the miner one as its user (minerd -u ADDRESS -p x), \
             or start this node with --mine-to"
                .to_owned(),
        )
    })
}

fn looks_like_an_address(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["crn1", "tcrn1", "dcrn1"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

/// A header to search.
pub(super) fn get(backend: &NodeBackend, user: Option<&str>) -> Answer<Value> {
    check_function(backend)?;
    let lock = reward(backend, user)?;
    let (header, target) = backend
        .runtime
        .block_on(backend.feed.get_work(&lock))
        .map_err(|error| match error {
            NoWork::Template(why) => BackendError::Fault(why),
            other => BackendError::Busy(other.to_string()),
        })?;
    let (data, target) = getwork_data(&header, target);
    Ok(json!({ "data": data, "target": target }))
}

/// A solved header; a text says why it is not good.
pub(super) fn submit(backend: &NodeBackend, data: &[u8]) -> Answer<Result<(), String>> {
    check_function(backend)?;
    let header = getwork_header(data).ok_or_else(|| {
        let bytes = data.len();
        BackendError::Invalid(format!("data: {bytes} bytes, expected 128 or 80"))
    })?;
    let outcome = backend
        .runtime
        .block_on(backend.feed.submit_work(&header))
        .map_err(|error| BackendError::Busy(error.to_string()))?;
    Ok(match outcome {
        Ok(FoundOutcome::Connected(_)) => Ok(()),
        Ok(FoundOutcome::Lost(why)) => Err(why),
        Err(refusal) => Err(refusal.to_string()),
    })
}
