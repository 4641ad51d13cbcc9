//! Functions and operators: which there are, and which one is meant.
//!
//! Operators are functions named by their sign. Resolution is PostgreSQL's, shortened: an exact match,
//! else the candidate with most exact arguments among those the arguments can become implicitly.

use super::cast;
use super::error::{Result, SqlError};
use super::expr::Env;
use super::types::SqlType;
use super::{number, text, time};
use crate::types::Value;
use SqlType as T;

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [SqlType],
    pub(super) returns: SqlType,
    /// NULL in, NULL out.
    pub(super) strict: bool,
    pub(super) body: fn(&[Value], &Env) -> Result<Value>,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

type Body = fn(&[Value], &Env) -> Result<Value>;

const fn f(
    name: &'static str,
    arguments: &'static [SqlType],
    returns: SqlType,
    body: Body,
) -> Function {
    Function {
        name,
        arguments,
        returns,
        strict: true,
        body,
    }
}

/// Text of an argument.
pub(super) fn s(values: &[Value], at: usize) -> &str {
    match values.get(at) {
        Some(Value::Text(text) | Value::Char(text) | Value::Json(text)) => text,
        _ => "",
    }
}

/// Integer of an argument.
pub(super) fn i(values: &[Value], at: usize) -> i64 {
    values.get(at).and_then(Value::as_integer).unwrap_or(0)
}

fn t(text: impl Into<String>) -> Result<Value> {
    Ok(Value::Text(text.into()))
}

