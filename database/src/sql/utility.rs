//! Statements about the session and the transaction, read from the tokens by hand: their grammar is
//! small, and every word of it counts.

use super::copy::{CopyFormat, CopyOptions};
use super::error::{Result, SqlError};
use super::parse;
use super::statement::Command;
use crate::lock::Mode;
use crate::transaction::Isolation;
use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// How a transaction shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) isolation: Option<Isolation>,
    pub(super) read_only: Option<bool>,
    pub(super) deferrable: Option<bool>,
}

/// A statement about the session.
#[derive(Debug, Clone)]
pub(super) enum Utility {
    Begin {
        modes: Modes,
        start: bool,
    },
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    SetTransaction {
        modes: Modes,
        session: bool,
    },
    SetConstraints {
        deferred: bool,
    },
    /// `None` is DEFAULT.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    Show(String),
    Reset(String),
    Discard(&'static str),
    Vacuum {
        tables: Vec<Vec<String>>,
    },
    Analyze {
        tables: Vec<Vec<String>>,
    },
    Lock {
        tables: Vec<Vec<String>>,
        mode: Mode,
        nowait: bool,
    },
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        command: Box<Command>,
        locks: Vec<Mode>,
        text: String,
    },
    Execute {
        name: String,
        parameters: Vec<ast::Expr>,
    },
    Deallocate(Option<String>),
    Copy(Box<Copy>),
    Explain {
        analyze: bool,
        command: Box<Command>,
        locks: Vec<Mode>,
    },
    Notify {
        channel: String,
        payload: String,
    },
    Checkpoint,
}

/// COPY.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) table: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) query: Option<Box<Command>>,
    pub(super) from: bool,
    pub(super) format: CopyFormat,
    pub(super) options: CopyOptions,
}

struct Cursor<'a> {
    text: &'a str,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn token(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    fn wrong(&self) -> SqlError {
        match self.tokens.get(self.at) {
            Some(token) => parse::near(self.text, token),
            None => SqlError::syntax("syntax error at end of input")
                .at(Some(self.text.chars().count() + 1)),
        }
    }

    /// The unquoted word that comes next, in upper case.
    fn word(&self) -> Option<String> {
        match self.token() {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                Some(word.value.to_ascii_uppercase())
            }
            _ => None,
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.word().as_deref() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn take_all(&mut self, words: &[&str]) -> bool {
        let before = self.at;
        if words.iter().all(|word| self.take(word)) {
            return true;
        }
        self.at = before;
        false
    }

    fn need(&mut self, word: &str) -> Result<()> {
        match self.take(word) {
            true => Ok(()),
            false => Err(self.wrong()),
        }
    }

    fn take_token(&mut self, token: &Token) -> bool {
        let found = self.token() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn need_token(&mut self, token: &Token) -> Result<()> {
        match self.take_token(token) {
            true => Ok(()),
            false => Err(self.wrong()),
        }
    }

    fn name(&mut self) -> Result<String> {
        match self.token() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                })
            }
            _ => Err(self.wrong()),
        }
    }

    fn names(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.name()?];
        while self.take_token(&Token::Period) {
            parts.push(self.name()?);
        }
        Ok(parts)
    }

    fn list(&mut self) -> Result<Vec<Vec<String>>> {
        let mut all = vec![self.names()?];
        while self.take_token(&Token::Comma) {
            all.push(self.names()?);
        }
        Ok(all)
    }

    fn string(&mut self) -> Result<String> {
        let text = match self.token() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text,
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(text.clone())
    }

    fn is_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn end<T>(&self, value: T) -> Result<Option<T>> {
        match self.is_end() {
            true => Ok(Some(value)),
            false => Err(self.wrong()),
        }
    }

    /// What stands between brackets, which are taken.
    fn bracketed(&mut self) -> Result<Vec<TokenWithSpan>> {
        self.need_token(&Token::LParen)?;
        let from = self.at;
        let mut depth = 1;
        while let Some(token) = self.token() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(self.tokens[from..self.at - 1].to_vec());
            }
        }
        Err(self.wrong())
    }

    fn modes(&mut self) -> Result<Modes> {
        let mut modes = Modes::default();
        while !self.is_end() {
            if self.take_all(&["ISOLATION", "LEVEL"]) {
                modes.isolation = Some(if self.take("SERIALIZABLE") {
                    Isolation::Serializable
                } else if self.take_all(&["REPEATABLE", "READ"]) {
                    Isolation::RepeatableRead
                } else if self.take_all(&["READ", "COMMITTED"])
                    || self.take_all(&["READ", "UNCOMMITTED"])
                {
                    Isolation::ReadCommitted
                } else {
                    return Err(self.wrong());
                });
            } else if self.take_all(&["READ", "ONLY"]) {
                modes.read_only = Some(true);
            } else if self.take_all(&["READ", "WRITE"]) {
                modes.read_only = Some(false);
            } else if self.take_all(&["NOT", "DEFERRABLE"]) {
                modes.deferrable = Some(false);
            } else if self.take("DEFERRABLE") {
                modes.deferrable = Some(true);
            } else {
                return Err(self.wrong());
            }
            if self.take_token(&Token::Comma) && self.is_end() {
                return Err(self.wrong());
            }
        }
        Ok(modes)
    }

    fn chain(&mut self) -> Result<()> {
        let _ = self.take("WORK") || self.take("TRANSACTION");
        if self.take_all(&["AND", "NO", "CHAIN"]) || !self.take_all(&["AND", "CHAIN"]) {
            return Ok(());
        }
        Err(SqlError::unsupported("AND CHAIN"))
    }
}

