//! The log under power loss and failing disks: every acknowledged entry is there, none half.
//!
//! The disk is cut at every operation of a run, and what was not synced is dropped, torn or reordered
//! by seed; then writes and syncs fail, one by one. `CAIRN_TEST_BUDGET=full` tries more seeds.

use cairn_database::entry::{Change, EntryBuilder, Kind, Membership, Stamp};
use cairn_database::log::{Group, LocalLog, Log, LogError, LogOptions, Lsn, Outcome};
use cairn_storage::disk::{FakeDisk, Fault, Loss, Operation};
use std::path::Path;
use std::sync::Arc;

const GROUP: Group = Group(2);

fn seeds() -> u64 {
    match std::env::var("CAIRN_TEST_BUDGET").as_deref() {
        Ok("full") => 40,
        _ => 3,
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        block_bytes: 512,
        prepare_ahead: false,
    }
}

fn open(disk: &FakeDisk) -> Result<LocalLog, LogError> {
    LocalLog::open(Arc::new(disk.clone()), Path::new("/log"), options(), &[])
}

fn membership() -> Vec<u8> {
    let mut builder = EntryBuilder::new(Kind::Membership, [1; 16]);
    let change = Change::Membership(Membership::alone(*b"me", None));
    builder.push(&change).expect("it fits");
    builder.finish(Stamp::default()).expect("it is one")
}

/// Entry `number`, of one to four blocks.
fn payload(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + (number as usize * 197) % 1700, number as u8);
    bytes
}

/// Numbers of the acknowledged commits with the count of operations that were done by then.
type Acknowledged = Vec<(u64, u64)>;

/// Commits numbers from `from` on until `to` or a failure; three proposals share a batch now and then.
fn commit(log: &LocalLog, disk: &FakeDisk, from: u64, to: u64, acknowledged: &mut Acknowledged) {
    let mut number = from;
    let mut failed = false;
    while number < to && !failed {
        let together = if number.is_multiple_of(7) { 3 } else { 1 };
        let end = (number + together).min(to);
        let tickets: Vec<_> = (number..end)
            .map(|number| (number, log.propose(GROUP, payload(number))))
            .collect();
        for (number, ticket) in tickets {
            match ticket.map(|ticket| ticket.wait()) {
                Ok(Outcome::Committed { lsn, .. }) => {
                    assert!(!failed, "commit {number} was acknowledged after a failure");
                    assert_eq!(lsn, Lsn(number + 1));
                    acknowledged.push((number, disk.operations()));
                }
                Ok(Outcome::Unknown) | Err(LogError::Stopped { .. }) => failed = true,
                other => panic!("commit {number}: {other:?}"),
            }
        }
        number = end;
    }
}

/// Opens what a stop left and checks it: a beginning of the numbers, whole, and at least `least` long.
fn check(disk: &FakeDisk, least: u64, what: &str) -> (LocalLog, u64) {
    let log = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    if log.groups().is_empty() {
        assert_eq!(least, 0, "{what}: the group is gone");
        return (log, 0);
    }
    let records = log.read(GROUP, Lsn(1), usize::MAX).expect("reads");
    for (number, record) in (0..).zip(&records) {
        assert!(record.payload == payload(number), "{what}: entry {number}");
    }
    let count = records.len() as u64;
    assert!(count >= least, "{what}: {count} of {least} are there");
    let marks = log.watermarks(GROUP).expect("there");
    assert_eq!(marks.committed, Lsn(count + 1), "{what}");
    (log, count)
}

/// As [`check`] where entries before 100 may be purged.
fn check_purged(disk: &FakeDisk, least: u64, what: &str) {
    let log = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let end = log.watermarks(GROUP).expect("there").committed;
    assert!(end.0 > least, "{what}: end {end}");
    let records = log.read(GROUP, Lsn(100), usize::MAX).expect("reads");
    assert_eq!(records.len() as u64, end.0 - 100, "{what}");
    for record in records {
        assert!(record.payload == payload(record.lsn.0 - 1), "{what}");
    }
}

