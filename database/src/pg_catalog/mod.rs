//! `pg_catalog` and `information_schema` as virtual tables over our own catalog.
//!
//! Invariant: a statement sees the catalog of its own view, its transaction's changes included; an
//! object has one oid in all tables, and the tables that PostgreSQL has and we have nothing to put in
//! are there and empty, because clients join them.

// An error ends a statement: its size matters to nobody.
#![allow(clippy::result_large_err)]

mod cairn;
mod client;
mod constraint;
mod definition;
mod expression;
mod function;
mod information;
mod oid;
mod relation;
mod row;
mod server;
mod types;

pub use cairn::CairnTables;
pub use client::equal_question;
pub use oid::{index_oid, relation_oid, schema_oid};

use crate::sql::{
    Pushed, Result, SqlType, VirtualColumn, VirtualContext, VirtualFunction, VirtualKey,
    VirtualRows, VirtualSnapshot, VirtualTable, VirtualTables,
};
use crate::types::Value;
use definition::Definition;
use row::Row;
use std::sync::Arc;

/// What the catalog says beside what is in the schema.
#[derive(Debug, Clone)]
pub struct Server {
    /// The database's name.
    pub database: String,
    /// The user that is always there.
    pub user: String,
    /// `server_version`
    pub version: String,
}

/// All that rows are made of.
struct View<'a> {
    server: &'a Server,
    /// Virtual tables of all providers, with their schemas.
    virtual_tables: &'a [(String, Arc<VirtualTable>)],
    context: &'a VirtualContext,
    pushed: &'a Pushed,
}

/// The provider of one of the two schemas.
#[derive(Debug)]
pub struct PgCatalog {
    schema: &'static str,
    tables: Vec<Arc<VirtualTable>>,
    snapshot: Arc<Snapshot>,
}

#[derive(Debug)]
struct Snapshot {
    server: Server,
    virtual_tables: Vec<(String, Arc<VirtualTable>)>,
}

impl PgCatalog {
    /// `pg_catalog` and `information_schema`, which also show the tables of `others`.
    pub fn providers(
        server: &Server,
        others: &[Arc<dyn VirtualTables>],
    ) -> Vec<Arc<dyn VirtualTables>> {
        let own = [
            ("pg_catalog", tables(definition::PG_CATALOG)),
            ("information_schema", tables(definition::INFORMATION_SCHEMA)),
        ];
        let mut virtual_tables = Vec::new();
        for (schema, tables) in &own {
            let named = tables
                .iter()
                .map(|table| ((*schema).to_owned(), table.clone()));
            virtual_tables.extend(named);
        }
        for other in others {
            let schema = other.schema().to_owned();
            let named = other
                .tables()
                .iter()
                .map(|table| (schema.clone(), table.clone()));
            virtual_tables.extend(named);
        }
        let snapshot = Arc::new(Snapshot {
            server: server.clone(),
            virtual_tables,
        });
        let provider = |(schema, tables)| -> Arc<dyn VirtualTables> {
            Arc::new(PgCatalog {
                schema,
                tables,
                snapshot: snapshot.clone(),
            })
        };
        own.into_iter().map(provider).collect()
    }
}

/// Keys by which clients look: table, columns.
const KEYS: &[(&str, &[&str])] = &[
    ("pg_class", &["oid"]),
    ("pg_class", &["relname"]),
    ("pg_namespace", &["oid"]),
    ("pg_attribute", &["attrelid"]),
    ("pg_type", &["oid"]),
    ("pg_index", &["indrelid"]),
    ("pg_index", &["indexrelid"]),
    ("pg_constraint", &["conrelid"]),
    ("pg_attrdef", &["adrelid"]),
];

fn tables(definitions: &[Definition]) -> Vec<Arc<VirtualTable>> {
    let table = |(name, oid, columns): &Definition| {
        let columns: Vec<VirtualColumn> = columns.split(", ").map(column).collect();
        let place = |wanted: &&str| columns.iter().position(|column| column.name == **wanted);
        let keys = KEYS.iter().filter(|(table, _)| table == name);
        let keys = keys.map(|(table, names)| VirtualKey {
            name: format!("{table}_{}_index", names.join("_")),
            columns: names.iter().filter_map(place).collect(),
            unique: names == &["oid"],
            ordered: false,
        });
        Arc::new(VirtualTable {
            name: (*name).to_owned(),
            oid: *oid,
            keys: keys.collect(),
            columns,
        })
    };
    definitions.iter().map(table).collect()
}

