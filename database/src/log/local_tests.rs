//! What the log of one node promises while nothing fails, and what it says of damaged files.

use super::*;
use crate::entry::{Change, EntryBuilder, Membership, Stamp};
use cairn_storage::disk::FakeDisk;
use std::path::PathBuf;

const GROUP: Group = Group(1);
const OTHER: Group = Group(9);

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 32 << 10,
        block_bytes: 512,
        prepare_ahead: true,
    }
}

fn membership() -> Vec<u8> {
    let mut builder = EntryBuilder::new(Kind::Membership, [1; 16]);
    builder
        .push(&Change::Membership(Membership::alone(*b"me", None)))
        .unwrap();
    builder.finish(Stamp::default()).unwrap()
}

fn directory() -> PathBuf {
    "/log".into()
}

fn try_open(disk: &FakeDisk, floors: &[(Group, Lsn)]) -> Result<LocalLog> {
    LocalLog::open(Arc::new(disk.clone()), &directory(), options(), floors)
}

fn open(disk: &FakeDisk) -> LocalLog {
    try_open(disk, &[]).unwrap()
}

fn fresh() -> (FakeDisk, LocalLog) {
    let disk = FakeDisk::new();
    let log = open(&disk);
    log.create_group(GROUP, membership()).unwrap();
    (disk, log)
}

fn commit(log: &LocalLog, payload: &[u8]) -> Lsn {
    match log.propose(GROUP, payload.to_vec()).unwrap().wait() {
        Outcome::Committed { lsn, .. } => lsn,
        other => panic!("{other:?}"),
    }
}

fn done(receipt: Result<Receipt>) {
    receipt.unwrap().wait().unwrap();
}

fn refused(receipt: Result<Receipt>) -> String {
    receipt.unwrap().wait().unwrap_err().to_string()
}

fn record(lsn: u64, term: u64, payload: &[u8]) -> Record {
    Record {
        lsn: Lsn(lsn),
        term: Term(term),
        payload: payload.to_vec(),
    }
}

#[test]
fn many_proposers_of_two_groups_share_syncs_and_find_their_entries_again() {
    let (disk, log) = fresh();
    log.create_group(OTHER, membership()).unwrap();
    let before = disk.operations();
    std::thread::scope(|scope| {
        for proposer in 0..8u8 {
            let log = &log;
            scope.spawn(move || {
                let group = if proposer % 2 == 0 { GROUP } else { OTHER };
                for number in 0..25u8 {
                    let payload = vec![proposer, number, 0, 0];
                    let ticket = log.propose(group, payload.clone()).unwrap();
                    let Outcome::Committed { term, lsn } = ticket.wait() else {
                        panic!("a local log leads for ever");
                    };
                    let found = &log.read(group, lsn, 1).unwrap()[0];
                    assert_eq!(*found, record(lsn.0, term.0, &payload));
                }
            });
        }
    });
    assert!(disk.operations() > before);
    let all = |log: &LocalLog| {
        [GROUP, OTHER].map(|group| {
            let marks = log.watermarks(group).unwrap();
            assert_eq!((marks.durable, marks.committed), (Lsn(101), Lsn(101)));
            log.read(group, Lsn(0), usize::MAX).unwrap()
        })
    };
    let written = all(&log);
    for (index, records) in written.iter().enumerate() {
        for proposer in (0..8).filter(|proposer| proposer % 2 == index as u8) {
            let own: Vec<u8> = records[1..]
                .iter()
                .filter(|record| record.payload[0] == proposer)
                .map(|record| record.payload[1])
                .collect();
            assert_eq!(own, (0..25).collect::<Vec<u8>>(), "its own order");
        }
    }
    drop(log);
    let log = open(&disk);
    assert_eq!(log.recovery().generation, 2);
    assert_eq!(all(&log), written);
    assert_eq!(log.groups(), [GROUP, OTHER]);
    assert!(matches!(
        log.propose(Group(3), vec![]),
        Err(LogError::NoGroup(3))
    ));
    assert!(log.create_group(GROUP, membership()).is_err());
    assert!(log.create_group(Group(3), vec![0]).is_err());
}

