//! `POST /rpc`: JSON-RPC for scripts and miners that were made for Bitcoin's interface.
//!
//! Speaks JSON-RPC 2.0 and the 1.0 that old miners send (no `jsonrpc` member; the answer has both
//! `result` and `error`). Errors of a call are in the answer's body with HTTP status 200; only a
//! request that cannot be served at all (access, size, time) is a problem document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::backend::{Backend, BackendError};
use super::extract::RpcBody;
use super::limits::{GENERATE_BLOCKS_MAX, RPC_BATCH_MAX};
use super::problem::{Problem, WriteProblems};
use super::state::Api;

/// Where it is served; the path of [`rpc`].
pub(super) const PATH: &str = "/rpc";

/// The methods that exist, on some chains at least.
pub const METHODS: [&str; 4] = [
    "generatetoaddress",
    "getblocktemplate",
    "getwork",
    "submitblock",
];

/// A JSON-RPC call.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RpcCall {
    /// "2.0", or absent for the older form.
    pub jsonrpc: Option<String>,
    /// What to do.
    pub method: String,
    /// Positional parameters.
    #[serde(default)]
    pub params: Value,
    /// Repeated in the answer.
    pub id: Option<Value>,
}

/// A failed call: code and message of JSON-RPC.
#[derive(Debug)]
struct RpcError {
    code: i64,
    message: String,
}

/// The request is not JSON.
const PARSE_ERROR: i64 = -32700;
/// The JSON is no call.
const INVALID_REQUEST: i64 = -32600;
/// This node does not have the method.
const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are wrong.
const INVALID_PARAMS: i64 = -32602;
/// The node failed.
const INTERNAL_ERROR: i64 = -32603;
/// The node is busy; Bitcoin's code for a client that is not ready.
const NOT_READY: i64 = -10;

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<BackendError> for RpcError {
    fn from(error: BackendError) -> Self {
        let code = match &error {
            BackendError::Fault(_) => INTERNAL_ERROR,
            BackendError::Busy(_) => NOT_READY,
            BackendError::NotAvailable(_) => METHOD_NOT_FOUND,
            BackendError::Invalid(_) => INVALID_PARAMS,
        };
        Self::new(code, error.to_string())
    }
}

/// JSON-RPC: getblocktemplate, submitblock, getwork; generatetoaddress on devnets only.
#[utoipa::path(post, path = "/rpc", tag = "node", request_body = RpcCall,
    responses(
        (status = 200, description = "The answer or the error of the call, or of each call of a batch.",
            body = serde_json::Value),
        (status = 204, description = "A notification was taken."),
        WriteProblems,
    ))]
