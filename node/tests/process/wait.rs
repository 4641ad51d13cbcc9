//! Waiting for conditions.

use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Calls `look` until it answers; panics with `what` after `deadline`.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        sleep(Duration::from_millis(50));
    }
}

/// Waits until all of `values` are equal; answers with that value.
pub fn equal<T: PartialEq + Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Vec<Option<T>>,
) -> T {
    let mut last = Vec::new();
    let found = until_or(deadline, || {
        last = look();
        let first = last.first()?.as_ref()?;
        last.iter()
            .all(|value| value.as_ref() == Some(first))
            .then_some(())
    });
    assert!(
        found.is_some(),
        "not equal within {deadline:?}: {what}: {last:?}"
    );
    last.remove(0).expect("looked at")
}

fn until_or<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        sleep(Duration::from_millis(50));
    }
    None
}
