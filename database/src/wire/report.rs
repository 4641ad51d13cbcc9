//! What a client is told went wrong: the fields of `ErrorResponse` and `NoticeResponse`.
//!
//! Source: <https://www.postgresql.org/docs/18/protocol-error-fields.html>.

use super::message::ProtocolError;
use crate::sql::{self, SqlError};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The session ends.
    Fatal,
    /// The statement ends.
    Error,
    /// Nothing ends, but somebody should look.
    Warning,
    /// For information.
    Notice,
    /// For information that was asked for.
    Info,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Fatal => "FATAL",
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Info => "INFO",
        }
    }
}

/// An error or a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad it is (`S`, `V`).
    pub severity: Severity,
    /// SQLSTATE (`C`).
    pub code: String,
    /// What happened (`M`).
    pub message: String,
    /// More of it (`D`).
    pub detail: Option<String>,
    /// What to do (`H`).
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1 (`P`).
    pub position: Option<usize>,
    /// The schema concerned (`s`).
    pub schema: Option<String>,
    /// The table concerned (`t`).
    pub table: Option<String>,
    /// The column concerned (`c`).
    pub column: Option<String>,
    /// The constraint concerned (`n`).
    pub constraint: Option<String>,
}

impl Report {
    /// With the fields that all have.
    pub fn new(severity: Severity, code: &str, message: impl Into<String>) -> Self {
        Report {
            severity,
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
    }

    /// The session ends.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Fatal, code, message)
    }

    /// The statement ends.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Writes the body of its message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut put = |field: u8, text: &str| {
            out.push(field);
            super::message::put_text(out, text);
        };
        put(b'S', self.severity.name());
        put(b'V', self.severity.name());
        put(b'C', &self.code);
        put(b'M', &self.message);
        let position = self.position.map(|at| at.to_string());
        let optional = [
            (b'D', &self.detail),
            (b'H', &self.hint),
            (b'P', &position),
            (b's', &self.schema),
            (b't', &self.table),
            (b'c', &self.column),
            (b'n', &self.constraint),
        ];
        for (field, text) in optional {
            if let Some(text) = text {
                put(field, text);
            }
        }
        out.push(0);
    }
}

impl From<ProtocolError> for Report {
    fn from(error: ProtocolError) -> Self {
        Report::error(error.sqlstate(), error.to_string())
    }
}

impl From<SqlError> for Report {
    fn from(error: SqlError) -> Self {
        Report {
            detail: error.detail,
            hint: error.hint,
            position: error.position,
            schema: error.schema,
            table: error.table,
            column: error.column,
            constraint: error.constraint,
            ..Report::error(error.sqlstate, error.message)
        }
    }
}

impl From<sql::Notice> for Report {
    fn from(notice: sql::Notice) -> Self {
        let severity = match notice.severity {
            "WARNING" => Severity::Warning,
            "INFO" => Severity::Info,
            _ => Severity::Notice,
        };
        Report::new(severity, notice.sqlstate, notice.message)
    }
}
