//! Binding INSERT, UPDATE and DELETE.

use super::super::answer::Column;
use super::super::error::{Result, SqlError};
use super::super::expr::Expr;
use super::super::parse;
use super::super::plan::{Access, Plan};
use super::{Binder, Bound, NamedColumn, Typed, absent, folded, parts};
use crate::catalog::{IndexPart, Relation};
use sqlparser::ast;
use std::sync::Arc;

/// The table that is written and what comes back.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) relation: Arc<Relation>,
    pub(crate) columns: Vec<Column>,
    /// Computed over the row as it is written.
    pub(crate) returning: Option<Vec<Expr>>,
}

/// Columns by place with their values, and the condition after WHERE.
pub(crate) type ConflictUpdate = (Vec<(usize, Expr)>, Option<Expr>);

/// ON CONFLICT.
#[derive(Debug)]
pub(crate) struct Conflict {
    /// The primary key (`None` inside), or an index; all of them without a target.
    pub(crate) target: Option<Option<u64>>,
    /// Nothing, or columns and their values over the row that is there and the one that is not.
    pub(crate) update: Option<ConflictUpdate>,
}

/// INSERT.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) target: Target,
    pub(crate) source: Arc<Plan>,
    /// Each column over a row of the source.
    pub(crate) values: Vec<Expr>,
    pub(crate) conflict: Option<Conflict>,
}

/// UPDATE.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) target: Target,
    pub(crate) plan: Arc<Plan>,
    pub(crate) set: Vec<(usize, Expr)>,
}

/// DELETE.
#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) target: Target,
    pub(crate) plan: Arc<Plan>,
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

