//! Plans and the rows they give.
//!
//! Invariant: a plan is opened over a view and gives rows one at a time; only sorts, groups, DISTINCT
//! and the inner side of a join hold rows, and those are accounted for. A condition that chose a way
//! to the rows is checked again on each row.

use super::aggregate::{AggregateCall, Running};
use super::error::{Result, SqlError};
use super::expr::{Comparison, Expr, Scope, evaluate, order};
use super::virtual_table::{Pushed, VirtualTable};
use crate::catalog::{self, IndexPart, Relation};
use crate::key::{self, Direction};
use crate::transaction::KeyRange;
use crate::types::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Rows between two looks at the cancel flag.
const CANCEL_ROWS: u32 = 64;

pub(super) type Rows = Box<dyn Iterator<Item = Result<Vec<Value>>> + Send>;

/// How the rows of a table are found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Access {
    /// All, by their key.
    All { reverse: bool },
    /// One, by its whole key.
    Key(Vec<Expr>),
    /// A range of the primary key (`None`) or of an index.
    Range {
        index: Option<usize>,
        equal: Vec<Expr>,
        from: Option<(Expr, bool)>,
        to: Option<(Expr, bool)>,
        reverse: bool,
    },
}

/// A bound of a pushed range, before its value is known.
pub(super) type Edge = Option<(Expr, bool)>;

/// What is asked of a virtual table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Push {
    All,
    Equal {
        key: usize,
        values: Vec<Expr>,
    },
    Range {
        key: usize,
        from: Edge,
        to: Edge,
        reverse: bool,
    },
}

/// A key of a sort.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SortKey {
    pub(super) expr: Expr,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// A plan.
#[derive(Debug)]
pub(super) enum Plan {
    /// One row without columns.
    One,
    Values(Vec<Vec<Expr>>),
    Table {
        relation: Arc<Relation>,
        access: Access,
    },
    Virtual {
        schema: String,
        table: Arc<VirtualTable>,
        push: Push,
    },
    Series(Vec<Expr>),
    Unnest(Expr),
    Filter(Arc<Plan>, Expr),
    Project(Arc<Plan>, Vec<Expr>),
    Join {
        left: Arc<Plan>,
        right: Arc<Plan>,
        outer: bool,
        lateral: bool,
        on: Option<Expr>,
        right_width: usize,
    },
    Aggregate {
        input: Arc<Plan>,
        groups: Vec<Expr>,
        calls: Vec<AggregateCall>,
    },
    Sort(Arc<Plan>, Vec<SortKey>),
    Limit {
        input: Arc<Plan>,
        limit: Option<Expr>,
        offset: Option<Expr>,
    },
    /// Rows that differ in the first so many columns.
    Distinct(Arc<Plan>, usize),
    Append(Arc<Plan>, Arc<Plan>),
    /// INTERSECT, or EXCEPT.
    Match {
        left: Arc<Plan>,
        right: Arc<Plan>,
        keep: bool,
    },
}

/// Rows by their values, NULLs being the same.
#[derive(Debug, Clone)]
struct Key(Vec<Value>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Key {}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        for (a, b) in self.0.iter().zip(&other.0) {
            match compare(a, b, false, false) {
                Ordering::Equal => {}
                order => return order,
            }
        }
        self.0.len().cmp(&other.0.len())
    }
}

fn compare(a: &Value, b: &Value, descending: bool, nulls_first: bool) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = match (a, b) {
                (Value::Json(a), Value::Json(b)) => a.cmp(b),
                _ => order(a, b).unwrap_or(Ordering::Equal),
            };
            if descending { order.reverse() } else { order }
        }
    }
}

