//! One Stratum connection, as a state machine: lines and work in, lines and shares out.
//!
//! ```text
//!   new ──subscribe──┐                       ┌─ set_difficulty, notify (clean on a new tip)
//!   new ──authorize──┴─ both done: working ──┤
//!                                            └─ submit ─> share, found block, or a refusal
//! ```
//!
//! Invariants: jobs go only to a client that named an address of this network, and pay it; one
//! session pays one address; a difficulty is sent before the first job that it holds for; a client
//! whose score is full is closed. Rules: `spec/14-mining.md#stratum`.

use std::sync::Arc;

use cairn_protocol::address::{Address, Network};
use cairn_protocol::header::VERSION_ROLL_MASK;
use cairn_protocol::lock::Lock;
use serde_json::{Map, Value, json};

use super::difficulty::Difficulty;
use super::job::{EXTRA_NONCE_HALF, Found, Work};
use super::limits::{
    HANDSHAKE_MS_MAX, IDLE_MS_MAX, SCORE_BAD_SHARE, SCORE_GARBAGE, SCORE_MALFORMED,
    SCORE_UNAUTHORIZED, SCORE_UNKNOWN_METHOD, SCORE_WISH, START_DIFFICULTY, WORKER_CHARS_MAX,
    WORKERS_PER_SESSION_MAX,
};
use super::message::{
    Code, Method, Refusal, Request, Submission, answer, difficulty, hex_number, notification,
    refuse,
};
use super::score::Score;
use super::shares::{Shares, Verdict};
use super::vardiff::Vardiff;

/// What time it is, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Seconds since 1970.
    pub unix_s: u32,
}

/// Who mines: an address, and a name that its owner gave to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The address.
    pub address: Address,
    /// The name; may be empty.
    pub name: String,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It did not subscribe and authorize in time.
    Handshake,
    /// It said nothing for long.
    Idle,
    /// It did too much wrong: its address is shut out.
    Banned,
}

/// What a session wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this line.
    Line(String),
    /// A worker is authorized.
    Joined(Arc<Worker>),
    /// A share came.
    Share {
        /// Whose.
        worker: Arc<Worker>,
        /// What became of it.
        verdict: Verdict,
        /// What it counts for, if it is accepted; else the session's difficulty.
        difficulty: Difficulty,
    },
    /// A block was found; its share is reported too.
    Found {
        /// By whom.
        worker: Arc<Worker>,
        /// The block.
        found: Box<Found>,
    },
    /// Send what is before, then close.
    Close(Closing),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    network: Network,
    extra_nonce_1: [u8; EXTRA_NONCE_HALF],
    opened_ms: u64,
    heard_ms: u64,
    subscribed: bool,
    workers: Vec<Arc<Worker>>,
    may_roll: u32,
    work: Option<Arc<Work>>,
    shares: Shares,
    vardiff: Vardiff,
    announced: Option<Difficulty>,
    score: Score,
    closed: bool,
}

impl Session {
    /// A session of a client that just connected; `extra_nonce_1` is no other session's.
    pub fn new(now: Now, network: Network, extra_nonce_1: [u8; EXTRA_NONCE_HALF]) -> Session {
        let start = start_difficulty();
        Session {
            network,
            extra_nonce_1,
            opened_ms: now.ms,
            heard_ms: now.ms,
            subscribed: false,
            workers: Vec::new(),
            may_roll: 0,
            work: None,
            shares: Shares::new(extra_nonce_1),
            vardiff: Vardiff::new(now.ms, start),
            announced: None,
            score: Score::default(),
            closed: false,
        }
    }

    /// The workers that are authorized.
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// Takes in one line of the client.
    pub fn line(&mut self, now: Now, line: &[u8], out: &mut Vec<Output>) {
        if self.closed {
            return;
        }
        self.heard_ms = now.ms;
        let Some(request) = Request::read(line) else {
            let refusal = Refusal::new(Code::Other, "expected a JSON-RPC request on one line");
            out.push(Output::Line(refuse(&Value::Null, Value::Null, &refusal)));
            return self.offend(now, SCORE_GARBAGE, out);
        };
        let id = request.id;
        match request.method {
            Err(refusal) => {
                out.push(Output::Line(refuse(&id, Value::Null, &refusal)));
                self.offend(now, SCORE_MALFORMED, out);
            }
            Ok(Method::Subscribe) => self.subscribe(now, &id, out),
            Ok(Method::Configure {
                extensions,
                options,
            }) => {
                let result = self.configure(&extensions, &options);
                out.push(Output::Line(answer(&id, result)));
            }
            Ok(Method::Authorize { user, password }) => {
                self.authorize(now, &id, &user, &password, out);
            }
            Ok(Method::SuggestDifficulty(difficulty)) => {
                out.push(Output::Line(answer(&id, json!(true))));
                self.vardiff.suggest(now.ms, difficulty);
                self.difficulty_changed(now, out);
                if self.announced.is_some() {
                    self.offend(now, SCORE_WISH, out);
                }
            }
            Ok(Method::ExtranonceSubscribe) => out.push(Output::Line(answer(&id, json!(true)))),
            Ok(Method::Submit(share)) => self.submit(now, &id, &share, out),
            // An answer of the client to nothing has no id and gets none.
            Ok(Method::Ping) if id.is_null() => {}
            Ok(Method::Ping) => out.push(Output::Line(answer(&id, json!("pong")))),
            Ok(Method::Unknown(name)) => {
                let refusal = Refusal::new(Code::Other, format!("method `{name}` is unknown"));
                out.push(Output::Line(refuse(&id, Value::Null, &refusal)));
                self.offend(now, SCORE_UNKNOWN_METHOD, out);
            }
        }
    }

