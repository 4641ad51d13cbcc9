//! Building an index beside writers.
//!
//! ```text
//! 1 write-only  its row is committed: from here on every entry of the log keeps it up
//! 2 wait        for writers that began before and do not know it
//! 3 backfill    the rows that were there, some at a time, each under its lock; uniqueness is judged here
//! 4 public      readers may use it
//! ```
//! Invariant: an index that is public has exactly the entries of the rows. One that is not is never
//! read; after a crash it stands in the catalog as write-only, and the build goes on or drops it.

use super::object::{Index, IndexState};
use super::schema::Relation;
use crate::catalog;
use crate::lock::{Mode, Target, Wait};
use crate::transaction::{Begin, Database, Error, KeyRange, Result, Transaction};
use crate::version::split_place;
use std::sync::Arc;

/// Rows of one backfill transaction: few enough that a writer waits milliseconds for them.
const BACKFILL_ROWS: usize = 256;

impl Database {
    /// Builds an index while others read and write the table.
    ///
    /// # Errors
    /// `Unique` if two rows have one key (the index is dropped then); `Duplicate`; those of a commit.
    pub async fn build_index(self: &Arc<Self>, index: Index) -> Result<()> {
        self.begin_index(index.clone()).await?;
        self.finish_index(index.table, index.id).await
    }

    /// The first step of a build.
    ///
    /// # Errors
    /// `Undefined`, `Duplicate`; those of a commit.
    pub async fn begin_index(self: &Arc<Self>, index: Index) -> Result<()> {
        let index = Index {
            state: IndexState::WriteOnly,
            ..index
        };
        self.again(async |t| {
            let relation = table_of(t, index.table)?;
            t.lock_table(index.table, Mode::IntentShare, Wait::Until(None))
                .await?;
            t.add_index(&relation.table.schema, index.clone()).await
        })
        .await
    }

    /// Indexes whose build was begun and not finished: table and index.
    ///
    /// # Errors
    /// Damage of the catalog.
    pub fn unfinished_indexes(self: &Arc<Self>) -> Result<Vec<(u64, u64)>> {
        let schema = self.schema()?;
        let indexes = schema
            .relations()
            .flat_map(|relation| relation.indexes.iter());
        let unfinished = indexes.filter(|index| index.state == IndexState::WriteOnly);
        Ok(unfinished.map(|index| (index.table, index.id)).collect())
    }

    /// The other steps, also after a crash.
    ///
    /// # Errors
    /// As [`Database::build_index`].
    pub async fn finish_index(self: &Arc<Self>, table: u64, index: u64) -> Result<()> {
        let older_writers = self.begin(Begin::default());
        let waited = self.locks().acquire(
            older_writers.owner(),
            Target::Table(table),
            Mode::TableShare,
            Wait::Until(None),
        );
        waited.await?;
        older_writers.rollback();
        let mut from = Some(Vec::new());
        while let Some(start) = from {
            let filled = self
                .again(async |t| backfill(t, table, index, &start).await)
                .await;
            from = match filled {
                Ok(next) => next,
                Err(error @ Error::Unique { .. }) => {
                    self.drop_unfinished(table, index).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
        }
        self.again(async |t| {
            let relation = table_of(t, table)?;
            let index = index_of(&relation, index)?;
            t.lock_table(table, Mode::IntentShare, Wait::Until(None))
                .await?;
            t.put_index(Index {
                state: IndexState::Public,
                ..index.clone()
            })
        })
        .await
    }

    /// Drops an index that is not public.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn drop_unfinished(self: &Arc<Self>, table: u64, index: u64) -> Result<()> {
        self.again(async |t| {
            let relation = table_of(t, table)?;
            let index = index_of(&relation, index)?.clone();
            t.drop_index(&relation, &index).await
        })
        .await
    }

    /// One statement as a transaction, again while it cannot be serialized.
    async fn again<T>(
        self: &Arc<Self>,
        mut body: impl AsyncFnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut transaction = self.begin(Begin::default());
            let outcome = match transaction.statement(&mut body).await {
                Ok(value) => transaction.commit().await.map(|_| value),
                Err(error) => Err(error),
            };
            match outcome {
                Err(Error::Serialization(_) | Error::Deadlock) => {}
                outcome => return outcome,
            }
        }
    }
}

fn table_of(transaction: &mut Transaction, table: u64) -> Result<Arc<Relation>> {
    let relation = transaction.schema()?.relation(table).cloned();
    relation.ok_or_else(|| Error::Undefined {
        kind: "relation",
        name: format!("#{table}"),
    })
}

fn index_of(relation: &Relation, index: u64) -> Result<&Index> {
    let found = relation.indexes.iter().find(|known| known.id == index);
    found.ok_or_else(|| Error::Undefined {
        kind: "index",
        name: format!("#{index}"),
    })
}

/// Makes the entries of some rows; the key to go on from, if there are more.
async fn backfill(
    transaction: &mut Transaction,
    table: u64,
    index: u64,
    start: &[u8],
) -> Result<Option<Vec<u8>>> {
    let relation = table_of(transaction, table)?;
    let index = index_of(&relation, index)?;
    let range = KeyRange {
        from: start.to_vec(),
        to: None,
    };
    let storage = relation.table.storage();
    let mut rows = transaction.scan(storage, &range, false)?;
    for _ in 0..BACKFILL_ROWS {
        let Some(row) = rows.next() else {
            return Ok(None);
        };
        let (place, bytes) = row?;
        let key = split_place(&place).map(|(_, key)| key).unwrap_or_default();
        transaction
            .lock_row(&relation, key, Mode::Share, None)
            .await?;
        let values = catalog::values(&relation.table, &bytes)?;
        transaction
            .fill_entry(&relation, index, key, &values)
            .await?;
    }
    let Some(next) = rows.next() else {
        return Ok(None);
    };
    let (place, _) = next?;
    Ok(split_place(&place).map(|(_, key)| key.to_vec()))
}
