//! One session's connection: reads messages, runs them, answers.
//!
//! Invariant: each message is answered before the next is looked at; after an error in the extended
//! protocol nothing is done until Sync; `ReadyForQuery` is sent once for each Query and each Sync; the
//! tag of the last statement of a Query follows its commit.

use super::extended::{Portals, Statements};
use super::message::{Format, Frontend, TransactionStatus};
use super::observer::{QueryKind, without_literals};
use super::registry::{Activity, Cancel, Entry};
use super::report::Report;
use super::server::Shared;
use super::startup::Begun;
use super::transport::{Transport, TransportError};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::pg_catalog::equal_question;
use crate::sql::{self, Answer, Canceller, Prepared, Rows, Session, SessionStart};
use crate::types::Value;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u64 = 64;
/// How long rows are made before others have their turn.
const TURN: Duration = Duration::from_millis(5);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client left.
    Left,
    /// The connection broke.
    Lost(TransportError),
    /// The client is told.
    Told(Report),
}

impl From<TransportError> for End {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Protocol(error) => {
                End::Told(Report::fatal(error.sqlstate(), error.to_string()))
            }
            other => End::Lost(other),
        }
    }
}

/// A statement's end that the client is told of, and goes on; or the connection's.
pub(super) enum Failure {
    /// Of the statement.
    Statement(Report),
    /// Of the connection.
    Connection(End),
}

impl<T: Into<Report>> From<T> for Failure {
    fn from(error: T) -> Self {
        Failure::Statement(error.into())
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Failure::Connection(error.into())
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Failure::Connection(end)
    }
}

struct CancelBy(Canceller);

impl Cancel for CancelBy {
    fn cancel(&self) {
        self.0.cancel("user request");
    }
}

/// A session with its connection.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) session: Session,
    pub(super) canceller: Canceller,
    pub(super) entry: Arc<Entry>,
    pub(super) shared: Arc<Shared>,
    pub(super) statements: Statements,
    pub(super) portals: Portals,
    /// After an error: everything up to Sync is skipped.
    pub(super) skipping: bool,
    /// What the transaction has done so far, for the count of commits.
    work: Work,
}

/// What a transaction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Nothing yet.
    None,
    /// Statements.
    Some,
    /// It failed, or was rolled back.
    Undone,
}

impl Connection {
    /// Begins the session of a client that may have one. `None`: it could not, and was told.
    pub(super) fn new(begun: Begun, shared: Arc<Shared>) -> Option<Self> {
        let Begun {
            mut transport,
            client,
            startup,
            user,
            database,
        } = begun;
        let start = SessionStart {
            user: user.clone(),
            database: database.clone(),
            settings: settings(&startup.parameters),
            environment: shared.environment.clone(),
        };
        let session = match Session::new(shared.database.clone(), start) {
            Ok(session) => session,
            Err(error) => {
                let mut report = Report::from(error);
                report.severity = super::report::Severity::Fatal;
                transport.out.error(&report);
                tokio::spawn(transport.close());
                return None;
            }
        };
        let canceller = session.canceller();
        let cancel = Box::new(CancelBy(canceller.clone()));
        let registry = &shared.registry;
        let entry = registry.register(client, startup.minor, &user, &database, cancel);
        if let Some(name) = startup.parameter("application_name") {
            entry.set_application(name);
        }
        Some(Connection {
            transport,
            session,
            canceller,
            entry,
            shared,
            statements: Statements::default(),
            portals: Portals::default(),
            skipping: false,
            work: Work::None,
        })
    }

    /// Serves the session until its end.
    pub(super) async fn run(mut self) {
        self.greet();
        let end = self.serve().await;
        self.shared.registry.remove(self.entry.process);
        match end {
            End::Told(report) => self.transport.out.error(&report),
            End::Lost(error) => {
                tracing::debug!(process = self.entry.process, %error, "an SQL client was lost");
            }
            End::Left => {}
        }
        // The locks of the session are free before its client learns of the end.
        let Connection {
            transport,
            session,
            portals,
            ..
        } = self;
        drop(portals);
        drop(session);
        transport.close().await;
    }

    fn greet(&mut self) {
        self.transport
            .out
            .parameter_status("server_version", &self.shared.options.server_version);
        for (name, value) in self.session.reported_settings() {
            if name != "server_version" {
                self.transport.out.parameter_status(name, &value);
            }
        }
        self.transport
            .out
            .key_data(self.entry.process, self.entry.key());
        self.transport.out.ready(TransactionStatus::Idle);
    }

