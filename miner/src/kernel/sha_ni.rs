//! Double SHA-256 by the processor's own instructions, four nonces interleaved.
//!
//! `sha256rnds2` takes four cycles and can start every second one, so a single stream leaves the
//! unit half idle. Registers hold `ABEF` and `CDGH` (`a` and `c` highest), as the instruction wants
//! them. Groups of four rounds share a vector of four schedule words.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si32, _mm_set_epi32,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
    _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

use super::sha256d::{INITIAL, K, OUTER_PADDING, Prepared};
use super::{Candidate, Work};

/// Proof that the processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Cpu(());

impl Cpu {
    pub(super) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx");
        has_all.then_some(Self(()))
    }
}

/// Interleaved nonces.
const STREAMS: usize = 4;

/// The same of every stream.
type Each = [__m128i; STREAMS];

/// Reports candidates.
pub(super) fn scan(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let cpu = Cpu::detect().expect("the kernel is looked up only where it is available");
    // SAFETY: `cpu` proves that the features are there.
    unsafe { scan_streams(cpu, work, start, count, candidate) }
}

#[target_feature(enable = "sha,avx")]
fn scan_streams(_: Cpu, work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let prepared = work.sha256d();
    let mut offset = 0;
    loop {
        let tops = top_words(prepared, start.wrapping_add(offset));
        for (lane, top) in (0..).zip(tops) {
            if top <= work.top && candidate(offset + lane) {
                return;
            }
        }
        if count - offset <= STREAMS as u32 {
            return;
        }
        offset += STREAMS as u32;
    }
}

/// `a`, `b`, `e`, `f` as the instructions want them.
#[target_feature(enable = "avx")]
fn abef(state: &[u32; 8]) -> __m128i {
    words([state[5], state[4], state[1], state[0]])
}

/// `c`, `d`, `g`, `h` as the instructions want them.
#[target_feature(enable = "avx")]
fn cdgh(state: &[u32; 8]) -> __m128i {
    words([state[7], state[6], state[3], state[2]])
}

/// Four words, the first lowest.
#[target_feature(enable = "avx")]
fn words([w0, w1, w2, w3]: [u32; 4]) -> __m128i {
    _mm_set_epi32(w3 as i32, w2 as i32, w1 as i32, w0 as i32)
}

/// Words `4i` to `4i + 3`.
#[target_feature(enable = "avx")]
fn group(all: &[u32], i: usize) -> __m128i {
    words([all[4 * i], all[4 * i + 1], all[4 * i + 2], all[4 * i + 3]])
}

/// The states and the last sixteen schedule words of all streams.
struct Streams {
    abef: Each,
    cdgh: Each,
    schedule: [Each; 4],
}

impl Streams {
    /// Makes group `i` of the schedule, if it is not one of the block's own.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn make(&mut self, i: usize) {
        if i < 4 {
            return;
        }
        let [w0, w1, w2, w3] = [i, i + 1, i + 2, i + 3].map(|back| self.schedule[back % 4]);
        for s in 0..STREAMS {
            let part = _mm_sha256msg1_epu32(w0[s], w1[s]);
            let part = _mm_add_epi32(part, _mm_alignr_epi8::<4>(w3[s], w2[s]));
            self.schedule[i % 4][s] = _mm_sha256msg2_epu32(part, w3[s]);
        }
    }

    /// The first two rounds of group `i`.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn two_rounds(&mut self, i: usize) -> Each {
        self.make(i);
        let constants = group(&K, i);
        let mut sums = self.schedule[i % 4];
        for ((sum, cdgh), abef) in sums.iter_mut().zip(&mut self.cdgh).zip(self.abef) {
            *sum = _mm_add_epi32(*sum, constants);
            *cdgh = _mm_sha256rnds2_epu32(*cdgh, abef, *sum);
        }
        sums
    }

    /// Group `i`'s four rounds.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn four_rounds(&mut self, i: usize) {
        let sums = self.two_rounds(i);
        for ((abef, cdgh), sum) in self.abef.iter_mut().zip(self.cdgh).zip(sums) {
            *abef = _mm_sha256rnds2_epu32(*abef, cdgh, _mm_shuffle_epi32::<0x0e>(sum));
        }
    }
}

/// The most significant words, as numbers, of the digests of four nonces.
#[target_feature(enable = "sha,avx")]
#[inline]
fn top_words(prepared: &Prepared, start: u32) -> [u32; STREAMS] {
    let streams: [u32; STREAMS] =
        std::array::from_fn(|s| start.wrapping_add(s as u32).swap_bytes());
    let mut after = prepared.before;
    after.copy_within(0..7, 1);
    (after[0], after[4]) = (prepared.after_a, prepared.after_e);
    let block = |i| [group(&prepared.block, i); STREAMS];
    let mut inner = Streams {
        abef: streams.map(|nonce| _mm_add_epi32(abef(&after), words([0, nonce, 0, nonce]))),
        cdgh: [cdgh(&after); STREAMS],
        schedule: [block(0), block(1), block(2), block(3)],
    };
    for (group, nonce) in inner.schedule[0].iter_mut().zip(streams) {
        *group = _mm_add_epi32(*group, words([0, 0, 0, nonce]));
    }
    inner.four_rounds(1);
    inner.four_rounds(2);
    inner.four_rounds(3);
    inner.four_rounds(4);
    inner.four_rounds(5);
    inner.four_rounds(6);
    inner.four_rounds(7);
    inner.four_rounds(8);
    inner.four_rounds(9);
    inner.four_rounds(10);
    inner.four_rounds(11);
    inner.four_rounds(12);
    inner.four_rounds(13);
    inner.four_rounds(14);
    inner.four_rounds(15);

    let padding = |i| [group(&OUTER_PADDING, i); STREAMS];
    let mut outer = Streams {
        abef: [abef(&INITIAL); STREAMS],
        cdgh: [cdgh(&INITIAL); STREAMS],
        schedule: [padding(0), padding(1), padding(2), padding(3)],
    };
    for s in 0..STREAMS {
        let abef = _mm_add_epi32(inner.abef[s], abef(&prepared.midstate));
        let cdgh = _mm_add_epi32(inner.cdgh[s], cdgh(&prepared.midstate));
        outer.schedule[0][s] = _mm_shuffle_epi32::<0xb1>(_mm_unpackhi_epi64(abef, cdgh));
        outer.schedule[1][s] = _mm_shuffle_epi32::<0xb1>(_mm_unpacklo_epi64(abef, cdgh));
    }
    outer.four_rounds(0);
    outer.four_rounds(1);
    outer.four_rounds(2);
    outer.four_rounds(3);
    outer.four_rounds(4);
    outer.four_rounds(5);
    outer.four_rounds(6);
    outer.four_rounds(7);
    outer.four_rounds(8);
    outer.four_rounds(9);
    outer.four_rounds(10);
    outer.four_rounds(11);
    outer.four_rounds(12);
    outer.four_rounds(13);
    outer.four_rounds(14);
    // After round 60 `e` only moves on until it is `h`; after round 61 it is `f`, lowest here.
    outer.two_rounds(15);
    outer.cdgh.map(|state| {
        let e = _mm_cvtsi128_si32(state) as u32;
        e.wrapping_add(INITIAL[7]).swap_bytes()
    })
}
