//! Constraints, catalog and sequences through the transaction API.

mod support;

use cairn_database::catalog::{Action, ForeignKey, Sequence, Timing};
use cairn_database::lock::{Mode, Wait};
use cairn_database::transaction::{Begin, Database, DatabaseOptions, Isolation, KeyRange, Result};
use cairn_database::types::{DataType, Value};
use cairn_storage::disk::{FakeDisk, Loss};
use std::sync::Arc;
use support::*;

fn parents_and_children(database: &Arc<Database>, on_delete: Action, timing: Timing) {
    run(database, async |t| {
        let parents = table(
            t,
            "parents",
            &[("id", DataType::BigInt), ("code", DataType::Text)],
        );
        let code = index(t, &parents, "parents_code", &[1], true);
        let mut children = table(
            t,
            "children",
            &[
                ("id", DataType::BigInt),
                ("parent", DataType::BigInt),
                ("code", DataType::Text),
            ],
        );
        children.foreign_keys.push(ForeignKey {
            name: "children_parent".into(),
            columns: vec![1],
            parent: parents.id,
            parent_columns: vec![0],
            on_delete,
            on_update: Action::Cascade,
            timing,
        });
        children.foreign_keys.push(ForeignKey {
            name: "children_code".into(),
            columns: vec![2],
            parent: parents.id,
            parent_columns: vec![1],
            on_delete: Action::SetNull,
            on_update: Action::SetNull,
            timing: Timing::Immediate,
        });
        t.create_table(parents).await?;
        let parents = relation(t, "parents")?;
        t.create_index(&parents, code).await?;
        t.create_table(children).await
    })
    .unwrap();
}

fn insert(database: &Arc<Database>, name: &str, values: Vec<Value>) -> Result<()> {
    run(database, async |t| {
        let relation = relation(t, name)?;
        t.insert(&relation, values.clone()).await.map(drop)
    })
}

fn delete(database: &Arc<Database>, name: &str, id: i64) -> Result<()> {
    run(database, async |t| {
        let relation = relation(t, name)?;
        let row = t.row(&relation, &key(id))?.expect("the row is there");
        t.delete(&relation, &row).await
    })
}

fn rows(database: &Arc<Database>, name: &str) -> Vec<Vec<Value>> {
    run(database, async |t| {
        let relation = relation(t, name)?;
        let mut rows = Vec::new();
        for row in t.scan(relation.table.storage(), &KeyRange::all(), false)? {
            rows.push(cairn_database::catalog::values(&relation.table, &row?.1)?);
        }
        Ok(rows)
    })
    .unwrap()
}

fn state<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.expect_err("it is refused").sqlstate()
}

#[test]
fn keys_are_unique_and_parents_stay() {
    let database = memory();
    parents_and_children(&database, Action::NoAction, Timing::Immediate);
    insert(&database, "parents", vec![int(1), text("a")]).unwrap();
    assert_eq!(
        state(insert(&database, "parents", vec![int(1), text("b")])),
        "23505"
    );
    assert_eq!(
        state(insert(&database, "parents", vec![int(2), text("a")])),
        "23505"
    );
    assert_eq!(
        state(insert(&database, "parents", vec![Value::Null, text("c")])),
        "23502"
    );
    insert(&database, "parents", vec![int(2), Value::Null]).unwrap();
    insert(&database, "parents", vec![int(3), Value::Null]).unwrap();
    assert_eq!(
        state(insert(
            &database,
            "children",
            vec![int(1), int(9), Value::Null]
        )),
        "23503"
    );
    assert_eq!(
        state(insert(
            &database,
            "children",
            vec![int(1), int(1), text("z")]
        )),
        "23503"
    );
    insert(&database, "children", vec![int(1), int(1), text("a")]).unwrap();
    assert_eq!(state(delete(&database, "parents", 1)), "23503");
    // The key of a parent takes its children along; the other key sets them to NULL.
    run(&database, async |t| {
        let parents = relation(t, "parents")?;
        let row = t.row(&parents, &key(1))?.unwrap();
        t.update(&parents, &row, vec![int(7), text("q")]).await
    })
    .unwrap();
    assert_eq!(rows(&database, "children"), [[int(1), int(7), Value::Null]]);
    delete(&database, "children", 1).unwrap();
    delete(&database, "parents", 7).unwrap();
    database.close().unwrap();
}

