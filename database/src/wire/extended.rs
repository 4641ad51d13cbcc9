//! The extended protocol: prepared statements and portals.
//!
//! Invariant: a name is given once; the unnamed ones are replaced; portals end with their transaction.

use super::connection::{Connection, Failure, format_of};
use super::format;
use super::message::{Bind, Field, Format, Kind};
use super::report::Report;
use crate::limits::{PORTALS_MAX, STATEMENTS_MAX};
use crate::sql::{self, Answer, Column, Prepared, Rows, SqlType, TransactionStatus};
use crate::types::Value;
use hashbrown::HashMap;
use std::sync::Arc;

/// Prepared statements by name; `None` is an empty one.
#[derive(Default)]
pub(super) struct Statements(HashMap<String, Option<Arc<Prepared>>>);

impl Statements {
    pub(super) fn drop_unnamed(&mut self) {
        self.0.remove("");
    }
}

/// How far a portal is.
enum State {
    /// Bound.
    Ready(Vec<Value>),
    /// Rows are left.
    Running(Rows),
    /// All rows were sent.
    Read,
    /// It ran, and cannot again.
    Done,
}

struct Portal {
    prepared: Option<Arc<Prepared>>,
    formats: Vec<Format>,
    state: State,
}

/// Portals by name.
#[derive(Default)]
pub(super) struct Portals(HashMap<String, Portal>);

impl Portals {
    pub(super) fn drop_unnamed(&mut self) {
        self.0.remove("");
    }

    pub(super) fn end_of_transaction(&mut self) {
        self.0.clear();
    }
}

fn too_many(what: &str, limit: usize) -> Report {
    Report::error(
        "54000",
        format!("too many {what}: a session has at most {limit}"),
    )
}

impl Connection {
    pub(super) fn parse(&mut self, name: &str, text: &str, types: &[u32]) -> Result<(), Failure> {
        if !name.is_empty() && self.statements.0.contains_key(name) {
            let why = format!("prepared statement \"{name}\" already exists");
            return Err(Report::error("42P05", why).into());
        }
        if self.statements.0.len() >= STATEMENTS_MAX {
            return Err(too_many("prepared statements", STATEMENTS_MAX).into());
        }
        // A failed Parse leaves no unnamed statement behind.
        if name.is_empty() {
            self.statements.drop_unnamed();
        }
        let statements = self.session.parse(text)?;
        let prepared = match statements.as_slice() {
            [] => None,
            [statement] => {
                let types = parameter_types(types)?;
                let prepared = self.prepare(statement, &types)?;
                self.check_not_failed(Some(&prepared))?;
                Some(prepared)
            }
            _ => {
                let why = "cannot insert multiple commands into a prepared statement";
                return Err(Report::error("42601", why).into());
            }
        };
        self.statements.0.insert(name.to_owned(), prepared);
        self.transport.out.parse_complete();
        Ok(())
    }

    /// In a failed transaction only its end is possible.
    fn check_not_failed(&self, prepared: Option<&Arc<Prepared>>) -> Result<(), Failure> {
        let ends = prepared.is_none_or(|prepared| prepared.kind() == sql::Kind::Transaction);
        if self.session.status() != TransactionStatus::Failed || ends {
            return Ok(());
        }
        let why = "current transaction is aborted, commands ignored until end of transaction block";
        Err(Report::error("25P02", why).into())
    }

    fn statement(&self, name: &str) -> Result<Option<Arc<Prepared>>, Failure> {
        let found = self.statements.0.get(name).cloned();
        found.ok_or_else(|| {
            let why = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Report::error("26000", why).into()
        })
    }

