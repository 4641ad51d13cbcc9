//! Changing the catalog inside a transaction.
//!
//! A change locks the name or the object, looks whether somebody changed it since the view, and writes
//! the new row: it is seen with the commit, undone with the rollback, and read by the transaction itself
//! at once. Whoever changes a table takes it alone; readers go on over their own schema.

use super::object::{Index, IndexState, Object, Sequence, Table};
use super::schema::{
    Relation, index_key, name_key, other_key, schema_key, sequence_key, table_key,
};
use crate::catalog;
use crate::entry::StorageId;
use crate::lock::{Mode, Target};
use crate::store::CATALOG;
use crate::transaction::{Error, KeyRange, Result, Transaction};
use std::sync::Arc;

impl Transaction {
    /// A new number for an object or a storage.
    pub fn new_object_id(&self) -> u64 {
        self.database().new_object_id()
    }

    /// Locks a row of the catalog and makes sure that it is still what the view shows.
    async fn lock_catalog(&mut self, key: &[u8]) -> Result<()> {
        self.check_ddl()?;
        let patience = self.patience_for_ddl();
        let target = Target::Row(CATALOG.0, CATALOG.0, key.into());
        self.lock(target, Mode::Update, patience).await?;
        self.check_catalog_row(key)
    }

    async fn take_name(&mut self, kind: &'static str, schema: &str, name: &str) -> Result<()> {
        let key = name_key(schema, name);
        self.lock_catalog(&key).await?;
        if self.schema()?.has_name(schema, name) {
            return Err(Error::Duplicate {
                kind,
                name: name.to_owned(),
            });
        }
        self.put_raw(CATALOG, &key, Some(Vec::new()))
    }

    async fn give_name(&mut self, schema: &str, name: &str) -> Result<()> {
        let key = name_key(schema, name);
        self.lock_catalog(&key).await?;
        self.put_raw(CATALOG, &key, None)
    }

    /// Creates a schema.
    ///
    /// # Errors
    /// `Duplicate`, locks, `ReadOnly`.
    pub async fn create_schema(&mut self, name: &str) -> Result<()> {
        let key = schema_key(name);
        self.lock_catalog(&key).await?;
        if self.schema()?.schemas().iter().any(|known| known == name) {
            return Err(Error::Duplicate {
                kind: "schema",
                name: name.to_owned(),
            });
        }
        let row = Object::Schema(name.to_owned()).to_bytes();
        self.put_raw(CATALOG, &key, Some(row))
    }

    /// Drops an empty schema.
    ///
    /// # Errors
    /// `Dependent`, locks, `ReadOnly`.
    pub async fn drop_schema(&mut self, name: &str) -> Result<()> {
        let key = schema_key(name);
        self.lock_catalog(&key).await?;
        let schema = self.schema()?;
        let used = schema
            .relations()
            .any(|relation| relation.table.schema == name)
            || schema.sequences().any(|sequence| sequence.schema == name);
        if used {
            return Err(Error::Dependent {
                name: name.to_owned(),
            });
        }
        self.put_raw(CATALOG, &key, None)
    }

    /// Creates a table. Its id and storage come from [`Transaction::new_object_id`].
    ///
    /// # Errors
    /// `Duplicate`, locks, `ReadOnly`.
    pub async fn create_table(&mut self, table: Table) -> Result<()> {
        self.take_name("relation", &table.schema, &table.name)
            .await?;
        self.lock(
            Target::Table(table.id),
            Mode::TableExclusive,
            self.patience_for_ddl(),
        )
        .await?;
        for key in &table.foreign_keys {
            // The parent may not go or change its keys before we are committed.
            let patience = self.patience_for_ddl();
            self.lock(Target::Table(key.parent), Mode::TableShare, patience)
                .await?;
        }
        let key = table_key(table.id);
        self.put_raw(CATALOG, &key, Some(Object::Table(table).to_bytes()))
    }

    /// Puts another definition of a table in place of the one it has: ALTER, and TRUNCATE or a rewrite
    /// by another storage id. Rows are the caller's affair.
    ///
    /// # Errors
    /// `Duplicate` for a new name that is taken; locks; `ReadOnly`; `Restart`.
    pub async fn alter_table(&mut self, before: &Arc<Relation>, after: Table) -> Result<()> {
        self.check_ddl()?;
        let id = before.table.id;
        self.lock_table(id, Mode::TableExclusive, self.patience_for_ddl())
            .await?;
        if (&after.schema, &after.name) != (&before.table.schema, &before.table.name) {
            self.take_name("relation", &after.schema, &after.name)
                .await?;
            self.give_name(&before.table.schema, &before.table.name)
                .await?;
        }
        self.put_raw(
            CATALOG,
            &table_key(id),
            Some(Object::Table(after).to_bytes()),
        )
    }

    /// Empties a table and its indexes by giving them new storages.
    ///
    /// # Errors
    /// `Dependent` if rows of other tables may point here; locks; `ReadOnly`; `Restart`.
    pub async fn truncate(&mut self, relation: &Arc<Relation>) -> Result<()> {
        let schema = self.schema()?;
        let id = relation.table.id;
        if schema.children(id).any(|child| child.table.id != id) {
            return Err(Error::Dependent {
                name: relation.table.name.clone(),
            });
        }
        let mut table = relation.table.clone();
        table.storage = self.new_object_id();
        self.alter_table(relation, table).await?;
        for index in &relation.indexes {
            let mut index = index.clone();
            index.storage = self.new_object_id();
            self.put_index(index)?;
        }
        Ok(())
    }

