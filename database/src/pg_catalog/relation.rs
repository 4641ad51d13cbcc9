//! Tables, indexes and sequences, their columns and defaults.

use super::expression::{self, quoted};
use super::oid::{
    self, OWNER, default_oid, index_oid, primary_oid, relation_oid, schema_oid, view_oid,
};
use super::row::Row;
use super::{Pushed, View};
use crate::catalog::{Column, Index, IndexPart, IndexState, Relation, Table};
use crate::sql::{SqlType, VirtualContext, VirtualTable, of_column};
use crate::types::Value;

/// The access methods of `pg_am`.
pub(super) const HEAP: u32 = 2;
pub(super) const BTREE: u32 = 403;
/// The collation of a database, and `C`, which ours is.
const DEFAULT_COLLATION: u32 = 100;

/// The columns of a table that SQL sees.
pub(super) fn visible(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    let shown = table.columns.len() - usize::from(table.hidden_key);
    table.columns.iter().enumerate().take(shown)
}

fn has_primary_key(table: &Table) -> bool {
    !table.hidden_key && !table.primary_key.is_empty()
}

impl View<'_> {
    pub(super) fn relations(&self) -> impl Iterator<Item = &std::sync::Arc<Relation>> {
        self.context.schema.relations()
    }

    /// True if rows of this oid are asked for: `key` is the place of the key in the table's list.
    fn wants(&self, key: usize, oid: u32) -> bool {
        match self.pushed {
            Pushed::Equal { key: asked, values } if *asked == key => {
                let wanted = values.first().and_then(Value::as_integer);
                wanted.is_none_or(|wanted| wanted == i64::from(oid))
            }
            _ => true,
        }
    }
}

fn class(view: &View<'_>, oid: u32, schema: &str, name: &str, kind: &str) -> Row {
    Row::new()
        .oid("oid", oid)
        .text("relname", name)
        .oid("relnamespace", schema_oid(&view.context.schema, schema))
        .oid("relowner", OWNER)
        .oid("relfilenode", oid)
        .text("relpersistence", "p")
        .text("relkind", kind)
        .text("relreplident", if kind == "r" { "d" } else { "n" })
        .flag("relispopulated", true)
        .number("reltuples", -1)
}

pub(super) fn classes(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in view.relations() {
        let table = &relation.table;
        let primary = has_primary_key(table);
        if view.wants(0, relation_oid(table.id)) {
            let options = table
                .options
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let row = class(
                view,
                relation_oid(table.id),
                &table.schema,
                &table.name,
                "r",
            )
            .oid("relam", HEAP)
            .flag("relhasindex", primary || !relation.indexes.is_empty())
            .number("relnatts", visible(table).count() as i64)
            .number("relchecks", table.checks.len() as i64);
            rows.push(match table.options.is_empty() {
                true => row,
                false => row.texts("reloptions", options),
            });
        }
        if primary && view.wants(0, primary_oid(table)) {
            let row = class(
                view,
                primary_oid(table),
                &table.schema,
                &table.primary_name,
                "i",
            );
            let columns = table.primary_key.len() as i64;
            rows.push(row.oid("relam", BTREE).number("relnatts", columns));
        }
        for index in &relation.indexes {
            if view.wants(0, index_oid(index)) {
                let row = class(view, index_oid(index), &table.schema, &index.name, "i");
                let columns = index.parts.len() as i64;
                rows.push(row.oid("relam", BTREE).number("relnatts", columns));
            }
        }
    }
    for sequence in view.context.schema.sequences() {
        let oid = relation_oid(sequence.id);
        rows.push(class(view, oid, &sequence.schema, &sequence.name, "S").number("relnatts", 3));
    }
    for (n, (schema, name)) in view_names(view).enumerate() {
        rows.push(class(view, view_oid(n), schema, name, "v"));
    }
    for (schema, table) in view.virtual_tables {
        let row = class(view, table.oid, schema, &table.name, "r");
        rows.push(
            row.oid("relam", HEAP)
                .number("relnatts", table.columns.len() as i64),
        );
    }
    rows
}

fn view_names<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let others = view.context.schema.others().iter();
    let views = others.filter(|(kind, ..)| kind == "view");
    views.map(|(_, schema, name, _)| (schema.as_str(), name.as_str()))
}

fn attribute(oid: u32, number: usize, name: &str, data_type: SqlType, modifier: i32) -> Row {
    let row = super::types::of_attribute(Row::new(), data_type);
    row.oid("attrelid", oid)
        .text("attname", name)
        .oid("atttypid", data_type.oid())
        .number("attnum", number as i64)
        .number("atttypmod", modifier.into())
        .number("attstattarget", -1)
        .number("attcacheoff", -1)
        .flag("attislocal", true)
        .oid("attcollation", collation(data_type))
}

