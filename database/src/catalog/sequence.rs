//! Handing out values of sequences: only those of a reservation that is committed.
//!
//! Invariant: a value is given once, also across a crash: the log says which values may be out, and a
//! restart goes on behind them. Values are outside the transaction: a rollback leaves a gap.

use super::object::Sequence;
use crate::lock::{Mode, Target, Wait};
use crate::store::SEQUENCES;
use crate::transaction::{Begin, Database, Error, Result};
use std::sync::Arc;

/// Values of one reservation: one entry of the log for so many rows.
const RESERVED_VALUES: u64 = 64;
/// Numbers of rows without a primary key, reserved at once.
const RESERVED_ROWS: u64 = 1 << 16;
/// The sequence of row numbers.
const ROW_NUMBERS: u64 = 0;

/// What is left of a reservation.
#[derive(Debug, Clone, Copy)]
pub struct Reserved {
    next: i64,
    left: u64,
}

impl Database {
    /// The next value of a sequence.
    ///
    /// # Errors
    /// `SequenceEnd`; those of a commit.
    pub async fn next_value(self: &Arc<Self>, sequence: &Sequence) -> Result<i64> {
        loop {
            if let Some(value) = self.take_reserved(sequence.id, sequence.increment) {
                return Ok(value);
            }
            self.reserve(sequence, RESERVED_VALUES).await?;
        }
    }

    /// A number for a row of a table without a primary key.
    pub(crate) async fn next_row_number(self: &Arc<Self>) -> Result<i64> {
        loop {
            if let Some(value) = self.take_reserved(ROW_NUMBERS, 1) {
                return Ok(value);
            }
            let rows = Sequence {
                id: ROW_NUMBERS,
                schema: String::new(),
                name: "row numbers".to_owned(),
                start: 1,
                increment: 1,
                min: 1,
                max: i64::MAX,
                cycle: false,
                owned_by: None,
            };
            self.reserve(&rows, RESERVED_ROWS).await?;
        }
    }

    /// Makes a sequence go on from a value (`setval`): the next one given out is `next`.
    ///
    /// # Errors
    /// `SequenceEnd` outside its bounds; those of a commit.
    pub async fn set_value(self: &Arc<Self>, sequence: &Sequence, next: i64) -> Result<()> {
        if next < sequence.min || next > sequence.max {
            return Err(end(sequence));
        }
        let owner = self.lock_sequence(sequence.id).await?;
        let last = next.checked_sub(sequence.increment);
        let outcome = match last {
            Some(last) => self.commit_reservation(sequence.id, last).await,
            None => Err(end(sequence)),
        };
        self.reserved.lock().remove(&sequence.id);
        self.locks().end_session(owner);
        outcome
    }

    fn take_reserved(&self, id: u64, increment: i64) -> Option<i64> {
        let mut reserved = self.reserved.lock();
        let of_sequence = reserved.get_mut(&id)?;
        if of_sequence.left == 0 {
            return None;
        }
        let value = of_sequence.next;
        of_sequence.left -= 1;
        of_sequence.next = value.wrapping_add(increment);
        Some(value)
    }

    async fn lock_sequence(&self, id: u64) -> Result<crate::lock::OwnerId> {
        let owner = self.new_owner();
        let target = Target::Row(0, SEQUENCES.0, id.to_be_bytes().as_slice().into());
        self.locks()
            .acquire(owner, target, Mode::Update, Wait::Until(None))
            .await?;
        Ok(owner)
    }

    async fn reserve(self: &Arc<Self>, sequence: &Sequence, count: u64) -> Result<()> {
        let owner = self.lock_sequence(sequence.id).await?;
        let outcome = self.reserve_locked(sequence, count).await;
        self.locks().end_session(owner);
        outcome
    }

    async fn reserve_locked(self: &Arc<Self>, sequence: &Sequence, count: u64) -> Result<()> {
        let full = |reserved: &Reserved| reserved.left > 0;
        if self.reserved.lock().get(&sequence.id).is_some_and(full) {
            return Ok(());
        }
        let last = self.reservation(sequence.id)?;
        let step = i128::from(sequence.increment);
        let first = last.map_or(i128::from(sequence.start), |last| i128::from(last) + step);
        let inside = |value: i128| (sequence.min.into()..=sequence.max.into()).contains(&value);
        let first = match inside(first) {
            true => first,
            false if sequence.cycle && step > 0 => sequence.min.into(),
            false if sequence.cycle => sequence.max.into(),
            false => return Err(end(sequence)),
        };
        let room = match step > 0 {
            true => (i128::from(sequence.max) - first) / step,
            false => (first - i128::from(sequence.min)) / -step,
        };
        let count = room.saturating_add(1).min(count.into());
        let last = first + (count - 1) * step;
        let (Ok(next), Ok(last), Ok(left)) = (
            i64::try_from(first),
            i64::try_from(last),
            u64::try_from(count),
        ) else {
            return Err(end(sequence));
        };
        self.commit_reservation(sequence.id, last).await?;
        self.reserved
            .lock()
            .insert(sequence.id, Reserved { next, left });
        Ok(())
    }

    async fn commit_reservation(self: &Arc<Self>, id: u64, last: i64) -> Result<()> {
        let mut transaction = self.begin(Begin::default());
        transaction.put_raw(
            SEQUENCES,
            &id.to_be_bytes(),
            Some(last.to_le_bytes().to_vec()),
        )?;
        transaction.commit().await.map(drop)
    }
}

fn end(sequence: &Sequence) -> Error {
    Error::SequenceEnd {
        name: sequence.name.clone(),
        bound: if sequence.increment > 0 {
            "maximum"
        } else {
            "minimum"
        },
    }
}
