//! A transport that refuses to dial addresses which are not global.
//!
//! Invariant: on a public chain no rumour makes this node dial into a private network. The filter
//! stands below name resolution, so that names cannot lead around it, and below discovery, which
//! dials on its own. Source: `spec/07-p2p.md#discovery`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

use crate::peers::groups::is_dialable;

/// Wraps the transports that open sockets.
#[derive(Debug)]
pub struct DialFilter<T> {
    inner: T,
    private_allowed: bool,
}

impl<T> DialFilter<T> {
    /// Filters dials of `inner`.
    pub fn new(inner: T, private_allowed: bool) -> Self {
        Self {
            inner,
            private_allowed,
        }
    }
}

impl<T: Transport + Unpin> Transport for DialFilter<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !is_dialable(&address, self.private_allowed) {
            tracing::debug!(%address, "address is not global, not dialled");
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}
