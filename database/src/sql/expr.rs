//! Bound expressions and their values.
//!
//! Invariant: an expression is computed without waiting and without the transaction: rows, parameters
//! and the statement's environment are all it reads. NULL is unknown, logic is three-valued.

use super::effect::{Effect, Outcomes};
use super::error::{Result, SqlError};
use super::function::Function;
use super::plan::Plan;
use super::session::Canceller;
use super::types::SqlType;
use super::virtual_table::{VirtualContext, VirtualFunction, VirtualSnapshot};
use super::{array, cast, text};
use crate::transaction::Reader;
use crate::types::{DataType, Value};
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

/// Bytes of rows that a statement holds at once (sorts, groups, joins): an eighth of a small node.
const STATEMENT_BYTES_MAX: usize = 256 << 20;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterEqual => order != Ordering::Less,
        }
    }

    pub(super) fn flipped(self) -> Self {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessEqual => Comparison::GreaterEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterEqual => Comparison::LessEqual,
            same => same,
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
        }
    }
}

/// A query inside an expression. Two are the same only if they are one.
#[derive(Debug, Clone)]
pub(super) struct Inner(pub(super) Arc<Plan>);

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Which effect a function asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EffectKind {
    NextValue,
    SetValue,
    CurrentValue,
    LastValue,
    Lock {
        shared: bool,
        transaction: bool,
        attempt: bool,
    },
    Unlock {
        shared: bool,
    },
    UnlockAll,
    Notify,
    Configure,
}

/// A function given from outside.
#[derive(Debug, Clone)]
pub(super) struct Foreign(pub(super) String, pub(super) VirtualFunction);

impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Value),
    Column(usize),
    /// A column of a query around this one: how far out, and its place.
    Outer(usize, usize),
    Parameter(usize),
    /// The result of an aggregate, until the plan has a place for it.
    Aggregate(usize),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>, bool),
    /// IS TRUE, IS FALSE, IS UNKNOWN (`None`), and their negations.
    Is(Box<Expr>, Option<bool>, bool),
    /// IS DISTINCT FROM, or not.
    Distinct(Box<Expr>, Box<Expr>, bool),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// Row by row: `(a, b) < (c, d)`.
    CompareRows(Comparison, Vec<Expr>, Vec<Expr>),
    Cast {
        expr: Box<Expr>,
        from: SqlType,
        to: SqlType,
        column: Option<DataType>,
        explicit: bool,
    },
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    /// GREATEST, or LEAST.
    Extreme(Vec<Expr>, bool),
    In(Box<Expr>, Vec<Expr>, bool),
    /// `= ANY (array)`, or ALL.
    Array(Comparison, Box<Expr>, Box<Expr>, SqlType, bool),
    Call(&'static Function, Vec<Expr>),
    Foreign(Foreign, Vec<Expr>),
    Effect(EffectKind, Vec<Expr>),
    Scalar(Inner),
    Exists(Inner),
    InQuery(Box<Expr>, Inner, bool),
    ArrayQuery(Inner),
    MakeArray(Vec<Expr>),
}

/// What all expressions of a running statement share.
#[derive(Debug)]
pub(super) struct Env {
    pub(super) parameters: Vec<Value>,
    /// The transaction's time, microseconds since 2000.
    pub(super) now: i64,
    pub(super) reader: Option<Reader>,
    pub(super) context: VirtualContext,
    pub(super) pins: HashMap<String, Arc<dyn VirtualSnapshot>>,
    pub(super) canceller: Option<Canceller>,
    pub(super) outcomes: Mutex<Outcomes>,
    pub(super) settings: Arc<Vec<(String, String)>>,
    pub(super) patterns: Mutex<HashMap<String, regex::Regex>>,
    pub(super) held: AtomicUsize,
}

impl Env {
    pub(super) fn check_cancel(&self) -> Result<()> {
        self.canceller.as_ref().map_or(Ok(()), Canceller::check)
    }

    /// Accounts for a row that is held.
    pub(super) fn hold(&self, row: &[Value]) -> Result<()> {
        let bytes: usize = 24 + row.iter().map(size).sum::<usize>();
        let held = self.held.fetch_add(bytes, Atomic::Relaxed) + bytes;
        match held <= STATEMENT_BYTES_MAX {
            true => Ok(()),
            false => Err(SqlError::new("53200", "out of memory").detail(format!(
                "The statement holds more than {STATEMENT_BYTES_MAX} bytes of rows."
            ))),
        }
    }
}

fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) | Value::Char(text) | Value::Json(text) => text.len(),
            Value::Bytea(bytes) => bytes.len(),
            Value::Numeric(_) => 32,
            Value::Jsonb(_) => 256,
            _ => 0,
        }
}

/// A row of a query around this one.
#[derive(Debug)]
pub(super) struct OuterRow {
    pub(super) row: Vec<Value>,
    pub(super) outer: Option<Arc<OuterRow>>,
}

/// Where an expression is computed.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) env: Arc<Env>,
    pub(super) outer: Option<Arc<OuterRow>>,
}

impl Scope {
    pub(super) fn new(env: Arc<Env>) -> Self {
        Scope { env, outer: None }
    }

    fn inside(&self, row: &[Value]) -> Scope {
        Scope {
            env: self.env.clone(),
            outer: Some(Arc::new(OuterRow {
                row: row.to_vec(),
                outer: self.outer.clone(),
            })),
        }
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        _ => None,
    }
}

fn three(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Boolean)
}

/// The order of two values; `None` with NULL.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Char(a), Value::Text(b)) | (Value::Text(a), Value::Char(b)) => {
            Some(a.as_str().cmp(b.as_str()))
        }
        _ => a.compare(b),
    }
}

impl Expr {
    pub(super) fn null() -> Self {
        Expr::Literal(Value::Null)
    }

    pub(super) fn text(text: &str) -> Self {
        Expr::Literal(Value::Text(text.to_owned()))
    }

