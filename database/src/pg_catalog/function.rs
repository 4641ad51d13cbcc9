//! Functions that only the catalog can compute: what an oid stands for, as text.
//!
//! Invariant: an oid that stands for nothing gives NULL, as in PostgreSQL.

use super::oid::{self, name_of};
use super::{constraint, relation, server};
use crate::sql::{Result, SqlType, VirtualContext, VirtualFunction};
use crate::types::Value;

/// Oids of the catalog's own tables are below this.
const FIXED_MAX: u32 = 10_000;

type Evaluate = fn(&[Value], &VirtualContext) -> Result<Value>;

/// Name, least and most arguments, type, body.
const FUNCTIONS: &[(&str, usize, usize, SqlType, Evaluate)] = &[
    ("pg_get_userbyid", 1, 1, SqlType::Name, user_by_id),
    (
        "pg_table_is_visible",
        1,
        1,
        SqlType::Boolean,
        table_is_visible,
    ),
    ("pg_type_is_visible", 1, 1, SqlType::Boolean, always),
    ("pg_function_is_visible", 1, 1, SqlType::Boolean, always),
    ("pg_opclass_is_visible", 1, 1, SqlType::Boolean, always),
    ("pg_get_indexdef", 1, 3, SqlType::Text, index_definition),
    (
        "pg_get_constraintdef",
        1,
        2,
        SqlType::Text,
        constraint_definition,
    ),
    ("pg_get_expr", 2, 3, SqlType::Text, expression),
    ("pg_get_viewdef", 1, 2, SqlType::Text, nothing),
    ("pg_get_triggerdef", 1, 2, SqlType::Text, nothing),
    ("pg_get_ruledef", 1, 2, SqlType::Text, nothing),
    ("pg_get_functiondef", 1, 1, SqlType::Text, nothing),
    ("pg_get_function_result", 1, 1, SqlType::Text, nothing),
    ("pg_get_function_arguments", 1, 1, SqlType::Text, nothing),
    (
        "pg_get_function_identity_arguments",
        1,
        1,
        SqlType::Text,
        nothing,
    ),
    (
        "pg_get_statisticsobjdef_columns",
        1,
        1,
        SqlType::Text,
        nothing,
    ),
    ("pg_get_partkeydef", 1, 1, SqlType::Text, nothing),
    (
        "pg_get_serial_sequence",
        2,
        2,
        SqlType::Text,
        serial_sequence,
    ),
    ("pg_relation_is_publishable", 1, 1, SqlType::Boolean, never),
    ("pg_encoding_to_char", 1, 1, SqlType::Name, encoding),
    ("format_type", 2, 2, SqlType::Text, format_type),
    ("obj_description", 1, 2, SqlType::Text, nothing),
    ("col_description", 2, 2, SqlType::Text, nothing),
    ("shobj_description", 2, 2, SqlType::Text, nothing),
    ("pg_is_in_recovery", 0, 0, SqlType::Boolean, never),
    ("has_table_privilege", 2, 3, SqlType::Boolean, always),
    ("has_column_privilege", 3, 4, SqlType::Boolean, always),
    ("has_any_column_privilege", 2, 3, SqlType::Boolean, always),
    ("has_schema_privilege", 2, 3, SqlType::Boolean, always),
    ("has_database_privilege", 2, 3, SqlType::Boolean, always),
    ("has_sequence_privilege", 2, 3, SqlType::Boolean, always),
    ("pg_has_role", 2, 3, SqlType::Boolean, always),
    ("quote_ident", 1, 1, SqlType::Text, quote_ident),
];

/// A function by name and number of arguments.
pub(super) fn find(name: &str, arguments: usize) -> Option<VirtualFunction> {
    let fits = |row: &&(&str, usize, usize, SqlType, Evaluate)| {
        row.0 == name && (row.1..=row.2).contains(&arguments)
    };
    let (_, _, _, returns, evaluate) = FUNCTIONS.iter().find(fits)?;
    Some(VirtualFunction {
        returns: *returns,
        evaluate: *evaluate,
    })
}

fn oid_argument(arguments: &[Value], place: usize) -> Option<u32> {
    match arguments.get(place)? {
        Value::Text(text) => text.trim().parse().ok(),
        value => u32::try_from(value.as_integer()?).ok(),
    }
}

fn text(text: Option<String>) -> Result<Value> {
    Ok(text.map_or(Value::Null, Value::Text))
}

fn always(_: &[Value], _: &VirtualContext) -> Result<Value> {
    Ok(Value::Boolean(true))
}

fn never(_: &[Value], _: &VirtualContext) -> Result<Value> {
    Ok(Value::Boolean(false))
}

fn nothing(_: &[Value], _: &VirtualContext) -> Result<Value> {
    Ok(Value::Null)
}

fn user_by_id(arguments: &[Value], context: &VirtualContext) -> Result<Value> {
    let Some(oid) = oid_argument(arguments, 0) else {
        return Ok(Value::Null);
    };
    // The owner is the user that is always there; its name is that of the database here.
    let names = server::role_names(context, "cairn");
    let found = names.into_iter().find(|(known, _)| *known == oid);
    let unknown = || format!("unknown (OID={oid})");
    text(Some(found.map_or_else(unknown, |(_, name)| name)))
}

