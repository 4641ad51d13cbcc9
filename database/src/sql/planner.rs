//! The room for a planner of what the point paths do not answer.

use super::answer::{Column, RowIterator};
use super::error::Result;
use super::types::SqlType;
use crate::catalog::Schema;
use crate::transaction::Reader;
use crate::types::Value;
use sqlparser::ast::Query;
use std::fmt::Debug;
use std::sync::Arc;

/// Plans queries.
pub trait Planner: Debug + Send + Sync {
    /// A plan, or `None` if this planner does not answer it either.
    ///
    /// # Errors
    /// What is wrong with the query.
    fn plan(
        &self,
        query: &Query,
        schema: &Arc<Schema>,
        parameters: &mut Vec<Option<SqlType>>,
    ) -> Result<Option<Arc<dyn QueryPlan>>>;
}

/// A query ready to run.
pub trait QueryPlan: Debug + Send + Sync {
    /// The columns of its rows.
    fn columns(&self) -> &[Column];
    /// Runs it over a view.
    ///
    /// # Errors
    /// What comes up before the first row.
    fn run(&self, reader: Reader, parameters: &[Value]) -> Result<RowIterator>;
    /// Lines for EXPLAIN.
    fn explain(&self) -> Vec<String>;
}
