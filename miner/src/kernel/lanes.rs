//! Many 32-bit words computed side by side.
//!
//! The kernels are written once over [`Lanes`] and instantiated for each instruction set inside one
//! function that enables it; every method here is `#[inline(always)]`, so nothing is left of the
//! abstraction there. Invariant: a value of a lane type exists only on a processor that has the
//! instructions, because every first one is made from the type's [`Lanes::Cpu`], which is proof of
//! a successful detection. That is what the `unsafe` blocks of the implementations rely on.

/// A vector of 32-bit words.
pub(super) trait Lanes: Copy {
    /// Words in a vector; at most 32.
    const COUNT: u32;
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
