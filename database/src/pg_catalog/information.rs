//! `information_schema`, the standard's view of the catalog.

use super::View;
use super::constraint::{self, Constraint};
use super::oid::schema_names;
use super::relation::visible;
use super::row::Row;
use crate::catalog::{Action, Column};
use crate::sql::{SqlType, of_column};

fn yes(flag: bool) -> &'static str {
    if flag { "YES" } else { "NO" }
}

pub(super) fn schemata(view: &View<'_>) -> Vec<Row> {
    let row = |name: String| {
        Row::new()
            .text("catalog_name", &view.server.database)
            .text("schema_name", name)
            .text("schema_owner", &view.server.user)
    };
    schema_names(&view.context.schema)
        .into_iter()
        .map(row)
        .collect()
}

fn table(view: &View<'_>, schema: &str, name: &str, kind: &str, insertable: bool) -> Row {
    Row::new()
        .text("table_catalog", &view.server.database)
        .text("table_schema", schema)
        .text("table_name", name)
        .text("table_type", kind)
        .text("is_insertable_into", yes(insertable))
        .text("is_typed", "NO")
}

pub(super) fn tables(view: &View<'_>) -> Vec<Row> {
    let own = view.relations().map(|relation| {
        let name = &relation.table;
        table(view, &name.schema, &name.name, "BASE TABLE", true)
    });
    let given = view.virtual_tables.iter().map(|(schema, given)| {
        let kind = if schema == "information_schema" {
            "VIEW"
        } else {
            "BASE TABLE"
        };
        table(view, schema, &given.name, kind, false)
    });
    own.chain(given).collect()
}

pub(super) fn columns(view: &View<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in view.relations() {
        let table = &relation.table;
        let shown = visible(table).filter(|(_, column)| !column.dropped);
        for (place, column) in shown {
            let (data_type, modifier) = of_column(column.data_type);
            let row = described(view, &table.schema, &table.name, place, data_type, modifier);
            rows.push(of_own(row, column));
        }
    }
    for (schema, table) in view.virtual_tables {
        for (place, column) in table.columns.iter().enumerate() {
            let row = described(view, schema, &table.name, place, column.data_type, -1);
            rows.push(
                row.text("column_name", &column.name)
                    .text("is_nullable", yes(!column.not_null))
                    .text("is_updatable", "NO"),
            );
        }
    }
    rows
}

fn of_own(row: Row, column: &Column) -> Row {
    row.text("column_name", &column.name)
        .text_or_null("column_default", column.default.clone())
        .text("is_nullable", yes(!column.not_null))
        .text("is_updatable", "YES")
}

fn described(
    view: &View<'_>,
    schema: &str,
    table: &str,
    place: usize,
    data_type: SqlType,
    modifier: i32,
) -> Row {
    let row = Row::new()
        .text("table_catalog", &view.server.database)
        .text("table_schema", schema)
        .text("table_name", table)
        .number("ordinal_position", place as i64 + 1)
        .text(
            "data_type",
            match data_type.element() {
                Some(_) => "ARRAY",
                None => data_type.name(),
            },
        )
        .text("udt_catalog", &view.server.database)
        .text("udt_schema", "pg_catalog")
        .text("udt_name", data_type.internal_name())
        .text("dtd_identifier", (place + 1).to_string())
        .text("is_self_referencing", "NO")
        .text("is_identity", "NO")
        .text("identity_cycle", "NO")
        .text("is_generated", "NEVER");
    let precision = |row: Row, digits: i64, radix: i64, scale: Option<i64>| {
        let row = row
            .number("numeric_precision", digits)
            .number("numeric_precision_radix", radix);
        match scale {
            Some(scale) => row.number("numeric_scale", scale),
            None => row,
        }
    };
    match data_type {
        SqlType::SmallInt => precision(row, 16, 2, Some(0)),
        SqlType::Integer => precision(row, 32, 2, Some(0)),
        SqlType::BigInt => precision(row, 64, 2, Some(0)),
        SqlType::Real => precision(row, 24, 2, None),
        SqlType::Double => precision(row, 53, 2, None),
        SqlType::Numeric if modifier >= 4 => {
            let (digits, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0x7ff);
            precision(row, digits.into(), 10, Some(scale.into()))
        }
        SqlType::Numeric => row.number("numeric_precision_radix", 10),
        SqlType::Varchar | SqlType::BpChar if modifier >= 4 => row
            .number("character_maximum_length", i64::from(modifier) - 4)
            .number("character_octet_length", (i64::from(modifier) - 4) * 4),
        other if other.is_text() => row.number("character_octet_length", 1 << 30),
        SqlType::Date => row.number("datetime_precision", 0),
        other if other.is_time() => row.number("datetime_precision", 6),
        _ => row,
    }
}

