//! The jobs that a session was given, and the shares that come back for them.
//!
//! Invariants: a share counts once; a job of an old tip takes no shares; a job's difficulty only
//! falls after it was handed out, so that work done in good faith counts; at most [`JOBS_MAX`] jobs
//! and [`SHARES_REMEMBERED_MAX`] shares are held. Rules: `spec/14-mining.md#shares`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::header::{Header, VERSION_ROLL_MASK};
use ruint::aliases::U256;

use super::difficulty::Difficulty;
use super::job::{EXTRA_NONCE_HALF, Found, Work, digest, put_extra_nonce};
use super::limits::{JOBS_MAX, SHARES_REMEMBERED_MAX, TIME_AHEAD_S_MAX};
use super::message::{Code, Refusal, Submission};

/// What became of a share, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// Its job is unknown or of an old tip.
    Stale,
    /// It was sent before.
    Duplicate,
    /// It misses its target.
    LowDifficulty,
    /// Its fields are out of bounds.
    Invalid,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 5] = [
        Verdict::Accepted,
        Verdict::Stale,
        Verdict::Duplicate,
        Verdict::LowDifficulty,
        Verdict::Invalid,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Stale => "stale",
            Verdict::Duplicate => "duplicate",
            Verdict::LowDifficulty => "low_difficulty",
            Verdict::Invalid => "invalid",
        }
    }

    fn refuse(self, message: impl Into<String>) -> (Verdict, Refusal) {
        let code = match self {
            Verdict::Accepted | Verdict::Invalid => Code::Other,
            Verdict::Stale => Code::Stale,
            Verdict::Duplicate => Code::Duplicate,
            Verdict::LowDifficulty => Code::LowDifficulty,
        };
        (self, Refusal::new(code, message))
    }
}

/// A job as it was handed out.
#[derive(Debug)]
struct Job {
    id: String,
    work: Arc<Work>,
    coinbase: Vec<u8>,
    difficulty: Difficulty,
}

/// A share that counts.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The difficulty that it counts for.
    pub difficulty: Difficulty,
    /// The block, if it is one.
    pub found: Option<Box<Found>>,
}

/// The jobs of one session.
#[derive(Debug)]
pub(super) struct Shares {
    extra_nonce_1: [u8; EXTRA_NONCE_HALF],
    jobs: VecDeque<Job>,
    seen: BTreeSet<u64>,
    sequence: u64,
}

impl Shares {
    pub fn new(extra_nonce_1: [u8; EXTRA_NONCE_HALF]) -> Shares {
        Shares {
            extra_nonce_1,
            jobs: VecDeque::new(),
            seen: BTreeSet::new(),
            sequence: 0,
        }
    }

    /// Hands out a job; answers with its id. After `clean` no older job takes shares.
    pub fn hand_out(
        &mut self,
        work: Arc<Work>,
        coinbase: Vec<u8>,
        difficulty: Difficulty,
        clean: bool,
    ) -> String {
        if clean {
            self.jobs.clear();
            self.seen.clear();
        }
        if self.jobs.len() == JOBS_MAX {
            self.jobs.pop_front();
        }
        self.sequence += 1;
        let id = format!("{:x}{:04x}", work.number, self.sequence & 0xffff);
        self.jobs.push_back(Job {
            id: id.clone(),
            work,
            coinbase,
            difficulty,
        });
        id
    }

    /// A miner that is told a lower difficulty may use it for the jobs that it has.
    pub fn lower(&mut self, difficulty: Difficulty) {
        for job in &mut self.jobs {
            job.difficulty = job.difficulty.min(difficulty);
        }
    }

    /// Forgets all jobs: there is a new tip, and no job for it yet.
    pub fn clear(&mut self) {
        self.jobs.clear();
        self.seen.clear();
    }

