//! The sessions of a server: who may cancel them, and what they are doing.
//!
//! Invariant: a request to cancel is obeyed only with the exact secret of that session, compared in
//! constant time; a number is given to one session at a time.

use super::message::Minor;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// Bytes of a secret of protocol 3.2.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a secret of protocol 3.0.
const SECRET_BYTES_V0: usize = 4;

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for its client, outside a transaction.
    Idle,
    /// Waiting for its client, inside a transaction.
    IdleInTransaction,
    /// Waiting for its client, inside a failed transaction.
    IdleInFailedTransaction,
    /// Running a statement.
    Active,
}

impl Activity {
    /// As `pg_stat_activity.state` says it.
    pub fn name(self) -> &'static str {
        match self {
            Activity::Idle => "idle",
            Activity::IdleInTransaction => "idle in transaction",
            Activity::IdleInFailedTransaction => "idle in transaction (aborted)",
            Activity::Active => "active",
        }
    }
}

/// What may end a statement from outside.
pub trait Cancel: Send + Sync {
    /// Ends the statement that runs now, if one does.
    fn cancel(&self);
}

/// One session, as others see it.
pub struct Entry {
    /// Its number.
    pub process: u32,
    /// Its client.
    pub client: SocketAddr,
    /// Its user.
    pub user: String,
    /// Its database.
    pub database: String,
    /// When it began.
    pub since: SystemTime,
    secret: [u8; SECRET_BYTES],
    minor: Minor,
    cancel: Box<dyn Cancel>,
    state: Mutex<State>,
    ended: AtomicBool,
    end: Notify,
}

struct State {
    application: String,
    activity: Activity,
    statement: Arc<str>,
    changed: Instant,
}

/// What a session is doing, copied.
#[derive(Debug, Clone)]
pub struct Doing {
    /// `application_name`
    pub application: String,
    /// What it does.
    pub activity: Activity,
    /// Its last statement, without parameters.
    pub statement: Arc<str>,
    /// For how long.
    pub elapsed: Duration,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({}, {}, secret hidden)", self.process, self.client)
    }
}

impl Entry {
    /// The secret as its client is told it.
    pub fn key(&self) -> &[u8] {
        match self.minor {
            Minor::V0 => &self.secret[..SECRET_BYTES_V0],
            Minor::V2 => &self.secret,
        }
    }

    /// Says what the session does from now on.
    pub fn set_activity(&self, activity: Activity) {
        let mut state = self.state.lock();
        state.activity = activity;
        state.changed = Instant::now();
    }

    /// A statement begins.
    pub fn set_statement(&self, statement: Arc<str>) {
        let mut state = self.state.lock();
        state.statement = statement;
        state.activity = Activity::Active;
        state.changed = Instant::now();
    }

    /// The client's name for itself.
    pub fn set_application(&self, name: &str) {
        name.clone_into(&mut self.state.lock().application);
    }

    /// What it does now.
    pub fn doing(&self) -> Doing {
        let state = self.state.lock();
        Doing {
            application: state.application.clone(),
            activity: state.activity,
            statement: state.statement.clone(),
            elapsed: state.changed.elapsed(),
        }
    }

    /// Ends the statement that runs now.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Ends the session: its statement now, the connection after it.
    pub fn terminate(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.cancel.cancel();
        self.end.notify_waiters();
    }

    /// True once somebody asked for its end.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Waits until somebody asks for its end.
    pub async fn until_ended(&self) {
        loop {
            let notified = self.end.notified();
            tokio::pin!(notified);
            // Registered before the flag is looked at, so that no call in between is lost.
            notified.as_mut().enable();
            if self.is_ended() {
                return;
            }
            notified.await;
        }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<HashMap<u32, Arc<Entry>>>,
    next: AtomicU64,
    /// Sessions since the start.
    pub opened: AtomicU64,
}

impl Registry {
    /// A new session with a number and a secret of its own.
    pub fn register(
        &self,
        client: SocketAddr,
        minor: Minor,
        user: &str,
        database: &str,
        cancel: Box<dyn Cancel>,
    ) -> Arc<Entry> {
        let mut sessions = self.sessions.lock();
        let process = loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            // Positive as an `integer`, which clients and `pg_stat_activity.pid` take it for.
            let number = (number % (i32::MAX as u64)) as u32;
            if number != 0 && !sessions.contains_key(&number) {
                break number;
            }
        };
        let entry = Arc::new(Entry {
            process,
            client,
            user: user.to_owned(),
            database: database.to_owned(),
            since: SystemTime::now(),
            secret: rand::random(),
            minor,
            cancel,
            state: Mutex::new(State {
                application: String::new(),
                activity: Activity::Idle,
                statement: Arc::from(""),
                changed: Instant::now(),
            }),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        });
        sessions.insert(process, entry.clone());
        self.opened.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// A session has ended.
    pub fn remove(&self, process: u32) {
        self.sessions.lock().remove(&process);
    }

    /// A session by number.
    pub fn get(&self, process: u32) -> Option<Arc<Entry>> {
        self.sessions.lock().get(&process).cloned()
    }

    /// All sessions, by number.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.sessions.lock().values().cloned().collect();
        all.sort_by_key(|entry| entry.process);
        all
    }

    /// Sessions now.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A client's request to cancel. Whether it was obeyed is not told.
    pub fn cancel(&self, process: u32, key: &[u8]) -> bool {
        let Some(entry) = self.get(process) else {
            return false;
        };
        let expected = entry.key();
        // Hashes compare in constant time; the length of a key is no secret.
        let right = expected.len() == key.len() && blake3::hash(expected) == blake3::hash(key);
        if right {
            entry.cancel();
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flag(Arc<AtomicBool>);

    impl Cancel for Flag {
        fn cancel(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_the_exact_secret_cancels() {
        let registry = Registry::default();
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        for (minor, bytes) in [(Minor::V0, 4), (Minor::V2, 32)] {
            let flag = Arc::new(AtomicBool::new(false));
            let cancel = Box::new(Flag(flag.clone()));
            let entry = registry.register(client, minor, "u", "d", cancel);
            let key = entry.key().to_vec();
            assert_eq!(key.len(), bytes);
            let mut wrong = key.clone();
            wrong[0] ^= 1;
            assert!(!registry.cancel(entry.process, &wrong));
            assert!(!registry.cancel(entry.process, &key[1..]));
            assert!(!registry.cancel(entry.process, &[]));
            assert!(!registry.cancel(entry.process + 1, &key));
            assert!(!flag.load(Ordering::SeqCst));
            assert!(registry.cancel(entry.process, &key));
            assert!(flag.load(Ordering::SeqCst));
            registry.remove(entry.process);
            assert!(!registry.cancel(entry.process, &key));
        }
    }
}
