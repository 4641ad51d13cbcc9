//! Values as they go over the wire, in text and in binary.

pub mod array;
pub mod binary;

use super::message::{Format, utf8};
use super::report::Report;
use crate::sql::{Column, SqlType, value_from_text, value_to_text};
use crate::types::Value;
use std::io::Write;

/// Writes a value of a column; false for NULL.
pub fn write(out: &mut Vec<u8>, value: &Value, column: &Column, format: Format) -> bool {
    if value.is_null() {
        return false;
    }
    match format {
        Format::Binary => binary::write(out, value, column.data_type, column.modifier),
        Format::Text => write_text(out, value, column),
    }
    true
}

fn write_text(out: &mut Vec<u8>, value: &Value, column: &Column) {
    // The types of most columns, without a string in between.
    match value {
        Value::Integer(v) => drop(write!(out, "{v}")),
        Value::BigInt(v) if column.data_type == SqlType::BigInt => drop(write!(out, "{v}")),
        Value::Text(v) => out.extend_from_slice(v.as_bytes()),
        Value::Char(v) => {
            out.extend_from_slice(v.as_bytes());
            binary::pad(out, v, column.modifier);
        }
        other => {
            let text = value_to_text(column.data_type, other);
            out.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
    }
}

/// Reads a parameter.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: Option<&[u8]>, data_type: SqlType, format: Format) -> Result<Value, Report> {
    let Some(bytes) = bytes else {
        return Ok(Value::Null);
    };
    match format {
        Format::Binary => binary::read(bytes, data_type),
        Format::Text => {
            let text = utf8(bytes)?;
            if text.contains('\0') {
                let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
                return Err(Report::error("22021", message));
            }
            Ok(value_from_text(data_type, text)?)
        }
    }
}
