//! `POST /rpc`: JSON-RPC for scripts and miners that were made for Bitcoin's interface.
//!
//! Speaks JSON-RPC 2.0 and the 1.0 that old miners send (no `jsonrpc` member; the answer has both
//! `result` and `error`). Errors of a call are in the answer's body with HTTP status 200; only a
//! request that cannot be served at all (access, size, time) is a problem document.
//!
//! A long poll (`getblocktemplate` with a `longpollid`; getwork at `/rpc?longpoll`, which the header
//! `X-Long-Polling` names) waits outside of the threads that calls into the node occupy.
//! Rules: `spec/14-mining.md#getwork`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::access::basic;
use super::backend::{Backend, BackendError};
use super::extract::RpcBody;
use super::limits::{GENERATE_BLOCKS_MAX, LONG_POLL_LOOK, RPC_BATCH_MAX};
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

/// The query of a getwork that waits for a new tip.
const LONG_POLL_QUERY: &str = "longpoll";
/// Where a getwork may wait.
const X_LONG_POLLING: HeaderName = HeaderName::from_static("x-long-polling");
/// Why a solution of getwork was not good.
const X_REJECT_REASON: HeaderName = HeaderName::from_static("x-reject-reason");

/// JSON-RPC: getblocktemplate, submitblock, getwork; generatetoaddress on devnets only.
#[utoipa::path(post, path = "/rpc", tag = "node", request_body = RpcCall,
    responses(
        (status = 200, description = "The answer or the error of the call, or of each call of a batch.",
            body = serde_json::Value),
        (status = 204, description = "A notification was taken."),
        WriteProblems,
    ))]
pub async fn rpc(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    RpcBody(body): RpcBody,
) -> Result<Response, Problem> {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let error = RpcError::new(PARSE_ERROR, format!("parse error: {error}"));
            return Ok(axum::Json(answer(true, Value::Null, Err(error))).into_response());
        }
    };
    let asks_for_work =
        request["method"] == "getwork" && param(&request["params"], 0, "data").is_none();
    let wait = match long_poll_of(&request) {
        Some(id) => Some(id.to_owned()),
        None if asks_for_work && query.as_deref() == Some(LONG_POLL_QUERY) => {
            let tip = api.call(|backend| Ok(backend.chain()?.tip().id.to_string()));
            Some(tip.await?)
        }
        None => None,
    };
    if let Some(id) = wait
        && let Err(error) = wait_for_news(&api, id).await?
    {
        let is_2 = request["jsonrpc"].is_string();
        return Ok(axum::Json(answer(is_2, request["id"].clone(), Err(error))).into_response());
    }
    let user = basic(&headers)
        .map(|(user, _)| user)
        .filter(|user| !user.is_empty());
    let answers = api
        .call(move |backend| Ok(run_request(&Caller { backend, user }, request)))
        .await?;
    let Some((answers, reject_reason)) = answers else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response = axum::Json(answers).into_response();
    if asks_for_work && let Some(value) = long_polling(&headers) {
        response.headers_mut().insert(X_LONG_POLLING, value);
    }
    if let Some(value) = reject_reason.and_then(|why| HeaderValue::from_str(&why).ok()) {
        response.headers_mut().insert(X_REJECT_REASON, value);
    }
    Ok(response)
}

/// Where to wait, in full: miners join a path to whatever they were given, each in its own way.
fn long_polling(headers: &HeaderMap) -> Option<HeaderValue> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    HeaderValue::from_str(&format!("http://{host}{PATH}?{LONG_POLL_QUERY}")).ok()
}

/// The `longpollid` of a lone getblocktemplate.
fn long_poll_of(request: &Value) -> Option<&str> {
    if request["method"] != "getblocktemplate" {
        return None;
    }
    template_request(&request["params"])?
        .get("longpollid")?
        .as_str()
}