#[test]
fn a_follower_appends_truncates_votes_commits_and_installs() {
    let (disk, log) = fresh();
    commit(&log, b"own");
    let more = vec![record(2, 4, b"a"), record(3, 4, b"b"), record(4, 5, b"c")];
    done(log.append(GROUP, more));
    let marks = log.watermarks(GROUP).unwrap();
    assert_eq!((marks.durable, marks.committed), (Lsn(5), Lsn(2)));
    assert!(refused(log.append(GROUP, vec![record(6, 5, b"")])).contains("does not follow"));
    assert!(refused(log.append(GROUP, vec![record(5, 4, b"")])).contains("does not follow"));
    assert!(refused(log.truncate_to(GROUP, Lsn(1))).contains("committed 2"));
    assert!(refused(log.purge_to(GROUP, Lsn(3))).contains("committed 2"));
    assert!(refused(log.commit_to(GROUP, Lsn(6))).contains("end 5"));
    done(log.commit_to(GROUP, Lsn(3)));
    done(log.truncate_to(GROUP, Lsn(4)));
    done(log.append(GROUP, vec![record(4, 6, b"d")]));
    done(log.save_vote(GROUP, b"vote".to_vec()));
    drop(log);
    let log = open(&disk);
    let marks = log.watermarks(GROUP).unwrap();
    assert_eq!((marks.durable, marks.committed), (Lsn(5), Lsn(3)));
    assert_eq!(log.vote(GROUP).unwrap(), b"vote");
    let point = log.snapshot(GROUP).unwrap();
    assert_eq!((point.end, point.term), (Lsn(3), Term(4)));
    let read = log.read(GROUP, Lsn(3), usize::MAX).unwrap();
    assert_eq!(read, [record(3, 4, b"b"), record(4, 6, b"d")]);
    done(log.purge_to(GROUP, Lsn(3)));
    let purged = log.read(GROUP, Lsn(2), 1).unwrap_err();
    assert!(
        matches!(purged, LogError::Purged { base: 3, .. }),
        "{purged}"
    );
    let point = Point {
        end: Lsn(50),
        term: Term(7),
    };
    assert!(refused(log.install(GROUP, Point::default())).contains("committed 3"));
    done(log.install(GROUP, point));
    done(log.append(GROUP, vec![record(50, 7, b"e")]));
    drop(log);
    let log = open(&disk);
    assert_eq!(log.read(GROUP, Lsn(50), 1).unwrap(), [record(50, 7, b"e")]);
    assert_eq!(log.watermarks(GROUP).unwrap().committed, Lsn(50));
    let known = log.watermarks(GROUP).unwrap();
    done(log.commit_to(GROUP, Lsn(51)));
    let now = log.watch(GROUP, known, Duration::from_secs(20)).unwrap();
    assert_eq!(now.committed, Lsn(51));
}

fn segments(disk: &FakeDisk) -> Vec<String> {
    let mut names = disk.list(&directory()).unwrap();
    names.retain(|name| name.ends_with(".log"));
    names
}

#[test]
fn segments_roll_are_purged_and_used_again() {
    let (disk, log) = fresh();
    done(log.save_vote(GROUP, vec![3; 30]));
    for round in 0..6u64 {
        for _ in 0..60 {
            commit(&log, &[round as u8; 700]);
        }
        assert!(segments(&disk).len() > 1);
        let end = log.watermarks(GROUP).unwrap().committed;
        done(log.purge_to(GROUP, Lsn(end.0 - 5)));
        assert!(segments(&disk).len() <= 2, "{:?}", segments(&disk));
        let kept = log.read(GROUP, Lsn(end.0 - 5), usize::MAX).unwrap();
        assert_eq!(kept.len(), 5);
    }
    let kept = segments(&disk);
    assert!(*kept[0] > *"0000000000000008.log", "{kept:?}");
    drop(log);
    let log = open(&disk);
    assert_eq!(log.vote(GROUP).unwrap(), [3; 30]);
    let marks = log.watermarks(GROUP).unwrap();
    assert_eq!(marks.committed, Lsn(361));
    assert_eq!(log.read(GROUP, Lsn(356), usize::MAX).unwrap().len(), 5);
    assert_eq!(commit(&log, b"more"), Lsn(361));
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let (disk, log) = fresh();
    commit(&log, b"small");
    let large = vec![5; 200 << 10];
    let lsn = commit(&log, &large);
    commit(&log, b"behind");
    drop(log);
    let log = open(&disk);
    assert_eq!(log.read(GROUP, lsn, 1).unwrap()[0].payload, large);
    let refused = log.propose(GROUP, vec![0; ENTRY_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(LogError::TooLarge { .. })));
}