fn column(text: &str) -> VirtualColumn {
    let (name, data_type) = text.split_once(' ').expect("a name and a type");
    let (data_type, not_null) = match data_type.strip_suffix('!') {
        Some(data_type) => (data_type, true),
        None => (data_type, false),
    };
    let known = SqlType::all().find(|known| known.internal_name() == data_type);
    VirtualColumn {
        name: name.to_owned(),
        data_type: known.expect("a type of ours, as a test shows"),
        not_null,
    }
}

impl VirtualTables for PgCatalog {
    fn schema(&self) -> &str {
        self.schema
    }

    fn tables(&self) -> &[Arc<VirtualTable>] {
        &self.tables
    }

    fn pin(&self) -> Result<Arc<dyn VirtualSnapshot>> {
        Ok(self.snapshot.clone())
    }

    fn function(&self, name: &str, arguments: usize) -> Option<VirtualFunction> {
        match self.schema {
            "pg_catalog" => function::find(name, arguments),
            _ => None,
        }
    }
}

impl VirtualSnapshot for Snapshot {
    fn scan(
        &self,
        table: &VirtualTable,
        context: &VirtualContext,
        pushed: &Pushed,
    ) -> Result<VirtualRows> {
        let view = View {
            server: &self.server,
            virtual_tables: &self.virtual_tables,
            context,
            pushed,
        };
        let rows: Vec<Row> = match table.name.as_str() {
            "pg_class" => relation::classes(&view),
            "pg_attribute" => relation::attributes(&view),
            "pg_attrdef" => relation::defaults(&view),
            "pg_index" => relation::indexes(&view),
            "pg_tables" => relation::tables(&view),
            "pg_indexes" => relation::index_definitions(&view),
            "pg_views" => relation::views(&view),
            "pg_sequences" => relation::sequence_values(&view),
            "pg_sequence" => relation::sequences(&view),
            "pg_constraint" => constraint::constraints(&view),
            "pg_namespace" => server::namespaces(&view),
            "pg_database" => server::databases(&view),
            "pg_roles" => server::roles(&view),
            "pg_user" => server::users(&view),
            "pg_am" => server::access_methods(),
            "pg_collation" => server::collations(),
            "pg_tablespace" => server::tablespaces(),
            "pg_language" => server::languages(),
            "pg_settings" => server::settings(&view),
            "pg_type" => types::types(),
            "schemata" => information::schemata(&view),
            "tables" => information::tables(&view),
            "columns" => information::columns(&view),
            "table_constraints" => information::table_constraints(&view),
            "key_column_usage" => information::key_columns(&view),
            "referential_constraints" => information::references(&view),
            "views" => information::views(&view),
            "sequences" => information::sequences(&view),
            _ => Vec::new(),
        };
        let rows: Vec<Vec<Value>> = rows.into_iter().map(|row| row.into_values(table)).collect();
        Ok(Box::new(rows.into_iter().map(Ok)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Schema;
    use std::collections::BTreeSet;

    fn server() -> Server {
        Server {
            database: "cairn".to_owned(),
            user: "cairn".to_owned(),
            version: "15.0".to_owned(),
        }
    }

    #[test]
    fn every_row_fits_its_table() {
        let context = VirtualContext {
            schema: Arc::new(Schema::default()),
            user: "cairn".into(),
            database: "cairn".into(),
            search_path: Arc::new(["public".to_owned()]),
        };
        let mut oids = BTreeSet::new();
        for provider in PgCatalog::providers(&server(), &[]) {
            let pinned = provider.pin().unwrap();
            for table in provider.tables() {
                assert!(
                    oids.insert(table.oid),
                    "{} has an oid of another",
                    table.name
                );
                for row in pinned.scan(table, &context, &Pushed::All).unwrap() {
                    let row = row.unwrap();
                    assert_eq!(row.len(), table.columns.len(), "{}", table.name);
                    for (value, column) in row.iter().zip(&table.columns) {
                        let place = format!("{}.{}", table.name, column.name);
                        assert!(!(column.not_null && value.is_null()), "{place} is NULL");
                        assert!(row::fits(value, column.data_type), "{place} is {value:?}");
                    }
                }
            }
        }
        assert!(oids.len() > 50);
    }

    #[test]
    fn every_key_has_its_columns() {
        for (table, columns) in KEYS {
            let known = definition::PG_CATALOG
                .iter()
                .find(|known| known.0 == *table);
            let (_, _, text) = known.unwrap();
            for column in *columns {
                assert!(text.contains(&format!("{column} ")), "{table}.{column}");
            }
        }
    }
}
