//! getwork: one header at a time, for miners older than Stratum.
//!
//! ```text
//!   data   = 80 bytes of header | 0x80 | zeros | length in bits     each 4-byte word turned around
//!   target = 32 bytes, little-endian
//! ```
//!
//! Each answer has an extra-nonce of its own. Invariants: at most [`OUTSTANDING_MAX`] answers are
//! kept, and none across a new tip; what comes back differs from what went out in nonce, time and
//! the version's free bits only. Rules: `spec/14-mining.md#getwork`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::header::{Header, VERSION_ROLL_MASK};
use cairn_protocol::limits::HEADER_BYTES;
use cairn_protocol::lock::Lock;
use ruint::aliases::U256;

use super::job::{EXTRA_NONCE_HALF, Found, Work, put_extra_nonce, swap_words};
use super::limits::OUTSTANDING_MAX;
use super::session::Now;
use super::shares::checked_time;

/// Bytes of getwork's `data`: the header with the padding of SHA-256 to two whole blocks.
pub const GETWORK_BYTES: usize = 128;

/// Why a solved header is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetworkRefusal {
    /// It is no header of ours, or one of an old tip.
    #[error("stale: the work is unknown or of an old tip")]
    Stale,
    /// It was sent before.
    #[error("duplicate: this solution was sent before")]
    Duplicate,
    /// Something is changed that must not be.
    #[error("{0}")]
    Altered(String),
    /// It solves nothing.
    #[error("high-hash: the header misses the target")]
    HighHash,
}

#[derive(Debug)]
struct Entry {
    work: Arc<Work>,
    coinbase: Coinbase,
    solved: bool,
}

/// Answers that may still be solved.
#[derive(Debug, Default)]
pub struct Outstanding {
    parent: Option<BlockId>,
    by_root: BTreeMap<Hash, Entry>,
    order: VecDeque<Hash>,
}

impl Outstanding {
    /// Hands out a header that pays `lock`; `extra_nonce` is used for nothing else.
    pub fn hand_out(
        &mut self,
        work: &Arc<Work>,
        lock: &Lock,
        extra_nonce: [u8; EXTRA_NONCE_HALF],
    ) -> Header {
        if self.parent != Some(work.parent()) {
            self.by_root.clear();
            self.order.clear();
            self.parent = Some(work.parent());
        }
        if self.order.len() == OUTSTANDING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_root.remove(&oldest);
        }
        let mut bytes = work.coinbase_for(lock).to_bytes();
        put_extra_nonce(&mut bytes, extra_nonce, [0; EXTRA_NONCE_HALF]);
        let header = work.header(&bytes);
        let coinbase = Coinbase::from_bytes(&bytes).expect("a coinbase of ours");
        let entry = Entry {
            work: Arc::clone(work),
            coinbase,
            solved: false,
        };
        self.order.push_back(header.root);
        self.by_root.insert(header.root, entry);
        header
    }

    /// Takes a header back; `tip` is the block that it must follow.
    ///
    /// # Errors
    /// See [`GetworkRefusal`].
    pub fn take_back(
        &mut self,
        now: Now,
        tip: &BlockId,
        header: &Header,
    ) -> Result<Found, GetworkRefusal> {
        let entry = self
            .by_root
            .get_mut(&header.root)
            .filter(|entry| entry.work.parent() == *tip)
            .ok_or(GetworkRefusal::Stale)?;
        let ours = &entry.work.header;
        let fixed = |header: &Header| {
            let version = header.version & !VERSION_ROLL_MASK;
            (version, header.parent, header.bits)
        };
        if fixed(header) != fixed(ours) {
            let message = "version, parent or bits are not those of the work";
            return Err(GetworkRefusal::Altered(message.to_owned()));
        }
        checked_time(ours.time, header.time, now.unix_s)
            .map_err(|(_, refusal)| GetworkRefusal::Altered(refusal.message))?;
        if !entry.work.is_solved_by(header) {
            return Err(GetworkRefusal::HighHash);
        }
        if std::mem::replace(&mut entry.solved, true) {
            return Err(GetworkRefusal::Duplicate);
        }
        Ok(Found {
            work: entry.work.number,
            header: *header,
            coinbase: entry.coinbase.clone(),
        })
    }

    /// Answers that are kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// `data` and `target` of an answer, as hex.
