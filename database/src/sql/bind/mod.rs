//! Binding: names to places, types to expressions, statements to plans.
//!
//! Invariant: every struct of the syntax tree is taken apart field by field, so that nothing is parsed
//! and then ignored: what is not known here answers 0A000 with its name.

mod change;
mod expr;
mod query;
mod types;

use super::answer::Column;
use super::error::{Result, SqlError};
use super::expr::Expr;
use super::plan::Plan;
use super::session::Environment;
use super::types::{SqlType, of_column};
use super::virtual_table::VirtualTable;
use crate::catalog::{Relation, Schema};
use crate::lock::Mode;
use sqlparser::ast;
use std::sync::Arc;

pub(super) use change::{Conflict, Target};
pub(super) use types::column_type;

/// A lock clause over a table of the query.
#[derive(Debug)]
pub(super) struct RowLock {
    pub(super) relation: Arc<Relation>,
    /// Where its columns begin in the row.
    pub(super) offset: usize,
    pub(super) mode: Mode,
    pub(super) skip_locked: bool,
    pub(super) nowait: bool,
}

/// A query with FOR UPDATE: rows are found, locked, cut, then computed.
#[derive(Debug)]
pub(super) struct Locking {
    pub(super) locks: Vec<RowLock>,
    pub(super) limit: Option<Expr>,
    pub(super) offset: Option<Expr>,
    pub(super) output: Vec<Expr>,
}

/// A statement that is bound.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each prepared statement, and most of them are queries"
)]
pub(super) enum Bound {
    Query {
        plan: Arc<Plan>,
        columns: Vec<Column>,
        locking: Option<Locking>,
        output: Option<Vec<Expr>>,
    },
    Insert(Box<change::Insert>),
    Update(Box<change::Update>),
    Delete(Box<change::Delete>),
    /// The session runs it from the tree.
    Other,
}

impl Bound {
    pub(super) fn columns(&self) -> Vec<Column> {
        match self {
            Bound::Query { columns, .. } => columns.clone(),
            Bound::Insert(insert) => insert.target.columns.clone(),
            Bound::Update(update) => update.target.columns.clone(),
            Bound::Delete(delete) => delete.target.columns.clone(),
            Bound::Other => Vec::new(),
        }
    }

    pub(super) fn virtual_schemas(&self) -> Vec<String> {
        let mut out = Vec::new();
        match self {
            Bound::Query { plan, output, .. } => {
                plan.virtual_schemas(&mut out);
                if let Some(output) = output {
                    Plan::Values(vec![output.clone()]).virtual_schemas(&mut out);
                }
            }
            Bound::Insert(insert) => insert.source.virtual_schemas(&mut out),
            Bound::Update(update) => update.plan.virtual_schemas(&mut out),
            Bound::Delete(delete) => delete.plan.virtual_schemas(&mut out),
            Bound::Other => {}
        }
        out
    }
}

/// A bound expression with its type.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    pub(super) data_type: SqlType,
    pub(super) modifier: i32,
    pub(super) origin: Option<(u32, i16)>,
}

impl Typed {
    pub(super) fn new(expr: Expr, data_type: SqlType) -> Self {
        Typed {
            expr,
            data_type,
            modifier: -1,
            origin: None,
        }
    }
}

/// A column that can be named.
#[derive(Debug, Clone)]
pub(super) struct NamedColumn {
    pub(super) schema: Option<String>,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) data_type: SqlType,
    pub(super) modifier: i32,
    pub(super) origin: Option<(u32, i16)>,
    /// Not in `*`, not found by name: a dropped column, a hidden key.
    pub(super) hidden: bool,
    /// Not in `*`: the right side of USING.
    pub(super) merged: bool,
}

/// What statements are bound with.
pub(super) struct Binder<'a> {
    pub(super) schema: &'a Arc<Schema>,
    pub(super) environment: &'a Environment,
    pub(super) search_path: &'a [String],
    pub(super) parameters: Vec<Option<SqlType>>,
    pub(super) frames: Vec<Vec<NamedColumn>>,
    pub(super) aggregates: Vec<Option<Vec<super::aggregate::AggregateCall>>>,
    pub(super) ctes: Vec<(String, Arc<Plan>, Vec<Column>)>,
    pub(super) locks: Vec<Mode>,
    pub(super) depth: usize,
    pub(super) text: &'a str,
}

/// Depth of expressions and queries in the tree: some kilobytes of stack each.
const DEPTH_MAX: usize = 160;

/// A relation that a name means.
pub(super) enum Source {
    Table(Arc<Relation>),
    Virtual(String, Arc<VirtualTable>),
}

