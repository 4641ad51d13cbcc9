//! The one framing rule of all stream protocols: minimal unsigned varint length, then the payload.
//!
//! Invariant: the length is checked before anything is allocated, and the buffer grows only with
//! data that arrived. Source: `spec/07-p2p.md#framing`.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::limits::FRAME_READ_STEP_BYTES;

/// A length prefix has at most this many bytes: 5 x 7 bits hold any u32.
const PREFIX_BYTES_MAX: usize = 5;

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is over the protocol's bound.
    #[error("frame of {bytes} bytes exceeds {bytes_max}")]
    Oversized {
        /// The claimed length.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// The length is not a minimal varint of at most 5 bytes.
    #[error("frame length is not a minimal varint")]
    Length,
    /// The stream ended inside the frame.
    #[error("frame ended after {bytes} of {bytes_expected} bytes")]
    Truncated {
        /// Bytes that arrived.
        bytes: usize,
        /// Bytes that were announced.
        bytes_expected: usize,
    },
    /// The payload is not the canonical encoding of the expected message.
    #[error("frame payload: {0}")]
    Undecodable(String),
}

/// Reads fail because of the stream or because of what came through it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent a bad frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::Frame(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Reads one frame of at most `bytes_max` bytes of payload.
pub async fn read_frame<R>(io: &mut R, bytes_max: usize) -> Result<Vec<u8>, ReadError>
where
    R: AsyncRead + Unpin,
{
    let bytes = read_length(io).await?;
    if bytes > bytes_max as u64 {
        return Err(FrameError::Oversized { bytes, bytes_max }.into());
    }
    let bytes_expected = bytes as usize;
    let mut payload = Vec::with_capacity(bytes_expected.min(FRAME_READ_STEP_BYTES));
    while payload.len() < bytes_expected {
        let filled = payload.len();
        let step = (bytes_expected - filled).min(FRAME_READ_STEP_BYTES.max(filled));
        payload.resize(filled + step, 0);
        let read = io.read(&mut payload[filled..]).await?;
        payload.truncate(filled + read);
        if read == 0 {
            return Err(FrameError::Truncated {
                bytes: filled,
                bytes_expected,
            }
            .into());
        }
    }
    Ok(payload)
}

async fn read_length<R>(io: &mut R) -> Result<u64, ReadError>
where
    R: AsyncRead + Unpin,
{
    let mut value = 0u64;
    for index in 0..PREFIX_BYTES_MAX {
        let mut byte = [0];
        if io.read(&mut byte).await? == 0 {
            return Err(FrameError::Truncated {
                bytes: 0,
                bytes_expected: 1,
            }
            .into());
        }
        value |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            let is_minimal = index == 0 || byte[0] != 0;
            return if is_minimal {
                Ok(value)
            } else {
                Err(FrameError::Length.into())
            };
        }
    }
    Err(FrameError::Length.into())
}

/// Writes one frame. The caller closes the stream.
pub async fn write_frame<W>(io: &mut W, payload: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut prefix = Vec::with_capacity(PREFIX_BYTES_MAX);
    let mut rest = payload.len() as u64;
    while rest >= 0x80 {
        prefix.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    prefix.push(rest as u8);
    io.write_all(&prefix).await?;
    io.write_all(payload).await
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn read(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, FrameError> {
        block_on(read_frame(&mut Cursor::new(bytes), bytes_max)).map_err(|error| match error {
            ReadError::Frame(error) => error,
            ReadError::Io(error) => panic!("a cursor does not fail: {error}"),
        })
    }

    fn written(payload: &[u8]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        block_on(write_frame(&mut out, payload)).unwrap();
        out.into_inner()
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 16_385, 300_000] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            assert_eq!(read(&written(&payload), length), Ok(payload));
        }
    }

    #[test]
    fn bad_frames_are_named() {
        let table: &[(&[u8], FrameError)] = &[
            (
                &[],
                FrameError::Truncated {
                    bytes: 0,
                    bytes_expected: 1,
                },
            ),
            (
                &[0x80],
                FrameError::Truncated {
                    bytes: 0,
                    bytes_expected: 1,
                },
            ),
            (
                &[3, 1, 2],
                FrameError::Truncated {
                    bytes: 2,
                    bytes_expected: 3,
                },
            ),
            (
                &[5, 1, 2, 3, 4, 5],
                FrameError::Oversized {
                    bytes: 5,
                    bytes_max: 4,
                },
            ),
            (&[0x84, 0x00], FrameError::Length),
            (&[0xff; 6], FrameError::Length),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x7f],
                FrameError::Oversized {
                    bytes: (1 << 35) - 1,
                    bytes_max: 4,
                },
            ),
        ];
        for (bytes, error) in table {
            assert_eq!(read(bytes, 4).as_ref(), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let mut claim = written(&vec![0; 1 << 20]);
        claim.truncate(10);
        let expected = FrameError::Truncated {
            bytes: 7,
            bytes_expected: 1 << 20,
        };
        assert_eq!(read(&claim, 1 << 24), Err(expected));
    }
}