    /// Drops a table with its indexes.
    ///
    /// # Errors
    /// `Dependent` if other tables point to it; locks; `ReadOnly`; `Restart`.
    pub async fn drop_table(&mut self, relation: &Arc<Relation>) -> Result<()> {
        self.check_ddl()?;
        let table = &relation.table;
        self.lock_table(table.id, Mode::TableExclusive, self.patience_for_ddl())
            .await?;
        if self
            .schema()?
            .children(table.id)
            .any(|child| child.table.id != table.id)
        {
            return Err(Error::Dependent {
                name: table.name.clone(),
            });
        }
        for index in &relation.indexes {
            self.give_name(&table.schema, &index.name).await?;
            self.put_raw(CATALOG, &index_key(table.id, index.id), None)?;
        }
        self.give_name(&table.schema, &table.name).await?;
        self.put_raw(CATALOG, &table_key(table.id), None)
    }

    /// Creates an index, with the entries of the rows that are there, while nobody else writes to the
    /// table. `Database::build_index` builds one beside writers.
    ///
    /// # Errors
    /// `Unique`, `Duplicate`, locks, `ReadOnly`, `Restart`.
    pub async fn create_index(&mut self, relation: &Arc<Relation>, index: Index) -> Result<()> {
        self.check_ddl()?;
        let table = &relation.table;
        self.lock_table(table.id, Mode::TableExclusive, self.patience_for_ddl())
            .await?;
        self.take_name("relation", &table.schema, &index.name)
            .await?;
        let index = Index {
            state: IndexState::Public,
            ..index
        };
        let mut last: Option<(Vec<u8>, bool)> = None;
        let mut entries = Vec::new();
        for row in self.rows_with_own(table.storage(), &KeyRange::all())? {
            let (place, bytes) = row?;
            let key = crate::version::split_place(&place).map(|(_, key)| key.to_vec());
            let values = catalog::values(table, &bytes)?;
            let Some((prefix, has_null)) = self.index_prefix(relation, &index, &values)? else {
                continue;
            };
            entries.push((prefix, has_null, key.unwrap_or_default()));
        }
        entries.sort();
        for (prefix, has_null, key) in entries {
            let counts = !has_null || index.nulls_not_distinct;
            if index.unique && counts && last.as_ref().is_some_and(|(before, _)| *before == prefix)
            {
                return Err(Error::Unique {
                    constraint: index.name.clone(),
                });
            }
            let (entry_key, value) = catalog::entry(&prefix, &key);
            self.put_index_entry(index.storage(), &entry_key, Some(&value))?;
            last = Some((prefix, has_null));
        }
        self.put_index(index)
    }

    /// Puts an index's row in place.
    pub(crate) fn put_index(&mut self, index: Index) -> Result<()> {
        let key = index_key(index.table, index.id);
        self.put_raw(CATALOG, &key, Some(Object::Index(index).to_bytes()))
    }

    /// Creates the row of an index and takes its name.
    pub(crate) async fn add_index(&mut self, schema: &str, index: Index) -> Result<()> {
        self.take_name("relation", schema, &index.name).await?;
        self.put_index(index)
    }

    /// Drops an index.
    ///
    /// # Errors
    /// Locks, `ReadOnly`, `Restart`.
    pub async fn drop_index(&mut self, relation: &Arc<Relation>, index: &Index) -> Result<()> {
        self.check_ddl()?;
        let table = &relation.table;
        self.lock_table(table.id, Mode::TableExclusive, self.patience_for_ddl())
            .await?;
        self.give_name(&table.schema, &index.name).await?;
        self.put_raw(CATALOG, &index_key(table.id, index.id), None)
    }

    /// Creates a sequence, or puts another definition in its place.
    ///
    /// # Errors
    /// `Duplicate`, locks, `ReadOnly`.
    pub async fn put_sequence(&mut self, sequence: Sequence) -> Result<()> {
        let key = sequence_key(sequence.id);
        self.lock_catalog(&key).await?;
        let before = self.schema()?.sequence(sequence.id).cloned();
        let name = |sequence: &Sequence| (sequence.schema.clone(), sequence.name.clone());
        if before.as_ref().map(|before| name(before)) != Some(name(&sequence)) {
            self.take_name("relation", &sequence.schema, &sequence.name)
                .await?;
            if let Some(before) = before {
                self.give_name(&before.schema, &before.name).await?;
            }
        }
        self.put_raw(CATALOG, &key, Some(Object::Sequence(sequence).to_bytes()))
    }

    /// Drops a sequence.
    ///
    /// # Errors
    /// Locks, `ReadOnly`.
    pub async fn drop_sequence(&mut self, sequence: &Sequence) -> Result<()> {
        let key = sequence_key(sequence.id);
        self.lock_catalog(&key).await?;
        self.give_name(&sequence.schema, &sequence.name).await?;
        self.put_raw(CATALOG, &key, None)
    }

    /// Puts or removes an object of what is built above: a view, a type, a role.
    ///
    /// # Errors
    /// Locks, `ReadOnly`, `Restart`.
    pub async fn put_other(
        &mut self,
        kind: &str,
        schema: &str,
        name: &str,
        definition: Option<Vec<u8>>,
    ) -> Result<()> {
        let key = other_key(kind, schema, name);
        self.lock_catalog(&key).await?;
        let row = definition.map(|definition| {
            let object = Object::Other(
                kind.to_owned(),
                schema.to_owned(),
                name.to_owned(),
                definition,
            );
            object.to_bytes()
        });
        self.put_raw(CATALOG, &key, row)
    }

    fn index_prefix(
        &self,
        relation: &Relation,
        index: &Index,
        values: &[crate::types::Value],
    ) -> Result<Option<(Vec<u8>, bool)>> {
        self.index_key_of(relation, index, values)
    }

    /// Puts an entry of an index into the log as it is.
    pub(crate) fn put_index_entry(
        &mut self,
        storage: StorageId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<()> {
        self.put_entry(storage, key, value)
    }
}
