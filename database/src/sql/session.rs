//! A session: one connection's settings, transaction, prepared statements and locks.
//!
//! Order of calls of a wire: `parse` → for each statement `prepare`, `execute`, all rows → `sync` at
//! the end of a simple query or at Sync: it commits an implicit transaction. With several statements in
//! one text the session is in one implicit transaction until `sync`.

use super::answer::{Answer, Column, Rows};
use super::bind::{Binder, Bound};
use super::effect::Outcomes;
use super::error::{Notice, Result, SqlError};
use super::expr::Env;
use super::planner::Planner;
use super::settings::Settings;
use super::statement::{Command, Kind, Prepared, Statement};
use super::types::SqlType;
use super::utility::{Modes, Utility};
use super::virtual_table::{VirtualContext, VirtualSnapshot, VirtualTables};
use super::{parse, text, time};
use crate::catalog::Schema;
use crate::lock::OwnerId;
use crate::transaction::{Begin, Database, Isolation, RESTARTS_MAX, Transaction};
use crate::types::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all sessions of a node share.
#[derive(Debug, Default)]
pub struct Environment {
    /// Read-only tables from outside.
    pub virtual_tables: Vec<Arc<dyn VirtualTables>>,
    /// Plans what the point paths do not answer.
    pub planner: Option<Arc<dyn Planner>>,
}

/// How a session begins.
#[derive(Debug, Clone)]
pub struct SessionStart {
    /// Who it is.
    pub user: String,
    /// The database's name.
    pub database: String,
    /// Settings of the startup message and its `options`.
    pub settings: Vec<(String, String)>,
    /// What all sessions share.
    pub environment: Arc<Environment>,
}

/// The letter of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InTransaction,
    /// `E`
    Failed,
}

/// Cancels the running statement of a session, from anywhere.
#[derive(Debug, Clone)]
pub struct Canceller {
    database: Arc<Database>,
    owner: OwnerId,
    reason: Arc<parking_lot::Mutex<Option<&'static str>>>,
    flag: Arc<AtomicBool>,
}

impl Canceller {
    /// Ends the running statement with 57014: `user request`, `statement timeout`. The wire clears it
    /// with `Session::clear_cancel` when nothing runs.
    pub fn cancel(&self, reason: &'static str) {
        *self.reason.lock() = Some(reason);
        self.flag.store(true, Ordering::SeqCst);
        self.database.locks().cancel(self.owner);
    }

