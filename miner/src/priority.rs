//! The priority of worker threads: by default they take only what nobody else wants.

use serde::{Deserialize, Serialize};
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// How hard workers compete for processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// The idle scheduling policy and nice 19 for each worker thread: the node and everybody else
    /// come first, and a thread of theirs that wakes up need not wait for one of these.
    #[default]
    Idle,
    /// As the rest of the process: for benchmarks, and for chains that bound the rate themselves.
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
            let _ = set_thread_priority_and_policy(
                thread_native_id(),
                ThreadPriority::Min,
                ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
            );
            // What is left where the policy is refused.
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
        let state = || {
            let thread = Some(rustix::thread::gettid());
            let nice = rustix::process::getpriority_process(thread).unwrap();
            (nice, thread_priority::thread_schedule_policy().unwrap())
        };
        let before = state();
        let of_worker = |priority: Priority| {
            let worker = std::thread::spawn(move || {
                priority.apply_to_this_thread();
                state()
            });
            worker.join().unwrap()
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(of_worker(Priority::Idle), (NICE_IDLE, idle));
        assert_eq!(of_worker(Priority::Normal), before);
        assert_eq!(state(), before);
    }
}
