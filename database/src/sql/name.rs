//! Names of relations: quoting, the search path, oids.
//!
//! Invariant: an oid is the object's id in the catalog; ids of user objects begin above PostgreSQL's
//! reserved ones only by chance, so `pg_catalog` adds nothing to them either.

use super::error::{Result, SqlError};
use super::virtual_table::VirtualContext;

/// An identifier as SQL must write it.
pub fn quote(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(at, byte)| {
        byte.is_ascii_lowercase() || byte == b'_' || at > 0 && byte.is_ascii_digit()
    });
    let keyword = sqlparser::keywords::ALL_KEYWORDS
        .binary_search(&name.to_ascii_uppercase().as_str())
        .is_ok();
    match plain && !keyword && !name.is_empty() {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Splits `a.b` and `"a"."b"` into its parts, folded as identifiers are.
pub(super) fn split(text: &str) -> Result<Vec<String>> {
    let wrong = || SqlError::new("42602", format!("invalid name syntax: \"{text}\""));
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next().ok_or_else(wrong)? {
                    (_, '"') if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                        name.push('"');
                        chars.next();
                    }
                    (at, '"') => break at + 1,
                    (_, plain) => name.push(plain),
                }
            };
            parts.push(name);
            rest = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            if end == 0 {
                return Err(wrong());
            }
            parts.push(rest[..end].to_lowercase());
            rest = &rest[end..];
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(parts),
            None => return Err(wrong()),
        }
    }
}

/// The oid of a relation by its name.
pub(super) fn oid_of(name: &str, context: &VirtualContext) -> Result<u32> {
    let parts = split(name)?;
    let missing = || SqlError::new("42P01", format!("relation \"{name}\" does not exist"));
    let (schemas, last): (Vec<&str>, &str) = match parts.as_slice() {
        [last] => (
            context.search_path.iter().map(String::as_str).collect(),
            last,
        ),
        [schema, last] | [_, schema, last] => (vec![schema], last),
        _ => return Err(missing()),
    };
    for schema in schemas {
        let all = &context.schema;
        let table = all.find(schema, last).map(|found| found.table.id);
        let index = all.find_index(schema, last).map(|(_, index)| index.id);
        let sequence = all.find_sequence(schema, last).map(|found| found.id);
        if let Some(id) = table.or(index).or(sequence) {
            return u32::try_from(id).map_err(|_| missing());
        }
    }
    Err(missing())
}

/// The name of a relation by its oid, with its schema where the search path does not find it.
pub(super) fn of_oid(oid: i64, context: &VirtualContext) -> String {
    let id = oid as u64;
    let schema = &context.schema;
    let relations = schema.relations().flat_map(|relation| {
        let table = &relation.table;
        let indexes = relation.indexes.iter().map(|index| (index.id, &index.name));
        std::iter::once((table.id, &table.name))
            .chain(indexes)
            .map(move |(id, name)| (id, &table.schema, name))
    });
    let sequences = schema
        .sequences()
        .map(|one| (one.id, &one.schema, &one.name));
    let Some((_, space, name)) = relations.chain(sequences).find(|found| found.0 == id) else {
        return if oid == 0 {
            "-".to_owned()
        } else {
            oid.to_string()
        };
    };
    match context.search_path.contains(space) {
        true => quote(name),
        false => format!("{}.{}", quote(space), quote(name)),
    }
}
