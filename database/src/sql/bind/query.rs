//! Binding queries: FROM, WHERE, GROUP BY, the select list, ORDER BY, LIMIT, set operations.

use super::super::answer::Column;
use super::super::cast::Strength;
use super::super::error::{Result, SqlError};
use super::super::expr::Expr;
use super::super::plan::{Access, Plan, Push, SortKey, choose, match_key};
use super::super::types::SqlType;
use super::{Binder, Bound, Locking, NamedColumn, RowLock, Source, Typed, absent, folded, parts};
use crate::catalog::IndexPart;
use crate::types::Value;
use sqlparser::ast;
use std::sync::Arc;

/// A query's rows and columns.
type Planned = (Arc<Plan>, Vec<Column>);

/// A clause that locks: the table's name, its schema and its first column.
struct Lockable {
    alias: String,
    offset: usize,
    relation: Arc<crate::catalog::Relation>,
}

/// What a SELECT's FROM gives.
struct From {
    plan: Arc<Plan>,
    columns: Vec<NamedColumn>,
    lockable: Vec<Lockable>,
}

fn columns_from(columns: &[Column], alias: &str, names: &[String]) -> Vec<NamedColumn> {
    let name = |at: usize, column: &Column| {
        names
            .get(at)
            .cloned()
            .unwrap_or_else(|| column.name.clone())
    };
    let named = |(at, column): (usize, &Column)| NamedColumn {
        schema: None,
        table: alias.to_owned(),
        name: name(at, column),
        data_type: column.data_type,
        modifier: column.modifier,
        origin: column.origin,
        hidden: false,
        merged: false,
    };
    columns.iter().enumerate().map(named).collect()
}

