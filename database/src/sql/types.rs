//! The types of expressions and answers, with PostgreSQL's oids.
//!
//! A column of a table has a `DataType`; an expression may also be of a type that no table stores: an
//! oid, a name, an array of the catalog. Arrays, names and `"char"` are `Value::Text` in PostgreSQL's
//! text form, oids are `Value::BigInt`.

use crate::types::DataType;

/// The type of an expression, without modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// A literal or parameter whose type is not known yet.
    Unknown,
    /// `boolean`
    Boolean,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`
    Numeric,
    /// `text`
    Text,
    /// `varchar`
    Varchar,
    /// `char(n)`
    BpChar,
    /// `"char"`, one byte
    InternalChar,
    /// `name`
    Name,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `interval`
    Interval,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `uuid`
    Uuid,
    /// `oid`
    Oid,
    /// `regclass`
    Regclass,
    /// `regtype`
    Regtype,
    /// `regproc`
    Regproc,
    /// `regnamespace`
    Regnamespace,
    /// `xid`
    Xid,
    /// `void`
    Void,
    /// `text[]`
    TextArray,
    /// `name[]`
    NameArray,
    /// `"char"[]`
    CharArray,
    /// `smallint[]`
    SmallIntArray,
    /// `integer[]`
    IntegerArray,
    /// `bigint[]`
    BigIntArray,
    /// `oid[]`
    OidArray,
    /// `int2vector`
    Int2Vector,
    /// `oidvector`
    OidVector,
    /// `pg_node_tree`
    NodeTree,
    /// `aclitem[]`
    AclArray,
}

/// Type, oid, length, name as `format_type` writes it, internal name.
type Row = (SqlType, u32, i16, &'static str, &'static str);

const TYPES: &[Row] = &[
    (SqlType::Unknown, 705, -2, "unknown", "unknown"),
    (SqlType::Boolean, 16, 1, "boolean", "bool"),
    (SqlType::SmallInt, 21, 2, "smallint", "int2"),
    (SqlType::Integer, 23, 4, "integer", "int4"),
    (SqlType::BigInt, 20, 8, "bigint", "int8"),
    (SqlType::Real, 700, 4, "real", "float4"),
    (SqlType::Double, 701, 8, "double precision", "float8"),
    (SqlType::Numeric, 1700, -1, "numeric", "numeric"),
    (SqlType::Text, 25, -1, "text", "text"),
    (SqlType::Varchar, 1043, -1, "character varying", "varchar"),
    (SqlType::BpChar, 1042, -1, "character", "bpchar"),
    (SqlType::InternalChar, 18, 1, "\"char\"", "char"),
    (SqlType::Name, 19, 64, "name", "name"),
    (SqlType::Bytea, 17, -1, "bytea", "bytea"),
    (SqlType::Date, 1082, 4, "date", "date"),
    (SqlType::Time, 1083, 8, "time without time zone", "time"),
    (
        SqlType::Timestamp,
        1114,
        8,
        "timestamp without time zone",
        "timestamp",
    ),
    (
        SqlType::TimestampTz,
        1184,
        8,
        "timestamp with time zone",
        "timestamptz",
    ),
    (SqlType::Interval, 1186, 16, "interval", "interval"),
    (SqlType::Json, 114, -1, "json", "json"),
    (SqlType::Jsonb, 3802, -1, "jsonb", "jsonb"),
    (SqlType::Uuid, 2950, 16, "uuid", "uuid"),
    (SqlType::Oid, 26, 4, "oid", "oid"),
    (SqlType::Regclass, 2205, 4, "regclass", "regclass"),
    (SqlType::Regtype, 2206, 4, "regtype", "regtype"),
    (SqlType::Regproc, 24, 4, "regproc", "regproc"),
    (
        SqlType::Regnamespace,
        4089,
        4,
        "regnamespace",
        "regnamespace",
    ),
    (SqlType::Xid, 28, 4, "xid", "xid"),
    (SqlType::Void, 2278, 4, "void", "void"),
    (SqlType::TextArray, 1009, -1, "text[]", "_text"),
    (SqlType::NameArray, 1003, -1, "name[]", "_name"),
    (SqlType::CharArray, 1002, -1, "\"char\"[]", "_char"),
    (SqlType::SmallIntArray, 1005, -1, "smallint[]", "_int2"),
    (SqlType::IntegerArray, 1007, -1, "integer[]", "_int4"),
    (SqlType::BigIntArray, 1016, -1, "bigint[]", "_int8"),
    (SqlType::OidArray, 1028, -1, "oid[]", "_oid"),
    (SqlType::Int2Vector, 22, -1, "int2vector", "int2vector"),
    (SqlType::OidVector, 30, -1, "oidvector", "oidvector"),
    (SqlType::NodeTree, 194, -1, "pg_node_tree", "pg_node_tree"),
    (SqlType::AclArray, 1034, -1, "aclitem[]", "_aclitem"),
];

impl SqlType {
    /// All types.
    pub fn all() -> impl Iterator<Item = SqlType> {
        TYPES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        let found = TYPES.iter().find(|row| row.0 == self);
        found.expect("every variant has its row, as a test shows")
    }

    /// Its oid in PostgreSQL.
    pub fn oid(self) -> u32 {
        self.row().1
    }

    /// The type of an oid.
    pub fn from_oid(oid: u32) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == oid).map(|row| row.0)
    }

    /// `typlen`: bytes, -1 for a type of varying length.
    pub fn length(self) -> i16 {
        self.row().2
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        self.row().3
    }

    /// `typname`.
    pub fn internal_name(self) -> &'static str {
        self.row().4
    }

    /// The type of a name as SQL writes it, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        let short = match name {
            "int" => "integer",
            "decimal" => "numeric",
            "float" => "double precision",
            "char" => "character",
            "timetz" => return None,
            name => name,
        };
        TYPES
            .iter()
            .find(|row| row.3 == short || row.4 == short)
            .map(|row| row.0)
    }

    /// The type of an array's elements.
    pub fn element(self) -> Option<Self> {
        Some(match self {
            SqlType::TextArray => SqlType::Text,
            SqlType::NameArray => SqlType::Name,
            SqlType::CharArray => SqlType::InternalChar,
            SqlType::SmallIntArray | SqlType::Int2Vector => SqlType::SmallInt,
            SqlType::IntegerArray => SqlType::Integer,
            SqlType::BigIntArray => SqlType::BigInt,
            SqlType::OidArray | SqlType::OidVector => SqlType::Oid,
            SqlType::AclArray => SqlType::Text,
            _ => return None,
        })
    }

    /// The array type of this element.
    pub fn array(self) -> Option<Self> {
        Some(match self {
            SqlType::Text | SqlType::Varchar | SqlType::Unknown | SqlType::BpChar => {
                SqlType::TextArray
            }
            SqlType::Name => SqlType::NameArray,
            SqlType::InternalChar => SqlType::CharArray,
            SqlType::SmallInt => SqlType::SmallIntArray,
            SqlType::Integer => SqlType::IntegerArray,
            SqlType::BigInt => SqlType::BigIntArray,
            SqlType::Oid | SqlType::Regclass => SqlType::OidArray,
            _ => return None,
        })
    }

    /// `smallint`, `integer`, `bigint`.
    pub fn is_integer(self) -> bool {
        matches!(self, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
    }

    /// A number of any kind, in the order in which one becomes the other.
    pub fn numeric_rank(self) -> Option<u8> {
        Some(match self {
            SqlType::SmallInt => 1,
            SqlType::Integer => 2,
            SqlType::BigInt => 3,
            SqlType::Numeric => 4,
            SqlType::Real => 5,
            SqlType::Double => 6,
            _ => return None,
        })
    }

    /// An oid in one of its guises.
    pub fn is_oid(self) -> bool {
        matches!(
            self,
            SqlType::Oid
                | SqlType::Regclass
                | SqlType::Regtype
                | SqlType::Regproc
                | SqlType::Regnamespace
        )
    }

    /// Text in one of its guises.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            SqlType::Text
                | SqlType::Varchar
                | SqlType::BpChar
                | SqlType::Name
                | SqlType::InternalChar
        )
    }

    /// A date or a time.
    pub fn is_time(self) -> bool {
        matches!(
            self,
            SqlType::Date
                | SqlType::Time
                | SqlType::Timestamp
                | SqlType::TimestampTz
                | SqlType::Interval
        )
    }
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Type and modifier of a column's type.
pub fn of_column(data_type: DataType) -> (SqlType, i32) {
    match data_type {
        DataType::Boolean => (SqlType::Boolean, -1),
        DataType::SmallInt => (SqlType::SmallInt, -1),
        DataType::Integer => (SqlType::Integer, -1),
        DataType::BigInt => (SqlType::BigInt, -1),
        DataType::Real => (SqlType::Real, -1),
        DataType::Double => (SqlType::Double, -1),
        DataType::Numeric(None) => (SqlType::Numeric, -1),
        DataType::Numeric(Some((precision, scale))) => {
            let packed = (i32::from(precision) << 16) | (i32::from(scale) & 0x7ff);
            (SqlType::Numeric, packed + 4)
        }
        DataType::Text => (SqlType::Text, -1),
        DataType::Varchar(None) => (SqlType::Varchar, -1),
        DataType::Varchar(Some(length)) => (SqlType::Varchar, length as i32 + 4),
        DataType::Char(length) => (SqlType::BpChar, length as i32 + 4),
        DataType::Bytea => (SqlType::Bytea, -1),
        DataType::Date => (SqlType::Date, -1),
        DataType::Time => (SqlType::Time, -1),
        DataType::Timestamp => (SqlType::Timestamp, -1),
        DataType::TimestampTz => (SqlType::TimestampTz, -1),
        DataType::Interval => (SqlType::Interval, -1),
        DataType::Json => (SqlType::Json, -1),
        DataType::Jsonb => (SqlType::Jsonb, -1),
        DataType::Uuid => (SqlType::Uuid, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_and_names_lead_back_to_their_type() {
        for data_type in SqlType::all() {
            assert_eq!(SqlType::from_oid(data_type.oid()), Some(data_type));
            assert!(SqlType::from_name(data_type.internal_name()).is_some());
        }
        assert_eq!(SqlType::from_name("int"), Some(SqlType::Integer));
    }
}