fn table_is_visible(arguments: &[Value], context: &VirtualContext) -> Result<Value> {
    let Some(oid) = oid_argument(arguments, 0) else {
        return Ok(Value::Null);
    };
    let Some((schema, name)) = name_of(&context.schema, oid) else {
        // A view is in the first schema; a fixed oid is the catalog's own; other tables of the node are
        // reached by their schema's name.
        return Ok(Value::Boolean(!(FIXED_MAX..=oid::VIEWS).contains(&oid)));
    };
    let mut path = context.search_path.iter();
    let first = path.find(|known| context.schema.has_name(known, &name) || **known == schema);
    Ok(Value::Boolean(first == Some(&schema)))
}

fn index_definition(arguments: &[Value], context: &VirtualContext) -> Result<Value> {
    let column = arguments.get(1).and_then(Value::as_integer).unwrap_or(0);
    let oid = oid_argument(arguments, 0);
    text(oid.and_then(|oid| relation::index_definition(context, oid, column)))
}

fn constraint_definition(arguments: &[Value], context: &VirtualContext) -> Result<Value> {
    let oid = oid_argument(arguments, 0);
    text(oid.and_then(|oid| constraint::definition(context, oid)))
}

/// Expressions are kept as the text that they are.
fn expression(arguments: &[Value], _: &VirtualContext) -> Result<Value> {
    Ok(arguments.first().cloned().unwrap_or(Value::Null))
}

fn serial_sequence(arguments: &[Value], context: &VirtualContext) -> Result<Value> {
    let (Some(Value::Text(table)), Some(Value::Text(column))) =
        (arguments.first(), arguments.get(1))
    else {
        return Ok(Value::Null);
    };
    let (schema, name) = match table.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table.as_str()),
    };
    let owner = |owned: (u64, usize)| {
        let relation = context
            .schema
            .relations()
            .find(|relation| relation.table.id == owned.0)?;
        let of_schema = match schema {
            Some(schema) => relation.table.schema == schema,
            None => context.search_path.contains(&relation.table.schema),
        };
        let is_it = of_schema && relation.table.name == name;
        (is_it && relation.table.columns.get(owned.1)?.name == *column).then_some(())
    };
    let mut sequences = context.schema.sequences();
    let found = sequences.find(|sequence| sequence.owned_by.and_then(owner).is_some());
    text(found.map(|sequence| {
        let quoted = super::expression::quoted;
        format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name))
    }))
}

fn encoding(arguments: &[Value], _: &VirtualContext) -> Result<Value> {
    let code = arguments.first().and_then(Value::as_integer);
    text(Some(match code {
        Some(server::UTF8) => "UTF8".to_owned(),
        Some(0) => "SQL_ASCII".to_owned(),
        _ => String::new(),
    }))
}

fn quote_ident(arguments: &[Value], _: &VirtualContext) -> Result<Value> {
    text(match arguments.first() {
        Some(Value::Text(name)) => Some(super::expression::quoted(name)),
        _ => None,
    })
}

/// A type's name with its modifier.
fn format_type(arguments: &[Value], _: &VirtualContext) -> Result<Value> {
    let Some(oid) = oid_argument(arguments, 0) else {
        return Ok(Value::Null);
    };
    let modifier = arguments.get(1).and_then(Value::as_integer).unwrap_or(-1);
    let Some(data_type) = SqlType::from_oid(oid) else {
        return text(Some(if oid == 0 {
            "-".to_owned()
        } else {
            "???".to_owned()
        }));
    };
    let name = data_type.name();
    text(Some(match data_type {
        SqlType::Numeric if modifier >= 4 => {
            format!(
                "{name}({},{})",
                (modifier - 4) >> 16,
                (modifier - 4) & 0x7ff
            )
        }
        SqlType::Varchar | SqlType::BpChar if modifier >= 4 => format!("{name}({})", modifier - 4),
        _ => name.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Schema;
    use std::sync::Arc;

    fn call(name: &str, arguments: &[Value]) -> Option<String> {
        let context = VirtualContext {
            schema: Arc::new(Schema::default()),
            user: "cairn".into(),
            database: "cairn".into(),
            search_path: Arc::new(["public".to_owned()]),
        };
        let function = find(name, arguments.len()).unwrap();
        match (function.evaluate)(arguments, &context).unwrap() {
            Value::Text(text) => Some(text),
            Value::Null => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn types_with_their_modifiers() {
        let of = |oid: i64, modifier: i64| {
            call(
                "format_type",
                &[Value::BigInt(oid), Value::BigInt(modifier)],
            )
            .unwrap()
        };
        assert_eq!(of(23, -1), "integer");
        assert_eq!(of(1700, ((10 << 16) | 2) + 4), "numeric(10,2)");
        assert_eq!(of(1043, 34), "character varying(30)");
        assert_eq!(of(1042, 5), "character(1)");
        assert_eq!(of(0, -1), "-");
        assert_eq!(of(99_999, -1), "???");
    }

    #[test]
    fn oids_of_nothing_are_null() {
        assert_eq!(call("pg_get_indexdef", &[Value::BigInt(5)]), None);
        assert_eq!(call("pg_get_constraintdef", &[Value::Null]), None);
        assert_eq!(
            call("pg_get_userbyid", &[Value::BigInt(10)]).as_deref(),
            Some("cairn")
        );
        assert!(find("pg_get_indexdef", 4).is_none());
    }
}
