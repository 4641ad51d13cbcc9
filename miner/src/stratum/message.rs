//! What a Stratum client says, and how it is answered.
//!
//! Invariant: whatever bytes a line has, it is a [`Request`] or a [`Refusal`]; nothing of it is
//! trusted later. Rules: `spec/14-mining.md#stratum`.

use serde_json::{Map, Value, json};

use super::difficulty::Difficulty;
use super::job::EXTRA_NONCE_HALF;
use super::limits::EXTENSIONS_MAX;

/// Error codes of Stratum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Code {
    /// Anything else.
    Other = 20,
    /// The job is unknown, or of a tip that is no longer the tip.
    Stale = 21,
    /// The share was sent before.
    Duplicate = 22,
    /// The share misses its target.
    LowDifficulty = 23,
    /// The user is not authorized.
    Unauthorized = 24,
    /// The session is not subscribed.
    NotSubscribed = 25,
}

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The reason.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Refusal {
        let message = message.into();
        Refusal { code, message }
    }

    fn malformed(what: impl Into<String>) -> Refusal {
        Refusal::new(Code::Other, what)
    }
}

/// A request and the id to answer it with.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Repeated in the answer.
    pub id: Value,
    /// What is asked, or why it is no question.
    pub method: Result<Method, Refusal>,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.configure`.
    Configure {
        /// The extensions that the client knows.
        extensions: Vec<String>,
        /// Their options.
        options: Map<String, Value>,
    },
    /// `mining.authorize`.
    Authorize {
        /// Address and worker.
        user: String,
        /// `d=` and a difficulty, or anything.
        password: String,
    },
    /// `mining.suggest_difficulty`.
    SuggestDifficulty(Difficulty),
    /// `mining.suggest_target`, as a difficulty.
    ExtranonceSubscribe,
    /// `mining.submit`.
    Submit(Submission),
    /// `mining.ping`, and what else is answered by a word.
    Ping,
    /// Anything else.
    Unknown(String),
}

/// The parameters of `mining.submit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The user whose share it is.
    pub user: String,
    /// The job.
    pub job: String,
    /// The rolled half of the extra-nonce.
    pub extra_nonce_2: [u8; EXTRA_NONCE_HALF],
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// Bits of the version that the miner rolled.
    pub version_bits: Option<u32>,
}

impl Request {
    /// Reads a line; none if it is no request at all. An answer (a line with a `result`) is none of
    /// our business either and reads as a ping without id.
    pub fn read(line: &[u8]) -> Option<Request> {
        let Ok(Value::Object(object)) = serde_json::from_slice(line) else {
            return None;
        };
        let id = match object.get("id") {
            Some(id @ (Value::Number(_) | Value::String(_))) => id.clone(),
            None | Some(Value::Null) => Value::Null,
            Some(_) => return None,
        };
        let Some(Value::String(name)) = object.get("method") else {
            return object.contains_key("result").then_some(Request {
                id: Value::Null,
                method: Ok(Method::Ping),
            });
        };
        let empty = Value::Array(Vec::new());
        let params = match object.get("params") {
            None | Some(Value::Null) => &empty,
            Some(params) => params,
        };
        let method = match params {
            Value::Array(params) => Method::read(name, params),
            _ => Err(Refusal::malformed("params: expected a list")),
        };
        Some(Request { id, method })
    }
}

impl Method {
    fn read(name: &str, params: &[Value]) -> Result<Method, Refusal> {
        Ok(match name {
            "mining.subscribe" => Method::Subscribe,
            "mining.configure" => configure(params)?,
            "mining.authorize" => Method::Authorize {
                user: text(params, 0, "user")?.to_owned(),
                password: params
                    .get(1)
                    .and_then(Value::as_str)
                    .unwrap_or("")
                    .to_owned(),
            },
            "mining.suggest_difficulty" => {
                Method::SuggestDifficulty(params.first().and_then(difficulty).ok_or_else(|| {
                    Refusal::malformed("difficulty: expected a number above zero")
                })?)
            }
            "mining.extranonce.subscribe" => Method::ExtranonceSubscribe,
            "mining.submit" => Method::Submit(submission(params)?),
            "mining.ping" | "mining.multi_version" => Method::Ping,
            other => Method::Unknown(other.chars().take(64).collect()),
        })
    }
}

/// A difficulty as a number, or as the text of one, which some miners send.
pub(super) fn difficulty(value: &Value) -> Option<Difficulty> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Difficulty::new(number?)
}

fn configure(params: &[Value]) -> Result<Method, Refusal> {
    let list = params.first().and_then(Value::as_array);
    let names = list.and_then(|list| {
        let names = list.iter().map(|name| name.as_str().map(str::to_owned));
        names.collect::<Option<Vec<String>>>()
    });
    let extensions = names
        .filter(|names| names.len() <= EXTENSIONS_MAX)
        .ok_or_else(|| {
            Refusal::malformed(format!(
                "extensions: expected a list of at most {EXTENSIONS_MAX} names"
            ))
        })?;
    let options = match params.get(1) {
        Some(Value::Object(options)) => options.clone(),
        _ => Map::new(),
    };
    Ok(Method::Configure {
        extensions,
        options,
    })
}

fn submission(params: &[Value]) -> Result<Submission, Refusal> {
    let mut extra_nonce_2 = [0; EXTRA_NONCE_HALF];
    hex::decode_to_slice(text(params, 2, "extranonce2")?, &mut extra_nonce_2).map_err(|_| {
        Refusal::malformed(format!(
            "extranonce2: expected {} hex digits",
            2 * EXTRA_NONCE_HALF
        ))
    })?;
    Ok(Submission {
        user: text(params, 0, "user")?.to_owned(),
        job: text(params, 1, "job")?.to_owned(),
        extra_nonce_2,
        time: number(params, 3, "ntime")?,
        nonce: number(params, 4, "nonce")?,
        version_bits: match params.get(5) {
            None | Some(Value::Null) => None,
            Some(_) => Some(number(params, 5, "version")?),
        },
    })
}