#[test]
fn cascades_and_deferred_checks() {
    let database = memory();
    parents_and_children(&database, Action::Cascade, Timing::Deferred);
    // The child first: it is looked at when the transaction ends.
    block_on(async {
        let mut t = database.begin(Begin::default());
        t.statement(async |t| {
            let children = relation(t, "children")?;
            t.insert(&children, vec![int(1), int(5), Value::Null]).await
        })
        .await
        .unwrap();
        t.statement(async |t| {
            let parents = relation(t, "parents")?;
            t.insert(&parents, vec![int(5), Value::Null]).await
        })
        .await
        .unwrap();
        t.commit().await.unwrap();
        let mut t = database.begin(Begin::default());
        t.statement(async |t| {
            let children = relation(t, "children")?;
            t.insert(&children, vec![int(2), int(6), Value::Null]).await
        })
        .await
        .unwrap();
        assert_eq!(state(t.commit().await), "23503");
    });
    delete(&database, "parents", 5).unwrap();
    assert!(rows(&database, "children").is_empty());
    assert!(database.locks().inspect(|locks| locks.is_empty()));
    database.close().unwrap();
}

#[test]
fn ddl_is_transactional_and_stale_schemas_begin_anew() {
    let database = memory();
    let created = block_on(async {
        let mut t = database.begin(Begin::default());
        t.statement(async |t| {
            let definition = table(
                t,
                "things",
                &[("id", DataType::BigInt), ("v", DataType::Text)],
            );
            t.create_table(definition).await
        })
        .await
        .unwrap();
        t.statement(async |t| {
            let things = relation(t, "things")?;
            t.insert(&things, vec![int(1), text("x")]).await
        })
        .await
        .unwrap();
        // Nobody else sees it yet.
        let other = database
            .begin(Begin::default())
            .relation("public", "things")
            .map(drop);
        t.rollback();
        other
    });
    assert_eq!(state(created), "42P01");
    run(&database, async |t| {
        assert_eq!(relation(t, "things").unwrap_err().sqlstate(), "42P01");
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::Text)],
        );
        t.create_table(definition).await?;
        let things = relation(t, "things")?;
        let by_value = index(t, &things.table, "things_v", &[1], true);
        t.create_index(&things, by_value).await
    })
    .unwrap();
    insert(&database, "things", vec![int(1), text("x")]).unwrap();
    block_on(async {
        let mut old = database.begin(Begin::at(Isolation::RepeatableRead));
        old.begin_statement().unwrap();
        let seen = relation(&mut old, "things").unwrap();
        old.finish_statement().await.unwrap();
        run(&database, async |t| {
            let things = relation(t, "things")?;
            assert_eq!(things.indexes.len(), 1);
            t.truncate(&things).await
        })
        .unwrap();
        assert!(rows(&database, "things").is_empty());
        // The old view still reads its storage, and may not write into it.
        old.begin_statement().unwrap();
        assert!(old.row(&seen, &key(1)).unwrap().is_some());
        assert_eq!(
            state(old.insert(&seen, vec![int(2), text("y")]).await),
            "40001"
        );
    });
    insert(&database, "things", vec![int(1), text("x")]).unwrap();
    assert_eq!(
        state(insert(&database, "things", vec![int(2), text("x")])),
        "23505"
    );
    run(&database, async |t| {
        let things = relation(t, "things")?;
        t.drop_table(&things).await
    })
    .unwrap();
    assert_eq!(
        state(insert(&database, "things", vec![int(2), text("x")])),
        "42P01"
    );
    database.close().unwrap();
}

