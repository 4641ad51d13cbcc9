//! Conversations with a session, line by line.

use super::super::job::tests::work;
use super::super::limits::{HANDSHAKE_MS_MAX, IDLE_MS_MAX, LOOK_MS};
use super::*;
use cairn_protocol::hash::KeyHash;

/// A quarter of all hashes solve it.
const EASY: u32 = 0x203f_ffff;

fn at(ms: u64) -> Now {
    Now {
        ms,
        unix_s: 1_800_000_000,
    }
}

fn address(network: Network) -> String {
    let key_hash = KeyHash([5; 32]);
    Address { network, key_hash }.to_string()
}

struct Client {
    session: Session,
    now: Now,
    outputs: Vec<Output>,
}

impl Client {
    fn new() -> Client {
        let now = at(0);
        let session = Session::new(now, Network::Devnet, [0xe1; 8]);
        let outputs = Vec::new();
        Client {
            session,
            now,
            outputs,
        }
    }

    /// Subscribed and authorized on work of these bits.
    fn working(bits: u32) -> Client {
        let mut client = Client::new();
        client.work(1, 0, bits);
        client.ask("mining.subscribe", json!(["test"]));
        let user = format!("{}.rig", address(Network::Devnet));
        client.ask("mining.authorize", json!([user, "x"]));
        client
    }

    fn work(&mut self, number: u64, parent: u8, bits: u32) -> Vec<Value> {
        let work = Arc::new(work(number, parent, bits));
        self.outputs.clear();
        self.session
            .set_work(self.now, Some(work), &mut self.outputs);
        self.lines()
    }

    fn tick(&mut self, ms: u64) -> Vec<Value> {
        self.now = at(ms);
        self.outputs.clear();
        self.session.tick(self.now, &mut self.outputs);
        self.lines()
    }

    fn send(&mut self, line: &str) -> Vec<Value> {
        self.outputs.clear();
        self.session
            .line(self.now, line.as_bytes(), &mut self.outputs);
        self.lines()
    }

    fn ask(&mut self, method: &str, params: Value) -> Vec<Value> {
        self.send(&json!({"id": 7, "method": method, "params": params}).to_string())
    }

    fn lines(&self) -> Vec<Value> {
        let lines = self.outputs.iter().filter_map(|output| match output {
            Output::Line(line) => Some(serde_json::from_str(line).unwrap()),
            _ => None,
        });
        lines.collect()
    }

    fn closing(&self) -> Option<Closing> {
        self.outputs.iter().find_map(|output| match output {
            Output::Close(why) => Some(*why),
            _ => None,
        })
    }

    fn submit(&mut self, job: &str, nonce: u32) -> Vec<Value> {
        let user = format!("{}.rig", address(Network::Devnet));
        let nonce = format!("{nonce:08x}");
        let params = json!([user, job, "0000000000000000", "6b49d200", nonce]);
        self.ask("mining.submit", params)
    }
}

fn job_of(lines: &[Value]) -> String {
    let notify = lines.iter().find(|line| line["method"] == "mining.notify");
    notify.expect("a job")["params"][0]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_handshake_of_a_miner() {
    let mut client = Client::new();
    client.work(1, 0, 0x1f00_ffff);
    let lines = client.ask("mining.subscribe", json!(["cpuminer/2.5.1"]));
    let nonce = "e1e1e1e1e1e1e1e1";
    let expected = json!([
        [["mining.set_difficulty", nonce], ["mining.notify", nonce]],
        nonce,
        8
    ]);
    assert_eq!(lines, [json!({"id": 7, "result": expected, "error": null})]);
    let user = format!("{}.rig", address(Network::Devnet));
    let lines = client.ask("mining.authorize", json!([user, "x"]));
    assert_eq!(lines[0], json!({"id": 7, "result": true, "error": null}));
    assert_eq!(lines[1]["method"], "mining.set_difficulty");
    let difficulty = lines[1]["params"][0].as_f64().unwrap();
    assert!(
        difficulty <= 1.0 / 65_536.0,
        "never above the network's: {difficulty}"
    );
    assert_eq!(lines[2]["method"], "mining.notify");
    assert_eq!(lines[2]["params"][8], true);
    assert_eq!(lines.len(), 3);
    assert!(
        client
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Joined(_)))
    );
}

#[test]
fn a_client_may_authorize_first() {
    let mut client = Client::new();
    client.work(1, 0, EASY);
    let lines = client.ask("mining.authorize", json!([address(Network::Devnet), ""]));
    assert_eq!(lines.len(), 1, "no job before subscribe");
    assert_eq!(client.ask("mining.subscribe", json!([])).len(), 3);
    assert_eq!(client.ask("mining.subscribe", json!([])).len(), 1, "once");
}

