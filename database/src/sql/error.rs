//! What a statement answers when it fails: PostgreSQL's SQLSTATE and the fields clients look at.
//!
//! Invariant: `sqlstate` is five characters of PostgreSQL's appendix A; `position` counts characters of
//! the statement's text from 1.

use crate::transaction::Error;

/// Result of the SQL layer.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// A failed statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlError {
    /// The five characters that clients decide by.
    pub sqlstate: &'static str,
    /// One line for people.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the text, in characters from 1.
    pub position: Option<usize>,
    /// The schema it is about.
    pub schema: Option<String>,
    /// The table it is about.
    pub table: Option<String>,
    /// The column it is about.
    pub column: Option<String>,
    /// The constraint it is about.
    pub constraint: Option<String>,
    /// The statement runs again over a newer view. Never reaches a client.
    pub(crate) restart: bool,
    /// Something must happen before the row can be computed. Never reaches a client.
    pub(crate) effect: Option<Box<super::effect::Effect>>,
}

impl SqlError {
    /// An error of this SQLSTATE.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        SqlError {
            sqlstate,
            message: message.into(),
            ..SqlError::default()
        }
    }

    /// 0A000: what is not supported, by its name.
    pub fn unsupported(what: impl std::fmt::Display) -> Self {
        SqlError::new("0A000", format!("{what} is not supported"))
    }

    /// 42601.
    pub fn syntax(message: impl Into<String>) -> Self {
        SqlError::new("42601", message)
    }

    /// With a detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// At a place in the text, unless it is known already.
    #[must_use]
    pub fn at(mut self, position: Option<usize>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// Of a table.
    #[must_use]
    pub fn of_table(mut self, schema: &str, table: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self.table = Some(table.to_owned());
        self
    }
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)
    }
}

impl std::error::Error for SqlError {}

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        let mut answer = SqlError::new(error.sqlstate(), error.to_string());
        answer.restart = error == Error::Restart;
        match error {
            Error::Unique { constraint } => answer.constraint = Some(constraint),
            Error::ForeignKey { constraint, table } | Error::Check { constraint, table } => {
                answer.constraint = Some(constraint);
                answer.table = Some(table);
            }
            Error::NotNull { column, table } => {
                answer.column = Some(column);
                answer.table = Some(table);
            }
            Error::Serialization(_) | Error::Deadlock => {
                answer.hint = Some("The transaction might succeed if retried.".to_owned());
            }
            Error::Undefined { kind: "schema", .. } => answer.sqlstate = "3F000",
            Error::Duplicate { kind: "schema", .. } => answer.sqlstate = "42P06",
            _ => {}
        }
        answer
    }
}

impl From<crate::store::StoreError> for SqlError {
    fn from(error: crate::store::StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<crate::key::KeyError> for SqlError {
    fn from(error: crate::key::KeyError) -> Self {
        Error::from(error).into()
    }
}

impl From<crate::row::RowError> for SqlError {
    fn from(error: crate::row::RowError) -> Self {
        Error::from(error).into()
    }
}

/// A message beside the answer: `NOTICE`, `WARNING`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// Its SQLSTATE; `00000` for a plain notice.
    pub sqlstate: &'static str,
    /// One line for people.
    pub message: String,
}
