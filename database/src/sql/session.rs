//! A session: one connection's settings, transaction, prepared statements and locks.
//!
//! Order of calls of a wire: `parse` → for each statement `prepare`, `execute`, all rows → `sync` at
//! the end of a simple query or at Sync: it commits an implicit transaction. With several statements in
//! one text the session is in one implicit transaction until `sync`.

use super::answer::Answer;
use super::error::{Notice, Result, SqlError};
use super::planner::Planner;
use super::statement::{Prepared, Statement};
use super::types::SqlType;
use super::virtual_table::VirtualTables;
use crate::lock::OwnerId;
use crate::transaction::Database;
use crate::types::Value;
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
    database: Arc<Database>,
    start: SessionStart,
    canceller: Canceller,
}

impl Session {
    /// Begins a session.
    ///
    /// # Errors
    /// 22023, 42704: a setting that is unknown or has a bad value.
    pub fn new(database: Arc<Database>, start: SessionStart) -> Result<Self> {
        let canceller = Canceller {
            owner: database.new_owner(),
            database: database.clone(),
            reason: Arc::default(),
            flag: Arc::default(),
        };
        Ok(Session {
            database,
            start,
            canceller,
        })
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
        TransactionStatus::Idle
    }

    /// Splits a text into statements; none for an empty one.
    ///
    /// # Errors
    /// 42601, 54001.
    pub fn parse(&mut self, text: &str) -> Result<Vec<Statement>> {
        let _ = text;
        Err(SqlError::unsupported("parsing"))
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
        let _ = (statement, parameter_types);
        Err(SqlError::unsupported("preparing"))
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
        let _ = (prepared, parameters);
        Err(SqlError::unsupported("executing"))
    }

    /// The end of a simple query or Sync: commits an implicit transaction, or rolls back a failed one.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    /// Something went wrong outside `execute`: a row, a parameter, a limit. The transaction has failed.
    pub fn fail(&mut self) {}

    /// Bytes of a COPY FROM STDIN, cut anywhere.
    ///
    /// # Errors
    /// What is wrong with a line.
    pub async fn copy_data(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(SqlError::unsupported("COPY"))
    }

    /// The end of a COPY FROM STDIN: its tag.
    ///
    /// # Errors
    /// What is wrong with the last line; what is checked at the statement's end.
    pub async fn copy_done(&mut self) -> Result<String> {
        Err(SqlError::unsupported("COPY"))
    }

    /// The client gave up a COPY FROM STDIN.
    pub fn copy_fail(&mut self, reason: &str) -> SqlError {
        SqlError::new("57014", format!("COPY from stdin failed: {reason}"))
    }

    /// Messages since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// Settings that ParameterStatus reports, with their values now.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Those of them that changed since the last call.
    pub fn take_changed_settings(&mut self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A setting's value as SHOW writes it.
    pub fn setting(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// A timeout in milliseconds, zero for none: `statement_timeout`,
    /// `idle_in_transaction_session_timeout`, `idle_session_timeout`.
    pub fn timeout_ms(&self, name: &str) -> u64 {
        let _ = name;
        0
    }

    /// Who it is.
    pub fn user(&self) -> &str {
        &self.start.user
    }

    /// Its database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.database.locks().end_session(self.canceller.owner);
    }
}

/// A value of a type from its text form, as a parameter or a literal has it.
///
/// # Errors
/// 22P02, 22007, 22003 and the like.
pub fn value_from_text(data_type: SqlType, text: &str) -> Result<Value> {
    let _ = (data_type, text);
    Err(SqlError::unsupported("text parameters"))
}

/// The text form of a value; none for NULL.
pub fn value_to_text(data_type: SqlType, value: &Value) -> Option<String> {
    let _ = (data_type, value);
    None
}
