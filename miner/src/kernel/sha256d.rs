//! Double SHA-256 of a header, for as many nonces at once as there are lanes.
//!
//! What all nonces share is computed once per header: the state after the first 64 bytes and the
//! three rounds before the nonce enters, and the constant part of every word of the schedule. Which
//! words vary is known at compile time ([`Plan`]), so nothing constant is added twice. Of the
//! second hash only the last word of the digest is computed: it is `e` after round 60 plus a
//! constant, so the last three rounds and the last four `a` are never computed.
//! Numbers of rounds and words are those of FIPS 180-4, 6.2.2.

use sha2::block_api::compress256;

use super::lanes::Lanes;

/// The round constants (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The initial state (FIPS 180-4, 5.3.3).
pub(super) const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// The word of the header's second block that holds the nonce.
const NONCE_WORD: usize = 3;

const fn sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

const fn sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

const fn sum1(e: u32, f: u32, g: u32) -> u32 {
    let sigma = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    sigma.wrapping_add((e & f) ^ (!e & g))
}

const fn sum0(a: u32, b: u32, c: u32) -> u32 {
    let sigma = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    sigma.wrapping_add((a & b) ^ (a & c) ^ (b & c))
}

/// What is known of a word of the schedule before the nonce is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zero,
    Fixed,
    Varies,
}

/// What is known of each word of a block's schedule.
struct Plan {
    kinds: [Kind; 64],
    /// Whether a varying word also has a fixed summand.
    has_fixed: [bool; 64],
}

impl Plan {
    /// Follows the schedule from the block's sixteen words.
    const fn new(block: [Kind; 16]) -> Self {
        let mut plan = Self {
            kinds: [Kind::Zero; 64],
            has_fixed: [false; 64],
        };
        let mut i = 0;
        while i < 64 {
            if i < 16 {
                plan.kinds[i] = block[i];
            } else {
                let terms = [i - 2, i - 7, i - 15, i - 16];
                let (mut t, mut varies, mut fixed) = (0, false, false);
                while t < terms.len() {
                    match plan.kinds[terms[t]] {
                        Kind::Varies => varies = true,
                        Kind::Fixed => fixed = true,
                        Kind::Zero => {}
                    }
                    t += 1;
                }
                plan.has_fixed[i] = fixed;
                plan.kinds[i] = match (varies, fixed) {
                    (true, _) => Kind::Varies,
                    (false, true) => Kind::Fixed,
                    (false, false) => Kind::Zero,
                };
            }
            i += 1;
        }
        plan
    }

    const fn varies(&self, i: usize) -> bool {
        matches!(self.kinds[i], Kind::Varies)
    }

    /// The fixed words, and the fixed summands of the varying ones.
    const fn fixed(&self, block: [u32; 16]) -> [u32; 64] {
        let (mut words, mut i) = ([0; 64], 0);
        while i < 64 {
            if i < 16 {
                words[i] = if self.varies(i) { 0 } else { block[i] };
            } else {
                let mut sum = 0u32;
                if !self.varies(i - 2) {
                    sum = sum.wrapping_add(sigma1(words[i - 2]));
                }
                if !self.varies(i - 7) {
                    sum = sum.wrapping_add(words[i - 7]);
                }
                if !self.varies(i - 15) {
                    sum = sum.wrapping_add(sigma0(words[i - 15]));
                }
                if !self.varies(i - 16) {
                    sum = sum.wrapping_add(words[i - 16]);
                }
                words[i] = sum;
            }
            i += 1;
        }
        words
    }

    /// What each round adds beside `h` and a varying word.
    const fn round_constants(&self, fixed: &[u32; 64]) -> [u32; 64] {
        let (mut sums, mut i) = (K, 0);
        while i < 64 {
            if !self.varies(i) {
                sums[i] = sums[i].wrapping_add(fixed[i]);
            }
            i += 1;
        }
        sums
    }
}

/// A kind of block: which of its words are known beforehand.
trait Block {
    const PLAN: Plan;
}

/// The header's second block: root's end, time, bits, nonce, padding.
enum HeaderEnd {}

