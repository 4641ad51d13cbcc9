//! The priority of worker threads: by default they take only what nobody else wants.

use serde::{Deserialize, Serialize};

/// How hard workers compete for processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Nice 19 for each worker thread: the node and everybody else come first.
    #[default]
    Idle,
    /// As the rest of the process; for benchmarks.
    Normal,
}

/// The nice value of idle workers, the lowest that exists.
#[cfg(target_os = "linux")]
const NICE_IDLE: i32 = 19;

impl Priority {
    /// Gives the calling thread this priority. A refusal by the system is not an error: the
    /// search is then merely less polite.
    pub(crate) fn apply_to_this_thread(self) {
        // Only Linux reads a thread id here; elsewhere the call would slow the whole process.
        #[cfg(target_os = "linux")]
        if self == Self::Idle {
            let thread = rustix::thread::gettid();
            let _ = rustix::process::setpriority_process(Some(thread), NICE_IDLE);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_becomes_idle() {
        let nice = |thread| rustix::process::getpriority_process(Some(thread)).unwrap();
        let mine = rustix::thread::gettid();
        let before = nice(mine);
        let worker = std::thread::spawn(move || {
            Priority::Idle.apply_to_this_thread();
            nice(rustix::thread::gettid())
        });
        assert_eq!(worker.join().unwrap(), NICE_IDLE);
        assert_eq!(nice(mine), before);
    }
}
