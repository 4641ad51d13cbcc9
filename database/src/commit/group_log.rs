//! A group of the node's log as the pipeline uses it.

use super::link::{CommitLog, Outcome, Ticket, Visit};
use crate::log::{self, Group, Log, LogError, Lsn};
use crate::store::StoreError;
use std::sync::Arc;

/// Bytes read at once when the log is replayed.
const REPLAY_BYTES: usize = 4 << 20;

/// A group of a log.
#[derive(Debug, Clone)]
pub struct GroupLog {
    log: Arc<dyn Log>,
    group: Group,
}

impl GroupLog {
    /// This group of this log.
    pub fn new(log: Arc<dyn Log>, group: Group) -> Self {
        GroupLog { log, group }
    }
}

fn translate(outcome: log::Outcome) -> Outcome {
    match outcome {
        log::Outcome::Committed { lsn, .. } => Outcome::Committed { lsn: lsn.0 },
        log::Outcome::NotLeader => Outcome::NotLeader,
        log::Outcome::Unknown => Outcome::Unknown("the log failed before it could tell".into()),
    }
}

struct Proposed(log::Ticket);

impl Ticket for Proposed {
    fn try_outcome(&mut self) -> Option<Outcome> {
        self.0.answer().map(translate)
    }

    fn wait(&mut self) -> Outcome {
        translate(self.0.wait())
    }
}

/// A proposal that the log did not take.
struct Refused(String);

impl Ticket for Refused {
    fn try_outcome(&mut self) -> Option<Outcome> {
        Some(Outcome::Refused(self.0.clone()))
    }

    fn wait(&mut self) -> Outcome {
        Outcome::Refused(self.0.clone())
    }
}

fn fault(error: LogError) -> StoreError {
    match error {
        LogError::Damaged(_) | LogError::Purged { .. } => StoreError::damaged(error.to_string()),
        other => StoreError::Engine {
            doing: "read the log",
            cause: other.to_string(),
        },
    }
}

impl CommitLog for GroupLog {
    fn propose(&self, entry: Vec<u8>) -> Box<dyn Ticket> {
        match self.log.propose(self.group, entry) {
            Ok(ticket) => Box::new(Proposed(ticket)),
            Err(error) => Box::new(Refused(error.to_string())),
        }
    }

    fn replay(&self, lsn: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let end = self.log.watermarks(self.group).map_err(fault)?.committed;
        let mut next = Lsn(lsn);
        while next < end {
            let records = self
                .log
                .read(self.group, next, REPLAY_BYTES)
                .map_err(fault)?;
            if records.is_empty() {
                let what = format!("the log ends at {next}, {end} are committed");
                return Err(StoreError::damaged(what));
            }
            for record in records.into_iter().filter(|record| record.lsn < end) {
                visit(record.lsn.0, &record.payload)?;
                next = record.lsn.next();
            }
        }
        Ok(())
    }

    fn purge(&self, lsn: u64) {
        if let Err(error) = self.log.purge_to(self.group, Lsn(lsn)) {
            tracing::warn!(%error, "the log cannot be purged");
        }
    }
}