/// The parts of a name, folded.
pub(super) fn parts(name: &ast::ObjectName) -> Result<Vec<String>> {
    let ast::ObjectName(parts) = name;
    parts
        .iter()
        .map(|part| match part {
            ast::ObjectNamePart::Identifier(ident) => Ok(folded(ident)),
            ast::ObjectNamePart::Function(_) => Err(SqlError::unsupported("a function as a name")),
        })
        .collect()
}

/// An identifier as the catalog has it: folded unless quoted, 63 bytes at most.
pub(super) fn folded(ident: &ast::Ident) -> String {
    let ast::Ident {
        value,
        quote_style,
        span: _,
    } = ident;
    let name = if quote_style.is_some() {
        value.clone()
    } else {
        value.to_lowercase()
    };
    let mut cut = name.len().min(63);
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    name[..cut].to_owned()
}

/// 0A000 where something is there that must not be.
pub(super) fn absent(there: bool, what: &str) -> Result<()> {
    match there {
        true => Err(SqlError::unsupported(what)),
        false => Ok(()),
    }
}

impl<'a> Binder<'a> {
    pub(super) fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(
                SqlError::new("54001", "stack depth limit exceeded").detail(format!(
                    "The statement is more than {DEPTH_MAX} levels deep."
                )),
            ),
            false => Ok(()),
        }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn place(&self, span: sqlparser::tokenizer::Span) -> Option<usize> {
        super::parse::place(self.text, span.start.line, span.start.column)
    }

    /// The schemas that a name is looked for in.
    pub(super) fn find(&self, name: &ast::ObjectName) -> Result<Source> {
        let names = parts(name)?;
        let (schemas, last): (Vec<&str>, &String) = match names.as_slice() {
            [last] => (self.search_path.iter().map(String::as_str).collect(), last),
            [schema, last] | [_, schema, last] => (vec![schema], last),
            _ => {
                return Err(SqlError::syntax(
                    "improper qualified name (too many dotted names)",
                ));
            }
        };
        for schema in &schemas {
            if let Some(relation) = self.schema.find(schema, last) {
                return Ok(Source::Table(relation.clone()));
            }
            for tables in &self.environment.virtual_tables {
                if tables.schema() == *schema
                    && let Some(table) = tables.tables().iter().find(|table| table.name == *last)
                {
                    return Ok(Source::Virtual((*schema).to_owned(), table.clone()));
                }
            }
        }
        let shown = names.join(".");
        let at = name
            .0
            .first()
            .and_then(|part| part.as_ident())
            .map(|ident| ident.span);
        let sequence = schemas
            .iter()
            .any(|s| self.schema.find_sequence(s, last).is_some());
        if sequence {
            return Err(SqlError::unsupported(format!(
                "reading the sequence \"{shown}\" as a table"
            )));
        }
        if self
            .schema
            .others()
            .iter()
            .any(|(kind, _, name, _)| kind == "view" && name == last)
        {
            return Err(SqlError::unsupported("a view"));
        }
        Err(
            SqlError::new("42P01", format!("relation \"{shown}\" does not exist"))
                .at(at.and_then(|span| self.place(span))),
        )
    }

    /// A table that can be written.
    pub(super) fn find_table(&self, name: &ast::ObjectName) -> Result<Arc<Relation>> {
        match self.find(name)? {
            Source::Table(relation) => Ok(relation),
            Source::Virtual(schema, table) => Err(SqlError::new(
                "42809",
                format!("cannot change \"{schema}.{}\": it is read-only", table.name),
            )),
        }
    }

    /// The columns of a table under a name.
    pub(super) fn columns_of(relation: &Relation, alias: Option<&str>) -> Vec<NamedColumn> {
        let table = &relation.table;
        let last = table.columns.len().saturating_sub(1);
        table
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let (data_type, modifier) = of_column(column.data_type);
                let oid = u32::try_from(table.id).unwrap_or(0);
                NamedColumn {
                    schema: alias.is_none().then(|| table.schema.clone()),
                    table: alias.unwrap_or(&table.name).to_owned(),
                    name: column.name.clone(),
                    data_type,
                    modifier,
                    origin: Some((oid, at as i16 + 1)),
                    hidden: column.dropped || (table.hidden_key && at == last),
                    merged: false,
                }
            })
            .collect()
    }

    /// Binds a statement.
    pub(super) fn statement(&mut self, statement: &ast::Statement) -> Result<Bound> {
        match statement {
            ast::Statement::Query(query) => self.top_query(query),
            ast::Statement::Insert(insert) => self.insert(insert),
            ast::Statement::Update(update) => self.update(update),
            ast::Statement::Delete(delete) => self.delete(delete),
            _ => Ok(Bound::Other),
        }
    }
}
