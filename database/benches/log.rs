//! Commits a second of the local log at 1, 16 and 256 proposers, beside what the disk can do: a 4 KiB
//! write into an allocated file and its sync, in turns with the log in the same run.
//!
//! `cargo bench -p cairn-database --bench log [-- DIRECTORY [SECONDS]]`

use cairn_database::entry::{Change, EntryBuilder, Kind, Membership, Stamp, StorageId};
use cairn_database::log::{Group, LocalLog, Log, LogOptions, Outcome};
use cairn_storage::disk::{Disk, RealDisk};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const GROUP: Group = Group(1);
const ROUNDS: usize = 5;

fn membership() -> Vec<u8> {
    let mut builder = EntryBuilder::new(Kind::Membership, [1; 16]);
    let change = Change::Membership(Membership::alone(*b"me", None));
    builder.push(&change).expect("it fits");
    builder.finish(Stamp::default()).expect("it is one")
}

/// A transaction of TPC-B's size: three updates and an insert.
fn entry() -> Vec<u8> {
    let mut builder = EntryBuilder::new(Kind::Commit, [1; 16]);
    for table in 1..=4 {
        let change = Change::RowPut {
            storage: StorageId(table),
            key: &[7; 9],
            row: &[1; 100],
        };
        builder.push(&change).expect("it fits");
    }
    builder.finish(Stamp::default()).expect("it is one")
}

/// Syncs a second of the bare disk.
fn probe(directory: &Path, time: Duration) -> f64 {
    let path = directory.join("probe");
    let file = RealDisk.create(&path).expect("creates");
    file.write_at(0, &vec![0; 16 << 20]).expect("writes");
    file.sync().expect("syncs");
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        let at = count * 4096 % (16 << 20);
        file.write_at(at, &[count as u8; 4096]).expect("writes");
        file.sync().expect("syncs");
        count += 1;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Commits a second and syncs a second.
fn commits(directory: &Path, proposers: usize, block_bytes: u32, time: Duration) -> (f64, f64) {
    let options = LogOptions {
        block_bytes,
        ..LogOptions::default()
    };
    let log = LocalLog::open(Arc::new(RealDisk), directory, options, &[]).expect("opens");
    if log.groups().is_empty() {
        log.create_group(GROUP, membership()).expect("creates");
    }
    log.take_sync_times();
    let entry = entry();
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let run = || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let ticket = log.propose(GROUP, entry.clone()).expect("takes it");
                assert!(matches!(ticket.wait(), Outcome::Committed { .. }));
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..proposers).map(|_| scope.spawn(run)).collect();
        let mut syncs = 0;
        while start.elapsed() < time {
            std::thread::sleep(Duration::from_millis(50));
            syncs += log.take_sync_times().len() as u64;
        }
        stop.store(true, Ordering::Relaxed);
        let mut counts: Vec<u64> = threads
            .into_iter()
            .map(|thread| thread.join().expect("ends"))
            .collect();
        counts.push(syncs);
        counts
    });
    let seconds = start.elapsed().as_secs_f64();
    let (syncs, counts) = counts.split_last().expect("the syncs are there");
    let end = log.watermarks(GROUP).expect("there").committed;
    let purge = log.purge_to(GROUP, end).expect("takes it");
    purge.wait().expect("purges");
    let total: u64 = counts.iter().sum();
    (total as f64 / seconds, *syncs as f64 / seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let own = tempfile::tempdir_in(".").expect("a directory");
    let directory = arguments.first().map_or(own.path(), Path::new);
    let seconds = arguments.get(1).and_then(|text| text.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(1.0));
    println!("proposers  block  probe syncs/s  log syncs/s  commits/s  log syncs : probe");
    for proposers in [1, 16, 256] {
        for block in [512, 4096] {
            let mut rows = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                let bare = probe(directory, time);
                let log = directory.join(format!("log-{block}"));
                let (commits, syncs) = commits(&log, proposers, block, time);
                for (row, value) in rows.iter_mut().zip([bare, syncs, commits, syncs / bare]) {
                    row.push(value);
                }
            }
            let [bare, syncs, commits, ratio] = rows.map(median);
            println!(
                "{proposers:9}  {block:5}  {bare:13.0}  {syncs:11.0}  {commits:9.0}  {ratio:.2}"
            );
        }
    }
}
