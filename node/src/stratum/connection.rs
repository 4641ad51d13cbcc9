//! One miner's connection: bytes to the session, its lines back, its blocks to the ledger.
//!
//! Invariants: what waits to be sent is what one read or one job made, so memory is bounded; a
//! client that sends too fast is read slower; one that takes nothing is closed.

use std::io;
use std::io::ErrorKind::{TimedOut, WouldBlock, WriteZero};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cairn_miner::stratum::{Closing, Lines, Now, Output, Session, Work};
use cairn_protocol::address::Network;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::{FoundOutcome, WorkFeed};
use super::limits::{LINES_BURST, LINES_PER_S_MAX, TICK, WRITE_MAX};
use super::server::Doors;
use crate::runtime::clock::{monotonic_ms, now_u32};

/// Bytes of one read.
const READ_BYTES: usize = 4_096;

/// What a connection works with.
pub(super) struct Connection {
    pub stream: TcpStream,
    pub address: IpAddr,
    pub network: Network,
    pub feed: Arc<WorkFeed>,
    pub doors: Arc<Doors>,
}

fn now() -> Now {
    Now {
        ms: monotonic_ms(),
        unix_s: now_u32(),
    }
}

/// When the next bytes may be read: lines are paid for with time, with some credit.
struct Pace {
    paid_until: Instant,
}

impl Pace {
    const PER_LINE: Duration = Duration::from_nanos(1_000_000_000 / LINES_PER_S_MAX as u64);

    fn new() -> Pace {
        Pace {
            paid_until: Instant::now(),
        }
    }

    fn pay(&mut self, lines: u32) {
        self.paid_until = self.paid_until.max(Instant::now()) + Pace::PER_LINE * lines;
    }

    /// The time to read on.
    fn next(&self) -> Instant {
        self.paid_until
            .checked_sub(Pace::PER_LINE * LINES_BURST)
            .unwrap_or(self.paid_until)
    }
}

impl Connection {
    /// Serves the miner until it leaves, is closed, or the node stops.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        // The first miner after a quiet time finds no work, or that of an old tip.
        let _ = self.feed.present().await;
        let mut works = self.feed.subscribe();
        let mut session = Session::new(now(), self.network, self.feed.extra_nonce());
        let mut outputs = Vec::new();
        let present = works.borrow_and_update().clone();
        session.set_work(now(), present, &mut outputs);
        let served = tokio::select! {
            served = self.serve(&mut session, &mut works, outputs) => served,
            _ = stopping.changed() => Ok(()),
        };
        if let Err(error) = served {
            tracing::debug!(address = %self.address, %error, "a miner's connection ended");
        }
        let mut workers = self.feed.workers().lock();
        for worker in session.workers() {
            workers.left(worker);
        }
    }

    async fn serve(
        &self,
        session: &mut Session,
        works: &mut watch::Receiver<Option<Arc<Work>>>,
        mut outputs: Vec<Output>,
    ) -> io::Result<()> {
        let _ = self.stream.set_nodelay(true);
        let (mut lines, mut pace) = (Lines::default(), Pace::new());
        let mut tick = tokio::time::interval(TICK);
        let mut buffer = [0; READ_BYTES];
        loop {
            if self.carry_out(&mut outputs).await? {
                return Ok(());
            }
            let next = pace.next();
            let read = async {
                tokio::time::sleep_until(next).await;
                read_some(&self.stream, &mut buffer).await
            };
            tokio::select! {
                biased;
                changed = works.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let work = works.borrow_and_update().clone();
                    session.set_work(now(), work, &mut outputs);
                }
                _ = tick.tick() => session.tick(now(), &mut outputs),
                bytes = read => {
                    let bytes = bytes?;
                    if bytes == 0 {
                        return Ok(());
                    }
                    let (at, mut count) = (now(), 0);
                    let fed = lines.feed(&buffer[..bytes], |line| {
                        count += 1;
                        session.line(at, line, &mut outputs);
                    });
                    pace.pay(count);
                    if let Err(error) = fed {
                        self.carry_out(&mut outputs).await?;
                        self.send(format!("{}\n", error_line(&error.to_string()))).await?;
                        self.doors.shut_out(self.address);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Does what the session wants; whether the connection ends.
    async fn carry_out(&self, outputs: &mut Vec<Output>) -> io::Result<bool> {
        let (mut text, mut closing, mut blocks) = (String::new(), None, Vec::new());
        let now_ms = monotonic_ms();
        for output in outputs.drain(..) {
            match output {
                Output::Line(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Output::Joined(worker) => self.feed.workers().lock().joined(now_ms, &worker),
                Output::Share {
                    worker,
                    verdict,
                    difficulty,
                } => {
                    self.feed.metrics().share(verdict);
                    let mut workers = self.feed.workers().lock();
                    workers.share(now_ms, &worker, verdict, difficulty);
                }
                Output::Found { worker, found } => blocks.push((worker, found)),
                Output::Close(why) => closing = Some(why),
            }
        }
        let sent = self.send(text).await;
        // A block counts although its miner has gone.
        for (worker, found) in blocks {
            match self.feed.submit(*found, "stratum").await {
                Ok(FoundOutcome::Connected(_)) => self.feed.workers().lock().block(&worker),
                Ok(FoundOutcome::Lost(_)) => {}
                Err(_) => return Ok(true),
            }
        }
        sent?;
        if let Some(why) = closing {
            tracing::debug!(address = %self.address, ?why, "a miner is closed");
            if why == Closing::Banned {
                self.doors.shut_out(self.address);
            }
        }
        Ok(closing.is_some())
    }

    async fn send(&self, text: String) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        tokio::time::timeout(WRITE_MAX, write_all(&self.stream, text.as_bytes()))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(TimedOut, "the miner reads nothing")))
    }
}

/// Waits for bytes; 0 at the end. Dropping it loses none.
async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == WouldBlock => {}
            read => return read,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An error that belongs to no request.
pub(super) fn error_line(message: &str) -> String {
    serde_json::json!({ "id": null, "result": null, "error": [20, message, null] }).to_string()
}
