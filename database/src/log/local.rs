//! The log of a node that agrees with itself: what it has made durable is committed.
//!
//! One thread writes. It takes all that waits, up to a batch, makes one frame of it, syncs, and only
//! then moves the watermarks and answers: many proposers share one sync, and while it runs the next
//! batch gathers.
//!
//! Invariant: an answer is given after the sync that carries what it promises. After a failure every
//! open ticket is `Unknown`, and nothing is taken any more.

use super::error::{LogError, Result};
use super::frame::FrameKind;
use super::group::{GroupLog, Groups};
use super::position::{Group, Lsn, Point, Record, Term, Watermarks};
use super::promise::{Keeper, promise};
use super::record::{Item, put};
use super::segment::Segments;
use super::writer::{LogOptions, Recovery, Writer};
use super::{Log, Outcome, Receipt, Ticket};
use crate::entry::{Entry, Kind};
use crate::limits::{
    BATCH_BYTES, ENTRY_BYTES_MAX, GROUPS_MAX, IDLE_SEAL_MS, QUEUE_BYTES_MAX, VOTE_BYTES_MAX,
};
use cairn_storage::disk::Disk;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most sync times that are kept for who asks: a metric samples them every few seconds.
const SYNC_TIMES_MAX: usize = 1024;
/// Bytes that a queued request counts beside its entries.
const REQUEST_BYTES: usize = 128;
/// Bytes that an entry counts beside its payload.
const RECORD_BYTES: usize = 64;

/// The log of one node.
#[derive(Debug)]
pub struct LocalLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    recovery: Recovery,
}

#[derive(Debug)]
struct Shared {
    groups: RwLock<Groups>,
    segments: Arc<RwLock<Segments>>,
    queue: Mutex<Queue>,
    /// Something is in the queue, or the end has come.
    work: Condvar,
    /// The queue has room again.
    room: Condvar,
    /// Counts changes of watermarks.
    moves: Mutex<u64>,
    moved: Condvar,
    sync_times: Mutex<Vec<Duration>>,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    closing: bool,
    stopped: Option<String>,
}

#[derive(Debug)]
struct Request {
    group: Group,
    work: Work,
    bytes: usize,
}

#[derive(Debug)]
enum Work {
    Propose(Vec<u8>, Keeper<Outcome>),
    Append(Vec<Record>, Answer),
    Control(Control, Answer),
}

#[derive(Debug)]
enum Control {
    Create(Vec<u8>),
    Truncate(Lsn),
    Purge(Lsn),
    Vote(Vec<u8>),
    Commit(Lsn),
    Install(Point),
}

type Answer = Keeper<Result<(), Arc<LogError>>>;