fn like(values: &[Value], env: &Env, insensitive: bool) -> Result<bool> {
    let escape = values.get(2).map(|_| s(values, 2));
    let escape = match escape {
        None => Some('\\'),
        Some(text) => text.chars().next(),
    };
    let mut pattern = String::from(if insensitive { "(?is)^" } else { "(?s)^" });
    let mut chars = s(values, 1).chars();
    while let Some(next) = chars.next() {
        match next {
            c if Some(c) == escape => {
                let literal = chars.next().ok_or_else(|| {
                    SqlError::new("22025", "LIKE pattern must not end with escape character")
                })?;
                pattern.push_str(&regex::escape(&literal.to_string()));
            }
            '%' => pattern.push_str(".*"),
            '_' => pattern.push('.'),
            literal => pattern.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    matches(s(values, 0), &pattern, env)
}

fn matches(text: &str, pattern: &str, env: &Env) -> Result<bool> {
    let mut patterns = env.patterns.lock();
    if let Some(known) = patterns.get(pattern) {
        return Ok(known.is_match(text));
    }
    let made = compiled(pattern)?;
    let verdict = made.is_match(text);
    if patterns.len() < 256 {
        patterns.insert(pattern.to_owned(), made);
    }
    Ok(verdict)
}

fn compiled(pattern: &str) -> Result<regex::Regex> {
    let made = regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build();
    made.map_err(|error| {
        SqlError::new("2201B", "invalid regular expression").detail(error.to_string())
    })
}

fn pattern(values: &[Value], insensitive: bool) -> String {
    format!("{}{}", if insensitive { "(?i)" } else { "" }, s(values, 1))
}

fn substring(text: &str, from: i64, length: Option<i64>) -> Result<Value> {
    let end = match length {
        Some(length) if length < 0 => {
            return Err(SqlError::new(
                "22011",
                "negative substring length not allowed",
            ));
        }
        Some(length) => from.saturating_add(length),
        None => i64::MAX,
    };
    let inside = |at: &usize| {
        let place = *at as i64 + 1;
        place >= from && place < end
    };
    t(text
        .chars()
        .enumerate()
        .filter(|(at, _)| inside(at))
        .map(|(_, c)| c)
        .collect::<String>())
}

fn padded(values: &[Value], left: bool) -> Result<Value> {
    let width = i(values, 1).clamp(0, 10_000_000) as usize;
    let fill = if values.len() > 2 { s(values, 2) } else { " " };
    let text: Vec<char> = s(values, 0).chars().collect();
    if text.len() >= width || fill.is_empty() {
        return t(text.into_iter().take(width).collect::<String>());
    }
    let missing: String = fill.chars().cycle().take(width - text.len()).collect();
    let text: String = text.into_iter().collect();
    t(if left {
        missing + &text
    } else {
        text + &missing
    })
}

fn trim(values: &[Value], left: bool, right: bool) -> Result<Value> {
    let set: Vec<char> = if values.len() > 1 {
        s(values, 1).chars().collect()
    } else {
        vec![' ']
    };
    let mut text = s(values, 0);
    if left {
        text = text.trim_start_matches(set.as_slice());
    }
    if right {
        text = text.trim_end_matches(set.as_slice());
    }
    t(text)
}

fn titled(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric();
    }
    out
}

const AA: &[SqlType] = &[T::Text, T::Text];
const AAA: &[SqlType] = &[T::Text, T::Text, T::Text];
const A: &[SqlType] = &[T::Text];

#[rustfmt::skip]
static TEXT: &[Function] = &[
    f("||", AA, T::Text, |v, _| t(format!("{}{}", s(v, 0), s(v, 1)))),
    f("~~", AA, T::Boolean, |v, e| Ok(Value::Boolean(like(v, e, false)?))),
    f("!~~", AA, T::Boolean, |v, e| Ok(Value::Boolean(!like(v, e, false)?))),
    f("~~*", AA, T::Boolean, |v, e| Ok(Value::Boolean(like(v, e, true)?))),
    f("!~~*", AA, T::Boolean, |v, e| Ok(Value::Boolean(!like(v, e, true)?))),
    f("~~", AAA, T::Boolean, |v, e| Ok(Value::Boolean(like(v, e, false)?))),
    f("!~~", AAA, T::Boolean, |v, e| Ok(Value::Boolean(!like(v, e, false)?))),
    f("~~*", AAA, T::Boolean, |v, e| Ok(Value::Boolean(like(v, e, true)?))),
    f("!~~*", AAA, T::Boolean, |v, e| Ok(Value::Boolean(!like(v, e, true)?))),
    f("~", AA, T::Boolean, |v, e| Ok(Value::Boolean(matches(s(v, 0), &pattern(v, false), e)?))),
    f("!~", AA, T::Boolean, |v, e| Ok(Value::Boolean(!matches(s(v, 0), &pattern(v, false), e)?))),
    f("~*", AA, T::Boolean, |v, e| Ok(Value::Boolean(matches(s(v, 0), &pattern(v, true), e)?))),
    f("!~*", AA, T::Boolean, |v, e| Ok(Value::Boolean(!matches(s(v, 0), &pattern(v, true), e)?))),
    f("^@", AA, T::Boolean, |v, _| Ok(Value::Boolean(s(v, 0).starts_with(s(v, 1))))),
    f("length", A, T::Integer, |v, _| Ok(Value::Integer(s(v, 0).chars().count() as i32))),
    f("length", &[T::Bytea], T::Integer, |v, _| number::bytes_of(v)),
    f("octet_length", &[T::Bytea], T::Integer, |v, _| number::bytes_of(v)),
    f("char_length", A, T::Integer, |v, _| Ok(Value::Integer(s(v, 0).chars().count() as i32))),
    f("character_length", A, T::Integer, |v, _| Ok(Value::Integer(s(v, 0).chars().count() as i32))),
    f("octet_length", A, T::Integer, |v, _| Ok(Value::Integer(s(v, 0).len() as i32))),
    f("lower", A, T::Text, |v, _| t(s(v, 0).to_lowercase())),
    f("upper", A, T::Text, |v, _| t(s(v, 0).to_uppercase())),
    f("initcap", A, T::Text, |v, _| t(titled(s(v, 0)))),
    f("reverse", A, T::Text, |v, _| t(s(v, 0).chars().rev().collect::<String>())),
    f("btrim", A, T::Text, |v, _| trim(v, true, true)),
    f("btrim", AA, T::Text, |v, _| trim(v, true, true)),
    f("ltrim", A, T::Text, |v, _| trim(v, true, false)),
    f("ltrim", AA, T::Text, |v, _| trim(v, true, false)),
    f("rtrim", A, T::Text, |v, _| trim(v, false, true)),
    f("rtrim", AA, T::Text, |v, _| trim(v, false, true)),
    f("substring", &[T::Text, T::Integer], T::Text, |v, _| substring(s(v, 0), i(v, 1), None)),
    f("substring", &[T::Text, T::Integer, T::Integer], T::Text, |v, _| substring(s(v, 0), i(v, 1), Some(i(v, 2)))),
    f("substring", AA, T::Text, |v, _| {
        let made = compiled(s(v, 1))?;
        let found = made.captures(s(v, 0)).and_then(|all| all.get(1).or(all.get(0)));
        Ok(found.map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())))
    }),
    f("substr", &[T::Text, T::Integer], T::Text, |v, _| substring(s(v, 0), i(v, 1), None)),
    f("substr", &[T::Text, T::Integer, T::Integer], T::Text, |v, _| substring(s(v, 0), i(v, 1), Some(i(v, 2)))),
    f("left", &[T::Text, T::Integer], T::Text, |v, _| {
        let count = s(v, 0).chars().count() as i64;
        let keep = if i(v, 1) < 0 { (count + i(v, 1)).max(0) } else { i(v, 1) };
        t(s(v, 0).chars().take(keep as usize).collect::<String>())
    }),
    f("right", &[T::Text, T::Integer], T::Text, |v, _| {
        let count = s(v, 0).chars().count() as i64;
        let skip = if i(v, 1) < 0 { -i(v, 1) } else { (count - i(v, 1)).max(0) };
        t(s(v, 0).chars().skip(skip as usize).collect::<String>())
    }),
    f("strpos", AA, T::Integer, |v, _| Ok(Value::Integer(match s(v, 0).find(s(v, 1)) {
        Some(at) => s(v, 0)[..at].chars().count() as i32 + 1,
        None => 0,
    }))),
    f("replace", AAA, T::Text, |v, _| match s(v, 1).is_empty() {
        true => t(s(v, 0)),
        false => t(s(v, 0).replace(s(v, 1), s(v, 2))),
    }),
    f("repeat", &[T::Text, T::Integer], T::Text, |v, _| {
        let times = i(v, 1).max(0) as usize;
        match s(v, 0).len().saturating_mul(times) <= 64 << 20 {
            true => t(s(v, 0).repeat(times)),
            false => Err(SqlError::new("54000", "requested length too large")),
        }
    }),
    f("lpad", &[T::Text, T::Integer], T::Text, |v, _| padded(v, true)),
    f("lpad", &[T::Text, T::Integer, T::Text], T::Text, |v, _| padded(v, true)),
    f("rpad", &[T::Text, T::Integer], T::Text, |v, _| padded(v, false)),
    f("rpad", &[T::Text, T::Integer, T::Text], T::Text, |v, _| padded(v, false)),
    f("split_part", &[T::Text, T::Text, T::Integer], T::Text, |v, _| {
        let parts: Vec<&str> = match s(v, 1) { "" => vec![s(v, 0)], by => s(v, 0).split(by).collect() };
        let place = match i(v, 2) {
            0 => return Err(SqlError::new("22023", "field position must not be zero")),
            place if place > 0 => place - 1,
            place => parts.len() as i64 + place,
        };
        t(usize::try_from(place).ok().and_then(|place| parts.get(place)).copied().unwrap_or(""))
    }),
    f("ascii", A, T::Integer, |v, _| Ok(Value::Integer(s(v, 0).chars().next().map_or(0, |c| c as i32)))),
    f("chr", &[T::Integer], T::Text, |v, _| match u32::try_from(i(v, 0)).ok().filter(|c| *c > 0).and_then(char::from_u32) {
        Some(c) => t(c.to_string()),
        None => Err(SqlError::new("54000", "requested character not valid for encoding: ".to_owned() + &i(v, 0).to_string())),
    }),
    f("starts_with", AA, T::Boolean, |v, _| Ok(Value::Boolean(s(v, 0).starts_with(s(v, 1))))),
    f("md5", A, T::Text, |_, _| Err(SqlError::unsupported("function md5"))),
    f("quote_ident", A, T::Text, |v, _| t(super::name::quote(s(v, 0)))),
    f("quote_literal", A, T::Text, |v, _| t(format!("'{}'", s(v, 0).replace('\'', "''")))),
    f("to_hex", &[T::Integer], T::Text, |v, _| t(format!("{:x}", i(v, 0) as i32))),
    f("to_hex", &[T::BigInt], T::Text, |v, _| t(format!("{:x}", i(v, 0)))),
    f("translate", AAA, T::Text, |v, _| {
        let (from, to): (Vec<char>, Vec<char>) = (s(v, 1).chars().collect(), s(v, 2).chars().collect());
        t(s(v, 0).chars().filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        }).collect::<String>())
    }),
    f("regexp_replace", AAA, T::Text, |v, _| t(compiled(s(v, 1))?.replacen(s(v, 0), 1, replacement(s(v, 2)).as_str()))),
    f("regexp_replace", &[T::Text, T::Text, T::Text, T::Text], T::Text, |v, _| {
        let flags = s(v, 3);
        let made = compiled(&format!("{}{}", if flags.contains('i') { "(?i)" } else { "" }, s(v, 1)))?;
        let limit = usize::from(!flags.contains('g'));
        t(made.replacen(s(v, 0), limit, replacement(s(v, 2)).as_str()))
    }),
    f("array_to_string", &[T::TextArray, T::Text], T::Text, |v, _| {
        t(super::expr::array_of(s(v, 0))?.into_iter().flatten().collect::<Vec<_>>().join(s(v, 1)))
    }),
    f("array_length", &[T::TextArray, T::Integer], T::Integer, |v, _| {
        let length = super::expr::array_of(s(v, 0))?.len() as i32;
        Ok(if length == 0 || i(v, 1) != 1 { Value::Null } else { Value::Integer(length) })
    }),
    f("array_upper", &[T::TextArray, T::Integer], T::Integer, |v, _| {
        let length = super::expr::array_of(s(v, 0))?.len() as i32;
        Ok(if length == 0 || i(v, 1) != 1 { Value::Null } else { Value::Integer(length) })
    }),
    f("cardinality", &[T::TextArray], T::Integer, |v, _| Ok(Value::Integer(super::expr::array_of(s(v, 0))?.len() as i32))),
    f("[]", &[T::TextArray, T::Integer], T::Text, |v, _| {
        let place = usize::try_from(i(v, 1) - 1).unwrap_or(usize::MAX);
        Ok(super::expr::array_of(s(v, 0))?.get(place).cloned().flatten().map_or(Value::Null, Value::Text))
    }),
    f("version", &[], T::Text, |_, _| t(concat!("PostgreSQL 15.0 (Cairn ", env!("CARGO_PKG_VERSION"), ")"))),
    f("current_user", &[], T::Name, |_, e| t(&*e.context.user)),
    f("session_user", &[], T::Name, |_, e| t(&*e.context.user)),
    f("user", &[], T::Name, |_, e| t(&*e.context.user)),
    f("current_role", &[], T::Name, |_, e| t(&*e.context.user)),
    f("current_database", &[], T::Name, |_, e| t(&*e.context.database)),
    f("current_catalog", &[], T::Name, |_, e| t(&*e.context.database)),
    f("current_schema", &[], T::Name, |_, e| t(e.context.search_path.iter().find(|s| *s != "pg_catalog").map_or("public", String::as_str))),
    f("current_setting", A, T::Text, |v, e| setting(s(v, 0), e, false)),
    f("current_setting", &[T::Text, T::Boolean], T::Text, |v, e| setting(s(v, 0), e, v[1] == Value::Boolean(true))),
    f("pg_backend_pid", &[], T::Integer, |_, _| Ok(Value::Integer(std::process::id() as i32))),
    f("pg_is_in_recovery", &[], T::Boolean, |_, _| Ok(Value::Boolean(false))),
    f("pg_encoding_to_char", &[T::Integer], T::Name, |_, _| t("UTF8")),
    f("pg_client_encoding", &[], T::Name, |_, _| t("UTF8")),
    Function { name: "concat", arguments: &[], returns: T::Text, strict: false, body: |v, _| {
        t(v.iter().filter_map(text::write).collect::<String>())
    } },
    Function { name: "concat_ws", arguments: &[], returns: T::Text, strict: false, body: |v, _| {
        if v.first().is_none_or(Value::is_null) { return Ok(Value::Null); }
        t(v[1..].iter().filter_map(text::write).collect::<Vec<_>>().join(s(v, 0)))
    } },
];

