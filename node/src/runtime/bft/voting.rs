//! In which instances this node may vote, after what its safety file said at the start.
//!
//! Invariant: no vote in an instance in which an earlier run may have promised something that is
//! not known any more. Rules: `spec/09-bft.md#restart`.

use cairn_consensus::pbft::SafetyRecord;
use cairn_protocol::bft::Instance;
use cairn_storage::safety::LastPromise;

/// What an earlier run leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voting {
    /// The first instance in which it may vote.
    first: Instance,
    /// The promises of that instance.
    record: Option<SafetyRecord>,
    /// Why earlier instances are left out, in words for an operator.
    pub caution: Option<String>,
}

impl Voting {
    /// Judges the safety file, with the chain's tip at `tip`.
    ///
    /// Errors: the file says nothing that can be relied upon.
    pub fn after(last: &LastPromise, tip: Instance) -> Result<Voting, String> {
        let decode = |bytes: &[u8]| {
            SafetyRecord::from_bytes(bytes).map_err(|error| format!("its record: {error}"))
        };
        let free = |first, caution| Voting {
            first,
            record: None,
            caution,
        };
        match last {
            LastPromise::New if tip == 0 => Ok(free(1, None)),
            // A lost file on a chain that runs: the instance under way and the next are left out.
            LastPromise::New => {
                let first = tip.saturating_add(3);
                let caution = format!(
                    "the safety file is new on a chain of height {tip}: no vote before height \
                     {first}, in case an earlier one was lost"
                );
                Ok(free(first, Some(caution)))
            }
            LastPromise::Record(bytes) => {
                let record = decode(bytes)?;
                let first = record.instance;
                let caution = (first > tip.saturating_add(1)).then(|| {
                    format!(
                        "the key has voted at height {first}, the chain is at {tip}: an older data \
                         directory? No vote before height {first}"
                    )
                });
                let record = Some(record);
                Ok(Voting {
                    first,
                    record,
                    caution,
                })
            }
            // The damaged slot may have been of the older one's instance or of a later one: at most of
            // the one under way.
            LastPromise::Damaged { older: Some(bytes) } => {
                let older = decode(bytes)?.instance;
                let first = older.saturating_add(2).max(tip.saturating_add(3));
                let caution = format!(
                    "the last promise of the safety file is damaged (a torn write?): no vote before \
                     height {first}"
                );
                Ok(free(first, Some(caution)))
            }
            LastPromise::Damaged { older: None } => Err(
                "both of its promises are damaged: nobody knows what this key has signed; move \
                 the file away only if the key has not voted in the last hour"
                    .to_owned(),
            ),
        }
    }

    /// Whether it may vote in `instance`.
    pub fn allows(&self, instance: Instance) -> bool {
        instance >= self.first
    }

    /// The promises that an earlier run made in `instance`.
    pub fn record(&self, instance: Instance) -> Option<SafetyRecord> {
        let record = self.record.as_ref()?;
        (record.instance == instance).then(|| record.clone())
    }

    /// A record is on disk: an instance that begins again begins from it.
    pub fn remember(&mut self, record: SafetyRecord) {
        self.record = Some(record);
    }

    /// A promise may have been forgotten in `instance`: no vote in it any more.
    pub fn give_up(&mut self, instance: Instance) {
        self.first = self.first.max(instance.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::hash::Hash;

    fn record(instance: Instance) -> SafetyRecord {
        SafetyRecord {
            ruleset_id: Hash([1; 32]),
            instance,
            round: 3,
            proposed: None,
            prepare: None,
            prepared: None,
        }
    }

    #[test]
    fn what_may_be_voted_on() {
        let bytes = record(7).to_bytes();
        let table = [
            ("first start", LastPromise::New, 0, 1, None),
            ("lost file", LastPromise::New, 9, 12, None),
            ("restart", LastPromise::Record(bytes.clone()), 6, 7, Some(7)),
            (
                "decided since",
                LastPromise::Record(bytes.clone()),
                9,
                7,
                None,
            ),
            (
                "older directory",
                LastPromise::Record(bytes.clone()),
                2,
                7,
                Some(7),
            ),
            (
                "torn",
                LastPromise::Damaged {
                    older: Some(bytes.clone()),
                },
                6,
                9,
                None,
            ),
        ];
        for (what, last, tip, first, with_record) in table {
            let voting = Voting::after(&last, tip).unwrap();
            assert!(!voting.allows(first - 1), "{what}");
            assert!(voting.allows(first), "{what}");
            if let Some(instance) = with_record {
                assert_eq!(voting.record(instance), Some(record(instance)), "{what}");
                assert_eq!(voting.record(instance + 1), None, "{what}");
            }
            let silent = matches!(what, "first start" | "restart" | "decided since");
            assert_eq!(voting.caution.is_none(), silent, "{what}");
        }
        assert!(Voting::after(&LastPromise::Damaged { older: None }, 6).is_err());
        assert!(Voting::after(&LastPromise::Record(vec![1, 2, 3]), 6).is_err());
    }

    #[test]
    fn a_failed_write_ends_the_vote_of_its_instance_only() {
        let mut voting = Voting::after(&LastPromise::New, 0).unwrap();
        voting.give_up(5);
        assert!(!voting.allows(5));
        assert!(voting.allows(6));
    }
}
