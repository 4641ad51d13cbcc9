//! Binding expressions: operators, functions, casts, parameters.

use super::super::aggregate::{self, AggregateCall};
use super::super::cast::{Strength, allowed, cast};
use super::super::error::{Result, SqlError};
use super::super::expr::{Comparison, EffectKind, Expr, Foreign, Inner};
use super::super::types::SqlType;
use super::super::{function, text};
use super::{Binder, Typed, absent, folded, parts};
use crate::types::{DataType, Numeric, Value};
use sqlparser::ast::{self, BinaryOperator as Op, UnaryOperator};

fn no_operator(op: &str, left: Option<SqlType>, right: SqlType) -> SqlError {
    let shown = match left {
        Some(left) => format!("{left} {op} {right}"),
        None => format!("{op} {right}"),
    };
    SqlError::new("42883", format!("operator does not exist: {shown}"))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// Text in its guises is stored alike, so nothing needs to be done between them.
fn same_form(from: SqlType, to: SqlType) -> bool {
    let textual = |t: SqlType| t.is_text() && t != SqlType::BpChar && t != SqlType::InternalChar;
    from == to
        || (textual(from) && textual(to) && to != SqlType::Name)
        || (from.is_oid() && to.is_oid())
}

impl Binder<'_> {
    /// Makes an expression one of a type.
    pub(in super::super) fn coerce(
        &mut self,
        typed: Typed,
        to: SqlType,
        strength: Strength,
    ) -> Result<Expr> {
        let Typed {
            expr,
            data_type: from,
            ..
        } = typed;
        if from == to {
            return Ok(expr);
        }
        if from == SqlType::Unknown {
            match &expr {
                Expr::Parameter(place) => {
                    let place = *place;
                    self.parameters[place] = Some(to);
                    return Ok(expr);
                }
                Expr::Literal(Value::Null) => return Ok(expr),
                Expr::Literal(Value::Text(literal))
                    if !matches!(to, SqlType::Regclass | SqlType::Regtype) =>
                {
                    return Ok(Expr::Literal(text::read(to, literal)?));
                }
                _ => {}
            }
        }
        if !allowed(from, to, strength) {
            return Err(SqlError::new(
                "42846",
                format!("cannot cast type {from} to {to}"),
            ));
        }
        if same_form(from, to) {
            return Ok(expr);
        }
        if let Expr::Literal(value) = &expr
            && !from.is_oid()
            && !to.is_oid()
        {
            return Ok(Expr::Literal(cast(value.clone(), from, to)?));
        }
        Ok(Expr::Cast {
            expr: Box::new(expr),
            from,
            to,
            column: None,
            explicit: false,
        })
    }

    /// Makes an expression fit a column that is written.
    pub(in super::super) fn assign(
        &mut self,
        typed: Typed,
        column: &crate::catalog::Column,
    ) -> Result<Expr> {
        let (to, modifier) = super::of_column(column.data_type);
        let (from, same_modifier) = (typed.data_type, typed.modifier == modifier);
        if !allowed(from, to, Strength::Assignment) {
            return Err(SqlError::new(
                "42804",
                format!(
                    "column \"{}\" is of type {to} but expression is of type {from}",
                    column.name
                ),
            )
            .hint("You will need to rewrite or cast the expression."));
        }
        let expr = self.coerce(typed, to, Strength::Assignment)?;
        if modifier < 0 || (same_modifier && from == to) {
            return Ok(expr);
        }
        Ok(Expr::Cast {
            expr: Box::new(expr),
            from: to,
            to,
            column: Some(column.data_type),
            explicit: false,
        })
    }

    /// A condition.
    pub(in super::super) fn condition(&mut self, expr: &ast::Expr, what: &str) -> Result<Expr> {
        let typed = self.expr(expr)?;
        if !matches!(typed.data_type, SqlType::Boolean | SqlType::Unknown) {
            return Err(SqlError::new(
                "42804",
                format!(
                    "argument of {what} must be type boolean, not type {}",
                    typed.data_type
                ),
            ));
        }
        self.coerce(typed, SqlType::Boolean, Strength::Implicit)
    }

    /// An expression whose type must be known: an unknown one is text.
    pub(in super::super) fn known(&mut self, typed: Typed) -> Result<Typed> {
        if typed.data_type != SqlType::Unknown {
            return Ok(typed);
        }
        let expr = self.coerce(typed, SqlType::Text, Strength::Implicit)?;
        Ok(Typed::new(expr, SqlType::Text))
    }

    /// The one type of several expressions (CASE, COALESCE, UNION).
    pub(in super::super) fn common(
        types: impl Iterator<Item = SqlType>,
        what: &str,
    ) -> Result<SqlType> {
        let mut common = SqlType::Unknown;
        for data_type in types {
            if common == SqlType::Unknown || common == data_type {
                common = data_type;
            } else if data_type != SqlType::Unknown {
                if allowed(common, data_type, Strength::Implicit)
                    && !(common == SqlType::Text && data_type.is_text())
                {
                    common = data_type;
                } else if !allowed(data_type, common, Strength::Implicit) {
                    return Err(SqlError::new(
                        "42804",
                        format!("{what} types {common} and {data_type} cannot be matched"),
                    ));
                }
            }
        }
        Ok(if common == SqlType::Unknown {
            SqlType::Text
        } else {
            common
        })
    }

    fn unify(&mut self, all: Vec<Typed>, what: &str) -> Result<(Vec<Expr>, SqlType)> {
        let common = Self::common(all.iter().map(|one| one.data_type), what)?;
        let exprs = all
            .into_iter()
            .map(|one| self.coerce(one, common, Strength::Implicit))
            .collect::<Result<_>>()?;
        Ok((exprs, common))
    }

    /// Binds an expression.
    pub(in super::super) fn expr(&mut self, expr: &ast::Expr) -> Result<Typed> {
        self.enter()?;
        let bound = self.expr_inside(expr);
        self.leave();
        bound
    }

    fn boolean(expr: Expr) -> Result<Typed> {
        Ok(Typed::new(expr, SqlType::Boolean))
    }

    fn all(&mut self, exprs: &[ast::Expr]) -> Result<Vec<Typed>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    fn expr_inside(&mut self, expr: &ast::Expr) -> Result<Typed> {
        use ast::Expr as E;
        match expr {
            E::Identifier(ident) => self.identifier(ident),
            E::CompoundIdentifier(idents) => self.qualified(idents),
            E::Value(ast::ValueWithSpan { value, span }) => {
                let at = self.place(*span);
                self.literal(value).map_err(|error| error.at(at))
            }
            E::Nested(inner) => self.expr(inner),
            E::TypedString(ast::TypedString {
                data_type,
                value,
                uses_odbc_syntax,
            }) => {
                absent(*uses_odbc_syntax, "ODBC syntax")?;
                let inner = self.literal(&value.value)?;
                self.cast_to(inner, data_type)
            }
            E::IsNull(inner) => self.is_null(inner, false),
            E::IsNotNull(inner) => self.is_null(inner, true),
            E::IsTrue(inner) => self.is(inner, Some(true), false),
            E::IsNotTrue(inner) => self.is(inner, Some(true), true),
            E::IsFalse(inner) => self.is(inner, Some(false), false),
            E::IsNotFalse(inner) => self.is(inner, Some(false), true),
            E::IsUnknown(inner) => self.is(inner, None, false),
            E::IsNotUnknown(inner) => self.is(inner, None, true),
            E::IsDistinctFrom(a, b) | E::IsNotDistinctFrom(a, b) => {
                let (a, b) = (self.expr(a)?, self.expr(b)?);
                let (a, b) = self.comparable(a, b, "=")?;
                let negated = matches!(expr, E::IsNotDistinctFrom(..));
                Self::boolean(Expr::Distinct(Box::new(a), Box::new(b), negated))
            }
            E::InList {
                expr,
                list,
                negated,
            } => {
                let mut all = vec![self.expr(expr)?];
                all.extend(self.all(list)?);
                let types: Vec<_> = all.iter().map(|one| one.data_type).collect();
                let integers = types
                    .iter()
                    .all(|t| t.is_integer() || *t == SqlType::Unknown);
                let common = Self::common(types.into_iter(), "IN")
                    .map_err(|_| no_operator("=", Some(all[0].data_type), all[1].data_type))?;
                let mut exprs =
                    all.into_iter()
                        .map(|one| match integers && one.data_type.is_integer() {
                            true => Ok(one.expr),
                            false => self.coerce(one, common, Strength::Implicit),
                        });
                let first = exprs
                    .next()
                    .ok_or_else(|| SqlError::syntax("an empty IN"))??;
                let list = exprs.collect::<Result<Vec<_>>>()?;
                if list.len() == 1 && !negated {
                    let one = list.into_iter().next().unwrap_or_else(Expr::null);
                    return Self::boolean(Expr::Compare(
                        Comparison::Equal,
                        Box::new(first),
                        Box::new(one),
                    ));
                }
                Self::boolean(Expr::In(Box::new(first), list, *negated))
            }
            E::InSubquery {
                expr,
                subquery,
                negated,
            } => {
                let one = self.expr(expr)?;
                let (plan, columns) = self.subquery(subquery, Some(1))?;
                let inner = Typed::new(Expr::null(), columns[0].data_type);
                let from = one.data_type;
                let (one, _) = self
                    .comparable(one, inner, "=")
                    .map_err(|_| no_operator("=", Some(from), columns[0].data_type))?;
                Self::boolean(Expr::InQuery(Box::new(one), Inner(plan), *negated))
            }
            E::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let low = self.binary(&Op::GtEq, expr, low)?;
                let high = self.binary(&Op::LtEq, expr, high)?;
                let both = Expr::And(vec![low.expr, high.expr]);
                Self::boolean(if *negated {
                    Expr::Not(Box::new(both))
                } else {
                    both
                })
            }
            E::BinaryOp {
                left,
                op: op @ (Op::And | Op::Or),
                right,
            } => {
                // A long chain is one node: it leans to the left, and is taken apart in a loop.
                let mut chain: Vec<&ast::Expr> = vec![right];
                let mut next = &**left;
                while let E::BinaryOp {
                    left,
                    op: other,
                    right,
                } = next
                {
                    if other != op {
                        break;
                    }
                    chain.push(right);
                    next = left;
                }
                chain.push(next);
                let what = if *op == Op::And { "AND" } else { "OR" };
                let parts = chain
                    .into_iter()
                    .rev()
                    .map(|part| self.condition(part, what))
                    .collect::<Result<Vec<_>>>()?;
                Self::boolean(if *op == Op::And {
                    Expr::And(parts)
                } else {
                    Expr::Or(parts)
                })
            }
            E::BinaryOp { left, op, right } => self.binary(op, left, right),
            E::UnaryOp { op, expr } => self.unary(op, expr),
            E::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => {
                absent(*any, "LIKE ANY")?;
                self.like(
                    if *negated { "!~~" } else { "~~" },
                    expr,
                    pattern,
                    escape_char,
                )
            }
            E::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => {
                absent(*any, "ILIKE ANY")?;
                self.like(
                    if *negated { "!~~*" } else { "~~*" },
                    expr,
                    pattern,
                    escape_char,
                )
            }
            E::AnyOp {
                left,
                compare_op,
                right,
                is_some: _,
            } => self.quantified(left, compare_op, right, false),
            E::AllOp {
                left,
                compare_op,
                right,
            } => self.quantified(left, compare_op, right, true),
            E::Cast {
                kind,
                expr,
                data_type,
                array,
                format,
            } => {
                absent(*array, "CAST AS ... ARRAY")?;
                absent(format.is_some(), "CAST ... FORMAT")?;
                absent(
                    !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon),
                    "TRY_CAST",
                )?;
                let inner = self.expr(expr)?;
                self.cast_to(inner, data_type)
            }
            E::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                let typed = self.expr(timestamp)?;
                let zone = self.expr(time_zone)?;
                let utc = matches!(&zone.expr, Expr::Literal(Value::Text(zone)) if matches!(zone.to_ascii_lowercase().as_str(), "utc" | "gmt" | "z"));
                absent(!utc, "AT TIME ZONE of another zone than UTC")?;
                let to = match typed.data_type {
                    SqlType::TimestampTz => SqlType::Timestamp,
                    _ => SqlType::TimestampTz,
                };
                let expr = self.coerce(typed, to, Strength::Explicit)?;
                Ok(Typed::new(expr, to))
            }
            E::Extract {
                field,
                syntax: _,
                expr,
            } => {
                let field =
                    Typed::new(Expr::text(&field.to_string().to_lowercase()), SqlType::Text);
                let value = self.expr(expr)?;
                self.call("extract", vec![field, value])
            }
            E::Ceil { expr, field } => self.rounding("ceil", expr, field),
            E::Floor { expr, field } => self.rounding("floor", expr, field),
            E::Position { expr, r#in } => {
                let arguments = vec![self.expr(r#in)?, self.expr(expr)?];
                self.call("strpos", arguments)
            }
            E::Substring {
                expr,
                substring_from,
                substring_for,
                special: _,
                shorthand: _,
            } => {
                let mut arguments = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (Some(from), _) => arguments.push(self.expr(from)?),
                    (None, Some(_)) => arguments.push(Typed::new(
                        Expr::Literal(Value::Integer(1)),
                        SqlType::Integer,
                    )),
                    (None, None) => {}
                }
                if let Some(length) = substring_for {
                    arguments.push(self.expr(length)?);
                }
                self.call("substring", arguments)
            }
            E::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters,
            } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                let mut arguments = vec![self.expr(expr)?];
                if let Some(what) = trim_what {
                    arguments.push(self.expr(what)?);
                }
                for characters in trim_characters.iter().flatten() {
                    arguments.push(self.expr(characters)?);
                }
                self.call(name, arguments)
            }
            E::Collate { expr, collation } => {
                let names = parts(collation)?;
                let known = matches!(
                    names.last().map(String::as_str),
                    Some("default" | "C" | "POSIX" | "ucs_basic")
                );
                absent(!known, &format!("collation \"{}\"", names.join(".")))?;
                self.expr(expr)
            }
            E::Function(function) => self.function(function),
            E::Case {
                case_token: _,
                end_token: _,
                operand,
                conditions,
                else_result,
            } => {
                let mut tests = Vec::new();
                let mut results = Vec::new();
                for ast::CaseWhen { condition, result } in conditions {
                    tests.push(match operand {
                        Some(operand) => self.binary(&Op::Eq, operand, condition)?.expr,
                        None => self.condition(condition, "CASE/WHEN")?,
                    });
                    results.push(self.expr(result)?);
                }
                let has_else = else_result.is_some();
                if let Some(otherwise) = else_result {
                    results.push(self.expr(otherwise)?);
                }
                let (mut results, data_type) = self.unify(results, "CASE")?;
                let otherwise = if has_else {
                    results.pop().map(Box::new)
                } else {
                    None
                };
                Ok(Typed::new(
                    Expr::Case(tests.into_iter().zip(results).collect(), otherwise),
                    data_type,
                ))
            }
            E::Exists { subquery, negated } => {
                let (plan, _) = self.subquery(subquery, None)?;
                let exists = Expr::Exists(Inner(plan));
                Self::boolean(if *negated {
                    Expr::Not(Box::new(exists))
                } else {
                    exists
                })
            }
            E::Subquery(query) => {
                let (plan, columns) = self.subquery(query, Some(1))?;
                Ok(Typed {
                    modifier: columns[0].modifier,
                    ..Typed::new(Expr::Scalar(Inner(plan)), columns[0].data_type)
                })
            }
            E::Array(ast::Array { elem, named: _ }) => {
                let elements = self.all(elem)?;
                let (elements, common) = self.unify(elements, "ARRAY")?;
                let array = common
                    .array()
                    .ok_or_else(|| SqlError::unsupported(format!("type {common}[]")))?;
                Ok(Typed::new(Expr::MakeArray(elements), array))
            }
            E::Interval(ast::Interval {
                value,
                leading_field,
                leading_precision,
                last_field,
                fractional_seconds_precision,
            }) => {
                absent(
                    leading_precision.is_some()
                        || last_field.is_some()
                        || fractional_seconds_precision.is_some(),
                    "an interval with a precision",
                )?;
                let inner = self.expr(value)?;
                let literal = match (&inner.expr, leading_field) {
                    (Expr::Literal(Value::Text(literal)), Some(field)) => {
                        format!("{literal} {}", field.to_string().to_lowercase())
                    }
                    (Expr::Literal(Value::Text(literal)), None) => literal.clone(),
                    _ => return Err(SqlError::syntax("an interval is not a literal")),
                };
                Ok(Typed::new(
                    Expr::Literal(text::read(SqlType::Interval, &literal)?),
                    SqlType::Interval,
                ))
            }
            E::CompoundFieldAccess { root, access_chain } => {
                let mut typed = self.expr(root)?;
                for access in access_chain {
                    let ast::AccessExpr::Subscript(ast::Subscript::Index { index }) = access else {
                        return Err(SqlError::unsupported("a field or a slice of a value"));
                    };
                    let element = typed.data_type.element().ok_or_else(|| {
                        SqlError::new(
                            "42804",
                            format!("cannot subscript type {}", typed.data_type),
                        )
                    })?;
                    let index = self.expr(index)?;
                    let picked = self.call(
                        "[]",
                        vec![Typed::new(typed.expr, SqlType::TextArray), index],
                    )?;
                    let expr = self.coerce(picked, element, Strength::Explicit)?;
                    typed = Typed::new(expr, element);
                }
                Ok(typed)
            }
            E::Tuple(_) => Err(SqlError::unsupported("a row value here")),
            other => {
                let name: String = format!("{other:?}")
                    .chars()
                    .take_while(char::is_ascii_alphanumeric)
                    .collect();
                Err(SqlError::unsupported(format!("expression {name}")))
            }
        }
    }

    fn rounding(
        &mut self,
        name: &str,
        expr: &ast::Expr,
        field: &ast::CeilFloorKind,
    ) -> Result<Typed> {
        let ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) = field else {
            return Err(SqlError::unsupported(format!("{name} TO")));
        };
        let argument = self.expr(expr)?;
        self.call(name, vec![argument])
    }

    fn is_null(&mut self, inner: &ast::Expr, negated: bool) -> Result<Typed> {
        let typed = self.expr(inner)?;
        let typed = self.known(typed)?;
        Self::boolean(Expr::IsNull(Box::new(typed.expr), negated))
    }

    fn is(&mut self, inner: &ast::Expr, which: Option<bool>, negated: bool) -> Result<Typed> {
        let inner = self.condition(inner, "IS")?;
        Self::boolean(Expr::Is(Box::new(inner), which, negated))
    }

    fn literal(&mut self, value: &ast::Value) -> Result<Typed> {
        use ast::Value as V;
        let unknown = |text: &str| Ok(Typed::new(Expr::text(text), SqlType::Unknown));
        match value {
            V::Number(digits, _) => {
                if let Ok(small) = digits.parse::<i32>() {
                    return Ok(Typed::new(
                        Expr::Literal(Value::Integer(small)),
                        SqlType::Integer,
                    ));
                }
                if let Ok(big) = digits.parse::<i64>() {
                    return Ok(Typed::new(
                        Expr::Literal(Value::BigInt(big)),
                        SqlType::BigInt,
                    ));
                }
                let number: Numeric = text::read_numeric(digits)?;
                Ok(Typed::new(
                    Expr::Literal(Value::Numeric(number)),
                    SqlType::Numeric,
                ))
            }
            V::SingleQuotedString(text)
            | V::EscapedStringLiteral(text)
            | V::UnicodeStringLiteral(text)
            | V::NationalStringLiteral(text) => {
                if text.contains('\0') {
                    return Err(SqlError::new(
                        "22021",
                        "invalid byte sequence for encoding \"UTF8\": 0x00",
                    ));
                }
                unknown(text)
            }
            V::DollarQuotedString(ast::DollarQuotedString { value, tag: _ }) => unknown(value),
            V::Boolean(value) => Ok(Typed::new(
                Expr::Literal(Value::Boolean(*value)),
                SqlType::Boolean,
            )),
            V::Null => Ok(Typed::new(Expr::null(), SqlType::Unknown)),
            V::Placeholder(name) => {
                let number = name
                    .strip_prefix('$')
                    .and_then(|digits| digits.parse::<usize>().ok());
                let Some(place) = number.filter(|number| (1..=65_535).contains(number)) else {
                    return Err(SqlError::new(
                        "42P02",
                        format!("there is no parameter {name}"),
                    ));
                };
                if self.parameters.len() < place {
                    self.parameters.resize(place, None);
                }
                let known = self.parameters[place - 1].unwrap_or(SqlType::Unknown);
                Ok(Typed::new(Expr::Parameter(place - 1), known))
            }
            other => Err(SqlError::unsupported(format!("literal {other}"))),
        }
    }

    fn identifier(&mut self, ident: &ast::Ident) -> Result<Typed> {
        let name = folded(ident);
        match self.look(None, None, &name) {
            Ok(Some(typed)) => return Ok(typed),
            Ok(None) => {}
            Err(error) => return Err(error.at(self.place(ident.span))),
        }
        if ident.quote_style.is_none()
            && matches!(
                name.as_str(),
                "current_catalog"
                    | "current_schema"
                    | "current_role"
                    | "user"
                    | "current_user"
                    | "session_user"
                    | "current_date"
                    | "current_timestamp"
                    | "localtime"
                    | "localtimestamp"
            )
        {
            return self.call(&name, Vec::new());
        }
        Err(
            SqlError::new("42703", format!("column \"{name}\" does not exist"))
                .at(self.place(ident.span)),
        )
    }

    fn qualified(&mut self, idents: &[ast::Ident]) -> Result<Typed> {
        let names: Vec<String> = idents.iter().map(folded).collect();
        let at = idents.first().and_then(|ident| self.place(ident.span));
        let (schema, table, name) = match names.as_slice() {
            [table, name] => (None, table, name),
            [schema, table, name] => (Some(schema.as_str()), table, name),
            _ => return Err(SqlError::unsupported(format!("name {}", names.join(".")))),
        };
        if let Some(typed) = self
            .look(schema, Some(table), name)
            .map_err(|error| error.at(at))?
        {
            return Ok(typed);
        }
        let known = self
            .frames
            .iter()
            .flatten()
            .any(|column| column.table == *table);
        Err(match known {
            true => SqlError::new("42703", format!("column {table}.{name} does not exist")),
            false => SqlError::new(
                "42P01",
                format!("missing FROM-clause entry for table \"{table}\""),
            ),
        }
        .at(at))
    }

    fn look(&self, schema: Option<&str>, table: Option<&str>, name: &str) -> Result<Option<Typed>> {
        for (level, frame) in self.frames.iter().rev().enumerate() {
            let mut found = None;
            for (place, column) in frame.iter().enumerate() {
                let is_it = !column.hidden
                    && column.name == name
                    && table.is_none_or(|table| column.table == table)
                    && schema.is_none_or(|schema| column.schema.as_deref() == Some(schema))
                    && !(column.merged && table.is_none());
                if !is_it {
                    continue;
                }
                if found.is_some() {
                    return Err(SqlError::new(
                        "42702",
                        format!("column reference \"{name}\" is ambiguous"),
                    ));
                }
                let expr = if level == 0 {
                    Expr::Column(place)
                } else {
                    Expr::Outer(level, place)
                };
                found = Some(Typed {
                    expr,
                    data_type: column.data_type,
                    modifier: column.modifier,
                    origin: column.origin,
                });
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn cast_to(&mut self, inner: Typed, data_type: &ast::DataType) -> Result<Typed> {
        let (to, column) = super::types::sql_type(data_type)?;
        let modifier = column.map_or(-1, |column| super::of_column(column).1);
        let bare_char = matches!(
            data_type,
            ast::DataType::Char(None) | ast::DataType::Character(None)
        );
        let from = inner.data_type;
        if !allowed(from, to, Strength::Explicit) {
            return Err(SqlError::new(
                "42846",
                format!("cannot cast type {from} to {to}"),
            ));
        }
        let is_modified = |column: &DataType| {
            matches!(
                column,
                DataType::Varchar(Some(_)) | DataType::Char(_) | DataType::Numeric(Some(_))
            )
        };
        let modified = column.filter(is_modified);
        let expr = if from == SqlType::Unknown {
            self.coerce(inner, to, Strength::Explicit)?
        } else if same_form(from, to) {
            inner.expr
        } else {
            Expr::Cast {
                expr: Box::new(inner.expr),
                from,
                to,
                column: None,
                explicit: true,
            }
        };
        let _ = bare_char;
        let expr = match modified {
            Some(_) => Expr::Cast {
                expr: Box::new(expr),
                from: to,
                to,
                column: modified,
                explicit: true,
            },
            None => expr,
        };
        Ok(Typed {
            expr,
            data_type: to,
            modifier,
            origin: None,
        })
    }

    /// Both sides of a comparison as one type.
    fn comparable(&mut self, a: Typed, b: Typed, op: &str) -> Result<(Expr, Expr)> {
        let (left, right) = (a.data_type, b.data_type);
        if left.is_integer() && right.is_integer() {
            return Ok((a.expr, b.expr));
        }
        if (left.is_oid() || left == SqlType::Xid) && (right.is_integer() || right.is_oid())
            || right.is_oid() && left.is_integer()
        {
            return Ok((a.expr, b.expr));
        }
        let common = match (left, right) {
            (SqlType::Unknown, SqlType::Unknown) => SqlType::Text,
            (SqlType::Unknown, other) | (other, SqlType::Unknown) => other,
            (a, b) if a == b => a,
            // Padding does not count where both are char(n); text compares as it is.
            (a, b) if a.is_text() && b.is_text() => SqlType::Text,
            (a, b) if allowed(a, b, Strength::Implicit) => b,
            (a, b) if allowed(b, a, Strength::Implicit) => a,
            _ => return Err(no_operator(op, Some(left), right)),
        };
        if common == SqlType::Json {
            return Err(no_operator(op, Some(left), right));
        }
        let at = self.coerce(a, common, Strength::Implicit)?;
        let bt = self.coerce(b, common, Strength::Implicit)?;
        Ok((at, bt))
    }

    fn comparison(op: &Op) -> Option<Comparison> {
        Some(match op {
            Op::Eq => Comparison::Equal,
            Op::NotEq => Comparison::NotEqual,
            Op::Lt => Comparison::Less,
            Op::LtEq => Comparison::LessEqual,
            Op::Gt => Comparison::Greater,
            Op::GtEq => Comparison::GreaterEqual,
            _ => return None,
        })
    }

    fn sign(op: &Op) -> Result<&'static str> {
        Ok(match op {
            Op::Plus => "+",
            Op::Minus => "-",
            Op::Multiply => "*",
            Op::Divide => "/",
            Op::Modulo => "%",
            Op::PGExp => "^",
            Op::StringConcat => "||",
            Op::BitwiseAnd => "&",
            Op::BitwiseOr => "|",
            Op::BitwiseXor | Op::PGBitwiseXor => "#",
            Op::PGBitwiseShiftLeft => "<<",
            Op::PGBitwiseShiftRight => ">>",
            Op::PGRegexMatch => "~",
            Op::PGRegexIMatch => "~*",
            Op::PGRegexNotMatch => "!~",
            Op::PGRegexNotIMatch => "!~*",
            Op::PGLikeMatch => "~~",
            Op::PGILikeMatch => "~~*",
            Op::PGNotLikeMatch => "!~~",
            Op::PGNotILikeMatch => "!~~*",
            Op::PGStartsWith => "^@",
            Op::PGCustomBinaryOperator(names) => {
                let sign = names.last().map(String::as_str).unwrap_or_default();
                let known = [
                    "~", "~*", "!~", "!~*", "~~", "!~~", "+", "-", "*", "/", "%", "||", "=",
                ];
                return known
                    .into_iter()
                    .find(|known| *known == sign)
                    .ok_or_else(|| SqlError::unsupported(format!("operator {sign}")));
            }
            other => return Err(SqlError::unsupported(format!("operator {other}"))),
        })
    }

    fn binary(&mut self, op: &Op, left: &ast::Expr, right: &ast::Expr) -> Result<Typed> {
        let comparison = match op {
            Op::PGCustomBinaryOperator(names) if names.last().is_some_and(|name| name == "=") => {
                Some(Comparison::Equal)
            }
            op => Self::comparison(op),
        };
        if let (Some(comparison), ast::Expr::Tuple(a), ast::Expr::Tuple(b)) =
            (comparison, left, right)
        {
            if a.len() != b.len() {
                return Err(SqlError::syntax(
                    "unequal number of entries in row expressions",
                ));
            }
            let (mut all_a, mut all_b) = (Vec::new(), Vec::new());
            for (a, b) in a.iter().zip(b) {
                let (a, b) = (self.expr(a)?, self.expr(b)?);
                let (a, b) = self.comparable(a, b, comparison.sign())?;
                all_a.push(a);
                all_b.push(b);
            }
            return Self::boolean(Expr::CompareRows(comparison, all_a, all_b));
        }
        let (a, b) = (self.expr(left)?, self.expr(right)?);
        if let Some(comparison) = comparison {
            let (a, b) = self.comparable(a, b, comparison.sign())?;
            return Self::boolean(Expr::Compare(comparison, Box::new(a), Box::new(b)));
        }
        if *op == Op::Xor {
            return Err(SqlError::unsupported("operator XOR"));
        }
        self.operate(Self::sign(op)?, a, b)
    }

    /// An operator that is a function.
    fn operate(&mut self, sign: &'static str, a: Typed, b: Typed) -> Result<Typed> {
        let (left, right) = (a.data_type, b.data_type);
        // An unknown side is taken to be of the other's type, if there is such an operator.
        let guess = match (left, right) {
            (SqlType::Unknown, SqlType::Unknown) => None,
            (SqlType::Unknown, other) | (other, SqlType::Unknown) => {
                function::resolve(sign, &[other, other])
                    .filter(|function| function.arguments == [other, other])
            }
            _ => None,
        };
        let found = guess.or_else(|| function::resolve(sign, &[left, right]));
        let textual = |t: SqlType| t.is_text() || t == SqlType::Unknown;
        let found = match found {
            // Anything beside text is concatenated by its text.
            None if sign == "||" && (textual(left) || textual(right)) => {
                function::resolve(sign, &[SqlType::Text, SqlType::Text])
            }
            found => found,
        };
        let function = found.ok_or_else(|| no_operator(sign, Some(left), right))?;
        let strength = if sign == "||" {
            Strength::Explicit
        } else {
            Strength::Implicit
        };
        let a = self.coerce(a, function.arguments[0], strength)?;
        let b = self.coerce(b, function.arguments[1], strength)?;
        Ok(Typed::new(
            Expr::Call(function, vec![a, b]),
            function.returns,
        ))
    }

    fn unary(&mut self, op: &UnaryOperator, inner: &ast::Expr) -> Result<Typed> {
        match op {
            UnaryOperator::Not => {
                let inner = self.condition(inner, "NOT")?;
                Self::boolean(Expr::Not(Box::new(inner)))
            }
            UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::BitwiseNot => {
                let typed = self.expr(inner)?;
                let sign = match op {
                    UnaryOperator::Plus if typed.data_type.numeric_rank().is_some() => {
                        return Ok(typed);
                    }
                    UnaryOperator::Plus => "+",
                    UnaryOperator::Minus => "-",
                    _ => "~",
                };
                let from = typed.data_type;
                let function = function::resolve(sign, &[from])
                    .ok_or_else(|| no_operator(sign, None, from))?;
                let argument = self.coerce(typed, function.arguments[0], Strength::Implicit)?;
                Ok(Typed::new(
                    Expr::Call(function, vec![argument]),
                    function.returns,
                ))
            }
            other => Err(SqlError::unsupported(format!("operator {other}"))),
        }
    }

    fn like(
        &mut self,
        sign: &'static str,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: &Option<ast::ValueWithSpan>,
    ) -> Result<Typed> {
        let mut arguments = vec![self.expr(expr)?, self.expr(pattern)?];
        if let Some(escape) = escape {
            arguments.push(self.literal(&escape.value)?);
        }
        let types: Vec<_> = arguments.iter().map(|one| one.data_type).collect();
        let function = function::resolve(sign, &types)
            .ok_or_else(|| no_operator(sign, Some(types[0]), types[1]))?;
        let exprs = arguments
            .into_iter()
            .map(|one| self.coerce(one, SqlType::Text, Strength::Implicit))
            .collect::<Result<_>>()?;
        Self::boolean(Expr::Call(function, exprs))
    }

    fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &Op,
        right: &ast::Expr,
        all: bool,
    ) -> Result<Typed> {
        let one = self.expr(left)?;
        let comparison =
            Self::comparison(op).ok_or_else(|| SqlError::unsupported(format!("{op} ANY")))?;
        if let ast::Expr::Subquery(query) = right {
            absent(
                comparison != Comparison::Equal || all,
                "a quantified comparison with a subquery",
            )?;
            let (plan, columns) = self.subquery(query, Some(1))?;
            let (one, _) =
                self.comparable(one, Typed::new(Expr::null(), columns[0].data_type), "=")?;
            return Self::boolean(Expr::InQuery(Box::new(one), Inner(plan), false));
        }
        let list = self.expr(right)?;
        let list = match (list.data_type, one.data_type.array()) {
            (SqlType::Unknown, Some(array)) => {
                Typed::new(self.coerce(list, array, Strength::Implicit)?, array)
            }
            _ => list,
        };
        let element = list.data_type.element().ok_or_else(|| {
            SqlError::new("42809", "op ANY/ALL (array) requires array on right side")
        })?;
        let (one, _) =
            self.comparable(one, Typed::new(Expr::null(), element), comparison.sign())?;
        Self::boolean(Expr::Array(
            comparison,
            Box::new(one),
            Box::new(list.expr),
            element,
            all,
        ))
    }

    /// A call of a plain function.
    pub(in super::super) fn call(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed> {
        let types: Vec<_> = arguments.iter().map(|one| one.data_type).collect();
        let Some(function) = function::resolve(name, &types) else {
            let shown: Vec<_> = types.iter().map(|one| one.name()).collect();
            return Err(SqlError::new("42883", format!("function {name}({}) does not exist", shown.join(", ")))
                .hint("No function matches the given name and argument types. You might need to add explicit type casts."));
        };
        let mut exprs = Vec::new();
        for (at, argument) in arguments.into_iter().enumerate() {
            exprs.push(match function.arguments.get(at) {
                Some(SqlType::TextArray) if argument.data_type.element().is_some() => argument.expr,
                Some(to) => self.coerce(argument, *to, Strength::Implicit)?,
                None => self.known(argument)?.expr,
            });
        }
        Ok(Typed::new(Expr::Call(function, exprs), function.returns))
    }

    fn function(&mut self, call: &ast::Function) -> Result<Typed> {
        let ast::Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = call;
        absent(*uses_odbc_syntax, "ODBC syntax")?;
        absent(
            !matches!(parameters, ast::FunctionArguments::None),
            "a parametric function",
        )?;
        absent(null_treatment.is_some(), "IGNORE NULLS")?;
        absent(over.is_some(), "a window function")?;
        absent(!within_group.is_empty(), "WITHIN GROUP")?;
        let names = parts(name)?;
        let at = name
            .0
            .first()
            .and_then(|part| part.as_ident())
            .and_then(|ident| self.place(ident.span));
        let name = match names.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" || schema == "information_schema" => name,
            _ => {
                return Err(SqlError::new(
                    "3F000",
                    format!("schema \"{}\" has no functions", names[0]),
                ));
            }
        };
        if let ast::FunctionArguments::Subquery(query) = args {
            absent(
                name != "array",
                &format!("a subquery as the argument of {name}"),
            )?;
            let (plan, columns) = self.subquery(query, Some(1))?;
            let array = columns[0].data_type.array().unwrap_or(SqlType::TextArray);
            return Ok(Typed::new(Expr::ArrayQuery(Inner(plan)), array));
        }
        let (list, star, distinct) = self.arguments(args)?;
        if aggregate::exists(name) {
            return self
                .aggregate(name, list, star, distinct, filter.as_deref())
                .map_err(|error| error.at(at));
        }
        absent(star, &format!("{name}(*)"))?;
        absent(
            distinct || filter.is_some(),
            &format!("DISTINCT or FILTER of {name}"),
        )?;
        match name {
            "coalesce" => {
                let (parts, data_type) = self.unify(list, "COALESCE")?;
                return Ok(Typed::new(Expr::Coalesce(parts), data_type));
            }
            "greatest" | "least" => {
                let (parts, data_type) = self.unify(list, "GREATEST")?;
                return Ok(Typed::new(
                    Expr::Extreme(parts, name == "greatest"),
                    data_type,
                ));
            }
            "nullif" if list.len() == 2 => {
                let data_type = list[0].data_type;
                let mut list = list.into_iter();
                let (Some(a), Some(b)) = (list.next(), list.next()) else {
                    return Err(SqlError::syntax("NULLIF takes two arguments"));
                };
                let (a, b) = self.comparable(a, b, "=")?;
                let data_type = if data_type == SqlType::Unknown {
                    SqlType::Text
                } else {
                    data_type
                };
                return Ok(Typed::new(
                    Expr::NullIf(Box::new(a), Box::new(b)),
                    data_type,
                ));
            }
            _ => {}
        }
        if let Some((kind, returns, types)) = effect(name, list.len()) {
            let mut exprs = Vec::new();
            for (one, to) in list.into_iter().zip(types) {
                exprs.push(match (one.data_type, *to) {
                    // A name is looked up when it is computed.
                    (SqlType::Unknown | SqlType::Text, SqlType::Regclass) => self.known(one)?.expr,
                    (_, to) => self.coerce(one, to, Strength::Implicit)?,
                });
            }
            return Ok(Typed::new(Expr::Effect(kind, exprs), returns));
        }
        if !function::exists(name) {
            for tables in &self.environment.virtual_tables {
                if let Some(found) = tables.function(name, list.len()) {
                    let mut exprs = Vec::new();
                    for one in list {
                        exprs.push(self.known(one)?.expr);
                    }
                    return Ok(Typed::new(
                        Expr::Foreign(Foreign(name.to_owned(), found), exprs),
                        found.returns,
                    ));
                }
            }
        }
        self.call(name, list).map_err(|error| error.at(at))
    }

    fn arguments(&mut self, args: &ast::FunctionArguments) -> Result<(Vec<Typed>, bool, bool)> {
        let ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment,
            args,
            clauses,
        }) = args
        else {
            return Ok((Vec::new(), false, false));
        };
        absent(
            !clauses.is_empty(),
            "a clause inside a function's arguments",
        )?;
        let distinct = matches!(duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let mut list = Vec::new();
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    list.push(self.expr(expr)?)
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) => {
                    return Ok((Vec::new(), true, distinct));
                }
                _ => return Err(SqlError::unsupported("a named argument")),
            }
        }
        Ok((list, false, distinct))
    }

    fn aggregate(
        &mut self,
        name: &str,
        list: Vec<Typed>,
        star: bool,
        distinct: bool,
        filter: Option<&ast::Expr>,
    ) -> Result<Typed> {
        absent(star && name != "count", &format!("{name}(*)"))?;
        let shown = list.first().map(|one| one.data_type);
        let list = list
            .into_iter()
            .map(|one| self.known(one))
            .collect::<Result<Vec<_>>>()?;
        let argument = list.first().map(|one| one.data_type);
        let wanted = if name == "string_agg" { 2 } else { 1 };
        let missing = || {
            let shown = shown.map_or("", SqlType::name);
            SqlError::new("42883", format!("function {name}({shown}) does not exist"))
        };
        if !star && list.len() != wanted {
            return Err(missing());
        }
        let (kind, returns) = aggregate::resolve(name, argument).ok_or_else(missing)?;
        let filter = filter
            .map(|filter| self.condition(filter, "FILTER"))
            .transpose()?;
        let call = AggregateCall {
            kind,
            arguments: list.into_iter().map(|one| one.expr).collect(),
            distinct,
            filter,
            returns,
        };
        for argument in &call.arguments {
            let mut nested = false;
            argument.walk(&mut |part| nested |= matches!(part, Expr::Aggregate(_)));
            if nested {
                return Err(SqlError::new(
                    "42803",
                    "aggregate function calls cannot be nested",
                ));
            }
        }
        let Some(Some(calls)) = self.aggregates.last_mut() else {
            return Err(SqlError::new(
                "42803",
                "aggregate functions are not allowed here",
            ));
        };
        let place = calls
            .iter()
            .position(|known| *known == call)
            .unwrap_or_else(|| {
                calls.push(call);
                calls.len() - 1
            });
        Ok(Typed::new(Expr::Aggregate(place), returns))
    }
}

