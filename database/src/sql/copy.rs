//! COPY: rows as lines of text or CSV.

use super::error::{Result, SqlError};

/// How a line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    /// CSV, else PostgreSQL's text format.
    pub csv: bool,
    /// Between values.
    pub delimiter: u8,
    /// What NULL looks like.
    pub null: String,
    /// A first line of names.
    pub header: bool,
    /// CSV: around values.
    pub quote: u8,
    /// CSV: before a quote inside a value.
    pub escape: u8,
    /// CSV out: columns that are always quoted.
    pub force_quote: Vec<usize>,
}

/// What else COPY was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyOptions {
    pub(super) freeze: bool,
    /// `None` is all columns.
    pub(super) force_quote: Option<Vec<String>>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        CopyOptions {
            freeze: false,
            force_quote: Some(Vec::new()),
        }
    }
}

/// Bytes of one line: a row cannot be larger either.
const LINE_BYTES_MAX: usize = crate::limits::ROW_BYTES_MAX * 2;

impl CopyFormat {
    pub(super) fn text() -> Self {
        CopyFormat {
            csv: false,
            delimiter: b'\t',
            null: "\\N".to_owned(),
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: Vec::new(),
        }
    }

    pub(super) fn csv() -> Self {
        CopyFormat {
            csv: true,
            delimiter: b',',
            null: String::new(),
            ..CopyFormat::text()
        }
    }

    /// A line of these values.
    pub(super) fn line(&self, values: &[Option<String>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(self.delimiter);
            }
            match value {
                None => out.extend_from_slice(self.null.as_bytes()),
                Some(value) if self.csv => {
                    self.csv_value(&mut out, value, self.force_quote.contains(&at))
                }
                Some(value) => self.text_value(&mut out, value),
            }
        }
        out.push(b'\n');
        out
    }

    fn text_value(&self, out: &mut Vec<u8>, value: &str) {
        for byte in value.bytes() {
            let escaped = match byte {
                b'\\' => b'\\',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0c => b'f',
                0x0b => b'v',
                byte if byte == self.delimiter => byte,
                byte => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escaped]);
        }
    }

    fn csv_value(&self, out: &mut Vec<u8>, value: &str, force: bool) {
        let odd = |byte: u8| {
            byte == self.delimiter || byte == self.quote || matches!(byte, b'\n' | b'\r')
        };
        if !force && value != self.null && value != "\\." && !value.bytes().any(odd) {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        out.push(self.quote);
        for byte in value.bytes() {
            if byte == self.quote || byte == self.escape {
                out.push(self.escape);
            }
            out.push(byte);
        }
        out.push(self.quote);
    }
}

/// Lines from bytes that come in pieces.
#[derive(Debug)]
pub(super) struct LineReader {
    format: CopyFormat,
    rest: Vec<u8>,
    pub(super) line: u64,
    skip_header: bool,
    ended: bool,
}

/// The values of a line.
pub(super) type Line = Vec<Option<String>>;