impl Plan {
    /// Opens it.
    pub(super) fn open(self: &Arc<Self>, scope: &Scope) -> Result<Rows> {
        let plan = self.clone();
        let inside = scope.clone();
        Ok(match &**self {
            Plan::One => Box::new(std::iter::once(Ok(Vec::new()))),
            Plan::Values(rows) => Box::new((0..rows.len()).map(move |at| {
                let Plan::Values(rows) = &*plan else {
                    unreachable!("it is matched above")
                };
                evaluate(&rows[at], &[], &inside)
            })),
            Plan::Table { relation, access } => watched(table(relation, access, scope)?, scope),
            Plan::Virtual {
                schema,
                table,
                push,
            } => {
                let pin = scope.env.pins.get(schema).ok_or_else(|| {
                    SqlError::new("XX000", format!("schema {schema} is not pinned"))
                })?;
                let Some(pushed) = pushed(push, scope)? else {
                    return Ok(Box::new(std::iter::empty()));
                };
                watched(pin.scan(table, &scope.env.context, &pushed)?, scope)
            }
            Plan::Series(arguments) => series(&evaluate(arguments, &[], scope)?, scope)?,
            Plan::Unnest(list) => match list.eval(&[], scope)? {
                Value::Text(list) => {
                    let all = super::expr::array_of(&list)?;
                    Box::new(
                        all.into_iter()
                            .map(|one| Ok(vec![one.map_or(Value::Null, Value::Text)])),
                    )
                }
                _ => Box::new(std::iter::empty()),
            },
            Plan::Filter(input, _) => Box::new(input.open(scope)?.filter_map(move |row| {
                let Plan::Filter(_, condition) = &*plan else {
                    unreachable!("it is matched above")
                };
                let row = match row {
                    Ok(row) => row,
                    Err(error) => return Some(Err(error)),
                };
                match condition.holds(&row, &inside) {
                    Ok(true) => Some(Ok(row)),
                    Ok(false) => None,
                    Err(error) => Some(Err(error)),
                }
            })),
            Plan::Project(input, _) => Box::new(input.open(scope)?.map(move |row| {
                let Plan::Project(_, parts) = &*plan else {
                    unreachable!("it is matched above")
                };
                evaluate(parts, &row?, &inside)
            })),
            Plan::Join {
                left,
                right,
                lateral,
                ..
            } => {
                let left = left.open(scope)?;
                let held = match lateral {
                    true => Vec::new(),
                    false => collect(right.open(scope)?, scope)?,
                };
                Box::new(Joined {
                    plan,
                    scope: inside,
                    left,
                    held,
                    current: None,
                    at: 0,
                    matched: false,
                })
            }
            Plan::Aggregate {
                input,
                groups,
                calls,
            } => aggregate(input, groups, calls, scope)?,
            Plan::Sort(input, keys) => {
                let mut rows = Vec::new();
                for row in input.open(scope)? {
                    let row = row?;
                    scope.env.hold(&row)?;
                    let by = keys
                        .iter()
                        .map(|key| key.expr.eval(&row, scope))
                        .collect::<Result<Vec<_>>>()?;
                    rows.push((by, row));
                }
                rows.sort_by(|(a, _), (b, _)| {
                    for ((a, b), key) in a.iter().zip(b).zip(keys) {
                        match compare(a, b, key.descending, key.nulls_first) {
                            Ordering::Equal => {}
                            order => return order,
                        }
                    }
                    Ordering::Equal
                });
                Box::new(rows.into_iter().map(|(_, row)| Ok(row)))
            }
            Plan::Limit {
                input,
                limit,
                offset,
            } => {
                let (skip, take) = limits(limit.as_ref(), offset.as_ref(), scope)?;
                let rows = input.open(scope)?;
                // An error among the skipped rows is an error.
                let mut skipped = 0;
                let rows = rows.filter(move |row| {
                    let skip_it = row.is_ok() && skipped < skip;
                    skipped += u64::from(skip_it);
                    !skip_it
                });
                match take {
                    Some(take) => Box::new(rows.take(usize::try_from(take).unwrap_or(usize::MAX))),
                    None => Box::new(rows),
                }
            }
            Plan::Distinct(input, width) => {
                let width = *width;
                let mut seen = std::collections::BTreeSet::new();
                Box::new(input.open(scope)?.filter(move |row| match row {
                    Ok(row) => {
                        let key = row[..width.min(row.len())].to_vec();
                        inside.env.hold(&key).is_ok() && seen.insert(Key(key))
                    }
                    Err(_) => true,
                }))
            }
            Plan::Append(left, right) => Box::new(left.open(scope)?.chain(right.open(scope)?)),
            Plan::Match { left, right, keep } => {
                let rows = collect(right.open(scope)?, scope)?;
                let other: std::collections::BTreeSet<Key> = rows.into_iter().map(Key).collect();
                let keep = *keep;
                Box::new(left.open(scope)?.filter(move |row| match row {
                    Ok(row) => other.contains(&Key(row.clone())) == keep,
                    Err(_) => true,
                }))
            }
        })
    }