/// The collation of a type: text has the database's, names have `C`.
pub(super) fn collation(data_type: SqlType) -> u32 {
    match data_type {
        SqlType::Text | SqlType::Varchar | SqlType::BpChar | SqlType::TextArray => {
            DEFAULT_COLLATION
        }
        SqlType::Name | SqlType::NameArray => 950,
        _ => 0,
    }
}

pub(super) fn attributes(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in view.relations() {
        let table = &relation.table;
        let oid = relation_oid(table.id);
        if view.wants(0, oid) {
            for (place, column) in visible(table) {
                let (data_type, modifier) = of_column(column.data_type);
                let name = match column.dropped {
                    true => format!("........pg.dropped.{}........", place + 1),
                    false => column.name.clone(),
                };
                rows.push(
                    attribute(oid, place + 1, &name, data_type, modifier)
                        .flag("attnotnull", column.not_null)
                        .flag("atthasdef", column.default.is_some() && !column.dropped)
                        .flag("atthasmissing", column.missing.is_some())
                        .flag("attisdropped", column.dropped),
                );
            }
        }
        if has_primary_key(table) && view.wants(0, primary_oid(table)) {
            for (n, place) in table.primary_key.iter().enumerate() {
                if let Some(column) = table.columns.get(*place) {
                    let (data_type, modifier) = of_column(column.data_type);
                    let oid = primary_oid(table);
                    rows.push(attribute(oid, n + 1, &column.name, data_type, modifier));
                }
            }
        }
        for index in &relation.indexes {
            if view.wants(0, index_oid(index)) {
                rows.extend(index_attributes(table, index));
            }
        }
    }
    for (_, table) in view.virtual_tables {
        if view.wants(0, table.oid) {
            rows.extend(virtual_attributes(table));
        }
    }
    rows
}

fn index_attributes<'a>(table: &'a Table, index: &'a Index) -> impl Iterator<Item = Row> + 'a {
    index.parts.iter().enumerate().map(|(n, (part, _))| {
        let column = match part {
            IndexPart::Column(place) => table.columns.get(*place),
            IndexPart::Expression(_) => None,
        };
        let (data_type, modifier) = match column {
            Some(column) => of_column(column.data_type),
            None => (SqlType::Text, -1),
        };
        let name = column.map_or_else(|| "expr".to_owned(), |column| column.name.clone());
        attribute(index_oid(index), n + 1, &name, data_type, modifier)
    })
}

fn virtual_attributes(table: &VirtualTable) -> impl Iterator<Item = Row> + '_ {
    table.columns.iter().enumerate().map(|(n, column)| {
        attribute(table.oid, n + 1, &column.name, column.data_type, -1)
            .flag("attnotnull", column.not_null)
    })
}

pub(super) fn defaults(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut number = 0;
    for relation in view.relations() {
        for (place, column) in visible(&relation.table) {
            let Some(default) = column.default.as_ref().filter(|_| !column.dropped) else {
                continue;
            };
            number += 1;
            let oid = relation_oid(relation.table.id);
            if view.wants(0, oid) {
                rows.push(
                    Row::new()
                        .oid("oid", default_oid(number))
                        .oid("adrelid", oid)
                        .number("adnum", place as i64 + 1)
                        .text("adbin", default),
                );
            }
        }
    }
    rows
}

fn index_row(oid: u32, table: &Table, columns: Vec<i64>) -> Row {
    let zeros = || columns.iter().map(|_| 0);
    Row::new()
        .oid("indexrelid", oid)
        .oid("indrelid", relation_oid(table.id))
        .number("indnatts", columns.len() as i64)
        .number("indnkeyatts", columns.len() as i64)
        .vector("indcollation", zeros())
        .vector("indclass", zeros())
        .flag("indislive", true)
        .vector("indkey", columns)
}

/// What `indoption` says of a direction.
fn option(direction: crate::key::Direction) -> i64 {
    i64::from(direction.descending) | (i64::from(direction.nulls_first) << 1)
}

pub(super) fn indexes(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in view.relations() {
        let table = &relation.table;
        if has_primary_key(table) {
            let columns = table.primary_key.iter().map(|place| *place as i64 + 1);
            rows.push(
                index_row(primary_oid(table), table, columns.collect())
                    .vector("indoption", table.primary_key.iter().map(|_| 0))
                    .flag("indisunique", true)
                    .flag("indisprimary", true)
                    .flag("indimmediate", true)
                    .flag("indisvalid", true)
                    .flag("indisready", true),
            );
        }
        for index in &relation.indexes {
            let column = |(part, _): &(IndexPart, _)| match part {
                IndexPart::Column(place) => *place as i64 + 1,
                IndexPart::Expression(_) => 0,
            };
            let columns = index.parts.iter().map(column).collect();
            let immediate = index
                .constraint
                .is_none_or(|timing| timing == crate::catalog::Timing::Immediate);
            let expressions = index.parts.iter().filter_map(|(part, _)| match part {
                IndexPart::Expression(text) => Some(text.clone()),
                IndexPart::Column(_) => None,
            });
            let expressions: Vec<_> = expressions.collect();
            let expressions = (!expressions.is_empty()).then(|| expressions.join(", "));
            rows.push(
                index_row(index_oid(index), table, columns)
                    .vector(
                        "indoption",
                        index.parts.iter().map(|(_, direction)| option(*direction)),
                    )
                    .flag("indisunique", index.unique)
                    .flag("indnullsnotdistinct", index.nulls_not_distinct)
                    .flag("indimmediate", immediate)
                    .flag("indisvalid", index.state == IndexState::Public)
                    .flag("indisready", true)
                    .text_or_null("indexprs", expressions)
                    .text_or_null("indpred", index.predicate.clone()),
            );
        }
    }
    rows
}

