//! The commands' way to a node: its HTTP API, with deadlines and bounded answers.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::CliError;
use crate::api::problem::ProblemDocument;

/// Opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One request in all; longer than the node's own time limit, so that its words arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where the node's API is; part of every command that asks a node.
#[derive(clap::Args, Debug, Clone)]
pub struct NodeUrl {
    /// The URL of a running node's API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub api: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A client of one node.
pub struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// A client for a URL such as `http://127.0.0.1:8080`, also written `127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the URL is of another scheme.
    pub fn new(url: &str) -> Result<Self, CliError> {
        let base = match url.split_once("://") {
            None => format!("http://{url}"),
            Some(("http", _)) => url.to_owned(),
            Some(_) => {
                return Err(CliError::usage("the API's URL is not plain http")
                    .value(url)
                    .expected("a URL such as http://127.0.0.1:8080"));
            }
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT));
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            base,
            agent: config.build().new_agent(),
        })
    }

    /// Gets the JSON at a path.
    ///
    /// # Errors
    /// When nobody answers, or the node answers with a problem.
    pub fn get(&self, path: &str) -> Result<Value, CliError> {
        self.read(self.agent.get(format!("{}{path}", self.base)).call())
    }

    /// Posts JSON to a path.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        self.read(
            self.agent
                .post(format!("{}{path}", self.base))
                .send_json(body),
        )
    }

    fn read(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, CliError> {
        let unreachable = |error: ureq::Error| {
            CliError::failed(format!("cannot reach the node: {error}"))
                .value(&self.base)
                .expected("the URL of a running node's API (--api)")
                .next("cairn doctor")
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status();
        let body = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec();
        let body = body.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| self.not_a_node());
        }
        let problem: ProblemDocument =
            serde_json::from_slice(&body).map_err(|_| self.not_a_node())?;
        let mut error = CliError::failed(format!("{} ({})", problem.detail, problem.code));
        error.value = Some(format!("HTTP {} from {}", problem.status, self.base));
        error.expected = problem.expected;
        Err(error)
    }

    fn not_a_node(&self) -> CliError {
        CliError::failed("what answers there is not a cairn node")
            .value(&self.base)
            .expected("the URL of a running node's API (--api)")
            .next("cairn doctor")
    }
}

/// The answer as the type that people's tables are made of.
///
/// # Errors
/// When the node's answer has another shape: it runs another version.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, CliError> {
    serde_json::from_value(value.clone()).map_err(|error| {
        CliError::failed(format!("the node's answer has another shape: {error}"))
            .expected("a node of this version")
            .next("cairn status --json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_http() {
        assert_eq!(
            Client::new("127.0.0.1:1").unwrap().base,
            "http://127.0.0.1:1"
        );
        assert_eq!(Client::new("http://h:1/").unwrap().base, "http://h:1");
        let error = Client::new("https://h").err().unwrap();
        assert!(error.is_usage && error.value.as_deref() == Some("https://h"));
    }
}