impl LocalLog {
    /// Opens or creates the log in a directory.
    ///
    /// `floors` is what the store has already made durable of each group: an end that the log must
    /// reach.
    ///
    /// # Errors
    /// `Damaged` if anything that was acknowledged is not there; then nothing has been changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
        floors: &[(Group, Lsn)],
    ) -> Result<Self> {
        let (writer, groups, recovery) = Writer::open(disk, directory, options, |groups| {
            check_floors(groups, floors)
        })?;
        let shared = Arc::new(Shared {
            groups: RwLock::new(groups),
            segments: writer.segments(),
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            moves: Mutex::default(),
            moved: Condvar::new(),
            sync_times: Mutex::default(),
        });
        let run = WriterThread {
            shared: shared.clone(),
            writer,
            sealed: true,
        };
        let thread = std::thread::Builder::new()
            .name("log writer".to_owned())
            .spawn(move || run.run())
            .map_err(|source| LogError::Io {
                doing: "start the writer of",
                path: directory.to_owned(),
                source,
            })?;
        Ok(LocalLog {
            shared,
            writer: Some(thread),
            recovery,
        })
    }

    /// What the open found.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Begins the log of a group with its entry 0 and waits until it is durable.
    ///
    /// # Errors
    /// `Misuse` if the group exists or the entry is not a membership.
    pub fn create_group(&self, group: Group, membership: Vec<u8>) -> Result<()> {
        match Entry::decode(&membership) {
            Ok(entry) if entry.header.kind == Kind::Membership => {}
            Ok(_) => {
                let text = "entry 0 of a group is its membership, this is another kind";
                return Err(LogError::Misuse(text.to_owned()));
            }
            Err(error) => return Err(LogError::Misuse(format!("entry 0 of a group: {error}"))),
        }
        let receipt = self.control_unchecked(group, Control::Create(membership))?;
        receipt.wait().map_err(|error| flat(&error))
    }

    /// The groups that have a log here.
    pub fn groups(&self) -> Vec<Group> {
        self.shared.groups.read().0.keys().copied().collect()
    }

    /// Takes the times of the syncs since the last call, at most some 1,000 of them.
    pub fn take_sync_times(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.sync_times.lock())
    }

    fn group<T>(&self, group: Group, look: impl FnOnce(&GroupLog) -> T) -> Result<T> {
        let groups = self.shared.groups.read();
        let log = groups.0.get(&group).ok_or(LogError::NoGroup(group.0))?;
        Ok(look(log))
    }

    fn control(&self, group: Group, control: Control) -> Result<Receipt> {
        self.group(group, |_| ())?;
        self.control_unchecked(group, control)
    }

    fn control_unchecked(&self, group: Group, control: Control) -> Result<Receipt> {
        let (answer, receipt) = receipt();
        self.enqueue(group, Work::Control(control, answer), 0)?;
        Ok(receipt)
    }

    fn enqueue(&self, group: Group, work: Work, bytes: usize) -> Result<()> {
        let bytes = bytes + REQUEST_BYTES;
        let mut queue = self.shared.queue.lock();
        loop {
            if let Some(first) = &queue.stopped {
                return Err(LogError::stopped(first));
            }
            if queue.bytes + bytes <= QUEUE_BYTES_MAX || queue.requests.is_empty() {
                break;
            }
            self.shared.room.wait(&mut queue);
        }
        queue.bytes += bytes;
        queue.requests.push_back(Request { group, work, bytes });
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }
}

fn receipt() -> (Answer, Receipt) {
    promise(Err(Arc::new(LogError::Stopped {
        first: "the writer ended before it got there".to_owned(),
    })))
}

/// The text of a shared error as an error of its own.
fn flat(error: &Arc<LogError>) -> LogError {
    match &**error {
        LogError::Misuse(text) => LogError::Misuse(text.clone()),
        LogError::Stopped { first } => LogError::stopped(first),
        other => LogError::stopped(&other.to_string()),
    }
}

fn check_floors(groups: &Groups, floors: &[(Group, Lsn)]) -> Result<()> {
    for (group, floor) in floors {
        let end = groups.0.get(group).map_or(Lsn(0), GroupLog::end);
        if end < *floor {
            return Err(LogError::Damaged(format!(
                "the log of group {} ends at {end}, but the store has applied it up to {floor}",
                group.0
            )));
        }
    }
    Ok(())
}

fn check_payload(payload: &[u8]) -> Result<()> {
    if payload.len() > ENTRY_BYTES_MAX {
        return Err(LogError::TooLarge {
            what: "entry",
            found: payload.len(),
            bound: ENTRY_BYTES_MAX,
        });
    }
    Ok(())
}

impl Log for LocalLog {
    fn propose(&self, group: Group, payload: Vec<u8>) -> Result<Ticket> {
        check_payload(&payload)?;
        self.group(group, |_| ())?;
        let (keeper, ticket) = promise(Outcome::Unknown);
        let bytes = payload.len();
        self.enqueue(group, Work::Propose(payload, keeper), bytes)?;
        Ok(ticket)
    }

    fn append(&self, group: Group, records: Vec<Record>) -> Result<Receipt> {
        self.group(group, |_| ())?;
        let mut bytes = 0;
        for record in &records {
            check_payload(&record.payload)?;
            bytes += record.payload.len() + RECORD_BYTES;
        }
        if bytes > BATCH_BYTES + RECORD_BYTES {
            return Err(LogError::TooLarge {
                what: "list of entries",
                found: bytes,
                bound: BATCH_BYTES + RECORD_BYTES,
            });
        }
        let (answer, receipt) = receipt();
        self.enqueue(group, Work::Append(records, answer), bytes)?;
        Ok(receipt)
    }

