//! The store against a model that keeps every version.

use super::fold::CATALOG;
use super::*;
use crate::version::{CommitTs, StorageId, place};
use cairn_storage::disk::{FakeDisk, Loss};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

fn open(disk: &FakeDisk) -> Store {
    let engine = RedbEngine::open(disk, Path::new("/rows.redb"), 1 << 20).unwrap();
    Store::open(Box::new(engine), 0).unwrap()
}

/// Key -> its states by the time they began.
type Model = BTreeMap<u8, BTreeMap<u64, Option<u8>>>;

fn commit(store: &Store, model: &mut Model, ts: u64, changes: &BTreeMap<u8, Option<u8>>) {
    let change = |fold: &mut Fold<'_>| {
        for (key, row) in changes {
            let row = row.map(|row| [row]);
            let row = row.as_ref().map(|row| &row[..]);
            fold.set(&place(StorageId(20), &[*key]), row, CommitTs(ts))?;
        }
        fold.meta.applied.ts = CommitTs(ts);
        fold.meta.applied.next_lsn += 1;
        Ok(())
    };
    store.apply(false, &mut { change }).unwrap();
    for (key, row) in changes {
        model.entry(*key).or_default().insert(ts, *row);
    }
}

fn expected(model: &Model, at: u64) -> Vec<(u8, u8)> {
    let state = |(key, states): (&u8, &BTreeMap<u64, Option<u8>>)| {
        let (_, row) = states.range(..=at).next_back()?;
        row.map(|row| (*key, row))
    };
    model.iter().filter_map(state).collect()
}

fn seen(
    snapshot: &crate::version::Snapshot,
    bounds: (u8, u8),
    at: u64,
    reverse: bool,
) -> Vec<(u8, u8)> {
    let storage = StorageId(20);
    let (from, to) = (place(storage, &[bounds.0]), place(storage, &[bounds.1]));
    let rows = snapshot.range(&from, &to, CommitTs(at), reverse).unwrap();
    rows.map(|row| {
        let (place, row) = row.unwrap();
        (*place.last().unwrap(), row[0])
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_time_sees_its_own_state(
        batches in prop::collection::vec(
            prop::collection::btree_map(0..8u8, prop::option::of(any::<u8>()), 1..5), 1..14),
        horizon in 0..16u64,
    ) {
        let disk = FakeDisk::new();
        let store = open(&disk);
        let mut model = Model::new();
        let mut snapshots = vec![store.snapshot()];
        for (index, changes) in batches.iter().enumerate() {
            commit(&store, &mut model, index as u64 + 1, changes);
            snapshots.push(store.snapshot());
        }
        let last = batches.len() as u64;
        let horizon = horizon.min(last);
        let check = |lowest: u64, snapshots: &[std::sync::Arc<crate::version::Snapshot>]| {
            for at in lowest..=last {
                let expected = expected(&model, at);
                for snapshot in snapshots.iter().filter(|snapshot| snapshot.ts.0 >= at) {
                    assert_eq!(&seen(snapshot, (0, 8), at, false), &expected);
                    let mut backwards = seen(snapshot, (0, 8), at, true);
                    backwards.reverse();
                    assert_eq!(&backwards, &expected);
                    let middle: Vec<_> =
                        expected.iter().copied().filter(|(key, _)| (2..5).contains(key)).collect();
                    assert_eq!(seen(snapshot, (2, 5), at, false), middle);
                    for key in 0..8u8 {
                        let row = snapshot.get(&place(StorageId(20), &[key]), CommitTs(at)).unwrap();
                        let known = expected.iter().find(|(other, _)| *other == key);
                        assert_eq!(row.map(|row| row[0]), known.map(|known| known.1));
                    }
                }
            }
        };
        check(0, &snapshots);
        store.apply(false, &mut |fold| { fold.meta.horizon = CommitTs(horizon); Ok(()) }).unwrap();
        loop {
            let (seen, _) = store.collect(3).unwrap();
            if seen < 3 {
                break;
            }
        }
        check(horizon, &[store.snapshot()]);
        if horizon > 0 {
            let below = store.snapshot().get(&place(StorageId(20), &[0]), CommitTs(horizon - 1));
            let refused = matches!(below, Err(StoreError::BelowHorizon { .. }));
            prop_assert!(refused);
        }
    }
}

#[test]
fn only_checkpoints_survive_and_they_say_how_far_they_are() {
    let disk = FakeDisk::new();
    let mut model = Model::new();
    let crashed = {
        let store = open(&disk);
        for ts in 1..=3 {
            commit(
                &store,
                &mut model,
                ts,
                &BTreeMap::from([(ts as u8, Some(1))]),
            );
        }
        assert_eq!(store.checkpoint().unwrap().next_lsn, 3);
        commit(&store, &mut model, 4, &BTreeMap::from([(4, Some(1))]));
        // Closing would save the rest.
        disk.crashed(Loss::Unsynced, 1)
    };
    let store = open(&crashed);
    let applied = store.applied();
    assert_eq!((applied.next_lsn, applied.ts), (3, CommitTs(3)));
    assert_eq!(
        seen(&store.snapshot(), (0, 9), 3, false),
        [(1, 1), (2, 1), (3, 1)]
    );
    assert_eq!(
        store.snapshot().modified(&place(CATALOG, b"x")).unwrap(),
        None
    );
}
