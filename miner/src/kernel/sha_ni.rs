//! Double SHA-256 by the processor's own instructions, four nonces interleaved.
//!
//! `sha256rnds2` takes four cycles and can start in every one, so a single stream leaves the unit
//! mostly idle. Registers hold `ABEF` and `CDGH` (`a` and `c` highest), as the instruction wants
//! them. Groups of four rounds share a vector of four schedule words. What all nonces share of the
//! first hash's schedule and sums is made once per scan ([`Shared`]), so the early groups cost no
//! more than their rounds.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si32, _mm_set_epi32, _mm_setzero_si128,
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

/// Reports candidates.
pub(super) fn scan(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let cpu = Cpu::detect().expect("the kernel is looked up only where it is available");
    // SAFETY: `cpu` proves that the features are there.
    unsafe { scan_streams(cpu, work, start, count, candidate) }
}

#[target_feature(enable = "sha,avx")]
fn scan_streams(_: Cpu, work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let shared = Shared::new(work.sha256d());
    let mut offset = 0;
    loop {
        let tops = top_words(&shared, start.wrapping_add(offset));
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

/// What four rounds add, as their two instructions want it.
type Sums = [__m128i; 2];

/// Group `i`'s words with the round constants.
#[target_feature(enable = "avx")]
#[inline]
fn sums(i: usize, words: __m128i) -> Sums {
    let first = _mm_add_epi32(words, group(&K, i));
    [first, _mm_shuffle_epi32::<0x0e>(first)]
}

/// What all nonces of a header share.
struct Shared {
    /// The state after the header's first 64 bytes.
    midstate: [__m128i; 2],
    /// The state after round 3, without the nonce that is added to `a` and `e`.
    after: [__m128i; 2],
    /// The sums of groups 1 to 3 of the first hash.
    inner_sums: [Sums; 3],
    /// Group 4 of the first hash's schedule, without what the nonce adds to it.
    group_4: __m128i,
    /// What is fixed in groups 5 to 7 of the first hash's schedule, without the word that
    /// [`Stream::make`] adds.
    groups_5_to_7: [__m128i; 3],
}

impl Shared {
    #[target_feature(enable = "avx")]
    fn new(prepared: &Prepared) -> Self {
        let mut after = prepared.before;
        after.copy_within(0..7, 1);
        (after[0], after[4]) = (prepared.after_a, prepared.after_e);
        let mut fixed = prepared.fixed;
        fixed[24] = fixed[24].wrapping_sub(fixed[17]);
        let block = |i| sums(i, group(&prepared.block, i));
        Self {
            midstate: [abef(&prepared.midstate), cdgh(&prepared.midstate)],
            after: [abef(&after), cdgh(&after)],
            inner_sums: [block(1), block(2), block(3)],
            group_4: group(&fixed, 4),
            groups_5_to_7: [group(&fixed, 5), group(&fixed, 6), group(&fixed, 7)],
        }
    }
}

/// The state and the last sixteen schedule words of one nonce.
#[derive(Clone, Copy)]
struct Stream {
    abef: __m128i,
    cdgh: __m128i,
    schedule: [__m128i; 4],
}

impl Stream {
    /// The words of group `i` before those of group `i + 4` replace them.
    #[target_feature(enable = "avx")]
    #[inline]
    fn words(&self, i: usize) -> __m128i {
        self.schedule[i % 4]
    }

    /// Makes group `i` of the schedule, given its words `t - 16` and `sigma0` of its words `t - 15`.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn make(&mut self, i: usize, old: __m128i) {
        let (w2, w3) = (self.words(i + 2), self.words(i + 3));
        let part = _mm_add_epi32(old, _mm_alignr_epi8::<4>(w3, w2));
        self.schedule[i % 4] = _mm_sha256msg2_epu32(part, w3);
    }

    /// [`Self::make`]'s sum of old words.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn old(&self, i: usize) -> __m128i {
        _mm_sha256msg1_epu32(self.words(i), self.words(i + 1))
    }

    /// Four rounds.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn four_rounds(&mut self, [first, second]: Sums) {
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, first);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, second);
    }

    /// Group `i`'s four rounds, its words made before.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn rounds(&mut self, i: usize) {
        self.four_rounds(sums(i, self.words(i)));
    }

    /// Makes group `i` and runs its four rounds.
    #[target_feature(enable = "sha,avx")]
    #[inline]
    fn group(&mut self, i: usize) {
        self.make(i, self.old(i));
        self.rounds(i);
    }
}