    /// Lines for EXPLAIN, by depth.
    pub(super) fn explain(&self, depth: usize, lines: &mut Vec<String>) {
        let mut say = |text: String| {
            let line = match lines.is_empty() {
                true => text,
                false => format!("{}->  {text}", "  ".repeat(depth)),
            };
            lines.push(line);
        };
        let below = |plan: &Plan, lines: &mut Vec<String>| plan.explain(depth + 1, lines);
        match self {
            Plan::One => say("Result".into()),
            Plan::Values(rows) => say(format!("Values Scan ({} rows)", rows.len())),
            Plan::Series(_) => say("Function Scan on generate_series".into()),
            Plan::Unnest(_) => say("Function Scan on unnest".into()),
            Plan::Table { relation, access } => {
                let name = &relation.table.name;
                match access {
                    Access::All { reverse } => {
                        say(format!("Seq Scan{} on {name}", backward(*reverse)));
                    }
                    Access::Key(_) => {
                        say(format!(
                            "Index Scan using {} on {name}",
                            relation.table.primary_name
                        ));
                        lines.push(format!("{}  Index Cond: whole key", "  ".repeat(depth)));
                    }
                    Access::Range {
                        index,
                        equal,
                        from,
                        to,
                        reverse,
                    } => {
                        let table = &relation.table;
                        let (index_name, columns): (&str, Vec<String>) = match index {
                            None => (
                                &table.primary_name,
                                table
                                    .primary_key
                                    .iter()
                                    .map(|c| table.columns[*c].name.clone())
                                    .collect(),
                            ),
                            Some(at) => {
                                let index = &relation.indexes[*at];
                                let part = |part: &IndexPart| match part {
                                    IndexPart::Column(c) => table.columns[*c].name.clone(),
                                    IndexPart::Expression(text) => text.clone(),
                                };
                                (
                                    &index.name,
                                    index.parts.iter().map(|(p, _)| part(p)).collect(),
                                )
                            }
                        };
                        say(format!(
                            "Index Scan{} using {index_name} on {name}",
                            backward(*reverse)
                        ));
                        let condition = condition(&columns, equal, from, to);
                        if !condition.is_empty() {
                            lines
                                .push(format!("{}  Index Cond: ({condition})", "  ".repeat(depth)));
                        }
                    }
                }
            }
            Plan::Virtual {
                schema,
                table,
                push,
            } => {
                let names = |key: usize| -> Vec<String> {
                    let columns = table.keys[key].columns.iter();
                    columns
                        .map(|column| table.columns[*column].name.clone())
                        .collect()
                };
                match push {
                    Push::All => say(format!("Seq Scan on {schema}.{}", table.name)),
                    Push::Equal { key, values } => {
                        say(format!(
                            "Index Scan using {} on {schema}.{}",
                            table.keys[*key].name, table.name
                        ));
                        let condition = condition(&names(*key), values, &None, &None);
                        lines.push(format!("{}  Index Cond: ({condition})", "  ".repeat(depth)));
                    }
                    Push::Range {
                        key,
                        from,
                        to,
                        reverse,
                    } => {
                        say(format!(
                            "Index Scan{} using {} on {schema}.{}",
                            backward(*reverse),
                            table.keys[*key].name,
                            table.name
                        ));
                        let condition = condition(&names(*key), &[], from, to);
                        if !condition.is_empty() {
                            lines
                                .push(format!("{}  Index Cond: ({condition})", "  ".repeat(depth)));
                        }
                    }
                }
            }
            Plan::Filter(input, _) => {
                say("Filter".into());
                below(input, lines);
            }
            Plan::Project(input, _) => input.explain(depth, lines),
            Plan::Join {
                left, right, outer, ..
            } => {
                say(format!(
                    "Nested Loop{}",
                    if *outer { " Left Join" } else { "" }
                ));
                below(left, lines);
                below(right, lines);
            }
            Plan::Aggregate { input, groups, .. } => {
                say(if groups.is_empty() {
                    "Aggregate"
                } else {
                    "GroupAggregate"
                }
                .into());
                below(input, lines);
            }
            Plan::Sort(input, _) => {
                say("Sort".into());
                below(input, lines);
            }
            Plan::Limit { input, .. } => {
                say("Limit".into());
                below(input, lines);
            }
            Plan::Distinct(input, _) => {
                say("Unique".into());
                below(input, lines);
            }
            Plan::Append(left, right) => {
                say("Append".into());
                below(left, lines);
                below(right, lines);
            }
            Plan::Match { left, right, keep } => {
                say(if *keep {
                    "SetOp Intersect"
                } else {
                    "SetOp Except"
                }
                .into());
                below(left, lines);
                below(right, lines);
            }
        }
    }

