//! Lock modes and what conflicts with what.
//!
//! Rows have PostgreSQL's four modes (its manual, "Explicit Locking", table 13.3), tables the two
//! intents, S and X of Gray's hierarchy, advisory locks shared and exclusive.

/// One mode. Which modes fit a target is the caller's affair: rows never meet table modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Mode {
    /// Row: `FOR KEY SHARE`; its key stays (what a foreign key needs of the parent).
    KeyShare = 1,
    /// Row: `FOR SHARE`; the row stays as it is.
    Share = 1 << 1,
    /// Row: `FOR NO KEY UPDATE`; an update that leaves every key alone.
    NoKeyUpdate = 1 << 2,
    /// Row: `FOR UPDATE`, deletes, changes of a key.
    Update = 1 << 3,
    /// Table: rows below are locked for reading.
    IntentShare = 1 << 4,
    /// Table: rows below are changed.
    IntentExclusive = 1 << 5,
    /// Table: nobody changes rows.
    TableShare = 1 << 6,
    /// Table: for one owner alone.
    TableExclusive = 1 << 7,
    /// `pg_advisory_lock_shared`.
    AdvisoryShared = 1 << 8,
    /// `pg_advisory_lock`.
    AdvisoryExclusive = 1 << 9,
}

impl Mode {
    /// The modes that nobody else may hold beside this one.
    pub const fn conflicts(self) -> Modes {
        use Mode::*;
        Modes(match self {
            KeyShare => Update as u16,
            Share => NoKeyUpdate as u16 | Update as u16,
            NoKeyUpdate => Share as u16 | NoKeyUpdate as u16 | Update as u16,
            Update => KeyShare as u16 | Share as u16 | NoKeyUpdate as u16 | Update as u16,
            IntentShare => TableExclusive as u16,
            IntentExclusive => TableShare as u16 | TableExclusive as u16,
            TableShare => IntentExclusive as u16 | TableExclusive as u16,
            TableExclusive => {
                IntentShare as u16
                    | IntentExclusive as u16
                    | TableShare as u16
                    | TableExclusive as u16
            }
            AdvisoryShared => AdvisoryExclusive as u16,
            AdvisoryExclusive => AdvisoryShared as u16 | AdvisoryExclusive as u16,
        })
    }

    /// The intent that a lock of this mode on a row needs on its table.
    pub const fn intent(self) -> Mode {
        match self {
            Mode::KeyShare | Mode::Share => Mode::IntentShare,
            _ => Mode::IntentExclusive,
        }
    }

    /// The lock on a whole table that gives at least as much as this mode on any of its rows.
    pub const fn escalated(self) -> Mode {
        match self {
            Mode::KeyShare | Mode::Share => Mode::TableShare,
            _ => Mode::TableExclusive,
        }
    }

    const fn all() -> [Mode; 10] {
        use Mode::*;
        [
            KeyShare,
            Share,
            NoKeyUpdate,
            Update,
            IntentShare,
            IntentExclusive,
            TableShare,
            TableExclusive,
            AdvisoryShared,
            AdvisoryExclusive,
        ]
    }
}

/// A set of modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes(u16);

impl Modes {
    /// No mode.
    pub const NONE: Modes = Modes(0);

    /// With one more.
    pub const fn with(self, mode: Mode) -> Modes {
        Modes(self.0 | mode as u16)
    }

    /// Both together.
    pub const fn union(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }

    /// True if there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if the mode is one of them.
    pub const fn has(self, mode: Mode) -> bool {
        self.0 & mode as u16 != 0
    }

    /// True if any of these stands against `mode`.
    pub const fn conflict_with(self, mode: Mode) -> bool {
        self.0 & mode.conflicts().0 != 0
    }

    /// All modes that these keep others from.
    pub fn conflicts(self) -> Modes {
        let held = Mode::all().into_iter().filter(|mode| self.has(*mode));
        held.fold(Modes::NONE, |all, mode| all.union(mode.conflicts()))
    }

    /// True if every one of `other` is in this set.
    pub const fn contains(self, other: Modes) -> bool {
        other.0 & !self.0 == 0
    }

    /// True if whoever holds these has all that `mode` would give.
    pub fn cover(self, mode: Mode) -> bool {
        !self.is_empty() && self.conflicts().contains(mode.conflicts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrices_are_the_published_ones() {
        use Mode::*;
        // PostgreSQL's manual, table 13.3; Gray's matrix without SIX.
        let rows = [KeyShare, Share, NoKeyUpdate, Update];
        let tables = [IntentShare, IntentExclusive, TableShare, TableExclusive];
        let row_conflicts = ["...X", "..XX", ".XXX", "XXXX"];
        let table_conflicts = ["...X", "..XX", ".X.X", "XXXX"];
        for (modes, matrix) in [(rows, row_conflicts), (tables, table_conflicts)] {
            for (a, line) in modes.into_iter().zip(matrix) {
                for (b, cell) in modes.into_iter().zip(line.chars()) {
                    let conflict = Modes::NONE.with(a).conflict_with(b);
                    assert_eq!(conflict, cell == 'X', "{a:?} and {b:?}");
                }
            }
        }
        for a in Mode::all() {
            for b in Mode::all() {
                assert_eq!(a.conflicts().has(b), b.conflicts().has(a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_stronger_mode_covers_a_weaker_one() {
        use Mode::*;
        let covers = |held: Mode, wanted| Modes::NONE.with(held).cover(wanted);
        assert!(covers(Update, KeyShare) && covers(NoKeyUpdate, Share) && covers(Share, KeyShare));
        assert!(!covers(Share, NoKeyUpdate) && !covers(NoKeyUpdate, Update));
        assert!(covers(IntentExclusive, IntentShare) && covers(TableExclusive, TableShare));
        assert!(!covers(IntentExclusive, TableShare) && !covers(TableShare, IntentExclusive));
        assert!(!Modes::NONE.cover(KeyShare));
    }
}
