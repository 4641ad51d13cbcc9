//! From text to statements: tokens, bounds, the split at semicolons, the parser.
//!
//! Invariant: no text makes the parser or what follows run out of stack: the depth of brackets and the
//! length of operator chains are bounded on the tokens, before any tree exists.

use super::error::{Result, SqlError};
use super::statement::{Command, Statement};
use super::utility;
use crate::lock::Mode;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::sync::Arc;

/// Bytes of a text: the wire's bound of a message.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Depth of brackets and CASEs: each takes some kilobytes of a thread's two megabytes of stack.
const DEPTH_MAX: usize = 64;
/// Operators in a row: trees lean to the left, and dropping one takes a frame for each.
const CHAIN_MAX: usize = 2_000;
/// Depth that the parser itself counts: several steps for a bracket.
const RECURSION_MAX: usize = 400;

fn too_deep(what: &str, bound: usize) -> SqlError {
    SqlError::new("54001", "stack depth limit exceeded")
        .detail(format!("The statement has more than {bound} {what}."))
        .hint("Split the statement, or use IN lists and VALUES.")
}

/// Splits a text into statements.
///
/// # Errors
/// 42601, 54001, 54000.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SqlError::new(
            "54000",
            format!(
                "statement has {} bytes, at most {TEXT_BYTES_MAX}",
                text.len()
            ),
        ));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| {
            SqlError::syntax(error.message.to_lowercase()).at(place(
                text,
                error.location.line,
                error.location.column,
            ))
        })?;
    let mut statements = Vec::new();
    let mut current: Vec<TokenWithSpan> = Vec::new();
    for token in tokens {
        match token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => finish(text, &mut current, &mut statements)?,
            _ => current.push(token),
        }
    }
    finish(text, &mut current, &mut statements)?;
    Ok(statements)
}

fn finish(
    text: &str,
    tokens: &mut Vec<TokenWithSpan>,
    statements: &mut Vec<Statement>,
) -> Result<()> {
    let tokens = std::mem::take(tokens);
    if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
        check_bounds(&tokens)?;
        let from = offset(text, first.span.start.line, first.span.start.column);
        let to = offset(text, last.span.end.line, last.span.end.column);
        let own = text.get(from..to.max(from)).unwrap_or(text).trim();
        let command = command(text, tokens)?;
        statements.push(Statement {
            text: own.into(),
            command: Arc::new(command.0),
            locks: command.1,
        });
    }
    Ok(())
}

/// One statement of tokens without white space.
pub(super) fn command(text: &str, tokens: Vec<TokenWithSpan>) -> Result<(Command, Vec<Mode>)> {
    if let Some(utility) = utility::parse(text, &tokens)? {
        return Ok((Command::Utility(utility), Vec::new()));
    }
    let (tokens, locks) = row_locks(tokens);
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(tokens);
    let statement = parser
        .parse_statement()
        .map_err(|error| failed(text, error))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(near(text, &rest));
    }
    Ok((Command::Sql(Box::new(statement)), locks))
}

/// An expression of tokens.
pub(super) fn expressions(
    text: &str,
    tokens: Vec<TokenWithSpan>,
) -> Result<Vec<sqlparser::ast::Expr>> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(tokens);
    let all = parser
        .parse_comma_separated(Parser::parse_expr)
        .map_err(|error| failed(text, error))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(all),
        _ => Err(near(text, &rest)),
    }
}

/// An expression as the catalog keeps it.
pub(super) fn expression(text: &str) -> Result<sqlparser::ast::Expr> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| SqlError::syntax(error.message))?;
    check_bounds(&tokens)?;
    let mut all = expressions(text, tokens)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(SqlError::syntax("not one expression")),
    }
}