impl Block for HeaderEnd {
    const PLAN: Plan = {
        let mut block = [Kind::Zero; 16];
        block[0] = Kind::Fixed;
        block[1] = Kind::Fixed;
        block[2] = Kind::Fixed;
        block[NONCE_WORD] = Kind::Varies;
        block[4] = Kind::Fixed;
        block[15] = Kind::Fixed;
        Plan::new(block)
    };
}

/// The second hash's only block: the first digest and padding.
enum InnerDigest {}

impl Block for InnerDigest {
    const PLAN: Plan = {
        let mut block = [Kind::Varies; 16];
        let mut i = 8;
        while i < 16 {
            block[i] = Kind::Zero;
            i += 1;
        }
        block[8] = Kind::Fixed;
        block[15] = Kind::Fixed;
        Plan::new(block)
    };
}

/// The second hash's padding.
pub(super) const OUTER_PADDING: [u32; 16] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1 << 31, 0, 0, 0, 0, 0, 0, 256];
const OUTER_FIXED: [u32; 64] = InnerDigest::PLAN.fixed(OUTER_PADDING);
const OUTER_CONSTANTS: [u32; 64] = InnerDigest::PLAN.round_constants(&OUTER_FIXED);

/// What all nonces of a header share.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The state after the header's first 64 bytes.
    pub(super) midstate: [u32; 8],
    /// The second block's words; zero for the nonce.
    pub(super) block: [u32; 16],
    /// `a` to `h` before round 3, the nonce's.
    pub(super) before: [u32; 8],
    /// `a` and `e` after round 3, without the nonce that is added to both.
    pub(super) after_a: u32,
    pub(super) after_e: u32,
    /// The fixed words of the schedule and the fixed summands of the others.
    pub(super) fixed: [u32; 64],
    /// What each round adds beside `h` and a varying word.
    constants: [u32; 64],
}

impl Prepared {
    pub(super) fn new(header: &[u8; 80]) -> Self {
        let mut midstate = INITIAL;
        let (first, rest) = header
            .split_first_chunk::<64>()
            .expect("a header has 80 bytes");
        compress256(&mut midstate, &[*first]);
        let mut block = [0; 16];
        for (word, bytes) in block.iter_mut().zip(rest.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        block[NONCE_WORD] = 0;
        block[4] = 1 << 31;
        block[15] = 80 * 8;

        let before = (0..NONCE_WORD).fold(midstate, |state, i| scalar_round(state, K[i], block[i]));
        let after = scalar_round(before, K[NONCE_WORD], 0);
        let fixed = HeaderEnd::PLAN.fixed(block);
        let constants = HeaderEnd::PLAN.round_constants(&fixed);
        let (after_a, after_e) = (after[0], after[4]);
        Self {
            midstate,
            block,
            before,
            after_a,
            after_e,
            fixed,
            constants,
        }
    }
}

/// One round on one state.
const fn scalar_round([a, b, c, d, e, f, g, h]: [u32; 8], k: u32, word: u32) -> [u32; 8] {
    let t = h
        .wrapping_add(k)
        .wrapping_add(word)
        .wrapping_add(sum1(e, f, g));
    [
        t.wrapping_add(sum0(a, b, c)),
        a,
        b,
        c,
        d.wrapping_add(t),
        e,
        f,
        g,
    ]
}

/// `a` and `e` after the second hash's round 0, without word 0, which is added to both.
const OUTER_AFTER: [u32; 8] = scalar_round(INITIAL, K[0], 0);

/// The working variables; round `I` finds `a` at index `-I mod 8`, so nothing ever moves.
struct State<V> {
    variables: [V; 8],
    /// `b ^ c` of the next round.
    b_xor_c: V,
}

impl<V: Lanes> State<V> {
    /// The state after round `I` started from fixed variables: `a` and `e` vary.
    #[inline(always)]
    fn after<const I: usize>(cpu: V::Cpu, before: &[u32; 8], a: V, e: V) -> Self {
        let at = |role: usize| (role + 64 - I) % 8;
        let mut variables = [a; 8];
        for role in [0, 1, 2, 4, 5, 6] {
            variables[at(role)] = V::splat(cpu, before[role]);
        }
        variables[at(3)] = e;
        Self {
            variables,
            b_xor_c: V::splat(cpu, before[0] ^ before[1]),
        }
    }