#[test]
fn a_cut_at_every_write_of_200_commits_loses_nothing_that_was_acknowledged() {
    let disk = FakeDisk::new();
    disk.capture_every(1);
    let mut acknowledged = Vec::new();
    {
        let log = open(&disk).expect("opens");
        log.create_group(GROUP, membership()).expect("creates");
        commit(&log, &disk, 0, 200, &mut acknowledged);
        assert_eq!(acknowledged.len(), 200);
        let purge = log.purge_to(GROUP, Lsn(100)).expect("takes it");
        purge.wait().expect("purges");
        commit(&log, &disk, 200, 205, &mut acknowledged);
    }
    let images = disk.captured();
    assert!(images.len() > 350, "only {} images", images.len());
    let mut torn = 0;
    for (at, image) in &images {
        let least = acknowledged.iter().filter(|(_, done)| done <= at).count() as u64;
        let random = (0..seeds()).map(|seed| (Loss::Random, at * 1000 + seed));
        let losses = [(Loss::Nothing, 0), (Loss::Unsynced, 0)];
        for (loss, seed) in losses.into_iter().chain(random) {
            let what = format!("cut before operation {at}, {loss:?}, seed {seed}");
            let left = image.crashed(loss, seed);
            if least >= 200 {
                check_purged(&left, least, &what);
                continue;
            }
            let (log, count) = check(&left, least, &what);
            torn += u32::from(log.recovery().torn);
            // It goes on, and a second cut takes nothing either.
            if at % 5 == 0 && !log.groups().is_empty() {
                let mut more = Vec::new();
                commit(&log, &left, count, count + 2, &mut more);
                assert_eq!(more.len(), 2, "{what}");
                drop(log);
                for loss in [Loss::Unsynced, Loss::Random] {
                    check(&left.crashed(loss, seed), count + 2, &what);
                }
            }
        }
    }
    assert!(torn > 20, "only {torn} torn tails were seen");
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_acknowledged_and_a_reopen_recovers() {
    let dry = FakeDisk::new();
    let begun = {
        let log = open(&dry).expect("opens");
        log.create_group(GROUP, membership()).expect("creates");
        let begun = dry.operations();
        commit(&log, &dry, 0, 40, &mut Vec::new());
        begun
    };
    let total = dry.operations();
    let mut fired = 0;
    for at in begun + 1..total {
        let kinds = [Some(Operation::Write), Some(Operation::Sync), None];
        let faults = [(Fault::Io, false), (Fault::Full, true)];
        for (only, (fault, for_ever)) in kinds.into_iter().flat_map(|k| faults.map(|f| (k, f))) {
            let disk = FakeDisk::new();
            let mut acknowledged = Vec::new();
            {
                let log = open(&disk).expect("opens");
                log.create_group(GROUP, membership()).expect("creates");
                disk.fail(at, fault, only, for_ever);
                commit(&log, &disk, 0, 40, &mut acknowledged);
                let after = log.propose(GROUP, payload(99));
                if acknowledged.len() < 40 {
                    assert!(matches!(after, Err(LogError::Stopped { .. })), "{after:?}");
                }
            }
            fired += disk.faults_fired().min(1);
            disk.heal();
            let least = acknowledged.len() as u64;
            if least == 40 {
                continue;
            }
            let what = format!("{fault:?} of {only:?} at {at}, for ever: {for_ever}");
            for (loss, seed) in [(Loss::Unsynced, 0), (Loss::Random, at), (Loss::Nothing, 0)] {
                check(&disk.crashed(loss, seed), least, &what);
            }
            // The same system goes on: what it shows must be what the disk then has.
            let (log, count) = check(&disk, least, &what);
            let mut more = Vec::new();
            commit(&log, &disk, count, count + 3, &mut more);
            assert_eq!(more.len(), 3, "{what}");
            let cut = disk.crashed(Loss::Unsynced, 0);
            drop(log);
            check(&cut, count + 3, &what);
        }
    }
    assert!(fired > 300, "only {fired} faults were injected");
}