/// The statement, if it is one of these.
pub(super) fn parse(text: &str, tokens: &[TokenWithSpan]) -> Result<Option<Utility>> {
    let mut c = Cursor {
        text,
        tokens,
        at: 0,
    };
    let Some(first) = c.word() else {
        return Ok(None);
    };
    c.at = 1;
    let c = &mut c;
    match first.as_str() {
        "BEGIN" => {
            let _ = c.take("WORK") || c.take("TRANSACTION");
            let modes = c.modes()?;
            c.end(Utility::Begin {
                modes,
                start: false,
            })
        }
        "START" => {
            c.need("TRANSACTION")?;
            let modes = c.modes()?;
            c.end(Utility::Begin { modes, start: true })
        }
        "COMMIT" | "END" => {
            if c.take("PREPARED") {
                return Err(SqlError::unsupported("COMMIT PREPARED"));
            }
            c.chain()?;
            c.end(Utility::Commit)
        }
        "ROLLBACK" | "ABORT" => {
            let _ = c.take("WORK") || c.take("TRANSACTION");
            if c.take("TO") {
                let _ = c.take("SAVEPOINT");
                let name = c.name()?;
                return c.end(Utility::RollbackTo(name));
            }
            c.chain()?;
            c.end(Utility::Rollback)
        }
        "SAVEPOINT" => {
            let name = c.name()?;
            c.end(Utility::Savepoint(name))
        }
        "RELEASE" => {
            let _ = c.take("SAVEPOINT");
            let name = c.name()?;
            c.end(Utility::Release(name))
        }
        "SET" => set(c),
        "SHOW" => {
            if c.take_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
                return c.end(Utility::Show("transaction_isolation".into()));
            }
            if c.take_all(&["TIME", "ZONE"]) {
                return c.end(Utility::Show("timezone".into()));
            }
            let name = c.names()?.join(".");
            c.end(Utility::Show(name))
        }
        "RESET" => {
            let name = c.names()?.join(".");
            c.end(Utility::Reset(name))
        }
        "DISCARD" => {
            let what = match c.word().as_deref() {
                Some("ALL") => "ALL",
                Some("PLANS") => "PLANS",
                Some("SEQUENCES") => "SEQUENCES",
                Some("TEMP" | "TEMPORARY") => "TEMP",
                _ => return Err(c.wrong()),
            };
            c.at += 1;
            c.end(Utility::Discard(what))
        }
        "VACUUM" => {
            if c.token() == Some(&Token::LParen) {
                c.bracketed()?;
            }
            while ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"]
                .iter()
                .any(|word| c.take(word))
            {}
            let tables = if c.is_end() { Vec::new() } else { c.list()? };
            c.end(Utility::Vacuum { tables })
        }
        "ANALYZE" | "ANALYSE" => {
            let _ = c.take("VERBOSE");
            let tables = if c.is_end() { Vec::new() } else { c.list()? };
            c.end(Utility::Analyze { tables })
        }
        "LOCK" => lock(c),
        "PREPARE" => {
            if c.take("TRANSACTION") {
                return Err(SqlError::unsupported("PREPARE TRANSACTION"));
            }
            let name = c.name()?;
            let types = match c.token() {
                Some(Token::LParen) => types(text, c.bracketed()?)?,
                _ => Vec::new(),
            };
            c.need("AS")?;
            let rest = tokens[c.at..].to_vec();
            let (command, locks) = parse::command(text, rest)?;
            Ok(Some(Utility::Prepare {
                name,
                types,
                command: Box::new(command),
                locks,
                text: text.to_owned(),
            }))
        }
        "EXECUTE" => {
            let name = c.name()?;
            let parameters = match c.is_end() {
                true => Vec::new(),
                false => parse::expressions(text, c.bracketed()?)?,
            };
            c.end(Utility::Execute { name, parameters })
        }
        "DEALLOCATE" => {
            let _ = c.take("PREPARE");
            if c.take("ALL") {
                return c.end(Utility::Deallocate(None));
            }
            let name = c.name()?;
            c.end(Utility::Deallocate(Some(name)))
        }
        "COPY" => copy(c),
        "EXPLAIN" => explain(c),
        "NOTIFY" => {
            let channel = c.name()?;
            let payload = if c.take_token(&Token::Comma) {
                c.string()?
            } else {
                String::new()
            };
            c.end(Utility::Notify { channel, payload })
        }
        "CHECKPOINT" => c.end(Utility::Checkpoint),
        _ => Ok(None),
    }
}