    pub(super) fn check(&self) -> Result<()> {
        if !self.flag.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reason = self.reason.lock().unwrap_or("user request");
        Err(SqlError::new(
            "57014",
            format!("canceling statement due to {reason}"),
        ))
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    pub(super) database: Arc<Database>,
    pub(super) start: SessionStart,
    pub(super) canceller: Canceller,
    pub(super) owner: OwnerId,
    pub(super) transaction: Option<Transaction>,
    /// BEGIN was said.
    pub(super) block: bool,
    failed: bool,
    pub(super) began: Begin,
    /// A statement has run in the transaction.
    pub(super) used: bool,
    now: i64,
    pub(super) settings: Settings,
    /// As they were when the transaction began.
    before: Option<Settings>,
    /// What SET LOCAL hid.
    pub(super) hidden: Vec<(String, Option<String>)>,
    reported: Vec<(&'static str, String)>,
    pub(super) prepared: HashMap<String, Arc<Prepared>>,
    pub(super) sequences: HashMap<u64, i64>,
    pub(super) last_sequence: Option<u64>,
    pub(super) advisory: Vec<((u8, u64), bool)>,
    pub(super) notices: Vec<Notice>,
    /// Tables whose rows nobody else can see yet.
    pub(super) created: Vec<u64>,
    pins: HashMap<String, Arc<dyn VirtualSnapshot>>,
    pub(super) copy: Option<super::run::CopyIn>,
    search_path: Arc<[String]>,
    user: Arc<str>,
    database_name: Arc<str>,
    shared_settings: Arc<Vec<(String, String)>>,
}

impl Session {
    /// Begins a session.
    ///
    /// # Errors
    /// 22023, 42704: a setting that is unknown or has a bad value.
    pub fn new(database: Arc<Database>, start: SessionStart) -> Result<Self> {
        let owner = database.new_owner();
        let canceller = Canceller {
            owner,
            database: database.clone(),
            reason: Arc::default(),
            flag: Arc::default(),
        };
        let mut settings = Settings::new(&start.user);
        for (name, value) in &start.settings {
            settings.set(name, Some(value))?;
        }
        let mut session = Session {
            user: start.user.as_str().into(),
            database_name: start.database.as_str().into(),
            database,
            start,
            canceller,
            owner,
            transaction: None,
            block: false,
            failed: false,
            began: Begin::default(),
            used: false,
            now: time::clock(),
            reported: settings.reported(),
            shared_settings: Arc::new(settings.all()),
            settings,
            before: None,
            hidden: Vec::new(),
            prepared: HashMap::new(),
            sequences: HashMap::new(),
            last_sequence: None,
            advisory: Vec::new(),
            notices: Vec::new(),
            created: Vec::new(),
            pins: HashMap::new(),
            copy: None,
            search_path: Arc::from(Vec::new()),
        };
        session.settings_changed();
        Ok(session)
    }

    /// A handle that cancels what runs here.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Forgets a cancel that came when nothing ran.
    pub fn clear_cancel(&self) {
        self.canceller.flag.store(false, Ordering::SeqCst);
    }

    /// What ReadyForQuery says.
    pub fn status(&self) -> TransactionStatus {
        match (self.block, self.is_failed()) {
            (true, true) => TransactionStatus::Failed,
            (true, false) => TransactionStatus::InTransaction,
            (false, _) => TransactionStatus::Idle,
        }
    }

    fn is_failed(&self) -> bool {
        self.failed
            || self
                .transaction
                .as_ref()
                .is_some_and(Transaction::is_failed)
    }

    /// Splits a text into statements; none for an empty one. An error is told with `fail`, as that of
    /// `prepare`.
    ///
    /// # Errors
    /// 42601, 54001.
    pub fn parse(&mut self, text: &str) -> Result<Vec<Statement>> {
        parse::parse(text)
    }

    /// After a setting has changed: what is derived from them.
    pub(super) fn settings_changed(&mut self) {
        let path = self
            .settings
            .get("search_path")
            .unwrap_or("public")
            .to_owned();
        let mut schemas: Vec<String> = path
            .split(',')
            .map(|part| part.trim().trim_matches('"'))
            .map(|part| {
                if part == "$user" {
                    self.start.user.clone()
                } else {
                    part.to_owned()
                }
            })
            .filter(|part| !part.is_empty())
            .collect();
        if !schemas.iter().any(|schema| schema == "pg_catalog") {
            schemas.insert(0, "pg_catalog".to_owned());
        }
        self.search_path = schemas.into();
        self.shared_settings = Arc::new(self.settings.all());
    }

    /// The schema that CREATE without one means.
    pub(super) fn creation_schema(&self, schema: &Schema) -> Result<String> {
        let exists = |name: &&String| {
            *name != "pg_catalog" && (*name == "public" || schema.schemas().contains(name))
        };
        let found = self.search_path.iter().find(exists).cloned();
        found.ok_or_else(|| SqlError::new("3F000", "no schema has been selected to create in"))
    }

    pub(super) fn search_path(&self) -> &Arc<[String]> {
        &self.search_path
    }

    fn current_schema(&mut self) -> Result<Arc<Schema>> {
        Ok(match &mut self.transaction {
            Some(transaction) if !transaction.is_failed() => {
                match transaction.isolation() == Isolation::ReadCommitted && transaction.is_clean()
                {
                    true => self.database.schema()?,
                    false => transaction.schema()?,
                }
            }
            _ => self.database.schema()?,
        })
    }

    pub(super) fn binder<'a>(
        &'a self,
        schema: &'a Arc<Schema>,
        statement_text: &'a str,
        parameters: Vec<Option<SqlType>>,
    ) -> Binder<'a> {
        Binder {
            schema,
            environment: &self.start.environment,
            search_path: &self.search_path,
            parameters,
            frames: Vec::new(),
            aggregates: Vec::new(),
            ctes: Vec::new(),
            locks: Vec::new(),
            depth: 0,
            text: statement_text,
        }
    }