#[test]
fn jobs_come_when_there_is_work() {
    let mut client = Client::new();
    client.ask("mining.subscribe", json!([]));
    let user = format!("{}.rig", address(Network::Devnet));
    let lines = client.ask("mining.authorize", json!([user]));
    assert_eq!(lines.len(), 1, "no work yet");
    assert_eq!(client.work(1, 0, EASY).len(), 2);
    // The same tip again: more fees, say.
    let lines = client.work(2, 0, EASY);
    assert_eq!((lines.len(), &lines[0]["params"][8]), (1, &json!(false)));
    let lines = client.work(3, 1, EASY);
    assert_eq!((lines.len(), &lines[0]["params"][8]), (1, &json!(true)));
    client.outputs.clear();
    client
        .session
        .set_work(client.now, None, &mut client.outputs);
    assert!(client.outputs.is_empty());
    let old = job_of(&lines);
    assert_eq!(
        client.submit(&old, 0)[0]["error"][0],
        21,
        "the node is behind: no shares"
    );
}

#[test]
fn a_block_is_found_once() {
    let mut client = Client::working(EASY);
    let lines = client.work(2, 1, EASY);
    let job = job_of(&lines);
    let nonce = (0..1_000).find(|nonce| client.submit(&job, *nonce)[0]["result"] == true);
    let found = client.outputs.iter().find_map(|output| match output {
        Output::Found { worker, found } => Some((worker.name.clone(), found.clone())),
        _ => None,
    });
    let (name, found) = found.expect("every good share is a block here");
    assert_eq!((name.as_str(), found.work), ("rig", 2));
    assert_eq!(found.coinbase.outputs[0].lock, Lock::Key(KeyHash([5; 32])));
    let again = client.submit(&job, nonce.unwrap());
    assert_eq!(again[0]["error"][0], 22);
    assert_eq!(again[0]["result"], Value::Null);
    client.work(3, 2, EASY);
    assert_eq!(client.submit(&job, nonce.unwrap())[0]["error"][0], 21);
}

#[test]
fn shares_need_subscribe_and_authorize() {
    let mut client = Client::new();
    client.work(1, 0, EASY);
    assert_eq!(client.submit("1", 0)[0]["error"][0], 25);
    client.ask("mining.subscribe", json!([]));
    assert_eq!(client.submit("1", 0)[0]["error"][0], 24);
    client.ask("mining.authorize", json!([address(Network::Devnet)]));
    assert_eq!(
        client.submit("1", 0)[0]["error"][0],
        24,
        "another worker's name"
    );
}

#[test]
fn who_may_mine() {
    let mut client = Client::new();
    let long = format!(
        "{}.{}",
        address(Network::Devnet),
        "x".repeat(WORKER_CHARS_MAX + 1)
    );
    let odd = format!("{}.a b", address(Network::Devnet));
    for user in [
        "",
        "x",
        "dcrn1nonsense",
        &address(Network::Testnet),
        &long,
        &odd,
    ] {
        let lines = client.ask("mining.authorize", json!([user, "x"]));
        assert_eq!(
            (&lines[0]["result"], &lines[0]["error"][0]),
            (&json!(false), &json!(24)),
            "{user}"
        );
    }
    let lines = client.ask("mining.authorize", json!([address(Network::Testnet), "x"]));
    let message = lines[0]["error"][1].as_str().unwrap();
    assert!(
        message.contains("testnet") && message.contains("devnet"),
        "{message}"
    );
}

#[test]
fn one_connection_pays_one_address() {
    let mut client = Client::working(EASY);
    let second = format!("{}.other", address(Network::Devnet));
    assert_eq!(
        client.ask("mining.authorize", json!([second]))[0]["result"],
        true
    );
    let key_hash = KeyHash([6; 32]);
    let network = Network::Devnet;
    let other = Address { network, key_hash }.to_string();
    let lines = client.ask("mining.authorize", json!([other]));
    assert!(
        lines[0]["error"][1]
            .as_str()
            .unwrap()
            .contains("open another one")
    );
    let names = (0..WORKERS_PER_SESSION_MAX).map(|i| format!("{}.{i}", address(Network::Devnet)));
    let refused =
        names.filter(|user| client.ask("mining.authorize", json!([user]))[0]["result"] == false);
    assert_eq!(refused.count(), 2);
}

