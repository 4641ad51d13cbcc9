//! Why bytes are not an entry, or an entry not the next of its log: one variant, one rule of
//! `spec/13-database.md`.

/// Ids of all rules, in the order of the chapter.
pub const RULES: [&str; 13] = [
    "ENT-01", "ENT-02", "ENT-03", "ENT-04", "ENT-05", "ENT-06", "ENT-07", "ENT-08", "ENT-09",
    "ENT-10", "ENT-11", "ENT-12", "ENT-13",
];

/// A broken rule of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is larger than an entry may be.
    #[error("entry of {found} bytes, at most {bound} are allowed (ENT-01)")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// The bound.
        bound: usize,
    },
    /// It ends inside a field, or a number does not fit its type.
    #[error("entry ends inside its {0}, or that number is too large (ENT-02)")]
    Malformed(&'static str),
    /// It has a second spelling.
    #[error("{0} is not in its one spelling (ENT-03)")]
    NotCanonical(&'static str),
    /// A format that this program does not know.
    #[error("entry of format {found}, this program knows {known} (ENT-04)")]
    Format {
        /// The format.
        found: u8,
        /// The one that is known.
        known: u8,
    },
    /// A kind or a tag that the format does not have.
    #[error("{what} {found} is unknown (ENT-05)")]
    Unknown {
        /// "kind", "change" or "resolution".
        what: &'static str,
        /// The number.
        found: u8,
    },
    /// A field is longer, or a number larger, than its place allows.
    #[error("{what} of {found}, at most {bound} are allowed (ENT-06)")]
    Bound {
        /// The field.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it may be.
        bound: u64,
    },
    /// The header counts other changes than there are.
    #[error("header counts {counted} changes, the entry has {found} or more (ENT-07)")]
    Count {
        /// By the header.
        counted: u32,
        /// In the body.
        found: u32,
    },
    /// The changes are not those whose root stands in the header.
    #[error("the changes do not have the root of the header (ENT-08)")]
    Root,
    /// A change stands behind one that sorts at or above it.
    #[error("change {index} does not sort above the one before it (ENT-09)")]
    Order {
        /// Index of the change.
        index: u32,
    },
    /// The changes do not fit the kind.
    #[error("{0} (ENT-10)")]
    Kind(&'static str),
    /// A timestamp does not rise.
    #[error("{what} {found} does not follow {before} (ENT-11)")]
    Time {
        /// "commit_ts" or "closed_ts".
        what: &'static str,
        /// Of this entry.
        found: u64,
        /// Of the entry before.
        before: u64,
    },
    /// The log does not begin or go on in one incarnation.
    #[error("{0} (ENT-12)")]
    Incarnation(&'static str),
    /// Parts of a chain and its resolve do not fit together.
    #[error("chain: {what}, found {found}, expected {expected} (ENT-13)")]
    Chain {
        /// What does not fit.
        what: &'static str,
        /// Found number.
        found: u32,
        /// Expected number.
        expected: u32,
    },
}

impl EntryError {
    /// The rule's id.
    pub fn rule(&self) -> &'static str {
        let number = match self {
            EntryError::TooLong { .. } => 0,
            EntryError::Malformed(_) => 1,
            EntryError::NotCanonical(_) => 2,
            EntryError::Format { .. } => 3,
            EntryError::Unknown { .. } => 4,
            EntryError::Bound { .. } => 5,
            EntryError::Count { .. } => 6,
            EntryError::Root => 7,
            EntryError::Order { .. } => 8,
            EntryError::Kind(_) => 9,
            EntryError::Time { .. } => 10,
            EntryError::Incarnation(_) => 11,
            EntryError::Chain { .. } => 12,
        };
        RULES[number]
    }
}
