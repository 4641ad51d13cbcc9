//! Watching a node's HTTP interface from a thread of its own, so that a node which hangs delays
//! nobody else's answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::wallet::{NodeClient, NodeStatus};

/// While a node starts and until the first block.
pub const EAGER: Duration = Duration::from_millis(20);
/// Afterwards.
pub const CALM: Duration = Duration::from_secs(1);
/// A node that takes longer for one answer counts as silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a watcher saw.
pub struct Seen {
    /// Of which node.
    pub number: usize,
    /// Of which of its processes.
    pub pid: u32,
    /// Its status; none while it does not answer.
    pub status: Option<NodeStatus>,
}

/// The pace of all watchers of a devnet.
#[derive(Clone)]
pub struct Pace(Arc<AtomicU64>);

impl Pace {
    /// At first eager.
    pub fn new() -> Self {
        let pace = Self(Arc::default());
        pace.set(EAGER);
        pace
    }

    /// From now on.
    pub fn set(&self, interval: Duration) {
        self.0.store(
            u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A running watcher; it ends soon after this value is dropped.
pub struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Watches the interface at `url`.
    pub fn start(
        url: &str,
        number: usize,
        pid: u32,
        pace: Pace,
        events: UnboundedSender<Seen>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let client = NodeClient::with_timeout(url, ANSWER_TIMEOUT);
        std::thread::spawn(move || {
            let mut has_answered = false;
            while !is_stopped.load(Ordering::Relaxed) {
                let status = look(&client, has_answered);
                has_answered |= status.is_some();
                let interval = if has_answered { pace.get() } else { EAGER };
                // Before its first answer a node is starting, which is no news.
                if has_answered
                    && events
                        .send(Seen {
                            number,
                            pid,
                            status,
                        })
                        .is_err()
                {
                    return;
                }
                std::thread::sleep(interval);
            }
        });
        Self(stop)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The status; the first one counts only when the readiness check answers too, with yes or no.
fn look(client: &NodeClient, has_answered: bool) -> Option<NodeStatus> {
    let status = client.status().ok()?;
    let is_counted = has_answered || client.probe("/readyz").is_ok();
    is_counted.then_some(status)
}
