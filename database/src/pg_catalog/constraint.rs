//! Constraints: primary keys, UNIQUE, CHECK, FOREIGN KEY.

use super::View;
use super::expression;
use super::oid::{constraint_oid, index_oid, primary_oid, relation_oid, schema_oid};
use super::row::Row;
use crate::catalog::{Action, Relation, Schema, Table, Timing};
use crate::sql::VirtualContext;
use std::sync::Arc;

/// A constraint with its number and what SQL says of it.
pub(super) struct Constraint<'a> {
    pub(super) oid: u32,
    pub(super) name: &'a str,
    pub(super) table: &'a Table,
    /// `p`, `u`, `c`, `f`
    pub(super) kind: &'static str,
    pub(super) columns: Vec<usize>,
    index: u32,
    timing: Timing,
    pub(super) definition: String,
    /// The parent's oid, its columns and the actions.
    pub(super) foreign: Option<(u64, Vec<usize>, Action, Action)>,
}

/// All constraints, in an order that follows from the schema alone.
pub(super) fn all<'a>(schema: &'a Schema, search_path: &[String]) -> Vec<Constraint<'a>> {
    let mut all: Vec<Constraint<'a>> = Vec::new();
    for relation in schema.relations() {
        add(&mut all, schema, relation, search_path);
    }
    for (number, constraint) in all.iter_mut().enumerate() {
        constraint.oid = constraint_oid(number);
    }
    all
}

fn add<'a>(
    all: &mut Vec<Constraint<'a>>,
    schema: &Schema,
    relation: &'a Arc<Relation>,
    search_path: &[String],
) {
    let table = &relation.table;
    let plain = |name: &'a str, kind, columns, definition| Constraint {
        oid: 0,
        name,
        table,
        kind,
        columns,
        index: 0,
        timing: Timing::Immediate,
        definition,
        foreign: None,
    };
    if !table.hidden_key && !table.primary_key.is_empty() {
        let definition = expression::primary_key(table);
        let columns = table.primary_key.clone();
        all.push(Constraint {
            index: primary_oid(table),
            ..plain(&table.primary_name, "p", columns, definition)
        });
    }
    for index in &relation.indexes {
        let Some(timing) = index.constraint else {
            continue;
        };
        let columns = index.parts.iter().filter_map(|(part, _)| match part {
            crate::catalog::IndexPart::Column(place) => Some(*place),
            crate::catalog::IndexPart::Expression(_) => None,
        });
        let definition = expression::unique(table, index);
        all.push(Constraint {
            index: index_oid(index),
            timing,
            ..plain(&index.name, "u", columns.collect(), definition)
        });
    }
    for check in &table.checks {
        let definition = expression::check(check);
        all.push(plain(&check.name, "c", Vec::new(), definition));
    }
    for key in &table.foreign_keys {
        let definition = expression::foreign_key(schema, table, key, search_path);
        let parent = key.parent_columns.clone();
        all.push(Constraint {
            timing: key.timing,
            foreign: Some((key.parent, parent, key.on_update, key.on_delete)),
            ..plain(&key.name, "f", key.columns.clone(), definition)
        });
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::NoAction => "a",
        Action::Restrict => "r",
        Action::Cascade => "c",
        Action::SetNull => "n",
    }
}

fn numbers(columns: &[usize]) -> Vec<String> {
    columns
        .iter()
        .map(|place| (place + 1).to_string())
        .collect()
}

pub(super) fn constraints(view: &View<'_>) -> Vec<Row> {
    let schema = &view.context.schema;
    let row = |constraint: &Constraint<'_>| {
        let row = Row::new()
            .oid("oid", constraint.oid)
            .text("conname", constraint.name)
            .oid("connamespace", schema_oid(schema, &constraint.table.schema))
            .text("contype", constraint.kind)
            .flag("condeferrable", constraint.timing != Timing::Immediate)
            .flag("condeferred", constraint.timing == Timing::Deferred)
            .flag("convalidated", true)
            .oid("conrelid", relation_oid(constraint.table.id))
            .oid("conindid", constraint.index)
            .flag("conislocal", true)
            .flag("connoinherit", constraint.kind != "c")
            .text("confupdtype", " ")
            .text("confdeltype", " ")
            .text("confmatchtype", " ");
        let row = match constraint.columns.is_empty() {
            true => row,
            false => row.texts("conkey", numbers(&constraint.columns)),
        };
        match &constraint.foreign {
            None => row,
            Some((parent, columns, on_update, on_delete)) => row
                .oid("confrelid", relation_oid(*parent))
                .texts("confkey", numbers(columns))
                .text("confupdtype", action(*on_update))
                .text("confdeltype", action(*on_delete))
                .text("confmatchtype", "s"),
        }
    };
    let all = all(schema, &view.context.search_path);
    all.iter().map(row).collect()
}

/// What `pg_get_constraintdef` says.
pub(super) fn definition(context: &VirtualContext, oid: u32) -> Option<String> {
    let all = all(&context.schema, &context.search_path);
    let mut found = all.into_iter().filter(|constraint| constraint.oid == oid);
    found.next().map(|constraint| constraint.definition)
}