    /// Its value for a row.
    pub(super) fn eval(&self, row: &[Value], scope: &Scope) -> Result<Value> {
        Ok(match self {
            Expr::Literal(value) => value.clone(),
            Expr::Column(place) => row[*place].clone(),
            Expr::Outer(levels, place) => {
                let mut outer = scope.outer.as_ref();
                for _ in 1..*levels {
                    outer = outer.and_then(|outer| outer.outer.as_ref());
                }
                outer.map_or(Value::Null, |outer| outer.row[*place].clone())
            }
            Expr::Parameter(place) => {
                let value = scope.env.parameters.get(*place).cloned();
                value.ok_or_else(|| {
                    SqlError::new("42P02", format!("there is no parameter ${}", place + 1))
                })?
            }
            Expr::Aggregate(_) => {
                return Err(SqlError::new("XX000", "an aggregate without a plan"));
            }
            Expr::And(parts) => {
                let mut all = Some(true);
                for part in parts {
                    match boolean(&part.eval(row, scope)?) {
                        Some(false) => return Ok(Value::Boolean(false)),
                        None => all = None,
                        Some(true) => {}
                    }
                }
                three(all)
            }
            Expr::Or(parts) => {
                let mut any = Some(false);
                for part in parts {
                    match boolean(&part.eval(row, scope)?) {
                        Some(true) => return Ok(Value::Boolean(true)),
                        None => any = None,
                        Some(false) => {}
                    }
                }
                three(any)
            }
            Expr::Not(inner) => three(boolean(&inner.eval(row, scope)?).map(|value| !value)),
            Expr::IsNull(inner, negated) => {
                Value::Boolean(inner.eval(row, scope)?.is_null() != *negated)
            }
            Expr::Is(inner, which, negated) => {
                Value::Boolean((boolean(&inner.eval(row, scope)?) == *which) != *negated)
            }
            Expr::Distinct(a, b, negated) => {
                let (a, b) = (a.eval(row, scope)?, b.eval(row, scope)?);
                let same = match (a.is_null(), b.is_null()) {
                    (false, false) => order(&a, &b) == Some(Ordering::Equal),
                    (a, b) => a && b,
                };
                Value::Boolean(same == *negated)
            }
            Expr::Compare(comparison, a, b) => {
                let a = a.eval(row, scope)?;
                if a.is_null() {
                    return Ok(Value::Null);
                }
                three(order(&a, &b.eval(row, scope)?).map(|order| comparison.holds(order)))
            }
            Expr::CompareRows(comparison, a, b) => compare_rows(*comparison, a, b, row, scope)?,
            Expr::Cast {
                expr,
                from,
                to,
                column,
                explicit,
            } => {
                let value = expr.eval(row, scope)?;
                let value = convert(value, *from, *to, scope)?;
                match column {
                    Some(column) => cast::fit(value, *column, *explicit)?,
                    None => value,
                }
            }
            Expr::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    if boolean(&condition.eval(row, scope)?) == Some(true) {
                        return result.eval(row, scope);
                    }
                }
                match otherwise {
                    Some(otherwise) => otherwise.eval(row, scope)?,
                    None => Value::Null,
                }
            }
            Expr::Coalesce(parts) => {
                for part in parts {
                    let value = part.eval(row, scope)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Expr::NullIf(a, b) => {
                let a = a.eval(row, scope)?;
                match order(&a, &b.eval(row, scope)?) {
                    Some(Ordering::Equal) => Value::Null,
                    _ => a,
                }
            }
            Expr::Extreme(parts, greatest) => {
                let mut best = Value::Null;
                for part in parts {
                    let value = part.eval(row, scope)?;
                    let better = match order(&value, &best) {
                        Some(order) => (order == Ordering::Greater) == *greatest,
                        None => best.is_null(),
                    };
                    if better {
                        best = value;
                    }
                }
                best
            }
            Expr::In(one, list, negated) => {
                let one = one.eval(row, scope)?;
                let mut found = Some(false);
                for other in list {
                    match order(&one, &other.eval(row, scope)?) {
                        Some(Ordering::Equal) => {
                            found = Some(true);
                            break;
                        }
                        None => found = None,
                        Some(_) => {}
                    }
                }
                three(found.map(|found| found != *negated))
            }
            Expr::Array(comparison, one, list, element, all) => {
                let (one, list) = (one.eval(row, scope)?, list.eval(row, scope)?);
                let Value::Text(list) = list else {
                    return Ok(Value::Null);
                };
                let mut outcome = Some(*all);
                for other in array_of(&list)? {
                    let other = match other {
                        Some(other) => text::read(*element, &other)?,
                        None => Value::Null,
                    };
                    match order(&one, &other).map(|order| comparison.holds(order)) {
                        Some(holds) if holds != *all => return Ok(Value::Boolean(holds)),
                        Some(_) => {}
                        None => outcome = None,
                    }
                }
                three(outcome)
            }
            Expr::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let value = argument.eval(row, scope)?;
                    if value.is_null() && function.strict {
                        return Ok(Value::Null);
                    }
                    values.push(value);
                }
                (function.body)(&values, &scope.env)?
            }
            Expr::Foreign(Foreign(_, function), arguments) => {
                let values: Vec<Value> = evaluate(arguments, row, scope)?;
                (function.evaluate)(&values, &scope.env.context)?
            }
            Expr::Effect(kind, arguments) => {
                let values = evaluate(arguments, row, scope)?;
                effect(*kind, &values, scope)?
            }
            Expr::Scalar(Inner(plan)) => {
                let mut rows = plan.open(&scope.inside(row))?;
                let Some(first) = rows.next() else {
                    return Ok(Value::Null);
                };
                let first = first?;
                if let Some(second) = rows.next() {
                    second?;
                    return Err(SqlError::new(
                        "21000",
                        "more than one row returned by a subquery used as an expression",
                    ));
                }
                first.into_iter().next().unwrap_or(Value::Null)
            }
            Expr::Exists(Inner(plan)) => {
                let first = plan.open(&scope.inside(row))?.next().transpose()?;
                Value::Boolean(first.is_some())
            }
            Expr::InQuery(one, Inner(plan), negated) => {
                let one = one.eval(row, scope)?;
                let mut found = Some(false);
                for other in plan.open(&scope.inside(row))? {
                    match order(&one, &other?[0]) {
                        Some(Ordering::Equal) => {
                            found = Some(true);
                            break;
                        }
                        None => found = None,
                        Some(_) => {}
                    }
                }
                three(found.map(|found| found != *negated))
            }
            Expr::ArrayQuery(Inner(plan)) => {
                let rows = plan.open(&scope.inside(row))?;
                let elements: Vec<_> = rows
                    .map(|row| Ok(row?.first().and_then(text::write)))
                    .collect::<Result<_>>()?;
                Value::Text(array::write(&elements))
            }
            Expr::MakeArray(parts) => {
                let values = evaluate(parts, row, scope)?;
                let elements: Vec<_> = values.iter().map(text::write).collect();
                Value::Text(array::write(&elements))
            }
        })
    }

    /// True where the condition holds; unknown does not.
    pub(super) fn holds(&self, row: &[Value], scope: &Scope) -> Result<bool> {
        Ok(boolean(&self.eval(row, scope)?) == Some(true))
    }

    /// Visits it and all its parts, but not the queries inside.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        for part in self.parts() {
            part.walk(visit);
        }
    }

    fn parts(&self) -> Vec<&Expr> {
        match self {
            Expr::Literal(_)
            | Expr::Column(_)
            | Expr::Outer(..)
            | Expr::Parameter(_)
            | Expr::Aggregate(_)
            | Expr::Scalar(_)
            | Expr::Exists(_)
            | Expr::ArrayQuery(_) => Vec::new(),
            Expr::And(parts)
            | Expr::Or(parts)
            | Expr::Coalesce(parts)
            | Expr::Extreme(parts, _)
            | Expr::Call(_, parts)
            | Expr::Foreign(_, parts)
            | Expr::Effect(_, parts)
            | Expr::MakeArray(parts) => parts.iter().collect(),
            Expr::Not(a) | Expr::IsNull(a, _) | Expr::Is(a, ..) | Expr::InQuery(a, ..) => vec![a],
            Expr::Cast { expr, .. } => vec![expr],
            Expr::Distinct(a, b, _)
            | Expr::Compare(_, a, b)
            | Expr::NullIf(a, b)
            | Expr::Array(_, a, b, ..) => vec![a, b],
            Expr::CompareRows(_, a, b) => a.iter().chain(b).collect(),
            Expr::Case(arms, otherwise) => {
                let arms = arms.iter().flat_map(|(a, b)| [a, b]);
                arms.chain(otherwise.as_deref()).collect()
            }
            Expr::In(one, list, _) => std::iter::once(&**one).chain(list).collect(),
        }
    }

    /// The same for writing.
    pub(super) fn parts_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Literal(_)
            | Expr::Column(_)
            | Expr::Outer(..)
            | Expr::Parameter(_)
            | Expr::Aggregate(_)
            | Expr::Scalar(_)
            | Expr::Exists(_)
            | Expr::ArrayQuery(_) => Vec::new(),
            Expr::And(parts)
            | Expr::Or(parts)
            | Expr::Coalesce(parts)
            | Expr::Extreme(parts, _)
            | Expr::Call(_, parts)
            | Expr::Foreign(_, parts)
            | Expr::Effect(_, parts)
            | Expr::MakeArray(parts) => parts.iter_mut().collect(),
            Expr::Not(a) | Expr::IsNull(a, _) | Expr::Is(a, ..) | Expr::InQuery(a, ..) => vec![a],
            Expr::Cast { expr, .. } => vec![expr],
            Expr::Distinct(a, b, _)
            | Expr::Compare(_, a, b)
            | Expr::NullIf(a, b)
            | Expr::Array(_, a, b, ..) => vec![a, b],
            Expr::CompareRows(_, a, b) => a.iter_mut().chain(b).collect(),
            Expr::Case(arms, otherwise) => {
                let arms = arms.iter_mut().flat_map(|(a, b)| [a, b]);
                arms.chain(otherwise.as_deref_mut()).collect()
            }
            Expr::In(one, list, _) => std::iter::once(&mut **one).chain(list).collect(),
        }
    }

    /// True if its value does not depend on the row of this query.
    pub(super) fn is_fixed(&self) -> bool {
        let mut fixed = true;
        self.walk(&mut |part| {
            fixed &= !matches!(
                part,
                Expr::Column(_)
                    | Expr::Aggregate(_)
                    | Expr::Effect(..)
                    | Expr::Scalar(_)
                    | Expr::Exists(_)
                    | Expr::InQuery(..)
                    | Expr::ArrayQuery(_)
            );
        });
        fixed
    }

    /// True if it asks for effects.
    pub(super) fn has_effects(&self) -> bool {
        let mut any = false;
        self.walk(&mut |part| any |= matches!(part, Expr::Effect(..)));
        any
    }
}

