//! A client that sends what it is told, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Time within which anything must happen; generous for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Reply {
    /// A field of an error.
    pub fn field(&self, name: char) -> Option<String> {
        assert!(matches!(self.kind, 'E' | 'N'), "{self:?} has no fields");
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&(name as u8)))?;
        Some(String::from_utf8(found[1..].to_vec()).unwrap())
    }
}

/// A raw connection.
pub struct RawClient {
    pub stream: TcpStream,
}

/// A packet without a type byte.
pub fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = (body.len() as u32 + 8).to_be_bytes().to_vec();
    packet.extend_from_slice(&code.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

/// A message with its type byte.
pub fn message(kind: char, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind as u8];
    message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(body);
    message
}

pub const V3_0: u32 = 3 << 16;
pub const V3_2: u32 = (3 << 16) | 2;
pub const SSL: u32 = 80_877_103;
pub const GSS: u32 = 80_877_104;
pub const CANCEL: u32 = 80_877_102;
pub const USER: &[u8] = b"user\0cairn\0database\0cairn\0\0";

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        RawClient { stream }
    }

    /// A session: what the server said up to ReadyForQuery.
    pub async fn session(address: SocketAddr, version: u32) -> (Self, Vec<Reply>) {
        let mut client = Self::connect(address).await;
        client.send(&packet(version, USER)).await;
        let replies = client.until('Z').await;
        (client, replies)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes));
        // The server may have closed already; what it said tells.
        let _ = sent.await.expect("the server takes what is sent");
    }

    pub async fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut byte));
        match read.await.expect("an answer in time") {
            Ok(1) => Some(byte[0]),
            _ => None,
        }
    }

    /// The next message, or `None` at the end of the connection.
    pub async fn reply(&mut self) -> Option<Reply> {
        let kind = char::from(self.byte().await?);
        let read = async {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).await.ok()?;
            let mut body = vec![0; u32::from_be_bytes(head) as usize - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(body)
        };
        let body = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")?;
        Some(Reply { kind, body })
    }

    /// All messages up to one of this type.
    pub async fn until(&mut self, kind: char) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.reply().await;
            let reply =
                reply.unwrap_or_else(|| panic!("{kind} wanted, the end came after {replies:?}"));
            let last = reply.kind == kind;
            replies.push(reply);
            if last {
                return replies;
            }
        }
    }

    /// The error that ends the connection: nothing follows it.
    pub async fn fatal(&mut self) -> (String, String) {
        let reply = self.reply().await.expect("an error before the end");
        assert_eq!(reply.kind, 'E', "{reply:?}");
        assert_eq!(self.reply().await, None, "nothing after a fatal error");
        assert_eq!(reply.field('S').as_deref(), Some("FATAL"));
        (reply.field('C').unwrap(), reply.field('M').unwrap())
    }
}

/// The types of replies, as one word.
pub fn kinds(replies: &[Reply]) -> String {
    replies.iter().map(|reply| reply.kind).collect()
}
