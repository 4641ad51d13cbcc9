//! Changing rows: locks first, then the write set, with every index entry touched.

use super::constraint::{Deferred, Pending};
use super::error::{Error, Result};
use super::layer::{Write, WriteKind};
use super::state::Transaction;
use crate::catalog::{self, Index, Relation, Timing};
use crate::entry::StorageId;
use crate::lock::Mode;
use crate::row;
use crate::types::Value;
use crate::version::place;
use std::sync::Arc;

/// An index entry of a row.
struct IndexEntry {
    storage: StorageId,
    key: Vec<u8>,
    value: Vec<u8>,
    kind: WriteKind,
}

impl Transaction {
    /// Inserts a row. For a table with a hidden key the last value is given here.
    ///
    /// # Errors
    /// Violated constraints, locks, `ReadOnly`, `Restart`.
    pub async fn insert(
        &mut self,
        relation: &Arc<Relation>,
        mut values: Vec<Value>,
    ) -> Result<Vec<u8>> {
        self.check_writable("INSERT")?;
        let table = &relation.table;
        if table.hidden_key && values.len() + 1 == table.columns.len() {
            values.push(Value::BigInt(
                self.database.clone().next_row_number().await?,
            ));
        }
        self.check_row(relation, &values)?;
        let key = catalog::row_key(table, &values)?;
        self.lock_table(table.id, Mode::IntentExclusive, self.patience())
            .await?;
        let patience = self.patience();
        self.lock_key(table.id, table.storage(), &key, Mode::Update, patience)
            .await?;
        if self.latest_at(table.storage(), &key)?.is_some() {
            return Err(Error::Unique {
                constraint: table.primary_name.clone(),
            });
        }
        self.check_unique(relation, None, &values, &key).await?;
        self.check_parents(relation, None, &values, &key)?;
        self.put(relation, &key, None, Some(&values))?;
        Ok(key)
    }

    /// Changes a row from what the view shows to something else; its key may change.
    ///
    /// # Errors
    /// Violated constraints, locks, `ReadOnly`, `Restart`.
    pub async fn update(
        &mut self,
        relation: &Arc<Relation>,
        old: &[Value],
        new: Vec<Value>,
    ) -> Result<()> {
        self.check_writable("UPDATE")?;
        let table = &relation.table;
        self.check_row(relation, &new)?;
        let old_key = catalog::row_key(table, old)?;
        let new_key = catalog::row_key(table, &new)?;
        let mode = match self.changes_a_key(relation, old, &new) {
            true => Mode::Update,
            false => Mode::NoKeyUpdate,
        };
        self.lock_row(relation, &old_key, mode, None).await?;
        if new_key != old_key {
            let patience = self.patience();
            self.lock_key(table.id, table.storage(), &new_key, Mode::Update, patience)
                .await?;
            if self.latest_at(table.storage(), &new_key)?.is_some() {
                return Err(Error::Unique {
                    constraint: table.primary_name.clone(),
                });
            }
        }
        self.check_unique(relation, Some(old), &new, &new_key)
            .await?;
        self.check_parents(relation, Some(old), &new, &new_key)?;
        self.check_children(relation, old, Some(&new))?;
        if new_key == old_key {
            self.put(relation, &old_key, Some(old), Some(&new))
        } else {
            self.put(relation, &old_key, Some(old), None)?;
            self.put(relation, &new_key, None, Some(&new))
        }
    }

    /// Removes a row that the view shows.
    ///
    /// # Errors
    /// Violated constraints, locks, `ReadOnly`, `Restart`.
    pub async fn delete(&mut self, relation: &Arc<Relation>, old: &[Value]) -> Result<()> {
        self.check_writable("DELETE")?;
        let key = catalog::row_key(&relation.table, old)?;
        self.lock_row(relation, &key, Mode::Update, None).await?;
        self.check_children(relation, old, None)?;
        self.put(relation, &key, Some(old), None)
    }

    /// True if a column of the primary key or of a unique index changes: then nobody may hold on to
    /// the row as a parent.
    fn changes_a_key(&self, relation: &Relation, old: &[Value], new: &[Value]) -> bool {
        let changed = |column: &usize| !old[*column].is_same(&new[*column]);
        let unique = relation.indexes.iter().filter(|index| index.unique);
        let mut columns = unique
            .flat_map(|index| index.parts.iter())
            .map(|(part, _)| part);
        relation.table.primary_key.iter().any(changed)
            || columns.any(|part| match part {
                catalog::IndexPart::Column(column) => changed(column),
                catalog::IndexPart::Expression(_) => true,
            })
    }

    /// The entry of a row in an index, and whether NULL is in its key; none outside a partial index.
    pub(super) fn index_key(
        &self,
        relation: &Relation,
        index: &Index,
        values: &[Value],
    ) -> Result<Option<(Vec<u8>, bool)>> {
        if index.is_plain() {
            return Ok(Some(catalog::index_prefix(index, values)?));
        }
        let expressions = &self.database.options.expressions;
        let Some(parts) = expressions.index_values(&relation.table, index, values)? else {
            return Ok(None);
        };
        let prefix = crate::key::encode(&parts, &catalog::directions(index))?;
        Ok(Some((prefix, parts.iter().any(Value::is_null))))
    }