/// The object that getblocktemplate may be given (BIP 22).
fn template_request(params: &Value) -> Option<&serde_json::Map<String, Value>> {
    match params {
        Value::Array(list) => list.first()?.as_object(),
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// Waits until the template with this id is old, for a bounded time; an error when too many wait.
async fn wait_for_news(api: &Api, id: String) -> Result<Result<(), RpcError>, Problem> {
    let Ok(_place) = Arc::clone(&api.long_polls).try_acquire_owned() else {
        let max = api.limits.long_polls_max;
        let message = format!("{max} long polls wait already, the most: ask without");
        return Ok(Err(RpcError::new(NOT_READY, message)));
    };
    let mut chain = api.events.watch_chain();
    let mut stopping = api.stopping.clone();
    let enough = tokio::time::sleep(api.limits.long_poll_time);
    tokio::pin!(enough);
    loop {
        let id = id.clone();
        let is_old = api.call(move |backend| Ok(backend.template_is_old(&id)?));
        if is_old.await? {
            return Ok(Ok(()));
        }
        tokio::select! {
            changed = chain.changed() => {
                if changed.is_err() {
                    return Ok(Ok(()));
                }
            }
            _ = tokio::time::sleep(LONG_POLL_LOOK) => {}
            _ = &mut enough => return Ok(Ok(())),
            _ = stopping.changed() => return Ok(Ok(())),
        }
    }
}

/// Who calls: the node behind, and the user that the request names.
struct Caller<'a> {
    backend: &'a dyn Backend,
    user: Option<String>,
}

/// The answers, and why a solution was not good.
type Answered = (Value, Option<String>);

fn run_request(caller: &Caller<'_>, request: Value) -> Option<Answered> {
    let Value::Array(calls) = request else {
        return run_call(caller, request);
    };
    if calls.is_empty() || calls.len() > RPC_BATCH_MAX {
        let message = format!(
            "a batch has 1 to {RPC_BATCH_MAX} calls, this one {}",
            calls.len()
        );
        let error = RpcError::new(INVALID_REQUEST, message);
        return Some((answer(true, Value::Null, Err(error)), None));
    }
    let answers: Vec<Value> = calls
        .into_iter()
        .filter_map(|call| {
            if long_poll_of(&call).is_some() {
                let message = "longpollid: a long poll waits alone, not in a batch";
                let error = RpcError::new(INVALID_PARAMS, message);
                return Some(answer(true, call["id"].clone(), Err(error)));
            }
            run_call(caller, call).map(|(answer, _)| answer)
        })
        .collect();
    (!answers.is_empty()).then_some((Value::Array(answers), None))
}

/// Runs one call; none for a notification, which has no id.
fn run_call(caller: &Caller<'_>, call: Value) -> Option<Answered> {
    let call: RpcCall = match serde_json::from_value(call) {
        Ok(call) => call,
        Err(error) => {
            let error = RpcError::new(INVALID_REQUEST, format!("no call: {error}"));
            return Some((answer(true, Value::Null, Err(error)), None));
        }
    };
    let is_2 = call.jsonrpc.is_some();
    let mut why = None;
    let result = dispatch(caller, &call.method, &call.params, &mut why);
    let is_notification = is_2 && call.id.is_none();
    (!is_notification).then(|| (answer(is_2, call.id.unwrap_or_default(), result), why))
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

fn dispatch(
    caller: &Caller<'_>,
    method: &str,
    params: &Value,
    why: &mut Option<String>,
) -> Result<Value, RpcError> {
    let backend = caller.backend;
    match method {
        "generatetoaddress" => generate_to_address(backend, params),
        "getblocktemplate" if wants_bitcoin(params) => {
            let message = "this chain's blocks are not Bitcoin's: use getwork or Stratum";
            Err(RpcError::new(METHOD_NOT_FOUND, message))
        }
        "getblocktemplate" => Ok(backend.block_template()?),
        "submitblock" => submit_block(backend, params),
        "getwork" => get_work(caller, params, why),
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

/// Whether the caller is a program that builds Bitcoin's blocks from the template: it names the
/// parts of their coinbase and their rules. An error makes such miners fall back to getwork; ours
/// would only confuse them.
fn wants_bitcoin(params: &Value) -> bool {
    let Some(request) = template_request(params) else {
        return false;
    };
    let names = |key: &str, wanted: &[&str]| {
        let list = request.get(key).and_then(Value::as_array);
        let mut names = list.into_iter().flatten().filter_map(Value::as_str);
        names.any(|name| wanted.contains(&name))
    };
    names("rules", &["segwit", "!segwit"])
        && names("capabilities", &["coinbasetxn", "coinbasevalue", "workid"])
}

fn get_work(
    caller: &Caller<'_>,
    params: &Value,
    why: &mut Option<String>,
) -> Result<Value, RpcError> {
    if param(params, 0, "data").is_none() {
        return Ok(caller.backend.get_work(caller.user.as_deref())?);
    }
    let solved = caller.backend.submit_work(&hex_param(params, "data")?)?;
    *why = solved.err();
    Ok(Value::Bool(why.is_none()))
}