type EffectFunction = (EffectKind, SqlType, &'static [SqlType]);

fn effect(name: &str, arguments: usize) -> Option<EffectFunction> {
    use SqlType as T;
    const ONE: &[T] = &[T::BigInt];
    const TWO: &[T] = &[T::Integer, T::Integer];
    let key = if arguments == 2 { TWO } else { ONE };
    let lock = |shared, transaction, attempt| {
        let returns = if attempt { T::Boolean } else { T::Void };
        Some((
            EffectKind::Lock {
                shared,
                transaction,
                attempt,
            },
            returns,
            key,
        ))
    };
    match (name, arguments) {
        ("nextval", 1) => Some((EffectKind::NextValue, T::BigInt, &[T::Regclass])),
        ("currval", 1) => Some((EffectKind::CurrentValue, T::BigInt, &[T::Regclass])),
        ("lastval", 0) => Some((EffectKind::LastValue, T::BigInt, &[])),
        ("setval", 2) => Some((EffectKind::SetValue, T::BigInt, &[T::Regclass, T::BigInt])),
        ("setval", 3) => Some((
            EffectKind::SetValue,
            T::BigInt,
            &[T::Regclass, T::BigInt, T::Boolean],
        )),
        ("pg_notify", 2) => Some((EffectKind::Notify, T::Void, &[T::Text, T::Text])),
        ("set_config", 3) => Some((
            EffectKind::Configure,
            T::Text,
            &[T::Text, T::Text, T::Boolean],
        )),
        ("pg_advisory_unlock", 1 | 2) => {
            Some((EffectKind::Unlock { shared: false }, T::Boolean, key))
        }
        ("pg_advisory_unlock_shared", 1 | 2) => {
            Some((EffectKind::Unlock { shared: true }, T::Boolean, key))
        }
        ("pg_advisory_unlock_all", 0) => Some((EffectKind::UnlockAll, T::Void, &[])),
        ("pg_advisory_lock", 1 | 2) => lock(false, false, false),
        ("pg_advisory_lock_shared", 1 | 2) => lock(true, false, false),
        ("pg_try_advisory_lock", 1 | 2) => lock(false, false, true),
        ("pg_try_advisory_lock_shared", 1 | 2) => lock(true, false, true),
        ("pg_advisory_xact_lock", 1 | 2) => lock(false, true, false),
        ("pg_advisory_xact_lock_shared", 1 | 2) => lock(true, true, false),
        ("pg_try_advisory_xact_lock", 1 | 2) => lock(false, true, true),
        ("pg_try_advisory_xact_lock_shared", 1 | 2) => lock(true, true, true),
        _ => None,
    }
}