    /// Takes in new work of the node, or that there is none at present.
    pub fn set_work(&mut self, now: Now, work: Option<Arc<Work>>, out: &mut Vec<Output>) {
        let parent = |work: &Option<Arc<Work>>| work.as_ref().map(|work| work.parent());
        let is_new_tip = parent(&work) != parent(&self.work);
        self.work = work;
        if is_new_tip {
            self.shares.clear();
        }
        if !self.closed {
            self.hand_out(now, is_new_tip, out);
        }
    }

    /// Looks at the time; to be called every few seconds.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.closed {
            return;
        }
        let since = |ms: u64| now.ms.saturating_sub(ms);
        if !self.is_working() {
            if since(self.opened_ms) >= HANDSHAKE_MS_MAX {
                self.close(Closing::Handshake, out);
            }
            return;
        }
        if since(self.heard_ms) >= IDLE_MS_MAX {
            return self.close(Closing::Idle, out);
        }
        if let Some(work) = &self.work
            && self.vardiff.look(now.ms, work.difficulty())
        {
            self.difficulty_changed(now, out);
        }
    }

    fn is_working(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }

    fn close(&mut self, why: Closing, out: &mut Vec<Output>) {
        self.closed = true;
        out.push(Output::Close(why));
    }

    fn offend(&mut self, now: Now, points: u32, out: &mut Vec<Output>) {
        if self.score.add(now.ms, points) {
            self.close(Closing::Banned, out);
        }
    }

    fn subscribe(&mut self, now: Now, id: &Value, out: &mut Vec<Output>) {
        let extra_nonce = hex::encode(self.extra_nonce_1);
        let result = json!([
            [
                ["mining.set_difficulty", extra_nonce],
                ["mining.notify", extra_nonce]
            ],
            extra_nonce,
            EXTRA_NONCE_HALF,
        ]);
        out.push(Output::Line(answer(id, result)));
        let was_working = self.is_working();
        self.subscribed = true;
        if !was_working {
            self.start(now, out);
        }
    }

    /// Answers which extensions are on (BIP 310).
    fn configure(&mut self, extensions: &[String], options: &Map<String, Value>) -> Value {
        let mut result = Map::new();
        for extension in extensions {
            let value = match extension.as_str() {
                "version-rolling" => self.agree_on_mask(options, &mut result),
                "minimum-difficulty" => match options.get("minimum-difficulty.value") {
                    None => json!(true),
                    Some(value) => match difficulty(value) {
                        Some(floor) => {
                            self.vardiff.set_floor(floor);
                            json!(true)
                        }
                        None => json!("minimum-difficulty.value: expected a number above zero"),
                    },
                },
                "subscribe-extranonce" | "info" => json!(true),
                _ => json!(false),
            };
            result.insert(extension.clone(), value);
        }
        Value::Object(result)
    }

    fn agree_on_mask(
        &mut self,
        options: &Map<String, Value>,
        result: &mut Map<String, Value>,
    ) -> Value {
        let wanted = match options.get("version-rolling.mask") {
            None => Some(u32::MAX),
            Some(value) => value.as_str().and_then(hex_number),
        };
        let Some(wanted) = wanted else {
            return json!("version-rolling.mask: expected 8 hex digits");
        };
        self.may_roll = wanted & VERSION_ROLL_MASK;
        let mask = format!("{:08x}", self.may_roll);
        result.insert("version-rolling.mask".to_owned(), json!(mask));
        json!(true)
    }

    fn authorize(
        &mut self,
        now: Now,
        id: &Value,
        user: &str,
        password: &str,
        out: &mut Vec<Output>,
    ) {
        let worker = match self.worker(user) {
            Ok(worker) => worker,
            Err(refusal) => {
                out.push(Output::Line(refuse(id, json!(false), &refusal)));
                return self.offend(now, SCORE_UNAUTHORIZED, out);
            }
        };
        out.push(Output::Line(answer(id, json!(true))));
        if let Some(wanted) = wanted_difficulty(password) {
            self.vardiff.fix(now.ms, wanted);
        }
        if self.workers.contains(&worker) {
            return;
        }
        let was_working = self.is_working();
        self.workers.push(Arc::clone(&worker));
        out.push(Output::Joined(worker));
        if !was_working {
            self.start(now, out);
        }
    }

    /// The worker of a user's text.
    fn worker(&self, user: &str) -> Result<Arc<Worker>, Refusal> {
        let unauthorized = |message: String| Refusal::new(Code::Unauthorized, message);
        let (address, name) = user.split_once('.').unwrap_or((user, ""));
        let address = Address::parse(address, self.network).map_err(|error| {
            unauthorized(format!(
                "the user must be an address, or ADDRESS.WORKER: {error}"
            ))
        })?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+#:@/".contains(c);
        if name.chars().count() > WORKER_CHARS_MAX || !name.chars().all(is_plain) {
            return Err(unauthorized(format!(
                "the worker's name: expected at most {WORKER_CHARS_MAX} letters, digits and ._-+#:@/"
            )));
        }
        if let Some(first) = self.workers.first()
            && first.address != address
        {
            return Err(unauthorized(format!(
                "this connection pays {}: open another one for {address}",
                first.address
            )));
        }
        let name = name.to_owned();
        let worker = Worker { address, name };
        if let Some(known) = self.workers.iter().find(|known| ***known == worker) {
            return Ok(Arc::clone(known));
        }
        if self.workers.len() >= WORKERS_PER_SESSION_MAX {
            return Err(unauthorized(format!(
                "one connection has at most {WORKERS_PER_SESSION_MAX} workers: open another one"
            )));
        }
        Ok(Arc::new(worker))
    }

    /// The first job, once the client has said all that it must.
    fn start(&mut self, now: Now, out: &mut Vec<Output>) {
        self.hand_out(now, true, out);
    }

    /// Sends the difficulty, if it is another one, and a job of the present work.
    fn hand_out(&mut self, now: Now, clean: bool, out: &mut Vec<Output>) {
        let Some(work) = self.work.clone().filter(|_| self.is_working()) else {
            return;
        };
        let difficulty = self.vardiff.difficulty(work.difficulty());
        if self.announced.is_none() {
            // The client begins to search now.
            self.vardiff.restart(now.ms);
        }
        if self.announced != Some(difficulty) {
            self.announced = Some(difficulty);
            self.shares.lower(difficulty);
            let params = json!([difficulty.to_json()]);
            out.push(Output::Line(notification("mining.set_difficulty", &params)));
        }
        let lock: Lock = self.workers[0].address.lock();
        let coinbase = work.coinbase_for(&lock).to_bytes();
        let (shown, bytes) = (Arc::clone(&work), coinbase.clone());
        let job = self.shares.hand_out(work, bytes, difficulty, clean);
        let params = shown.notify(&job, &coinbase, clean);
        out.push(Output::Line(notification("mining.notify", &params)));
    }

    /// A new difficulty holds from the next job on: sends one.
    fn difficulty_changed(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(work) = self.work.as_ref().filter(|_| self.announced.is_some()) else {
            return;
        };
        if self.announced != Some(self.vardiff.difficulty(work.difficulty())) {
            self.hand_out(now, false, out);
        }
    }

    fn submit(&mut self, now: Now, id: &Value, share: &Submission, out: &mut Vec<Output>) {
        let refused = |code, message: &str, out: &mut Vec<Output>| {
            let refusal = Refusal::new(code, message);
            out.push(Output::Line(refuse(id, Value::Null, &refusal)));
        };
        if !self.subscribed {
            refused(
                Code::NotSubscribed,
                "not subscribed: send mining.subscribe first",
                out,
            );
            return self.offend(now, SCORE_UNAUTHORIZED, out);
        }
        let (address, name) = share.user.split_once('.').unwrap_or((&share.user, ""));
        let worker = self
            .workers
            .iter()
            .find(|worker| worker.name == name && worker.address.to_string() == address)
            .cloned();
        let Some(worker) = worker else {
            refused(
                Code::Unauthorized,
                "unauthorized: send mining.authorize first",
                out,
            );
            return self.offend(now, SCORE_UNAUTHORIZED, out);
        };
        match self.shares.check(now.unix_s, share, self.may_roll) {
            Ok(accepted) => {
                out.push(Output::Line(answer(id, json!(true))));
                out.push(Output::Share {
                    worker: Arc::clone(&worker),
                    verdict: Verdict::Accepted,
                    difficulty: accepted.difficulty,
                });
                if let Some(found) = accepted.found {
                    out.push(Output::Found { worker, found });
                }
                if let Some(work) = &self.work
                    && self.vardiff.share(now.ms, work.difficulty())
                {
                    self.difficulty_changed(now, out);
                }
            }
            Err((verdict, refusal)) => {
                out.push(Output::Line(refuse(id, Value::Null, &refusal)));
                out.push(Output::Share {
                    worker,
                    verdict,
                    difficulty: self.announced.unwrap_or(start_difficulty()),
                });
                // A stale share is nobody's fault.
                if verdict != Verdict::Stale {
                    self.offend(now, SCORE_BAD_SHARE, out);
                }
            }
        }
    }
}

fn start_difficulty() -> Difficulty {
    Difficulty::new(START_DIFFICULTY).expect("a constant above zero")
}

/// `d=DIFFICULTY` somewhere in a password; the rest is ignored.
fn wanted_difficulty(password: &str) -> Option<Difficulty> {
    let mut words = password.split([',', ';', ' ']);
    words.find_map(|word| Difficulty::new(word.trim().strip_prefix("d=")?.parse().ok()?))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
