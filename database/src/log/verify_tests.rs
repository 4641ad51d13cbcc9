//! A log with its tree verifies, and each thing that does not hold is told.

use super::*;
use crate::entry::{Change, CommitTs, EntryBuilder, Kind, Membership, Stamp, StorageId};
use crate::log::{LocalLog, Log, LogOptions, Outcome};
use cairn_storage::disk::FakeDisk;

const GROUP: Group = Group(4);

fn entry(kind: Kind, change: &Change<'_>, at: u64) -> Vec<u8> {
    let mut builder = EntryBuilder::new(kind, [at as u8; 16]);
    builder.push(change).unwrap();
    let commit_ts = CommitTs(at);
    let stamp = Stamp {
        commit_ts,
        ..Stamp::default()
    };
    builder.finish(stamp).unwrap()
}

fn row(at: u64) -> Vec<u8> {
    let storage = StorageId(1);
    let key = &at.to_be_bytes();
    entry(
        Kind::Commit,
        &Change::RowPut {
            storage,
            key,
            row: b"r",
        },
        at,
    )
}

/// A log of `entries` after its membership, with tiles.
fn written(entries: impl Iterator<Item = Vec<u8>>) -> (FakeDisk, Arc<dyn Disk>, Frontier) {
    let fake = FakeDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(fake.clone());
    let log = LocalLog::open(disk.clone(), Path::new("/log"), LogOptions::default(), &[]).unwrap();
    let first = Change::Membership(Membership::alone(*b"me", None));
    let first = entry(Kind::Membership, &first, 1);
    let mut tiles = TileFiles::open(disk.clone(), "/tree".into(), Frontier::default()).unwrap();
    tiles.push(Entry::decode(&first).unwrap().leaf()).unwrap();
    log.create_group(GROUP, first).unwrap();
    for payload in entries {
        if let Ok(entry) = Entry::decode(&payload) {
            tiles.push(entry.leaf()).unwrap();
        }
        let outcome = log.propose(GROUP, payload).unwrap().wait();
        assert!(matches!(outcome, Outcome::Committed { .. }));
    }
    tiles.sync().unwrap();
    let frontier = tiles.frontier().clone();
    (fake, disk, frontier)
}

fn run(disk: &Arc<dyn Disk>, frontier: &Frontier) -> Result<LogReport> {
    let tree = (GROUP, Path::new("/tree"), frontier.clone());
    verify(disk, Path::new("/log"), &[tree])
}

fn told(disk: &Arc<dyn Disk>, frontier: &Frontier) -> String {
    run(disk, frontier).unwrap_err().to_string()
}

#[test]
fn a_whole_log_verifies_and_nothing_is_changed() {
    let (fake, disk, frontier) = written((2..300).map(row));
    let before = fake.operations();
    let report = run(&disk, &frontier).unwrap();
    assert_eq!(fake.operations(), before);
    let group = &report.groups[&GROUP];
    assert_eq!(
        (group.start, group.end, group.changes),
        (Lsn(0), Lsn(299), 299)
    );
    assert_eq!(group.last.unwrap().commit_ts, CommitTs(299));
    assert!(!report.torn);
}

#[test]
fn a_purged_log_verifies_with_the_tiles_of_all_entries() {
    let (_, disk, frontier) = written((2..300).map(row));
    let log = LocalLog::open(disk.clone(), Path::new("/log"), LogOptions::default(), &[]).unwrap();
    let receipt = log.purge_to(GROUP, Lsn(250)).unwrap();
    receipt.wait().unwrap();
    drop(log);
    let group = &run(&disk, &frontier).unwrap().groups[&GROUP];
    assert_eq!((group.start, group.changes), (Lsn(250), 49));
}

#[test]
fn what_does_not_hold_is_told_with_its_place() {
    let (fake, disk, frontier) = written((2..300).map(row));
    // A leaf in the middle of a full tile: only recomputing finds it.
    assert!(fake.flip(Path::new("/tree/00-00000000.tiles"), 32 * 20, 1));
    assert!(told(&disk, &frontier).contains("another root"));
    assert!(fake.flip(Path::new("/tree/00-00000000.tiles"), 32 * 20, 1));
    assert!(fake.flip(Path::new("/log/0000000000000000.log"), 4096 * 9 + 100, 1));
    assert!(told(&disk, &frontier).contains("no intact frame of batch"));

    let (_, disk, _) = written([row(5), row(4)].into_iter());
    let text = told(&disk, &Frontier::default());
    assert!(
        text.contains("entry 2") && text.contains("ENT-11"),
        "{text}"
    );
    let (_, disk, _) = written([vec![1, 2, 3]].into_iter());
    let text = told(&disk, &Frontier::default());
    assert!(
        text.contains("entry 1") && text.contains("ENT-02"),
        "{text}"
    );

    // The leaves of another history.
    let (_, other_disk, other) = written((2..300).map(|at| row(at * 2)));
    let (_, disk, _) = written((2..300).map(row));
    let tiles = TileFiles::open(other_disk, "/tree".into(), other.clone()).unwrap();
    drop(tiles);
    assert!(told(&disk, &other).contains("/tree"));
    let mut longer = frontier.clone();
    longer.push([0; 32]);
    assert!(told(&disk, &longer).contains("missing"));
}