/// Runs a body for each stream, group after group.
macro_rules! each {
    ($streams:ident, $stream:ident: $($body:expr;)*) => {
        $(for $stream in &mut $streams { $body; })*
    };
}

/// The most significant words, as numbers, of the digests of four nonces.
#[target_feature(enable = "sha,avx")]
#[inline]
fn top_words(shared: &Shared, start: u32) -> [u32; STREAMS] {
    let digests = inner(shared, start);
    outer(digests)
}

/// The first hash's digests, as groups 0 and 1 of the second hash's words.
#[target_feature(enable = "sha,avx")]
#[inline]
fn inner(shared: &Shared, start: u32) -> [[__m128i; 2]; STREAMS] {
    let [abef, cdgh] = shared.after;
    let mut streams = [Stream {
        abef,
        cdgh,
        schedule: [shared.group_4; 4],
    }; STREAMS];
    for (s, stream) in (0..).zip(&mut streams) {
        let nonce = start.wrapping_add(s).swap_bytes();
        stream.abef = _mm_add_epi32(abef, words([0, nonce, 0, nonce]));
        // The nonce's `sigma0` is part of word 18, the nonce itself of word 19.
        let varying = _mm_sha256msg1_epu32(words([0, 0, 0, nonce]), _mm_setzero_si128());
        stream.schedule[0] = _mm_add_epi32(shared.group_4, varying);
    }
    let [sums_1, sums_2, sums_3] = shared.inner_sums;
    let [old_5, old_6, old_7] = shared.groups_5_to_7;
    each! { streams, stream:
        stream.four_rounds(sums_1);
        stream.four_rounds(sums_2);
        stream.four_rounds(sums_3);
        stream.rounds(4);
        {
            // Words 13 to 16, which `make` would add, are fixed.
            stream.schedule[1] = _mm_sha256msg2_epu32(old_5, stream.words(4));
            stream.rounds(5);
        };
        { stream.make(6, old_6); stream.rounds(6); };
        { stream.make(7, old_7); stream.rounds(7); };
        stream.group(8);
        stream.group(9);
        stream.group(10);
        stream.group(11);
        stream.group(12);
        stream.group(13);
        stream.group(14);
        stream.group(15);
    }
    let [midstate_abef, midstate_cdgh] = shared.midstate;
    streams.map(|stream| {
        let abef = _mm_add_epi32(stream.abef, midstate_abef);
        let cdgh = _mm_add_epi32(stream.cdgh, midstate_cdgh);
        [
            _mm_shuffle_epi32::<0xb1>(_mm_unpackhi_epi64(abef, cdgh)),
            _mm_shuffle_epi32::<0xb1>(_mm_unpacklo_epi64(abef, cdgh)),
        ]
    })
}

/// The most significant words of the second hash's digests, as numbers.
#[target_feature(enable = "sha,avx")]
#[inline]
fn outer(digests: [[__m128i; 2]; STREAMS]) -> [u32; STREAMS] {
    let (padding_2, padding_3) = (group(&OUTER_PADDING, 2), group(&OUTER_PADDING, 3));
    let mut streams = digests.map(|[group_0, group_1]| Stream {
        abef: abef(&INITIAL),
        cdgh: cdgh(&INITIAL),
        schedule: [group_0, group_1, padding_2, padding_3],
    });
    each! { streams, stream:
        stream.rounds(0);
        stream.rounds(1);
        stream.rounds(2);
        stream.rounds(3);
        {
            // Words 9 to 12, which `make` would add, are zero.
            stream.schedule[0] = _mm_sha256msg2_epu32(stream.old(4), padding_3);
            stream.rounds(4);
        };
        stream.group(5);
        // Word 8, and `sigma0` of words 9 to 12.
        { stream.make(6, padding_2); stream.rounds(6); };
        stream.group(7);
        stream.group(8);
        stream.group(9);
        stream.group(10);
        stream.group(11);
        stream.group(12);
        stream.group(13);
        stream.group(14);
        {
            // After round 60 `e` only moves on until it is `h`; after round 61 it is `f`, lowest.
            stream.make(15, stream.old(15));
            let [first, _] = sums(15, stream.words(15));
            stream.cdgh = _mm_sha256rnds2_epu32(stream.cdgh, stream.abef, first);
        };
    }
    streams.map(|stream| {
        let e = _mm_cvtsi128_si32(stream.cdgh) as u32;
        e.wrapping_add(INITIAL[7]).swap_bytes()
    })
}
