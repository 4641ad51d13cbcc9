//! Martin Kleppmann's Hermitage: the anomalies of each isolation level, step by step.
//!
//! The cases and what PostgreSQL answers are those of <https://github.com/ept/hermitage>
//! (postgres.md). Each session is a thread; a step either answers or is seen waiting in the lock table.

mod support;

use Isolation::{ReadCommitted, RepeatableRead, Serializable};
use cairn_database::lock::OwnerId;
use cairn_database::transaction::{
    Begin, Database, Error, Isolation, KeyRange, Result, Transaction,
};
use cairn_database::types::DataType;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use support::*;

#[derive(Debug, Clone, Copy)]
enum Op {
    Read(i64),
    /// All rows whose value passes.
    ReadWhere(fn(i64) -> bool),
    Set(i64, i64),
    /// Adds to all rows.
    AddToAll(i64),
    DeleteWhere(fn(i64) -> bool),
    Insert(i64, i64),
    Commit,
    Abort,
}

fn all(t: &mut Transaction, passes: impl Fn(i64) -> bool) -> Result<Vec<(i64, i64)>> {
    let test = relation(t, "test")?;
    let mut rows = Vec::new();
    for row in t.scan(test.table.storage(), &KeyRange::all(), false)? {
        let row = cairn_database::catalog::values(&test.table, &row?.1)?;
        let (id, value) = (row[0].as_integer().unwrap(), row[1].as_integer().unwrap());
        if passes(value) {
            rows.push((id, value));
        }
    }
    Ok(rows)
}

async fn run_op(t: &mut Transaction, op: Op) -> Result<String> {
    t.statement(async |t| {
        let test = relation(t, "test")?;
        let show = |rows: Vec<(i64, i64)>| {
            let rows: Vec<String> = rows.iter().map(|(id, v)| format!("{id}:{v}")).collect();
            rows.join(" ")
        };
        match op {
            Op::Read(id) => {
                let row = t.row(&test, &key(id))?;
                Ok(row.map_or("none".into(), |row| {
                    row[1].as_integer().unwrap().to_string()
                }))
            }
            Op::ReadWhere(passes) => Ok(show(all(t, passes)?)),
            Op::Set(id, value) => {
                let Some(row) = t.row(&test, &key(id))? else {
                    return Ok("none".into());
                };
                t.update(&test, &row, vec![int(id), int(value)]).await?;
                Ok("ok".into())
            }
            Op::AddToAll(more) => {
                for (id, value) in all(t, |_| true)? {
                    let row = [int(id), int(value)];
                    t.update(&test, &row, vec![int(id), int(value + more)])
                        .await?;
                }
                Ok("ok".into())
            }
            Op::DeleteWhere(passes) => {
                let rows = all(t, passes)?;
                for (id, value) in &rows {
                    t.delete(&test, &[int(*id), int(*value)]).await?;
                }
                Ok(format!("deleted {}", rows.len()))
            }
            Op::Insert(id, value) => {
                t.insert(&test, vec![int(id), int(value)]).await?;
                Ok("ok".into())
            }
            Op::Commit | Op::Abort => unreachable!("no statement"),
        }
    })
    .await
}

struct Session {
    ops: Sender<Op>,
    answers: Receiver<String>,
    owner: OwnerId,
}

impl Session {
    fn begin(database: &Arc<Database>, level: Isolation) -> Session {
        let (ops, inbox) = channel::<Op>();
        let (outbox, answers) = channel();
        let owner = database.new_owner();
        let database = database.clone();
        std::thread::spawn(move || {
            let mut transaction = Some(database.begin_as(owner, Begin::at(level)));
            for op in inbox {
                let answer = match (op, &mut transaction) {
                    (Op::Commit, t) => block_on(t.take().unwrap().commit()).map(|_| "ok".into()),
                    (Op::Abort, t) => {
                        t.take().unwrap().rollback();
                        Ok("ok".into())
                    }
                    (op, Some(t)) => block_on(run_op(t, op)),
                    (_, None) => Err(Error::State("over")),
                };
                let answer = answer.unwrap_or_else(|error| error.sqlstate().to_owned());
                if outbox.send(answer).is_err() {
                    return;
                }
            }
        });
        Session {
            ops,
            answers,
            owner,
        }
    }