#[test]
fn version_rolling_is_agreed_on() {
    let mut client = Client::working(EASY);
    let params = json!([
        ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "unheard-of"],
        {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2,
         "minimum-difficulty.value": 0.001}
    ]);
    let lines = client.ask("mining.configure", params);
    let expected = json!({
        "version-rolling": true, "version-rolling.mask": "1fffe000",
        "minimum-difficulty": true, "subscribe-extranonce": true, "unheard-of": false,
    });
    assert_eq!(lines[0]["result"], expected);
    let lines = client.work(2, 1, EASY);
    let (job, user) = (job_of(&lines), format!("{}.rig", address(Network::Devnet)));
    let version = (0..1_000).find_map(|nonce| {
        let nonce = format!("{nonce:08x}");
        let params = json!([user, job, "0000000000000000", "6b49d200", nonce, "00002000"]);
        client.ask("mining.submit", params);
        client.outputs.iter().find_map(|output| match output {
            Output::Found { found, .. } => Some(found.header.version),
            _ => None,
        })
    });
    assert_eq!(version, Some(0x2000_2000));
    let small = json!([["version-rolling"], {"version-rolling.mask": "0000e000"}]);
    let lines = client.ask("mining.configure", small);
    assert_eq!(lines[0]["result"]["version-rolling.mask"], "0000e000");
    let params = json!([
        user,
        job,
        "0000000000000000",
        "6b49d200",
        "00000000",
        "00010000"
    ]);
    assert_eq!(client.ask("mining.submit", params)[0]["error"][0], 20);
}

#[test]
fn a_wish_for_a_difficulty_is_heard() {
    // Difficulty 1 and more.
    let mut client = Client::working(0x1b00_ffff);
    let lines = client.ask("mining.suggest_difficulty", json!([512]));
    assert_eq!(lines[0]["result"], true);
    assert_eq!(
        (&lines[1]["params"], lines[2]["method"].as_str()),
        (&json!([512]), Some("mining.notify"))
    );
    assert_eq!(lines[2]["params"][8], false);
    let lines = client.ask("mining.suggest_difficulty", json!([1e300]));
    let highest = lines[1]["params"][0].as_f64().unwrap();
    assert!(
        (65_535.0..=65_536.0).contains(&highest),
        "the network's: {highest}"
    );
    let user = format!("{}.second", address(Network::Devnet));
    client.ask("mining.authorize", json!([user, "x,d=2048"]));
    let lines = client.work(9, 1, 0x1b00_ffff);
    assert_eq!(lines[0]["params"], json!([2048]));
}

#[test]
fn silence_lowers_the_difficulty_and_ends_in_the_end() {
    let mut client = Client::working(0x1b00_ffff);
    let lines = client.tick(LOOK_MS);
    assert_eq!(lines[0]["params"], json!([0.00125]));
    assert_eq!(lines[1]["method"], "mining.notify");
    client.tick(IDLE_MS_MAX - 1);
    assert_eq!(client.closing(), None);
    client.tick(IDLE_MS_MAX);
    assert_eq!(client.closing(), Some(Closing::Idle));
    assert!(client.ask("mining.ping", json!([])).is_empty());
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    let mut client = Client::new();
    client.ask("mining.subscribe", json!([]));
    client.tick(HANDSHAKE_MS_MAX - 1);
    assert_eq!(client.closing(), None);
    client.tick(HANDSHAKE_MS_MAX);
    assert_eq!(client.closing(), Some(Closing::Handshake));
}

#[test]
fn garbage_and_floods_of_bad_shares_end_in_a_ban() {
    let mut client = Client::new();
    let lines = client.send("GET / HTTP/1.1");
    assert_eq!(
        (&lines[0]["id"], &lines[0]["error"][0]),
        (&Value::Null, &json!(20))
    );
    for _ in 0..3 {
        assert_eq!(client.closing(), None);
        client.send("garbage");
    }
    assert_eq!(client.closing(), Some(Closing::Banned));

    let mut client = Client::working(0x1b00_ffff);
    let job = job_of(&client.work(2, 1, 0x1b00_ffff));
    let bad = (0..1_000).find(|nonce| {
        client.submit(&job, *nonce);
        client.closing().is_some()
    });
    assert_eq!(bad, Some(19));
    let mut client = Client::working(0x1b00_ffff);
    let wishes = (0..1_000).find(|wish| {
        client.ask("mining.suggest_difficulty", json!([1 + wish % 2]));
        client.closing().is_some()
    });
    assert_eq!(wishes, Some(99), "each costs us a job");
    // Stale shares alone do not.
    let mut client = Client::working(0x1b00_ffff);
    assert!((0..1_000).all(|nonce| client.submit("gone", nonce)[0]["error"][0] == 21));
    assert_eq!(client.closing(), None);
}

#[test]
fn other_methods_are_answered() {
    let mut client = Client::new();
    assert_eq!(client.ask("mining.ping", json!([]))[0]["result"], "pong");
    assert_eq!(
        client.ask("mining.extranonce.subscribe", json!([]))[0]["result"],
        true
    );
    let lines = client.ask("mining.get_transactions", json!([]));
    assert_eq!(lines[0]["error"][0], 20);
    assert!(
        client
            .send(r#"{"id":1,"result":"cpuminer","error":null}"#)
            .is_empty()
    );
}