    async fn serve(&mut self) -> End {
        loop {
            let (kind, body) = match self.next_message().await {
                Ok(message) => message,
                Err(end) => return end,
            };
            if let Err(end) = self.handle(kind, &body).await {
                return end;
            }
            if let Err(error) = self.transport.flush_if_large().await {
                return error.into();
            }
        }
    }

    /// The next message; what waits is sent before anything is waited for.
    async fn next_message(&mut self) -> Result<(u8, BytesMut), End> {
        if self.entry.is_ended() {
            return Err(shutdown());
        }
        let buffered = self.transport.buffered_message(MESSAGE_BYTES_MAX);
        if let Some(message) = buffered.map_err(TransportError::from)? {
            return Ok(message);
        }
        self.transport.flush().await?;
        let (timeout_ms, report) = self.idle_limit();
        let entry = self.entry.clone();
        let message = self.transport.message(MESSAGE_BYTES_MAX);
        tokio::select! {
            message = message => match message? {
                Some(message) => Ok(message),
                None => Err(End::Left),
            },
            () = entry.until_ended() => Err(shutdown()),
            () = sleep(timeout_ms) => Err(End::Told(report)),
        }
    }

    /// How long the client may be silent now (zero is for ever), and what it is told then.
    fn idle_limit(&self) -> (u64, Report) {
        if self.session.status() == sql::TransactionStatus::Idle {
            let why = "terminating connection due to idle-session timeout";
            let report = Report::fatal("57P05", why);
            (self.session.timeout_ms("idle_session_timeout"), report)
        } else {
            let name = "idle_in_transaction_session_timeout";
            let why = "terminating connection due to idle-in-transaction timeout";
            (self.session.timeout_ms(name), Report::fatal("25P03", why))
        }
    }

    async fn handle(&mut self, kind: u8, body: &[u8]) -> Result<(), End> {
        let parsed = Frontend::parse(kind, body);
        if self.skipping && !matches!(parsed, Ok(Frontend::Sync | Frontend::Terminate)) {
            return Ok(());
        }
        let message = match parsed {
            Ok(message) => message,
            Err(error @ super::message::ProtocolError::Type(_)) => {
                return Err(End::Told(Report::fatal(
                    error.sqlstate(),
                    error.to_string(),
                )));
            }
            Err(error) => {
                self.fail_statement(error.into());
                match kind {
                    b'Q' | b'F' => return self.ready().await,
                    b'S' => {}
                    _ => self.skipping = true,
                }
                return Ok(());
            }
        };
        let done = match message {
            Frontend::Query(text) => return self.simple_query(text).await,
            Frontend::Terminate => return Err(End::Left),
            Frontend::Sync => return self.sync().await,
            Frontend::Flush => return Ok(self.transport.flush().await?),
            Frontend::Parse { name, sql, types } => self.parse(name, sql, &types),
            Frontend::Bind(bind) => self.bind(&bind),
            Frontend::Describe(kind, name) => self.describe(kind, name),
            Frontend::Execute { portal, rows_max } => self.execute(portal, rows_max).await,
            Frontend::Close(kind, name) => {
                self.close(kind, name);
                Ok(())
            }
            // The rest of a copy that has failed already.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => Ok(()),
            Frontend::Password(_) => {
                let why = "a password was sent, and none was asked for";
                return Err(End::Told(Report::fatal("08P01", why)));
            }
            Frontend::FunctionCall => {
                let why = "the function call sub-protocol is not supported: use a SELECT";
                self.fail_statement(Report::error("0A000", why));
                return self.ready().await;
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Statement(report)) => {
                self.fail_statement(report);
                self.skipping = true;
                Ok(())
            }
            Err(Failure::Connection(end)) => Err(end),
        }
    }

    /// Tells the client of a failed statement; its transaction has failed.
    pub(super) fn fail_statement(&mut self, report: Report) {
        if report.code == "40P01" {
            self.shared.observer.deadlock();
        }
        self.session.fail();
        self.send_notices();
        self.transport.out.error(&report);
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skipping = false;
        self.ready().await
    }

    /// Ends an implicit transaction and says what the session's state is.
    async fn ready(&mut self) -> Result<(), End> {
        if let Err(error) = self.session.sync().await {
            self.fail_statement(error.into());
        }
        self.say_ready();
        Ok(())
    }

