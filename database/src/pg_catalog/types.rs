//! `pg_type`: the types that expressions have.

use super::oid::{OWNER, PG_CATALOG};
use super::relation::collation;
use super::row::Row;
use crate::sql::SqlType;

/// How a type is passed, aligned and stored, and its category.
struct Traits {
    by_value: bool,
    align: &'static str,
    storage: &'static str,
    category: &'static str,
    preferred: bool,
}

fn traits(data_type: SqlType) -> Traits {
    let (by_value, align, storage) = match (data_type, data_type.length()) {
        (SqlType::Boolean | SqlType::InternalChar, _) => (true, "c", "p"),
        (SqlType::Name | SqlType::Uuid, _) => (false, "c", "p"),
        (SqlType::Interval, _) => (false, "d", "p"),
        (SqlType::Numeric, _) => (false, "i", "m"),
        (SqlType::Int2Vector | SqlType::OidVector, _) => (false, "i", "p"),
        (SqlType::BigIntArray, _) => (false, "d", "x"),
        (_, 2) => (true, "s", "p"),
        (_, 4) => (true, "i", "p"),
        (_, 8) => (true, "d", "p"),
        (_, -2) => (false, "c", "p"),
        _ => (false, "i", "x"),
    };
    let category = match data_type {
        SqlType::Boolean => "B",
        SqlType::Text | SqlType::Varchar | SqlType::BpChar | SqlType::Name => "S",
        SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => "D",
        SqlType::Interval => "T",
        SqlType::InternalChar | SqlType::NodeTree => "Z",
        SqlType::Unknown => "X",
        SqlType::Void => "P",
        other if other.element().is_some() => "A",
        other if other.numeric_rank().is_some() || other.is_oid() => "N",
        _ => "U",
    };
    let preferred = matches!(
        data_type,
        SqlType::Boolean
            | SqlType::Double
            | SqlType::Text
            | SqlType::Oid
            | SqlType::TimestampTz
            | SqlType::Interval
    );
    Traits {
        by_value,
        align,
        storage,
        category,
        preferred,
    }
}

/// What `pg_attribute` repeats of a column's type.
pub(super) fn of_attribute(row: Row, data_type: SqlType) -> Row {
    let traits = traits(data_type);
    row.number("attlen", data_type.length().into())
        .flag("attbyval", traits.by_value)
        .text("attalign", traits.align)
        .text("attstorage", traits.storage)
}

pub(super) fn types() -> Vec<Row> {
    let row = |data_type: SqlType| {
        let traits = traits(data_type);
        let is_pseudo = matches!(data_type, SqlType::Unknown | SqlType::Void);
        // `text` has its array, whatever else becomes one.
        let array = data_type
            .array()
            .filter(|array| array.element() == Some(data_type));
        Row::new()
            .oid("oid", data_type.oid())
            .text("typname", data_type.internal_name())
            .oid("typnamespace", PG_CATALOG)
            .oid("typowner", OWNER)
            .number("typlen", data_type.length().into())
            .flag("typbyval", traits.by_value)
            .text("typtype", if is_pseudo { "p" } else { "b" })
            .text("typcategory", traits.category)
            .flag("typispreferred", traits.preferred)
            .flag("typisdefined", true)
            .text("typdelim", ",")
            .oid("typelem", data_type.element().map_or(0, SqlType::oid))
            .oid("typarray", array.map_or(0, SqlType::oid))
            .text("typalign", traits.align)
            .text("typstorage", traits.storage)
            .number("typtypmod", -1)
            .oid("typcollation", collation(data_type))
    };
    SqlType::all().map(row).collect()
}