impl Binder<'_> {
    /// The value of a column that is not given.
    pub(in super::super) fn default_of(
        &mut self,
        relation: &Relation,
        place: usize,
    ) -> Result<Expr> {
        let column = &relation.table.columns[place];
        let Some(default) = &column.default else {
            return Ok(Expr::null());
        };
        let expr = parse::expression(default)?;
        let frames = std::mem::take(&mut self.frames);
        let typed = self.expr(&expr);
        self.frames = frames;
        self.assign(typed?, column)
    }

    fn visible(relation: &Relation) -> Vec<usize> {
        let table = &relation.table;
        let last = table.columns.len().saturating_sub(1);
        let shown = |at: &usize| !table.columns[*at].dropped && (!table.hidden_key || *at != last);
        (0..table.columns.len()).filter(shown).collect()
    }

    fn place_of(&self, relation: &Relation, name: &str) -> Result<usize> {
        let table = &relation.table;
        let visible = Self::visible(relation);
        table
            .column(name)
            .filter(|place| visible.contains(place))
            .ok_or_else(|| {
                SqlError::new(
                    "42703",
                    format!(
                        "column \"{name}\" of relation \"{}\" does not exist",
                        table.name
                    ),
                )
            })
    }

    fn always(&self, relation: &Relation, place: usize) -> bool {
        let key = format!("identity.{place}");
        relation
            .table
            .options
            .iter()
            .any(|(name, value)| *name == key && value == "always")
    }

    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<Bound> {
        let ast::Insert {
            insert_token: _,
            optimizer_hints: _,
            or,
            ignore,
            into: _,
            table,
            table_alias,
            columns,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        let foreign = or.is_some()
            || *ignore
            || *overwrite
            || !assignments.is_empty()
            || partitioned.is_some()
            || !after_columns.is_empty()
            || *has_table_keyword
            || output.is_some()
            || *replace_into
            || priority.is_some()
            || insert_alias.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || multi_table_insert_type.is_some()
            || !multi_table_into_clauses.is_empty()
            || !multi_table_when_clauses.is_empty()
            || multi_table_else_clause.is_some();
        absent(foreign, "this form of INSERT")?;
        let ast::TableObject::TableName(name) = table else {
            return Err(SqlError::unsupported(
                "INSERT into something else than a table",
            ));
        };
        let relation = self.find_table(name)?;
        let alias = table_alias
            .as_ref()
            .map(|ast::TableAliasWithoutColumns { explicit: _, alias }| folded(alias));
        let mut places = Vec::new();
        for column in columns {
            let names = parts(column)?;
            let [name] = names.as_slice() else {
                return Err(SqlError::unsupported("a field of a column"));
            };
            let place = self.place_of(&relation, name)?;
            if places.contains(&place) {
                return Err(SqlError::new(
                    "42701",
                    format!("column \"{name}\" specified more than once"),
                ));
            }
            places.push(place);
        }
        if columns.is_empty() {
            places = Self::visible(&relation);
        }
        let (source, given) =
            self.insert_source(&relation, &places, source.as_deref(), !columns.is_empty())?;
        let visible = Self::visible(&relation);
        let mut values = Vec::new();
        let width = relation.table.columns.len() - usize::from(relation.table.hidden_key);
        for place in 0..width {
            values.push(match given.iter().find(|(to, _)| *to == place) {
                Some((_, expr)) => expr.clone(),
                None if visible.contains(&place) => self.default_of(&relation, place)?,
                None => Expr::null(),
            });
        }
        let conflict = on
            .as_ref()
            .map(|on| self.conflict(&relation, alias.as_deref(), on))
            .transpose()?;
        let target = self.target(relation, alias.as_deref(), returning.as_deref())?;
        Ok(Bound::Insert(Box::new(Insert {
            target,
            source,
            values,
            conflict,
        })))
    }

    #[allow(clippy::type_complexity)]
    fn insert_source(
        &mut self,
        relation: &Arc<Relation>,
        places: &[usize],
        source: Option<&ast::Query>,
        named: bool,
    ) -> Result<(Arc<Plan>, Vec<(usize, Expr)>)> {
        let Some(query) = source else {
            return Ok((Arc::new(Plan::One), Vec::new()));
        };
        let count = |given: usize| -> Result<()> {
            if given > places.len() {
                return Err(SqlError::syntax(
                    "INSERT has more expressions than target columns",
                ));
            }
            if given < places.len() && named {
                return Err(SqlError::syntax(
                    "INSERT has more target columns than expressions",
                ));
            }
            Ok(())
        };
        if let ast::SetExpr::Values(ast::Values {
            explicit_row,
            value_keyword,
            rows,
        }) = &*query.body
            && query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.locks.is_empty()
            && query.fetch.is_none()
        {
            absent(*explicit_row || *value_keyword, "VALUES ROW")?;
            let mut out = Vec::new();
            let mut width = None;
            for row in rows {
                count(row.content.len())?;
                if width.is_some_and(|width| width != row.content.len()) {
                    return Err(SqlError::syntax("VALUES lists must all be the same length"));
                }
                width = Some(row.content.len());
                let mut values = Vec::new();
                for (expr, place) in row.content.iter().zip(places) {
                    let column = &relation.table.columns[*place];
                    values.push(if is_default(expr) {
                        self.default_of(relation, *place)?
                    } else {
                        if self.always(relation, *place) {
                            return Err(always(column));
                        }
                        let typed = self.expr(expr)?;
                        self.assign(typed, column)?
                    });
                }
                out.push(values);
            }
            let given = places
                .iter()
                .take(width.unwrap_or(0))
                .enumerate()
                .map(|(at, place)| (*place, Expr::Column(at)));
            let given: Vec<_> = given.collect();
            // One row is computed where it is written, so that it may have effects.
            if let [only] = out.as_slice() {
                let given = given
                    .iter()
                    .map(|(place, _)| *place)
                    .zip(only.iter().cloned())
                    .collect();
                return Ok((Arc::new(Plan::One), given));
            }
            if out.iter().flatten().any(Expr::has_effects) {
                // Each row's values stand in the source's place; the rows are told apart by a number.
                let numbers = (0..out.len())
                    .map(|at| vec![Expr::Literal(crate::types::Value::Integer(at as i32))])
                    .collect();
                let pick = |column: usize| {
                    let arms = out.iter().enumerate().map(|(at, row)| {
                        let is_it = Expr::Compare(
                            super::super::expr::Comparison::Equal,
                            Box::new(Expr::Column(0)),
                            Box::new(Expr::Literal(crate::types::Value::Integer(at as i32))),
                        );
                        (is_it, row[column].clone())
                    });
                    Expr::Case(arms.collect(), None)
                };
                let given = places
                    .iter()
                    .take(width.unwrap_or(0))
                    .enumerate()
                    .map(|(at, place)| (*place, pick(at)))
                    .collect();
                return Ok((Arc::new(Plan::Values(numbers)), given));
            }
            return Ok((Arc::new(Plan::Values(out)), given));
        }
        absent(!query.locks.is_empty(), "FOR UPDATE in INSERT ... SELECT")?;
        let (plan, columns) = self.query(query)?;
        count(columns.len())?;
        let mut given = Vec::new();
        for (at, (column, place)) in columns.iter().zip(places).enumerate() {
            let to = &relation.table.columns[*place];
            if self.always(relation, *place) {
                return Err(always(to));
            }
            let typed = Typed {
                expr: Expr::Column(at),
                data_type: column.data_type,
                modifier: column.modifier,
                origin: None,
            };
            given.push((*place, self.assign(typed, to)?));
        }
        Ok((plan, given))
    }

    fn target(
        &mut self,
        relation: Arc<Relation>,
        alias: Option<&str>,
        returning: Option<&[ast::SelectItem]>,
    ) -> Result<Target> {
        let Some(items) = returning else {
            return Ok(Target {
                relation,
                columns: Vec::new(),
                returning: None,
            });
        };
        self.frames.push(Self::columns_of(&relation, alias));
        let bound = self.returning(items);
        self.frames.pop();
        let (columns, exprs) = bound?;
        Ok(Target {
            relation,
            columns,
            returning: Some(exprs),
        })
    }

    fn conflict(
        &mut self,
        relation: &Arc<Relation>,
        alias: Option<&str>,
        on: &ast::OnInsert,
    ) -> Result<Conflict> {
        let ast::OnInsert::OnConflict(ast::OnConflict {
            conflict_target,
            action,
        }) = on
        else {
            return Err(SqlError::unsupported("ON DUPLICATE KEY UPDATE"));
        };
        let table = &relation.table;
        let target = match conflict_target {
            None => None,
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let name = parts(name)?.pop().unwrap_or_default();
                if table.primary_name == name {
                    Some(None)
                } else {
                    let index = relation
                        .indexes
                        .iter()
                        .find(|index| index.name == name && index.constraint.is_some());
                    let index = index.ok_or_else(|| {
                        SqlError::new(
                            "42704",
                            format!(
                                "constraint \"{name}\" for table \"{}\" does not exist",
                                table.name
                            ),
                        )
                    })?;
                    Some(Some(index.id))
                }
            }
            Some(ast::ConflictTarget::Columns(names)) => {
                let mut columns = names
                    .iter()
                    .map(|name| self.place_of(relation, &folded(name)))
                    .collect::<Result<Vec<_>>>()?;
                columns.sort_unstable();
                columns.dedup();
                let same = |other: &[usize]| {
                    let mut other = other.to_vec();
                    other.sort_unstable();
                    other == columns
                };
                let of_index = |index: &&crate::catalog::Index| {
                    let places: Option<Vec<usize>> = index
                        .parts
                        .iter()
                        .map(|(part, _)| match part {
                            IndexPart::Column(place) => Some(*place),
                            IndexPart::Expression(_) => None,
                        })
                        .collect();
                    index.unique
                        && index.predicate.is_none()
                        && places.is_some_and(|places| same(&places))
                };
                if !table.hidden_key && same(&table.primary_key) {
                    Some(None)
                } else if let Some(index) = relation.indexes.iter().find(of_index) {
                    Some(Some(index.id))
                } else {
                    return Err(SqlError::new(
                        "42P10",
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                    ));
                }
            }
        };
        let update = match action {
            ast::OnConflictAction::DoNothing => None,
            ast::OnConflictAction::DoUpdate(ast::DoUpdate {
                assignments,
                selection,
            }) => {
                if target.is_none() {
                    return Err(SqlError::syntax(
                        "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                    ));
                }
                let mut frame: Vec<NamedColumn> = Self::columns_of(relation, alias);
                let excluded = Self::columns_of(relation, Some("excluded"));
                // A bare name is the row that is there.
                frame.extend(excluded.into_iter().map(|column| NamedColumn {
                    merged: true,
                    ..column
                }));
                self.frames.push(frame);
                let set = self.assignments(relation, assignments);
                let set = set.and_then(|set| {
                    let condition = selection
                        .as_ref()
                        .map(|selection| self.condition(selection, "WHERE"))
                        .transpose()?;
                    Ok((set, condition))
                });
                self.frames.pop();
                Some(set?)
            }
        };
        Ok(Conflict { target, update })
    }

    fn assignments(
        &mut self,
        relation: &Arc<Relation>,
        assignments: &[ast::Assignment],
    ) -> Result<Vec<(usize, Expr)>> {
        let mut set: Vec<(usize, Expr)> = Vec::new();
        for ast::Assignment { target, value } in assignments {
            let pairs: Vec<(&ast::ObjectName, &ast::Expr)> = match (target, value) {
                (ast::AssignmentTarget::ColumnName(name), value) => vec![(name, value)],
                (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values))
                    if names.len() == values.len() =>
                {
                    names.iter().zip(values).collect()
                }
                (ast::AssignmentTarget::Tuple(_), _) => {
                    return Err(SqlError::unsupported(
                        "a multi-column assignment of this form",
                    ));
                }
            };
            for (name, value) in pairs {
                let names = parts(name)?;
                let [name] = names.as_slice() else {
                    return Err(SqlError::unsupported("a field of a column"));
                };
                let place = self.place_of(relation, name)?;
                if set.iter().any(|(known, _)| *known == place) {
                    return Err(SqlError::syntax(format!(
                        "multiple assignments to same column \"{name}\""
                    )));
                }
                let column = &relation.table.columns[place];
                let expr = if is_default(value) {
                    self.default_of(relation, place)?
                } else {
                    if self.always(relation, place) {
                        return Err(SqlError::new(
                            "428C9",
                            format!("column \"{name}\" can only be updated to DEFAULT"),
                        ));
                    }
                    let typed = self.expr(value)?;
                    self.assign(typed, column)?
                };
                set.push((place, expr));
            }
        }
        Ok(set)
    }

    /// The rows of a table for which a condition holds.
    fn rows(
        &mut self,
        relation: &Arc<Relation>,
        selection: Option<&ast::Expr>,
    ) -> Result<Arc<Plan>> {
        let plan = Arc::new(Plan::Table {
            relation: relation.clone(),
            access: Access::All { reverse: false },
        });
        let Some(selection) = selection else {
            return Ok(plan);
        };
        let condition = self.condition(selection, "WHERE")?;
        self.filtered(plan, condition)
    }

    fn one_table(&self, table: &ast::TableWithJoins) -> Result<(Arc<Relation>, Option<String>)> {
        let ast::TableWithJoins { relation, joins } = table;
        absent(!joins.is_empty(), "a join as the target of a change")?;
        let ast::TableFactor::Table {
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
        } = relation
        else {
            return Err(SqlError::unsupported(
                "a change of something else than a table",
            ));
        };
        let any = args.is_some()
            || !with_hints.is_empty()
            || version.is_some()
            || *with_ordinality
            || !partitions.is_empty()
            || json_path.is_some()
            || sample.is_some()
            || !index_hints.is_empty();
        absent(any, "an option of a table")?;
        let alias = match alias {
            Some(ast::TableAlias {
                explicit: _,
                name,
                columns,
                at,
            }) => {
                absent(
                    !columns.is_empty() || at.is_some(),
                    "column names in this alias",
                )?;
                Some(folded(name))
            }
            None => None,
        };
        Ok((self.find_table(name)?, alias))
    }

    pub(super) fn update(&mut self, update: &ast::Update) -> Result<Bound> {
        let ast::Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        absent(from.is_some(), "UPDATE ... FROM")?;
        absent(
            output.is_some() || or.is_some() || !order_by.is_empty() || limit.is_some(),
            "this form of UPDATE",
        )?;
        let (relation, alias) = self.one_table(table)?;
        self.frames
            .push(Self::columns_of(&relation, alias.as_deref()));
        self.aggregates.push(None);
        let bound = self
            .assignments(&relation, assignments)
            .and_then(|set| Ok((set, self.rows(&relation, selection.as_ref())?)));
        self.aggregates.pop();
        self.frames.pop();
        let (set, plan) = bound?;
        let target = self.target(relation, alias.as_deref(), returning.as_deref())?;
        Ok(Bound::Update(Box::new(Update { target, plan, set })))
    }

    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<Bound> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        absent(using.is_some(), "DELETE ... USING")?;
        absent(
            !tables.is_empty() || output.is_some() || !order_by.is_empty() || limit.is_some(),
            "this form of DELETE",
        )?;
        let ast::FromTable::WithFromKeyword(from) = from else {
            return Err(SqlError::syntax("DELETE without FROM"));
        };
        let [table] = from.as_slice() else {
            return Err(SqlError::syntax("DELETE of several tables"));
        };
        let (relation, alias) = self.one_table(table)?;
        self.frames
            .push(Self::columns_of(&relation, alias.as_deref()));
        self.aggregates.push(None);
        let plan = self.rows(&relation, selection.as_ref());
        self.aggregates.pop();
        self.frames.pop();
        let plan = plan?;
        let target = self.target(relation, alias.as_deref(), returning.as_deref())?;
        Ok(Bound::Delete(Box::new(Delete { target, plan })))
    }
}

fn always(column: &crate::catalog::Column) -> SqlError {
    SqlError::new(
        "428C9",
        format!(
            "cannot insert a non-DEFAULT value into column \"{}\"",
            column.name
        ),
    )
    .detail(format!(
        "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
        column.name
    ))
    .hint("Use OVERRIDING SYSTEM VALUE to override.")
}