/// The values of several expressions.
pub(super) fn evaluate(parts: &[Expr], row: &[Value], scope: &Scope) -> Result<Vec<Value>> {
    parts.iter().map(|part| part.eval(row, scope)).collect()
}

pub(super) fn array_of(text: &str) -> Result<Vec<Option<String>>> {
    array::elements(text)
        .map_err(|()| SqlError::new("22P02", format!("malformed array literal: \"{text}\"")))
}

fn compare_rows(
    comparison: Comparison,
    a: &[Expr],
    b: &[Expr],
    row: &[Value],
    scope: &Scope,
) -> Result<Value> {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let mut unknown = false;
    for (a, b) in a.iter().zip(b) {
        match order(&a.eval(row, scope)?, &b.eval(row, scope)?) {
            Some(Ordering::Equal) => {}
            Some(order) if equality => {
                let _ = order;
                return Ok(Value::Boolean(comparison == Comparison::NotEqual));
            }
            Some(order) => return Ok(Value::Boolean(comparison.holds(order))),
            None if equality => unknown = true,
            None => return Ok(Value::Null),
        }
    }
    Ok(if unknown {
        Value::Null
    } else {
        Value::Boolean(comparison.holds(Ordering::Equal))
    })
}

/// A cast that may look into the catalog: names of tables and types are oids.
fn convert(value: Value, from: SqlType, to: SqlType, scope: &Scope) -> Result<Value> {
    let lookup = |name: &str| super::name::oid_of(name, &scope.env.context);
    match (&value, to) {
        (Value::Text(name), SqlType::Regclass) if !from.is_oid() => {
            if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
                return text::read(SqlType::Oid, name);
            }
            lookup(name).map(|oid| Value::BigInt(oid.into()))
        }
        (Value::Text(name), SqlType::Regtype) => {
            let found = SqlType::from_name(&name.to_ascii_lowercase());
            let found = found.map(|found| Value::BigInt(found.oid().into()));
            found.ok_or_else(|| SqlError::new("42704", format!("type \"{name}\" does not exist")))
        }
        (Value::BigInt(oid), to) if from == SqlType::Regclass && to.is_text() => {
            Ok(Value::Text(super::name::of_oid(*oid, &scope.env.context)))
        }
        (Value::BigInt(oid), to) if from == SqlType::Regtype && to.is_text() => {
            let found = u32::try_from(*oid).ok().and_then(SqlType::from_oid);
            Ok(Value::Text(found.map_or_else(
                || oid.to_string(),
                |found| found.name().to_owned(),
            )))
        }
        _ => cast::cast(value, from, to),
    }
}

