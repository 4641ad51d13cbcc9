//! `interval`: months, days and microseconds, kept apart as PostgreSQL keeps them.
//!
//! Invariant: two intervals are equal when they are equally long with a month of 30 days and a day
//! of 24 hours (`1 month` = `30 days`), whatever they are made of.

use std::cmp::Ordering;

const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;
const DAYS_PER_MONTH: i128 = 30;

/// A span of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interval {
    /// Months; a year is twelve.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds; an hour is 3,600,000,000.
    pub microseconds: i64,
}

impl Interval {
    /// The length by which intervals compare, in microseconds.
    pub fn span(&self) -> i128 {
        let days = i128::from(self.months) * DAYS_PER_MONTH + i128::from(self.days);
        days * MICROSECONDS_PER_DAY + i128::from(self.microseconds)
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Self) -> bool {
        self.span() == other.span()
    }
}

impl Eq for Interval {}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.span().cmp(&other.span())
    }
}