    /// Resolves names and types. Parameters without a type get theirs from where they stand.
    ///
    /// # Errors
    /// What is wrong with the statement.
    pub fn prepare(
        &mut self,
        statement: &Statement,
        parameter_types: &[Option<SqlType>],
    ) -> Result<Arc<Prepared>> {
        if self.is_failed() && self.block && !ends_failure(&statement.command) {
            return Err(crate::transaction::Error::Failed.into());
        }
        let (kind, columns, parameters, bound) = match &*statement.command {
            Command::Utility(utility) => {
                let (kind, columns) = self.describe(utility)?;
                (kind, columns, Vec::new(), None)
            }
            Command::Sql(tree) => {
                let schema = self.current_schema()?;
                let mut binder = self.binder(&schema, &statement.text, parameter_types.to_vec());
                binder.locks.clone_from(&statement.locks);
                let bound = binder.statement(tree)?;
                let parameters = binder
                    .parameters
                    .iter()
                    .map(|known| {
                        known
                            .filter(|known| *known != SqlType::Unknown)
                            .unwrap_or(SqlType::Text)
                    })
                    .collect();
                let columns = bound.columns();
                let gives_rows = match &bound {
                    Bound::Query { .. } => true,
                    Bound::Insert(insert) => insert.target.returning.is_some(),
                    Bound::Update(update) => update.target.returning.is_some(),
                    Bound::Delete(delete) => delete.target.returning.is_some(),
                    Bound::Other => false,
                };
                let kind = if gives_rows {
                    Kind::Rows
                } else {
                    Kind::Command
                };
                (kind, columns, parameters, Some((schema, Arc::new(bound))))
            }
        };
        Ok(Arc::new(Prepared {
            statement: statement.clone(),
            parameters,
            columns,
            kind,
            bound: parking_lot::Mutex::new(bound),
        }))
    }

    fn describe(&self, utility: &Utility) -> Result<(Kind, Vec<Column>)> {
        let one = |name: &str| vec![Column::new(name, SqlType::Text)];
        Ok(match utility {
            Utility::Begin { .. }
            | Utility::Commit
            | Utility::Rollback
            | Utility::RollbackTo(_)
            | Utility::Savepoint(_)
            | Utility::Release(_) => (Kind::Transaction, Vec::new()),
            Utility::Show(name) if name == "all" => (
                Kind::Rows,
                vec![
                    Column::new("name", SqlType::Text),
                    Column::new("setting", SqlType::Text),
                    Column::new("description", SqlType::Text),
                ],
            ),
            Utility::Show(name) => (Kind::Rows, one(name)),
            Utility::Explain { .. } => (Kind::Rows, one("QUERY PLAN")),
            Utility::Execute { name, .. } => {
                let prepared = self.named(name)?;
                (prepared.kind, prepared.columns.clone())
            }
            Utility::Copy(copy) => (
                if copy.from {
                    Kind::CopyIn
                } else {
                    Kind::CopyOut
                },
                Vec::new(),
            ),
            _ => (Kind::Command, Vec::new()),
        })
    }

