//! COPY: rows as lines of text or CSV.

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
    /// CSV out: columns that are always quoted; `None` inside is all.
    pub force_quote: Vec<usize>,
}
/// Lines for the client.
pub struct CopyOut {
    /// Text or CSV.
    pub format: CopyFormat,
    /// Number of columns.
    pub columns: usize,
    pub(super) lines: Box<dyn Iterator<Item = super::Result<Vec<u8>>> + Send>,
    pub(super) count: u64,
}

impl CopyOut {
    /// `COPY n`, after the last line.
    pub fn tag(&self) -> String {
        format!("COPY {}", self.count)
    }
}

impl Iterator for CopyOut {
    type Item = super::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}

impl std::fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut").finish_non_exhaustive()
    }
}
