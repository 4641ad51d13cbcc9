//! Mining a stream of templates: one at a time, always the newest.
//!
//! A coordinator thread hands the current template to the workers and goes on until it is solved,
//! replaced or mining rests. Invariant: once [`Mining::set_template`] or
//! [`Mining::clear_template`] has returned, no solution of an earlier template is delivered, and a
//! template is solved at most once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, ReentrantMutex};
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::hash_rate::HashRate;
use crate::kernel::Kernel;
use crate::miner::{Miner, MinerError, Order, Outcome, batch_hashes};
use crate::pace::{Pace, Step};
use crate::pause::{PauseReason, PauseReasons};
use crate::template::{Solution, Template};
use cairn_protocol::pow::PowFunction;

/// A delivered solution, and the number of the template that it solves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solved {
    /// What [`Mining::set_template`] returned for the template.
    pub template: u64,
    /// The solution.
    pub solution: Solution,
}

/// A running miner; dropping it stops it.
#[derive(Debug)]
pub struct Mining {
    shared: Arc<Shared>,
    coordinator: Option<JoinHandle<()>>,
}

/// What a miner is doing, for reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MiningStatus {
    /// Whether workers have something to search and no reason to rest.
    pub mining: bool,
    /// The reasons to rest; empty if there is none.
    pub paused: Vec<PauseReason>,
    /// The function of the current template.
    pub algo: Option<PowFunction>,
    /// The kernel in use for it.
    pub kernel: Option<Kernel>,
    /// The number of workers.
    pub threads: usize,
    /// The most hashes per second, if limited.
    pub limit: Option<NonZeroU64>,
    /// What each kernel has done.
    pub hash_rates: Vec<HashRate>,
}

#[derive(Debug)]
struct Shared {
    miner: Arc<Miner>,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a solution is delivered and while the template changes, so that the two have an
    /// order. Reentrant: the receiver may set the next template.
    delivery: ReentrantMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    job: Option<Arc<Job>>,
    /// Templates set so far.
    templates: u64,
    paused: PauseReasons,
    limit: Option<NonZeroU64>,
    stopping: bool,
    /// Moves on with every change, so that the coordinator sleeps through none.
    version: u64,
}

#[derive(Debug)]
struct Job {
    template: Template,
    number: u64,
    cancel: Cancel,
    /// The lowest position not searched.
    next: AtomicU64,
}

impl Miner {
    /// Starts mining templates as they are set; each solution goes to `on_solution`, on a thread
    /// of the miner's. It must not wait for a thread that sets a template.
    pub fn run(
        self: &Arc<Self>,
        on_solution: impl FnMut(Solved) + Send + 'static,
    ) -> Result<Mining, std::io::Error> {
        let shared = Arc::new(Shared {
            miner: Arc::clone(self),
            state: Mutex::default(),
            changed: Condvar::new(),
            delivery: ReentrantMutex::new(()),
        });
        let coordinator = thread::Builder::new().name("cairn-miner".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.coordinate(on_solution)
        })?;
        Ok(Mining {
            shared,
            coordinator: Some(coordinator),
        })
    }
}

impl Mining {
    /// Mines this template from now on, and no earlier one. Returns its number.
    pub fn set_template(&self, template: Template) -> u64 {
        self.shared.replace_job(Some(template))
    }

    /// Mines nothing until the next template.
    pub fn clear_template(&self) {
        self.shared.replace_job(None);
    }

    /// Whether no other template was set or cleared since the one of this number.
    pub fn is_current(&self, template: u64) -> bool {
        self.shared.state.lock().templates == template
    }

    /// Adds a reason to rest, or takes it away.
    pub fn set_paused(&self, reason: PauseReason, holds: bool) {
        let mut state = self.shared.state.lock();
        if state.paused.set(reason, holds) {
            self.shared.announce(&mut state);
        }
    }

    /// The reasons to rest.
    pub fn paused(&self) -> PauseReasons {
        self.shared.state.lock().paused
    }