    pub(super) fn named(&self, name: &str) -> Result<Arc<Prepared>> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    /// The statement with the catalog as it is now.
    pub(super) fn rebind(&self, prepared: &Prepared, schema: &Arc<Schema>) -> Result<Arc<Bound>> {
        if let Some((known, bound)) = &*prepared.bound.lock()
            && Arc::ptr_eq(known, schema)
        {
            return Ok(bound.clone());
        }
        let Command::Sql(tree) = &*prepared.statement.command else {
            return Ok(Arc::new(Bound::Other));
        };
        let types = prepared
            .parameters
            .iter()
            .map(|known| Some(*known))
            .collect();
        let mut binder = self.binder(schema, &prepared.statement.text, types);
        binder.locks.clone_from(&prepared.statement.locks);
        let bound = Arc::new(binder.statement(tree)?);
        let columns = bound.columns();
        let same = columns.len() == prepared.columns.len()
            && columns
                .iter()
                .zip(&prepared.columns)
                .all(|(a, b)| a.data_type == b.data_type && a.name == b.name);
        if !same {
            return Err(SqlError::new(
                "0A000",
                "cached plan must not change result type",
            ));
        }
        *prepared.bound.lock() = Some((schema.clone(), bound.clone()));
        Ok(bound)
    }

    /// What expressions of a statement look at.
    pub(super) fn env(
        &mut self,
        t: &mut Transaction,
        bound: Option<&Bound>,
        parameters: Vec<Value>,
    ) -> Result<Arc<Env>> {
        let schema = t.schema()?;
        let mut pins = HashMap::new();
        for schema in bound.map(Bound::virtual_schemas).unwrap_or_default() {
            let tables = self
                .start
                .environment
                .virtual_tables
                .iter()
                .find(|tables| tables.schema() == schema);
            if let Some(tables) = tables {
                let pin = match (self.began.isolation, self.pins.get(&schema)) {
                    (Isolation::RepeatableRead | Isolation::Serializable, Some(pin)) => pin.clone(),
                    _ => tables.pin()?,
                };
                self.pins.insert(schema.clone(), pin.clone());
                pins.insert(schema, pin);
            }
        }
        Ok(Arc::new(Env {
            parameters,
            now: self.now,
            reader: Some(t.reader()?),
            context: VirtualContext {
                schema,
                user: self.user.clone(),
                database: self.database_name.clone(),
                search_path: self.search_path.clone(),
            },
            pins,
            canceller: Some(self.canceller.clone()),
            outcomes: parking_lot::Mutex::new(Outcomes::default()),
            settings: self.shared_settings.clone(),
            patterns: parking_lot::Mutex::default(),
            held: Default::default(),
        }))
    }

    fn default_begin(&self) -> Begin {
        let isolation = match self.settings.get("default_transaction_isolation") {
            Some("serializable") => Isolation::Serializable,
            Some("repeatable read") => Isolation::RepeatableRead,
            _ => Isolation::ReadCommitted,
        };
        Begin {
            isolation,
            read_only: self.settings.is_on("default_transaction_read_only"),
            lock_timeout_ms: self.settings.timeout_ms("lock_timeout"),
        }
    }

    /// Begins a transaction, unless there is one.
    pub(super) fn begin(&mut self, modes: Modes) {
        if self.transaction.is_none() && !self.failed {
            let mut begin = self.default_begin();
            begin.isolation = modes.isolation.unwrap_or(begin.isolation);
            begin.read_only = modes.read_only.unwrap_or(begin.read_only);
            self.began = begin;
            self.transaction = Some(self.database.begin_as(self.owner, begin));
            self.used = false;
            self.now = time::clock();
            self.before = Some(self.settings.clone());
        }
    }

