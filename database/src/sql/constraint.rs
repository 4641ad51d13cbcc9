//! CHECK constraints, partial and expression indexes: their SQL, computed for the transaction layer.
//!
//! Invariant: what is computed depends on the row alone.

use super::bind::Binder;
use super::cast::Strength;
use super::effect::Outcomes;
use super::error::{Result, SqlError};
use super::expr::{Env, Expr, Scope};
use super::parse;
use super::session::Environment;
use super::types::{SqlType, of_column};
use super::virtual_table::VirtualContext;
use crate::catalog::{Check, Index, IndexPart, Relation, Schema, Table};
use crate::transaction::{Error, Expressions};
use crate::types::Value;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Expressions kept bound; a schema has tens.
const CACHED_MAX: usize = 1024;

type Key = (u64, Vec<(String, SqlType)>, String);

/// Evaluates SQL for constraints and indexes.
#[derive(Debug, Default)]
pub struct SqlExpressions {
    bound: Mutex<HashMap<Key, Arc<Expr>>>,
}

fn env() -> Arc<Env> {
    Arc::new(Env {
        parameters: Vec::new(),
        now: 0,
        reader: None,
        context: VirtualContext {
            schema: Arc::default(),
            user: "".into(),
            database: "".into(),
            search_path: Arc::from(Vec::new()),
        },
        pins: HashMap::new(),
        canceller: None,
        outcomes: Mutex::new(Outcomes::default()),
        settings: Arc::default(),
        patterns: Mutex::default(),
        held: Default::default(),
    })
}

/// Binds an expression over the columns of a table.
///
/// # Errors
/// What is wrong with it.
pub(super) fn bind(table: &Table, text: &str, boolean: bool) -> Result<(Expr, SqlType)> {
    let tree = parse::expression(text)?;
    let schema = Arc::new(Schema::default());
    let environment = Environment::default();
    let relation = Relation {
        table: table.clone(),
        indexes: Vec::new(),
    };
    let mut binder = Binder {
        schema: &schema,
        environment: &environment,
        search_path: &[],
        parameters: Vec::new(),
        frames: vec![Binder::columns_of(&relation, None)],
        aggregates: vec![None],
        ctes: Vec::new(),
        locks: Vec::new(),
        depth: 0,
        text,
    };
    let typed = binder.expr(&tree)?;
    let typed = binder.known(typed)?;
    if !boolean {
        return Ok((typed.expr, typed.data_type));
    }
    if typed.data_type != SqlType::Boolean {
        return Err(SqlError::new(
            "42804",
            format!(
                "argument of CHECK must be type boolean, not type {}",
                typed.data_type
            ),
        ));
    }
    Ok((
        binder.coerce(typed, SqlType::Boolean, Strength::Implicit)?,
        SqlType::Boolean,
    ))
}

impl SqlExpressions {
    fn value(
        &self,
        table: &Table,
        text: &str,
        row: &[Value],
        boolean: bool,
    ) -> Result<Value, Error> {
        let columns = table
            .columns
            .iter()
            .map(|column| (column.name.clone(), of_column(column.data_type).0));
        let key = (table.id, columns.collect(), text.to_owned());
        let fault = |error: SqlError| Error::Type(error.message);
        let known = self.bound.lock().get(&key).cloned();
        let expr = match known {
            Some(expr) => expr,
            None => {
                let expr = Arc::new(bind(table, text, boolean).map_err(fault)?.0);
                let mut bound = self.bound.lock();
                if bound.len() >= CACHED_MAX {
                    bound.clear();
                }
                bound.insert(key, expr.clone());
                expr
            }
        };
        expr.eval(row, &Scope::new(env())).map_err(fault)
    }
}

impl Expressions for SqlExpressions {
    fn check(&self, table: &Table, check: &Check, row: &[Value]) -> Result<Option<bool>, Error> {
        Ok(match self.value(table, &check.expression, row, true)? {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    fn index_values(
        &self,
        table: &Table,
        index: &Index,
        row: &[Value],
    ) -> Result<Option<Vec<Value>>, Error> {
        if let Some(predicate) = &index.predicate
            && self.value(table, predicate, row, true)? != Value::Boolean(true)
        {
            return Ok(None);
        }
        let part = |part: &IndexPart| match part {
            IndexPart::Column(place) => Ok(row.get(*place).cloned().unwrap_or(Value::Null)),
            IndexPart::Expression(text) => self.value(table, text, row, false),
        };
        index
            .parts
            .iter()
            .map(|(one, _)| part(one))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}