fn types(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<ast::DataType>> {
    use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens);
    parser
        .parse_comma_separated(Parser::parse_data_type)
        .map_err(|error| SqlError::syntax(error.to_string()).at(Some(text.len().min(1))))
}

fn set(c: &mut Cursor<'_>) -> Result<Option<Utility>> {
    if c.take_all(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        let modes = c.modes()?;
        return c.end(Utility::SetTransaction {
            modes,
            session: true,
        });
    }
    if c.take("CONSTRAINTS") {
        c.need("ALL")
            .map_err(|_| SqlError::unsupported("SET CONSTRAINTS of single constraints"))?;
        let deferred = c.take("DEFERRED");
        if !deferred {
            c.need("IMMEDIATE")?;
        }
        return c.end(Utility::SetConstraints { deferred });
    }
    let local = c.take("LOCAL");
    if !local {
        let _ = c.take("SESSION");
    }
    if c.take("TRANSACTION") {
        let modes = c.modes()?;
        return c.end(Utility::SetTransaction {
            modes,
            session: false,
        });
    }
    let name = if c.take_all(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if c.take("NAMES") {
        "client_encoding".to_owned()
    } else {
        let name = c.names()?.join(".");
        if !c.take_token(&Token::Eq) {
            c.need("TO")?;
        }
        name
    };
    if c.take("DEFAULT") {
        return c.end(Utility::Set {
            name,
            value: None,
            local,
        });
    }
    let mut values = Vec::new();
    loop {
        let negative = c.take_token(&Token::Minus);
        let value = match c.token() {
            Some(Token::Number(digits, _)) => digits.clone(),
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
                text.clone()
            }
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
            Some(Token::Word(word)) => word.value.to_lowercase(),
            _ => return Err(c.wrong()),
        };
        c.at += 1;
        values.push(if negative { format!("-{value}") } else { value });
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    let value = Some(values.join(", "));
    c.end(Utility::Set { name, value, local })
}

fn lock(c: &mut Cursor<'_>) -> Result<Option<Utility>> {
    let _ = c.take("TABLE");
    let _ = c.take("ONLY");
    let tables = c.list()?;
    let mut mode = Mode::TableExclusive;
    if c.take("IN") {
        mode = if c.take_all(&["ACCESS", "SHARE"]) || c.take_all(&["ROW", "SHARE"]) {
            Mode::IntentShare
        } else if c.take_all(&["ROW", "EXCLUSIVE"]) {
            Mode::IntentExclusive
        } else if c.take_all(&["SHARE", "UPDATE", "EXCLUSIVE"])
            || c.take_all(&["SHARE", "ROW", "EXCLUSIVE"])
        {
            Mode::TableExclusive
        } else if c.take("SHARE") {
            Mode::TableShare
        } else if c.take_all(&["ACCESS", "EXCLUSIVE"]) || c.take("EXCLUSIVE") {
            Mode::TableExclusive
        } else {
            return Err(c.wrong());
        };
        c.need("MODE")?;
    }
    let nowait = c.take("NOWAIT");
    c.end(Utility::Lock {
        tables,
        mode,
        nowait,
    })
}

fn explain(c: &mut Cursor<'_>) -> Result<Option<Utility>> {
    let mut analyze = false;
    if c.token() == Some(&Token::LParen) {
        let inside = c.bracketed()?;
        let mut inner = Cursor {
            text: c.text,
            tokens: &inside,
            at: 0,
        };
        while !inner.is_end() {
            let option = inner.name()?;
            let on = inner.take("ON")
                || inner.take("TRUE")
                || !(inner.take("OFF") || inner.take("FALSE"));
            match option.as_str() {
                "analyze" => analyze = on,
                "costs" | "verbose" | "buffers" | "timing" | "summary" => {}
                "format" => {
                    inner.need("TEXT").map_err(|_| {
                        SqlError::unsupported("EXPLAIN in another format than text")
                    })?;
                }
                other => {
                    return Err(SqlError::syntax(format!(
                        "unrecognized EXPLAIN option \"{other}\""
                    )));
                }
            }
            if !inner.take_token(&Token::Comma) && !inner.is_end() {
                return Err(inner.wrong());
            }
        }
    } else {
        analyze = c.take("ANALYZE");
        let _ = c.take("VERBOSE");
    }
    let (command, locks) = parse::command(c.text, c.tokens[c.at..].to_vec())?;
    Ok(Some(Utility::Explain {
        analyze,
        command: Box::new(command),
        locks,
    }))
}

fn one_byte(text: &str, what: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(SqlError::new(
            "0A000",
            format!("COPY {what} must be a single one-byte character"),
        )),
    }
}

