//! One schema: all objects as of a timestamp, by id and by name.

use super::object::{Index, Object, Sequence, Table};
use crate::entry::StorageId;
use crate::store::{CATALOG, StoreError};
use crate::version::place;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Key of a schema's row.
pub fn schema_key(name: &str) -> Vec<u8> {
    text_key(b's', &[name])
}

/// Key of a table's row. Those of its indexes follow, so that one range is the table whole.
pub fn table_key(table: u64) -> Vec<u8> {
    let mut key = table_prefix(table);
    key.push(0);
    key
}

fn table_prefix(table: u64) -> Vec<u8> {
    let mut key = vec![b't'];
    key.extend_from_slice(&table.to_be_bytes());
    key
}

/// Key of an index's row.
pub fn index_key(table: u64, index: u64) -> Vec<u8> {
    let mut key = table_prefix(table);
    key.push(1);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Key of a sequence's row.
pub fn sequence_key(sequence: u64) -> Vec<u8> {
    let mut key = vec![b'q'];
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// Key of any other object's row.
pub fn other_key(kind: &str, schema: &str, name: &str) -> Vec<u8> {
    text_key(b'x', &[kind, schema, name])
}

/// What is locked and read when a relation of this name is created or looked up.
pub fn name_key(schema: &str, name: &str) -> Vec<u8> {
    text_key(b'n', &[schema, name])
}

fn text_key(kind: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    key
}

/// A table with its indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The table.
    pub table: Table,
    /// Its indexes, by id.
    pub indexes: Vec<Index>,
}

/// All objects.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    schemas: Vec<String>,
    relations: BTreeMap<u64, Arc<Relation>>,
    sequences: BTreeMap<u64, Arc<Sequence>>,
    others: Vec<(String, String, String, Vec<u8>)>,
    names: HashMap<(String, String), u64>,
    by_storage: HashMap<StorageId, (u64, Option<u64>)>,
    children: HashMap<u64, Vec<u64>>,
}

impl Schema {
    /// Reads the rows of the catalog: keys without the storage id, and bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, StoreError> {
        let mut schema = Schema::default();
        let mut indexes: BTreeMap<u64, Vec<Index>> = BTreeMap::new();
        let mut tables = Vec::new();
        for (key, bytes) in rows {
            // A name's row says only that the name is taken.
            if key.first() == Some(&b'n') {
                continue;
            }
            match Object::from_bytes(&bytes)? {
                Object::Schema(name) => schema.schemas.push(name),
                Object::Table(table) => tables.push(table),
                Object::Index(index) => indexes.entry(index.table).or_default().push(index),
                Object::Sequence(sequence) => schema.add_sequence(sequence),
                Object::Other(kind, space, name, bytes) => {
                    schema.others.push((kind, space, name, bytes));
                }
            }
        }
        for table in tables {
            let indexes = indexes.remove(&table.id).unwrap_or_default();
            schema.add_relation(Relation { table, indexes });
        }
        match indexes.into_iter().next() {
            None => Ok(schema),
            Some((table, _)) => Err(StoreError::damaged(format!("an index of no table {table}"))),
        }
    }

    fn add_sequence(&mut self, sequence: Sequence) {
        let name = (sequence.schema.clone(), sequence.name.clone());
        self.names.insert(name, sequence.id);
        self.sequences.insert(sequence.id, Arc::new(sequence));
    }

    fn add_relation(&mut self, relation: Relation) {
        let Relation { table, indexes } = &relation;
        self.names
            .insert((table.schema.clone(), table.name.clone()), table.id);
        self.by_storage.insert(table.storage(), (table.id, None));
        for index in indexes {
            self.names
                .insert((table.schema.clone(), index.name.clone()), index.id);
            self.by_storage
                .insert(index.storage(), (table.id, Some(index.id)));
        }
        for key in &table.foreign_keys {
            let children = self.children.entry(key.parent).or_default();
            if !children.contains(&table.id) {
                children.push(table.id);
            }
        }
        self.relations.insert(table.id, Arc::new(relation));
    }

    /// A table and its indexes by id.
    pub fn relation(&self, table: u64) -> Option<&Arc<Relation>> {
        self.relations.get(&table)
    }

    /// A table and its indexes by name.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        let id = self.names.get(&(schema.to_owned(), name.to_owned()))?;
        self.relations.get(id)
    }

    /// True if a table, an index or a sequence has this name.
    pub fn has_name(&self, schema: &str, name: &str) -> bool {
        self.names
            .contains_key(&(schema.to_owned(), name.to_owned()))
    }

    /// An index by name, with its table.
    pub fn find_index(&self, schema: &str, name: &str) -> Option<(&Arc<Relation>, &Index)> {
        let id = *self.names.get(&(schema.to_owned(), name.to_owned()))?;
        let of = |relation: &&Arc<Relation>| relation.indexes.iter().any(|index| index.id == id);
        let relation = self.relations.values().find(of)?;
        let index = relation.indexes.iter().find(|index| index.id == id)?;
        Some((relation, index))
    }

    /// The table whose rows, or whose index's entries, a storage has.
    pub fn by_storage(&self, storage: StorageId) -> Option<(&Arc<Relation>, Option<&Index>)> {
        let (table, index) = self.by_storage.get(&storage)?;
        let relation = self.relations.get(table)?;
        let index = index.and_then(|id| relation.indexes.iter().find(|index| index.id == id));
        Some((relation, index))
    }

    /// The tables with a foreign key to this one.
    pub fn children(&self, table: u64) -> impl Iterator<Item = &Arc<Relation>> {
        let ids = self
            .children
            .get(&table)
            .map(Vec::as_slice)
            .unwrap_or_default();
        ids.iter().filter_map(|id| self.relations.get(id))
    }

    /// All tables, by id.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// A sequence by id.
    pub fn sequence(&self, id: u64) -> Option<&Arc<Sequence>> {
        self.sequences.get(&id)
    }

    /// A sequence by name.
    pub fn find_sequence(&self, schema: &str, name: &str) -> Option<&Arc<Sequence>> {
        let id = self.names.get(&(schema.to_owned(), name.to_owned()))?;
        self.sequences.get(id)
    }

    /// All sequences, by id.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// The schemas' names.
    pub fn schemas(&self) -> &[String] {
        &self.schemas
    }

    /// Objects of what is built above: kind, schema, name, definition.
    pub fn others(&self) -> &[(String, String, String, Vec<u8>)] {
        &self.others
    }

    /// The greatest number that an object has as its id or its storage.
    pub fn greatest_id(&self) -> u64 {
        let relations = self.relations.values().flat_map(|relation| {
            let of_table = [relation.table.id, relation.table.storage];
            let of_indexes = relation
                .indexes
                .iter()
                .flat_map(|index| [index.id, index.storage]);
            of_table.into_iter().chain(of_indexes)
        });
        let sequences = self.sequences.keys().copied();
        relations.chain(sequences).max().unwrap_or(0)
    }
}

/// The range of the catalog that a table and its indexes take.
pub fn table_range(table: u64) -> (Vec<u8>, Vec<u8>) {
    (
        place(CATALOG, &table_prefix(table)),
        place(CATALOG, &table_prefix(table + 1)),
    )
}
