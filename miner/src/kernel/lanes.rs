//! Many 32-bit words computed side by side.
//!
//! The kernels are written once over [`Lanes`] and instantiated for each instruction set inside one
//! function that enables it; every method here is `#[inline(always)]`, so nothing is left of the
//! abstraction there. Invariant: a value of a lane type exists only on a processor that has the
//! instructions, because every first one is made from the type's [`Lanes::Cpu`], which is proof of
//! a successful detection. That is what the `unsafe` blocks of the implementations rely on.

/// A vector of 32-bit words.
pub(super) trait Lanes: Copy {
    /// Words side by side; at most 32.
    const COUNT: u32;
    /// Vectors that each operation works on, one independent of the other.
    const VECTORS: u32 = 1;
    /// Proof that the processor has the instructions.
    type Cpu: Copy;

    /// The same word in all lanes.
    fn splat(cpu: Self::Cpu, word: u32) -> Self;
    /// `start`, `start + 1`, … (wrapping).
    fn counting(cpu: Self::Cpu, start: u32) -> Self;
    /// Wrapping sum.
    fn add(self, other: Self) -> Self;
    /// Exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Rotation to the right by `N` bits, 0 < N < 32.
    fn rotate<const N: i32>(self) -> Self;
    /// Shift to the right by `N` bits, 0 < N < 32.
    fn shift<const N: i32>(self) -> Self;
    /// Exclusive or of three.
    fn xor3(self, b: Self, c: Self) -> Self;
    /// The bits of `f` where `self` has ones, those of `g` elsewhere.
    fn choose(self, f: Self, g: Self) -> Self;
    /// The majority of `self`, `b` and `c`, given `b ^ c`; and `self ^ b` for the next call, if
    /// this instruction set gains from it.
    fn majority(self, b: Self, c: Self, b_xor_c: Self) -> (Self, Self);
    /// Each word with its bytes reversed.
    fn swap_bytes(self) -> Self;
    /// The same words; the compiler keeps these calls in order, and so what they wait for. Left to
    /// itself it finishes one independent chain of a kernel before it begins the next, and the
    /// processor cannot look far enough ahead to overlap them.
    fn in_order(self) -> Self;
    /// A bit for each lane whose word is at or below the bound, lane 0 lowest.
    fn at_most(self, bound: Self) -> u32;
}

/// One lane: plain arithmetic, for any processor.
impl Lanes for u32 {
    const COUNT: u32 = 1;
    type Cpu = ();

    #[inline(always)]
    fn splat((): (), word: u32) -> Self {
        word
    }
    #[inline(always)]
    fn counting((): (), start: u32) -> Self {
        start
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        self.rotate_right(N.unsigned_abs())
    }
    #[inline(always)]
    fn shift<const N: i32>(self) -> Self {
        self >> N
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        self ^ b ^ c
    }
    #[inline(always)]
    fn choose(self, f: Self, g: Self) -> Self {
        g ^ (self & (f ^ g))
    }
    #[inline(always)]
    fn majority(self, b: Self, _: Self, b_xor_c: Self) -> (Self, Self) {
        let a_xor_b = self ^ b;
        (b ^ (a_xor_b & b_xor_c), a_xor_b)
    }
    #[inline(always)]
    fn swap_bytes(self) -> Self {
        self.swap_bytes()
    }
    #[inline(always)]
    fn in_order(self) -> Self {
        self
    }
    #[inline(always)]
    fn at_most(self, bound: Self) -> u32 {
        u32::from(self <= bound)
    }
}

/// Two vectors side by side, for twice the work that waits for nothing: with one alone the units
/// stand idle a fifth of the time, because the processor looks ahead only so far.
#[derive(Clone, Copy)]
pub(super) struct Pair<V>(V, V);

impl<V: Lanes> Lanes for Pair<V> {
    const COUNT: u32 = 2 * V::COUNT;
    const VECTORS: u32 = 2 * V::VECTORS;
    type Cpu = V::Cpu;

    #[inline(always)]
    fn splat(cpu: V::Cpu, word: u32) -> Self {
        let words = V::splat(cpu, word);
        Self(words, words)
    }
    #[inline(always)]
    fn counting(cpu: V::Cpu, start: u32) -> Self {
        let second = start.wrapping_add(V::COUNT);
        Self(V::counting(cpu, start), V::counting(cpu, second))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0.xor(other.0), self.1.xor(other.1))
    }
    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        Self(self.0.rotate::<N>(), self.1.rotate::<N>())
    }
    #[inline(always)]
    fn shift<const N: i32>(self) -> Self {
        Self(self.0.shift::<N>(), self.1.shift::<N>())
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Self(self.0.xor3(b.0, c.0), self.1.xor3(b.1, c.1))
    }
    #[inline(always)]
    fn choose(self, f: Self, g: Self) -> Self {
        Self(self.0.choose(f.0, g.0), self.1.choose(f.1, g.1))
    }
    #[inline(always)]
    fn majority(self, b: Self, c: Self, b_xor_c: Self) -> (Self, Self) {
        let (first, next_first) = self.0.majority(b.0, c.0, b_xor_c.0);
        let (second, next_second) = self.1.majority(b.1, c.1, b_xor_c.1);
        (Self(first, second), Self(next_first, next_second))
    }
    #[inline(always)]
    fn swap_bytes(self) -> Self {
        Self(self.0.swap_bytes(), self.1.swap_bytes())
    }
    #[inline(always)]
    fn in_order(self) -> Self {
        Self(self.0.in_order(), self.1.in_order())
    }
    #[inline(always)]
    fn at_most(self, bound: Self) -> u32 {
        self.0.at_most(bound.0) | self.1.at_most(bound.1) << V::COUNT
    }
}

/// Defines the scan of one function by vectors of a lane type: detection, then the body inside a
/// function that has the instructions.
macro_rules! vector_scan {
    ($name:ident, $function:ident, $lanes:ty, $features:literal) => {
        /// Reports candidates.
        pub(super) fn $name(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
            #[target_feature(enable = $features)]
            fn vectors(cpu: Cpu, work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
                let (prepared, top) = (work.$function(), <$lanes>::splat(cpu, work.top));
                scan_vectors(cpu, start, count, candidate, |nonces: $lanes| {
                    $function::top_word(cpu, prepared, nonces).at_most(top)
                })
            }
            let cpu = Cpu::detect().expect("the kernel is looked up only where it is available");
            // SAFETY: `cpu` proves that the features are there.
            unsafe { vectors(cpu, work, start, count, candidate) }
        }
    };
}
pub(super) use vector_scan;

/// Runs a kernel's body over `count` nonces from `start` in whole vectors, and reports each lane
/// that it marks.
#[inline(always)]
pub(super) fn scan_vectors<V: Lanes>(
    cpu: V::Cpu,
    start: u32,
    count: u32,
    candidate: &mut dyn FnMut(u32) -> bool,
    marked: impl Fn(V) -> u32,
) {
    let mut offset = 0;
    loop {
        let mut lanes = marked(V::counting(cpu, start.wrapping_add(offset)));
        while lanes != 0 {
            if candidate(offset + lanes.trailing_zeros()) {
                return;
            }
            lanes &= lanes - 1;
        }
        // Counts up to 2^32 - 1 are allowed, so compare before the step could overflow.
        if count - offset <= V::COUNT {
            return;
        }
        offset += V::COUNT;
    }
}
