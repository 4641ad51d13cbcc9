//! How a command fails: the cause, the value, what was expected, the next command to try.
//!
//! Invariant: a wrong command line or setting exits 2, everything else that fails exits 1; nothing
//! here prints a secret, because the value is what the user typed on the command line.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// What went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// Whether the command line or a setting is at fault (exit 2) or the world is (exit 1).
    pub is_usage: bool,
    /// What failed, in lower case, without full stop.
    pub cause: String,
    /// The offending value, if one is.
    pub value: Option<String>,
    /// What would have been right.
    pub expected: Option<String>,
    /// The next command to try.
    pub next: Option<String>,
}

/// The outcome of a command.
pub type CliResult = Result<(), CliError>;

impl CliError {
    /// A failure of the world: exit code 1.
    pub fn failed(cause: impl fmt::Display) -> Self {
        Self {
            is_usage: false,
            cause: cause.to_string(),
            value: None,
            expected: None,
            next: None,
        }
    }

    /// A wrong command line or setting: exit code 2.
    pub fn usage(cause: impl fmt::Display) -> Self {
        Self {
            is_usage: true,
            ..Self::failed(cause)
        }
    }

    /// A part that is not in this program: exit code 2 and its name.
    pub fn not_built(part: &str) -> Self {
        Self::usage(format!("{part} is not part of this version of cairn"))
            .expected("a version that has it; CHANGELOG.md says which one brings it")
            .next("cairn --help")
    }

    /// Adds the offending value.
    pub fn value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(value.to_string());
        self
    }

    /// Adds what would have been right.
    pub fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    /// Adds the next command to try.
    pub fn next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        let lines = [
            ("value", &self.value),
            ("expected", &self.expected),
            ("next", &self.next),
        ];
        for (name, text) in lines {
            if let Some(text) = text {
                write!(f, "\n  {:<10}{text}", format!("{name}:"))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(&error)
            .expected(error.expected())
            .next("cairn node --help")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_cause_value_expectation_and_next_step_on_lines_of_their_own() {
        let error = CliError::failed("cannot reach the node")
            .value("http://127.0.0.1:1")
            .expected("the URL of a running node's API")
            .next("cairn doctor");
        assert_eq!(
            error.to_string(),
            "error: cannot reach the node\n  value:    http://127.0.0.1:1\n  expected: the URL of a \
             running node's API\n  next:     cairn doctor"
        );
        assert_eq!(
            format!("{:?}", error.exit_code()),
            format!("{:?}", ExitCode::from(1))
        );
        let usage = CliError::not_built("the SQL database");
        assert_eq!(
            format!("{:?}", usage.exit_code()),
            format!("{:?}", ExitCode::from(2))
        );
    }
}