#[test]
fn locks_wait_skip_time_out_and_follow_savepoints() {
    let database = memory();
    run(&database, async |t| {
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::Text)],
        );
        t.create_table(definition).await
    })
    .unwrap();
    for id in 1..=2 {
        insert(&database, "things", vec![int(id), text("x")]).unwrap();
    }
    block_on(async {
        let mut holder = database.begin(Begin::default());
        holder.savepoint("a").unwrap();
        holder.begin_statement().unwrap();
        let things = relation(&mut holder, "things").unwrap();
        let row = holder.row(&things, &key(1)).unwrap().unwrap();
        holder
            .update(&things, &row, vec![int(1), text("y")])
            .await
            .unwrap();
        holder.finish_statement().await.unwrap();
        let mut other = database.begin(Begin {
            lock_timeout_ms: 50,
            ..Begin::default()
        });
        other.begin_statement().unwrap();
        let skipped = other
            .lock_row(&things, &key(1), Mode::Update, Some(Wait::No))
            .await;
        assert_eq!(skipped, Ok(false));
        // KEY SHARE goes beside an update that leaves the key alone.
        let shared = other
            .lock_row(&things, &key(1), Mode::KeyShare, Some(Wait::No))
            .await;
        assert_eq!(shared, Ok(true));
        let late = other.lock_row(&things, &key(1), Mode::Update, None).await;
        assert_eq!(state(late), "55P03");
        holder.rollback_to("a").unwrap();
        let free = other
            .lock_row(&things, &key(1), Mode::Update, Some(Wait::No))
            .await;
        assert_eq!(free, Ok(true));
        other.rollback();
        holder.begin_statement().unwrap();
        assert_eq!(holder.row(&things, &key(1)).unwrap().unwrap()[1], text("x"));
        holder.finish_statement().await.unwrap();
        assert!(holder.commit().await.unwrap().is_none());
    });
    let mut reader = database.begin(Begin {
        read_only: true,
        ..Begin::default()
    });
    reader.begin_statement().unwrap();
    let things = relation(&mut reader, "things").unwrap();
    assert_eq!(
        state(block_on(reader.insert(&things, vec![int(3), text("x")]))),
        "25006"
    );
    drop(reader);
    database.close().unwrap();
}

#[test]
fn sequences_never_give_a_value_twice() {
    let disk = FakeDisk::new();
    let log = MemoryLog::new();
    let database = open(&disk, &log, DatabaseOptions::default());
    let definition = Sequence {
        id: 0,
        schema: "public".into(),
        name: "numbers".into(),
        start: 10,
        increment: 5,
        min: 10,
        max: 1_000_000,
        cycle: false,
        owned_by: None,
    };
    run(&database, async |t| {
        let mut definition = definition.clone();
        definition.id = t.new_object_id();
        t.put_sequence(definition).await
    })
    .unwrap();
    let numbers = database
        .schema()
        .unwrap()
        .find_sequence("public", "numbers")
        .cloned()
        .unwrap();
    let take = |database: &Arc<Database>| block_on(database.next_value(&numbers)).unwrap();
    let mut given: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..50).map(|_| take(&database)).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    given.sort_unstable();
    assert_eq!(given, (0..200).map(|n| 10 + 5 * n).collect::<Vec<_>>());
    // A crash: the store forgets what was not checkpointed, the log does not.
    let crashed = disk.crashed(Loss::Unsynced, 3);
    let again = open(&crashed, &log.reopened(), DatabaseOptions::default());
    let next = block_on(again.next_value(&numbers)).unwrap();
    assert!(next > *given.last().unwrap(), "{next}");
    block_on(again.set_value(&numbers, 999_995)).unwrap();
    assert_eq!(take(&again), 999_995);
    assert_eq!(take(&again), 1_000_000);
    assert_eq!(state(block_on(again.next_value(&numbers))), "2200H");
    again.close().unwrap();
    database.close().unwrap();
}

