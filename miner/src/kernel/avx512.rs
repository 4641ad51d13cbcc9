//! Sixteen lanes: AVX-512F for the arithmetic, AVX-512BW to swap bytes. The scans run two vectors
//! side by side.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm_cvtsi32_si128, _mm512_add_epi32, _mm512_cmple_epu32_mask, _mm512_ror_epi32,
    _mm512_set_epi64, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_shuffle_epi8, _mm512_srl_epi32,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

use super::lanes::{Lanes, Pair, scan_vectors, vector_scan};
use super::{Candidate, Work, blake3, sha256d};
use crate::hash_rate::thread_cpu_time;

/// Proof that the processor has AVX-512F and AVX-512BW.
#[derive(Clone, Copy)]
pub(super) struct Cpu(());

impl Cpu {
    pub(super) fn detect() -> Option<Self> {
        let has_both = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has_both.then_some(Self(()))
    }
}

/// Sixteen words.
#[derive(Clone, Copy)]
pub(super) struct Words(__m512i);

// Truth tables of `vpternlogd`: bit 4a + 2b + c.
const XOR3: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

// SAFETY of every block below: a `Cpu` or a `Words` exists only after `Cpu::detect` found AVX-512F
// and AVX-512BW, and the instructions touch no memory.
impl Lanes for Words {
    const COUNT: u32 = 16;
    type Cpu = Cpu;

    #[inline(always)]
    fn splat(_: Cpu, word: u32) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_set1_epi32(word as i32) })
    }
    #[inline(always)]
    fn counting(cpu: Cpu, start: u32) -> Self {
        // SAFETY: as said above.
        let steps =
            unsafe { _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) };
        Self(steps).add(Self::splat(cpu, start))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_ror_epi32::<N>(self.0) })
    }
    #[inline(always)]
    fn shift<const N: i32>(self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_srl_epi32(self.0, _mm_cvtsi32_si128(N)) })
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_ternarylogic_epi32::<XOR3>(self.0, b.0, c.0) })
    }
    #[inline(always)]
    fn choose(self, f: Self, g: Self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { _mm512_ternarylogic_epi32::<CHOOSE>(self.0, f.0, g.0) })
    }
    #[inline(always)]
    fn majority(self, b: Self, c: Self, _: Self) -> (Self, Self) {
        // SAFETY: as said above.
        (
            Self(unsafe { _mm512_ternarylogic_epi32::<MAJORITY>(self.0, b.0, c.0) }),
            self,
        )
    }
    #[inline(always)]
    fn swap_bytes(self) -> Self {
        const HIGH: i64 = 0x0c0d_0e0f_0809_0a0b;
        const LOW: i64 = 0x0405_0607_0001_0203;
        // SAFETY: as said above.
        Self(unsafe {
            let order = _mm512_set_epi64(HIGH, LOW, HIGH, LOW, HIGH, LOW, HIGH, LOW);
            _mm512_shuffle_epi8(self.0, order)
        })
    }
    #[inline(always)]
    fn in_order(self) -> Self {
        // SAFETY: as said above.
        Self(unsafe { in_order(self.0) })
    }
    #[inline(always)]
    fn at_most(self, bound: Self) -> u32 {
        // SAFETY: as said above.
        u32::from(unsafe { _mm512_cmple_epu32_mask(self.0, bound.0) })
    }
}

/// No instruction at all, but one that the compiler thinks it must keep in its place.
#[target_feature(enable = "avx512f")]
#[inline]
fn in_order(mut words: __m512i) -> __m512i {
    // SAFETY: there is no instruction that could do harm.
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) words, options(nomem, nostack, preserves_flags));
    }
    words
}

/// The vector operations per second of processor time that this thread reaches, and the lanes of
/// each. The middle of many tries: a clock that was late makes some of them look too fast.
pub(super) fn speed() -> Option<(f64, u32)> {
    const TRIES: usize = 41;
    let cpu = Cpu::detect()?;
    let mut tries: Vec<f64> = (0..TRIES)
        .map(|_| {
            let begin = thread_cpu_time();
            // SAFETY: `cpu` proves that the features are there.
            let operations = unsafe { add_independently(cpu) };
            f64::from(operations) / (thread_cpu_time() - begin).as_secs_f64()
        })
        .collect();
    tries.sort_by(f64::total_cmp);
    Some((tries[TRIES / 2], Words::COUNT))
}

/// Adds in as many chains as keep all units busy; returns the number of additions.
#[target_feature(enable = "avx512f,avx512bw")]
fn add_independently(cpu: Cpu) -> u32 {
    const ROUNDS: u32 = 400_000;
    const CHAINS: u32 = 12;
    let step = Words::splat(cpu, 1);
    let mut chains = [step; CHAINS as usize];
    for _ in 0..ROUNDS {
        for chain in &mut chains {
            *chain = chain.add(step).in_order();
        }
    }
    ROUNDS * CHAINS
}

vector_scan!(scan_sha256d, sha256d, Pair<Words>, "avx512f,avx512bw");
vector_scan!(scan_blake3, blake3, Pair<Words>, "avx512f,avx512bw");