    /// The virtual schemas it reads.
    pub(super) fn virtual_schemas(&self, out: &mut Vec<String>) {
        let mut from_expressions = |parts: &[Expr]| {
            for part in parts {
                part.walk(&mut |expr| match expr {
                    Expr::Scalar(inner)
                    | Expr::Exists(inner)
                    | Expr::ArrayQuery(inner)
                    | Expr::InQuery(_, inner, _) => {
                        inner.0.virtual_schemas(out);
                    }
                    _ => {}
                });
            }
        };
        match self {
            Plan::One | Plan::Table { .. } => {}
            Plan::Values(rows) => rows.iter().for_each(|row| from_expressions(row)),
            Plan::Series(parts) => from_expressions(parts),
            Plan::Unnest(list) => from_expressions(std::slice::from_ref(list)),
            Plan::Virtual { schema, .. } => {
                if !out.contains(schema) {
                    out.push(schema.clone());
                }
            }
            Plan::Filter(input, condition) => {
                from_expressions(std::slice::from_ref(condition));
                input.virtual_schemas(out);
            }
            Plan::Project(input, parts) => {
                from_expressions(parts);
                input.virtual_schemas(out);
            }
            Plan::Aggregate {
                input,
                groups,
                calls,
            } => {
                from_expressions(groups);
                for call in calls {
                    from_expressions(&call.arguments);
                }
                input.virtual_schemas(out);
            }
            Plan::Sort(input, keys) => {
                for key in keys {
                    from_expressions(std::slice::from_ref(&key.expr));
                }
                input.virtual_schemas(out);
            }
            Plan::Limit { input, .. } | Plan::Distinct(input, _) => {
                input.virtual_schemas(out);
            }
            Plan::Join {
                left, right, on, ..
            } => {
                from_expressions(on.as_slice());
                left.virtual_schemas(out);
                right.virtual_schemas(out);
            }
            Plan::Append(left, right) | Plan::Match { left, right, .. } => {
                left.virtual_schemas(out);
                right.virtual_schemas(out);
            }
        }
    }
}

fn backward(reverse: bool) -> &'static str {
    if reverse { " Backward" } else { "" }
}

fn condition(columns: &[String], equal: &[Expr], from: &Edge, to: &Edge) -> String {
    let show = |expr: &Expr| match expr {
        Expr::Literal(value) => super::text::write(value).unwrap_or_else(|| "NULL".into()),
        Expr::Parameter(place) => format!("${}", place + 1),
        _ => "(expression)".to_owned(),
    };
    let mut parts: Vec<String> = columns
        .iter()
        .zip(equal)
        .map(|(name, value)| format!("{name} = {}", show(value)))
        .collect();
    if let Some(name) = columns.get(equal.len()) {
        if let Some((value, inclusive)) = from {
            parts.push(format!(
                "{name} >{} {}",
                if *inclusive { "=" } else { "" },
                show(value)
            ));
        }
        if let Some((value, inclusive)) = to {
            parts.push(format!(
                "{name} <{} {}",
                if *inclusive { "=" } else { "" },
                show(value)
            ));
        }
    }
    parts.join(" AND ")
}

/// LIMIT and OFFSET.
pub(super) fn limits(
    limit: Option<&Expr>,
    offset: Option<&Expr>,
    scope: &Scope,
) -> Result<(u64, Option<u64>)> {
    let count = |expr: Option<&Expr>, state: &'static str, what: &str| -> Result<Option<u64>> {
        let Some(value) = expr.map(|expr| expr.eval(&[], scope)).transpose()? else {
            return Ok(None);
        };
        let Some(value) = value.as_integer() else {
            return Ok(None);
        };
        u64::try_from(value)
            .map(Some)
            .map_err(|_| SqlError::new(state, format!("{what} must not be negative")))
    };
    let take = count(limit, "2201W", "LIMIT")?;
    let skip = count(offset, "2201X", "OFFSET")?.unwrap_or(0);
    Ok((skip, take))
}