fn replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some('&') => out.push_str("${0}"),
                Some(digit) if digit.is_ascii_digit() => out.push_str(&format!("${{{digit}}}")),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

fn setting(name: &str, env: &Env, missing_ok: bool) -> Result<Value> {
    let found = env
        .settings
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    match found {
        Some((_, value)) => t(value),
        None if missing_ok => Ok(Value::Null),
        None => Err(SqlError::new(
            "42704",
            format!("unrecognized configuration parameter \"{name}\""),
        )),
    }
}

fn all() -> impl Iterator<Item = &'static Function> {
    TEXT.iter().chain(number::FUNCTIONS).chain(time::FUNCTIONS)
}

/// True if there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    all().any(|function| function.name == name)
}

/// Takes any number of arguments of any type.
fn is_variadic(name: &str) -> bool {
    matches!(name, "concat" | "concat_ws")
}

/// The function that a call means.
pub(super) fn resolve(name: &str, arguments: &[SqlType]) -> Option<&'static Function> {
    if is_variadic(name) {
        return all().find(|function| function.name == name);
    }
    let mut best: Option<(usize, &'static Function)> = None;
    for function in all() {
        if function.name != name || function.arguments.len() != arguments.len() {
            continue;
        }
        let pairs = || arguments.iter().zip(function.arguments);
        let fits = pairs().all(|(from, to)| {
            let array = from.element().is_some() && *to == T::TextArray;
            array || cast::allowed(*from, *to, cast::Strength::Implicit)
        });
        if !fits {
            continue;
        }
        let score = pairs()
            .map(|(from, to)| match (from, to) {
                (from, to) if from == to => 16,
                (from, T::Text) if from.is_text() => 8,
                (T::Unknown, T::Text) => 6,
                // Of the types a number can become, PostgreSQL prefers double precision.
                (T::Unknown, T::Double | T::TimestampTz | T::Interval) => 2,
                (from, T::Double) if from.numeric_rank().is_some() && *from != T::Numeric => 3,
                (from, to) => match (from.numeric_rank(), to.numeric_rank()) {
                    (Some(from), Some(to)) => 7_usize.saturating_sub((to - from).into()).min(2),
                    _ => 1,
                },
            })
            .sum();
        if best.is_none_or(|(other, _)| score > other) {
            best = Some((score, function));
        }
    }
    best.map(|(_, function)| function)
}