    fn truncate_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.control(group, Control::Truncate(end))
    }

    fn purge_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.control(group, Control::Purge(end))
    }

    fn save_vote(&self, group: Group, vote: Vec<u8>) -> Result<Receipt> {
        if vote.len() > VOTE_BYTES_MAX {
            return Err(LogError::TooLarge {
                what: "vote",
                found: vote.len(),
                bound: VOTE_BYTES_MAX,
            });
        }
        self.control(group, Control::Vote(vote))
    }

    fn vote(&self, group: Group) -> Result<Vec<u8>> {
        self.group(group, |log| log.vote.clone())
    }

    fn commit_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.control(group, Control::Commit(end))
    }

    fn read(&self, group: Group, from: Lsn, bytes_max: usize) -> Result<Vec<Record>> {
        let slots = self.group(group, |log| {
            if from < log.start.end {
                return Err(purged(group, log, from));
            }
            let mut slots = Vec::new();
            let (mut lsn, mut bytes) = (from, 0);
            while let Some(slot) = log.slot(lsn).filter(|_| bytes < bytes_max) {
                slots.push((lsn, *slot));
                bytes += slot.length as usize;
                lsn = lsn.next();
            }
            Ok(slots)
        })??;
        let segments = self.shared.segments.read();
        let mut records = Vec::with_capacity(slots.len());
        let mut frame = None;
        let mut frame_place = None;
        for (lsn, slot) in slots {
            if frame_place != Some(slot.place) {
                frame = segments.frame(slot.place)?;
                frame_place = Some(slot.place);
            }
            let Some(frame) = &frame else {
                let start = self.group(group, |log| log.start.end)?;
                if from < start {
                    return self.group(group, |log| Err(purged(group, log, from)))?;
                }
                return Err(LogError::Damaged(format!(
                    "{}: the frame with entry {lsn} of group {} is not intact",
                    segments.describe(slot.place),
                    group.0
                )));
            };
            let range = slot.from as usize..(slot.from + slot.length) as usize;
            records.push(Record {
                lsn,
                term: slot.term,
                payload: frame.payload[range].to_vec(),
            });
        }
        Ok(records)
    }

    fn watermarks(&self, group: Group) -> Result<Watermarks> {
        self.group(group, GroupLog::watermarks)
    }

    fn watch(&self, group: Group, known: Watermarks, limit: Duration) -> Result<Watermarks> {
        let deadline = Instant::now() + limit;
        let mut moves = self.shared.moves.lock();
        loop {
            let now = self.watermarks(group)?;
            if now != known {
                return Ok(now);
            }
            if self
                .shared
                .moved
                .wait_until(&mut moves, deadline)
                .timed_out()
            {
                return Ok(now);
            }
        }
    }

    fn start(&self, group: Group) -> Result<Point> {
        self.group(group, |log| log.start)
    }

    fn snapshot(&self, group: Group) -> Result<Point> {
        let point = self.group(group, |log| {
            let end = log.committed;
            log.term_before(end).map(|term| Point { end, term })
        })?;
        point.ok_or_else(|| {
            LogError::Misuse(format!("group {} has no committed entry here", group.0))
        })
    }

    fn install(&self, group: Group, point: Point) -> Result<Receipt> {
        self.control(group, Control::Install(point))
    }
}

