//! What the server sends, written into one buffer.
//!
//! Invariant: every message's length is filled in after its body; a row that could not be told by a
//! length of 31 bits is refused before it is begun (values are at most `ROW_BYTES_MAX`).

use super::ProtocolError;
use crate::wire::report::Report;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As text.
    #[default]
    Text,
    /// As the type's own bytes.
    Binary,
}

impl Format {
    /// From a message.
    ///
    /// # Errors
    /// `Format` for anything but 0 and 1.
    pub fn from_code(code: i16) -> Result<Self, ProtocolError> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(ProtocolError::Format(other)),
        }
    }

    /// For a message.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// What `ReadyForQuery` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    Open,
    /// `E`
    Failed,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// The table it comes from, or 0.
    pub table: u32,
    /// Its number there, or 0.
    pub column: i16,
    /// The type's number.
    pub type_oid: u32,
    /// The type's size; negative if it varies.
    pub type_size: i16,
    /// The type's modifier, or -1.
    pub modifier: i32,
    /// How it is written.
    pub format: Format,
}

/// Messages on their way to a client.
#[derive(Debug, Default)]
pub struct Backend {
    bytes: Vec<u8>,
}

impl Backend {
    /// The bytes that wait.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was sent, and the room of a large answer.
    pub fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > keep {
            self.bytes.shrink_to(keep);
        }
    }

    /// A message of this type; `body` writes what follows its length.
    pub fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(kind);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        body(&mut self.bytes);
        let length = self.bytes.len() - at;
        let length = i32::try_from(length).expect("rows and texts are bounded far below 2^31");
        self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn empty(&mut self, kind: u8) {
        self.message(kind, |_| ());
    }

    /// One byte without a frame: the answer to a request for encryption.
    pub fn negotiation(&mut self, answer: u8) {
        self.bytes.push(answer);
    }

    /// `NegotiateProtocolVersion`
    pub fn negotiate_version(&mut self, version: u32, unknown: &[String]) {
        self.message(b'v', |out| {
            out.extend_from_slice(&version.to_be_bytes());
            out.extend_from_slice(&(unknown.len() as u32).to_be_bytes());
            unknown.iter().for_each(|option| put_text(out, option));
        });
    }

    /// `AuthenticationOk`
    pub fn authentication_ok(&mut self) {
        self.message(b'R', |out| out.extend_from_slice(&0u32.to_be_bytes()));
    }

    /// `AuthenticationSASL`
    pub fn authentication_sasl(&mut self, mechanisms: &[&str]) {
        self.message(b'R', |out| {
            out.extend_from_slice(&10u32.to_be_bytes());
            mechanisms.iter().for_each(|name| put_text(out, name));
            out.push(0);
        });
    }

    /// `AuthenticationSASLContinue`
    pub fn authentication_continue(&mut self, data: &str) {
        self.authentication_data(11, data);
    }

    /// `AuthenticationSASLFinal`
    pub fn authentication_final(&mut self, data: &str) {
        self.authentication_data(12, data);
    }

    fn authentication_data(&mut self, code: u32, data: &str) {
        self.message(b'R', |out| {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(data.as_bytes());
        });
    }

    /// `ParameterStatus`
    pub fn parameter_status(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_text(out, name);
            put_text(out, value);
        });
    }

    /// `BackendKeyData`
    pub fn key_data(&mut self, process: u32, key: &[u8]) {
        self.message(b'K', |out| {
            out.extend_from_slice(&process.to_be_bytes());
            out.extend_from_slice(key);
        });
    }

    /// `ReadyForQuery`
    pub fn ready(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Open => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.message(b'Z', |out| out.push(status));
    }

    /// `ErrorResponse`
    pub fn error(&mut self, report: &Report) {
        self.message(b'E', |out| report.write(out));
    }

    /// `NoticeResponse`
    pub fn notice(&mut self, report: &Report) {
        self.message(b'N', |out| report.write(out));
    }

    /// `NotificationResponse`
    pub fn notification(&mut self, process: u32, channel: &str, payload: &str) {
        self.message(b'A', |out| {
            out.extend_from_slice(&process.to_be_bytes());
            put_text(out, channel);
            put_text(out, payload);
        });
    }

    /// `ParseComplete`
    pub fn parse_complete(&mut self) {
        self.empty(b'1');
    }

    /// `BindComplete`
    pub fn bind_complete(&mut self) {
        self.empty(b'2');
    }

    /// `CloseComplete`
    pub fn close_complete(&mut self) {
        self.empty(b'3');
    }

    /// `NoData`
    pub fn no_data(&mut self) {
        self.empty(b'n');
    }

    /// `PortalSuspended`
    pub fn portal_suspended(&mut self) {
        self.empty(b's');
    }

    /// `EmptyQueryResponse`
    pub fn empty_query(&mut self) {
        self.empty(b'I');
    }

    /// `CommandComplete`
    pub fn command_complete(&mut self, tag: &str) {
        self.message(b'C', |out| put_text(out, tag));
    }

    /// `ParameterDescription`
    pub fn parameter_description(&mut self, types: impl ExactSizeIterator<Item = u32>) {
        self.message(b't', |out| {
            out.extend_from_slice(&(types.len() as u16).to_be_bytes());
            types.for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        });
    }

    /// `RowDescription`
    pub fn row_description<'a>(&mut self, fields: impl ExactSizeIterator<Item = Field<'a>>) {
        self.message(b'T', |out| {
            out.extend_from_slice(&(fields.len() as u16).to_be_bytes());
            for field in fields {
                put_text(out, field.name);
                out.extend_from_slice(&field.table.to_be_bytes());
                out.extend_from_slice(&field.column.to_be_bytes());
                out.extend_from_slice(&field.type_oid.to_be_bytes());
                out.extend_from_slice(&field.type_size.to_be_bytes());
                out.extend_from_slice(&field.modifier.to_be_bytes());
                out.extend_from_slice(&field.format.code().to_be_bytes());
            }
        });
    }

    /// `DataRow`; `write` writes each value, or says that it is NULL by `false`.
    pub fn data_row<T>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T) -> bool,
    ) {
        self.message(b'D', |out| {
            out.extend_from_slice(&(values.len() as u16).to_be_bytes());
            for value in values {
                put_value(out, |out| write(out, value));
            }
        });
    }

    /// `CopyInResponse` or `CopyOutResponse`
    pub fn copy_response(&mut self, kind: CopyDirection, format: Format, columns: usize) {
        let kind = match kind {
            CopyDirection::In => b'G',
            CopyDirection::Out => b'H',
        };
        self.message(kind, |out| {
            out.push(format.code() as u8);
            out.extend_from_slice(&(columns as u16).to_be_bytes());
            for _ in 0..columns {
                out.extend_from_slice(&format.code().to_be_bytes());
            }
        });
    }

    /// `CopyData`
    pub fn copy_data(&mut self, data: &[u8]) {
        self.message(b'd', |out| out.extend_from_slice(data));
    }

    /// `CopyDone`
    pub fn copy_done(&mut self) {
        self.empty(b'c');
    }
}

