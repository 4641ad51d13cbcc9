//! `cairn doctor`: whether this machine can run a node, and what to do where it cannot.

mod machine;
mod place;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::error::{CliError, CliResult};
use super::output;

/// The arguments of `cairn doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The data directory to look at
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,
    /// An address that a node would listen on; repeatable
    #[arg(long = "listen", value_name = "ADDR:PORT",
        default_values = ["127.0.0.1:7000", "127.0.0.1:8080"])]
    pub listen: Vec<SocketAddr>,
    /// The URL of a node's API to ask, if one runs
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub api: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// Good.
    Ok,
    /// A node runs, but not well.
    Warn,
    /// A node does not run.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            name,
            verdict,
            detail: detail.into(),
            next: None,
        }
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Runs all checks.
///
/// # Errors
/// When one of them failed: exit code 1.
pub fn run(args: &DoctorArgs) -> CliResult {
    let mut checks = vec![
        place::permissions(&args.data_dir),
        place::lock(&args.data_dir),
        place::space(&args.data_dir),
        place::sync_time(&args.data_dir),
        machine::clock(),
        machine::files(),
        machine::memory(),
        machine::processor(),
        machine::kernel(),
    ];
    checks.extend(args.listen.iter().map(|address| machine::port(*address)));
    checks.push(machine::node(&args.api));
    let failed = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count();
    if args.json {
        output::json(&json!({ "ok": failed == 0, "checks": checks }))?;
    } else {
        let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
        output::line(output::table(&["", "check", "found"], &rows))?;
    }
    match checks.iter().find(|check| check.verdict == Verdict::Fail) {
        None => Ok(()),
        Some(first) => {
            let error = CliError::failed(format!("{failed} checks failed, first: {}", first.name))
                .value(&first.detail);
            Err(match &first.next {
                Some(next) => error.next(next),
                None => error,
            })
        }
    }
}

fn row(check: &Check) -> Vec<String> {
    let mark = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    let detail = match &check.next {
        Some(next) => format!("{}; {next}", check.detail),
        None => check.detail.clone(),
    };
    vec![mark.into(), check.name.into(), detail]
}