    fn say_ready(&mut self) {
        self.send_notices();
        let (status, activity) = match self.session.status() {
            sql::TransactionStatus::Idle => (TransactionStatus::Idle, Activity::Idle),
            sql::TransactionStatus::InTransaction => {
                (TransactionStatus::Open, Activity::IdleInTransaction)
            }
            sql::TransactionStatus::Failed => {
                (TransactionStatus::Failed, Activity::IdleInFailedTransaction)
            }
        };
        if status == TransactionStatus::Idle {
            self.portals.end_of_transaction();
            if std::mem::replace(&mut self.work, Work::None) == Work::Some {
                self.shared.observer.commit();
            }
        }
        self.entry.set_activity(activity);
        self.transport.out.ready(status);
    }

    /// Notices, and settings that changed.
    fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.transport.out.notice(&notice.into());
        }
        for (name, value) in self.session.take_changed_settings() {
            if name == "application_name" {
                self.entry.set_application(&value);
            }
            self.transport.out.parameter_status(name, &value);
        }
    }

    async fn simple_query(&mut self, text: &str) -> Result<(), End> {
        // An unnamed statement does not outlive a simple query, as in PostgreSQL.
        self.statements.drop_unnamed();
        self.portals.drop_unnamed();
        match self.run_all(text).await {
            Ok(tag) => {
                // The commit comes first: a tag promises it.
                if let Err(error) = self.session.sync().await {
                    self.fail_statement(error.into());
                } else {
                    self.send_notices();
                    match tag {
                        Some(tag) => self.transport.out.command_complete(&tag),
                        None => self.transport.out.empty_query(),
                    }
                }
            }
            Err(Failure::Statement(report)) => {
                self.fail_statement(report);
                if let Err(error) = self.session.sync().await {
                    tracing::debug!(%error, "rolling back");
                }
            }
            Err(Failure::Connection(end)) => return Err(end),
        }
        self.say_ready();
        Ok(())
    }

    /// Runs the statements of a text: the tag of the last, which is not sent yet.
    async fn run_all(&mut self, text: &str) -> Result<Option<String>, Failure> {
        self.entry.set_statement(Arc::from(text));
        let statements = match self.session.parse(text) {
            Ok(statements) => statements,
            Err(error) => match equal_question(text) {
                Some(equal) => self.session.parse(&equal)?,
                None => return Err(error.into()),
            },
        };
        let mut last: Option<String> = None;
        for statement in &statements {
            if let Some(tag) = last.take() {
                self.send_notices();
                self.transport.out.command_complete(&tag);
            }
            if let Some(tag) = self.deallocate(statement.text())? {
                last = Some(tag.to_owned());
                continue;
            }
            let running = self.begin_statement(statement.text());
            let done = self.run_one(statement).await;
            self.end_statement(running, done.is_ok());
            last = done?;
        }
        Ok(last)
    }

    async fn run_one(&mut self, statement: &sql::Statement) -> Result<Option<String>, Failure> {
        let prepared = self.prepare(statement, &[])?;
        let answer = self.execute_watched(&prepared, Vec::new()).await?;
        match answer {
            Answer::Empty => Ok(None),
            Answer::Command(tag) => Ok(Some(tag)),
            Answer::Rows(mut rows) => {
                self.describe_rows(&rows.columns, &[]);
                self.send_rows(&mut rows, &[], 0).await?;
                Ok(Some(rows.tag()))
            }
            Answer::CopyIn { format, columns } => self.copy_in(&format, columns).await.map(Some),
            Answer::CopyOut(copy) => self.copy_out(copy).await.map(Some),
        }
    }

    /// Prepares a statement, or the equal one of a stock client's question that our SQL refuses.
    pub(super) fn prepare(
        &mut self,
        statement: &sql::Statement,
        types: &[Option<sql::SqlType>],
    ) -> Result<Arc<Prepared>, Failure> {
        let error = match self.session.prepare(statement, types) {
            Ok(prepared) => return Ok(prepared),
            Err(error) => error,
        };
        let equal = equal_question(statement.text()).and_then(|equal| {
            let statements = self.session.parse(&equal).ok()?;
            self.session.prepare(statements.first()?, types).ok()
        });
        Ok(equal.ok_or(error)?)
    }

    /// A statement begins: what is needed at its end.
    pub(super) fn begin_statement(&mut self, text: &str) -> (Instant, Arc<str>) {
        self.session.clear_cancel();
        (Instant::now(), Arc::from(text))
    }

    /// A statement has ended.
    pub(super) fn end_statement(&mut self, (since, text): (Instant, Arc<str>), succeeded: bool) {
        let elapsed = since.elapsed();
        let kind = QueryKind::of(&text);
        let undone = !succeeded
            || text
                .get(..8)
                .is_some_and(|t| t.eq_ignore_ascii_case("rollback"));
        self.work = match undone {
            true => Work::Undone,
            false if self.work == Work::Undone => Work::Undone,
            false => Work::Some,
        };
        self.shared.observer.statement(kind, succeeded, elapsed);
        let limit = self.session.timeout_ms("log_min_duration_statement");
        if limit > 0 && elapsed.as_millis() >= u128::from(limit) {
            tracing::warn!(
                process = self.entry.process,
                ms = elapsed.as_millis() as u64,
                statement = without_literals(&text),
                "slow statement"
            );
        }
    }

    /// Runs a statement within its time.
    pub(super) async fn execute_watched(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Value>,
    ) -> Result<Answer, Failure> {
        let timeout_ms = self.session.timeout_ms("statement_timeout");
        let watched = self.shared.watch.statement(timeout_ms, &self.canceller);
        let answer = self.session.execute(prepared, parameters).await;
        drop(watched);
        Ok(answer?)
    }

    /// Sends rows, at most so many (zero is all); true if it stopped at that number.
    pub(super) async fn send_rows(
        &mut self,
        rows: &mut Rows,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<bool, Failure> {
        let timeout_ms = self.session.timeout_ms("statement_timeout");
        let shared = self.shared.clone();
        let _watched = shared.watch.statement(timeout_ms, &self.canceller);
        let columns = rows.columns.clone();
        let mut turn = Instant::now();
        let mut sent = 0u64;
        loop {
            if rows_max > 0 && sent == rows_max as u64 {
                return Ok(true);
            }
            let Some(row) = rows.next() else {
                return Ok(false);
            };
            let row = row?;
            let values = row.iter().zip(&columns).enumerate();
            let count = row.len().min(columns.len());
            self.transport.out.data_row(
                Counted { values, count },
                |out, (index, (value, column))| {
                    super::format::write(out, value, column, format_of(formats, index))
                },
            );
            sent += 1;
            self.transport.flush_if_large().await?;
            if sent.is_multiple_of(ROWS_PER_LOOK) && turn.elapsed() >= TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
                if self.entry.is_ended() {
                    return Err(Failure::Connection(shutdown()));
                }
            }
        }
    }
}