    pub(super) fn bind(&mut self, bind: &Bind<'_>) -> Result<(), Failure> {
        let prepared = self.statement(bind.statement)?;
        let protocol = |why: String| Failure::from(Report::error("08P01", why));
        let wanted = prepared
            .as_ref()
            .map_or(&[][..], |prepared| prepared.parameters());
        let given = bind.parameters.len();
        if bind.formats.len() > 1 && bind.formats.len() != given {
            return Err(protocol(format!(
                "bind message has {} parameter formats but {given} parameters",
                bind.formats.len()
            )));
        }
        if given != wanted.len() {
            return Err(protocol(format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {}",
                bind.statement,
                wanted.len()
            )));
        }
        self.check_not_failed(prepared.as_ref())?;
        let columns = prepared
            .as_ref()
            .map_or(&[][..], |prepared| prepared.columns());
        if bind.result_formats.len() > 1 && bind.result_formats.len() != columns.len() {
            return Err(protocol(format!(
                "bind message has {} result formats but query has {} columns",
                bind.result_formats.len(),
                columns.len()
            )));
        }
        let named = !bind.portal.is_empty();
        if named && self.portals.0.contains_key(bind.portal) {
            let why = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Report::error("42P03", why).into());
        }
        if self.portals.0.len() >= PORTALS_MAX {
            return Err(too_many("portals", PORTALS_MAX).into());
        }
        let mut parameters = Vec::with_capacity(given);
        for (index, (bytes, data_type)) in bind.parameters.iter().zip(wanted).enumerate() {
            let format = format_of(&bind.formats, index);
            let value = format::read(*bytes, *data_type, format).map_err(|mut report| {
                let number = index + 1;
                if report.code == "22P03" || report.code == "08P01" {
                    report.message = format!("{} in bind parameter {number}", report.message);
                }
                report
            })?;
            parameters.push(value);
        }
        let portal = Portal {
            prepared,
            formats: bind.result_formats.clone(),
            state: State::Ready(parameters),
        };
        self.portals.0.insert(bind.portal.to_owned(), portal);
        self.transport.out.bind_complete();
        Ok(())
    }

    pub(super) fn describe(&mut self, kind: Kind, name: &str) -> Result<(), Failure> {
        let (prepared, formats) = match kind {
            Kind::Statement => {
                let prepared = self.statement(name)?;
                let types = prepared
                    .as_ref()
                    .map_or(&[][..], |prepared| prepared.parameters());
                let oids = types.iter().map(|data_type| data_type.oid());
                self.transport.out.parameter_description(oids);
                (prepared, Vec::new())
            }
            Kind::Portal => {
                let portal = self.portals.0.get(name).ok_or_else(|| no_portal(name))?;
                (portal.prepared.clone(), portal.formats.clone())
            }
        };
        match prepared {
            Some(prepared) if prepared.kind() == sql::Kind::Rows => {
                self.describe_rows(prepared.columns(), &formats);
            }
            _ => self.transport.out.no_data(),
        }
        Ok(())
    }

    /// `RowDescription`
    pub(super) fn describe_rows(&mut self, columns: &[Column], formats: &[Format]) {
        let fields = columns.iter().enumerate().map(|(index, column)| {
            let (table, number) = column.origin.unwrap_or_default();
            Field {
                name: &column.name,
                table,
                column: number,
                type_oid: described(column.data_type).oid(),
                type_size: described(column.data_type).length(),
                modifier: column.modifier,
                format: format_of(formats, index),
            }
        });
        self.transport.out.row_description(fields);
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), Failure> {
        let portal = self
            .portals
            .0
            .get_mut(name)
            .ok_or_else(|| no_portal(name))?;
        let Some(prepared) = portal.prepared.clone() else {
            self.transport.out.empty_query();
            return Ok(());
        };
        let formats = portal.formats.clone();
        match std::mem::replace(&mut portal.state, State::Done) {
            State::Ready(parameters) => {
                self.check_not_failed(Some(&prepared))?;
                self.start(name, &prepared, parameters, &formats, rows_max)
                    .await
            }
            State::Running(rows) => {
                self.check_not_failed(Some(&prepared))?;
                self.proceed(name, rows, &formats, rows_max).await
            }
            State::Read => {
                portal.state = State::Read;
                self.transport.out.command_complete("SELECT 0");
                Ok(())
            }
            State::Done => {
                let why = format!("portal \"{name}\" cannot be run");
                Err(Report::error("55000", why).into())
            }
        }
    }

    async fn start(
        &mut self,
        name: &str,
        prepared: &Arc<Prepared>,
        parameters: Vec<Value>,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<(), Failure> {
        let text = prepared.statement().text();
        self.entry.set_statement(Arc::from(text));
        if let Some(tag) = self.deallocate(text)? {
            self.transport.out.command_complete(tag);
            return Ok(());
        }
        let running = self.begin_statement(text);
        let done = match self.execute_watched(prepared, parameters).await {
            Ok(Answer::Rows(rows)) => self.proceed(name, rows, formats, rows_max).await,
            Ok(Answer::Command(tag)) => {
                self.complete(&tag);
                Ok(())
            }
            Ok(Answer::Empty) => {
                self.transport.out.empty_query();
                Ok(())
            }
            Ok(Answer::CopyIn { format, columns }) => {
                let done = self.copy_in(&format, columns).await;
                done.map(|tag| self.complete(&tag))
            }
            Ok(Answer::CopyOut(copy)) => {
                let done = self.copy_out(copy).await;
                done.map(|tag| self.complete(&tag))
            }
            Err(failure) => Err(failure),
        };
        self.end_statement(running, done.is_ok());
        if prepared.kind() == sql::Kind::Transaction
            && self.session.status() == TransactionStatus::Idle
        {
            self.portals.end_of_transaction();
        }
        done
    }

    async fn proceed(
        &mut self,
        name: &str,
        mut rows: Rows,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<(), Failure> {
        rows.restart_count();
        let suspended = self.send_rows(&mut rows, formats, rows_max).await?;
        let tag = rows.tag();
        let state = if suspended {
            self.transport.out.portal_suspended();
            State::Running(rows)
        } else {
            self.complete(&tag);
            if tag.starts_with("SELECT") {
                State::Read
            } else {
                State::Done
            }
        };
        if let Some(portal) = self.portals.0.get_mut(name) {
            portal.state = state;
        }
        Ok(())
    }

    fn complete(&mut self, tag: &str) {
        for notice in self.session.take_notices() {
            self.transport.out.notice(&notice.into());
        }
        self.transport.out.command_complete(tag);
    }

    pub(super) fn close(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Statement => drop(self.statements.0.remove(name)),
            Kind::Portal => drop(self.portals.0.remove(name)),
        }
        self.transport.out.close_complete();
    }

    /// DEALLOCATE of a statement that Parse has made: SQL and the protocol share their names.
    pub(super) fn deallocate(&mut self, text: &str) -> Result<Option<&'static str>, Failure> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let mut words = text.split_ascii_whitespace();
        if !words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("deallocate"))
        {
            return Ok(None);
        }
        let mut name = words.next().unwrap_or_default();
        if name.eq_ignore_ascii_case("prepare") {
            name = words.next().unwrap_or_default();
        }
        if words.next().is_some() {
            return Ok(None);
        }
        if name.eq_ignore_ascii_case("all") {
            self.statements.0.clear();
            // Those that SQL made are the session's.
            return Ok(None);
        }
        let name = match name
            .strip_prefix('"')
            .and_then(|name| name.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_lowercase(),
        };
        self.check_not_failed(None)?;
        Ok(self.statements.0.remove(&name).map(|_| "DEALLOCATE"))
    }
}

/// What a client is told of a column's type: text where PostgreSQL would have resolved it to that.
fn described(data_type: SqlType) -> SqlType {
    match data_type {
        SqlType::Unknown => SqlType::Text,
        other => other,
    }
}

fn parameter_types(oids: &[u32]) -> Result<Vec<Option<SqlType>>, Failure> {
    let known = |oid: &u32| match oid {
        0 | 705 => Ok(None),
        oid => match SqlType::from_oid(*oid) {
            Some(data_type) => Ok(Some(data_type)),
            None => {
                let why = format!("parameters of the type with OID {oid} are not supported");
                Err(Report::error("0A000", why).into())
            }
        },
    };
    oids.iter().map(known).collect()
}

fn no_portal(name: &str) -> Failure {
    Report::error("34000", format!("portal \"{name}\" does not exist")).into()
}