fn copy(c: &mut Cursor<'_>) -> Result<Option<Utility>> {
    let mut copy = Copy {
        table: Vec::new(),
        columns: Vec::new(),
        query: None,
        from: false,
        format: CopyFormat::text(),
        options: CopyOptions::default(),
    };
    if c.token() == Some(&Token::LParen) {
        let (command, _) = parse::command(c.text, c.bracketed()?)?;
        copy.query = Some(Box::new(command));
    } else {
        copy.table = c.names()?;
        if c.token() == Some(&Token::LParen) {
            copy.columns = columns(c)?;
        }
    }
    if c.take("FROM") {
        copy.from = true;
        c.need("STDIN")
            .map_err(|_| SqlError::unsupported("COPY from a file or a program"))?;
    } else {
        c.need("TO")?;
        c.need("STDOUT")
            .map_err(|_| SqlError::unsupported("COPY to a file or a program"))?;
    }
    let _ = c.take("WITH");
    let mut given = Given::default();
    if c.take_token(&Token::LParen) {
        loop {
            let option = c.name()?;
            given.option(c, &option, &mut copy)?;
            if !c.take_token(&Token::Comma) {
                break;
            }
        }
        c.need_token(&Token::RParen)?;
    } else {
        while let Some(option) = c.word() {
            c.at += 1;
            let _ = c.take("AS");
            given.option(c, &option.to_lowercase(), &mut copy)?;
        }
    }
    given.settle(&mut copy)?;
    c.end(Utility::Copy(Box::new(copy)))
}

fn columns(c: &mut Cursor<'_>) -> Result<Vec<String>> {
    c.need_token(&Token::LParen)?;
    let mut all = vec![c.name()?];
    while c.take_token(&Token::Comma) {
        all.push(c.name()?);
    }
    c.need_token(&Token::RParen)?;
    Ok(all)
}

#[derive(Default)]
struct Given {
    csv: bool,
    delimiter: Option<u8>,
    null: Option<String>,
    quote: Option<u8>,
    escape: Option<u8>,
    header: bool,
}

impl Given {
    fn option(&mut self, c: &mut Cursor<'_>, option: &str, copy: &mut Copy) -> Result<()> {
        let flag = |c: &mut Cursor<'_>| {
            c.take("TRUE") || c.take("ON") || !(c.take("FALSE") || c.take("OFF"))
        };
        match option {
            "format" => match c.word().as_deref() {
                Some("CSV") => {
                    self.csv = true;
                    c.at += 1;
                }
                Some("TEXT") => c.at += 1,
                Some("BINARY") => return Err(SqlError::unsupported("COPY in binary format")),
                _ => return Err(c.wrong()),
            },
            "csv" => self.csv = true,
            "binary" => return Err(SqlError::unsupported("COPY in binary format")),
            "freeze" => copy.options.freeze = flag(c),
            "header" => self.header = flag(c),
            "delimiter" | "delimiters" => {
                self.delimiter = Some(one_byte(&c.string()?, "delimiter")?)
            }
            "null" => self.null = Some(c.string()?),
            "quote" => self.quote = Some(one_byte(&c.string()?, "quote")?),
            "escape" => self.escape = Some(one_byte(&c.string()?, "escape")?),
            "encoding" => {
                let name = c.string()?;
                if !matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8") {
                    return Err(SqlError::unsupported(format!("encoding {name}")));
                }
            }
            "force_quote" => {
                copy.options.force_quote = match c.take_token(&Token::Mul) {
                    true => None,
                    false => Some(columns(c)?),
                };
            }
            "force_not_null" | "force_null" => {
                return Err(SqlError::unsupported(format!("COPY option {option}")));
            }
            other => {
                return Err(SqlError::syntax(format!(
                    "option \"{other}\" not recognized"
                )));
            }
        }
        Ok(())
    }

    fn settle(self, copy: &mut Copy) -> Result<()> {
        let mut format = if self.csv {
            CopyFormat::csv()
        } else {
            CopyFormat::text()
        };
        if !self.csv && (self.quote.is_some() || self.escape.is_some()) {
            return Err(SqlError::new(
                "0A000",
                "COPY quote available only in CSV mode",
            ));
        }
        format.delimiter = self.delimiter.unwrap_or(format.delimiter);
        format.null = self.null.unwrap_or(format.null);
        format.quote = self.quote.unwrap_or(format.quote);
        format.escape = self.escape.unwrap_or(format.quote);
        format.header = self.header;
        copy.format = format;
        Ok(())
    }
}
