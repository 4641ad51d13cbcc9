//! What an expression asks of the world: numbers of a sequence, advisory locks, notifications.
//!
//! Expressions are computed without waiting. One that needs an effect stops with it; the session brings
//! it about and computes the row again, with the outcomes so far at hand.
//! Invariant: the same row asks for the same effects in the same order, so each happens once.

use crate::types::Value;

/// Something to be done before a row can be computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// `nextval`
    NextValue {
        /// The sequence's id.
        sequence: u64,
    },
    /// `setval`
    SetValue {
        /// The sequence's id.
        sequence: u64,
        /// The value.
        value: i64,
        /// It was given out: the next one follows it.
        is_called: bool,
    },
    /// `currval`
    CurrentValue {
        /// The sequence's id.
        sequence: u64,
    },
    /// `lastval`
    LastValue,
    /// An advisory lock.
    Advisory {
        /// Its space and key.
        key: (u8, u64),
        /// Others may share it.
        shared: bool,
        /// Until the end of the transaction, else of the session.
        transaction: bool,
        /// Do not wait.
        attempt: bool,
    },
    /// Gives an advisory lock of the session back.
    Unlock {
        /// Its space and key.
        key: (u8, u64),
        /// It is held shared.
        shared: bool,
    },
    /// Gives all of them back.
    UnlockAll,
    /// `pg_notify`
    Notify {
        /// To whom.
        channel: String,
        /// What.
        payload: String,
    },
    /// `set_config`
    Configure {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// Until the end of the transaction.
        local: bool,
    },
}

impl Eq for Effect {}

/// The outcomes of the effects of the row that is computed.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub(super) done: Vec<Value>,
    pub(super) next: usize,
}