impl Binder<'_> {
    /// A query that is the statement.
    pub(super) fn top_query(&mut self, query: &ast::Query) -> Result<Bound> {
        if query.locks.is_empty() {
            let (plan, columns) = self.query(query)?;
            // Effects happen above the rows, one row at a time.
            if let Plan::Project(input, output) = &*plan
                && output.iter().any(Expr::has_effects)
            {
                return Ok(Bound::Query {
                    plan: input.clone(),
                    columns,
                    locking: None,
                    output: Some(output.clone()),
                });
            }
            return Ok(Bound::Query {
                plan,
                columns,
                locking: None,
                output: None,
            });
        }
        self.locking_query(query)
    }

    /// A query inside another one.
    pub(super) fn subquery(&mut self, query: &ast::Query, width: Option<usize>) -> Result<Planned> {
        absent(!query.locks.is_empty(), "FOR UPDATE in a subquery")?;
        let planned = self.query(query)?;
        match width {
            Some(width) if planned.1.len() != width => {
                Err(SqlError::syntax("subquery must return only one column"))
            }
            _ => Ok(planned),
        }
    }

    fn with(&mut self, with: &Option<ast::With>) -> Result<usize> {
        let before = self.ctes.len();
        if let Some(ast::With {
            with_token: _,
            recursive,
            cte_tables,
        }) = with
        {
            absent(*recursive, "WITH RECURSIVE")?;
            for ast::Cte {
                alias,
                query,
                from,
                materialized: _,
                closing_paren_token: _,
            } in cte_tables
            {
                absent(from.is_some(), "WITH ... FROM")?;
                let (name, names) = Self::alias(alias)?;
                let (plan, mut columns) = self.subquery(query, None)?;
                for (column, name) in columns.iter_mut().zip(names) {
                    column.name = name;
                }
                self.ctes.push((name, plan, columns));
            }
        }
        Ok(before)
    }

    fn alias(alias: &ast::TableAlias) -> Result<(String, Vec<String>)> {
        let ast::TableAlias {
            explicit: _,
            name,
            columns,
            at,
        } = alias;
        absent(at.is_some(), "AT in an alias")?;
        let mut names = Vec::new();
        for ast::TableAliasColumnDef { name, data_type } in columns {
            absent(data_type.is_some(), "a column definition in an alias")?;
            names.push(folded(name));
        }
        Ok((folded(name), names))
    }

    /// A query without lock clauses.
    pub(super) fn query(&mut self, query: &ast::Query) -> Result<Planned> {
        self.enter()?;
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks: _,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        absent(for_clause.is_some(), "FOR XML/JSON")?;
        absent(settings.is_some(), "SETTINGS")?;
        absent(format_clause.is_some(), "FORMAT")?;
        absent(!pipe_operators.is_empty(), "a pipe operator")?;
        let before = self.with(with)?;
        let order = Self::order(order_by)?;
        let (mut plan, columns) = match &**body {
            ast::SetExpr::Select(select) => self.select(select, &order)?,
            other => {
                let (plan, columns) = self.body(other)?;
                let plan = self.order_by_output(plan, &columns, &order)?;
                (plan, columns)
            }
        };
        let (limit, offset) = self.limit(limit_clause, fetch)?;
        if limit.is_some() || offset.is_some() {
            plan = Self::limited(plan, limit, offset);
        }
        self.ctes.truncate(before);
        self.leave();
        Ok((plan, columns))
    }

    /// A limit goes below what only computes columns, so that effects and errors are those of its rows.
    fn limited(plan: Arc<Plan>, limit: Option<Expr>, offset: Option<Expr>) -> Arc<Plan> {
        match &*plan {
            Plan::Project(input, output) => {
                let input = Arc::new(Plan::Limit {
                    input: input.clone(),
                    limit,
                    offset,
                });
                Arc::new(Plan::Project(input, output.clone()))
            }
            _ => Arc::new(Plan::Limit {
                input: plan,
                limit,
                offset,
            }),
        }
    }

    fn order(order_by: &Option<ast::OrderBy>) -> Result<Vec<&ast::OrderByExpr>> {
        let Some(ast::OrderBy { kind, interpolate }) = order_by else {
            return Ok(Vec::new());
        };
        absent(interpolate.is_some(), "INTERPOLATE")?;
        match kind {
            ast::OrderByKind::All(_) => Err(SqlError::unsupported("ORDER BY ALL")),
            ast::OrderByKind::Expressions(all) => Ok(all.iter().collect()),
        }
    }

    fn limit(
        &mut self,
        clause: &Option<ast::LimitClause>,
        fetch: &Option<ast::Fetch>,
    ) -> Result<(Option<Expr>, Option<Expr>)> {
        let (mut limit, mut offset) = (None, None);
        match clause {
            None => {}
            Some(ast::LimitClause::LimitOffset {
                limit: l,
                offset: o,
                limit_by,
            }) => {
                absent(!limit_by.is_empty(), "LIMIT BY")?;
                limit = l.as_ref();
                if let Some(ast::Offset { value, rows: _ }) = o {
                    offset = Some(value);
                }
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(SqlError::syntax("LIMIT #,# syntax is not supported"));
            }
        }
        if let Some(ast::Fetch {
            with_ties,
            percent,
            quantity,
        }) = fetch
        {
            absent(*with_ties, "FETCH ... WITH TIES")?;
            absent(*percent, "FETCH ... PERCENT")?;
            match quantity {
                Some(quantity) => limit = Some(quantity),
                None => return Ok((Some(Expr::Literal(Value::BigInt(1))), self.count(offset)?)),
            }
        }
        Ok((self.count(limit)?, self.count(offset)?))
    }

    fn count(&mut self, expr: Option<&ast::Expr>) -> Result<Option<Expr>> {
        let Some(expr) = expr else {
            return Ok(None);
        };
        let frames = std::mem::take(&mut self.frames);
        let typed = self.expr(expr);
        self.frames = frames;
        let typed = typed?;
        Ok(Some(self.coerce(
            typed,
            SqlType::BigInt,
            Strength::Assignment,
        )?))
    }

    fn sort_key(expr: Expr, one: &ast::OrderByExpr) -> Result<SortKey> {
        let ast::OrderByExpr {
            expr: _,
            options,
            with_fill,
        } = one;
        absent(with_fill.is_some(), "WITH FILL")?;
        let ast::OrderByOptions { asc, nulls_first } = options;
        let descending = *asc == Some(false);
        Ok(SortKey {
            expr,
            descending,
            nulls_first: nulls_first.unwrap_or(descending),
        })
    }

    /// The output column that an ORDER BY or GROUP BY item names by number.
    fn by_number(expr: &ast::Expr, width: usize, what: &str) -> Result<Option<usize>> {
        let ast::Expr::Value(ast::ValueWithSpan {
            value: ast::Value::Number(digits, _),
            span: _,
        }) = expr
        else {
            return Ok(None);
        };
        match digits.parse::<usize>() {
            Ok(number) if (1..=width).contains(&number) => Ok(Some(number - 1)),
            _ => Err(SqlError::new(
                "42P10",
                format!("{what} position {digits} is not in select list"),
            )),
        }
    }

    fn order_by_output(
        &mut self,
        plan: Arc<Plan>,
        columns: &[Column],
        order: &[&ast::OrderByExpr],
    ) -> Result<Arc<Plan>> {
        if order.is_empty() {
            return Ok(plan);
        }
        let mut keys = Vec::new();
        for one in order {
            let named = |name: &str| columns.iter().position(|column| column.name == name);
            let place = match &one.expr {
                ast::Expr::Identifier(ident) => named(&folded(ident)),
                expr => Self::by_number(expr, columns.len(), "ORDER BY")?,
            };
            let place = place.ok_or_else(|| {
                SqlError::new("0A000", "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                    .detail("Only result column names can be used, not expressions or functions.")
            })?;
            keys.push(Self::sort_key(Expr::Column(place), one)?);
        }
        Ok(Arc::new(Plan::Sort(plan, keys)))
    }

    fn body(&mut self, body: &ast::SetExpr) -> Result<Planned> {
        self.enter()?;
        let planned = match body {
            ast::SetExpr::Select(select) => self.select(select, &[]),
            ast::SetExpr::Query(query) => self.subquery(query, None),
            ast::SetExpr::Values(values) => self.values(values),
            ast::SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let left = self.body(left)?;
                let right = self.body(right)?;
                self.set_operation(left, right, *op, *set_quantifier)
            }
            ast::SetExpr::Table(table) => {
                let ast::Table {
                    table_name,
                    schema_name,
                } = &**table;
                let shown = table_name.clone().unwrap_or_default();
                let _ = schema_name;
                Err(SqlError::unsupported(format!("TABLE {shown}")))
            }
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => Err(SqlError::unsupported(
                "a data-modifying statement in a query",
            )),
        };
        self.leave();
        planned
    }

    fn set_operation(
        &mut self,
        left: Planned,
        right: Planned,
        op: ast::SetOperator,
        quantifier: ast::SetQuantifier,
    ) -> Result<Planned> {
        let name = op.to_string();
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(SqlError::unsupported(format!("{name} BY NAME"))),
        };
        if left.1.len() != right.1.len() {
            return Err(SqlError::syntax(format!(
                "each {name} query must have the same number of columns"
            )));
        }
        let mut columns = Vec::new();
        for (a, b) in left.1.iter().zip(&right.1) {
            let common = Self::common([a.data_type, b.data_type].into_iter(), &name)?;
            columns.push(Column::new(a.name.clone(), common));
        }
        let cast_side = |(plan, of): Planned| -> Arc<Plan> {
            if of
                .iter()
                .zip(&columns)
                .all(|(a, b)| a.data_type == b.data_type)
            {
                return plan;
            }
            let cast = |(at, (from, to)): (usize, (&Column, &Column))| Expr::Cast {
                expr: Box::new(Expr::Column(at)),
                from: from.data_type,
                to: to.data_type,
                column: None,
                explicit: false,
            };
            let exprs = of.iter().zip(&columns).enumerate().map(cast).collect();
            Arc::new(Plan::Project(plan, exprs))
        };
        let (left, right) = (cast_side(left), cast_side(right));
        let width = columns.len();
        let plan = match op {
            ast::SetOperator::Union => {
                let both = Arc::new(Plan::Append(left, right));
                if all {
                    both
                } else {
                    Arc::new(Plan::Distinct(both, width))
                }
            }
            ast::SetOperator::Intersect | ast::SetOperator::Except => {
                absent(all, &format!("{name} ALL"))?;
                let keep = op == ast::SetOperator::Intersect;
                Arc::new(Plan::Distinct(
                    Arc::new(Plan::Match { left, right, keep }),
                    width,
                ))
            }
            ast::SetOperator::Minus => return Err(SqlError::unsupported("MINUS")),
        };
        Ok((plan, columns))
    }

    fn values(&mut self, values: &ast::Values) -> Result<Planned> {
        let ast::Values {
            explicit_row,
            value_keyword,
            rows,
        } = values;
        absent(*explicit_row || *value_keyword, "VALUES ROW")?;
        let mut bound: Vec<Vec<Typed>> = Vec::new();
        self.frames.push(Vec::new());
        for row in rows {
            let row = row
                .content
                .iter()
                .map(|expr| self.expr(expr))
                .collect::<Result<Vec<_>>>()?;
            if bound.first().is_some_and(|first| first.len() != row.len()) {
                return Err(SqlError::syntax("VALUES lists must all be the same length"));
            }
            bound.push(row);
        }
        self.frames.pop();
        let width = bound.first().map_or(0, Vec::len);
        let mut columns = Vec::new();
        for at in 0..width {
            let common = Self::common(bound.iter().map(|row| row[at].data_type), "VALUES")?;
            columns.push(Column::new(format!("column{}", at + 1), common));
        }
        let mut out = Vec::new();
        for row in bound {
            let coerced = row
                .into_iter()
                .zip(&columns)
                .map(|(one, column)| self.coerce(one, column.data_type, Strength::Implicit))
                .collect::<Result<Vec<_>>>()?;
            out.push(coerced);
        }
        Ok((Arc::new(Plan::Values(out)), columns))
    }

    fn select_parts(select: &ast::Select) -> Result<()> {
        let ast::Select {
            select_token: _,
            optimizer_hints,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by: _,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        // Hints are comments.
        let _ = optimizer_hints;
        absent(select_modifiers.is_some(), "a SELECT modifier")?;
        absent(top.is_some(), "TOP")?;
        absent(exclude.is_some(), "EXCLUDE")?;
        absent(into.is_some(), "SELECT INTO")?;
        absent(!lateral_views.is_empty(), "LATERAL VIEW")?;
        absent(prewhere.is_some(), "PREWHERE")?;
        absent(!connect_by.is_empty(), "CONNECT BY")?;
        absent(
            !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty(),
            "CLUSTER/DISTRIBUTE/SORT BY",
        )?;
        absent(!named_window.is_empty(), "WINDOW")?;
        absent(qualify.is_some(), "QUALIFY")?;
        absent(value_table_mode.is_some(), "SELECT AS VALUE")?;
        absent(
            *flavor != ast::SelectFlavor::Standard,
            "FROM without SELECT",
        )
    }

    fn select(&mut self, select: &ast::Select, order: &[&ast::OrderByExpr]) -> Result<Planned> {
        let (plan, columns, output) = self.select_open(select, order, None)?;
        let width = columns.len();
        let distinct =
            select.distinct.is_some() && !matches!(select.distinct, Some(ast::Distinct::All));
        let _ = width;
        match output {
            Some(output) => Ok((Arc::new(Plan::Project(plan, output)), columns)),
            None => {
                debug_assert!(distinct);
                Ok((plan, columns))
            }
        }
    }

    /// A SELECT with its rows sorted; its output is computed above, unless DISTINCT needed it.
    #[allow(clippy::type_complexity)]
    fn select_open(
        &mut self,
        select: &ast::Select,
        order: &[&ast::OrderByExpr],
        mut lockable: Option<&mut Vec<Lockable>>,
    ) -> Result<(Arc<Plan>, Vec<Column>, Option<Vec<Expr>>)> {
        Self::select_parts(select)?;
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON")),
        };
        let from = self.from(&select.from)?;
        if let Some(out) = lockable.as_mut() {
            out.extend(from.lockable);
        }
        let mut plan = from.plan;
        self.frames.push(from.columns);
        self.aggregates.push(None);
        if let Some(selection) = &select.selection {
            let condition = self.condition(selection, "WHERE")?;
            plan = self.filtered(plan, condition)?;
        }
        self.aggregates.pop();
        self.aggregates.push(Some(Vec::new()));
        let (names, mut output) = self.projection(&select.projection)?;
        let mut groups = self.groups(&select.group_by, &names, &output)?;
        let having = select
            .having
            .as_ref()
            .map(|having| self.condition(having, "HAVING"))
            .transpose()?;
        let mut keys = Vec::new();
        for one in order {
            let expr = self.order_expr(&one.expr, &names, &output)?;
            keys.push(Self::sort_key(expr, one)?);
        }
        let calls = self.aggregates.pop().flatten().unwrap_or_default();
        let frame = self.frames.pop().unwrap_or_default();
        let grouped = !calls.is_empty() || !groups.is_empty() || having.is_some();
        let grouped_mark = grouped && lockable.is_some() || distinct && lockable.is_some();
        if grouped_mark {
            return Err(SqlError::new(
                "0A000",
                "FOR UPDATE is not allowed with DISTINCT, GROUP BY or aggregate functions",
            ));
        }
        let mut having = having;
        if grouped {
            let lift = |expr: &mut Expr| lift(expr, &groups, &frame);
            for typed in &mut output {
                lift(&mut typed.expr)?;
            }
            for key in &mut keys {
                lift(&mut key.expr)?;
            }
            if let Some(having) = &mut having {
                lift(having)?;
            }
            plan = Arc::new(Plan::Aggregate {
                input: plan,
                groups: std::mem::take(&mut groups),
                calls,
            });
            if let Some(having) = having.take() {
                plan = Arc::new(Plan::Filter(plan, having));
            }
        }
        let mut columns = Vec::new();
        let mut exprs = Vec::new();
        for (name, typed) in names.into_iter().zip(output) {
            let typed = self.known(typed)?;
            columns.push(Column {
                name,
                data_type: typed.data_type,
                modifier: typed.modifier,
                origin: typed.origin,
            });
            exprs.push(typed.expr);
        }
        if distinct {
            let width = exprs.len();
            // Sort keys must be among the output; they are sorted by place.
            let mut by_place = Vec::new();
            for key in keys {
                let place = exprs
                    .iter()
                    .position(|expr| *expr == key.expr)
                    .ok_or_else(|| {
                        SqlError::new(
                            "42P10",
                            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                        )
                    })?;
                by_place.push(SortKey {
                    expr: Expr::Column(place),
                    ..key
                });
            }
            plan = Arc::new(Plan::Distinct(Arc::new(Plan::Project(plan, exprs)), width));
            if !by_place.is_empty() {
                plan = Arc::new(Plan::Sort(plan, by_place));
            }
            return Ok((plan, columns, None));
        }
        if !keys.is_empty() {
            plan = sorted(plan, keys);
        }
        Ok((plan, columns, Some(exprs)))
    }

    fn locking_query(&mut self, query: &ast::Query) -> Result<Bound> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        absent(
            for_clause.is_some()
                || settings.is_some()
                || format_clause.is_some()
                || !pipe_operators.is_empty(),
            "a clause of this query",
        )?;
        absent(with.is_some(), "WITH together with FOR UPDATE")?;
        let ast::SetExpr::Select(select) = &**body else {
            return Err(SqlError::new(
                "0A000",
                "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT or VALUES",
            ));
        };
        let order = Self::order(order_by)?;
        let mut lockable = Vec::new();
        let (plan, columns, output) = self.select_open(select, &order, Some(&mut lockable))?;
        let (limit, offset) = self.limit(limit_clause, fetch)?;
        let modes = self.locks.clone();
        let mut all = Vec::new();
        for (
            at,
            ast::LockClause {
                lock_type,
                of,
                nonblock,
            },
        ) in locks.iter().enumerate()
        {
            let plain = match lock_type {
                ast::LockType::Share => crate::lock::Mode::Share,
                ast::LockType::Update => crate::lock::Mode::Update,
            };
            let mode = if modes.len() == locks.len() {
                modes[at]
            } else {
                plain
            };
            let of = of
                .as_ref()
                .map(parts)
                .transpose()?
                .and_then(|names| names.last().cloned());
            let mut any = false;
            for one in lockable
                .iter()
                .filter(|one| of.as_ref().is_none_or(|of| one.alias == *of))
            {
                any = true;
                all.push(RowLock {
                    relation: one.relation.clone(),
                    offset: one.offset,
                    mode,
                    skip_locked: matches!(nonblock, Some(ast::NonBlock::SkipLocked)),
                    nowait: matches!(nonblock, Some(ast::NonBlock::Nowait)),
                });
            }
            if let (false, Some(of)) = (any, of) {
                return Err(SqlError::new(
                    "42P01",
                    format!("relation \"{of}\" in FOR UPDATE clause not found in FROM clause"),
                ));
            }
        }
        let locking = Locking {
            locks: all,
            limit,
            offset,
            output: output.unwrap_or_default(),
        };
        Ok(Bound::Query {
            plan,
            columns,
            locking: Some(locking),
            output: None,
        })
    }

    fn projection(&mut self, items: &[ast::SelectItem]) -> Result<(Vec<String>, Vec<Typed>)> {
        let mut names = Vec::new();
        let mut output = Vec::new();
        for item in items {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => {
                    names.push(output_name(expr));
                    output.push(self.expr(expr)?);
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    names.push(folded(alias));
                    output.push(self.expr(expr)?);
                }
                ast::SelectItem::Wildcard(options) => {
                    Self::plain_wildcard(options)?;
                    self.star(None, &mut names, &mut output)?;
                }
                ast::SelectItem::QualifiedWildcard(kind, options) => {
                    Self::plain_wildcard(options)?;
                    let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                        return Err(SqlError::unsupported("the columns of an expression"));
                    };
                    let table = parts(name)?.pop().unwrap_or_default();
                    self.star(Some(&table), &mut names, &mut output)?;
                }
                ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::unsupported("several aliases"));
                }
            }
        }
        Ok((names, output))
    }

    fn plain_wildcard(options: &ast::WildcardAdditionalOptions) -> Result<()> {
        let ast::WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        let any = opt_ilike.is_some()
            || opt_exclude.is_some()
            || opt_except.is_some()
            || opt_replace.is_some()
            || opt_rename.is_some()
            || opt_alias.is_some();
        absent(any, "an option of *")
    }

    pub(super) fn star(
        &mut self,
        table: Option<&str>,
        names: &mut Vec<String>,
        output: &mut Vec<Typed>,
    ) -> Result<()> {
        let frame = self.frames.last().cloned().unwrap_or_default();
        let mut any = false;
        for (place, column) in frame.iter().enumerate() {
            if table.is_some_and(|table| column.table != table) {
                continue;
            }
            any = true;
            if column.hidden || (column.merged && table.is_none()) {
                continue;
            }
            names.push(column.name.clone());
            output.push(Typed {
                expr: Expr::Column(place),
                data_type: column.data_type,
                modifier: column.modifier,
                origin: column.origin,
            });
        }
        match (any, table) {
            (false, Some(table)) => Err(SqlError::new(
                "42P01",
                format!("missing FROM-clause entry for table \"{table}\""),
            )),
            (false, None) if frame.is_empty() => Err(SqlError::syntax(
                "SELECT * with no tables specified is not valid",
            )),
            _ => Ok(()),
        }
    }

    /// RETURNING.
    pub(super) fn returning(
        &mut self,
        items: &[ast::SelectItem],
    ) -> Result<(Vec<Column>, Vec<Expr>)> {
        self.aggregates.push(None);
        let (names, output) = self.projection(items)?;
        self.aggregates.pop();
        let mut columns = Vec::new();
        let mut exprs = Vec::new();
        for (name, typed) in names.into_iter().zip(output) {
            let typed = self.known(typed)?;
            columns.push(Column {
                name,
                data_type: typed.data_type,
                modifier: typed.modifier,
                origin: typed.origin,
            });
            exprs.push(typed.expr);
        }
        Ok((columns, exprs))
    }

    fn order_expr(&mut self, expr: &ast::Expr, names: &[String], output: &[Typed]) -> Result<Expr> {
        if let Some(place) = Self::by_number(expr, output.len(), "ORDER BY")? {
            return Ok(output[place].expr.clone());
        }
        if let ast::Expr::Identifier(ident) = expr {
            let name = folded(ident);
            if let Some(place) = names.iter().position(|known| *known == name) {
                return Ok(output[place].expr.clone());
            }
        }
        let typed = self.expr(expr)?;
        Ok(self.known(typed)?.expr)
    }

    fn groups(
        &mut self,
        group_by: &ast::GroupByExpr,
        names: &[String],
        output: &[Typed],
    ) -> Result<Vec<Expr>> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = group_by else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        absent(!modifiers.is_empty(), "a modifier of GROUP BY")?;
        let mut groups = Vec::new();
        for expr in exprs {
            if let Some(place) = Self::by_number(expr, output.len(), "GROUP BY")? {
                groups.push(output[place].expr.clone());
                continue;
            }
            // A column's own name goes before an output's.
            match self.expr(expr) {
                Ok(typed) => groups.push(self.known(typed)?.expr),
                Err(error) => {
                    let named = match expr {
                        ast::Expr::Identifier(ident) => {
                            names.iter().position(|name| *name == folded(ident))
                        }
                        _ => None,
                    };
                    let place = named.ok_or(error)?;
                    groups.push(output[place].expr.clone());
                }
            }
        }
        for group in &groups {
            let mut bad = false;
            group.walk(&mut |part| bad |= matches!(part, Expr::Aggregate(_)));
            if bad {
                return Err(SqlError::new(
                    "42803",
                    "aggregate functions are not allowed in GROUP BY",
                ));
            }
        }
        Ok(groups)
    }

    fn from(&mut self, tables: &[ast::TableWithJoins]) -> Result<From> {
        let mut all: Option<From> = None;
        for ast::TableWithJoins { relation, joins } in tables {
            let next =
                self.table_factor(relation, all.as_ref().map(|all| all.columns.as_slice()))?;
            let mut joined = next;
            for join in joins {
                joined = self.join(joined, join)?;
            }
            all = Some(match all {
                None => joined,
                Some(left) => Self::cross(left, joined, None, false, false),
            });
        }
        Ok(all.unwrap_or_else(|| From {
            plan: Arc::new(Plan::One),
            columns: Vec::new(),
            lockable: Vec::new(),
        }))
    }

    fn cross(left: From, right: From, on: Option<Expr>, outer: bool, lateral: bool) -> From {
        let right_width = right.columns.len();
        let offset = left.columns.len();
        let mut columns = left.columns;
        columns.extend(right.columns);
        let mut lockable = left.lockable;
        lockable.extend(right.lockable.into_iter().map(|one| Lockable {
            offset: one.offset + offset,
            ..one
        }));
        From {
            plan: Arc::new(Plan::Join {
                left: left.plan,
                right: right.plan,
                outer,
                lateral,
                on,
                right_width,
            }),
            columns,
            lockable,
        }
    }

    fn join(&mut self, left: From, join: &ast::Join) -> Result<From> {
        let ast::Join {
            relation,
            global,
            join_operator,
        } = join;
        absent(*global, "GLOBAL JOIN")?;
        use ast::JoinOperator as J;
        let (constraint, outer, swap) = match join_operator {
            J::Join(constraint) | J::Inner(constraint) | J::CrossJoin(constraint) => {
                (constraint, false, false)
            }
            J::Left(constraint) | J::LeftOuter(constraint) => (constraint, true, false),
            J::Right(constraint) | J::RightOuter(constraint) => (constraint, true, true),
            J::FullOuter(_) => return Err(SqlError::unsupported("FULL JOIN")),
            _ => return Err(SqlError::unsupported("this kind of join")),
        };
        let lateral = matches!(relation, ast::TableFactor::Derived { lateral: true, .. });
        let right = self.table_factor(relation, Some(&left.columns))?;
        let (left_width, right_width) = (left.columns.len(), right.columns.len());
        let mut both: Vec<NamedColumn> = left.columns.clone();
        both.extend(right.columns.clone());
        let mut merged = Vec::new();
        let on = match constraint {
            ast::JoinConstraint::None => None,
            ast::JoinConstraint::On(expr) => {
                self.frames.push(both);
                self.aggregates.push(None);
                let on = self.condition(expr, "JOIN/ON")?;
                self.aggregates.pop();
                self.frames.pop();
                Some(on)
            }
            ast::JoinConstraint::Using(names) => {
                let mut conditions = Vec::new();
                for name in names {
                    let name = parts(name)?.pop().unwrap_or_default();
                    let find = |columns: &[NamedColumn]| {
                        columns
                            .iter()
                            .position(|c| c.name == name && !c.hidden && !c.merged)
                    };
                    let (Some(a), Some(b)) = (find(&left.columns), find(&right.columns)) else {
                        return Err(SqlError::new(
                            "42703",
                            format!(
                                "column \"{name}\" specified in USING clause does not exist in both tables"
                            ),
                        ));
                    };
                    let (a_type, b_type) = (left.columns[a].data_type, right.columns[b].data_type);
                    absent(
                        a_type != b_type && !(a_type.is_integer() && b_type.is_integer()),
                        "USING over different types",
                    )?;
                    merged.push(b);
                    conditions.push(Expr::Compare(
                        super::super::expr::Comparison::Equal,
                        Box::new(Expr::Column(a)),
                        Box::new(Expr::Column(left_width + b)),
                    ));
                }
                Some(Expr::And(conditions))
            }
            ast::JoinConstraint::Natural => return Err(SqlError::unsupported("NATURAL JOIN")),
        };
        let mut right = right;
        for place in merged {
            right.columns[place].merged = true;
        }
        if !swap {
            return Ok(Self::cross(left, right, on, outer, lateral));
        }
        // A right join is a left join the other way round, with its columns put back in order.
        absent(lateral, "RIGHT JOIN LATERAL")?;
        let on = on.map(|mut on| {
            shift(&mut on, left_width, right_width);
            on
        });
        let columns: Vec<NamedColumn> =
            left.columns.iter().chain(&right.columns).cloned().collect();
        let joined = Self::cross(right, left, on, true, false);
        let order = (right_width..right_width + left_width).chain(0..right_width);
        let plan = Arc::new(Plan::Project(
            joined.plan,
            order.map(Expr::Column).collect(),
        ));
        Ok(From {
            plan,
            columns,
            lockable: Vec::new(),
        })
    }

    fn table_factor(
        &mut self,
        factor: &ast::TableFactor,
        left: Option<&[NamedColumn]>,
    ) -> Result<From> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                absent(version.is_some(), "FOR SYSTEM_TIME AS OF")?;
                absent(*with_ordinality, "WITH ORDINALITY")?;
                absent(sample.is_some(), "TABLESAMPLE")?;
                absent(
                    !with_hints.is_empty()
                        || !partitions.is_empty()
                        || json_path.is_some()
                        || !index_hints.is_empty(),
                    "an option of a table",
                )?;
                if let Some(ast::TableFunctionArgs { args, settings }) = args {
                    absent(settings.is_some(), "SETTINGS")?;
                    return self.table_function(name, args, alias.as_ref(), left);
                }
                self.named_table(name, alias.as_ref())
            }
            ast::TableFactor::Derived {
                lateral,
                subquery,
                alias,
                sample,
            } => {
                absent(sample.is_some(), "TABLESAMPLE")?;
                let (plan, columns) = match (lateral, left) {
                    (true, Some(left)) => {
                        self.frames.push(left.to_vec());
                        let planned = self.subquery(subquery, None);
                        self.frames.pop();
                        planned?
                    }
                    _ => self.subquery(subquery, None)?,
                };
                let (name, names) = match alias {
                    Some(alias) => Self::alias(alias)?,
                    None => {
                        return Err(SqlError::syntax("subquery in FROM must have an alias")
                            .hint("For example, FROM (SELECT ...) [AS] foo."));
                    }
                };
                Ok(From {
                    plan,
                    columns: columns_from(&columns, &name, &names),
                    lockable: Vec::new(),
                })
            }
            ast::TableFactor::Function {
                lateral: _,
                name,
                args,
                with_ordinality,
                alias,
            } => {
                absent(*with_ordinality, "WITH ORDINALITY")?;
                self.table_function(name, args, alias.as_ref(), left)
            }
            ast::TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                absent(alias.is_some(), "an alias of a join")?;
                self.from(std::slice::from_ref(&**table_with_joins))
            }
            ast::TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality,
            } => {
                absent(
                    *with_offset || with_offset_alias.is_some() || *with_ordinality,
                    "WITH ORDINALITY",
                )?;
                let [list] = array_exprs.as_slice() else {
                    return Err(SqlError::unsupported("UNNEST of several arrays"));
                };
                let list = self.expr(list)?;
                let element = list.data_type.element().unwrap_or(SqlType::Text);
                let (table, names) = match alias {
                    Some(alias) => Self::alias(alias)?,
                    None => ("unnest".to_owned(), Vec::new()),
                };
                let column = Column::new(table.clone(), element);
                let plan = Arc::new(Plan::Unnest(list.expr));
                let cast = Expr::Cast {
                    expr: Box::new(Expr::Column(0)),
                    from: SqlType::Text,
                    to: element,
                    column: None,
                    explicit: true,
                };
                let plan = Arc::new(Plan::Project(plan, vec![cast]));
                Ok(From {
                    plan,
                    columns: columns_from(&[column], &table, &names),
                    lockable: Vec::new(),
                })
            }
            _ => Err(SqlError::unsupported("this kind of table")),
        }
    }

    fn table_function(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        alias: Option<&ast::TableAlias>,
        _left: Option<&[NamedColumn]>,
    ) -> Result<From> {
        let function = parts(name)?.pop().unwrap_or_default();
        let mut arguments = Vec::new();
        for arg in args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg else {
                return Err(SqlError::unsupported("a named argument"));
            };
            arguments.push(self.expr(expr)?);
        }
        let (table, names) = match alias {
            Some(alias) => Self::alias(alias)?,
            None => (function.clone(), Vec::new()),
        };
        match function.as_str() {
            "generate_series" if matches!(arguments.len(), 2 | 3) => {
                let wide = arguments.iter().any(|one| one.data_type == SqlType::BigInt);
                let to = if wide {
                    SqlType::BigInt
                } else {
                    SqlType::Integer
                };
                let exprs = arguments
                    .into_iter()
                    .map(|one| self.coerce(one, to, Strength::Implicit))
                    .collect::<Result<Vec<_>>>()
                    .map_err(|_| {
                        SqlError::unsupported("generate_series over other types than integers")
                    })?;
                let column = Column::new(table.clone(), to);
                Ok(From {
                    plan: Arc::new(Plan::Series(exprs)),
                    columns: columns_from(&[column], &table, &names),
                    lockable: Vec::new(),
                })
            }
            "unnest" if arguments.len() == 1 => {
                let list = arguments.remove(0);
                let element = list.data_type.element().unwrap_or(SqlType::Text);
                let cast = Expr::Cast {
                    expr: Box::new(Expr::Column(0)),
                    from: SqlType::Text,
                    to: element,
                    column: None,
                    explicit: true,
                };
                let plan = Arc::new(Plan::Project(Arc::new(Plan::Unnest(list.expr)), vec![cast]));
                let column = Column::new(table.clone(), element);
                Ok(From {
                    plan,
                    columns: columns_from(&[column], &table, &names),
                    lockable: Vec::new(),
                })
            }
            other => Err(SqlError::unsupported(format!("function {other} in FROM"))),
        }
    }

    fn named_table(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
    ) -> Result<From> {
        let (alias, names) = match alias {
            Some(alias) => {
                let (alias, names) = Self::alias(alias)?;
                (Some(alias), names)
            }
            None => (None, Vec::new()),
        };
        let plain = parts(name)?;
        if let [only] = plain.as_slice()
            && let Some((_, plan, columns)) = self.ctes.iter().rev().find(|(cte, ..)| cte == only)
        {
            let shown = alias.as_deref().unwrap_or(only);
            return Ok(From {
                plan: plan.clone(),
                columns: columns_from(columns, shown, &names),
                lockable: Vec::new(),
            });
        }
        let from = match self.find(name)? {
            Source::Table(relation) => {
                let mut columns = Self::columns_of(&relation, alias.as_deref());
                rename(&mut columns, &names);
                let shown = alias.unwrap_or_else(|| relation.table.name.clone());
                From {
                    lockable: vec![Lockable {
                        alias: shown,
                        offset: 0,
                        relation: relation.clone(),
                    }],
                    plan: Arc::new(Plan::Table {
                        relation,
                        access: Access::All { reverse: false },
                    }),
                    columns,
                }
            }
            Source::Virtual(schema, table) => {
                let shown = alias.unwrap_or_else(|| table.name.clone());
                let mut columns: Vec<NamedColumn> = table
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(at, column)| NamedColumn {
                        schema: Some(schema.clone()),
                        table: shown.clone(),
                        name: column.name.clone(),
                        data_type: column.data_type,
                        modifier: -1,
                        origin: Some((table.oid, at as i16 + 1)),
                        hidden: false,
                        merged: false,
                    })
                    .collect();
                rename(&mut columns, &names);
                From {
                    plan: Arc::new(Plan::Virtual {
                        schema,
                        table,
                        push: Push::All,
                    }),
                    columns,
                    lockable: Vec::new(),
                }
            }
        };
        Ok(from)
    }

    /// A condition above a plan; it chooses the way to the rows of a table below.
    pub(super) fn filtered(&mut self, plan: Arc<Plan>, condition: Expr) -> Result<Arc<Plan>> {
        let conditions: Vec<&Expr> = match &condition {
            Expr::And(parts) => flatten(parts),
            one => vec![one],
        };
        let input = match &*plan {
            Plan::Table { relation, .. } => {
                let access = choose(relation, &conditions);
                // A key or an equality on it is answered whole by the range: nothing is left to check.
                if let (Access::Key(values), true) = (
                    &access,
                    conditions.len() == relation.table.primary_key.len(),
                ) {
                    let plan = Plan::Table {
                        relation: relation.clone(),
                        access: Access::Key(values.clone()),
                    };
                    return Ok(Arc::new(plan));
                }
                Arc::new(Plan::Table {
                    relation: relation.clone(),
                    access,
                })
            }
            Plan::Virtual { schema, table, .. } => {
                let mut push = Push::All;
                for (key, one) in table.keys.iter().enumerate() {
                    let found = match_key(&one.columns, &conditions);
                    if !found.equal.is_empty() {
                        push = Push::Equal {
                            key,
                            values: found.equal,
                        };
                        break;
                    }
                    if one.ordered
                        && push == Push::All
                        && (found.from.is_some() || found.to.is_some())
                    {
                        push = Push::Range {
                            key,
                            from: found.from,
                            to: found.to,
                            reverse: false,
                        };
                    }
                }
                Arc::new(Plan::Virtual {
                    schema: schema.clone(),
                    table: table.clone(),
                    push,
                })
            }
            Plan::Join {
                left,
                right,
                outer: false,
                lateral: false,
                on,
                right_width,
            } => {
                // Conditions of an inner join are checked as its rows are made, not above all of them.
                let mut parts: Vec<Expr> = on.iter().cloned().collect();
                parts.push(condition.clone());
                let join = Plan::Join {
                    left: left.clone(),
                    right: right.clone(),
                    outer: false,
                    lateral: false,
                    on: Some(Expr::And(parts)),
                    right_width: *right_width,
                };
                return Ok(Arc::new(join));
            }
            _ => plan,
        };
        Ok(Arc::new(Plan::Filter(input, condition)))
    }
}

