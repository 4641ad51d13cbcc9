//! Types as SQL writes them.

use super::super::error::{Result, SqlError};
use super::super::types::SqlType;
use super::parts;
use crate::types::DataType;
use sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo};

fn length(given: &Option<CharacterLength>) -> Result<Option<u32>> {
    match given {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: _ }) => match *length {
            1..=10_485_760 => Ok(Some(*length as u32)),
            0 => Err(SqlError::new(
                "22023",
                "length for type varchar must be at least 1",
            )),
            _ => Err(SqlError::new(
                "22023",
                "length for type varchar cannot exceed 10485760",
            )),
        },
        Some(CharacterLength::Max) => Err(SqlError::unsupported("length MAX")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(DataType::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(SqlError::new(
            "22023",
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(SqlError::new(
            "22023",
            format!("NUMERIC scale {scale} must be between -1000 and 1000"),
        ));
    }
    Ok(DataType::Numeric(Some((precision as u16, scale as i16))))
}

/// A type of an expression: with the column's type, if it has one.
pub(crate) fn sql_type(given: &ast::DataType) -> Result<(SqlType, Option<DataType>)> {
    let with = |column: DataType| Ok((super::of_column(column).0, Some(column)));
    use ast::DataType as D;
    match given {
        D::Regclass => Ok((SqlType::Regclass, None)),
        D::Array(element) => {
            let inner = match element {
                ast::ArrayElemTypeDef::SquareBracket(inner, _)
                | ast::ArrayElemTypeDef::AngleBracket(inner)
                | ast::ArrayElemTypeDef::Parenthesis(inner) => inner,
                ast::ArrayElemTypeDef::None => return Err(SqlError::unsupported("type ARRAY")),
            };
            let (element, _) = sql_type(inner)?;
            let array = element.array();
            array
                .map(|array| (array, None))
                .ok_or_else(|| SqlError::unsupported(format!("type {element}[]")))
        }
        // Bare `character` in a cast of the catalog is `bpchar` of length one.
        D::Custom(name, modifiers) => {
            let names = parts(name)?;
            let last = match names.as_slice() {
                [last] => last,
                [schema, last] if schema == "pg_catalog" => last,
                _ => return Err(missing(given)),
            };
            let quoted_char = name
                .0
                .last()
                .and_then(|part| part.as_ident())
                .is_some_and(|ident| ident.quote_style.is_some() && ident.value == "char");
            if quoted_char || (last == "char" && names.len() == 2) {
                return Ok((SqlType::InternalChar, None));
            }
            let found = SqlType::from_name(last).ok_or_else(|| missing(given))?;
            if !modifiers.is_empty() {
                return Err(SqlError::unsupported(format!("modifiers of type {given}")));
            }
            match plain(found) {
                Some(column) => with(column),
                None => Ok((found, None)),
            }
        }
        other => with(column_type(other)?),
    }
}

fn plain(found: SqlType) -> Option<DataType> {
    Some(match found {
        SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt => DataType::SmallInt,
        SqlType::Integer => DataType::Integer,
        SqlType::BigInt => DataType::BigInt,
        SqlType::Real => DataType::Real,
        SqlType::Double => DataType::Double,
        SqlType::Numeric => DataType::Numeric(None),
        SqlType::Text => DataType::Text,
        SqlType::Varchar => DataType::Varchar(None),
        SqlType::Bytea => DataType::Bytea,
        SqlType::Date => DataType::Date,
        SqlType::Time => DataType::Time,
        SqlType::Timestamp => DataType::Timestamp,
        SqlType::TimestampTz => DataType::TimestampTz,
        SqlType::Interval => DataType::Interval,
        SqlType::Json => DataType::Json,
        SqlType::Jsonb => DataType::Jsonb,
        SqlType::Uuid => DataType::Uuid,
        _ => return None,
    })
}

fn missing(given: &ast::DataType) -> SqlError {
    SqlError::new(
        "42704",
        format!(
            "type \"{}\" does not exist",
            given.to_string().to_lowercase()
        ),
    )
}

/// A type of a column.
pub(crate) fn column_type(given: &ast::DataType) -> Result<DataType> {
    use ast::DataType as D;
    let no_precision = |precision: &Option<u64>, name: &str| match precision {
        None | Some(6) => Ok(()),
        Some(other) => Err(SqlError::unsupported(format!("type {name}({other})"))),
    };
    Ok(match given {
        D::Boolean | D::Bool => DataType::Boolean,
        D::SmallInt(None) | D::Int2(None) => DataType::SmallInt,
        D::Int(None) | D::Integer(None) | D::Int4(None) => DataType::Integer,
        D::BigInt(None) | D::Int8(None) => DataType::BigInt,
        D::Real | D::Float4 => DataType::Real,
        D::Float8
        | D::DoublePrecision
        | D::Double(ExactNumberInfo::None)
        | D::Float(ExactNumberInfo::None) => DataType::Double,
        D::Float(ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => DataType::Real,
            25..=53 => DataType::Double,
            _ => {
                return Err(SqlError::new(
                    "22023",
                    "precision for type float must be between 1 and 53",
                ));
            }
        },
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) => numeric(info)?,
        D::Text => DataType::Text,
        D::Varchar(given) | D::CharacterVarying(given) | D::CharVarying(given) => {
            DataType::Varchar(length(given)?)
        }
        D::Char(given) | D::Character(given) => DataType::Char(length(given)?.unwrap_or(1)),
        D::Bytea => DataType::Bytea,
        D::Date => DataType::Date,
        D::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            no_precision(precision, "time")?;
            DataType::Time
        }
        D::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            no_precision(precision, "timestamp")?;
            DataType::Timestamp
        }
        D::Timestamp(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            no_precision(precision, "timestamptz")?;
            DataType::TimestampTz
        }
        D::Interval {
            fields: None,
            precision,
        } => {
            no_precision(precision, "interval")?;
            DataType::Interval
        }
        D::JSON => DataType::Json,
        D::JSONB => DataType::Jsonb,
        D::Uuid => DataType::Uuid,
        D::Custom(..) => match sql_type(given)? {
            (_, Some(column)) => column,
            (other, None) => {
                return Err(SqlError::unsupported(format!("a column of type {other}")));
            }
        },
        D::Array(_) | D::Enum(..) => {
            return Err(SqlError::unsupported(format!("a column of type {given}")));
        }
        _ => return Err(missing(given)),
    })
}