    fn start(&self, op: Op) {
        self.ops.send(op).unwrap();
    }

    fn answer(&self) -> String {
        self.answers
            .recv_timeout(Duration::from_secs(60))
            .expect("an answer within a minute")
    }

    fn ask(&self, op: Op) -> String {
        self.start(op);
        self.answer()
    }
}

struct Case {
    database: Arc<Database>,
}

impl Case {
    fn new() -> Case {
        let database = memory();
        run(&database, async |t| {
            let columns = [("id", DataType::BigInt), ("value", DataType::BigInt)];
            let definition = table(t, "test", &columns);
            t.create_table(definition).await
        })
        .unwrap();
        run(&database, async |t| {
            let test = relation(t, "test")?;
            t.insert(&test, vec![int(1), int(10)]).await?;
            t.insert(&test, vec![int(2), int(20)]).await.map(drop)
        })
        .unwrap();
        Case { database }
    }

    fn begin(&self, level: Isolation) -> Session {
        Session::begin(&self.database, level)
    }

    /// Waits until the session stands in a queue; it must not answer instead.
    fn blocks(&self, session: &Session) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let waits = self.database.locks().inspect(|locks| {
                locks
                    .list()
                    .iter()
                    .any(|(_, owner, _, granted)| *owner == session.owner && !granted)
            });
            if waits {
                return;
            }
            if let Ok(answer) = session.answers.try_recv() {
                panic!("it answered {answer} instead of waiting");
            }
            assert!(Instant::now() < deadline, "it neither waits nor answers");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn rows(&self) -> String {
        let session = self.begin(ReadCommitted);
        session.ask(Op::ReadWhere(|_| true))
    }
}

fn any(_: i64) -> bool {
    true
}

const LEVELS: [Isolation; 3] = [ReadCommitted, RepeatableRead, Serializable];

#[test]
fn g0_dirty_writes() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        b.ask(Op::Read(1));
        assert_eq!(a.ask(Op::Set(1, 11)), "ok");
        b.start(Op::Set(1, 12));
        case.blocks(&b);
        assert_eq!(a.ask(Op::Set(2, 21)), "ok");
        assert_eq!(a.ask(Op::Commit), "ok");
        if level == ReadCommitted {
            assert_eq!(b.answer(), "ok");
            assert_eq!(b.ask(Op::Set(2, 22)), "ok");
            assert_eq!(b.ask(Op::Commit), "ok");
            assert_eq!(case.rows(), "1:12 2:22");
        } else {
            assert_eq!(b.answer(), "40001");
            assert_eq!(b.ask(Op::Set(2, 22)), "25P02");
            b.ask(Op::Abort);
            assert_eq!(case.rows(), "1:11 2:21");
        }
    }
}

#[test]
fn g1a_g1b_aborted_and_intermediate_reads() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        assert_eq!(a.ask(Op::Set(1, 101)), "ok");
        assert_eq!(b.ask(Op::ReadWhere(any)), "1:10 2:20");
        assert_eq!(a.ask(Op::Set(1, 11)), "ok");
        assert_eq!(b.ask(Op::ReadWhere(any)), "1:10 2:20");
        a.ask(Op::Abort);
        assert_eq!(b.ask(Op::ReadWhere(any)), "1:10 2:20");
        assert_eq!(b.ask(Op::Commit), "ok");
        let (a, b) = (case.begin(level), case.begin(level));
        a.ask(Op::Set(1, 101));
        assert_eq!(b.ask(Op::ReadWhere(any)), "1:10 2:20");
        a.ask(Op::Set(1, 11));
        assert_eq!(a.ask(Op::Commit), "ok");
        let seen = b.ask(Op::ReadWhere(any));
        let expected = if level == ReadCommitted {
            "1:11 2:20"
        } else {
            "1:10 2:20"
        };
        assert_eq!(seen, expected);
    }
}