fn flatten(parts: &[Expr]) -> Vec<&Expr> {
    let mut all = Vec::new();
    for part in parts {
        match part {
            Expr::And(inner) => all.extend(flatten(inner)),
            one => all.push(one),
        }
    }
    all
}

fn rename(columns: &mut [NamedColumn], names: &[String]) {
    for (column, name) in columns
        .iter_mut()
        .filter(|column| !column.hidden)
        .zip(names)
    {
        column.name.clone_from(name);
    }
}

/// Columns of a join whose sides change places.
fn shift(expr: &mut Expr, left: usize, right: usize) {
    if let Expr::Column(place) = expr {
        *place = if *place < left {
            *place + right
        } else {
            *place - left
        };
        return;
    }
    for part in expr.parts_mut() {
        shift(part, left, right);
    }
}

/// Puts an expression above the groups: what is grouped by and what is aggregated have places there.
fn lift(expr: &mut Expr, groups: &[Expr], frame: &[NamedColumn]) -> Result<()> {
    if let Some(place) = groups.iter().position(|group| group == expr) {
        *expr = Expr::Column(place);
        return Ok(());
    }
    match expr {
        Expr::Aggregate(place) => {
            *expr = Expr::Column(groups.len() + *place);
            return Ok(());
        }
        Expr::Column(place) => {
            // A column that depends on a primary key that is grouped by is not looked for.
            let column = &frame[*place];
            return Err(SqlError::new(
                "42803",
                format!(
                    "column \"{}.{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                    column.table, column.name
                ),
            ));
        }
        _ => {}
    }
    for part in expr.parts_mut() {
        lift(part, groups, frame)?;
    }
    Ok(())
}