fn purged(group: Group, log: &GroupLog, asked: Lsn) -> LogError {
    LogError::Purged {
        group: group.0,
        base: log.start.end.0,
        asked: asked.0,
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.work.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The thread that writes.
struct WriterThread {
    shared: Arc<Shared>,
    writer: Writer,
    /// The last frame acknowledges nothing.
    sealed: bool,
}

/// Answers that wait for the sync of a frame.
#[derive(Default)]
struct Batch {
    records: Vec<u8>,
    tickets: Vec<(Keeper<Outcome>, Outcome)>,
    answers: Vec<Answer>,
    /// Where each group stands behind the records so far.
    ends: BTreeMap<Group, Point>,
    /// Groups with a record after which only the fold knows more.
    fenced: Vec<Group>,
    purges: bool,
}

impl WriterThread {
    fn run(mut self) {
        while let Some(requests) = self.next_requests() {
            let outcome = match requests.is_empty() {
                true => self.seal(),
                false => self.write(requests),
            };
            if let Err(error) = outcome {
                self.stop(&error);
                return;
            }
        }
        // A clean end: the last acknowledged frame gets one behind it.
        if !self.sealed
            && let Err(error) = self.seal()
        {
            tracing::error!(%error, "the log could not be sealed");
        }
    }

    /// What is written next: nothing means a seal. None at the end.
    fn next_requests(&mut self) -> Option<Vec<Request>> {
        let mut queue = self.shared.queue.lock();
        while queue.requests.is_empty() {
            if queue.closing {
                return None;
            }
            if self.sealed {
                self.shared.work.wait(&mut queue);
            } else {
                let limit = Duration::from_millis(IDLE_SEAL_MS);
                let timed_out = self.shared.work.wait_for(&mut queue, limit).timed_out();
                if timed_out && queue.requests.is_empty() && !queue.closing {
                    return Some(Vec::new());
                }
            }
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(request) = queue.requests.pop_front()
        {
            bytes += request.bytes;
            taken.push(request);
        }
        queue.bytes -= bytes;
        drop(queue);
        self.shared.room.notify_all();
        Some(taken)
    }

    fn seal(&mut self) -> Result<()> {
        let (place, payload) = {
            let groups = self.shared.groups.read();
            self.writer.append(FrameKind::Seal, &groups, &[])?
        };
        self.shared.groups.write().fold(place, &payload)?;
        self.sealed = true;
        Ok(())
    }

    /// Writes all requests, in one frame or, where a record must be folded before the next can be
    /// judged, in several.
    fn write(&mut self, requests: Vec<Request>) -> Result<()> {
        let mut batch = Batch::default();
        for request in requests {
            if batch.fenced.contains(&request.group)
                || (matches!(request.work, Work::Control(..))
                    && batch.ends.contains_key(&request.group))
            {
                self.flush(std::mem::take(&mut batch))?;
            }
            let groups = self.shared.groups.read();
            batch.take(&groups, request);
        }
        self.flush(batch)
    }

    fn flush(&mut self, batch: Batch) -> Result<()> {
        if batch.records.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let appended = {
            let groups = self.shared.groups.read();
            self.writer
                .append(FrameKind::Batch, &groups, &batch.records)
        };
        let outcome = appended.and_then(|(place, payload)| {
            let mut groups = self.shared.groups.write();
            groups.fold(place, &payload)
        });
        if let Err(error) = outcome {
            // First of all nobody may propose any more; then tickets resolve to unknown as they are
            // dropped.
            self.stop(&error);
            let stopped = LogError::stopped(&error.to_string());
            let error = Arc::new(error);
            for answer in batch.answers {
                answer.keep(Err(error.clone()));
            }
            return Err(stopped);
        }
        self.sealed = false;
        let mut times = self.shared.sync_times.lock();
        if times.len() < SYNC_TIMES_MAX {
            times.push(start.elapsed());
        }
        drop(times);
        *self.shared.moves.lock() += 1;
        self.shared.moved.notify_all();
        for (keeper, outcome) in batch.tickets {
            keeper.keep(outcome);
        }
        let dropped = match batch.purges {
            true => {
                let groups = self.shared.groups.read();
                self.writer.drop_unneeded(&groups)
            }
            false => Ok(()),
        };
        for answer in batch.answers {
            answer.keep(Ok(()));
        }
        dropped
    }

    fn stop(&mut self, error: &LogError) {
        let mut queue = self.shared.queue.lock();
        if queue.stopped.is_none() {
            tracing::error!(%error, "the log has stopped; outcomes that wait are unknown");
            queue.stopped = Some(error.to_string());
        }
    }
}

impl Drop for WriterThread {
    /// Nobody must wait for a writer that is gone, however it went.
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue
            .stopped
            .get_or_insert_with(|| "the writer has ended".to_owned());
        queue.bytes = 0;
        let open = std::mem::take(&mut queue.requests);
        drop(queue);
        // Their tickets resolve to unknown.
        drop(open);
        self.shared.room.notify_all();
        self.shared.moved.notify_all();
    }
}

impl Batch {
    fn take(&mut self, groups: &Groups, request: Request) {
        let group = request.group;
        let log = groups.0.get(&group);
        match request.work {
            Work::Propose(payload, keeper) => {
                let Some(log) = log else { return };
                let last = self.ends.entry(group).or_insert_with(|| log.last());
                let (term, lsn) = (last.term, last.end);
                put_entry(&mut self.records, group, true, term, lsn, &payload);
                last.end = lsn.next();
                let outcome = Outcome::Committed { term, lsn };
                self.tickets.push((keeper, outcome));
            }
            Work::Append(entries, answer) => {
                let Some(log) = log else { return };
                let last = *self.ends.entry(group).or_insert_with(|| log.last());
                match check_append(last, &entries) {
                    Err(error) => answer.keep(Err(Arc::new(error))),
                    Ok(end) => {
                        for entry in entries {
                            let (term, lsn) = (entry.term, entry.lsn);
                            put_entry(&mut self.records, group, false, term, lsn, &entry.payload);
                        }
                        self.ends.insert(group, end);
                        self.answers.push(answer);
                    }
                }
            }
            Work::Control(control, answer) => match self.control(groups, group, &control) {
                Err(error) => answer.keep(Err(Arc::new(error))),
                Ok(()) => {
                    self.fenced.push(group);
                    self.answers.push(answer);
                }
            },
        }
    }

    fn control(&mut self, groups: &Groups, group: Group, control: &Control) -> Result<()> {
        let log = groups.0.get(&group);
        if let Control::Create(membership) = control {
            if log.is_some() || self.fenced.contains(&group) {
                let text = format!("group {} has a log on this node already", group.0);
                return Err(LogError::Misuse(text));
            }
            if groups.0.len() + self.fenced.len() >= GROUPS_MAX {
                let text = format!("a node keeps the logs of at most {GROUPS_MAX} groups");
                return Err(LogError::Misuse(text));
            }
            let state = Item::State {
                start: Point::default(),
                last: Point::default(),
                committed: Lsn(0),
                vote: &[],
            };
            put(&mut self.records, group, &state);
            put_entry(&mut self.records, group, true, Term(1), Lsn(0), membership);
            return Ok(());
        }
        let log = log.ok_or(LogError::NoGroup(group.0))?;
        let item = match control {
            Control::Create(_) => return Ok(()),
            Control::Truncate(end) => Item::Truncate(*end),
            Control::Purge(end) => {
                self.purges = true;
                Item::Purge(Point {
                    end: *end,
                    term: log.term_before(*end).unwrap_or_default(),
                })
            }
            Control::Vote(vote) => Item::Vote(vote),
            Control::Commit(end) => Item::Committed(*end),
            Control::Install(point) => {
                self.purges = true;
                Item::Install(*point)
            }
        };
        if let Some(why) = log.refuse(&item) {
            return Err(LogError::Misuse(format!("group {}: {why}", group.0)));
        }
        put(&mut self.records, group, &item);
        Ok(())
    }
}

fn put_entry(
    out: &mut Vec<u8>,
    group: Group,
    proposed: bool,
    term: Term,
    lsn: Lsn,
    payload: &[u8],
) {
    let item = Item::Entry {
        proposed,
        term,
        lsn,
        payload,
    };
    put(out, group, &item);
}

/// The end behind the entries, if they follow.
fn check_append(mut last: Point, entries: &[Record]) -> Result<Point> {
    for entry in entries {
        if entry.lsn != last.end || entry.term < last.term {
            return Err(LogError::Misuse(format!(
                "entry {} of term {} does not follow end {} of term {}",
                entry.lsn, entry.term.0, last.end, last.term.0
            )));
        }
        last = Point {
            end: entry.lsn.next(),
            term: entry.term,
        };
    }
    Ok(last)
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
