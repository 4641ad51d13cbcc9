//! A segmented log through crashes, injected errors and flipped bytes, on the simulated disk.
//!
//! One property: after any crash the log holds an unbroken beginning of what was appended, at least
//! all that was synced; damage of synced bytes is told and never cut off.

use cairn_storage::StorageError;
use cairn_storage::disk::{FakeDisk, Fault, Loss, Operation};
use cairn_storage::segment::{Position, Recovery, SegmentLog, SegmentOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SMALL: SegmentOptions = SegmentOptions {
    segment_bytes: 3000,
};

fn open(disk: &FakeDisk, floor: Position) -> cairn_storage::Result<(SegmentLog, Recovery)> {
    SegmentLog::open(
        Arc::new(disk.clone()),
        PathBuf::from("/log"),
        "test",
        SMALL,
        floor,
    )
}

fn payload(number: u32) -> Vec<u8> {
    let length = 10 + (number.wrapping_mul(2_654_435_761) >> 16) % 900;
    (0..length)
        .map(|i| (number.wrapping_mul(31).wrapping_add(i)) as u8)
        .collect()
}

fn records(log: &SegmentLog) -> Vec<Vec<u8>> {
    let frames = log.reader().frames(Position::default());
    frames.map(|frame| frame.unwrap().payload).collect()
}

/// Appends numbered records, syncing every third; stops at the first error. Returns how many were
/// appended and how many of them were synced.
fn run(disk: &FakeDisk, count: u32, mut note: impl FnMut(u32, u32)) -> (u32, u32) {
    let (mut appended, mut synced) = (0, 0);
    let Ok((mut log, _)) = open(disk, Position::default()) else {
        return (0, 0);
    };
    for number in 0..count {
        if log.append(1, &[&payload(number)]).is_err() {
            // Its bytes may be there, so it counts as attempted.
            return (number + 1, synced);
        }
        appended = number + 1;
        note(appended, synced);
        if number % 3 == 2 {
            if log.sync().is_err() {
                return (appended, synced);
            }
            synced = appended;
            note(appended, synced);
        }
    }
    (appended, synced)
}

#[test]
fn every_crash_leaves_an_unbroken_beginning_with_all_that_was_synced() {
    let disk = FakeDisk::new();
    disk.capture_every(1);
    let mut moments: Vec<(u64, u32, u32)> = vec![(0, 0, 0)];
    let probe = disk.clone();
    run(&disk, 60, |appended, synced| {
        moments.push((probe.operations(), appended, synced))
    });
    let mut images = 0;
    let mut torn = 0;
    for (at, stopped) in disk.captured() {
        let before = moments.partition_point(|moment| moment.0 <= at);
        let (_, appended, synced) = moments[before - 1];
        for seed in 0..40u64 {
            let loss = match seed {
                0 => Loss::Nothing,
                1 => Loss::Unsynced,
                _ => Loss::Random,
            };
            let image = stopped.crashed(loss, at * 1000 + seed);
            let (mut log, recovery) = open(&image, Position::default())
                .unwrap_or_else(|error| panic!("operation {at} seed {seed}: {error}"));
            let found = records(&log);
            let count = found.len() as u32;
            assert!(
                count >= synced && count <= appended + 1,
                "{synced} <= {count} <= {appended}+1"
            );
            for (number, record) in found.iter().enumerate() {
                assert_eq!(*record, payload(number as u32));
            }
            torn += u32::from(recovery.cut_bytes > 0);
            images += 1;
            // The log goes on from there and a second opening agrees.
            log.append(2, &[b"after", b" the crash"]).unwrap();
            log.sync().unwrap();
            let (log, _) = open(&image.crashed(Loss::Unsynced, 0), Position::default()).unwrap();
            assert_eq!(records(&log).last().unwrap(), b"after the crash");
            assert_eq!(records(&log).len(), found.len() + 1);
        }
    }
    println!("{images} power-loss images of a segment log, {torn} with a torn tail");
    assert!(
        images >= 3000 && torn >= 300,
        "too little was tested: {images} images, {torn} torn"
    );
}

#[test]
fn any_flipped_byte_before_the_last_sync_is_damage_and_is_not_cut() {
    let disk = FakeDisk::new();
    run(&disk, 12, |_, _| ());
    let (log, _) = open(&disk, Position::default()).unwrap();
    let end = log.end();
    let whole = records(&log);
    drop(log);
    let (mut flips, mut last_group) = (0, 0);
    for segment in 0..=end.segment {
        let path = PathBuf::from(format!("/log/{segment:08}.seg"));
        let length = disk.contents(&path).unwrap().len() as u64;
        for offset in (0..length).step_by(7) {
            let image = disk.crashed(Loss::Nothing, 0);
            assert!(image.flip(&path, offset, 0x10));
            let bytes = image.contents(&path);
            match open(&image, Position::default()).map(|(log, _)| records(&log)) {
                Err(StorageError::Damaged { what, .. }) => {
                    assert!(what.contains(".seg"), "{what}");
                    assert_eq!(image.contents(&path), bytes, "damage was cut off");
                }
                Err(other) => panic!("segment {segment} offset {offset}: {other}"),
                // Only the last group, after which nothing was written, may pass as a torn tail; and
                // not for a caller who knows how far the log was durable, as the chain store does.
                Ok(found) => {
                    assert!(segment == end.segment && found.len() + 3 >= whole.len());
                    last_group += 1;
                    let strict = disk.crashed(Loss::Nothing, 0);
                    assert!(strict.flip(&path, offset, 0x10));
                    let (log, _) = open(&strict, end).unwrap();
                    let frames = log.reader().frames(Position::default());
                    let error = frames
                        .filter_map(Result::err)
                        .next()
                        .expect("reading tells it");
                    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
                }
            }
            flips += 1;
        }
    }
    println!("{flips} flipped bytes in a segment log, {last_group} of them in its last group");
    assert!(flips > 500 && last_group > 0 && last_group < flips / 2);
}

#[test]
fn a_log_shorter_than_its_caller_knows_is_damage() {
    let disk = FakeDisk::new();
    run(&disk, 12, |_, _| ());
    let (log, _) = open(&disk, Position::default()).unwrap();
    let mut beyond = log.end();
    drop(log);
    beyond.offset += 1;
    let refused = open(&disk, beyond).unwrap_err();
    assert!(matches!(refused, StorageError::Damaged { .. }), "{refused}");
    let gone = open(&FakeDisk::new(), beyond).unwrap_err();
    assert!(gone.to_string().contains("gone"), "{gone}");
}

#[test]
fn an_error_at_any_operation_stops_the_log_and_keeps_what_was_synced() {
    let reference = FakeDisk::new();
    run(&reference, 30, |_, _| ());
    let mut fired = 0;
    for at in 1..=reference.operations() {
        for fault in [Fault::Io, Fault::Full] {
            for only in [None, Some(Operation::Write), Some(Operation::Sync)] {
                let disk = FakeDisk::new();
                disk.fail(at, fault, only, false);
                let (attempted, synced) = run(&disk, 30, |_, _| ());
                fired += disk.faults_fired();
                for loss in [Loss::Nothing, Loss::Unsynced, Loss::Random] {
                    let image = disk.crashed(loss, at);
                    let (log, _) = open(&image, Position::default()).unwrap();
                    let count = records(&log).len() as u32;
                    assert!(
                        synced <= count && count <= attempted,
                        "{synced} {count} {attempted}"
                    );
                }
            }
        }
    }
    println!("{fired} injected errors in a segment log");
    assert!(fired > 300);
}

#[test]
fn after_a_failure_nothing_more_is_taken() {
    let disk = FakeDisk::new();
    let (mut log, _) = open(&disk, Position::default()).unwrap();
    log.append(1, &[b"one"]).unwrap();
    disk.fail(1, Fault::Full, Some(Operation::Sync), false);
    assert!(log.sync().is_err());
    let refused = log.append(1, &[b"two"]).unwrap_err();
    assert!(matches!(refused, StorageError::Stopped { .. }), "{refused}");
    assert!(matches!(log.sync(), Err(StorageError::Stopped { .. })));
}

#[test]
fn pruned_segments_are_gone_and_said_to_be() {
    let disk = FakeDisk::new();
    let (mut log, _) = open(&disk, Position::default()).unwrap();
    let places: Vec<Position> = (0..40)
        .map(|number| log.append(1, &[&payload(number)]).unwrap())
        .collect();
    log.sync().unwrap();
    let before = log.bytes().unwrap();
    assert!(log.end().segment >= 4);
    assert_eq!(log.prune_before(3).unwrap(), 3);
    assert!(log.bytes().unwrap() < before);
    let reader = log.reader();
    for (number, place) in places.iter().enumerate() {
        match reader.read(*place) {
            Ok(frame) => assert_eq!(frame.payload, payload(number as u32)),
            Err(StorageError::Pruned { .. }) => assert!(place.segment < 3),
            Err(other) => panic!("{other}"),
        }
    }
    drop(log);
    let (log, recovery) = open(&disk.crashed(Loss::Unsynced, 0), Position::default()).unwrap();
    assert_eq!(recovery.first_segment, 3);
    let kept = places.iter().filter(|place| place.segment >= 3).count();
    assert_eq!(log.reader().frames(log.reader().start()).count(), kept);
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let disk = FakeDisk::new();
    run(&disk, 40, |_, _| ());
    cairn_storage::disk::Disk::remove(&disk, Path::new("/log/00000001.seg")).unwrap();
    let refused = open(&disk, Position::default()).unwrap_err();
    assert!(refused.to_string().contains("00000001.seg"), "{refused}");
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let disk = FakeDisk::new();
    let (mut log, _) = open(&disk, Position::default()).unwrap();
    log.append(1, &[b"small"]).unwrap();
    let large = vec![7; 10_000];
    let place = log.append(1, &[&large]).unwrap();
    assert_eq!(place.segment, 1);
    assert_eq!(log.append(1, &[b"next"]).unwrap().segment, 2);
    assert_eq!(log.reader().read(place).unwrap().payload, large);
}
