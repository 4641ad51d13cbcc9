//! Eight lanes: AVX2, which has no rotation and no three-operand logic.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_ps,
    _mm256_cmpeq_epi32, _mm256_min_epu32, _mm256_movemask_ps, _mm256_or_si256, _mm256_set_epi64x,
    _mm256_set1_epi32, _mm256_setr_epi32, _mm256_shuffle_epi8, _mm256_sll_epi32, _mm256_srli_epi32,
    _mm256_xor_si256,
};

use super::lanes::{Lanes, scan_vectors, vector_scan};
use super::{Candidate, Work, blake3, sha256d};

/// Proof that the processor has AVX2.
#[derive(Clone, Copy)]
pub(super) struct Cpu(());

impl Cpu {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// Eight words.
#[derive(Clone, Copy)]
pub(super) struct Words(__m256i);

// SAFETY of every block below: a `Cpu` or a `Words` exists only after `Cpu::detect` found AVX2, and
// the instructions touch no memory.
impl Words {
    /// Moves the bytes of each word: byte i comes from where the lowest word of `order` says.
    #[inline(always)]
    fn shuffle(self, high: i64, low: i64) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_shuffle_epi8(self.0, _mm256_set_epi64x(high, low, high, low)) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }
}

impl Lanes for Words {
    const COUNT: u32 = 8;
    type Cpu = Cpu;

    #[inline(always)]
    fn splat(_: Cpu, word: u32) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_set1_epi32(word as i32) })
    }
    #[inline(always)]
    fn counting(cpu: Cpu, start: u32) -> Self {
        // SAFETY: as said above.
        let steps = unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) };
        Self(steps).add(Self::splat(cpu, start))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        match N {
            16 => self.shuffle(0x0d0c_0f0e_0908_0b0a, 0x0504_0706_0100_0302),
            8 => self.shuffle(0x0c0f_0e0d_080b_0a09, 0x0407_0605_0003_0201),
            // SAFETY: as said above. The shift to the left is in 1..=31 because N is.
            _ => Self(unsafe {
                let right = _mm256_srli_epi32::<N>(self.0);
                let left = _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(32 - N));
                _mm256_or_si256(right, left)
            }),
        }
    }
    #[inline(always)]
    fn shift<const N: i32>(self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm256_srli_epi32::<N>(self.0) })
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        self.xor(b).xor(c)
    }
    #[inline(always)]
    fn choose(self, f: Self, g: Self) -> Self {
        g.xor(self.and(f.xor(g)))
    }
    #[inline(always)]
    fn majority(self, b: Self, _: Self, b_xor_c: Self) -> (Self, Self) {
        let a_xor_b = self.xor(b);
        (b.xor(a_xor_b.and(b_xor_c)), a_xor_b)
    }
    #[inline(always)]
    fn swap_bytes(self) -> Self {
        self.shuffle(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203)
    }
    #[inline(always)]
    fn in_order(self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { in_order(self.0) })
    }
    #[inline(always)]
    fn at_most(self, bound: Self) -> u32 {
        // SAFETY: as said above.
        let lanes = unsafe {
            let equal = _mm256_cmpeq_epi32(_mm256_min_epu32(self.0, bound.0), self.0);
            _mm256_movemask_ps(_mm256_castsi256_ps(equal))
        };
        lanes.unsigned_abs()
    }
}

/// No instruction at all, but one that the compiler thinks it must keep in its place.
#[target_feature(enable = "avx2")]
#[inline]
fn in_order(mut words: __m256i) -> __m256i {
    // SAFETY: there is no instruction that could do harm.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) words, options(nomem, nostack, preserves_flags));
    }
    words
}

vector_scan!(scan_sha256d, sha256d, Words, "avx2");
vector_scan!(scan_blake3, blake3, Words, "avx2");