pub(super) fn tables(view: &View<'_>) -> Vec<Row> {
    let own = view.relations().map(|relation| {
        let table = &relation.table;
        let indexed = has_primary_key(table) || !relation.indexes.is_empty();
        table_row(view, &table.schema, &table.name).flag("hasindexes", indexed)
    });
    let given = view.virtual_tables.iter();
    let given = given.map(|(schema, table)| table_row(view, schema, &table.name));
    own.chain(given).collect()
}

fn table_row(view: &View<'_>, schema: &str, name: &str) -> Row {
    Row::new()
        .text("schemaname", schema)
        .text("tablename", name)
        .text("tableowner", &view.server.user)
        .flag("hasindexes", false)
        .flag("hasrules", false)
        .flag("hastriggers", false)
        .flag("rowsecurity", false)
}

pub(super) fn index_definitions(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut push = |table: &Table, name: &str, definition: String| {
        rows.push(
            Row::new()
                .text("schemaname", &table.schema)
                .text("tablename", &table.name)
                .text("indexname", name)
                .text("indexdef", definition),
        );
    };
    for relation in view.relations() {
        let table = &relation.table;
        if has_primary_key(table) {
            push(
                table,
                &table.primary_name,
                expression::primary_definition(table),
            );
        }
        for index in &relation.indexes {
            push(
                table,
                &index.name,
                expression::index_definition(relation, index),
            );
        }
    }
    rows
}

pub(super) fn views(view: &View<'_>) -> Vec<Row> {
    let row = |(schema, name): (&str, &str)| {
        Row::new()
            .text("schemaname", schema)
            .text("viewname", name)
            .text("viewowner", &view.server.user)
    };
    view_names(view).map(row).collect()
}

pub(super) fn sequences(view: &View<'_>) -> Vec<Row> {
    let row = |sequence: &std::sync::Arc<crate::catalog::Sequence>| {
        Row::new()
            .oid("seqrelid", relation_oid(sequence.id))
            .oid("seqtypid", SqlType::BigInt.oid())
            .number("seqstart", sequence.start)
            .number("seqincrement", sequence.increment)
            .number("seqmax", sequence.max)
            .number("seqmin", sequence.min)
            .number("seqcache", 1)
            .flag("seqcycle", sequence.cycle)
    };
    view.context.schema.sequences().map(row).collect()
}

pub(super) fn sequence_values(view: &View<'_>) -> Vec<Row> {
    let row = |sequence: &std::sync::Arc<crate::catalog::Sequence>| {
        Row::new()
            .text("schemaname", &sequence.schema)
            .text("sequencename", &sequence.name)
            .text("sequenceowner", &view.server.user)
            .oid("data_type", SqlType::BigInt.oid())
            .number("start_value", sequence.start)
            .number("min_value", sequence.min)
            .number("max_value", sequence.max)
            .number("increment_by", sequence.increment)
            .flag("cycle", sequence.cycle)
            .number("cache_size", 1)
    };
    view.context.schema.sequences().map(row).collect()
}

/// What `pg_get_indexdef` says: the whole, or one column of it.
pub(super) fn index_definition(context: &VirtualContext, oid: u32, column: i64) -> Option<String> {
    let (whole, parts): (String, Vec<String>) = match oid::find(&context.schema, oid)? {
        oid::Named::PrimaryKey(relation) => {
            let table = &relation.table;
            let columns = table
                .primary_key
                .iter()
                .filter_map(|place| table.columns.get(*place));
            let parts = columns.map(|column| quoted(&column.name)).collect();
            (expression::primary_definition(table), parts)
        }
        oid::Named::Index(relation, index) => {
            let part = |(part, _): &(IndexPart, _)| expression::index_part(&relation.table, part);
            let parts = index.parts.iter().map(part).collect();
            (expression::index_definition(relation, index), parts)
        }
        oid::Named::Table(_) | oid::Named::Sequence(_) => return None,
    };
    match usize::try_from(column).ok()? {
        0 => Some(whole),
        n => parts.get(n - 1).cloned(),
    }
}