/// Rows in order: by the key they are read by, if that is the one, else sorted.
fn sorted(plan: Arc<Plan>, keys: Vec<SortKey>) -> Arc<Plan> {
    let (table, filter) = match &*plan {
        Plan::Filter(input, condition) => (input.clone(), Some(condition.clone())),
        _ => (plan.clone(), None),
    };
    if let Plan::Table { relation, access } = &*table
        && let Some(access) = ordered(relation, access, &keys)
    {
        let table = Arc::new(Plan::Table {
            relation: relation.clone(),
            access,
        });
        return match filter {
            Some(condition) => Arc::new(Plan::Filter(table, condition)),
            None => table,
        };
    }
    Arc::new(Plan::Sort(plan, keys))
}

fn ordered(
    relation: &crate::catalog::Relation,
    access: &Access,
    keys: &[SortKey],
) -> Option<Access> {
    use crate::key::Direction;
    let columns: Option<Vec<usize>> = keys
        .iter()
        .map(|key| match key.expr {
            Expr::Column(place) => Some(place),
            _ => None,
        })
        .collect();
    let columns = columns?;
    let matches = |parts: &[(usize, Direction)], skip: usize| -> Option<bool> {
        let rest = parts.get(skip..)?;
        if rest.len() < columns.len() {
            return None;
        }
        let mut reverse = None;
        for ((column, direction), (wanted, key)) in rest.iter().zip(columns.iter().zip(keys)) {
            if column != wanted {
                return None;
            }
            let backward = direction.descending != key.descending;
            let not_null = relation.table.columns[*column].not_null
                || relation.table.primary_key.contains(column);
            if !not_null && (direction.nulls_first != backward) != key.nulls_first {
                return None;
            }
            if reverse.is_some_and(|reverse| reverse != backward) {
                return None;
            }
            reverse = Some(backward);
        }
        reverse
    };
    let primary: Vec<_> = relation
        .table
        .primary_key
        .iter()
        .map(|column| (*column, Direction::ASCENDING))
        .collect();
    let of_index = |at: usize| -> Vec<(usize, Direction)> {
        let parts = relation.indexes[at].parts.iter();
        parts
            .map_while(|(part, direction)| match part {
                IndexPart::Column(column) => Some((*column, *direction)),
                IndexPart::Expression(_) => None,
            })
            .collect()
    };
    match access {
        Access::Key(_) => Some(access.clone()),
        Access::Range {
            index,
            equal,
            from,
            to,
            reverse: _,
        } => {
            let parts = index.map_or_else(|| primary.clone(), of_index);
            let reverse = matches(&parts, equal.len())?;
            Some(Access::Range {
                index: *index,
                equal: equal.clone(),
                from: from.clone(),
                to: to.clone(),
                reverse,
            })
        }
        Access::All { .. } => {
            if !relation.table.hidden_key
                && let Some(reverse) = matches(&primary, 0)
            {
                return Some(Access::All { reverse });
            }
            let usable = |index: &crate::catalog::Index| {
                index.predicate.is_none() && index.state == crate::catalog::IndexState::Public
            };
            let found = relation
                .indexes
                .iter()
                .enumerate()
                .filter(|(_, index)| usable(index))
                .find_map(|(at, index)| {
                    let parts = of_index(at);
                    (parts.len() == index.parts.len())
                        .then(|| matches(&parts, 0))
                        .flatten()
                        .map(|reverse| (at, reverse))
                });
            found.map(|(at, reverse)| Access::Range {
                index: Some(at),
                equal: Vec::new(),
                from: None,
                to: None,
                reverse,
            })
        }
    }
}