    /// Checks a share; `may_roll` says which bits of the version were agreed on.
    pub fn check(
        &mut self,
        now_s: u32,
        share: &Submission,
        may_roll: u32,
    ) -> Result<Accepted, (Verdict, Refusal)> {
        let job = self.jobs.iter().find(|job| job.id == share.job);
        let job =
            job.ok_or_else(|| Verdict::Stale.refuse("stale: the job is unknown or of an old tip"))?;
        let work = &job.work;
        let mut coinbase = job.coinbase.clone();
        put_extra_nonce(&mut coinbase, self.extra_nonce_1, share.extra_nonce_2);
        let header = Header {
            version: rolled(work.header.version, share.version_bits, may_roll)?,
            time: checked_time(work.header.time, share.time, now_s)?,
            nonce: share.nonce,
            ..work.header(&coinbase)
        };
        let digest = digest(&header);
        // Whatever solves the block is taken.
        let target = job.difficulty.target().max(work.target);
        if digest > target {
            return Err(Verdict::LowDifficulty.refuse(format!(
                "low difficulty: {:.3e} of {:.3e}",
                difficulty_of(digest),
                job.difficulty.value()
            )));
        }
        // The low bytes of a good digest are as random as any.
        let mark = digest.as_limbs()[0];
        if self.seen.contains(&mark) {
            return Err(Verdict::Duplicate.refuse("duplicate: this share was sent before"));
        }
        let is_block = digest <= work.target;
        if self.seen.len() >= SHARES_REMEMBERED_MAX && !is_block {
            return Err(Verdict::Invalid.refuse(format!(
                "more than {SHARES_REMEMBERED_MAX} shares for one tip: ask for a higher difficulty"
            )));
        }
        self.seen.insert(mark);
        let found = is_block.then(|| {
            Box::new(Found {
                work: work.number,
                header,
                coinbase: Coinbase::from_bytes(&coinbase)
                    .expect("a coinbase of ours with another extra-nonce"),
            })
        });
        Ok(Accepted {
            difficulty: job.difficulty,
            found,
        })
    }
}

fn difficulty_of(digest: U256) -> f64 {
    Difficulty::of_network(digest).value()
}

/// The version with the bits that the miner rolled.
pub(super) fn rolled(
    version: u32,
    bits: Option<u32>,
    may_roll: u32,
) -> Result<u32, (Verdict, Refusal)> {
    let Some(bits) = bits else {
        return Ok(version);
    };
    if bits & !may_roll != 0 {
        return Err(Verdict::Invalid.refuse(format!(
            "version bits {bits:08x} are outside of the agreed mask {may_roll:08x}"
        )));
    }
    Ok(version & !(may_roll & VERSION_ROLL_MASK) | bits)
}