#[test]
fn an_idle_log_seals_and_a_floor_above_its_end_is_damage() {
    let (disk, log) = fresh();
    commit(&log, b"x");
    let before = disk.operations();
    let deadline = Instant::now() + Duration::from_secs(20);
    while disk.operations() < before + 2 {
        assert!(Instant::now() < deadline, "no seal");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(log);
    drop(try_open(&disk, &[(GROUP, Lsn(2))]).unwrap());
    for floors in [[(GROUP, Lsn(3))], [(OTHER, Lsn(1))]] {
        let before = disk.operations();
        let refused = try_open(&disk, &floors).unwrap_err();
        assert!(matches!(refused, LogError::Damaged(_)), "{refused}");
        assert_eq!(disk.operations(), before, "nothing was touched");
    }
}

/// One flipped bit anywhere in the written part is noticed; only in the very last frame it may be taken
/// for a torn tail, and that frame is a seal.
#[test]
fn a_flipped_bit_under_an_acknowledged_commit_is_damage() {
    let (disk, log) = fresh();
    for number in 0..10u8 {
        commit(&log, &[number; 600]);
    }
    drop(log);
    let path = directory().join("0000000000000000.log");
    let bytes = disk.contents(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let last = used - used % 512;
    let (mut damaged, mut torn) = (0, 0);
    for offset in (0..used as u64).step_by(37) {
        let copy = disk.crashed(cairn_storage::disk::Loss::Nothing, 0);
        assert!(copy.flip(&path, offset, 0x10));
        match try_open(&copy, &[]) {
            Err(LogError::Damaged(_)) => damaged += 1,
            Err(other) => panic!("{other}"),
            Ok(log) => {
                let records = log.read(GROUP, Lsn(0), usize::MAX).unwrap();
                assert_eq!(records.len(), 11, "offset {offset}: a commit is gone");
                for (number, record) in (0..).zip(&records[1..]) {
                    assert_eq!(record.payload, [number; 600]);
                }
                // Padding belongs to no frame.
                torn += u32::from(offset >= last as u64);
            }
        }
    }
    assert!(damaged > 100 && torn > 0, "{damaged} {torn}");
}

#[test]
fn a_missing_or_foreign_segment_is_damage() {
    let (disk, log) = fresh();
    for _ in 0..150 {
        commit(&log, &[1; 700]);
    }
    drop(log);
    let names = segments(&disk);
    assert!(names.len() > 3);
    for name in &names[1..] {
        let copy = disk.crashed(cairn_storage::disk::Loss::Nothing, 0);
        copy.remove(&directory().join(name)).unwrap();
        let outcome = try_open(&copy, &[(GROUP, Lsn(151))]);
        assert!(matches!(outcome, Err(LogError::Damaged(_))), "{name}");
    }
    // Without the first segment the entries in it are missing.
    disk.remove(&directory().join(&names[0])).unwrap();
    let refused = try_open(&disk, &[]).unwrap_err().to_string();
    assert!(refused.contains("are in no segment"), "{refused}");
}

/// Any bytes instead of any part of the files: told as damage or, at the end, dropped; never a panic,
/// never another commit, never a commit less that had a frame behind it.
#[test]
fn garbage_in_the_files_is_told_and_never_served() {
    let (disk, log) = fresh();
    for number in 0..20u8 {
        commit(&log, &[number; 300]);
    }
    drop(log);
    let path = directory().join("0000000000000000.log");
    let (mut damaged, mut dropped) = (0, 0);
    for seed in 0..400u64 {
        let mut choice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            choice ^= choice << 13;
            choice ^= choice >> 7;
            choice ^= choice << 17;
            choice
        };
        let copy = disk.crashed(cairn_storage::disk::Loss::Nothing, 0);
        let file = copy.open(&path).unwrap();
        let (at, length) = (next() % (26 << 9), 1 + next() % 1500);
        let style = next() % 3;
        let garbage: Vec<u8> = match style {
            0 => (0..length).map(|_| next() as u8).collect(),
            1 => vec![0; length as usize],
            // Frames of other places.
            _ => {
                let from = (next() % 24) << 9;
                let mut bytes = vec![0; length as usize];
                file.read_at(from, &mut bytes).unwrap();
                bytes
            }
        };
        let at = if style == 2 { at & !511 } else { at };
        file.write_at(at, &garbage).unwrap();
        drop(file);
        match try_open(&copy, &[]) {
            Err(LogError::Damaged(_)) => damaged += 1,
            Err(other) => panic!("seed {seed}: {other}"),
            Ok(log) => {
                let records = log.read(GROUP, Lsn(0), usize::MAX).unwrap();
                for (number, record) in (0..).zip(&records[1..]) {
                    assert_eq!(record.payload, [number; 300], "seed {seed}");
                }
                // What was wiped to the end looks like what was never written.
                let wiped = at + length > 22 << 9;
                assert!(
                    records.len() == 21 || wiped,
                    "seed {seed}: {}",
                    records.len()
                );
                dropped += u32::from(records.len() < 21);
            }
        }
    }
    assert!(damaged > 200, "{damaged} {dropped}");
}

#[test]
fn any_records_are_read_or_refused() {
    use super::super::record::Items;
    use proptest::prelude::*;
    proptest!(ProptestConfig::with_cases(500), |(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0..8u8)| {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = tag;
        }
        let mut items = Items::new(&bytes);
        let mut last = 0;
        while let Ok(Some((_, _, end))) = items.next() {
            prop_assert!(end > last && end <= bytes.len());
            last = end;
        }
    });
}