/// The name of a column that has none.
fn output_name(expr: &ast::Expr) -> String {
    use ast::Expr as E;
    match expr {
        E::Identifier(ident) => folded(ident),
        E::CompoundIdentifier(idents) => idents.last().map(folded).unwrap_or_default(),
        E::Function(function) => parts(&function.name)
            .ok()
            .and_then(|mut names| names.pop())
            .unwrap_or_default(),
        E::Cast {
            expr, data_type, ..
        } => match output_name(expr).as_str() {
            "?column?" => super::types::sql_type(data_type)
                .map_or("?column?".into(), |(found, _)| {
                    found.internal_name().to_owned()
                }),
            name => name.to_owned(),
        },
        E::TypedString(ast::TypedString { data_type, .. }) => super::types::sql_type(data_type)
            .map_or("?column?".into(), |(found, _)| {
                found.internal_name().to_owned()
            }),
        E::Nested(inner) | E::Collate { expr: inner, .. } => output_name(inner),
        E::CompoundFieldAccess { root, .. } => output_name(root),
        E::Case { else_result, .. } => match else_result.as_deref().map(output_name) {
            Some(name) if name != "?column?" => name,
            _ => "case".into(),
        },
        E::Exists { .. } => "exists".into(),
        E::Array(_) => "array".into(),
        E::Extract { .. } => "extract".into(),
        E::Position { .. } => "position".into(),
        E::Substring { .. } => "substring".into(),
        E::Trim { trim_where, .. } => match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim".into(),
            Some(ast::TrimWhereField::Trailing) => "rtrim".into(),
            _ => "btrim".into(),
        },
        E::Ceil { .. } => "ceil".into(),
        E::Floor { .. } => "floor".into(),
        E::Interval(_) => "interval".into(),
        E::Subquery(query) => match &*query.body {
            ast::SetExpr::Select(select) => match select.projection.first() {
                Some(ast::SelectItem::UnnamedExpr(expr)) => output_name(expr),
                Some(ast::SelectItem::ExprWithAlias { alias, .. }) => folded(alias),
                _ => "?column?".into(),
            },
            _ => "?column?".into(),
        },
        E::Value(ast::ValueWithSpan {
            value: ast::Value::Boolean(_),
            span: _,
        }) => "bool".into(),
        _ => "?column?".into(),
    }
}
