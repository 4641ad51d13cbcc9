//! One spelling for each entry, no panic on any bytes, and each rule broken as narrowly as it can be.

use super::*;
use crate::limits::{CHAIN_PARTS_MAX, ENTRY_BYTES_MAX, KEY_BYTES_MAX, ROW_BYTES_MAX};
use crate::tree::{EMPTY_ROOT, ProofError};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SEED: Seed = [7; 16];

fn stamp(commit_ts: u64) -> Stamp {
    Stamp {
        incarnation: Incarnation([3; 16]),
        commit_ts: CommitTs(commit_ts),
        closed_ts: CommitTs(commit_ts - 1),
        wall_ms: 1_700_000_000_000,
        schema_version: 4,
        client: ClientId([5; 16]),
        sequence: 6,
    }
}

fn put<'a>(storage: u64, key: &'a [u8], row: &'a [u8]) -> Change<'a> {
    let storage = StorageId(storage);
    Change::RowPut { storage, key, row }
}

fn built(kind: Kind, changes: &[Change<'_>], at: u64) -> Result<Vec<u8>, EntryError> {
    let mut builder = EntryBuilder::new(kind, SEED);
    for change in changes {
        builder.push(change)?;
    }
    builder.finish(stamp(at))
}

fn sample() -> Vec<Change<'static>> {
    let storage = StorageId(300);
    vec![
        Change::CatalogPut {
            key: b"t1",
            row: b"table",
        },
        Change::CatalogDelete { key: b"t2" },
        Change::Sequence {
            id: 9,
            reserved: -32,
        },
        Change::Horizon(CommitTs(2)),
        put(3, b"a", b"1"),
        Change::RowDelete {
            storage: StorageId(3),
            key: b"b",
        },
        Change::IndexPut {
            storage,
            key: b"k",
            value: b"",
        },
        Change::IndexDelete { storage, key: b"l" },
        Change::Notify {
            channel: "jobs",
            payload: "x",
        },
        Change::Notify {
            channel: "jobs",
            payload: "x",
        },
    ]
}

#[test]
fn an_entry_reads_back_and_every_change_is_proven_alone() {
    let changes = sample();
    let bytes = built(Kind::Commit, &changes, 10).unwrap();
    let entry = Entry::decode(&bytes).unwrap();
    assert_eq!(entry.changes().collect::<Vec<_>>(), changes);
    assert_eq!(entry.header.stamp, stamp(10));
    assert_eq!(Header::decode(entry.header_bytes()), Ok(entry.header));
    assert_eq!(entry.header.to_bytes(), entry.header_bytes());
    for (index, change) in (0..).zip(&changes) {
        let mut proof = entry.prove(index).unwrap();
        proof.verify(&entry.header).unwrap();
        assert_eq!(proof.change().unwrap(), *change);
        proof.salt[0] ^= 1;
        assert_eq!(proof.verify(&entry.header), Err(ProofError::Root("tree's")));
    }
    assert_eq!(entry.prove(changes.len() as u32), None);
}

#[test]
fn equal_rows_have_unequal_leaves() {
    let changes = [put(1, b"a", b"same"), put(1, b"b", b"same")];
    let bytes = built(Kind::Commit, &changes, 1).unwrap();
    let entry = Entry::decode(&bytes).unwrap();
    let (first, second) = (entry.prove(0).unwrap(), entry.prove(1).unwrap());
    assert_ne!(first.salt, second.salt);
    let mut other = EntryBuilder::new(Kind::Commit, [8; 16]);
    other.push(&changes[0]).unwrap();
    let other = other.finish(stamp(1)).unwrap();
    assert_ne!(
        Entry::decode(&other).unwrap().header.changes_root,
        entry.header.changes_root
    );
}

#[test]
fn every_flipped_bit_is_refused_or_is_another_header() {
    let bytes = built(Kind::Commit, &sample(), 10).unwrap();
    let header_length = Entry::decode(&bytes).unwrap().header_bytes().len();
    let leaf = Entry::decode(&bytes).unwrap().leaf();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match Entry::decode(&bad) {
            Err(_) => {}
            Ok(entry) => {
                assert!(bit / 8 < header_length, "bit {bit} of the body passed");
                assert_ne!(entry.leaf(), leaf);
            }
        }
    }
    for length in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

