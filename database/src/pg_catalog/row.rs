//! A row by the names of its columns, so that tables of thirty columns can be read.
//!
//! Invariant: a name that the table does not have is a fault of ours and stops a test.

use crate::sql::{SqlType, VirtualTable};
use crate::types::Value;
use crate::wire::format::array::text_array;

/// A row on its way.
#[derive(Debug, Default)]
pub(super) struct Row(Vec<(&'static str, Value)>);

impl Row {
    pub(super) fn new() -> Self {
        Row::default()
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }

    pub(super) fn oid(self, name: &'static str, oid: u32) -> Self {
        self.with(name, Value::BigInt(oid.into()))
    }

    pub(super) fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.with(name, Value::Text(text.into()))
    }

    pub(super) fn text_or_null(self, name: &'static str, text: Option<String>) -> Self {
        self.with(name, text.map_or(Value::Null, Value::Text))
    }

    pub(super) fn flag(self, name: &'static str, flag: bool) -> Self {
        self.with(name, Value::Boolean(flag))
    }

    /// A number of the column's own integer type.
    pub(super) fn number(self, name: &'static str, number: i64) -> Self {
        self.with(name, Value::BigInt(number))
    }

    pub(super) fn null(self, name: &'static str) -> Self {
        self.with(name, Value::Null)
    }

    pub(super) fn texts<T: AsRef<str>>(
        self,
        name: &'static str,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        self.with(name, text_array(texts))
    }

    /// `int2vector`
    pub(super) fn vector(self, name: &'static str, numbers: impl IntoIterator<Item = i64>) -> Self {
        let words = numbers.into_iter().map(|number| number.to_string());
        self.with(name, Value::Text(words.collect::<Vec<_>>().join(" ")))
    }

    /// The values in the table's order; what was not given is nothing, or NULL where it may be.
    pub(super) fn into_values(self, table: &VirtualTable) -> Vec<Value> {
        let mut values: Vec<Value> = table
            .columns
            .iter()
            .map(|column| match column.not_null {
                true => nothing(column.data_type),
                false => Value::Null,
            })
            .collect();
        for (name, value) in self.0 {
            let place = table.columns.iter().position(|column| column.name == name);
            debug_assert!(place.is_some(), "{} has no column {name}", table.name);
            if let Some(place) = place {
                values[place] = of_type(value, table.columns[place].data_type);
            }
        }
        values
    }
}

/// The value of a column that is never NULL and says nothing.
fn nothing(data_type: SqlType) -> Value {
    match data_type {
        SqlType::Boolean => Value::Boolean(false),
        SqlType::Real => Value::Real(0.0),
        SqlType::Text | SqlType::Name | SqlType::InternalChar | SqlType::Varchar => {
            Value::Text(String::new())
        }
        SqlType::NodeTree | SqlType::Int2Vector | SqlType::OidVector => Value::Text(String::new()),
        other if other.element().is_some() => Value::Text("{}".to_owned()),
        other => of_type(Value::BigInt(0), other),
    }
}

fn of_type(value: Value, data_type: SqlType) -> Value {
    match (value, data_type) {
        (Value::BigInt(number), SqlType::SmallInt) => Value::SmallInt(number as i16),
        (Value::BigInt(number), SqlType::Integer) => Value::Integer(number as i32),
        (Value::BigInt(number), SqlType::Real) => Value::Real(number as f32),
        (value, _) => value,
    }
}

/// True if a value may stand in a column of a type.
#[cfg(test)]
pub(super) fn fits(value: &Value, data_type: SqlType) -> bool {
    match value {
        Value::Null => true,
        Value::Boolean(_) => data_type == SqlType::Boolean,
        Value::SmallInt(_) => data_type == SqlType::SmallInt,
        Value::Integer(_) => data_type == SqlType::Integer,
        Value::BigInt(_) => {
            data_type == SqlType::BigInt || data_type == SqlType::Xid || data_type.is_oid()
        }
        Value::Real(_) => data_type == SqlType::Real,
        Value::Text(_) => {
            data_type.is_text() || data_type.element().is_some() || data_type == SqlType::NodeTree
        }
        _ => false,
    }
}