fn effect(kind: EffectKind, values: &[Value], scope: &Scope) -> Result<Value> {
    if values.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    {
        let mut outcomes = scope.env.outcomes.lock();
        let next = outcomes.next;
        if let Some(value) = outcomes.done.get(next).cloned() {
            outcomes.next += 1;
            return Ok(value);
        }
    }
    let number = |at: usize| values.get(at).and_then(Value::as_integer).unwrap_or(0);
    let text = |at: usize| values.get(at).and_then(text::write).unwrap_or_default();
    let sequence = || -> Result<u64> {
        let oid = match &values[0] {
            Value::Text(name) => super::name::oid_of(name, &scope.env.context)?.into(),
            other => other.as_integer().unwrap_or(0),
        };
        Ok(oid as u64)
    };
    let key = || match values.len() {
        2 => (
            2,
            u64::from(number(0) as u32) << 32 | u64::from(number(1) as u32),
        ),
        _ => (1, number(0) as u64),
    };
    let wanted = match kind {
        EffectKind::NextValue => Effect::NextValue {
            sequence: sequence()?,
        },
        EffectKind::CurrentValue => Effect::CurrentValue {
            sequence: sequence()?,
        },
        EffectKind::LastValue => Effect::LastValue,
        EffectKind::SetValue => Effect::SetValue {
            sequence: sequence()?,
            value: number(1),
            is_called: values
                .get(2)
                .is_none_or(|value| *value == Value::Boolean(true)),
        },
        EffectKind::Lock {
            shared,
            transaction,
            attempt,
        } => Effect::Advisory {
            key: key(),
            shared,
            transaction,
            attempt,
        },
        EffectKind::Unlock { shared } => Effect::Unlock { key: key(), shared },
        EffectKind::UnlockAll => Effect::UnlockAll,
        EffectKind::Notify => Effect::Notify {
            channel: text(0),
            payload: text(1),
        },
        EffectKind::Configure => Effect::Configure {
            name: text(0),
            value: text(1),
            local: values.get(2) == Some(&Value::Boolean(true)),
        },
    };
    let mut needed = SqlError::new("0A000", "an effect is not supported here");
    needed.effect = Some(Box::new(wanted));
    Err(needed)
}
