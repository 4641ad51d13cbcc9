//! Oids of our objects: 32 bits, the same in every table.
//!
//! Invariant: the spaces do not meet: what PostgreSQL gives fixed numbers to is below 16,384, as there;
//! tables, indexes and sequences follow by their id; primary keys, which are their table and have no id
//! of their own, stand 2^30 above it; other constraints, defaults and schemas are numbered from 2^31.

use crate::catalog::{Index, Relation, Schema, Table};
use std::sync::Arc;

/// The first oid that is not fixed.
const FIRST: u32 = 16_384;
const PRIMARY_KEYS: u32 = 1 << 30;
const CONSTRAINTS: u32 = 1 << 31;
const DEFAULTS: u32 = CONSTRAINTS + (1 << 29);
const SCHEMAS: u32 = CONSTRAINTS + (1 << 30);
/// Views have oids from here on.
pub(super) const VIEWS: u32 = SCHEMAS + (1 << 20);

/// The user that is always there.
pub(super) const OWNER: u32 = 10;
/// `pg_catalog`
pub(super) const PG_CATALOG: u32 = 11;
/// `public`
const PUBLIC: u32 = 2200;
/// `information_schema`
const INFORMATION_SCHEMA: u32 = 13_999;
/// Schemas that the node gives.
const NODE_SCHEMAS: [(&str, u32); 2] = [("chain", 13_001 + 900), ("cairn", 13_002 + 900)];

/// Of a table, an index or a sequence by its id.
pub fn relation_oid(id: u64) -> u32 {
    FIRST + (id % u64::from(PRIMARY_KEYS - FIRST)) as u32
}

/// Of an index.
pub fn index_oid(index: &Index) -> u32 {
    relation_oid(index.id)
}

/// Of a primary key's index.
pub(super) fn primary_oid(table: &Table) -> u32 {
    PRIMARY_KEYS + relation_oid(table.id)
}

/// Of the `n`th constraint of a schema; the constraint of an index has the index's.
pub(super) fn constraint_oid(n: usize) -> u32 {
    CONSTRAINTS + n as u32
}

/// Of the `n`th default of a schema.
pub(super) fn default_oid(n: usize) -> u32 {
    DEFAULTS + n as u32
}

/// Of the `n`th view of a schema.
pub(super) fn view_oid(n: usize) -> u32 {
    VIEWS + n as u32
}

/// Of a schema.
pub fn schema_oid(schema: &Schema, name: &str) -> u32 {
    match name {
        "pg_catalog" => PG_CATALOG,
        "public" => PUBLIC,
        "information_schema" => INFORMATION_SCHEMA,
        name => {
            let node = NODE_SCHEMAS.iter().find(|(known, _)| *known == name);
            let own = || schema.schemas().iter().position(|known| known == name);
            match node {
                Some((_, oid)) => *oid,
                None => own().map_or(0, |n| SCHEMAS + n as u32),
            }
        }
    }
}

/// The names of all schemas.
pub(super) fn schema_names(schema: &Schema) -> Vec<String> {
    let mut names: Vec<String> = ["pg_catalog", "information_schema", "public"]
        .into_iter()
        .chain(NODE_SCHEMAS.iter().map(|(name, _)| *name))
        .map(str::to_owned)
        .collect();
    for name in schema.schemas() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What an oid of a relation stands for.
pub(super) enum Named<'a> {
    Table(&'a Arc<Relation>),
    PrimaryKey(&'a Arc<Relation>),
    Index(&'a Arc<Relation>, &'a Index),
    Sequence(&'a crate::catalog::Sequence),
}

/// Finds a relation.
pub(super) fn find(schema: &Schema, oid: u32) -> Option<Named<'_>> {
    for relation in schema.relations() {
        if relation_oid(relation.table.id) == oid {
            return Some(Named::Table(relation));
        }
        if primary_oid(&relation.table) == oid {
            return Some(Named::PrimaryKey(relation));
        }
        if let Some(index) = relation
            .indexes
            .iter()
            .find(|index| index_oid(index) == oid)
        {
            return Some(Named::Index(relation, index));
        }
    }
    let mut sequences = schema.sequences();
    let sequence = sequences.find(|sequence| relation_oid(sequence.id) == oid);
    sequence.map(|sequence| Named::Sequence(sequence))
}

/// Schema and name of a relation.
pub(super) fn name_of(schema: &Schema, oid: u32) -> Option<(String, String)> {
    Some(match find(schema, oid)? {
        Named::Table(relation) => (relation.table.schema.clone(), relation.table.name.clone()),
        Named::PrimaryKey(relation) => (
            relation.table.schema.clone(),
            relation.table.primary_name.clone(),
        ),
        Named::Index(relation, index) => (relation.table.schema.clone(), index.name.clone()),
        Named::Sequence(sequence) => (sequence.schema.clone(), sequence.name.clone()),
    })
}
