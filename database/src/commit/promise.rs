//! A value that comes later, awaited on any runtime or by a thread.

use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Shared<T> {
    slot: Mutex<Slot<T>>,
    filled: Condvar,
}

/// The side that waits.
#[derive(Debug)]
pub struct Promise<T>(Arc<Shared<T>>);

/// The side that knows.
#[derive(Debug)]
pub struct Resolver<T>(Arc<Shared<T>>);

/// Both sides.
pub fn promise<T>() -> (Resolver<T>, Promise<T>) {
    let shared = Arc::new(Shared {
        slot: Mutex::new(Slot {
            value: None,
            closed: false,
            waker: None,
        }),
        filled: Condvar::new(),
    });
    (Resolver(shared.clone()), Promise(shared))
}

impl<T> Resolver<T> {
    /// Gives the value.
    pub fn resolve(self, value: T) {
        self.0.slot.lock().value = Some(value);
    }
}

impl<T> Drop for Resolver<T> {
    fn drop(&mut self) {
        let mut slot = self.0.slot.lock();
        slot.closed = true;
        let waker = slot.waker.take();
        drop(slot);
        self.0.filled.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<T> Promise<T> {
    /// Blocks the thread for the value; `None` if nobody will give one.
    pub fn wait(self) -> Option<T> {
        let mut slot = self.0.slot.lock();
        while slot.value.is_none() && !slot.closed {
            self.0.filled.wait(&mut slot);
        }
        slot.value.take()
    }
}

impl<T> Future for Promise<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.slot.lock();
        if slot.value.is_some() || slot.closed {
            return Poll::Ready(slot.value.take());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
