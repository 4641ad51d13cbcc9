//! The request-response codec: one frame each way, decoded on the connection's own task.
//!
//! Invariant: a request that cannot be used still reaches the swarm, as [`Incoming::Bad`], because
//! request-response reports a failed read to nobody and the sender must be punished. Framing:
//! `spec/07-p2p.md#framing`.

use std::{io, marker::PhantomData};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use crate::frame::{FrameError, ReadError, read_frame, write_frame};

/// A message of a stream protocol: canonical bytes both ways.
pub trait Message: Sized + Send + 'static {
    /// The payload of its frame.
    fn to_payload(&self) -> Vec<u8>;
    /// Decodes a payload of at most `bytes_max` bytes, refusing anything not canonical.
    fn from_payload(payload: &[u8], bytes_max: usize) -> Result<Self, FrameError>;
}

/// A request as it arrived.
#[derive(Debug)]
pub enum Incoming<Q> {
    /// A canonical request.
    Good(Q),
    /// Something else; the stream is reset.
    Bad(FrameError),
}

/// A response on its way: encoded by whoever answers, decoded where it arrives.
#[derive(Debug)]
pub enum Answer<S> {
    /// To be written as it is.
    Payload(Vec<u8>),
    /// Was read.
    Message(S),
}

/// The codec of one protocol.
#[derive(Debug)]
pub struct FrameCodec<Q, S> {
    request_bytes_max: usize,
    /// 0: the protocol has no answer, the responder only closes the stream.
    response_bytes_max: usize,
    types: PhantomData<fn() -> (Q, S)>,
}

impl<Q, S> Clone for FrameCodec<Q, S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<Q, S> FrameCodec<Q, S> {
    /// A codec with these bounds.
    pub fn new(request_bytes_max: usize, response_bytes_max: usize) -> Self {
        Self {
            request_bytes_max,
            response_bytes_max,
            types: PhantomData,
        }
    }
}

/// "No answer": the response of a protocol that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;

impl Message for Nothing {
    fn to_payload(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_payload(_: &[u8], _: usize) -> Result<Self, FrameError> {
        Ok(Self)
    }
}

impl<Q: Message, S: Message> request_response::Codec for FrameCodec<Q, S> {
    type Protocol = StreamProtocol;
    type Request = Incoming<Q>;
    type Response = Answer<S>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Incoming<Q>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let payload = match read_frame(io, self.request_bytes_max).await {
            Ok(payload) => payload,
            Err(ReadError::Frame(error)) => return Ok(Incoming::Bad(error)),
            Err(ReadError::Io(error)) => return Err(error),
        };
        Ok(match Q::from_payload(&payload, self.request_bytes_max) {
            Ok(request) => Incoming::Good(request),
            Err(error) => Incoming::Bad(error),
        })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer<S>>
    where
        T: AsyncRead + Unpin + Send,
    {
        if self.response_bytes_max == 0 {
            // The close of the stream is the acknowledgement.
            let read = io.read(&mut [0]).await?;
            let error = FrameError::Oversized {
                bytes: 1,
                bytes_max: 0,
            };
            return if read == 0 {
                S::from_payload(&[], 0)
                    .map(Answer::Message)
                    .map_err(|error| ReadError::Frame(error).into())
            } else {
                Err(ReadError::Frame(error).into())
            };
        }
        let payload = read_frame(io, self.response_bytes_max).await?;
        S::from_payload(&payload, self.response_bytes_max)
            .map(Answer::Message)
            .map_err(|error| ReadError::Frame(error).into())
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Incoming<Q>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Incoming::Good(request) => write_frame(io, &request.to_payload()).await?,
            Incoming::Bad(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
        io.close().await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer<S>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        if self.response_bytes_max > 0 {
            let payload = match answer {
                Answer::Payload(payload) => payload,
                Answer::Message(message) => message.to_payload(),
            };
            write_frame(io, &payload).await?;
        }
        io.close().await
    }
}
