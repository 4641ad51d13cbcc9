//! SQL of the catalog's objects as text: names, keys, constraints.

use crate::catalog::{
    Action, Check, ForeignKey, Index, IndexPart, Relation, Schema, Table, Timing,
};
use std::fmt::Write;

/// Words that a name may not be without quotes: PostgreSQL's reserved ones.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// A name as SQL writes it.
pub fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    match plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// A relation's name, with its schema where the search path does not lead to it.
pub(super) fn qualified(schema: &str, name: &str, search_path: &[String]) -> String {
    match search_path.iter().any(|known| known == schema) || schema == "pg_catalog" {
        true => quoted(name),
        false => format!("{}.{}", quoted(schema), quoted(name)),
    }
}

pub(super) fn column_names(table: &Table, columns: &[usize]) -> String {
    let name = |place: &usize| table.columns.get(*place).map(|column| quoted(&column.name));
    columns
        .iter()
        .filter_map(name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One part of an index's key.
pub(super) fn index_part(table: &Table, part: &IndexPart) -> String {
    match part {
        IndexPart::Column(place) => column_names(table, &[*place]),
        IndexPart::Expression(text) if text.ends_with(')') && !text.starts_with('(') => {
            text.clone()
        }
        IndexPart::Expression(text) if text.starts_with('(') => text.clone(),
        IndexPart::Expression(text) => format!("({text})"),
    }
}

/// The key of an index, with directions.
fn index_key(table: &Table, index: &Index) -> String {
    let part = |(part, direction): &(IndexPart, crate::key::Direction)| {
        let mut text = index_part(table, part);
        if direction.descending {
            text.push_str(" DESC");
        }
        // NULLs come last by default, and first where the order is turned round.
        match (direction.descending, direction.nulls_first) {
            (false, true) => text.push_str(" NULLS FIRST"),
            (true, false) => text.push_str(" NULLS LAST"),
            _ => {}
        }
        text
    };
    index.parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// `CREATE INDEX` of an index.
pub(super) fn index_definition(relation: &Relation, index: &Index) -> String {
    let table = &relation.table;
    let unique = if index.unique { "UNIQUE " } else { "" };
    let mut text = format!(
        "CREATE {unique}INDEX {} ON {}.{} USING btree ({})",
        quoted(&index.name),
        quoted(&table.schema),
        quoted(&table.name),
        index_key(table, index)
    );
    if index.nulls_not_distinct {
        text.push_str(" NULLS NOT DISTINCT");
    }
    if let Some(predicate) = &index.predicate {
        let _ = write!(text, " WHERE ({predicate})");
    }
    text
}

/// `CREATE INDEX` of a primary key's index.
pub(super) fn primary_definition(table: &Table) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quoted(&table.primary_name),
        quoted(&table.schema),
        quoted(&table.name),
        column_names(table, &table.primary_key)
    )
}

fn timing(timing: Timing) -> &'static str {
    match timing {
        Timing::Immediate => "",
        Timing::Deferrable => " DEFERRABLE",
        Timing::Deferred => " DEFERRABLE INITIALLY DEFERRED",
    }
}

/// A primary key as a constraint.
pub(super) fn primary_key(table: &Table) -> String {
    format!("PRIMARY KEY ({})", column_names(table, &table.primary_key))
}

/// A unique index as a constraint.
pub(super) fn unique(table: &Table, index: &Index) -> String {
    let parts = index.parts.iter().map(|(part, _)| index_part(table, part));
    let nulls = if index.nulls_not_distinct {
        " NULLS NOT DISTINCT"
    } else {
        ""
    };
    format!(
        "UNIQUE{nulls} ({}){}",
        parts.collect::<Vec<_>>().join(", "),
        timing(index.constraint.unwrap_or(Timing::Immediate))
    )
}

/// A CHECK constraint.
pub(super) fn check(check: &Check) -> String {
    format!("CHECK ({})", check.expression)
}

/// A FOREIGN KEY constraint.
pub(super) fn foreign_key(
    schema: &Schema,
    table: &Table,
    key: &ForeignKey,
    search_path: &[String],
) -> String {
    let mut text = format!("FOREIGN KEY ({})", column_names(table, &key.columns));
    if let Some(parent) = schema
        .relations()
        .find(|relation| relation.table.id == key.parent)
    {
        let parent = &parent.table;
        let _ = write!(
            text,
            " REFERENCES {}({})",
            qualified(&parent.schema, &parent.name, search_path),
            column_names(parent, &key.parent_columns)
        );
    }
    for (event, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
        let action = match action {
            Action::NoAction => continue,
            Action::Restrict => "RESTRICT",
            Action::Cascade => "CASCADE",
            Action::SetNull => "SET NULL",
        };
        let _ = write!(text, " ON {event} {action}");
    }
    text.push_str(timing(key.timing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quotes_get_them() {
        for (name, sql) in [
            ("plain_1", "plain_1"),
            ("Mixed", "\"Mixed\""),
            ("a\"b", "\"a\"\"b\""),
            ("1a", "\"1a\""),
            ("select", "\"select\""),
            ("é", "\"é\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(name), sql);
        }
    }
}
