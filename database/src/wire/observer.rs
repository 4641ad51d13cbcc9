//! What a node learns of its sessions, for metrics. Never texts, parameters or passwords.

use std::time::Duration;

/// What a statement does, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// Reads.
    Select,
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
    /// COPY
    Copy,
    /// BEGIN, COMMIT, SAVEPOINT and the like.
    Transaction,
    /// CREATE, ALTER, DROP, TRUNCATE.
    Schema,
    /// Anything else.
    Other,
}

impl QueryKind {
    /// All of them.
    pub const ALL: [QueryKind; 8] = [
        QueryKind::Select,
        QueryKind::Insert,
        QueryKind::Update,
        QueryKind::Delete,
        QueryKind::Copy,
        QueryKind::Transaction,
        QueryKind::Schema,
        QueryKind::Other,
    ];

    /// The label.
    pub fn label(self) -> &'static str {
        match self {
            QueryKind::Select => "select",
            QueryKind::Insert => "insert",
            QueryKind::Update => "update",
            QueryKind::Delete => "delete",
            QueryKind::Copy => "copy",
            QueryKind::Transaction => "transaction",
            QueryKind::Schema => "schema",
            QueryKind::Other => "other",
        }
    }

    /// By a statement's first word.
    pub fn of(text: &str) -> Self {
        const WORDS: &[(&str, QueryKind)] = &[
            ("select", QueryKind::Select),
            ("insert", QueryKind::Insert),
            ("update", QueryKind::Update),
            ("delete", QueryKind::Delete),
            ("copy", QueryKind::Copy),
            ("begin", QueryKind::Transaction),
            ("end", QueryKind::Transaction),
            ("commit", QueryKind::Transaction),
            ("start", QueryKind::Transaction),
            ("rollback", QueryKind::Transaction),
            ("abort", QueryKind::Transaction),
            ("savepoint", QueryKind::Transaction),
            ("release", QueryKind::Transaction),
            ("values", QueryKind::Select),
            ("table", QueryKind::Select),
            ("with", QueryKind::Select),
            ("create", QueryKind::Schema),
            ("alter", QueryKind::Schema),
            ("drop", QueryKind::Schema),
            ("truncate", QueryKind::Schema),
        ];
        let text = text.trim_start();
        let end = text.bytes().position(|byte| !byte.is_ascii_alphabetic());
        let word = &text[..end.unwrap_or(text.len())];
        let found = WORDS
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map_or(QueryKind::Other, |(_, kind)| *kind)
    }
}

/// Takes note.
pub trait Observer: Send + Sync {
    /// A statement has ended.
    fn statement(&self, kind: QueryKind, succeeded: bool, elapsed: Duration);
    /// A transaction of a session was committed.
    fn commit(&self);
    /// A transaction was aborted to end a deadlock.
    fn deadlock(&self);
}

/// Takes no note.
#[derive(Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn statement(&self, _: QueryKind, _: bool, _: Duration) {}
    fn commit(&self) {}
    fn deadlock(&self) {}
}

/// A statement without what it is about: every literal is `?`, so that neither a password nor a value
/// stands in a log.
pub fn without_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(SHOWN_BYTES_MAX));
    let mut rest = text;
    let mut in_word = false;
    while let Some(c) = rest.chars().next() {
        if out.len() >= SHOWN_BYTES_MAX {
            out.push('…');
            break;
        }
        if c == '\'' {
            rest = after_quoted(&rest[1..]);
            out.push('?');
        } else if let Some(tag) = dollar_tag(rest).filter(|_| !in_word) {
            let body = &rest[tag.len()..];
            rest = body.find(tag).map_or("", |at| &body[at + tag.len()..]);
            out.push('?');
        } else if c.is_ascii_digit() && !in_word {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
            rest = end.map_or("", |at| &rest[at..]);
            out.push('?');
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
        in_word = c.is_alphanumeric() || matches!(c, '_' | '$');
    }
    out
}

/// Bytes of a statement that a log shows.
const SHOWN_BYTES_MAX: usize = 1_000;

/// Past the quote that ends a literal; a backslash may hide one, and rather too much is hidden than
/// too little.
fn after_quoted(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return text.get(at + 1..).unwrap_or(""),
            _ => at += 1,
        }
    }
    ""
}

/// `$tag$` at the beginning of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('$')?;
    let end = rest.find('$')?;
    let name = &rest[..end];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(QueryKind::of("  SELECT 1"), QueryKind::Select);
        assert_eq!(QueryKind::of("END;"), QueryKind::Transaction);
        assert_eq!(QueryKind::of(""), QueryKind::Other);
        assert_eq!(QueryKind::of("selected"), QueryKind::Other);
    }

    #[test]
    fn no_literal_is_shown() {
        for (text, shown) in [
            (
                "select * from t1 where a = 12.5e3",
                "select * from t1 where a = ?",
            ),
            ("create role x password 'it''s'", "create role x password ?"),
            ("select E'a\\'secret', 'b", "select E?, ?"),
            ("select $$secret$$, $x$ 'secret' $x$, $1", "select ?, ?, $1"),
            ("é'", "é?"),
        ] {
            assert_eq!(without_literals(text), shown);
        }
        assert!(without_literals(&"x ".repeat(10_000)).len() < 1_100);
    }
}