    fn index_entries(
        &self,
        relation: &Relation,
        key: &[u8],
        values: Option<&[Value]>,
    ) -> Result<Vec<IndexEntry>> {
        let Some(values) = values else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::with_capacity(relation.indexes.len());
        for index in &relation.indexes {
            let Some((prefix, _)) = self.index_key(relation, index, values)? else {
                continue;
            };
            let (key, value) = catalog::entry(&prefix, key);
            let plain = index.is_plain();
            entries.push(IndexEntry {
                storage: index.storage(),
                key,
                value,
                kind: if plain {
                    WriteKind::Derived
                } else {
                    WriteKind::Index
                },
            });
        }
        Ok(entries)
    }

    /// Writes a row and its index entries into the top layer and touches all of them.
    fn put(
        &mut self,
        relation: &Relation,
        key: &[u8],
        old: Option<&[Value]>,
        new: Option<&[Value]>,
    ) -> Result<()> {
        let row_place = place(relation.table.storage(), key);
        let before = self.index_entries(relation, key, old)?;
        let after = self.index_entries(relation, key, new)?;
        let omit = self.database.options.planted.touched_omits_unchanged_index;
        let is_in = |entries: &[IndexEntry], one: &IndexEntry| {
            entries
                .iter()
                .any(|other| other.storage == one.storage && other.key == one.key)
        };
        for (entries, others) in [(&before, &after), (&after, &before)] {
            for entry in entries {
                if !(omit && is_in(others, entry)) {
                    self.writes.touch(place(entry.storage, &entry.key));
                }
            }
        }
        for entry in before.iter().filter(|entry| !is_in(&after, entry)) {
            let write = Write {
                row: None,
                kind: entry.kind,
            };
            self.writes.write(place(entry.storage, &entry.key), write)?;
        }
        for entry in after.iter().filter(|entry| !is_in(&before, entry)) {
            let write = Write {
                row: Some(entry.value.as_slice().into()),
                kind: entry.kind,
            };
            self.writes.write(place(entry.storage, &entry.key), write)?;
        }
        let row = new.map(row::encode).transpose()?;
        self.writes.touch(row_place.clone());
        let write = Write {
            row: row.map(Arc::from),
            kind: WriteKind::Row,
        };
        Ok(self.writes.write(row_place, write)?)
    }

    /// Unique indexes: a lock on (index, key), then a look at the latest state.
    async fn check_unique(
        &mut self,
        relation: &Arc<Relation>,
        old: Option<&[Value]>,
        new: &[Value],
        row_key: &[u8],
    ) -> Result<()> {
        for index in relation.indexes.iter().filter(|index| index.unique) {
            let Some((prefix, has_null)) = self.index_key(relation, index, new)? else {
                continue;
            };
            if has_null && !index.nulls_not_distinct {
                continue;
            }
            let before = old
                .map(|old| self.index_key(relation, index, old))
                .transpose()?;
            if before.flatten().is_some_and(|(before, _)| before == prefix) {
                continue;
            }
            let patience = self.patience();
            self.lock_key(
                relation.table.id,
                index.storage(),
                &prefix,
                Mode::Update,
                patience,
            )
            .await?;
            match index.constraint {
                Some(timing @ (Timing::Deferrable | Timing::Deferred)) => {
                    let pending = Pending::Unique {
                        relation: relation.clone(),
                        index: index.id,
                        prefix,
                    };
                    self.defer(timing, pending);
                }
                Some(Timing::Immediate) | None => {
                    if self.others_in_index(index, &prefix, row_key)? > 0 {
                        return Err(Error::Unique {
                            constraint: index.name.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts the entry of a row that is there already into an index that is being built.
    pub(crate) async fn fill_entry(
        &mut self,
        relation: &Relation,
        index: &Index,
        row_key: &[u8],
        values: &[Value],
    ) -> Result<()> {
        let Some((prefix, has_null)) = self.index_key(relation, index, values)? else {
            return Ok(());
        };
        if index.unique && (!has_null || index.nulls_not_distinct) {
            let patience = self.patience();
            self.lock_key(
                relation.table.id,
                index.storage(),
                &prefix,
                Mode::Update,
                patience,
            )
            .await?;
            if self.others_in_index(index, &prefix, row_key)? > 0 {
                return Err(Error::Unique {
                    constraint: index.name.clone(),
                });
            }
        }
        let (key, value) = catalog::entry(&prefix, row_key);
        self.put_entry(index.storage(), &key, Some(&value))
    }

    pub(super) fn defer(&mut self, timing: Timing, pending: Pending) {
        let at_commit = match (timing, self.constraints_deferred) {
            (Timing::Immediate, _) => false,
            (_, Some(deferred)) => deferred,
            (timing, None) => timing == Timing::Deferred,
        };
        self.deferred.push(Deferred {
            depth: self.writes.depth(),
            at_commit,
            pending,
        });
    }
}
