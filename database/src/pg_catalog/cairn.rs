//! Schema `cairn`: what the node itself knows: its sessions and their locks.
//!
//! Invariant: rows are as of the moment they are asked for; no secret of a session is among them.

use crate::lock::{LockManager, Mode, Target};
use crate::sql::{
    Pushed, Result, SqlType, VirtualColumn, VirtualContext, VirtualRows, VirtualSnapshot,
    VirtualTable, VirtualTables,
};
use crate::types::Value;
use crate::wire::Registry;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Seconds from 1970 to 2000, where timestamps begin.
const EPOCH_SECONDS: i64 = 946_684_800;

/// Name, oid, columns (`!` is NOT NULL).
const TABLES: &[(&str, u32, &str)] = &[
    (
        "sessions",
        14_100,
        "pid integer!, user text!, database text!, client text!, application text!, state text!, \
         statement text!, since timestamptz!, state_ms bigint!",
    ),
    (
        "locks",
        14_101,
        "owner bigint!, kind text!, table_id bigint, key text, mode text!, granted boolean!",
    ),
];

/// The provider.
#[derive(Debug)]
pub struct CairnTables {
    tables: Vec<Arc<VirtualTable>>,
    snapshot: Arc<Now>,
}

#[derive(Debug)]
struct Now {
    registry: Arc<Registry>,
    locks: Arc<LockManager>,
}

impl CairnTables {
    /// Over the sessions of a server and the locks of its database.
    pub fn new(registry: Arc<Registry>, locks: Arc<LockManager>) -> Self {
        let column = |text: &str| {
            let (name, data_type) = text.split_once(' ').expect("a name and a type");
            let (data_type, not_null) = match data_type.strip_suffix('!') {
                Some(data_type) => (data_type, true),
                None => (data_type, false),
            };
            VirtualColumn {
                name: name.to_owned(),
                data_type: SqlType::from_name(data_type).expect("a type's name, as a test shows"),
                not_null,
            }
        };
        let table = |(name, oid, columns): &(&str, u32, &str)| {
            Arc::new(VirtualTable {
                name: (*name).to_owned(),
                oid: *oid,
                columns: columns.split(", ").map(column).collect(),
                keys: Vec::new(),
            })
        };
        CairnTables {
            tables: TABLES.iter().map(table).collect(),
            snapshot: Arc::new(Now { registry, locks }),
        }
    }
}

impl VirtualTables for CairnTables {
    fn schema(&self) -> &str {
        "cairn"
    }

    fn tables(&self) -> &[Arc<VirtualTable>] {
        &self.tables
    }

    fn pin(&self) -> Result<Arc<dyn VirtualSnapshot>> {
        Ok(self.snapshot.clone())
    }
}

impl VirtualSnapshot for Now {
    fn scan(&self, table: &VirtualTable, _: &VirtualContext, _: &Pushed) -> Result<VirtualRows> {
        let rows = match table.name.as_str() {
            "sessions" => self.sessions(),
            _ => self.locks(),
        };
        Ok(Box::new(rows.into_iter().map(Ok)))
    }
}

impl Now {
    fn sessions(&self) -> Vec<Vec<Value>> {
        let row = |entry: Arc<crate::wire::Entry>| {
            let doing = entry.doing();
            let since = entry.since.duration_since(UNIX_EPOCH).unwrap_or_default();
            let microseconds = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
            let state_ms = i64::try_from(doing.elapsed.as_millis()).unwrap_or(i64::MAX);
            vec![
                Value::Integer(entry.process as i32),
                Value::Text(entry.user.clone()),
                Value::Text(entry.database.clone()),
                Value::Text(entry.client.to_string()),
                Value::Text(doing.application),
                Value::Text(doing.activity.name().to_owned()),
                Value::Text(doing.statement.to_string()),
                Value::TimestampTz(microseconds - EPOCH_SECONDS * 1_000_000),
                Value::BigInt(state_ms),
            ]
        };
        self.registry.all().into_iter().map(row).collect()
    }

    fn locks(&self) -> Vec<Vec<Value>> {
        let mut rows = Vec::new();
        for (target, owner, modes, granted) in self.locks.inspect(|table| table.list()) {
            let (kind, table, key) = match &target {
                Target::Table(table) => ("table", Value::BigInt(*table as i64), Value::Null),
                Target::Row(table, _, key) => {
                    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                    ("row", Value::BigInt(*table as i64), Value::Text(hex))
                }
                Target::Advisory(space, key) => (
                    "advisory",
                    Value::Null,
                    Value::Text(format!("{space}:{key}")),
                ),
            };
            for (mode, name) in MODES {
                if modes.has(*mode) {
                    rows.push(vec![
                        Value::BigInt(owner.0 as i64),
                        Value::Text(kind.to_owned()),
                        table.clone(),
                        key.clone(),
                        Value::Text((*name).to_owned()),
                        Value::Boolean(granted),
                    ]);
                }
            }
        }
        rows
    }
}

/// The modes by PostgreSQL's names, where it has them.
const MODES: &[(Mode, &str)] = &[
    (Mode::KeyShare, "FOR KEY SHARE"),
    (Mode::Share, "FOR SHARE"),
    (Mode::NoKeyUpdate, "FOR NO KEY UPDATE"),
    (Mode::Update, "FOR UPDATE"),
    (Mode::IntentShare, "ROW SHARE"),
    (Mode::IntentExclusive, "ROW EXCLUSIVE"),
    (Mode::TableShare, "SHARE"),
    (Mode::TableExclusive, "ACCESS EXCLUSIVE"),
    (Mode::AdvisoryShared, "ADVISORY SHARE"),
    (Mode::AdvisoryExclusive, "ADVISORY EXCLUSIVE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_well_formed() {
        let tables = CairnTables::new(Arc::default(), Arc::default());
        assert_eq!(tables.tables().len(), TABLES.len());
    }
}
