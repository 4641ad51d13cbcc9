//! Timeouts of statements: one thread that cancels those whose time is up.
//!
//! Why a thread: a statement that computes does not give its worker back, so that a timer on the same
//! runtime might come too late.

use crate::sql::Canceller;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    due: BTreeMap<(Instant, u64), Canceller>,
    next: u64,
    ended: bool,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread.
pub(super) struct Watch(Arc<Inner>);

/// A statement that is watched, until this is dropped.
pub(super) struct Watched<'a> {
    inner: &'a Inner,
    key: (Instant, u64),
}

impl Watch {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = inner.clone();
        std::thread::Builder::new()
            .name("cairn-sql-time".to_owned())
            .spawn(move || thread.run())?;
        Ok(Watch(inner))
    }

    /// Cancels a statement after so many milliseconds; zero is never.
    pub(super) fn statement(&self, timeout_ms: u64, canceller: &Canceller) -> Option<Watched<'_>> {
        if timeout_ms == 0 {
            return None;
        }
        let mut state = self.0.state.lock();
        state.next += 1;
        // A time beyond what a clock holds is never, too.
        let at = Instant::now().checked_add(Duration::from_millis(timeout_ms))?;
        let key = (at, state.next);
        let is_first = state
            .due
            .first_key_value()
            .is_none_or(|(first, _)| key < *first);
        state.due.insert(key, canceller.clone());
        if is_first {
            self.0.changed.notify_one();
        }
        Some(Watched {
            inner: &self.0,
            key,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.inner.state.lock().due.remove(&self.key);
    }
}

impl Inner {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let now = Instant::now();
            match state.due.first_key_value().map(|(key, _)| *key) {
                Some(key) if key.0 <= now => {
                    if let Some(canceller) = state.due.remove(&key) {
                        canceller.cancel("statement timeout");
                    }
                }
                Some((at, _)) => drop(self.changed.wait_until(&mut state, at)),
                None => self.changed.wait(&mut state),
            }
        }
    }
}
