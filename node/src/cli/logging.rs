//! The log: `tracing` events on standard error, as text for people or one JSON object a line.
//!
//! Standard output is left to the commands' own answers (`listening …`, tables, JSON), so a script
//! can read it whatever is logged. `CAIRN_LOG_FILTER` sets levels by module, `info` without it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::error::{CliError, CliResult};
use crate::config::LogFormat;

/// The variable with level directives such as `info,cairn_network=debug`.
pub const FILTER_VARIABLE: &str = "CAIRN_LOG_FILTER";

/// Starts the log of this process.
///
/// # Errors
/// When `CAIRN_LOG_FILTER` is not a list of directives, or a log runs already.
pub fn init(format: LogFormat) -> CliResult {
    let directives = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| "info".into());
    let filter = filter(&directives)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| CliError::failed(format!("cannot start the log: {e}")))
}

fn filter(directives: &str) -> Result<EnvFilter, CliError> {
    EnvFilter::try_new(directives).map_err(|e| {
        CliError::usage(format!(
            "{FILTER_VARIABLE} is not a list of directives: {e}"
        ))
        .value(directives)
        .expected("levels such as `info` or `info,cairn_network=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_filter_is_wrong_usage() {
        assert!(filter("info,cairn_node=debug").is_ok());
        let error = filter("info,=,=x=y").unwrap_err();
        assert!(error.is_usage && error.value.is_some());
    }
}
