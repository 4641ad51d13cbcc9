//! C06: the safety file over a disk that loses power, tears and fails. What `write` acknowledged is
//! there, or the damage is told; nothing older is ever taken for the last promise.

use std::path::Path;

use cairn_storage::StorageError;
use cairn_storage::disk::{FakeDisk, Fault, Loss, Operation};
use cairn_storage::safety::{LastPromise, SAFETY_RECORD_BYTES_MAX, SafetyFile};

const KEY: [u8; 32] = [7; 32];

fn path() -> &'static Path {
    Path::new("/keys/validator.safety")
}

fn record(number: u64) -> Vec<u8> {
    // Lengths differ, so that a longer record leaves its tail behind a shorter one.
    let length = 100 + (number * 977 % 3_000) as usize;
    let mut bytes = vec![number as u8; length];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(record[..8].try_into().unwrap())
}

fn open(disk: &FakeDisk) -> (SafetyFile, LastPromise) {
    SafetyFile::open(disk, path(), KEY).unwrap()
}

#[test]
fn the_last_record_comes_back() {
    let disk = FakeDisk::new();
    let (mut file, last) = open(&disk);
    assert_eq!(last, LastPromise::New);
    for number in 1..=7 {
        file.write(&record(number)).unwrap();
        drop(file);
        let (again, last) = open(&disk);
        assert_eq!(last, LastPromise::Record(record(number)));
        file = again;
    }
    file.write(&vec![1; SAFETY_RECORD_BYTES_MAX]).unwrap();
    let error = file
        .write(&vec![1; SAFETY_RECORD_BYTES_MAX + 1])
        .unwrap_err();
    assert!(error.to_string().contains("exceeds"), "{error}");
}

#[test]
fn one_process_has_it_and_one_key() {
    let disk = FakeDisk::new();
    let (mut file, _) = open(&disk);
    file.write(&record(1)).unwrap();
    let taken = SafetyFile::open(&disk, path(), KEY).unwrap_err();
    assert!(taken.to_string().contains("another process"), "{taken}");
    drop(file);
    let foreign = SafetyFile::open(&disk, path(), [8; 32]).unwrap_err();
    assert!(foreign.to_string().contains("belongs to"), "{foreign}");
}

/// Power fails at every operation of ten writes, with every kind of loss.
#[test]
fn an_acknowledged_record_survives_power_loss_or_its_loss_is_told() {
    let (mut images, mut whole, mut told) = (0u64, 0u64, 0u64);
    let disk = FakeDisk::new();
    disk.capture_every(1);
    let (mut file, _) = open(&disk);
    let mut acknowledged_after = vec![(disk.operations(), 0)];
    for number in 1..=10 {
        file.write(&record(number)).unwrap();
        acknowledged_after.push((disk.operations(), number));
    }
    for (operation, at_crash) in disk.captured() {
        let before = acknowledged_after.iter().rev();
        let mut before = before.skip_while(|(operations, _)| *operations > operation);
        let acknowledged = before.next().map_or(0, |(_, number)| *number);
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Random] {
            for seed in 0..20 {
                images += 1;
                let crashed = at_crash.crashed(loss, seed);
                let (_, last) = open(&crashed);
                match last {
                    LastPromise::New => assert_eq!(acknowledged, 0),
                    LastPromise::Record(last) => {
                        whole += 1;
                        let number = number_of(&last);
                        assert!(
                            number == acknowledged || number == acknowledged + 1,
                            "{number} after {acknowledged}"
                        );
                    }
                    LastPromise::Damaged { older } => {
                        told += 1;
                        let number = older.as_deref().map_or(0, number_of);
                        assert_eq!(number, acknowledged, "the write under way tore");
                    }
                }
            }
        }
    }
    println!("{images} images: {whole} with a whole record, {told} with a torn one");
    assert!(whole > 200 && told > 20);
}

/// D03: each flipped byte of either slot is told, or it is of no slot's record.
#[test]
fn a_flipped_byte_is_told() {
    let disk = FakeDisk::new();
    let (mut file, _) = open(&disk);
    file.write(&record(1)).unwrap();
    file.write(&record(2)).unwrap();
    drop(file);
    let newest = 68 + record(2).len() as u64;
    for offset in (0..newest).chain(64 * 1024..64 * 1024 + 100) {
        let copy = disk.crashed(Loss::Nothing, 0);
        assert!(copy.flip(path(), offset, 0x10));
        let (_, last) = open(&copy);
        assert!(matches!(last, LastPromise::Damaged { .. }), "byte {offset}");
    }
}

#[test]
fn after_a_failed_write_the_file_promises_nothing_more() {
    for operation in [Operation::Write, Operation::Sync] {
        for fault in [Fault::Io, Fault::Full] {
            let disk = FakeDisk::new();
            let (mut file, _) = open(&disk);
            file.write(&record(1)).unwrap();
            disk.fail(disk.operations() + 1, fault, Some(operation), false);
            let failed = file.write(&record(2)).unwrap_err();
            assert!(matches!(failed, StorageError::Io { .. }), "{failed}");
            let refused = file.write(&record(3)).unwrap_err();
            assert!(refused.to_string().contains("earlier write"), "{refused}");
        }
    }
}