/// An iterator whose length is known.
struct Counted<I> {
    values: I,
    count: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.values.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

/// The format of a column: none given is text, one is for all.
pub(super) fn format_of(formats: &[Format], index: usize) -> Format {
    match formats {
        [] => Format::Text,
        [one] => *one,
        many => many.get(index).copied().unwrap_or_default(),
    }
}

/// The session ends because the server does, or because somebody asked for it.
pub(super) fn shutdown() -> End {
    let why = "terminating connection due to administrator command";
    End::Told(Report::fatal("57P01", why))
}

async fn sleep(ms: u64) {
    match ms {
        0 => std::future::pending().await,
        ms => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
}

/// Settings of the startup packet, and those of its `options` (`-c name=value`, `--name=value`).
fn settings(parameters: &[(String, String)]) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => settings.extend(options(value)),
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    settings
}

fn options(text: &str) -> Vec<(String, String)> {
    // A backslash keeps the next character, a space among them.
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => words
                .last_mut()
                .expect("never empty")
                .extend(characters.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.to_owned()),
            None => match word.strip_prefix("-c") {
                Some("") => words.next(),
                Some(setting) => Some(setting.to_owned()),
                None => None,
            },
        };
        if let Some((name, value)) = setting.as_deref().and_then(|text| text.split_once('=')) {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_startup_packet() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options(r"-c geqo=off -cwork_mem=4MB  --search-path=a\ b -x"),
            [
                pair("geqo", "off"),
                pair("work_mem", "4MB"),
                pair("search_path", "a b")
            ]
        );
        assert_eq!(options(""), []);
    }
}
