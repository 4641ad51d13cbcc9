//! Which ports the nodes listen on.
//!
//! Invariant: no port is given out twice, and a port that the user named is never exchanged for
//! another: it is free or the start fails. A default that is taken moves on to the next free one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use super::error::DevnetError;
use super::layout::node_name;

/// Where the ports of one kind begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortBase {
    /// "p2p", "api" or "sql".
    pub what: &'static str,
    /// The flag that sets it.
    pub flag: &'static str,
    /// Port of node 0.
    pub first: u16,
    /// Whether the user named it.
    pub is_given: bool,
}

/// A port for one node.
#[derive(Debug, PartialEq, Eq)]
pub struct Picked {
    /// The port.
    pub port: u16,
    /// What to tell the user when it is not the one expected.
    pub note: Option<String>,
}

/// Ports given out so far, held open until [`Ports::release`], so that nobody takes them meanwhile.
#[derive(Default)]
pub struct Ports {
    taken: BTreeSet<u16>,
    held: Vec<TcpListener>,
}

impl Ports {
    /// The port of `base` for node `number`.
    pub fn pick(&mut self, base: PortBase, number: usize) -> Result<Picked, DevnetError> {
        let PortBase {
            what,
            flag,
            first,
            is_given,
        } = base;
        let node = node_name(number);
        let wanted = u16::try_from(number)
            .ok()
            .and_then(|number| first.checked_add(number));
        let Some(wanted) = wanted else {
            return Err(DevnetError::NoPort { first, what, node });
        };
        if is_given {
            return match self.hold(wanted) {
                true => Ok(Picked {
                    port: wanted,
                    note: None,
                }),
                false => Err(DevnetError::PortTaken {
                    port: wanted,
                    what,
                    node,
                    flag,
                }),
            };
        }
        let free = (wanted..=u16::MAX).find(|&port| self.hold(port));
        let port = free.ok_or_else(|| DevnetError::NoPort {
            first,
            what,
            node: node.clone(),
        })?;
        let moved = || format!("port {wanted} is taken; the {what} of {node} is on port {port}");
        Ok(Picked {
            port,
            note: (port != wanted).then(moved),
        })
    }

    /// Lets go of the listeners; the ports stay given out.
    pub fn release(&mut self) {
        self.held.clear();
    }

    fn hold(&mut self, port: u16) -> bool {
        if self.taken.contains(&port) {
            return false;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                self.held.push(listener);
                self.taken.insert(port)
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(first: u16, is_given: bool) -> PortBase {
        PortBase {
            what: "api",
            flag: "--api-port",
            first,
            is_given,
        }
    }

    /// A port that is taken for as long as the listener lives, with room above it.
    fn taken() -> (TcpListener, u16) {
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            if port < u16::MAX - 100 {
                return (listener, port);
            }
        }
    }

    #[test]
    fn a_given_port_that_is_taken_is_an_error() {
        let (_listener, port) = taken();
        let error = Ports::default().pick(base(port, true), 0).unwrap_err();
        let DevnetError::PortTaken {
            port: named, flag, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((named, flag), (port, "--api-port"));
    }

    #[test]
    fn a_default_port_that_is_taken_moves_on_and_says_so() {
        let (_listener, port) = taken();
        let mut ports = Ports::default();
        let first = ports.pick(base(port, false), 0).unwrap();
        assert!(first.port > port);
        let note = first.note.unwrap();
        assert!(note.contains(&port.to_string()) && note.contains(&first.port.to_string()));
        let second = ports.pick(base(port, false), 1).unwrap();
        assert!(second.port > first.port, "no port twice");
    }

    #[test]
    fn ports_are_free_after_release_and_not_before() {
        let mut ports = Ports::default();
        let (listener, port) = taken();
        drop(listener);
        let picked = ports.pick(base(port, false), 0).unwrap().port;
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, picked)).is_err());
        ports.release();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, picked)).is_ok());
        let next = ports.pick(base(picked, false), 0).unwrap().port;
        assert!(next > picked, "a released port stays given out");
    }

    #[test]
    fn the_end_of_the_range_is_an_error() {
        let error = Ports::default().pick(base(65_535, true), 1).unwrap_err();
        assert!(matches!(error, DevnetError::NoPort { .. }), "{error}");
    }
}