pub fn getwork_data(header: &Header, target: U256) -> (String, String) {
    let mut padded = [0; GETWORK_BYTES];
    padded[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    padded[HEADER_BYTES] = 0x80;
    let bits = (HEADER_BYTES as u64 * 8).to_be_bytes();
    padded[GETWORK_BYTES - 8..].copy_from_slice(&bits);
    let target: [u8; 32] = target.to_le_bytes();
    (hex::encode(swap_words(&padded)), hex::encode(target))
}

/// The header of a `data` that came back; none if it is of another size than a header or `data`.
pub fn getwork_header(data: &[u8]) -> Option<Header> {
    if data.len() != GETWORK_BYTES && data.len() != HEADER_BYTES {
        return None;
    }
    let bytes = swap_words(&data[..HEADER_BYTES]);
    Some(Header::from_bytes(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::work;
    use super::super::limits::TIME_AHEAD_S_MAX;
    use super::*;
    use cairn_protocol::hash::KeyHash;

    const NOW: Now = Now {
        ms: 0,
        unix_s: 1_800_000_000,
    };

    fn lock() -> Lock {
        Lock::Key(KeyHash([5; 32]))
    }

    fn solve(work: &Work, mut header: Header) -> Header {
        while !work.is_solved_by(&header) {
            header.nonce += 1;
        }
        header
    }

    #[test]
    fn data_is_the_padded_header_in_turned_words() {
        let header = work(1, 0, 0x1f00_ffff).header;
        let (data, target) = getwork_data(&header, U256::from(0x0102u32));
        assert_eq!(data.len(), 256);
        assert_eq!(&data[..16], "2000000003020100");
        assert_eq!(&data[160..], format!("00000080{}80020000", "0".repeat(80)));
        assert_eq!(target, format!("0201{}", "0".repeat(60)));
        let bytes = hex::decode(&data).unwrap();
        assert_eq!(getwork_header(&bytes), Some(header));
        assert_eq!(getwork_header(&bytes[..80]), Some(header));
        for size in [0, 79, 81, 127] {
            assert_eq!(getwork_header(&bytes[..size]), None);
        }
    }

    #[test]
    fn each_answer_is_another_header_and_pays_its_own() {
        let (mut outstanding, work) = (Outstanding::default(), Arc::new(work(3, 0, 0x207f_ffff)));
        let first = outstanding.hand_out(&work, &lock(), [1; 8]);
        let second = outstanding.hand_out(&work, &Lock::Key(KeyHash([6; 32])), [2; 8]);
        assert_ne!(first.root, second.root);
        let solved = solve(&work, first);
        let found = outstanding.take_back(NOW, &work.parent(), &solved).unwrap();
        assert_eq!((found.work, found.header), (3, solved));
        assert_eq!(found.coinbase.outputs[0].lock, lock());
        assert_eq!(work.header(&found.coinbase.to_bytes()).root, solved.root);
        let again = outstanding.take_back(NOW, &work.parent(), &solved);
        assert_eq!(again.unwrap_err(), GetworkRefusal::Duplicate);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let (mut outstanding, work) = (Outstanding::default(), Arc::new(work(3, 0, 0x207f_ffff)));
        let header = outstanding.hand_out(&work, &lock(), [1; 8]);
        let tip = work.parent();
        let solved = solve(&work, header);
        let mut refusal = |change: &dyn Fn(&mut Header)| {
            let mut header = solved;
            change(&mut header);
            outstanding.take_back(NOW, &tip, &header).err()
        };
        assert_eq!(
            refusal(&|h| h.root = Hash([1; 32])),
            Some(GetworkRefusal::Stale)
        );
        let altered: [&dyn Fn(&mut Header); 5] = [
            &|h| h.version = 1,
            &|h| h.bits.0 = 0x2000_ffff,
            &|h| h.parent = BlockId([9; 32]),
            &|h| h.time -= 1,
            &|h| h.time += TIME_AHEAD_S_MAX + 1,
        ];
        for change in altered {
            assert!(matches!(refusal(change), Some(GetworkRefusal::Altered(_))));
        }
        let mut missing = header;
        while work.is_solved_by(&missing) {
            missing.nonce += 1;
        }
        let miss = outstanding.take_back(NOW, &tip, &missing);
        assert_eq!(miss.unwrap_err(), GetworkRefusal::HighHash);
        let stale = outstanding.take_back(NOW, &BlockId([1; 32]), &solved);
        assert_eq!(stale.unwrap_err(), GetworkRefusal::Stale);
    }

    #[test]
    fn a_new_tip_drops_all_and_memory_is_bounded() {
        let (mut outstanding, old) = (Outstanding::default(), Arc::new(work(3, 0, 0x207f_ffff)));
        for i in 0..OUTSTANDING_MAX as u64 + 5 {
            outstanding.hand_out(&old, &lock(), i.to_le_bytes());
        }
        assert_eq!(
            (outstanding.len(), outstanding.by_root.len()),
            (OUTSTANDING_MAX, OUTSTANDING_MAX)
        );
        outstanding.hand_out(&Arc::new(work(4, 1, 0x207f_ffff)), &lock(), [1; 8]);
        assert_eq!((outstanding.len(), outstanding.is_empty()), (1, false));
    }
}
