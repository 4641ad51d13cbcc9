//! Lines out of a stream of bytes.
//!
//! Invariant: never more than [`LINE_BYTES_MAX`] bytes are held; a longer line is an error at the
//! byte that is too many, not when it ends.

use super::limits::LINE_BYTES_MAX;

/// The bytes of a line that has not ended.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

/// A line is longer than any that a miner needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {LINE_BYTES_MAX} bytes")]
pub struct LineTooLong;

impl Lines {
    /// Takes in bytes and gives each line that ends in them to `each`, without its end. Empty lines
    /// are skipped. Bytes after an error are dropped: the connection ends there.
    ///
    /// # Errors
    /// See [`LineTooLong`].
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), LineTooLong> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end])?;
            let line = self.begun.trim_ascii();
            if !line.is_empty() {
                each(line);
            }
            self.begun.clear();
            rest = &rest[end + 1..];
        }
        self.extend(rest)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.begun.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(LineTooLong);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, Result<(), LineTooLong>) {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            let took = lines.feed(chunk, |line| all.push(String::from_utf8_lossy(line).into()));
            if took.is_err() {
                return (all, took);
            }
        }
        (all, Ok(()))
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"{\"a\":1}\r\n\n  b \nc\n";
        for size in 1..text.len() {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            let (all, took) = lines(&chunks);
            assert_eq!(
                (all, took),
                (vec!["{\"a\":1}".into(), "b".into(), "c".into()], Ok(()))
            );
        }
    }

    #[test]
    fn a_line_too_long_is_an_error_before_it_ends() {
        let full = [b'x'; LINE_BYTES_MAX];
        assert_eq!(lines(&[&full, b"\n"]).0.len(), 1);
        assert_eq!(lines(&[&full, b"x"]).1, Err(LineTooLong));
        assert_eq!(
            lines(&[b"ok\n", &full, b"xx\n"]),
            (vec!["ok".into()], Err(LineTooLong))
        );
    }
}
