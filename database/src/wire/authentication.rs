//! Who may begin a session: everybody on loopback, or whoever knows a password.
//!
//! Invariant: a client learns nothing about which users exist; an address whose attempts fail waits
//! longer before each next one.

use super::message::{Frontend, Reader};
use super::report::Report;
use super::scram::{Conversation, MECHANISM, MECHANISM_PLUS, ScramError, Verifier};
use super::tls::Tls;
use super::transport::{Transport, TransportError};
use crate::limits::{STARTUP_BYTES_MAX, THROTTLE_MS, THROTTLE_MS_MAX, THROTTLED_ADDRESSES_MAX};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where the verifiers of passwords are.
pub trait Verifiers: Send + Sync {
    /// The verifier of a user that may log in and has a password.
    fn verifier(&self, user: &str) -> Option<Verifier>;
}

/// One user with one password.
#[derive(Debug)]
pub struct OneUser {
    /// The user.
    pub name: String,
    /// The password's verifier.
    pub verifier: Verifier,
}

impl Verifiers for OneUser {
    fn verifier(&self, user: &str) -> Option<Verifier> {
        (user == self.name).then(|| self.verifier.clone())
    }
}

/// How clients show who they are.
#[derive(Clone)]
pub enum Authentication {
    /// They need not: only for listeners on loopback.
    Trust,
    /// By SCRAM-SHA-256.
    Scram(Arc<dyn Verifiers>),
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Authentication::Trust => "Trust",
            Authentication::Scram(_) => "Scram",
        })
    }
}

/// Failed attempts by address.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<IpAddr, u32>>,
}

impl Throttle {
    /// How long an attempt from this address waits for its answer.
    pub fn delay(&self, address: IpAddr) -> Duration {
        let failures = self.failures.lock().get(&address).copied().unwrap_or(0);
        let ms = match failures {
            0 => 0,
            failures => THROTTLE_MS << (failures - 1).min(16),
        };
        Duration::from_millis(ms.min(THROTTLE_MS_MAX))
    }

    /// An attempt failed.
    pub fn failed(&self, address: IpAddr) {
        let mut failures = self.failures.lock();
        if failures.len() >= THROTTLED_ADDRESSES_MAX && !failures.contains_key(&address) {
            // Whoever has this many addresses is not stopped by counting them.
            failures.clear();
        }
        let count = failures.entry(address).or_default();
        *count = count.saturating_add(1);
    }

    /// An attempt succeeded.
    pub fn succeeded(&self, address: IpAddr) {
        self.failures.lock().remove(&address);
    }
}

/// Why a session does not begin.
#[derive(Debug)]
pub enum Refusal {
    /// The client is told.
    Told(Report),
    /// The connection is lost.
    Lost(TransportError),
    /// The client left.
    Left,
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Protocol(error) => {
                Refusal::Told(Report::fatal(error.sqlstate(), error.to_string()))
            }
            other => Refusal::Lost(other),
        }
    }
}

/// Asks a client for its password.
pub async fn scram(
    transport: &mut Transport,
    user: &str,
    verifiers: &dyn Verifiers,
    secret: &[u8; 32],
    tls: Option<&Tls>,
    delay: Duration,
) -> Result<(), Refusal> {
    let endpoint = tls.filter(|_| transport.is_tls()).map(|tls| &*tls.endpoint);
    let mechanisms: &[&str] = match endpoint {
        Some(_) => &[MECHANISM_PLUS, MECHANISM],
        None => &[MECHANISM],
    };
    transport.out.authentication_sasl(mechanisms);
    transport.flush().await?;
    let body = password_message(transport).await?;
    let mut reader = Reader::new(&body);
    let malformed = || Refusal::Told(Report::fatal("08P01", "malformed SCRAM message"));
    let mechanism = reader.text().map_err(|_| malformed())?;
    let plus = match mechanism {
        MECHANISM => false,
        MECHANISM_PLUS if endpoint.is_some() => true,
        _ => {
            return Err(Refusal::Told(Report::fatal(
                "08P01",
                "client selected an invalid SASL authentication mechanism",
            )));
        }
    };
    let first = reader.field().map_err(|_| malformed())?;
    let first = first.ok_or_else(malformed)?;
    let verifier = verifiers.verifier(user);
    let begun = Conversation::begin(first, user, verifier, secret, plus, endpoint);
    let (conversation, answer) = begun.map_err(|error| refuse(user, &error))?;
    transport.out.authentication_continue(&answer);
    transport.flush().await?;
    let last = password_message(transport).await?;
    tokio::time::sleep(delay).await;
    let finished = conversation.finish(&last);
    let answer = finished.map_err(|error| refuse(user, &error))?;
    transport.out.authentication_final(&answer);
    Ok(())
}

fn refuse(user: &str, error: &ScramError) -> Refusal {
    Refusal::Told(match error {
        ScramError::Malformed(why) => {
            Report::fatal("08P01", "malformed SCRAM message").detail(*why)
        }
        ScramError::Refused => Report::fatal(
            "28P01",
            format!("password authentication failed for user \"{user}\""),
        ),
    })
}

async fn password_message(transport: &mut Transport) -> Result<Vec<u8>, Refusal> {
    let message = transport.message(STARTUP_BYTES_MAX).await?;
    let (kind, body) = message.ok_or(Refusal::Left)?;
    match Frontend::parse(kind, &body) {
        Ok(Frontend::Password(data)) => Ok(data.to_vec()),
        _ => Err(Refusal::Told(Report::fatal(
            "08P01",
            format!("expected a SASL response, got message type {kind}"),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_up_to_a_bound() {
        let throttle = Throttle::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut last = throttle.delay(address);
        assert!(last.is_zero());
        for _ in 0..5 {
            throttle.failed(address);
            let next = throttle.delay(address);
            assert!(next > last);
            last = next;
        }
        (0..100).for_each(|_| throttle.failed(address));
        assert_eq!(
            throttle.delay(address),
            Duration::from_millis(THROTTLE_MS_MAX)
        );
        throttle.succeeded(address);
        assert!(throttle.delay(address).is_zero());
        for n in 0..2 * THROTTLED_ADDRESSES_MAX as u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()));
        }
        assert!(throttle.failures.lock().len() <= THROTTLED_ADDRESSES_MAX);
    }
}