fn named(view: &View<'_>, constraint: &Constraint<'_>) -> Row {
    Row::new()
        .text("constraint_catalog", &view.server.database)
        .text("constraint_schema", &constraint.table.schema)
        .text("constraint_name", constraint.name)
}

fn of_table(row: Row, view: &View<'_>, constraint: &Constraint<'_>) -> Row {
    row.text("table_catalog", &view.server.database)
        .text("table_schema", &constraint.table.schema)
        .text("table_name", &constraint.table.name)
}

pub(super) fn table_constraints(view: &View<'_>) -> Vec<Row> {
    let all = constraint::all(&view.context.schema, &view.context.search_path);
    let row = |constraint: &Constraint<'_>| {
        let kind = match constraint.kind {
            "p" => "PRIMARY KEY",
            "u" => "UNIQUE",
            "f" => "FOREIGN KEY",
            _ => "CHECK",
        };
        of_table(named(view, constraint), view, constraint)
            .text("constraint_type", kind)
            .text("is_deferrable", yes(constraint.is_deferrable()))
            .text("initially_deferred", yes(constraint.is_deferred()))
            .text("enforced", "YES")
    };
    all.iter().map(row).collect()
}

impl Constraint<'_> {
    fn is_deferrable(&self) -> bool {
        self.definition.contains(" DEFERRABLE")
    }

    fn is_deferred(&self) -> bool {
        self.definition.ends_with(" INITIALLY DEFERRED")
    }
}

pub(super) fn key_columns(view: &View<'_>) -> Vec<Row> {
    let all = constraint::all(&view.context.schema, &view.context.search_path);
    let mut rows = Vec::new();
    for constraint in all.iter().filter(|constraint| constraint.kind != "c") {
        for (n, place) in constraint.columns.iter().enumerate() {
            let Some(column) = constraint.table.columns.get(*place) else {
                continue;
            };
            let row = of_table(named(view, constraint), view, constraint)
                .text("column_name", &column.name)
                .number("ordinal_position", n as i64 + 1);
            rows.push(match constraint.foreign {
                Some(_) => row.number("position_in_unique_constraint", n as i64 + 1),
                None => row.null("position_in_unique_constraint"),
            });
        }
    }
    rows
}

pub(super) fn references(view: &View<'_>) -> Vec<Row> {
    let all = constraint::all(&view.context.schema, &view.context.search_path);
    let rule = |action: Action| match action {
        Action::NoAction => "NO ACTION",
        Action::Restrict => "RESTRICT",
        Action::Cascade => "CASCADE",
        Action::SetNull => "SET NULL",
    };
    let mut rows = Vec::new();
    for constraint in &all {
        let Some((parent, columns, on_update, on_delete)) = &constraint.foreign else {
            continue;
        };
        let key = all.iter().find(|key| {
            key.table.id == *parent && matches!(key.kind, "p" | "u") && key.columns == *columns
        });
        let row = named(view, constraint)
            .text("match_option", "NONE")
            .text("update_rule", rule(*on_update))
            .text("delete_rule", rule(*on_delete));
        rows.push(match key {
            None => row,
            Some(key) => row
                .text("unique_constraint_catalog", &view.server.database)
                .text("unique_constraint_schema", &key.table.schema)
                .text("unique_constraint_name", key.name),
        });
    }
    rows
}

pub(super) fn views(view: &View<'_>) -> Vec<Row> {
    let others = view.context.schema.others().iter();
    let views = others.filter(|(kind, ..)| kind == "view");
    let row = |(_, schema, name, _): &(String, String, String, Vec<u8>)| {
        Row::new()
            .text("table_catalog", &view.server.database)
            .text("table_schema", schema)
            .text("table_name", name)
            .text("check_option", "NONE")
            .text("is_updatable", "NO")
    };
    views.map(row).collect()
}

pub(super) fn sequences(view: &View<'_>) -> Vec<Row> {
    let row = |sequence: &std::sync::Arc<crate::catalog::Sequence>| {
        Row::new()
            .text("sequence_catalog", &view.server.database)
            .text("sequence_schema", &sequence.schema)
            .text("sequence_name", &sequence.name)
            .text("data_type", "bigint")
            .number("numeric_precision", 64)
            .number("numeric_precision_radix", 2)
            .number("numeric_scale", 0)
            .text("start_value", sequence.start.to_string())
            .text("minimum_value", sequence.min.to_string())
            .text("maximum_value", sequence.max.to_string())
            .text("increment", sequence.increment.to_string())
            .text("cycle_option", yes(sequence.cycle))
    };
    view.context.schema.sequences().map(row).collect()
}