#[test]
fn large_transactions_spill_and_are_chains() {
    let disk = FakeDisk::new();
    let log = MemoryLog::new();
    let spill = tempfile::tempdir().unwrap();
    let database = open(
        &disk,
        &log,
        DatabaseOptions {
            spill_directory: spill.path().to_owned(),
            write_set_memory_bytes: 60_000,
            ..DatabaseOptions::default()
        },
    );
    run(&database, async |t| {
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::Text)],
        );
        t.create_table(definition).await?;
        let things = relation(t, "things")?;
        let by_value = index(t, &things.table, "things_v", &[1], false);
        t.create_index(&things, by_value).await
    })
    .unwrap();
    let long = "x".repeat(700);
    let entries = log.len();
    block_on(async {
        let mut t = database.begin(Begin::at(Isolation::Serializable));
        for part in 0..3 {
            t.statement(async |t| {
                let things = relation(t, "things")?;
                for id in 0..1000 {
                    let value = text(&format!("{}{long}", id % 7));
                    match t.row(&things, &key(id))? {
                        None => drop(t.insert(&things, vec![int(id), value]).await?),
                        Some(row) if id % 3 == part => {
                            t.update(&things, &row, vec![int(id), text(&format!("new{id}"))])
                                .await?;
                        }
                        Some(_) => {}
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        }
        t.commit().await.unwrap();
    });
    let written = log.len() - entries;
    assert!(written == 1, "{written} entries"); // what was overwritten is not in the log
    block_on(async {
        let mut t = database.begin(Begin::default());
        t.statement(async |t| {
            let things = relation(t, "things")?;
            for id in 1000..7_000 {
                t.insert(&things, vec![int(id), text(&long)]).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        t.commit().await.unwrap();
    });
    assert!(log.len() - entries > 3, "a chain has parts");
    let check = |database: &Arc<Database>| {
        assert_eq!(rows(database, "things").len(), 7_000);
        run(database, async |t| {
            let things = relation(t, "things")?;
            let by_value = things.indexes[0].clone();
            let prefix = cairn_database::key::encode([&text("new1001")], &[]).unwrap();
            assert_eq!(
                t.scan_index(&things, &by_value, &KeyRange::prefix(&prefix), false)?
                    .count(),
                0
            );
            let prefix = cairn_database::key::encode([&text("new4")], &[]).unwrap();
            let found: Vec<_> = t
                .scan_index(&things, &by_value, &KeyRange::prefix(&prefix), false)?
                .collect();
            assert_eq!(found.len(), 1);
            assert_eq!(
                t.scan_index(&things, &by_value, &KeyRange::all(), true)?
                    .count(),
                7_000
            );
            Ok(())
        })
        .unwrap();
    };
    check(&database);
    let crashed = disk.crashed(Loss::Unsynced, 3);
    let again = open(&crashed, &log.reopened(), DatabaseOptions::default());
    check(&again);
    again.close().unwrap();
    database.close().unwrap();
}

#[test]
fn an_index_is_built_beside_writers_and_across_a_crash() {
    let disk = FakeDisk::new();
    let log = MemoryLog::new();
    let database = open(&disk, &log, DatabaseOptions::default());
    run(&database, async |t| {
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::BigInt)],
        );
        t.create_table(definition).await
    })
    .unwrap();
    run(&database, async |t| {
        let things = relation(t, "things")?;
        for id in 0..700 {
            t.insert(&things, vec![int(id), int(id)]).await?;
        }
        Ok(())
    })
    .unwrap();
    let new_index = |name: &str| {
        let mut t = database.begin(Begin::default());
        let things = relation(&mut t, "things").unwrap();
        index(&t, &things.table, name, &[1], true)
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writers = |seed: i64| {
        let mut n = seed;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            n = (n * 7919 + 13) % 700;
            run(&database, async |t| {
                let things = relation(t, "things")?;
                let row = t.row(&things, &key(n))?.expect("rows stay");
                let value = row[1].as_integer().unwrap() + 1000;
                t.update(&things, &row, vec![int(n), int(value)]).await
            })
            .unwrap();
        }
    };
    let begun = new_index("things_b");
    std::thread::scope(|scope| {
        scope.spawn(|| writers(1));
        scope.spawn(|| writers(2));
        block_on(database.build_index(new_index("things_a"))).unwrap();
        block_on(database.begin_index(begun.clone())).unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let check = |database: &Arc<Database>, name: &str| {
        let rows = rows(database, "things");
        run(database, async |t| {
            let things = relation(t, "things")?;
            let index = things
                .indexes
                .iter()
                .find(|index| index.name == name)
                .unwrap();
            let mut found = 0;
            for row in t.scan_index(&things, index, &KeyRange::all(), false)? {
                let (_, row) = row?;
                assert!(rows.contains(&row));
                found += 1;
            }
            assert_eq!(found, rows.len());
            Ok(())
        })
        .unwrap();
    };
    check(&database, "things_a");
    let crashed = disk.crashed(Loss::Unsynced, 3);
    let again = open(&crashed, &log.reopened(), DatabaseOptions::default());
    check(&again, "things_a");
    assert_eq!(
        again.unfinished_indexes().unwrap(),
        [(begun.table, begun.id)]
    );
    block_on(again.finish_index(begun.table, begun.id)).unwrap();
    assert!(again.unfinished_indexes().unwrap().is_empty());
    check(&again, "things_b");
    // Two rows with one key: the verdict is no, and nothing is left.
    let mut twice = new_index("things_c");
    twice.id += 100;
    twice.storage += 100;
    twice.parts.clear();
    assert_eq!(state(block_on(again.build_index(twice))), "23505");
    assert!(again.unfinished_indexes().unwrap().is_empty());
    again.close().unwrap();
    database.close().unwrap();
}

#[test]
fn a_directory_comes_back_with_its_rows_and_its_tree() {
    use cairn_storage::disk::Disk;
    let disk = FakeDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let directory = std::path::Path::new("/db");
    let open = |disk: &Arc<dyn Disk>| {
        Database::open_directory(disk, directory, 4 << 20, DatabaseOptions::default()).unwrap()
    };
    let database = open(&shared);
    run(&database, async |t| {
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::Text)],
        );
        t.create_table(definition).await
    })
    .unwrap();
    for id in 0..20 {
        insert(&database, "things", vec![int(id), text("x")]).unwrap();
        if id == 10 {
            database.checkpoint().unwrap();
        }
    }
    let incarnation = database.incarnation();
    let applied = database.store().applied();
    // The power goes: what was answered is there, rows and tree alike.
    let crashed: Arc<dyn Disk> = Arc::new(disk.crashed(Loss::Unsynced, 5));
    let again = open(&crashed);
    assert_eq!(again.incarnation(), incarnation);
    assert_eq!(rows(&again, "things").len(), 20);
    assert_eq!(again.store().applied(), applied);
    insert(&again, "things", vec![int(20), text("x")]).unwrap();
    again.close().unwrap();
    drop(again);
    let once_more = open(&crashed);
    assert_eq!(rows(&once_more, "things").len(), 21);
    once_more.close().unwrap();
    database.close().unwrap();
}

#[test]
fn below_the_horizon_nothing_is_kept() {
    let database = memory();
    run(&database, async |t| {
        let definition = table(
            t,
            "things",
            &[("id", DataType::BigInt), ("v", DataType::BigInt)],
        );
        t.create_table(definition).await
    })
    .unwrap();
    insert(&database, "things", vec![int(1), int(0)]).unwrap();
    let things = database
        .schema()
        .unwrap()
        .find("public", "things")
        .cloned()
        .unwrap();
    let old = database.store().snapshot().ts;
    let mut reader = database.begin(Begin::at(Isolation::RepeatableRead));
    assert_eq!(reader.snapshot_ts(), old);
    for value in 1..=30 {
        run(&database, async |t| {
            let row = t.row(&things, &key(1))?.unwrap();
            t.update(&things, &row, vec![int(1), int(value)]).await
        })
        .unwrap();
    }
    // A view holds the horizon back.
    let newest = database.store().snapshot().ts;
    database.raise_horizon(newest).unwrap();
    assert_eq!(database.store().snapshot().horizon, old);
    assert_eq!(reader.row(&things, &key(1)).unwrap().unwrap()[1], int(0));
    drop(reader);
    database.raise_horizon(newest).unwrap();
    assert_eq!(database.store().snapshot().horizon, newest);
    let (removed, through) = database.collect().unwrap();
    assert!(removed >= 29 && through, "{removed} removed");
    let place = cairn_database::version::place(things.table.storage(), &key(1));
    let below = database.store().snapshot().get(&place, old);
    assert!(below.is_err());
    assert!(
        database
            .store()
            .snapshot()
            .get(&place, newest)
            .unwrap()
            .is_some()
    );
    database.close().unwrap();
}
