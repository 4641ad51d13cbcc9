//! Questions to a node's HTTP API.

use serde_json::{Value, json};
use std::time::Duration;

/// One node's API.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
}

impl Api {
    /// The API at `host:port`.
    pub fn at(address: &str) -> Api {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .build();
        Api {
            base: format!("http://{address}"),
            agent: config.into(),
        }
    }

    /// The URL, for `--api`.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `GET path` as JSON, if the node answers 200.
    pub fn get(&self, path: &str) -> Option<Value> {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).call().ok()?;
        (answer.status() == 200).then(|| answer.body_mut().read_json().ok())?
    }

    /// `GET path` as text.
    pub fn text(&self, path: &str) -> Option<String> {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }

    /// `POST path` with a JSON body: status and answer.
    pub fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.base))
            .send_json(body)
            .ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_json().unwrap_or(Value::Null)))
    }

    /// A JSON-RPC call; panics on an error.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (_, answer) = self.post("/rpc", &body).expect("the node answers");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// A field of the status.
    pub fn status(&self, field: &str) -> Option<Value> {
        self.get("/v1/status").map(|status| status[field].clone())
    }

    /// Height of the tip.
    pub fn height(&self) -> Option<u64> {
        self.status("height")?.as_u64()
    }

    /// Height and id of the tip.
    pub fn tip(&self) -> Option<(u64, String)> {
        let status = self.get("/v1/status")?;
        Some((
            status["height"].as_u64()?,
            status["tip"].as_str()?.to_owned(),
        ))
    }

    /// Pauses or resumes the miner.
    pub fn pause(&self, paused: bool) {
        let answer = self.post("/v1/miner", &json!({ "paused": paused }));
        let (status, text) = answer.expect("the node answers");
        assert_eq!(status, 200, "{text}");
    }

    /// A metric without labels, or with exactly these.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.text("/metrics")?;
        let line = page
            .lines()
            .find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}