    #[inline(always)]
    fn h<const I: usize>(&self) -> V {
        self.variables[(7 + 64 - I) % 8]
    }

    /// `e` after round `I`.
    #[inline(always)]
    fn e_after<const I: usize>(&self) -> V {
        self.variables[(3 + 64 - I) % 8]
    }

    /// Round `I`'s `h + word + constant + Sigma1(e) + Ch(e, f, g)`, given its first three terms.
    #[inline(always)]
    fn t<const I: usize>(&self, sum: V) -> V {
        let at = |role: usize| self.variables[(role + 64 - I) % 8];
        let (e, f, g) = (at(4), at(5), at(6));
        let sigma = e.rotate::<6>().xor3(e.rotate::<11>(), e.rotate::<25>());
        sum.add(e.choose(f, g)).add(sigma)
    }

    /// Round `I`, given `h + word + constant`.
    #[inline(always)]
    fn round<const I: usize>(&mut self, sum: V) {
        let at = |role: usize| (role + 64 - I) % 8;
        let t = self.t::<I>(sum);
        let (a, b, c) = (
            self.variables[at(0)],
            self.variables[at(1)],
            self.variables[at(2)],
        );
        let sigma = a.rotate::<2>().xor3(a.rotate::<13>(), a.rotate::<22>());
        let (majority, a_xor_b) = a.majority(b, c, self.b_xor_c);
        self.variables[at(3)] = self.variables[at(3)].add(t);
        self.variables[at(7)] = sigma.add(majority).add(t).in_order();
        self.b_xor_c = a_xor_b;
    }

    /// As [`Self::round`], of which only the new `e` is needed.
    #[inline(always)]
    fn round_of_e<const I: usize>(&mut self, sum: V) {
        let at = (3 + 64 - I) % 8;
        self.variables[at] = self.variables[at].add(self.t::<I>(sum));
    }
}

#[inline(always)]
fn small_sigma0<V: Lanes>(x: V) -> V {
    x.rotate::<7>().xor3(x.rotate::<18>(), x.shift::<3>())
}

#[inline(always)]
fn small_sigma1<V: Lanes>(x: V) -> V {
    x.rotate::<17>().xor3(x.rotate::<19>(), x.shift::<10>())
}

/// The last sixteen words of the schedule of a block.
struct Schedule<'a, V: Lanes> {
    cpu: V::Cpu,
    words: [V; 16],
    fixed: &'a [u32; 64],
    constants: &'a [u32; 64],
}

impl<V: Lanes> Schedule<'_, V> {
    /// Makes word `I` if it varies, from the varying words before it.
    #[inline(always)]
    fn make<B: Block, const I: usize>(&mut self) {
        if const { I < 16 || !B::PLAN.varies(I) } {
            return;
        }
        let fixed = B::PLAN.has_fixed[I].then_some(V::splat(self.cpu, self.fixed[I]));
        let (w16, w7) = (self.word::<B, I, 16>(), self.word::<B, I, 7>());
        let (w15, w2) = (self.word::<B, I, 15>(), self.word::<B, I, 2>());
        let (w15, w2) = (w15.map(small_sigma0), w2.map(small_sigma1));
        // The summand that is known last comes last.
        let terms = [fixed, w16, w15, w7, w2];
        let mut sum: Option<V> = None;
        for term in terms {
            sum = match (sum, term) {
                (Some(sum), Some(term)) => Some(sum.add(term)),
                (sum, term) => sum.or(term),
            };
        }
        if let Some(sum) = sum {
            self.words[I % 16] = sum;
        }
    }

    /// The word `BACK` words before word `I`, if it varies.
    #[inline(always)]
    fn word<B: Block, const I: usize, const BACK: usize>(&self) -> Option<V> {
        if const { I >= BACK && B::PLAN.varies(I.wrapping_sub(BACK) % 64) } {
            Some(self.words[I.wrapping_sub(BACK) % 16])
        } else {
            None
        }
    }

    /// Round `I`'s `h + word + constant`.
    #[inline(always)]
    fn sum<B: Block, const I: usize>(&mut self, h: V, constant: u32) -> V {
        self.make::<B, I>();
        let constant = V::splat(self.cpu, constant);
        if const { B::PLAN.varies(I) } {
            self.words[I % 16].add(constant).add(h)
        } else {
            h.add(constant)
        }
    }

    #[inline(always)]
    fn round<B: Block, const I: usize>(&mut self, state: &mut State<V>) {
        let sum = self.sum::<B, I>(state.h::<I>(), self.constants[I]);
        state.round::<I>(sum);
    }

    #[inline(always)]
    fn round_of_e<B: Block, const I: usize>(&mut self, state: &mut State<V>, constant: u32) {
        let sum = self.sum::<B, I>(state.h::<I>(), constant);
        state.round_of_e::<I>(sum);
    }
}