/// Looks at the cancel flag now and then.
fn watched(rows: Rows, scope: &Scope) -> Rows {
    let env = scope.env.clone();
    let mut count = 0_u32;
    Box::new(rows.map(move |row| {
        count = count.wrapping_add(1);
        if count.is_multiple_of(CANCEL_ROWS) {
            env.check_cancel()?;
        }
        row
    }))
}

fn collect(rows: Rows, scope: &Scope) -> Result<Vec<Vec<Value>>> {
    rows.map(|row| {
        let row = row?;
        scope.env.hold(&row)?;
        Ok(row)
    })
    .collect()
}

/// The key range of conditions on the first columns of a key; `None` if a value is NULL.
fn range(
    directions: &[Direction],
    equal: &[Expr],
    from: &Edge,
    to: &Edge,
    scope: &Scope,
) -> Result<Option<KeyRange>> {
    let mut prefix = Vec::new();
    for (place, expr) in equal.iter().enumerate() {
        let value = expr.eval(&[], scope)?;
        if value.is_null() {
            return Ok(None);
        }
        key::append(
            &mut prefix,
            &value,
            directions
                .get(place)
                .copied()
                .unwrap_or(Direction::ASCENDING),
        )?;
    }
    let direction = directions
        .get(equal.len())
        .copied()
        .unwrap_or(Direction::ASCENDING);
    let mut range = KeyRange::prefix(&prefix);
    let (low, high) = if direction.descending {
        (to, from)
    } else {
        (from, to)
    };
    // No row at all, no edge on this side, or the key's bytes and whether they belong to the range.
    type Found = Option<Option<(Vec<u8>, bool)>>;
    let at = |edge: &Edge| -> Result<Found> {
        let Some((expr, inclusive)) = edge else {
            return Ok(Some(None));
        };
        let value = expr.eval(&[], scope)?;
        if value.is_null() {
            return Ok(None);
        }
        let mut bytes = prefix.clone();
        key::append(&mut bytes, &value, direction)?;
        Ok(Some(Some((bytes, *inclusive))))
    };
    let (Some(low), Some(high)) = (at(low)?, at(high)?) else {
        return Ok(None);
    };
    match low {
        Some((bytes, true)) => range.from = bytes,
        Some((bytes, false)) => match key::after_prefix(&bytes) {
            Some(after) => range.from = after,
            None => return Ok(None),
        },
        None => {}
    }
    match high {
        Some((bytes, true)) => range.to = key::after_prefix(&bytes).or(range.to),
        Some((bytes, false)) => range.to = Some(bytes),
        None => {}
    }
    if range.to.as_ref().is_some_and(|to| *to <= range.from) {
        return Ok(None);
    }
    Ok(Some(range))
}

/// The rows of a table.
fn table(relation: &Arc<Relation>, access: &Access, scope: &Scope) -> Result<Rows> {
    let reader = scope.env.reader.as_ref();
    let reader = reader.ok_or_else(|| SqlError::new("0A000", "no table can be read here"))?;
    let storage = relation.table.storage();
    let whole = |range: &KeyRange, reverse: bool| -> Result<Rows> {
        let relation = relation.clone();
        let rows = reader.scan(storage, range, reverse)?;
        Ok(Box::new(rows.map(move |row| {
            Ok(catalog::values(&relation.table, &row?.1)?)
        })))
    };
    match access {
        Access::All { reverse } => whole(&KeyRange::all(), *reverse),
        Access::Key(parts) => {
            let values = evaluate(parts, &[], scope)?;
            if values.iter().any(Value::is_null) {
                return Ok(Box::new(std::iter::empty()));
            }
            let key = key::encode(&values, &[])?;
            Ok(Box::new(reader.row(relation, &key)?.map(Ok).into_iter()))
        }
        Access::Range {
            index,
            equal,
            from,
            to,
            reverse,
        } => match index {
            None => match range(&[], equal, from, to, scope)? {
                Some(range) => whole(&range, *reverse),
                None => Ok(Box::new(std::iter::empty())),
            },
            Some(at) => {
                let index = &relation.indexes[*at];
                let Some(range) = range(&catalog::directions(index), equal, from, to, scope)?
                else {
                    return Ok(Box::new(std::iter::empty()));
                };
                let rows = reader.scan_index(relation, index, &range, *reverse)?;
                Ok(Box::new(rows.map(|row| Ok(row?.1))))
            }
        },
    }
}