impl LineReader {
    pub(super) fn new(format: CopyFormat) -> Self {
        LineReader {
            skip_header: format.header,
            format,
            rest: Vec::new(),
            line: 0,
            ended: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// The next whole lines.
    pub(super) fn take(&mut self, last: bool) -> Result<Vec<Line>> {
        let rest = std::mem::take(&mut self.rest);
        let mut from = 0;
        let mut lines = Vec::new();
        while from < rest.len() && !self.ended {
            let end = match self.line_end(&rest[from..]) {
                Some(end) => end,
                None if last => rest.len() - from,
                None => break,
            };
            let mut line = &rest[from..from + end];
            from += (end + 1).min(rest.len() - from);
            line = line.strip_suffix(b"\r").unwrap_or(line);
            self.line += 1;
            if std::mem::take(&mut self.skip_header) {
                continue;
            }
            if line == b"\\." {
                self.ended = true;
                break;
            }
            let text = std::str::from_utf8(line).map_err(|_| {
                SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\"")
            })?;
            lines.push(if self.format.csv {
                self.csv(text)?
            } else {
                self.plain(text)?
            });
        }
        if !self.ended {
            self.rest = rest[from.min(rest.len())..].to_vec();
        }
        if self.rest.len() > LINE_BYTES_MAX {
            return Err(SqlError::new(
                "54000",
                format!("a line of COPY has more than {LINE_BYTES_MAX} bytes"),
            ));
        }
        Ok(lines)
    }

    fn line_end(&self, bytes: &[u8]) -> Option<usize> {
        if !self.format.csv {
            return bytes.iter().position(|byte| *byte == b'\n');
        }
        let mut quoted = false;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if quoted && *byte == self.format.escape && self.format.escape != self.format.quote {
                at += 1;
            } else if *byte == self.format.quote {
                quoted = !quoted;
            } else if *byte == b'\n' && !quoted {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    fn plain(&self, line: &str) -> Result<Line> {
        let delimiter = char::from(self.format.delimiter);
        let mut values = Vec::new();
        let mut raw = String::new();
        let mut value = String::new();
        let mut chars = line.chars().peekable();
        loop {
            match chars.next() {
                Some('\\') => {
                    raw.push('\\');
                    let Some(next) = chars.next() else {
                        value.push('\\');
                        continue;
                    };
                    raw.push(next);
                    value.push(match next {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'v' => '\u{b}',
                        digit @ '0'..='7' => {
                            let mut code = digit.to_digit(8).unwrap_or(0);
                            for _ in 0..2 {
                                match chars.peek().and_then(|c| c.to_digit(8)) {
                                    Some(digit) => {
                                        code = code * 8 + digit;
                                        chars.next();
                                    }
                                    None => break,
                                }
                            }
                            char::from((code & 0x7f) as u8)
                        }
                        other => other,
                    });
                }
                Some(c) if c != delimiter => {
                    raw.push(c);
                    value.push(c);
                }
                end => {
                    let null = raw == self.format.null;
                    raw.clear();
                    values.push((!null).then(|| std::mem::take(&mut value)));
                    value.clear();
                    if end.is_none() {
                        return Ok(values);
                    }
                }
            }
        }
    }

    fn csv(&self, line: &str) -> Result<Line> {
        let (delimiter, quote, escape) = (
            char::from(self.format.delimiter),
            char::from(self.format.quote),
            char::from(self.format.escape),
        );
        let mut values = Vec::new();
        let mut value = String::new();
        let mut was_quoted = false;
        let mut chars = line.chars().peekable();
        loop {
            match chars.next() {
                Some(c) if c == quote => {
                    was_quoted = true;
                    loop {
                        match chars.next() {
                            Some(c)
                                if c == escape
                                    && chars
                                        .peek()
                                        .is_some_and(|n| *n == quote || *n == escape) =>
                            {
                                value.extend(chars.next());
                            }
                            Some(c) if c == quote => break,
                            Some(c) => value.push(c),
                            None => {
                                return Err(SqlError::new(
                                    "22P04",
                                    "unterminated CSV quoted field",
                                ));
                            }
                        }
                    }
                }
                Some(c) if c != delimiter => value.push(c),
                end => {
                    let null = !was_quoted && value == self.format.null;
                    was_quoted = false;
                    values.push((!null).then(|| std::mem::take(&mut value)));
                    value.clear();
                    if end.is_none() {
                        return Ok(values);
                    }
                }
            }
        }
    }
}

/// Lines for the client.
pub struct CopyOut {
    /// Text or CSV.
    pub format: CopyFormat,
    /// Number of columns.
    pub columns: usize,
    pub(super) header: Option<Vec<u8>>,
    pub(super) rows: super::answer::RowIterator,
    pub(super) modifiers: Vec<i32>,
    pub(super) count: u64,
}

impl CopyOut {
    /// `COPY n`, after the last line.
    pub fn tag(&self) -> String {
        format!("COPY {}", self.count)
    }
}

impl Iterator for CopyOut {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(header) = self.header.take() {
            return Some(Ok(header));
        }
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        self.count += 1;
        let values: Vec<_> = row
            .iter()
            .zip(&self.modifiers)
            .map(|(value, modifier)| match value {
                crate::types::Value::Char(text) => Some(super::cast::pad(text, *modifier)),
                value => super::text::write(value),
            })
            .collect();
        Some(Ok(self.format.line(&values)))
    }
}

impl std::fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