    /// The modes of a transaction that has done nothing yet.
    pub(super) fn change_modes(&mut self, modes: Modes) -> Result<()> {
        if self.used
            && modes
                .isolation
                .is_some_and(|isolation| isolation != self.began.isolation)
        {
            return Err(SqlError::new(
                "25001",
                "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            ));
        }
        if self.used && modes.read_only == Some(false) && self.began.read_only {
            return Err(SqlError::new(
                "25001",
                "transaction read-write mode must be set before any query",
            ));
        }
        if self.used && modes.read_only == Some(true) && !self.began.read_only {
            return Err(SqlError::unsupported(
                "SET TRANSACTION READ ONLY after the first query",
            ));
        }
        if !self.used {
            self.began.isolation = modes.isolation.unwrap_or(self.began.isolation);
            self.began.read_only = modes.read_only.unwrap_or(self.began.read_only);
            self.transaction = None;
            self.transaction = Some(self.database.begin_as(self.owner, self.began));
        }
        Ok(())
    }

    /// Executes a statement. After an error, also one that comes with a row, the transaction has
    /// failed; `execute` says so itself, a row's error is told with `fail`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Value>,
    ) -> Result<Answer> {
        let outcome = self.execute_inside(prepared, parameters).await;
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    async fn execute_inside(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Value>,
    ) -> Result<Answer> {
        self.copy = None;
        if self.is_failed() && !ends_failure(&prepared.statement.command) {
            return Err(crate::transaction::Error::Failed.into());
        }
        self.canceller.check()?;
        if parameters.len() != prepared.parameters.len() {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but the statement requires {}",
                    parameters.len(),
                    prepared.parameters.len()
                ),
            ));
        }
        match &*prepared.statement.command {
            Command::Utility(utility) => Box::pin(self.utility(utility, prepared)).await,
            Command::Sql(_) => self.run_sql(prepared, parameters).await,
        }
    }

    /// Runs a statement about data or the catalog, again while its rows change under it.
    pub(super) async fn run_sql(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Value>,
    ) -> Result<Answer> {
        self.begin(Modes::default());
        self.used = true;
        let lock_timeout = self.settings.timeout_ms("lock_timeout");
        // A future that is dropped half way takes the transaction with it.
        let Some(mut t) = self.transaction.take() else {
            return Err(crate::transaction::Error::Failed.into());
        };
        let was_failed = std::mem::replace(&mut self.failed, true);
        t.set_lock_timeout_ms(lock_timeout);
        let outcome = self.restarting(&mut t, prepared, &parameters).await;
        self.failed = was_failed;
        self.transaction = Some(t);
        outcome
    }

    async fn restarting(
        &mut self,
        t: &mut Transaction,
        prepared: &Arc<Prepared>,
        parameters: &[Value],
    ) -> Result<Answer> {
        for _ in 0..=RESTARTS_MAX {
            t.begin_statement()?;
            let mut outcome = self.body(t, prepared, parameters).await;
            if outcome.is_ok()
                && let Err(error) = t.finish_statement().await
            {
                outcome = Err(error.into());
            }
            match outcome {
                Err(error) if error.restart => t.drop_statement(),
                Err(error) => {
                    t.drop_statement();
                    t.fail();
                    return Err(error);
                }
                Ok(answer) => return Ok(answer),
            }
        }
        t.fail();
        Err(crate::transaction::Error::Serialization(
            "the statement's rows changed each time it ran",
        )
        .into())
    }

    async fn body(
        &mut self,
        t: &mut Transaction,
        prepared: &Arc<Prepared>,
        parameters: &[Value],
    ) -> Result<Answer> {
        let schema = t.schema()?;
        let bound = self.rebind(prepared, &schema)?;
        match &*bound {
            Bound::Other => {
                let Command::Sql(tree) = &*prepared.statement.command else {
                    return Err(SqlError::new("XX000", "a utility is no definition"));
                };
                Box::pin(self.define(t, tree, &prepared.statement.text)).await
            }
            _ => {
                let env = self.env(t, Some(&bound), parameters.to_vec())?;
                self.run_bound(t, &bound, env).await
            }
        }
    }

    /// The end of a simple query or Sync: commits an implicit transaction, or rolls back a failed one.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn sync(&mut self) -> Result<()> {
        if self.block {
            return Ok(());
        }
        if self.is_failed() || self.copy.is_some() {
            self.roll_back();
            return Ok(());
        }
        self.commit().await
    }

    /// Commits what there is.
    pub(super) async fn commit(&mut self) -> Result<()> {
        self.block = false;
        let outcome = match self.transaction.take() {
            Some(transaction) => transaction.commit().await.map(drop),
            None => Ok(()),
        };
        match outcome {
            Ok(()) => {
                for (name, value) in std::mem::take(&mut self.hidden).into_iter().rev() {
                    self.settings.set(&name, value.as_deref())?;
                }
                self.after_transaction();
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(error.into())
            }
        }
    }

    /// Undoes what there is.
    pub(super) fn roll_back(&mut self) {
        self.block = false;
        self.transaction = None;
        self.hidden.clear();
        if let Some(before) = self.before.take() {
            self.settings = before;
        }
        self.after_transaction();
    }

    fn after_transaction(&mut self) {
        self.failed = false;
        self.copy = None;
        self.before = None;
        self.created.clear();
        self.pins.clear();
        self.settings_changed();
    }

    /// ROLLBACK TO makes a failed transaction go on.
    pub(super) fn unfail(&mut self) {
        self.failed = false;
    }

    /// True if the transaction can only be rolled back.
    pub(super) fn has_failed(&self) -> bool {
        self.is_failed()
    }

    /// Something went wrong outside `execute`: a row, a parameter, a limit. The transaction has failed.
    pub fn fail(&mut self) {
        self.copy = None;
        match &mut self.transaction {
            Some(transaction) => {
                transaction.drop_statement();
                transaction.fail();
            }
            None => self.failed |= self.block,
        }
    }

    /// Messages since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn notice(
        &mut self,
        severity: &'static str,
        sqlstate: &'static str,
        message: String,
    ) {
        self.notices.push(Notice {
            severity,
            sqlstate,
            message,
        });
    }

    /// Settings that ParameterStatus reports, with their values now.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        self.settings.reported()
    }

    /// Those of them that changed since the last call.
    pub fn take_changed_settings(&mut self) -> Vec<(&'static str, String)> {
        let now = self.settings.reported();
        let before = std::mem::replace(&mut self.reported, now.clone());
        now.into_iter()
            .filter(|one| !before.contains(one))
            .collect()
    }

    /// A setting's value as SHOW writes it.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).map(str::to_owned)
    }

    /// A timeout in milliseconds, zero for none: `statement_timeout`,
    /// `idle_in_transaction_session_timeout`, `idle_session_timeout`.
    pub fn timeout_ms(&self, name: &str) -> u64 {
        self.settings.timeout_ms(name)
    }

    /// Who it is.
    pub fn user(&self) -> &str {
        &self.start.user
    }

    /// Its database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Rows that are there already.
    pub(super) fn rows_of(
        columns: Vec<Column>,
        rows: Vec<Vec<Value>>,
        tag: &'static str,
    ) -> Answer {
        let mut rows = Rows::new(columns, Box::new(rows.into_iter().map(Ok)), tag);
        if tag == "SHOW" || tag == "EXPLAIN" {
            rows.fixed = Some(tag.to_owned());
        }
        Answer::Rows(rows)
    }
}

fn ends_failure(command: &Command) -> bool {
    matches!(
        command,
        Command::Utility(Utility::Commit | Utility::Rollback | Utility::RollbackTo(_))
    )
}

impl Drop for Session {
    fn drop(&mut self) {
        self.transaction = None;
        self.database.locks().end_session(self.owner);
    }
}

/// A value of a type from its text form, as a parameter or a literal has it.
///
/// # Errors
/// 22P02, 22007, 22003 and the like.
pub fn value_from_text(data_type: SqlType, text: &str) -> Result<Value> {
    text::read(data_type, text)
}

/// The text form of a value; none for NULL. `char(n)` comes without its padding.
pub fn value_to_text(data_type: SqlType, value: &Value) -> Option<String> {
    let _ = data_type;
    text::write(value)
}