/// FOR NO KEY UPDATE and FOR KEY SHARE, which the parser does not know: it sees the plain ones, we
/// keep the modes.
fn row_locks(tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Vec<Mode>) {
    let mut locks = Vec::new();
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    let is = |token: Option<&TokenWithSpan>, keyword: Keyword| matches!(token.map(|t| &t.token), Some(Token::Word(word)) if word.keyword == keyword);
    while let Some(token) = rest.next() {
        let is_for = is(Some(&token), Keyword::FOR);
        out.push(token);
        if !is_for {
            continue;
        }
        if is(rest.peek(), Keyword::UPDATE) {
            locks.push(Mode::Update);
        } else if is(rest.peek(), Keyword::SHARE) {
            locks.push(Mode::Share);
        } else if is(rest.peek(), Keyword::NO) {
            let no = rest.next();
            match is(rest.peek(), Keyword::KEY) {
                true => {
                    rest.next();
                    locks.push(Mode::NoKeyUpdate);
                }
                false => out.extend(no),
            }
        } else if is(rest.peek(), Keyword::KEY) {
            rest.next();
            locks.push(Mode::KeyShare);
        }
    }
    (out, locks)
}

fn check_bounds(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut depth = 0_usize;
    let mut cases = 0_usize;
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                depth += 1;
                chains.push(0);
            }
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                if chains.len() > 1 {
                    chains.pop();
                }
            }
            Token::Comma => *chains.last_mut().expect("one stays") = 0,
            Token::Word(word) if word.keyword == Keyword::CASE => cases += 1,
            Token::Word(word) if word.keyword == Keyword::END => cases = cases.saturating_sub(1),
            Token::Word(word)
                if !matches!(
                    word.keyword,
                    Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::UNION | Keyword::JOIN
                ) => {}
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period => {}
            _ => *chains.last_mut().expect("one stays") += 1,
        }
        if depth + cases > DEPTH_MAX {
            return Err(too_deep("levels of brackets", DEPTH_MAX));
        }
        if chains.last().is_some_and(|chain| *chain > CHAIN_MAX) {
            return Err(too_deep("operators in a row", CHAIN_MAX));
        }
    }
    Ok(())
}

fn offset(text: &str, line: u64, column: u64) -> usize {
    let mut at = 0;
    for (number, one) in text.split_inclusive('\n').enumerate() {
        if number as u64 + 1 == line {
            let inside = one.char_indices().nth(column.saturating_sub(1) as usize);
            return at + inside.map_or(one.len(), |(byte, _)| byte);
        }
        at += one.len();
    }
    text.len()
}

/// The place of a token in characters from 1.
pub(super) fn place(text: &str, line: u64, column: u64) -> Option<usize> {
    (line > 0).then(|| text[..offset(text, line, column)].chars().count() + 1)
}

/// 42601 at a token.
pub(super) fn near(text: &str, token: &TokenWithSpan) -> SqlError {
    match &token.token {
        Token::EOF => {
            SqlError::syntax("syntax error at end of input").at(Some(text.chars().count() + 1))
        }
        other => SqlError::syntax(format!("syntax error at or near \"{other}\"")).at(place(
            text,
            token.span.start.line,
            token.span.start.column,
        )),
    }
}

fn failed(text: &str, error: ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep("levels", RECURSION_MAX),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let found = message.split("found: ").nth(1);
    let (Some(found), Some((_, line))) = (found, message.rsplit_once(" at Line: ")) else {
        return SqlError::syntax(format!("syntax error: {message}"));
    };
    let word = found.split(" at Line: ").next().unwrap_or(found);
    if word == "EOF" {
        return SqlError::syntax("syntax error at end of input").at(Some(text.chars().count() + 1));
    }
    let mut numbers = line
        .split(", Column: ")
        .map(|number| number.trim().parse::<u64>());
    let at = match (numbers.next(), numbers.next()) {
        (Some(Ok(line)), Some(Ok(column))) => place(text, line, column),
        _ => None,
    };
    SqlError::syntax(format!("syntax error at or near \"{word}\"")).at(at)
}