fn rule(bytes: &[u8]) -> &'static str {
    Entry::decode(bytes).map_or_else(|error| error.rule(), |_| "none")
}

/// Bytes with one place changed.
fn with(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn each_rule_of_one_entry_is_told_by_its_id() {
    let two = built(Kind::Commit, &[put(1, b"a", b"x"), put(1, b"b", b"y")], 9).unwrap();
    assert_eq!(rule(&two), "none");
    assert_eq!(rule(&vec![0; ENTRY_BYTES_MAX + 1]), "ENT-01");
    assert_eq!(rule(&two[..two.len() - 1]), "ENT-02");
    assert_eq!(rule(&with(&two, 2, &[1])), "ENT-03");
    assert_eq!(rule(&with(&two, 0, &[2])), "ENT-04");
    assert_eq!(rule(&with(&two, 1, &[4])), "ENT-05");
    assert_eq!(rule(&with(&two, 128, &[10])), "ENT-05");
    // The length of the key becomes 2^14 + 1.
    let key = vec![b'k'; 200];
    let long = built(Kind::Commit, &[put(1, &key, b"x")], 9).unwrap();
    assert_eq!(long[128..132], [4, 1, 200, 1]);
    assert_eq!(rule(&with(&long, 130, &[0x81, 0x80, 0x01])), "ENT-06");
    assert_eq!(rule(&with(&long, 130, &[0x80, 0x00])), "ENT-03");
    assert_eq!(rule(&with(&two, 4, &[1])), "ENT-07");
    assert_eq!(rule(&with(&two, 4, &[3])), "ENT-07");
    assert_eq!(rule(&with(&two, two.len() - 1, b"z")), "ENT-08");
    assert_eq!(rule(&with(&two, two.len() - 3, b"a")), "ENT-09");
    assert_eq!(rule(&with(&two, 1, &[3])), "ENT-10");
    assert_eq!(
        rule(&[&two[..], &[0]].concat()),
        "ENT-07",
        "bytes behind the last change"
    );
}

#[test]
fn headers_of_chains_have_one_spelling() {
    let txn = TransactionId([1; 16]);
    let commit = Resolution::Commit {
        commit_ts: CommitTs(5),
        parts: 2,
    };
    for (resolution, at, good) in [
        (Resolution::Abort, 7, true),
        (commit, 7, true),
        (commit, 5, true),
        (commit, 4, false),
    ] {
        let kind = Kind::Resolve { txn, resolution };
        assert_eq!(built(kind, &[], at).is_ok(), good);
    }
    let abort = Kind::Resolve {
        txn,
        resolution: Resolution::Abort,
    };
    let abort = built(abort, &[], 7).unwrap();
    assert_eq!(abort.len(), 141);
    assert_eq!(
        Entry::decode(&abort).unwrap().header.changes_root,
        EMPTY_ROOT
    );
    assert_eq!(rule(&with(&abort, 129, &[1])), "ENT-03");
    assert_eq!(rule(&with(&abort, 128, &[2])), "ENT-05");
    assert_eq!(rule(&with(&abort, 128, &[1])), "ENT-10");
    let prewrite = |part| {
        let kind = Kind::Prewrite { txn, part };
        built(kind, &[put(1, b"a", b"x")], 7)
    };
    let last = prewrite(CHAIN_PARTS_MAX - 1).unwrap();
    assert_eq!(rule(&last), "none");
    assert_eq!(rule(&prewrite(CHAIN_PARTS_MAX).unwrap()), "ENT-06");
    assert_eq!(
        built(Kind::Prewrite { txn, part: 0 }, &[], 7)
            .unwrap_err()
            .rule(),
        "ENT-10"
    );
}

#[test]
fn a_builder_refuses_what_a_reader_would_and_stays_as_it_was() {
    let mut builder = EntryBuilder::new(Kind::Commit, SEED);
    builder.push(&put(2, b"b", b"x")).unwrap();
    let before = builder.len();
    let key = vec![0; KEY_BYTES_MAX + 1];
    let row = vec![0; ROW_BYTES_MAX + 1];
    for (change, broken) in [
        (put(2, b"b", b"y"), "ENT-09"),
        (put(2, b"a", b"y"), "ENT-09"),
        (put(1, b"z", b"y"), "ENT-09"),
        (Change::CatalogDelete { key: b"z" }, "ENT-09"),
        (put(3, &key, b"y"), "ENT-06"),
        (put(3, b"a", &row), "ENT-06"),
    ] {
        assert_eq!(builder.push(&change).unwrap_err().rule(), broken);
        assert_eq!(builder.len(), before);
    }
    let membership = Change::Membership(Membership::alone(*b"n", None));
    builder.push(&membership).unwrap();
    assert_eq!(builder.finish(stamp(1)).unwrap_err().rule(), "ENT-10");
    // The largest row and the largest key together are an entry.
    let key = &key[1..];
    let largest = built(Kind::Commit, &[put(u64::MAX, key, &row[1..])], 1).unwrap();
    assert_eq!(rule(&largest), "none");
}

#[test]
fn a_large_transaction_is_a_chain_and_a_small_one_is_not() {
    let row = vec![1; 1 << 20];
    let txn = TransactionId([9; 16]);
    let chain = |rows: u8| {
        let mut seed = 0;
        let mut builder = ChainBuilder::new(txn, || {
            seed += 1;
            [seed; 16]
        });
        for key in 0..rows {
            builder.push(&put(1, &[key], &row)).unwrap();
        }
        let chain = builder.finish();
        let count = chain.entries();
        let mut at = 1;
        let stamped = chain.stamp(|| {
            at += 1;
            stamp(at)
        });
        let entries = stamped.unwrap();
        assert_eq!(entries.len(), count);
        entries
    };
    let one = chain(3);
    assert_eq!(one.len(), 1);
    assert_eq!(Entry::decode(&one[0]).unwrap().header.kind, Kind::Commit);
    let many = chain(10);
    assert_eq!(many.len(), 5);
    let mut history = opened();
    let mut rows = Vec::new();
    for bytes in &many {
        let entry = Entry::decode(bytes).unwrap();
        history.push(&entry).unwrap();
        rows.extend(entry.changes().map(|change| match change {
            Change::RowPut { key, .. } => key[0],
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(rows, (0..10).collect::<Vec<u8>>());
    assert_eq!(history.unresolved().count(), 0);
    assert_eq!(history.last().unwrap().commit_ts, CommitTs(6));
}

fn opened() -> History {
    let mut history = History::new();
    let change = Change::Membership(Membership::alone(*b"n", None));
    let first = built(Kind::Membership, &[change], 1).unwrap();
    history.push(&Entry::decode(&first).unwrap()).unwrap();
    history
}

#[test]
fn a_history_tells_each_broken_rule() {
    let push = |history: &History, bytes: Vec<u8>| {
        let mut history = history.clone();
        let outcome = history.push(&Entry::decode(&bytes).unwrap());
        outcome.map_or_else(|error| error.rule(), |()| "none")
    };
    let txn = TransactionId([1; 16]);
    let row = [put(1, b"a", b"x")];
    let prewrite = |part, at| built(Kind::Prewrite { txn, part }, &row, at).unwrap();
    let resolve = |parts, at| {
        let resolution = match parts {
            0 => Resolution::Abort,
            parts => Resolution::Commit {
                commit_ts: CommitTs(at),
                parts,
            },
        };
        built(Kind::Resolve { txn, resolution }, &[], at).unwrap()
    };
    assert_eq!(push(&History::new(), prewrite(0, 1)), "ENT-12");
    let mut history = opened();
    assert_eq!(
        push(&history, built(Kind::Commit, &row, 1).unwrap()),
        "ENT-11"
    );
    let mut other = stamp(5);
    other.incarnation = Incarnation([4; 16]);
    let stranger = EntryBuilder::new(Kind::Commit, SEED).finish(other).unwrap();
    assert_eq!(push(&history, stranger), "ENT-12");
    let mut closed = stamp(5);
    closed.closed_ts = CommitTs(9);
    let closing = EntryBuilder::new(Kind::Commit, SEED)
        .finish(closed)
        .unwrap();
    let mut after = history.clone();
    after.push(&Entry::decode(&closing).unwrap()).unwrap();
    assert_eq!(push(&after, prewrite(0, 6)), "ENT-11");
    let origin = Origin {
        incarnation: Incarnation([1; 16]),
        size: 300,
        root: [2; 32],
    };
    let change = Change::Membership(Membership::alone(*b"n", Some(origin)));
    let late = built(Kind::Membership, &[change], 5).unwrap();
    assert_eq!(push(&history, late.clone()), "ENT-12");
    assert_eq!(push(&History::new(), late), "none");
    assert_eq!(push(&history, prewrite(1, 2)), "ENT-13");
    assert_eq!(push(&history, resolve(0, 2)), "ENT-13");
    history
        .push(&Entry::decode(&prewrite(0, 2)).unwrap())
        .unwrap();
    assert_eq!(history.unresolved().collect::<Vec<_>>(), [(txn, 1)]);
    assert_eq!(push(&history, resolve(2, 3)), "ENT-13");
    assert_eq!(push(&history, resolve(1, 3)), "none");
    assert_eq!(push(&history, resolve(0, 3)), "none");
    assert_eq!(push(&history, prewrite(1, 3)), "none");
    // Behind a purge a chain may have begun before.
    let base = history.last().unwrap();
    let behind = History::after(base);
    assert_eq!(push(&behind, prewrite(5, 3)), "none");
    assert_eq!(push(&behind, resolve(4, 3)), "none");
}

type Owned = (u8, u64, Vec<u8>, Vec<u8>);

/// Row and index changes from any list: the last one of a key counts, in the order of the store.
fn ordered(raw: &[Owned]) -> Vec<Change<'_>> {
    let mut sorted = BTreeMap::new();
    for (tag, storage, key, row) in raw {
        let storage = StorageId(*storage);
        let change = match tag {
            0 => Change::RowPut { storage, key, row },
            1 => Change::RowDelete { storage, key },
            2 => Change::IndexPut {
                storage,
                key,
                value: row,
            },
            _ => Change::IndexDelete { storage, key },
        };
        sorted.insert((storage, key), change);
    }
    sorted.into_values().collect()
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    (0..4u8, prop_oneof![0..4u64, any::<u64>()], bytes(), bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_entry_reads_back_to_the_same_bytes(raw in prop::collection::vec(owned(), 0..20), at in 1..u64::MAX) {
        let changes = ordered(&raw);
        let bytes = built(Kind::Commit, &changes, at).unwrap();
        let entry = Entry::decode(&bytes).unwrap();
        let again: Vec<_> = entry.changes().collect();
        prop_assert_eq!(&again, &changes);
        prop_assert_eq!(built(Kind::Commit, &again, at).unwrap(), bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_spelling(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let [format, kind, zero, also_zero, ..] = &mut bytes[..] {
            (*format, *kind, *zero, *also_zero) = (FORMAT, *kind % 4, 0, 0);
        }
        prop_assert!(Entry::decode(&bytes).is_err());
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.to_bytes(), bytes);
        }
    }

    /// Structure-aware: a good body, changed somewhere, under a count that may lie.
    #[test]
    fn a_changed_body_never_passes(
        raw in prop::collection::vec(owned(), 1..12),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let bytes = built(Kind::Commit, &ordered(&raw), 3).unwrap();
        let place = 112 + at.index(bytes.len() - 112);
        let mut bad = bytes.clone();
        if cut { bad.truncate(place) } else { bad[place] = value }
        if bad != bytes {
            prop_assert!(Entry::decode(&bad).is_err());
        }
    }
}