#[test]
fn g1c_circular_information_flow() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        a.ask(Op::Set(1, 11));
        b.ask(Op::Set(2, 22));
        assert_eq!(a.ask(Op::Read(2)), "20");
        assert_eq!(b.ask(Op::Read(1)), "10");
        let answers = [a.ask(Op::Commit), b.ask(Op::Commit)];
        let expected = if level == Serializable {
            ["ok", "40001"]
        } else {
            ["ok", "ok"]
        };
        assert_eq!(answers, expected);
    }
}

#[test]
fn otv_observed_transaction_vanishes() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b, c) = (case.begin(level), case.begin(level), case.begin(level));
        a.ask(Op::Set(1, 11));
        a.ask(Op::Set(2, 19));
        b.start(Op::Set(1, 12));
        case.blocks(&b);
        a.ask(Op::Commit);
        let updated = b.answer();
        let seen = c.ask(Op::Read(1));
        if level == ReadCommitted {
            assert_eq!((&updated[..], &seen[..]), ("ok", "11"));
            b.ask(Op::Set(2, 18));
            assert_eq!(c.ask(Op::Read(2)), "19");
            b.ask(Op::Commit);
            assert_eq!([c.ask(Op::Read(2)), c.ask(Op::Read(1))], ["18", "12"]);
        } else {
            assert_eq!((&updated[..], &seen[..]), ("40001", "11"));
            assert_eq!(c.ask(Op::Read(2)), "19");
        }
    }
}

#[test]
fn pmp_predicate_many_preceders() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        assert_eq!(a.ask(Op::ReadWhere(|v| v == 30)), "");
        b.ask(Op::Insert(3, 30));
        b.ask(Op::Commit);
        let seen = a.ask(Op::ReadWhere(|v| v % 3 == 0));
        assert_eq!(seen, if level == ReadCommitted { "3:30" } else { "" });
        // A reader is fine at every level: it stands before the writer.
        assert_eq!(a.ask(Op::Commit), "ok");
    }
}

#[test]
fn pmp_of_a_write_predicate() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        b.ask(Op::Read(1));
        assert_eq!(a.ask(Op::AddToAll(10)), "ok");
        b.start(Op::DeleteWhere(|v| v == 20));
        case.blocks(&b);
        a.ask(Op::Commit);
        if level == ReadCommitted {
            // The whole statement runs again: the row that is 20 now goes. (PostgreSQL looks at the
            // row alone, finds 30, and deletes none.)
            assert_eq!(b.answer(), "deleted 1");
            assert_eq!(b.ask(Op::ReadWhere(any)), "2:30");
        } else {
            assert_eq!(b.answer(), "40001");
        }
    }
}

#[test]
fn p4_lost_update() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        a.ask(Op::Read(1));
        b.ask(Op::Read(1));
        a.ask(Op::Set(1, 11));
        b.start(Op::Set(1, 11));
        case.blocks(&b);
        a.ask(Op::Commit);
        // READ COMMITTED allows it: the read was another statement.
        assert_eq!(
            b.answer(),
            if level == ReadCommitted {
                "ok"
            } else {
                "40001"
            }
        );
    }
}

#[test]
fn g_single_read_skew() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        assert_eq!(a.ask(Op::Read(1)), "10");
        b.ask(Op::Read(1));
        b.ask(Op::Read(2));
        b.ask(Op::Set(1, 12));
        b.ask(Op::Set(2, 18));
        assert_eq!(b.ask(Op::Commit), "ok");
        assert_eq!(
            a.ask(Op::Read(2)),
            if level == ReadCommitted { "18" } else { "20" }
        );
        assert_eq!(a.ask(Op::Commit), "ok");
        // With a predicate, and with a write that follows from it.
        let (a, b) = (case.begin(level), case.begin(level));
        assert_eq!(a.ask(Op::ReadWhere(|v| v % 5 == 0)), "");
        b.ask(Op::Set(1, 15));
        b.ask(Op::Commit);
        let seen = a.ask(Op::ReadWhere(|v| v % 5 == 0));
        assert_eq!(seen, if level == ReadCommitted { "1:15" } else { "" });
        let (a, b) = (case.begin(level), case.begin(level));
        assert_eq!(a.ask(Op::Read(1)), "15");
        b.ask(Op::Set(2, 20));
        b.ask(Op::Commit);
        let deleted = a.ask(Op::DeleteWhere(|v| v == 20));
        assert_eq!(
            deleted,
            if level == ReadCommitted {
                "deleted 1"
            } else {
                "deleted 0"
            }
        );
    }
}

