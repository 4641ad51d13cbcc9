//! Messages of the PostgreSQL protocol 3.0 and 3.2, to and from bytes.
//!
//! Why these are ours and not those of `pgwire` 0.41, whose traits are the design's first choice: its
//! `Bind` panics on a body shorter than its counts, takes every negative field length for NULL, its
//! strings replace wrong UTF-8 instead of refusing it, messages may be a gigabyte, the buffer before
//! authentication is not bounded by it, and its cancel drops the running future, which for us may be
//! a commit. Rows Q01-Q03 and Q06 forbid each of these.
//! Source: <https://www.postgresql.org/docs/18/protocol-message-formats.html>.

mod backend;
mod frontend;
mod reader;
mod startup;

pub use backend::{Backend, CopyDirection, Field, Format, TransactionStatus, put_text, put_value};
pub use frontend::{Bind, Frontend, Kind};
pub use reader::{Reader, utf8};
pub use startup::{First, Minor, Startup, parse_first};

/// What is wrong with bytes of a client. All but wrong text are 08P01.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first packet's length.
    #[error("invalid length of startup packet: {0}, at least 8 and at most 10000")]
    StartupLength(i32),
    /// A message's length.
    #[error("invalid message length: {length}, at least 4 and at most {max}")]
    MessageLength {
        /// As it was sent.
        length: i32,
        /// The bound in this state.
        max: usize,
    },
    /// The body ends early.
    #[error("insufficient data left in message: {wanted} bytes wanted, {left} left")]
    Short {
        /// Bytes wanted.
        wanted: usize,
        /// Bytes left.
        left: usize,
    },
    /// A count beyond the body.
    #[error("insufficient data left in message: {count} elements in {left} bytes")]
    Count {
        /// Elements.
        count: usize,
        /// Bytes left.
        left: usize,
    },
    /// A field's length is negative and not -1.
    #[error("invalid field length {0}: only -1 is NULL")]
    FieldLength(i32),
    /// Text without its zero byte.
    #[error("invalid string in message: no zero byte ends it")]
    Unterminated,
    /// Text that is none.
    #[error("invalid byte sequence for encoding \"UTF8\": {}", hex_bytes(.0))]
    NotUtf8(Vec<u8>),
    /// The body goes on.
    #[error("invalid message format: {0} bytes left over")]
    LeftOver(usize),
    /// A message type that no client sends.
    #[error("invalid frontend message type {0}")]
    Type(u8),
    /// A format code.
    #[error("unsupported format code: {0}")]
    Format(i16),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ProtocolError {
    /// Its SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            ProtocolError::NotUtf8(_) => "22021",
            ProtocolError::Format(_) => "22023",
            _ => "08P01",
        }
    }
}

fn hex_bytes(bytes: &[u8]) -> String {
    let words = bytes.iter().map(|byte| format!("0x{byte:02x}"));
    words.collect::<Vec<_>>().join(" ")
}
