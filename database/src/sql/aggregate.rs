//! Aggregates: many rows, one value.

use super::cast;
use super::error::{Result, SqlError};
use super::expr::{Expr, Scope, evaluate, order};
use super::types::SqlType;
use super::{array, number, text};
use crate::types::{Numeric, Value};
use bigdecimal::BigDecimal;
use std::cmp::Ordering;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Count,
    Sum,
    Average,
    Min,
    Max,
    Every,
    Any,
    TextList,
    ArrayList,
}

/// A call of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AggregateCall {
    pub(super) kind: Aggregate,
    pub(super) arguments: Vec<Expr>,
    pub(super) distinct: bool,
    pub(super) filter: Option<Expr>,
    /// Type of the value.
    pub(super) returns: SqlType,
}

/// The aggregate of a name, and the type of its value.
pub(super) fn resolve(name: &str, argument: Option<SqlType>) -> Option<(Aggregate, SqlType)> {
    use SqlType as T;
    let of = argument.unwrap_or(T::Unknown);
    Some(match name {
        "count" => (Aggregate::Count, T::BigInt),
        "sum" | "avg" => {
            let sum = name == "sum";
            let returns = match of {
                T::SmallInt | T::Integer if sum => T::BigInt,
                T::SmallInt | T::Integer | T::BigInt | T::Numeric => T::Numeric,
                T::Real if sum => T::Real,
                T::Real | T::Double => T::Double,
                T::Interval if sum => T::Interval,
                _ => return None,
            };
            (
                if sum {
                    Aggregate::Sum
                } else {
                    Aggregate::Average
                },
                returns,
            )
        }
        "min" | "max" => {
            if matches!(of, T::Boolean | T::Json | T::Jsonb | T::Uuid | T::Bytea) {
                return None;
            }
            let returns = if matches!(of, T::Unknown | T::Varchar) {
                T::Text
            } else {
                of
            };
            (
                if name == "min" {
                    Aggregate::Min
                } else {
                    Aggregate::Max
                },
                returns,
            )
        }
        "bool_and" | "every" => (Aggregate::Every, T::Boolean),
        "bool_or" => (Aggregate::Any, T::Boolean),
        "string_agg" => (Aggregate::TextList, T::Text),
        "array_agg" => (Aggregate::ArrayList, of.array()?),
        _ => return None,
    })
}

/// True for the name of an aggregate.
pub(super) fn exists(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "bool_and"
            | "every"
            | "bool_or"
            | "string_agg"
            | "array_agg"
    )
}

/// One on its way.
pub(super) struct Running {
    kind: Aggregate,
    returns: SqlType,
    count: i64,
    exact: BigDecimal,
    whole: i128,
    float: f64,
    special: Option<f64>,
    best: Value,
    list: Vec<Option<String>>,
    text: String,
    seen: Vec<Value>,
}

impl Running {
    pub(super) fn new(call: &AggregateCall) -> Self {
        Running {
            kind: call.kind,
            returns: call.returns,
            count: 0,
            exact: BigDecimal::from(0),
            whole: 0,
            float: 0.0,
            special: None,
            best: Value::Null,
            list: Vec::new(),
            text: String::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, call: &AggregateCall, row: &[Value], scope: &Scope) -> Result<()> {
        if let Some(filter) = &call.filter
            && !filter.holds(row, scope)?
        {
            return Ok(());
        }
        let values = evaluate(&call.arguments, row, scope)?;
        let Some(value) = values.first() else {
            self.count += 1;
            return Ok(());
        };
        if value.is_null() && self.kind != Aggregate::ArrayList {
            return Ok(());
        }
        if call.distinct {
            let place = self
                .seen
                .binary_search_by(|other| order(other, value).unwrap_or(Ordering::Equal));
            match place {
                Ok(_) => return Ok(()),
                Err(at) => {
                    scope.env.hold(std::slice::from_ref(value))?;
                    self.seen.insert(at, value.clone());
                }
            }
        }
        self.count += 1;
        match self.kind {
            Aggregate::Count => {}
            Aggregate::Sum | Aggregate::Average => match (value, value.as_integer()) {
                (_, Some(number)) => self.whole += i128::from(number),
                (Value::Numeric(Numeric::Finite(number)), _) => self.exact += number,
                (Value::Interval(span), _) => {
                    let before = match &self.best {
                        Value::Interval(before) => *before,
                        _ => Default::default(),
                    };
                    self.best = Value::Interval(crate::types::Interval {
                        months: before.months.saturating_add(span.months),
                        days: before.days.saturating_add(span.days),
                        microseconds: before.microseconds.saturating_add(span.microseconds),
                    });
                }
                (other, _) => {
                    let float = cast::to_float(other).unwrap_or(f64::NAN);
                    if matches!(other, Value::Numeric(_)) {
                        self.special = Some(self.special.unwrap_or(0.0) + float);
                    }
                    self.float += float;
                    if self.returns == SqlType::Real {
                        self.float = f64::from(self.float as f32);
                    }
                }
            },
            Aggregate::Min | Aggregate::Max => {
                let wanted = if self.kind == Aggregate::Min {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                if self.best.is_null() || order(value, &self.best) == Some(wanted) {
                    self.best = value.clone();
                }
            }
            Aggregate::Every => {
                let so_far = self.best != Value::Boolean(false);
                self.best = Value::Boolean(so_far && *value == Value::Boolean(true));
            }
            Aggregate::Any => {
                let so_far = self.best == Value::Boolean(true);
                self.best = Value::Boolean(so_far || *value == Value::Boolean(true));
            }
            Aggregate::TextList => {
                if self.count > 1 {
                    self.text
                        .push_str(&values.get(1).and_then(text::write).unwrap_or_default());
                }
                self.text.push_str(&text::write(value).unwrap_or_default());
            }
            Aggregate::ArrayList => {
                scope.env.hold(std::slice::from_ref(value))?;
                self.list.push(text::write(value));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Value> {
        if self.kind == Aggregate::Count {
            return Ok(Value::BigInt(self.count));
        }
        if self.count == 0 {
            return Ok(Value::Null);
        }
        let sum = self.exact + BigDecimal::from(self.whole);
        Ok(match (self.kind, self.returns) {
            (Aggregate::Sum, SqlType::BigInt) => {
                let sum = i64::try_from(self.whole);
                Value::BigInt(sum.map_err(|_| SqlError::new("22003", "bigint out of range"))?)
            }
            (Aggregate::Sum | Aggregate::Average, SqlType::Numeric) => match self.special {
                Some(special) => cast::cast(Value::Double(special), SqlType::Double, SqlType::Text)
                    .and_then(|text| cast::cast(text, SqlType::Text, SqlType::Numeric))?,
                None if self.kind == Aggregate::Sum => Value::Numeric(Numeric::Finite(sum)),
                None => number::divide(&sum, &BigDecimal::from(self.count))?,
            },
            (Aggregate::Sum, SqlType::Real) => Value::Real(self.float as f32),
            (Aggregate::Sum, SqlType::Double) => Value::Double(self.float),
            (Aggregate::Average, _) => Value::Double(self.float / self.count as f64),
            (Aggregate::TextList, _) => Value::Text(self.text),
            (Aggregate::ArrayList, _) => Value::Text(array::write(&self.list)),
            _ => self.best,
        })
    }
}