fn pushed(push: &Push, scope: &Scope) -> Result<Option<Pushed>> {
    let edge = |edge: &Edge| -> Result<Option<Bound<Value>>> {
        let Some((expr, inclusive)) = edge else {
            return Ok(Some(Bound::Unbounded));
        };
        let value = expr.eval(&[], scope)?;
        Ok(match (value.is_null(), inclusive) {
            (true, _) => None,
            (false, true) => Some(Bound::Included(value)),
            (false, false) => Some(Bound::Excluded(value)),
        })
    };
    Ok(match push {
        Push::All => Some(Pushed::All),
        Push::Equal { key, values } => {
            let values = evaluate(values, &[], scope)?;
            let null = values.iter().any(Value::is_null);
            (!null).then_some(Pushed::Equal { key: *key, values })
        }
        Push::Range {
            key,
            from,
            to,
            reverse,
        } => match (edge(from)?, edge(to)?) {
            (Some(from), Some(to)) => Some(Pushed::Range {
                key: *key,
                from,
                to,
                reverse: *reverse,
            }),
            _ => None,
        },
    })
}

fn series(values: &[Value], scope: &Scope) -> Result<Rows> {
    let number = |at: usize| values.get(at).and_then(Value::as_integer);
    let (Some(from), Some(to)) = (number(0), number(1)) else {
        return Ok(Box::new(std::iter::empty()));
    };
    let step = if values.len() > 2 {
        number(2).unwrap_or(1)
    } else {
        1
    };
    if step == 0 {
        return Err(SqlError::new("22023", "step size cannot equal zero"));
    }
    let wide = values.iter().any(|value| matches!(value, Value::BigInt(_)));
    let next = move |at: &i64| at.checked_add(step);
    let inside = move |at: &i64| if step > 0 { *at <= to } else { *at >= to };
    let rows = std::iter::successors(Some(from), next)
        .take_while(inside)
        .map(move |at| {
            Ok(vec![if wide {
                Value::BigInt(at)
            } else {
                Value::Integer(at as i32)
            }])
        });
    Ok(watched(Box::new(rows), scope))
}

struct Joined {
    plan: Arc<Plan>,
    scope: Scope,
    left: Rows,
    held: Vec<Vec<Value>>,
    current: Option<Vec<Value>>,
    at: usize,
    matched: bool,
}

impl Joined {
    fn step(&mut self) -> Result<Option<Vec<Value>>> {
        let plan = self.plan.clone();
        let Plan::Join {
            right,
            outer,
            lateral,
            on,
            right_width,
            ..
        } = &*plan
        else {
            unreachable!("only a join is opened as one");
        };
        loop {
            let Some(current) = &self.current else {
                let Some(row) = self.left.next().transpose()? else {
                    return Ok(None);
                };
                if *lateral {
                    let inside = Scope {
                        env: self.scope.env.clone(),
                        outer: Some(Arc::new(super::expr::OuterRow {
                            row: row.clone(),
                            outer: self.scope.outer.clone(),
                        })),
                    };
                    self.held = right.open(&inside)?.collect::<Result<_>>()?;
                }
                self.scope.env.check_cancel()?;
                (self.current, self.at, self.matched) = (Some(row), 0, false);
                continue;
            };
            let Some(other) = self.held.get(self.at) else {
                let lonely = *outer && !self.matched;
                let mut row = self.current.take().unwrap_or_default();
                if lonely {
                    row.extend(std::iter::repeat_n(Value::Null, *right_width));
                    return Ok(Some(row));
                }
                continue;
            };
            self.at += 1;
            let mut row = Vec::with_capacity(current.len() + other.len());
            row.extend_from_slice(current);
            row.extend_from_slice(other);
            let holds = match on {
                Some(on) => on.holds(&row, &self.scope)?,
                None => true,
            };
            if holds {
                self.matched = true;
                return Ok(Some(row));
            }
            if self.at.is_multiple_of(4096) {
                self.scope.env.check_cancel()?;
            }
        }
    }
}

