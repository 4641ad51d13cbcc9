//! Reads the body of one message, which is whole in memory.
//!
//! Invariant: nothing is read beyond the body, nothing is reserved for a count before the bytes it
//! speaks of are there, and text is UTF-8 or the message is refused.

use super::ProtocolError;

/// A cursor over a body.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the beginning of a body.
    pub fn new(body: &'a [u8]) -> Self {
        Reader { rest: body }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Short`.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        match self.rest.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(ProtocolError::Short {
                wanted: count,
                left: self.rest.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    /// One byte.
    ///
    /// # Errors
    /// `Short`.
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// `Short`.
    pub fn i16(&mut self) -> Result<i16, ProtocolError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// `Short`.
    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian, without a sign.
    ///
    /// # Errors
    /// `Short`.
    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A count of things that take at least `bytes` bytes each.
    ///
    /// # Errors
    /// `Count` if the body cannot hold as many.
    pub fn count(&mut self, bytes: usize) -> Result<usize, ProtocolError> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if count * bytes > self.rest.len() {
            return Err(ProtocolError::Count {
                count,
                left: self.rest.len(),
            });
        }
        Ok(count)
    }

    /// Bytes behind their length; `-1` is NULL, and no other length is negative.
    ///
    /// # Errors
    /// `FieldLength`, `Short`.
    pub fn field(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let count = usize::try_from(length);
                let count = count.map_err(|_| ProtocolError::FieldLength(length))?;
                self.bytes(count).map(Some)
            }
        }
    }

    /// Text up to its zero byte.
    ///
    /// # Errors
    /// `Unterminated`, `NotUtf8`.
    pub fn text(&mut self) -> Result<&'a str, ProtocolError> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or(ProtocolError::Unterminated)?;
        let bytes = self.bytes(end)?;
        self.bytes(1)?;
        utf8(bytes)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// `LeftOver`.
    pub fn end(self) -> Result<(), ProtocolError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ProtocolError::LeftOver(left)),
        }
    }
}

/// Bytes that must be text.
///
/// # Errors
/// `NotUtf8` with the first wrong bytes.
pub fn utf8(bytes: &[u8]) -> Result<&str, ProtocolError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let wrong = &bytes[at..bytes.len().min(at + error.error_len().unwrap_or(4))];
        ProtocolError::NotUtf8(wrong.to_vec())
    })
}