/// The time that the miner chose.
pub(super) fn checked_time(first: u32, time: u32, now_s: u32) -> Result<u32, (Verdict, Refusal)> {
    let last = first.max(now_s.saturating_add(TIME_AHEAD_S_MAX));
    if !(first..=last).contains(&time) {
        return Err(Verdict::Invalid.refuse(format!(
            "ntime {time:08x} is out of range: expected {first:08x} to {last:08x}"
        )));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::work;
    use super::*;
    use cairn_protocol::hash::KeyHash;
    use cairn_protocol::lock::Lock;

    const NOW: u32 = 1_800_000_000;
    /// A quarter of all hashes solve it.
    const EASY: u32 = 0x203f_ffff;
    /// The difficulty of just that.
    const EASY_DIFFICULTY: f64 = 4.0 / 4_294_967_296.0;

    fn lock() -> Lock {
        Lock::Key(KeyHash([5; 32]))
    }

    fn shares_with(bits: u32, difficulty: f64) -> (Shares, String) {
        let mut shares = Shares::new([9; 8]);
        let work = Arc::new(work(0x10, 0, bits));
        let coinbase = work.coinbase_for(&lock()).to_bytes();
        let difficulty = Difficulty::new(difficulty).unwrap();
        let id = shares.hand_out(work, coinbase, difficulty, true);
        (shares, id)
    }

    fn share(job: &str, nonce: u32) -> Submission {
        Submission {
            user: String::new(),
            job: job.into(),
            extra_nonce_2: [3; 8],
            time: NOW,
            nonce,
            version_bits: None,
        }
    }

    fn first_good(shares: &mut Shares, job: &str) -> (u32, Accepted) {
        (0..10_000)
            .find_map(|nonce| Some((nonce, shares.check(NOW, &share(job, nonce), 0).ok()?)))
            .expect("some nonce is good")
    }

    #[test]
    fn a_block_is_found_and_pays_whom_it_should() {
        let (mut shares, job) = shares_with(EASY, EASY_DIFFICULTY);
        let (_, accepted) = first_good(&mut shares, &job);
        let found = accepted.found.expect("the difficulty is the network's");
        assert_eq!(found.work, 0x10);
        assert_eq!(found.coinbase.outputs[0].lock, lock());
        assert_eq!(found.coinbase.extra_nonce[..8], [9; 8]);
        assert_eq!(found.coinbase.extra_nonce[8..], [3; 8]);
        let work = work(0x10, 0, EASY);
        assert!(work.is_solved_by(&found.header));
        let expected = work.header(&found.coinbase.to_bytes());
        assert_eq!(found.header.root, expected.root);
    }

    #[test]
    fn a_share_below_the_network_is_no_block() {
        // A share takes 256 hashes, a block 65,536.
        let (mut shares, job) = shares_with(0x1f00_ffff, 256.0 / 4_294_967_296.0);
        let (nonce, accepted) = first_good(&mut shares, &job);
        assert!(accepted.found.is_none(), "one in 256");
        let again = shares.check(NOW, &share(&job, nonce), 0).unwrap_err();
        assert_eq!(
            (again.0, again.1.code),
            (Verdict::Duplicate, Code::Duplicate)
        );
        let low = (0..1_000).find_map(|n| shares.check(NOW, &share(&job, n), 0).err());
        let (verdict, refusal) = low.unwrap();
        assert_eq!(
            (verdict, refusal.code),
            (Verdict::LowDifficulty, Code::LowDifficulty)
        );
    }

    #[test]
    fn old_jobs_take_no_shares_after_a_new_tip() {
        let (mut shares, old) = shares_with(EASY, EASY_DIFFICULTY);
        let next = Arc::new(work(0x11, 1, EASY));
        let coinbase = next.coinbase_for(&lock()).to_bytes();
        let easy = Difficulty::new(EASY_DIFFICULTY).unwrap();
        let job = shares.hand_out(Arc::clone(&next), coinbase.clone(), easy, false);
        first_good(&mut shares, &old);
        let newest = shares.hand_out(next, coinbase, easy, true);
        for gone in [&old, &job] {
            let (verdict, refusal) = shares.check(NOW, &share(gone, 0), 0).unwrap_err();
            assert_eq!((verdict, refusal.code), (Verdict::Stale, Code::Stale));
        }
        first_good(&mut shares, &newest);
        shares.clear();
        assert!(shares.check(NOW, &share(&newest, 0), 0).is_err());
    }

    #[test]
    fn one_header_under_two_jobs_counts_once() {
        let (mut shares, job) = shares_with(EASY, EASY_DIFFICULTY);
        let (nonce, _) = first_good(&mut shares, &job);
        let same = Arc::new(work(0x10, 0, EASY));
        let coinbase = same.coinbase_for(&lock()).to_bytes();
        let again = shares.hand_out(
            same,
            coinbase,
            Difficulty::new(EASY_DIFFICULTY).unwrap(),
            false,
        );
        let (verdict, _) = shares.check(NOW, &share(&again, nonce), 0).unwrap_err();
        assert_eq!(verdict, Verdict::Duplicate);
    }

    #[test]
    fn fields_out_of_bounds() {
        let (mut shares, job) = shares_with(EASY, EASY_DIFFICULTY);
        let base = share(&job, 0);
        let mut verdict = |change: &dyn Fn(&mut Submission), roll| {
            let mut share = base.clone();
            change(&mut share);
            shares
                .check(NOW, &share, roll)
                .err()
                .map(|(verdict, _)| verdict)
        };
        let invalid = Some(Verdict::Invalid);
        assert_eq!(verdict(&|s| s.time = NOW - 1, 0), invalid);
        assert_eq!(
            verdict(&|s| s.time = NOW + TIME_AHEAD_S_MAX + 1, 0),
            invalid
        );
        assert_ne!(verdict(&|s| s.time = NOW + TIME_AHEAD_S_MAX, 0), invalid);
        assert_eq!(verdict(&|s| s.version_bits = Some(1 << 13), 0), invalid);
        assert_ne!(
            verdict(&|s| s.version_bits = Some(1 << 13), VERSION_ROLL_MASK),
            invalid
        );
        assert_eq!(
            verdict(&|s| s.version_bits = Some(1 << 12), VERSION_ROLL_MASK),
            invalid
        );
        assert_eq!(
            verdict(&|s| s.version_bits = Some(1 << 29), VERSION_ROLL_MASK),
            invalid
        );
        assert_eq!(
            rolled(0x2000_0000, Some(0x1fff_e000), VERSION_ROLL_MASK).unwrap(),
            0x3fff_e000
        );
    }

    #[test]
    fn a_lower_difficulty_holds_for_jobs_in_hand() {
        let (mut shares, job) = shares_with(0x1c00_ffff, 1.0);
        assert!((0..100).all(|nonce| shares.check(NOW, &share(&job, nonce), 0).is_err()));
        shares.lower(Difficulty::new(4.0 / 4_294_967_296.0).unwrap());
        first_good(&mut shares, &job);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut shares, job) = shares_with(0x1c00_ffff, 1e-12);
        let refused = (0..SHARES_REMEMBERED_MAX as u32 * 3)
            .filter_map(|nonce| shares.check(NOW, &share(&job, nonce), 0).err())
            .find(|(verdict, _)| *verdict == Verdict::Invalid);
        assert!(refused.is_some());
        assert_eq!(shares.seen.len(), SHARES_REMEMBERED_MAX);
    }
}