#[test]
fn g2_item_write_skew() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        for session in [&a, &b] {
            session.ask(Op::Read(1));
            session.ask(Op::Read(2));
        }
        a.ask(Op::Set(1, 11));
        b.ask(Op::Set(2, 21));
        assert_eq!(a.ask(Op::Commit), "ok");
        let expected = if level == Serializable { "40001" } else { "ok" };
        assert_eq!(b.ask(Op::Commit), expected);
    }
}

#[test]
fn g2_anti_dependency_cycles() {
    for level in LEVELS {
        let case = Case::new();
        let (a, b) = (case.begin(level), case.begin(level));
        for session in [&a, &b] {
            assert_eq!(session.ask(Op::ReadWhere(|v| v % 3 == 0)), "");
        }
        a.ask(Op::Insert(3, 30));
        b.ask(Op::Insert(4, 42));
        assert_eq!(a.ask(Op::Commit), "ok");
        let expected = if level == Serializable { "40001" } else { "ok" };
        assert_eq!(b.ask(Op::Commit), expected);
    }
}

#[test]
fn g2_with_a_reader_between_two_writers() {
    let case = Case::new();
    let a = case.begin(Serializable);
    assert_eq!(a.ask(Op::ReadWhere(any)), "1:10 2:20");
    let b = case.begin(Serializable);
    assert_eq!(b.ask(Op::Read(2)), "20");
    assert_eq!(b.ask(Op::Set(2, 25)), "ok");
    assert_eq!(b.ask(Op::Commit), "ok");
    let c = case.begin(Serializable);
    assert_eq!(c.ask(Op::ReadWhere(any)), "1:10 2:25");
    assert_eq!(c.ask(Op::Commit), "ok");
    assert_eq!(a.ask(Op::Set(1, 0)), "ok");
    assert_eq!(a.ask(Op::Commit), "40001");
}

#[test]
fn two_serializable_writers_on_different_tables_overlap() {
    let case = Case::new();
    run(&case.database, async |t| {
        let columns = [("id", DataType::BigInt), ("value", DataType::BigInt)];
        let definition = table(t, "other", &columns);
        t.create_table(definition).await
    })
    .unwrap();
    let (a, b) = (case.begin(Serializable), case.begin(Serializable));
    assert_eq!(a.ask(Op::AddToAll(1)), "ok");
    b.ask(Op::Read(7));
    block_on(async {
        let mut t = case.database.begin(Begin::at(Serializable));
        t.statement(async |t| {
            let other = relation(t, "other")?;
            t.insert(&other, vec![int(1), int(1)]).await
        })
        .await
        .unwrap();
        // Both are open, both have written.
        assert_eq!(a.ask(Op::Commit), "ok");
        t.commit().await.unwrap();
    });
    assert_eq!(b.ask(Op::Commit), "ok");
}

#[test]
fn a_deadlock_has_its_victim_within_a_second() {
    let case = Case::new();
    let (a, b) = (case.begin(ReadCommitted), case.begin(ReadCommitted));
    // The view of `b` is taken first, its transaction began later.
    a.ask(Op::Set(1, 1));
    b.ask(Op::Set(2, 2));
    a.start(Op::Set(2, 1));
    case.blocks(&a);
    let start = Instant::now();
    let answer = b.ask(Op::Set(1, 2));
    assert_eq!(answer, "40P01");
    let waited = start.elapsed();
    b.ask(Op::Abort);
    assert_eq!(a.answer(), "ok");
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert_eq!(a.ask(Op::Commit), "ok");
}
