//! What a transaction may answer, with its SQLSTATE.
//!
//! Invariant: an outcome that is not known is `Unknown` (08007), never a plain failure.

use crate::key::KeyError;
use crate::lock::LockError;
use crate::row::RowError;
use crate::store::StoreError;

/// Result of the transaction layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An answer that is not the one hoped for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 40001: the same transaction may succeed when it is run again.
    #[error("could not serialize access: {0}")]
    Serialization(&'static str),
    /// 40P01.
    #[error("deadlock detected")]
    Deadlock,
    /// 55P03: `NOWAIT` or `lock_timeout`.
    #[error("could not obtain lock: {0}")]
    LockNotAvailable(&'static str),
    /// 57014: cancelled, or `statement_timeout`.
    #[error("canceling statement due to {0}")]
    Cancelled(&'static str),
    /// 25006.
    #[error("cannot execute {0} in a read-only transaction")]
    ReadOnly(&'static str),
    /// 25P02: an earlier statement failed.
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    Failed,
    /// 25000: the call does not fit the state of the transaction.
    #[error("invalid transaction state: {0}")]
    State(&'static str),
    /// 3B001.
    #[error("savepoint \"{0}\" does not exist")]
    NoSavepoint(String),
    /// 08007: the transaction may be committed or not.
    #[error("the outcome of the transaction is unknown: {0}")]
    Unknown(String),
    /// 57P01: the database takes no more commits.
    #[error("the database has stopped: {0}; restart the node to recover")]
    Stopped(String),
    /// 23505.
    #[error("duplicate key value violates unique constraint \"{constraint}\"")]
    Unique {
        /// The index's name.
        constraint: String,
    },
    /// 23503.
    #[error("violates foreign key constraint \"{constraint}\" on table \"{table}\"")]
    ForeignKey {
        /// The constraint's name.
        constraint: String,
        /// The table that has it.
        table: String,
    },
    /// 23514.
    #[error("new row for relation \"{table}\" violates check constraint \"{constraint}\"")]
    Check {
        /// The constraint's name.
        constraint: String,
        /// The table that has it.
        table: String,
    },
    /// 23502.
    #[error(
        "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
    )]
    NotNull {
        /// The column's name.
        column: String,
        /// The table that has it.
        table: String,
    },
    /// 42P01, 42704.
    #[error("{kind} \"{name}\" does not exist")]
    Undefined {
        /// Of what.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// 42P07, 42710.
    #[error("{kind} \"{name}\" already exists")]
    Duplicate {
        /// Of what.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// 2BP01.
    #[error("cannot drop \"{name}\" because other objects depend on it")]
    Dependent {
        /// Its name.
        name: String,
    },
    /// 2200H.
    #[error("nextval: reached {bound} value of sequence \"{name}\"")]
    SequenceEnd {
        /// The sequence.
        name: String,
        /// Maximum or minimum.
        bound: &'static str,
    },
    /// 54000: a limit of ours.
    #[error("{0}")]
    Limit(String),
    /// 42704: an operation that a type does not have.
    #[error("{0}")]
    Type(String),
    /// 72000.
    #[error("snapshot too old: timestamp {at} is below the horizon {horizon}")]
    SnapshotTooOld {
        /// Asked for.
        at: u64,
        /// The lowest readable one.
        horizon: u64,
    },
    /// XX001: what is stored makes no sense.
    #[error("{0}")]
    Damaged(String),
    /// 58030: the disk or its engine failed.
    #[error("{0}")]
    Fault(String),
    /// Not for clients: the statement begins anew over a newer snapshot.
    #[error("the statement is run again")]
    Restart,
}

impl Error {
    /// The five characters that clients decide by.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::Serialization(_) | Error::Restart => "40001",
            Error::Deadlock => "40P01",
            Error::LockNotAvailable(_) => "55P03",
            Error::Cancelled(_) => "57014",
            Error::ReadOnly(_) => "25006",
            Error::Failed => "25P02",
            Error::State(_) => "25000",
            Error::NoSavepoint(_) => "3B001",
            Error::Unknown(_) => "08007",
            Error::Stopped(_) => "57P01",
            Error::Unique { .. } => "23505",
            Error::ForeignKey { .. } => "23503",
            Error::Check { .. } => "23514",
            Error::NotNull { .. } => "23502",
            Error::Undefined {
                kind: "relation", ..
            } => "42P01",
            Error::Undefined { .. } => "42704",
            Error::Duplicate {
                kind: "relation", ..
            } => "42P07",
            Error::Duplicate { .. } => "42710",
            Error::Dependent { .. } => "2BP01",
            Error::SequenceEnd { .. } => "2200H",
            Error::Limit(_) => "54000",
            Error::Type(_) => "42704",
            Error::SnapshotTooOld { .. } => "72000",
            Error::Damaged(_) => "XX001",
            Error::Fault(_) => "58030",
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BelowHorizon { at, horizon } => Error::SnapshotTooOld { at, horizon },
            StoreError::Damaged(_) => Error::Damaged(error.to_string()),
            StoreError::Engine { .. } => Error::Fault(error.to_string()),
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::NotAvailable(why) => Error::LockNotAvailable(why),
            LockError::Deadlock => Error::Deadlock,
            LockError::Cancelled => Error::Cancelled("user request"),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NoOrder(_) => Error::Type(error.to_string()),
            KeyError::TooLong { .. } => Error::Limit(error.to_string()),
        }
    }
}

impl From<RowError> for Error {
    fn from(error: RowError) -> Self {
        match error {
            RowError::TooBig { .. } => Error::Limit(error.to_string()),
            _ => Error::Damaged(error.to_string()),
        }
    }
}