pub async fn rpc(State(api): State<Arc<Api>>, RpcBody(body): RpcBody) -> Result<Response, Problem> {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let error = RpcError::new(PARSE_ERROR, format!("parse error: {error}"));
            return Ok(axum::Json(answer(true, Value::Null, Err(error))).into_response());
        }
    };
    let answers = api
        .call(move |backend| Ok(run_request(backend, request)))
        .await?;
    Ok(match answers {
        Some(answers) => axum::Json(answers).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn run_request(backend: &dyn Backend, request: Value) -> Option<Value> {
    let Value::Array(calls) = request else {
        return run_call(backend, request);
    };
    if calls.is_empty() || calls.len() > RPC_BATCH_MAX {
        let message = format!(
            "a batch has 1 to {RPC_BATCH_MAX} calls, this one {}",
            calls.len()
        );
        return Some(answer(
            true,
            Value::Null,
            Err(RpcError::new(INVALID_REQUEST, message)),
        ));
    }
    let answers: Vec<Value> = calls
        .into_iter()
        .filter_map(|call| run_call(backend, call))
        .collect();
    (!answers.is_empty()).then_some(Value::Array(answers))
}

/// Runs one call; none for a notification, which has no id.
fn run_call(backend: &dyn Backend, call: Value) -> Option<Value> {
    let call: RpcCall = match serde_json::from_value(call) {
        Ok(call) => call,
        Err(error) => {
            let error = RpcError::new(INVALID_REQUEST, format!("no call: {error}"));
            return Some(answer(true, Value::Null, Err(error)));
        }
    };
    let is_2 = call.jsonrpc.is_some();
    let result = dispatch(backend, &call.method, &call.params);
    let is_notification = is_2 && call.id.is_none();
    (!is_notification).then(|| answer(is_2, call.id.unwrap_or_default(), result))
}

fn answer(is_2: bool, id: Value, result: Result<Value, RpcError>) -> Value {
    let error = |e: RpcError| json!({ "code": e.code, "message": e.message });
    match (is_2, result) {
        (true, Ok(result)) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        (true, Err(e)) => json!({ "jsonrpc": "2.0", "error": error(e), "id": id }),
        (false, Ok(result)) => json!({ "result": result, "error": null, "id": id }),
        (false, Err(e)) => json!({ "result": null, "error": error(e), "id": id }),
    }
}

fn dispatch(backend: &dyn Backend, method: &str, params: &Value) -> Result<Value, RpcError> {
    match method {
        "generatetoaddress" => generate_to_address(backend, params),
        "getblocktemplate" => Ok(backend.block_template()?),
        "submitblock" => submit_block(backend, params),
        "getwork" => get_work(backend, params),
        other => {
            let other: String = other.chars().take(80).collect();
            let message = format!(
                "method `{other}` is not available: expected one of {}",
                METHODS.join(", ")
            );
            Err(RpcError::new(METHOD_NOT_FOUND, message))
        }
    }
}

/// A positional parameter, or the same one by name.
fn param<'a>(params: &'a Value, index: usize, name: &str) -> Option<&'a Value> {
    match params {
        Value::Array(list) => list.get(index),
        Value::Object(map) => map.get(name),
        _ => None,
    }
}

fn generate_to_address(backend: &dyn Backend, params: &Value) -> Result<Value, RpcError> {
    if !backend.is_devnet() {
        let message = "generatetoaddress is not available: it is served on devnets only";
        return Err(RpcError::new(METHOD_NOT_FOUND, message));
    }
    let blocks = param(params, 0, "nblocks").and_then(Value::as_u64);
    let blocks = blocks
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| (1..=GENERATE_BLOCKS_MAX).contains(n))
        .ok_or_else(|| {
            let message = format!("nblocks: expected a number from 1 to {GENERATE_BLOCKS_MAX}");
            RpcError::new(INVALID_PARAMS, message)
        })?;
    let text = param(params, 1, "address")
        .and_then(Value::as_str)
        .ok_or_else(|| {
            RpcError::new(
                INVALID_PARAMS,
                "address: expected an address of this chain as a string",
            )
        })?;
    let address = backend
        .parse_address(text)
        .map_err(|error| RpcError::new(INVALID_PARAMS, error.to_string()))?;
    Ok(json!(backend.generate_to_address(blocks, &address)?))
}

fn hex_param(params: &Value, name: &str) -> Result<Vec<u8>, RpcError> {
    let text = param(params, 0, name).and_then(Value::as_str);
    text.and_then(|text| hex::decode(text).ok())
        .ok_or_else(|| RpcError::new(INVALID_PARAMS, format!("{name}: expected a hex string")))
}

/// As BIP 22 has it: null for a good block, otherwise a word that says why not.
fn submit_block(backend: &dyn Backend, params: &Value) -> Result<Value, RpcError> {
    let bytes = hex_param(params, "hexdata")?;
    Ok(match backend.submit_block(&bytes)? {
        Ok(_) => Value::Null,
        Err(reason) => Value::String(reason),
    })
}

fn get_work(backend: &dyn Backend, params: &Value) -> Result<Value, RpcError> {
    if param(params, 0, "data").is_none() {
        return Ok(backend.get_work()?);
    }
    Ok(Value::Bool(
        backend.submit_work(&hex_param(params, "data")?)?,
    ))
}
