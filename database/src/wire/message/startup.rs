//! The first packet of a connection: it has no type byte.
//!
//! Invariant: its length is checked before its bytes are kept.

use super::{ProtocolError, Reader};
use crate::limits::STARTUP_BYTES_MAX;

/// `SSLRequest`
const SSL: u32 = 80_877_103;
/// `GSSENCRequest`
const GSS: u32 = 80_877_104;
/// `CancelRequest`
const CANCEL: u32 = 80_877_102;

/// The minor version of protocol 3 that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Minor {
    /// 3.0: cancel keys of 4 bytes
    V0,
    /// 3.2: cancel keys of 32 bytes
    V2,
}

impl Minor {
    /// As it stands in a packet.
    pub fn code(self) -> u32 {
        match self {
            Minor::V0 => 3 << 16,
            Minor::V2 => (3 << 16) | 2,
        }
    }
}

/// What a client begins a session with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// What is spoken from here on.
    pub minor: Minor,
    /// The version is newer than what is spoken: the client is told.
    pub negotiate: bool,
    /// Protocol options (`_pq_.…`): none is known.
    pub unknown_options: Vec<String>,
    /// `user`, `database` and settings, as they came.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// A parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        found.next_back().map(|(_, value)| value.as_str())
    }
}

/// A first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// The client wants TLS.
    Ssl,
    /// The client wants GSSAPI encryption.
    Gss,
    /// End what another connection does.
    Cancel {
        /// The other's number.
        process: u32,
        /// Its secret.
        key: Vec<u8>,
    },
    /// A session.
    Startup(Startup),
    /// A version that is not spoken: major and minor.
    Unsupported(u16, u16),
}

/// Reads a first packet from the beginning of a buffer: the packet and its length, or `None` as long
/// as bytes are missing.
///
/// # Errors
/// A length out of bounds, at once; a malformed body.
pub fn parse_first(buffer: &[u8]) -> Result<Option<(First, usize)>, ProtocolError> {
    let Some(head) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*head);
    let bytes = usize::try_from(length).unwrap_or(0);
    if !(8..=STARTUP_BYTES_MAX).contains(&bytes) {
        return Err(ProtocolError::StartupLength(length));
    }
    let Some(packet) = buffer.get(4..bytes) else {
        return Ok(None);
    };
    let mut reader = Reader::new(packet);
    let code = reader.u32()?;
    let (major, minor) = ((code >> 16) as u16, (code & 0xffff) as u16);
    let first = match (code, major) {
        (SSL, _) => First::Ssl,
        (GSS, _) => First::Gss,
        (CANCEL, _) => First::Cancel {
            process: reader.u32()?,
            key: reader.rest().to_vec(),
        },
        (_, 3) => First::Startup(startup(minor, &mut reader)?),
        _ => First::Unsupported(major, minor),
    };
    if !matches!(first, First::Unsupported(..)) {
        reader.end()?;
    }
    Ok(Some((first, bytes)))
}

fn startup(minor: u16, reader: &mut Reader<'_>) -> Result<Startup, ProtocolError> {
    let mut parameters = Vec::new();
    let mut unknown_options = Vec::new();
    loop {
        let name = reader.text()?;
        if name.is_empty() {
            break;
        }
        let value = reader.text()?;
        if name.starts_with("_pq_.") {
            unknown_options.push(name.to_owned());
        } else {
            parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(Startup {
        minor: if minor >= 2 { Minor::V2 } else { Minor::V0 },
        negotiate: minor > 2,
        unknown_options,
        parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut packet = (body.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend_from_slice(&code.to_be_bytes());
        packet.extend_from_slice(body);
        packet
    }

    #[test]
    fn lengths_are_refused_at_once() {
        for length in [0i32, 7, 10_001, i32::MAX, i32::MIN, -1] {
            let error = parse_first(&length.to_be_bytes()).unwrap_err();
            assert_eq!(error, ProtocolError::StartupLength(length));
        }
        assert_eq!(parse_first(&[0, 0, 0]), Ok(None));
        assert_eq!(parse_first(&[0, 0, 0, 8, 4]), Ok(None));
    }

    #[test]
    fn versions() {
        let body = b"user\0cairn\0_pq_.x\0on\0\0";
        for (code, minor, negotiate) in [
            (3 << 16, Minor::V0, false),
            ((3 << 16) | 1, Minor::V0, false),
            ((3 << 16) | 2, Minor::V2, false),
            ((3 << 16) | 9999, Minor::V2, true),
        ] {
            let (first, length) = parse_first(&packet(code, body)).unwrap().unwrap();
            assert_eq!(length, body.len() + 8);
            let First::Startup(startup) = first else {
                panic!("{first:?}");
            };
            assert_eq!((startup.minor, startup.negotiate), (minor, negotiate));
            assert_eq!(startup.parameter("user"), Some("cairn"));
            assert_eq!(startup.unknown_options, ["_pq_.x"]);
        }
        let old = parse_first(&packet(2 << 16, b"user\0")).unwrap().unwrap();
        assert_eq!(old.0, First::Unsupported(2, 0));
    }

    #[test]
    fn malformed_bodies() {
        for body in [
            &b""[..],
            b"user",
            b"user\0cairn\0",
            b"user\0\xff\0\0",
            b"\0x",
        ] {
            assert!(parse_first(&packet(3 << 16, body)).is_err(), "{body:?}");
        }
        assert!(parse_first(&packet(SSL, b"x")).is_err());
        assert!(parse_first(&packet(CANCEL, b"abc")).is_err());
    }
}