    /// Limits the hashes per second of all workers together. With a low limit one thread searches
    /// a little and sleeps the rest.
    pub fn set_limit(&self, limit: Option<NonZeroU64>) {
        let mut state = self.shared.state.lock();
        if state.limit != limit {
            state.limit = limit;
            self.shared.announce(&mut state);
        }
    }

    /// Changes the number of workers, also in the middle of a search.
    pub fn set_threads(&self, threads: usize) -> Result<(), MinerError> {
        self.shared.miner.set_threads(threads)
    }

    /// Whether there is a template to solve and no reason to rest.
    pub fn is_mining(&self) -> bool {
        let state = self.shared.state.lock();
        state.job.is_some() && state.paused.is_empty()
    }

    /// What the miner is doing.
    pub fn status(&self) -> MiningStatus {
        let miner = &self.shared.miner;
        let state = self.shared.state.lock();
        let algo = state.job.as_ref().map(|job| job.template.function());
        MiningStatus {
            mining: algo.is_some() && state.paused.is_empty(),
            paused: state.paused.iter().collect(),
            algo,
            kernel: algo.map(|algo| miner.kernel(algo)),
            threads: miner.threads(),
            limit: state.limit,
            hash_rates: miner.hash_rates(),
        }
    }
}

impl Drop for Mining {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            if let Some(job) = state.job.take() {
                job.cancel.cancel();
            }
            self.shared.announce(&mut state);
        }
        // A receiver of solutions may own the miner; a thread cannot wait for itself.
        if let Some(coordinator) = self.coordinator.take()
            && coordinator.thread().id() != thread::current().id()
        {
            coordinator
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

/// What the coordinator does next.
struct Task {
    job: Arc<Job>,
    limit: Option<NonZeroU64>,
    version: u64,
    interrupt: u64,
}

impl Shared {
    fn coordinate(&self, mut on_solution: impl FnMut(Solved)) {
        self.miner.priority().apply_to_this_thread();
        let mut pace = Pace::default();
        while let Some(task) = self.next_task() {
            let step = match task.limit {
                None => Step::Search(u64::MAX),
                Some(limit) => pace.next(self.miner.clock().now(), limit),
            };
            match step {
                Step::Wait(time) => self.sleep(time, task.version),
                Step::Search(hashes) => {
                    if let Some(solution) = self.search(&task, hashes) {
                        self.deliver(&task.job, solution, &mut on_solution);
                    }
                }
            }
        }
    }

    /// Waits until there is something to mine and no reason to rest. `None` at the end.
    fn next_task(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(job) = state.job.as_ref().filter(|_| state.paused.is_empty()) {
                let (job, limit, version) = (Arc::clone(job), state.limit, state.version);
                // Read under the lock: changes interrupt only after they are in the state.
                return Some(Task {
                    job,
                    limit,
                    version,
                    interrupt: self.miner.interrupts(),
                });
            }
            self.changed.wait(&mut state);
        }
    }

    /// Sleeps unless something changed since `version`, and until something changes.
    fn sleep(&self, time: Duration, version: u64) {
        let mut state = self.state.lock();
        if state.version == version {
            self.changed.wait_for(&mut state, time);
        }
    }

    /// Searches the next positions of a job, at most `hashes`.
    fn search(&self, task: &Task, hashes: u64) -> Option<Solution> {
        let job = &*task.job;
        let template = &job.template;
        let order = Order {
            function: template.function(),
            target: template.target(),
            header_of: &|extra| template.header_of(extra),
            cancel: &job.cancel,
            interrupt: task.interrupt,
        };
        let start = job.next.load(Ordering::SeqCst);
        let range = start..start.saturating_add(hashes);
        let outcome = if hashes <= batch_hashes(order.function) {
            self.miner.search_here(&order, range.clone())
        } else {
            self.miner.search_until_interrupt(&order, range.clone())
        };
        let next = match outcome {
            Outcome::Hit(position) => return Some(template.solution(position)),
            Outcome::Exhausted => range.end,
            Outcome::Stopped(next) => next,
        };
        job.next.store(next, Ordering::SeqCst);
        if next == u64::MAX {
            self.give_up(job);
        }
        None
    }

    /// Drops a job whose 2^64 positions are searched.
    fn give_up(&self, job: &Job) {
        let mut state = self.state.lock();
        state.job.take_if(|current| current.number == job.number);
    }

    /// Hands a solution over, unless its template is no longer the current one.
    fn deliver(&self, job: &Job, solution: Solution, on_solution: &mut impl FnMut(Solved)) {
        let _order = self.delivery.lock();
        let is_current = self
            .state
            .lock()
            .job
            .take_if(|current| current.number == job.number)
            .is_some();
        if is_current {
            on_solution(Solved {
                template: job.number,
                solution,
            });
        }
    }

    fn replace_job(&self, template: Option<Template>) -> u64 {
        let _order = self.delivery.lock();
        let mut state = self.state.lock();
        state.templates += 1;
        let number = state.templates;
        let job = template.map(|template| {
            let (cancel, next) = (Cancel::new(), AtomicU64::new(0));
            Arc::new(Job {
                template,
                number,
                cancel,
                next,
            })
        });
        if let Some(old) = std::mem::replace(&mut state.job, job) {
            old.cancel.cancel();
        }
        self.announce(&mut state);
        number
    }

    /// Makes the coordinator and the workers look at the state again.
    fn announce(&self, state: &mut State) {
        state.version += 1;
        self.miner.interrupt();
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use ruint::aliases::U256;

    use super::*;
    use crate::miner::Settings;

    fn shared() -> Shared {
        let settings = Settings {
            threads: Some(1),
            ..Settings::default()
        };
        Shared {
            miner: Arc::new(Miner::new(settings).unwrap()),
            state: Mutex::default(),
            changed: Condvar::new(),
            delivery: ReentrantMutex::new(()),
        }
    }

    fn template(tag: u8) -> Template {
        let target = U256::MAX >> 4;
        Template::new(
            [tag; 80],
            vec![0; 28],
            [1; 32],
            [2; 32],
            target,
            PowFunction::Sha256d,
        )
        .unwrap()
    }

    #[test]
    fn a_solution_of_a_replaced_template_is_dropped() {
        let shared = shared();
        shared.replace_job(Some(template(1)));
        let old = shared.next_task().unwrap();
        let solution = shared.search(&old, 4096).unwrap();
        shared.replace_job(Some(template(2)));
        assert!(old.job.cancel.is_cancelled());

        let mut delivered = Vec::new();
        shared.deliver(&old.job, solution, &mut |solved| {
            delivered.push(solved.template)
        });
        assert!(delivered.is_empty());

        let new = shared.next_task().unwrap();
        let solution = shared.search(&new, 4096).unwrap();
        for _ in 0..2 {
            shared.deliver(&new.job, solution.clone(), &mut |s| {
                delivered.push(s.template)
            });
        }
        assert_eq!(delivered, [2], "delivered once");
    }

    #[test]
    fn a_job_goes_on_where_it_was_interrupted() {
        let shared = shared();
        let unsolvable = Template::new(
            [0; 80],
            vec![0; 28],
            [0; 32],
            [0; 32],
            U256::ZERO,
            PowFunction::Sha256d,
        );
        shared.replace_job(Some(unsolvable.unwrap()));
        let task = shared.next_task().unwrap();
        assert_eq!(shared.search(&task, 100), None);
        assert_eq!(shared.search(&task, 50), None);
        assert_eq!(task.job.next.load(Ordering::SeqCst), 150);
        shared.announce(&mut shared.state.lock());
        assert_eq!(shared.search(&task, 50), None);
        assert_eq!(
            task.job.next.load(Ordering::SeqCst),
            150,
            "an interrupted task searches nothing"
        );
    }
}
