//! An answer that comes later: waited for by a thread or awaited by a task.
//!
//! Invariant: it is kept exactly once; a keeper that is dropped without an answer keeps it with the
//! answer that was agreed on for that case, so that nobody waits for ever.

use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    kept: Condvar,
}

#[derive(Debug)]
struct State<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

/// The side that waits.
#[derive(Debug)]
pub struct Promise<T>(Arc<Shared<T>>);

/// The side that answers.
#[derive(Debug)]
pub struct Keeper<T: Clone> {
    shared: Arc<Shared<T>>,
    otherwise: Option<T>,
}

/// A promise and its keeper. `otherwise` is the answer if the keeper is dropped.
pub fn promise<T: Clone>(otherwise: T) -> (Keeper<T>, Promise<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            answer: None,
            waker: None,
        }),
        kept: Condvar::new(),
    });
    let keeper = Keeper {
        shared: shared.clone(),
        otherwise: Some(otherwise),
    };
    (keeper, Promise(shared))
}

impl<T: Clone> Keeper<T> {
    /// Gives the answer.
    pub fn keep(mut self, answer: T) {
        self.otherwise = None;
        self.shared.keep(answer);
    }
}

impl<T: Clone> Drop for Keeper<T> {
    fn drop(&mut self) {
        if let Some(answer) = self.otherwise.take() {
            self.shared.keep(answer);
        }
    }
}

impl<T> Shared<T> {
    fn keep(&self, answer: T) {
        let mut state = self.state.lock();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.kept.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Clone> Promise<T> {
    /// Waits for the answer.
    pub fn wait(&self) -> T {
        let mut state = self.0.state.lock();
        loop {
            if let Some(answer) = &state.answer {
                return answer.clone();
            }
            self.0.kept.wait(&mut state);
        }
    }

    /// Waits for the answer up to `limit`.
    pub fn wait_for(&self, limit: Duration) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state.lock();
        while state.answer.is_none() {
            if self.0.kept.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.answer.clone()
    }

    /// The answer, if it is there.
    pub fn answer(&self) -> Option<T> {
        self.0.state.lock().answer.clone()
    }
}

impl<T: Clone> Future for Promise<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.state.lock();
        match &state.answer {
            Some(answer) => Poll::Ready(answer.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_keeper_answers_as_agreed() {
        let (keeper, waiting) = promise(1);
        assert_eq!(waiting.answer(), None);
        assert_eq!(waiting.wait_for(Duration::ZERO), None);
        drop(keeper);
        assert_eq!(waiting.wait(), 1);
        let (keeper, waiting) = promise(1);
        let other = std::thread::spawn(move || waiting.wait());
        keeper.keep(2);
        assert_eq!(other.join().unwrap(), 2);
    }
}
