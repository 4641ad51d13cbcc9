//! The bytes of one connection: bounded buffers in both directions, plain or TLS.
//!
//! Invariant: no more is read ahead than the message that is due may have; what waits to be written
//! never grows beyond one flush threshold and one message, because the writer waits for the client,
//! and a client that takes nothing for `WRITE_STALL_MS_MAX` is cut off.

use super::message::{Backend, ProtocolError};
use crate::limits::{FLUSH_BYTES, IDLE_BUFFER_BYTES, STARTUP_BYTES_MAX, WRITE_STALL_MS_MAX};
use bytes::{Buf, BytesMut};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The client broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The client takes nothing.
    #[error("the client took no byte for {WRITE_STALL_MS_MAX} ms")]
    Stalled,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two, or after a failed handshake.
    Gone,
}

/// One connection.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    input: BytesMut,
    /// Messages to be sent.
    pub out: Backend,
}

impl Transport {
    /// Of a fresh connection.
    pub fn new(stream: TcpStream) -> Self {
        Transport {
            stream: Stream::Plain(stream),
            input: BytesMut::new(),
            out: Backend::default(),
        }
    }

    /// Moves a plain connection to the runtime that this is called on, so that the thread that is woken
    /// by its bytes is one that handles them.
    ///
    /// # Errors
    /// What the system says.
    pub fn rehome(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => Stream::Plain(TcpStream::from_std(stream.into_std()?)?),
            other => other,
        };
        Ok(())
    }

    /// True once it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// True if bytes of the client wait that nobody asked for yet.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Bytes that were read and not used.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Uses up bytes that were read.
    pub fn advance(&mut self, bytes: usize) {
        self.input.advance(bytes);
    }

    /// Turns on TLS.
    ///
    /// # Errors
    /// A failed handshake. The connection is lost then.
    pub async fn accept_tls(&mut self, tls: &super::tls::Tls) -> io::Result<()> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let stream = tls.acceptor.accept(stream).await?;
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    /// Reads some bytes; false at the end of the stream. `room` bounds what the buffer may hold.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn fill(&mut self, room: usize) -> io::Result<bool> {
        let wanted = room.saturating_sub(self.input.len()).max(1);
        self.input.reserve(wanted.min(IDLE_BUFFER_BYTES));
        let limit = wanted.min(self.input.capacity() - self.input.len()) as u64;
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.take(limit).read_buf(&mut self.input).await?,
            Stream::Tls(stream) => stream.take(limit).read_buf(&mut self.input).await?,
            Stream::Gone => 0,
        };
        Ok(read > 0)
    }

    /// Reads more of a first packet.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn fill_startup(&mut self) -> io::Result<bool> {
        self.fill(STARTUP_BYTES_MAX).await
    }

    /// The next message's type and body, or `None` as long as bytes are missing.
    ///
    /// # Errors
    /// A length out of bounds.
    pub fn buffered_message(
        &mut self,
        bytes_max: usize,
    ) -> Result<Option<(u8, BytesMut)>, ProtocolError> {
        let Some(length) = self.message_length(bytes_max)? else {
            return Ok(None);
        };
        if self.input.len() < 1 + length {
            return Ok(None);
        }
        let kind = self.input[0];
        self.input.advance(5);
        let body = self.input.split_to(length - 4);
        Ok(Some((kind, body)))
    }

    fn message_length(&self, bytes_max: usize) -> Result<Option<usize>, ProtocolError> {
        let Some(head) = self.input.get(1..5) else {
            return Ok(None);
        };
        let head = head.try_into().expect("four bytes");
        let length = i32::from_be_bytes(head);
        match usize::try_from(length) {
            Ok(bytes) if (4..=bytes_max).contains(&bytes) => Ok(Some(bytes)),
            _ => Err(ProtocolError::MessageLength {
                length,
                max: bytes_max,
            }),
        }
    }

    /// Waits for the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// A length out of bounds, a broken connection.
    pub async fn message(
        &mut self,
        bytes_max: usize,
    ) -> Result<Option<(u8, BytesMut)>, TransportError> {
        loop {
            if let Some(message) = self.buffered_message(bytes_max)? {
                return Ok(Some(message));
            }
            let due = self
                .message_length(bytes_max)?
                .map_or(5, |length| 1 + length);
            // While nobody waits for more than a header, others may follow in the same read.
            let room = due.max(IDLE_BUFFER_BYTES.min(bytes_max));
            if self.input.is_empty() && self.input.capacity() > IDLE_BUFFER_BYTES {
                self.input = BytesMut::new();
            }
            if !self.fill(room).await? {
                return Ok(None);
            }
        }
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// A broken connection, or a client that takes nothing.
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let stall = Duration::from_millis(WRITE_STALL_MS_MAX);
        let mut rest = self.out.bytes();
        while !rest.is_empty() {
            let write = async {
                match &mut self.stream {
                    Stream::Plain(stream) => stream.write(rest).await,
                    Stream::Tls(stream) => stream.write(rest).await,
                    Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
                }
            };
            let written = tokio::time::timeout(stall, write).await;
            match written.map_err(|_| TransportError::Stalled)?? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => rest = &rest[written..],
            }
        }
        if let Stream::Tls(stream) = &mut self.stream {
            let flushed = tokio::time::timeout(stall, stream.flush()).await;
            flushed.map_err(|_| TransportError::Stalled)??;
        }
        self.out.clear(IDLE_BUFFER_BYTES);
        Ok(())
    }

    /// Sends what waits if it is much.
    ///
    /// # Errors
    /// As `flush`.
    pub async fn flush_if_large(&mut self) -> Result<(), TransportError> {
        if self.out.len() >= FLUSH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Ends the connection in order: what was sent arrives before the end does.
    pub async fn close(mut self) {
        let _ = self.flush().await;
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
            Stream::Gone => Ok(()),
        };
    }
}