fn text<'a>(params: &'a [Value], index: usize, name: &str) -> Result<&'a str, Refusal> {
    let text = params.get(index).and_then(Value::as_str);
    text.ok_or_else(|| Refusal::malformed(format!("{name}: expected a string")))
}

fn number(params: &[Value], index: usize, name: &str) -> Result<u32, Refusal> {
    let text = text(params, index, name)?;
    hex_number(text).ok_or_else(|| Refusal::malformed(format!("{name}: expected 8 hex digits")))
}

/// A number of exactly eight hex digits.
pub(super) fn hex_number(text: &str) -> Option<u32> {
    // The parser alone would take a sign.
    let is_hex = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(text, 16).ok())?
}

/// An answer.
pub(super) fn answer(id: &Value, result: Value) -> String {
    json!({ "id": id, "result": result, "error": null }).to_string()
}

/// An answer that says no, with the `result` that goes with it.
pub(super) fn refuse(id: &Value, result: Value, refusal: &Refusal) -> String {
    let error = json!([refusal.code as i64, refusal.message, null]);
    json!({ "id": id, "result": result, "error": error }).to_string()
}

/// A line that the client did not ask for.
pub(super) fn notification(method: &str, params: &Value) -> String {
    json!({ "id": null, "method": method, "params": params }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(line: &str) -> Result<Method, Refusal> {
        Request::read(line.as_bytes()).expect(line).method
    }

    #[test]
    fn what_miners_send_is_read() {
        let subscribe = r#"{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}"#;
        assert_eq!(method(subscribe), Ok(Method::Subscribe));
        assert_eq!(
            method(r#"{"id":"x","method":"mining.subscribe"}"#),
            Ok(Method::Subscribe)
        );
        let submit = r#"{"method": "mining.submit", "params": ["a.w", "1f", "0100000000000000", "6b49d200", "deadbeef"], "id":4}"#;
        let Ok(Method::Submit(submission)) = method(submit) else {
            panic!()
        };
        assert_eq!(submission.extra_nonce_2, [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            (submission.time, submission.nonce),
            (0x6b49_d200, 0xdead_beef)
        );
        assert_eq!(submission.version_bits, None);
        let suggest = r#"{"id":1,"method":"mining.suggest_difficulty","params":["0.5"]}"#;
        let half = Difficulty::new(0.5).unwrap();
        assert_eq!(method(suggest), Ok(Method::SuggestDifficulty(half)));
    }

    #[test]
    fn what_is_no_request_at_all() {
        for line in [
            "",
            "x",
            "5",
            "[]",
            "{}",
            "null",
            "\"mining.subscribe\"",
            r#"{"id":1}"#,
            r#"{"id":1,"method":5}"#,
            r#"{"id":[1],"method":"mining.ping"}"#,
            r#"{"id":{},"method":"mining.ping"}"#,
            "GET / HTTP/1.1",
            "\u{0}",
        ] {
            assert_eq!(Request::read(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Request::read(b"\xff\xfe"), None);
        let deep = "[".repeat(4_000);
        assert_eq!(Request::read(deep.as_bytes()), None);
        // The answer to a question that a proxy asked for us.
        assert!(Request::read(br#"{"id":1,"result":true,"error":null}"#).is_some());
    }

    #[test]
    fn wrong_parameters_are_named() {
        let cases = [
            (r#"{"id":1,"method":"mining.submit","params":{}}"#, "params"),
            (
                r#"{"id":1,"method":"mining.submit","params":[]}"#,
                "extranonce2",
            ),
            (
                r#"{"id":1,"method":"mining.submit","params":["a","1","00","6b49d200","deadbeef"]}"#,
                "extranonce2",
            ),
            (
                r#"{"id":1,"method":"mining.submit","params":["a","1","0000000000000000","+b49d200","deadbeef"]}"#,
                "ntime",
            ),
            (
                r#"{"id":1,"method":"mining.submit","params":["a","1","0000000000000000","6b49d200","deadbee"]}"#,
                "nonce",
            ),
            (
                r#"{"id":1,"method":"mining.submit","params":["a","1","0000000000000000","6b49d200","deadbeef",7]}"#,
                "version",
            ),
            (
                r#"{"id":1,"method":"mining.authorize","params":[5]}"#,
                "user",
            ),
            (
                r#"{"id":1,"method":"mining.suggest_difficulty","params":[0]}"#,
                "difficulty",
            ),
            (
                r#"{"id":1,"method":"mining.suggest_difficulty","params":["nan"]}"#,
                "difficulty",
            ),
            (
                r#"{"id":1,"method":"mining.configure","params":["version-rolling"]}"#,
                "extensions",
            ),
        ];
        for (line, name) in cases {
            let refusal = method(line).unwrap_err();
            assert_eq!(refusal.code, Code::Other, "{line}");
            assert!(
                refusal.message.starts_with(name),
                "{line}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn answers_have_the_usual_shape() {
        let id = json!(4);
        assert_eq!(
            answer(&id, json!(true)),
            r#"{"error":null,"id":4,"result":true}"#
        );
        let refusal = Refusal::new(Code::Stale, "stale");
        assert_eq!(
            refuse(&id, Value::Null, &refusal),
            r#"{"error":[21,"stale",null],"id":4,"result":null}"#
        );
        assert_eq!(
            notification("mining.set_difficulty", &json!([1])),
            r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#
        );
    }
}
