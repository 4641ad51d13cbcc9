//! What is not in a schema: databases, roles, access methods, collations, settings.

use super::View;
use super::oid::{OWNER, PG_CATALOG, schema_names, schema_oid};
use super::relation::{BTREE, HEAP};
use super::row::Row;

/// The oid of the database.
const DATABASE: u32 = 16_383;
/// `pg_default`
const TABLESPACE: u32 = 1663;
/// UTF8 in `pg_encoding_to_char`.
pub(super) const UTF8: i64 = 6;

pub(super) fn namespaces(view: &View<'_>) -> Vec<Row> {
    let schema = &view.context.schema;
    let row = |name: String| {
        let oid = schema_oid(schema, &name);
        Row::new()
            .oid("oid", oid)
            .text("nspname", name)
            .oid("nspowner", OWNER)
    };
    schema_names(schema).into_iter().map(row).collect()
}

pub(super) fn databases(view: &View<'_>) -> Vec<Row> {
    vec![
        Row::new()
            .oid("oid", DATABASE)
            .text("datname", &view.server.database)
            .oid("datdba", OWNER)
            .number("encoding", UTF8)
            .text("datlocprovider", "c")
            .flag("datallowconn", true)
            .number("datconnlimit", -1)
            .oid("dattablespace", TABLESPACE)
            .text("datcollate", "C")
            .text("datctype", "C"),
    ]
}

fn role(oid: u32, name: &str, is_owner: bool) -> Row {
    Row::new()
        .oid("oid", oid)
        .text("rolname", name)
        .flag("rolsuper", is_owner)
        .flag("rolinherit", true)
        .flag("rolcreaterole", is_owner)
        .flag("rolcreatedb", is_owner)
        .flag("rolcanlogin", true)
        .flag("rolreplication", false)
        .flag("rolbypassrls", is_owner)
        .number("rolconnlimit", -1)
        .text("rolpassword", "********")
}

/// The names of all roles, the owner first.
pub(super) fn role_names(context: &crate::sql::VirtualContext, owner: &str) -> Vec<(u32, String)> {
    let others = context.schema.others().iter();
    let others = others
        .filter(|(kind, ..)| kind == "role")
        .map(|(_, _, name, _)| name.clone());
    let mut names = vec![(OWNER, owner.to_owned())];
    names.extend((OWNER + 1..).zip(others.filter(|name| name != owner)));
    names
}

pub(super) fn roles(view: &View<'_>) -> Vec<Row> {
    let names = role_names(view.context, &view.server.user);
    let rows = names
        .into_iter()
        .map(|(oid, name)| role(oid, &name, oid == OWNER));
    rows.collect()
}

pub(super) fn users(view: &View<'_>) -> Vec<Row> {
    let names = role_names(view.context, &view.server.user);
    let row = |(oid, name): (u32, String)| {
        Row::new()
            .text("usename", name)
            .oid("usesysid", oid)
            .flag("usecreatedb", oid == OWNER)
            .flag("usesuper", oid == OWNER)
            .flag("userepl", false)
            .flag("usebypassrls", oid == OWNER)
            .text("passwd", "********")
    };
    names.into_iter().map(row).collect()
}

pub(super) fn access_methods() -> Vec<Row> {
    let row = |(oid, name, kind): (u32, &str, &str)| {
        Row::new()
            .oid("oid", oid)
            .text("amname", name)
            .text("amtype", kind)
    };
    [(HEAP, "heap", "t"), (BTREE, "btree", "i")]
        .into_iter()
        .map(row)
        .collect()
}

pub(super) fn collations() -> Vec<Row> {
    let row = |(oid, name, provider): (u32, &str, &str)| {
        Row::new()
            .oid("oid", oid)
            .text("collname", name)
            .oid("collnamespace", PG_CATALOG)
            .oid("collowner", OWNER)
            .text("collprovider", provider)
            .flag("collisdeterministic", true)
            .number("collencoding", -1)
    };
    [(100, "default", "d"), (950, "C", "c"), (951, "POSIX", "c")]
        .into_iter()
        .map(row)
        .collect()
}

pub(super) fn tablespaces() -> Vec<Row> {
    let row = |(oid, name): (u32, &str)| {
        Row::new()
            .oid("oid", oid)
            .text("spcname", name)
            .oid("spcowner", OWNER)
    };
    [(TABLESPACE, "pg_default"), (1664, "pg_global")]
        .into_iter()
        .map(row)
        .collect()
}

pub(super) fn languages() -> Vec<Row> {
    vec![
        Row::new()
            .oid("oid", 14)
            .text("lanname", "sql")
            .oid("lanowner", OWNER),
    ]
}

/// Settings that never change here; those of a session are told by SHOW.
pub(super) fn settings(view: &View<'_>) -> Vec<Row> {
    let fixed = [
        ("server_version", view.server.version.as_str()),
        ("server_version_num", "150000"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("lc_ctype", "C"),
        ("integer_datetimes", "on"),
        ("block_size", "8192"),
        ("max_identifier_length", "63"),
        ("max_index_keys", "32"),
        ("wal_level", "replica"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("standard_conforming_strings", "on"),
    ];
    let row = |(name, value): (&str, &str)| {
        Row::new()
            .text("name", name)
            .text("setting", value)
            .text("category", "Preset Options")
            .text("context", "internal")
            .text("vartype", "string")
            .text("source", "default")
            .text("boot_val", value)
            .text("reset_val", value)
            .flag("pending_restart", false)
    };
    fixed.into_iter().map(row).collect()
}