impl Iterator for Joined {
    type Item = Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn aggregate(
    input: &Arc<Plan>,
    groups: &[Expr],
    calls: &[AggregateCall],
    scope: &Scope,
) -> Result<Rows> {
    let fresh = || calls.iter().map(Running::new).collect::<Vec<_>>();
    let mut all: BTreeMap<Key, Vec<Running>> = BTreeMap::new();
    if groups.is_empty() {
        all.insert(Key(Vec::new()), fresh());
    }
    for row in input.open(scope)? {
        let row = row?;
        let key = evaluate(groups, &row, scope)?;
        if !groups.is_empty() && !all.contains_key(&Key(key.clone())) {
            scope.env.hold(&key)?;
        }
        let running = all.entry(Key(key)).or_insert_with(fresh);
        for (running, call) in running.iter_mut().zip(calls) {
            running.add(call, &row, scope)?;
        }
    }
    let rows = all.into_iter().map(|(Key(mut key), running)| {
        for one in running {
            key.push(one.finish()?);
        }
        Ok(key)
    });
    Ok(Box::new(rows.collect::<Vec<Result<_>>>().into_iter()))
}

/// Which way leads to the rows for which these conditions hold.
pub(super) fn choose(relation: &Relation, conditions: &[&Expr]) -> Access {
    let table = &relation.table;
    let mut best = (0, Access::All { reverse: false });
    let mut try_key = |index: Option<usize>, columns: &[usize], unique: bool| {
        let found = match_key(columns, conditions);
        let whole = found.equal.len() == columns.len();
        if index.is_none() && whole && !columns.is_empty() {
            best = (usize::MAX, Access::Key(found.equal));
            return;
        }
        let ranged = usize::from(found.from.is_some()) + usize::from(found.to.is_some());
        let score = found.equal.len() * 10
            + ranged * 3
            + if unique && whole { 1000 } else { 0 }
            + usize::from(index.is_none());
        if (!found.equal.is_empty() || ranged > 0) && score > best.0 {
            let Found { equal, from, to } = found;
            best = (
                score,
                Access::Range {
                    index,
                    equal,
                    from,
                    to,
                    reverse: false,
                },
            );
        }
    };
    if !table.hidden_key {
        try_key(None, &table.primary_key, true);
    }
    for (at, index) in relation.indexes.iter().enumerate() {
        if index.state != catalog::IndexState::Public || index.predicate.is_some() {
            continue;
        }
        let columns: Vec<usize> = index
            .parts
            .iter()
            .map_while(|(part, _)| match part {
                IndexPart::Column(column) => Some(*column),
                IndexPart::Expression(_) => None,
            })
            .collect();
        let plain = columns.len() == index.parts.len();
        if !columns.is_empty() {
            try_key(Some(at), &columns, index.unique && plain);
        }
    }
    best.1
}

/// Conditions that a key answers.
#[derive(Default)]
pub(super) struct Found {
    pub(super) equal: Vec<Expr>,
    pub(super) from: Edge,
    pub(super) to: Edge,
}

/// Equalities on the first columns, then a range on the next one.
pub(super) fn match_key(columns: &[usize], conditions: &[&Expr]) -> Found {
    let mut found = Found::default();
    for column in columns {
        let mut equal = None;
        let (mut from, mut to) = (None, None);
        for condition in conditions {
            let Some((place, comparison, value)) = simple(condition) else {
                continue;
            };
            if place != *column {
                continue;
            }
            match comparison {
                Comparison::Equal => equal = Some(value.clone()),
                Comparison::Greater => from = from.or(Some((value.clone(), false))),
                Comparison::GreaterEqual => from = from.or(Some((value.clone(), true))),
                Comparison::Less => to = to.or(Some((value.clone(), false))),
                Comparison::LessEqual => to = to.or(Some((value.clone(), true))),
                Comparison::NotEqual => {}
            }
        }
        match equal {
            Some(equal) => found.equal.push(equal),
            None => {
                (found.from, found.to) = (from, to);
                break;
            }
        }
    }
    found
}

/// `column op value` with a value that does not depend on the row.
fn simple(condition: &Expr) -> Option<(usize, Comparison, &Expr)> {
    let Expr::Compare(comparison, a, b) = condition else {
        return None;
    };
    match (&**a, &**b) {
        (Expr::Column(place), value) if value.is_fixed() => Some((*place, *comparison, value)),
        (value, Expr::Column(place)) if value.is_fixed() => {
            Some((*place, comparison.flipped(), value))
        }
        _ => None,
    }
}