/// Who sends rows in COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// The client.
    In,
    /// The server.
    Out,
}

/// Text and its zero byte. A zero byte inside would end it early, so the text ends there.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = text.bytes().position(|byte| byte == 0);
    out.extend_from_slice(&text.as_bytes()[..end.unwrap_or(text.len())]);
    out.push(0);
}

/// A value behind its length, or -1 where `write` says that it is NULL.
pub fn put_value(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    let at = out.len();
    out.extend_from_slice(&(-1i32).to_be_bytes());
    if write(out) {
        let length = i32::try_from(out.len() - at - 4).expect("values are bounded far below 2^31");
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let mut out = Backend::default();
        out.ready(TransactionStatus::Idle);
        assert_eq!(out.bytes(), b"Z\0\0\0\x05I");
        out.clear(0);
        out.data_row([Some("ab"), None].into_iter(), |out, value| {
            let Some(text) = value else { return false };
            out.extend_from_slice(text.as_bytes());
            true
        });
        assert_eq!(
            out.bytes(),
            b"D\0\0\0\x10\0\x02\0\0\0\x02ab\xff\xff\xff\xff"
        );
        out.clear(0);
        out.command_complete("SELECT 1\0hidden");
        assert_eq!(out.bytes(), b"C\0\0\0\x0dSELECT 1\0");
    }
}
