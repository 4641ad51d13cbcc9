//! Fields of entries: fixed numbers little-endian, lengths and ids as the varints of
//! `spec/02-encoding.md`.
//!
//! Invariant: a length is checked before its bytes are taken; a varint has its shortest form.

use super::error::EntryError;

/// Reads fields one after the other.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(EntryError::Malformed(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], EntryError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(EntryError::Malformed(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, EntryError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, EntryError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, EntryError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, EntryError> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return Err(EntryError::Malformed(what));
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                if byte == 0 && place > 0 {
                    return Err(EntryError::NotCanonical(what));
                }
                return Ok(value);
            }
        }
        Err(EntryError::Malformed(what))
    }

    /// A varint that counts things, at most `bound` of them.
    pub fn count(&mut self, what: &'static str, bound: usize) -> Result<usize, EntryError> {
        let found = self.varint(what)?;
        check_bound(what, found, bound)?;
        Ok(found as usize)
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, what: &'static str, bound: usize) -> Result<&'a [u8], EntryError> {
        let length = self.count(what, bound)?;
        self.take(length, what)
    }

    pub fn text(&mut self, what: &'static str, bound: usize) -> Result<&'a str, EntryError> {
        std::str::from_utf8(self.bytes(what, bound)?).map_err(|_| EntryError::NotCanonical(what))
    }
}

pub(super) fn check_bound(what: &'static str, found: u64, bound: usize) -> Result<(), EntryError> {
    if found > bound as u64 {
        return Err(EntryError::Bound {
            what,
            found,
            bound: bound as u64,
        });
    }
    Ok(())
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes behind their length.
pub(super) fn put_bytes(
    out: &mut Vec<u8>,
    what: &'static str,
    bytes: &[u8],
    bound: usize,
) -> Result<(), EntryError> {
    check_bound(what, bytes.len() as u64, bound)?;
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    Ok(())
}
