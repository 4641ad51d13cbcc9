//! Constraints: NOT NULL, CHECK, UNIQUE, FOREIGN KEY, at once, at the end of a statement or at the
//! commit.
//!
//! Invariant: they read the latest committed state and the transaction's own writes, under locks that
//! keep others from changing what was read: (index, key) for uniqueness, KEY SHARE on the parent for a
//! foreign key, UPDATE on a parent that goes away. What they read is in the read set.

use super::access::KeyRange;
use super::error::{Error, Result};
use super::state::{Isolation, Transaction};
use crate::catalog::{self, Action, Check, ForeignKey, Index, IndexPart, Relation, Table, Timing};
use crate::key;
use crate::lock::Mode;
use crate::types::Value;
use crate::version::split_place;
use std::fmt::Debug;
use std::sync::Arc;

/// Evaluates what the catalog keeps as SQL.
pub trait Expressions: Debug + Send + Sync {
    /// A CHECK of a row: true, false, or unknown, which passes.
    ///
    /// # Errors
    /// What the expression raises.
    fn check(&self, table: &Table, check: &Check, row: &[Value]) -> Result<Option<bool>>;
    /// The values of an index's parts for a row; `None` where its predicate does not hold.
    ///
    /// # Errors
    /// What the expressions raise.
    fn index_values(
        &self,
        table: &Table,
        index: &Index,
        row: &[Value],
    ) -> Result<Option<Vec<Value>>>;
}

/// Evaluates nothing and says so.
#[derive(Debug)]
pub struct NoExpressions;

impl Expressions for NoExpressions {
    fn check(&self, table: &Table, check: &Check, _row: &[Value]) -> Result<Option<bool>> {
        Err(Error::Type(format!(
            "no evaluator for check \"{}\" of \"{}\"",
            check.name, table.name
        )))
    }

    fn index_values(
        &self,
        _table: &Table,
        index: &Index,
        _row: &[Value],
    ) -> Result<Option<Vec<Value>>> {
        Err(Error::Type(format!(
            "no evaluator for index \"{}\"",
            index.name
        )))
    }
}

/// A check that is still to be made.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    /// At most one row has this key.
    Unique {
        relation: Arc<Relation>,
        index: u64,
        prefix: Vec<u8>,
    },
    /// The row at this key has a parent.
    Parent {
        relation: Arc<Relation>,
        constraint: usize,
        key: Vec<u8>,
    },
    /// A row lost the key that its children point to.
    Children {
        child: Arc<Relation>,
        constraint: usize,
        parent: Arc<Relation>,
        old: Vec<Value>,
        /// The new values of the parent's columns, if the row is still there.
        new: Option<Vec<Value>>,
    },
}

/// When, and in which layer it came to be.
#[derive(Debug, Clone)]
pub(super) struct Deferred {
    pub(super) depth: usize,
    pub(super) at_commit: bool,
    pub(super) pending: Pending,
}

impl Transaction {
    /// SET CONSTRAINTS ALL. Going back to immediate checks what was deferred.
    ///
    /// # Errors
    /// Violated constraints.
    pub async fn set_constraints_deferred(&mut self, deferred: bool) -> Result<()> {
        self.constraints_deferred = Some(deferred);
        match deferred {
            true => Ok(()),
            false => self.check_deferred().await,
        }
    }