macro_rules! rounds {
    ($block:ty, $schedule:ident, $state:ident: $($i:literal)*) => {
        $($schedule.round::<$block, $i>(&mut $state);)*
    };
}

/// The most significant word of the digests of these nonces, as a number.
#[inline(always)]
pub(super) fn top_word<V: Lanes>(cpu: V::Cpu, prepared: &Prepared, nonces: V) -> V {
    outer(cpu, inner(cpu, prepared, nonces))
}

/// The first hash's digest.
#[inline(always)]
fn inner<V: Lanes>(cpu: V::Cpu, prepared: &Prepared, nonces: V) -> [V; 8] {
    let Prepared {
        midstate,
        before,
        after_a,
        after_e,
        fixed,
        constants,
        ..
    } = prepared;
    let nonces = nonces.swap_bytes();
    let mut schedule = Schedule {
        cpu,
        words: [nonces; 16],
        fixed,
        constants,
    };
    let (a, e) = (
        V::splat(cpu, *after_a).add(nonces),
        V::splat(cpu, *after_e).add(nonces),
    );
    let mut state = State::after::<3>(cpu, before, a, e);
    // `h` is one of the fixed variables for three more rounds.
    state.round::<4>(V::splat(cpu, before[6].wrapping_add(constants[4])));
    state.round::<5>(V::splat(cpu, before[5].wrapping_add(constants[5])));
    state.round::<6>(V::splat(cpu, before[4].wrapping_add(constants[6])));
    rounds!(HeaderEnd, schedule, state: 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26
        27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56
        57 58 59 60 61 62 63);
    let mut digest = state.variables;
    for (word, initial) in digest.iter_mut().zip(midstate) {
        *word = word.add(V::splat(cpu, *initial));
    }
    digest
}

/// The most significant word of the second hash's digest, as a number.
#[inline(always)]
fn outer<V: Lanes>(cpu: V::Cpu, digest: [V; 8]) -> V {
    let mut words = [digest[0]; 16];
    words[..8].copy_from_slice(&digest);
    let mut schedule = Schedule {
        cpu,
        words,
        fixed: &OUTER_FIXED,
        constants: &OUTER_CONSTANTS,
    };
    let (a, e) = (V::splat(cpu, OUTER_AFTER[0]), V::splat(cpu, OUTER_AFTER[4]));
    let mut state = State::after::<0>(cpu, &INITIAL, a.add(digest[0]), e.add(digest[0]));
    state.round::<1>(digest[1].add(V::splat(cpu, INITIAL[6].wrapping_add(K[1]))));
    state.round::<2>(digest[2].add(V::splat(cpu, INITIAL[5].wrapping_add(K[2]))));
    state.round::<3>(digest[3].add(V::splat(cpu, INITIAL[4].wrapping_add(K[3]))));
    rounds!(InnerDigest, schedule, state: 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
        25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54
        55 56);
    schedule.round_of_e::<InnerDigest, 57>(&mut state, OUTER_CONSTANTS[57]);
    schedule.round_of_e::<InnerDigest, 58>(&mut state, OUTER_CONSTANTS[58]);
    schedule.round_of_e::<InnerDigest, 59>(&mut state, OUTER_CONSTANTS[59]);
    // After round 60, `e` only moves on until it is `h`; the initial `h` is added to it here.
    let last = OUTER_CONSTANTS[60].wrapping_add(INITIAL[7]);
    schedule.round_of_e::<InnerDigest, 60>(&mut state, last);
    state.e_after::<60>().swap_bytes()
}