    /// NOT NULL and CHECK.
    pub(super) fn check_row(&self, relation: &Relation, values: &[Value]) -> Result<()> {
        let table = &relation.table;
        if values.len() != table.columns.len() {
            return Err(Error::State("a row has a value for each column"));
        }
        for (index, (column, value)) in table.columns.iter().zip(values).enumerate() {
            let required = column.not_null || table.primary_key.contains(&index);
            if required && !column.dropped && value.is_null() {
                return Err(Error::NotNull {
                    column: column.name.clone(),
                    table: table.name.clone(),
                });
            }
        }
        for check in &table.checks {
            let verdict = self
                .database
                .options
                .expressions
                .check(table, check, values)?;
            if verdict == Some(false) {
                return Err(Error::Check {
                    constraint: check.name.clone(),
                    table: table.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Rows with this key in an index other than the one at `row_key`.
    pub(super) fn others_in_index(
        &mut self,
        index: &Index,
        prefix: &[u8],
        row_key: &[u8],
    ) -> Result<usize> {
        let mut others = 0;
        for entry in self.latest(index.storage(), &KeyRange::prefix(prefix))? {
            let (place, value) = entry?;
            let key = split_place(&place).map(|(_, key)| key).unwrap_or_default();
            others += usize::from(catalog::row_key_of(key, &value)? != row_key);
        }
        Ok(others)
    }

    /// Notes the foreign keys of a row that must have a parent.
    pub(super) fn check_parents(
        &mut self,
        relation: &Arc<Relation>,
        old: Option<&[Value]>,
        new: &[Value],
        row_key: &[u8],
    ) -> Result<()> {
        for (constraint, key) in relation.table.foreign_keys.iter().enumerate() {
            let has_null = key.columns.iter().any(|column| new[*column].is_null());
            let same = |column: &usize| old.is_some_and(|old| old[*column].is_same(&new[*column]));
            if has_null || key.columns.iter().all(same) {
                continue;
            }
            let pending = Pending::Parent {
                relation: relation.clone(),
                constraint,
                key: row_key.to_vec(),
            };
            self.defer(key.timing, pending);
        }
        Ok(())
    }

    /// Notes the foreign keys of others that point to a row that goes or changes its key.
    pub(super) fn check_children(
        &mut self,
        relation: &Arc<Relation>,
        old: &[Value],
        new: Option<&[Value]>,
    ) -> Result<()> {
        let schema = self.schema()?;
        for child in schema.children(relation.table.id) {
            for (constraint, key) in child.table.foreign_keys.iter().enumerate() {
                let of = |row: &[Value]| -> Vec<Value> {
                    key.parent_columns
                        .iter()
                        .map(|column| row[*column].clone())
                        .collect()
                };
                let before = of(old);
                let after = new.map(of);
                if key.parent != relation.table.id
                    || before.iter().any(Value::is_null)
                    || after.as_ref() == Some(&before)
                {
                    continue;
                }
                let pending = Pending::Children {
                    child: child.clone(),
                    constraint,
                    parent: relation.clone(),
                    old: before,
                    new: after,
                };
                let action = if new.is_some() {
                    key.on_update
                } else {
                    key.on_delete
                };
                // Only NO ACTION can wait for the commit.
                let timing = match action {
                    Action::NoAction => key.timing,
                    Action::Restrict | Action::Cascade | Action::SetNull => Timing::Immediate,
                };
                self.defer(timing, pending);
            }
        }
        Ok(())
    }

    /// What is due at the end of a statement. Cascades may make more.
    pub(super) async fn check_statement(&mut self) -> Result<()> {
        while let Some(place) = self
            .deferred
            .iter()
            .position(|deferred| !deferred.at_commit)
        {
            let Deferred { pending, .. } = self.deferred.remove(place);
            self.check_pending(pending).await?;
        }
        Ok(())
    }

    /// What is due at the commit.
    pub(super) async fn check_deferred(&mut self) -> Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        for deferred in &mut self.deferred {
            deferred.at_commit = false;
        }
        if self.begin.isolation == Isolation::ReadCommitted {
            self.renew_view();
        }
        self.check_statement().await
    }

    async fn check_pending(&mut self, pending: Pending) -> Result<()> {
        match pending {
            Pending::Unique {
                relation,
                index,
                prefix,
            } => {
                let index = relation.indexes.iter().find(|other| other.id == index);
                let Some(index) = index else { return Ok(()) };
                match self.others_in_index(index, &prefix, &[])? > 1 {
                    true => Err(Error::Unique {
                        constraint: index.name.clone(),
                    }),
                    false => Ok(()),
                }
            }
            Pending::Parent {
                relation,
                constraint,
                key,
            } => {
                let foreign = &relation.table.foreign_keys[constraint];
                let Some(row) = self.latest_at(relation.table.storage(), &key)? else {
                    return Ok(());
                };
                let row = catalog::values(&relation.table, &row)?;
                let values: Vec<Value> = foreign
                    .columns
                    .iter()
                    .map(|column| row[*column].clone())
                    .collect();
                if values.iter().any(Value::is_null) || self.hold_parent(foreign, &values).await? {
                    return Ok(());
                }
                Err(foreign_key(foreign, &relation))
            }
            Pending::Children {
                child,
                constraint,
                parent,
                old,
                new,
            } => Box::pin(self.settle_children(&child, constraint, &parent, old, new)).await,
        }
    }

    /// Takes KEY SHARE on the parent with these values; false if there is none.
    async fn hold_parent(&mut self, foreign: &ForeignKey, values: &[Value]) -> Result<bool> {
        let schema = self.schema()?;
        let Some(parent) = schema.relation(foreign.parent).cloned() else {
            return Ok(false);
        };
        // Between finding the row and holding it, it may go; then look again.
        loop {
            let Some(key) = self.find_by(&parent, &foreign.parent_columns, values)? else {
                return Ok(false);
            };
            self.lock_table(parent.table.id, Mode::IntentShare, self.patience())
                .await?;
            let patience = self.patience();
            self.lock_key(
                parent.table.id,
                parent.table.storage(),
                &key,
                Mode::KeyShare,
                patience,
            )
            .await?;
            if self
                .find_by(&parent, &foreign.parent_columns, values)?
                .as_ref()
                == Some(&key)
            {
                return Ok(true);
            }
        }
    }

    /// The key of the row with these values in unique columns, in the latest state.
    fn find_by(
        &mut self,
        relation: &Relation,
        columns: &[usize],
        values: &[Value],
    ) -> Result<Option<Vec<u8>>> {
        let value_of = |column: usize| {
            let place = columns.iter().position(|other| *other == column);
            place.map(|place| &values[place])
        };
        let primary: Option<Vec<&Value>> = relation
            .table
            .primary_key
            .iter()
            .map(|column| value_of(*column))
            .collect();
        if let Some(primary) = primary
            && primary.len() == columns.len()
        {
            let key = key::encode(primary, &[])?;
            let found = self.latest_at(relation.table.storage(), &key)?;
            return Ok(found.map(|_| key));
        }
        for index in relation
            .indexes
            .iter()
            .filter(|index| index.unique && index.is_plain())
        {
            let parts: Option<Vec<&Value>> = index
                .parts
                .iter()
                .map(|(part, _)| match part {
                    IndexPart::Column(column) => value_of(*column),
                    IndexPart::Expression(_) => None,
                })
                .collect();
            let Some(parts) = parts.filter(|parts| parts.len() == columns.len()) else {
                continue;
            };
            let prefix = key::encode(parts, &catalog::directions(index))?;
            let mut entries = self.latest(index.storage(), &KeyRange::prefix(&prefix))?;
            let Some(entry) = entries.next() else {
                return Ok(None);
            };
            let (place, value) = entry?;
            let entry_key = split_place(&place).map(|(_, key)| key).unwrap_or_default();
            return Ok(Some(catalog::row_key_of(entry_key, &value)?.to_vec()));
        }
        Err(Error::State(
            "a foreign key points to columns without a unique constraint",
        ))
    }

    /// Keys and rows of the children with these values, in the latest state.
    fn children_of(
        &mut self,
        child: &Relation,
        foreign: &ForeignKey,
        values: &[Value],
    ) -> Result<Vec<Vec<Value>>> {
        let leading = |index: &&Index| {
            let columns = index.parts.iter().take(foreign.columns.len());
            index.is_plain()
                && index.parts.len() >= foreign.columns.len()
                && columns
                    .zip(&foreign.columns)
                    .all(|((part, _), column)| *part == IndexPart::Column(*column))
        };
        let mut rows = Vec::new();
        let table = &child.table;
        let matches = |row: &[Value]| {
            let pairs = foreign.columns.iter().zip(values);
            pairs.into_iter().all(|(column, value)| {
                row[*column].compare(value) == Some(std::cmp::Ordering::Equal)
            })
        };
        if let Some(index) = child.indexes.iter().find(leading) {
            let prefix = key::encode(values, &catalog::directions(index))?;
            for entry in self.latest(index.storage(), &KeyRange::prefix(&prefix))? {
                let (place, value) = entry?;
                let entry_key = split_place(&place).map(|(_, key)| key).unwrap_or_default();
                let key = catalog::row_key_of(entry_key, &value)?;
                if let Some(row) = self.latest_at(table.storage(), key)? {
                    rows.push(catalog::values(table, &row)?);
                }
            }
        } else {
            for row in self.latest(table.storage(), &KeyRange::all())? {
                let row = catalog::values(table, &row?.1)?;
                if matches(&row) {
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    /// Does to the children of a row what their constraint says.
    async fn settle_children(
        &mut self,
        child: &Arc<Relation>,
        constraint: usize,
        parent: &Arc<Relation>,
        old: Vec<Value>,
        new: Option<Vec<Value>>,
    ) -> Result<()> {
        let foreign = &child.table.foreign_keys[constraint];
        let action = if new.is_some() {
            foreign.on_update
        } else {
            foreign.on_delete
        };
        // Another row may have taken the key in the meantime.
        let replaced = action == Action::NoAction
            && self
                .find_by(parent, &foreign.parent_columns, &old)?
                .is_some();
        if replaced {
            return Ok(());
        }
        for row in self.children_of(child, foreign, &old)? {
            match action {
                Action::NoAction | Action::Restrict => return Err(foreign_key(foreign, child)),
                Action::Cascade if new.is_none() => self.delete(child, &row).await?,
                Action::Cascade | Action::SetNull => {
                    let mut changed = row.clone();
                    for (place, column) in foreign.columns.iter().enumerate() {
                        changed[*column] = match (&new, action) {
                            (Some(new), Action::Cascade) => new[place].clone(),
                            _ => Value::Null,
                        };
                    }
                    self.update(child, &row, changed).await?;
                }
            }
        }
        Ok(())
    }
}

fn foreign_key(foreign: &ForeignKey, relation: &Relation) -> Error {
    Error::ForeignKey {
        constraint: foreign.name.clone(),
        table: relation.table.name.clone(),
    }
}
