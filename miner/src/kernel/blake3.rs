//! BLAKE3 of a header, for as many nonces at once as there are lanes.
//!
//! A header is one chunk of two blocks. The first block's chaining value and what the second block's
//! first round computes without the nonce are the same for all nonces. Twelve of the second block's
//! sixteen words are zero and are never added. Of the output only word 7 is computed, and of the
//! last round only what that needs.
//! Names and numbers are those of the BLAKE3 paper, 2.2.

use super::lanes::{Lanes, scan_vectors};
use super::sha256d::INITIAL;
use super::{Candidate, Work};

/// Flags and the bytes of the second block.
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;
const SECOND_BYTES: u32 = 16;

/// The word of the second block that holds the nonce; those above are zero.
const NONCE_WORD: usize = 3;

/// Which message word each half of each `G` takes, by round.
const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rounds = [[0; 16]; 7];
    let mut i = 0;
    while i < 16 {
        rounds[0][i] = i;
        i += 1;
    }
    let mut round = 1;
    while round < 7 {
        i = 0;
        while i < 16 {
            rounds[round][i] = rounds[round - 1][PERMUTATION[i]];
            i += 1;
        }
        round += 1;
    }
    rounds
};

/// The columns and the diagonals of the state.
const GROUPS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// What all nonces of a header share.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The second block's words before the nonce.
    words: [u32; NONCE_WORD],
    /// The state where the nonce enters: round 0's columns done, but of column 1 only up to the
    /// sum that the nonce is part of; of the diagonals what does not touch column 1.
    state: [u32; 16],
}

impl Prepared {
    pub(super) fn new(header: &[u8; 80]) -> Self {
        let words: [u32; 20] = std::array::from_fn(|i| {
            u32::from_le_bytes(std::array::from_fn(|byte| header[4 * i + byte]))
        });
        let mut block = [0; 16];
        block.copy_from_slice(&words[..16]);
        let value = compress(&INITIAL, &block, 64, CHUNK_START);
        let mut block = [0; 16];
        block[..NONCE_WORD].copy_from_slice(&words[16..16 + NONCE_WORD]);
        let mut state = initial_state(&value, SECOND_BYTES, CHUNK_END | ROOT);
        for column in [0, 2, 3] {
            g_scalar(
                &mut state,
                GROUPS[column],
                block[2 * column],
                block[2 * column + 1],
            );
        }
        let [a, b, c, d] = GROUPS[1];
        half_scalar(&mut state, [a, b, c, d], block[2], 16, 12);
        state[a] = state[a].wrapping_add(state[b]);
        // Diagonals 2 and 3 begin with sums of columns 2 and 3 alone.
        state[2] = state[2].wrapping_add(state[7]);
        state[3] = state[3].wrapping_add(state[4]);
        state[14] = (state[14] ^ state[3]).rotate_right(16);
        Self {
            words: std::array::from_fn(|i| block[i]),
            state,
        }
    }
}

fn initial_state(value: &[u32; 8], bytes: u32, flags: u32) -> [u32; 16] {
    let mut state = [0; 16];
    state[..8].copy_from_slice(value);
    state[8..12].copy_from_slice(&INITIAL[..4]);
    state[14..].copy_from_slice(&[bytes, flags]);
    state
}

/// The chaining value after one block of a first chunk.
fn compress(value: &[u32; 8], block: &[u32; 16], bytes: u32, flags: u32) -> [u32; 8] {
    let mut state = initial_state(value, bytes, flags);
    for order in SCHEDULE {
        for (group, words) in GROUPS.into_iter().zip(order.chunks_exact(2)) {
            g_scalar(&mut state, group, block[words[0]], block[words[1]]);
        }
    }
    std::array::from_fn(|i| state[i] ^ state[i + 8])
}

fn g_scalar(state: &mut [u32; 16], group: [usize; 4], x: u32, y: u32) {
    half_scalar(state, group, x, 16, 12);
    half_scalar(state, group, y, 8, 7);
}

fn half_scalar(v: &mut [u32; 16], [a, b, c, d]: [usize; 4], word: u32, first: u32, second: u32) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(word);
    v[d] = (v[d] ^ v[a]).rotate_right(first);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(second);
}

/// The state of all lanes, and the message words that are not zero.
struct State<V> {
    v: [V; 16],
    words: [V; NONCE_WORD + 1],
}

impl<V: Lanes> State<V> {
    /// Half a `G` after its first sum: `ROTATE_D`, `ROTATE_B` are 16, 12 or 8, 7.
    #[inline(always)]
    fn mix<const ROTATE_D: i32, const ROTATE_B: i32>(&mut self, [a, b, c, d]: [usize; 4]) {
        let v = &mut self.v;
        v[d] = v[d].xor(v[a]).rotate::<ROTATE_D>();
        v[c] = v[c].add(v[d]);
        v[b] = v[b].xor(v[c]).rotate::<ROTATE_B>();
    }

    /// Four times [`Self::mix`], side by side. A single vector needs that order kept.
    #[inline(always)]
    fn mix_four<const ROTATE_D: i32, const ROTATE_B: i32, const FIRST: usize>(&mut self) {
        let in_order = |words: V| match V::VECTORS {
            1 => words.in_order(),
            _ => words,
        };
        let v = &mut self.v;
        for [a, _, _, d] in GROUPS.into_iter().skip(FIRST).take(4) {
            v[d] = in_order(v[d].xor(v[a]).rotate::<ROTATE_D>());
        }
        for [_, b, c, d] in GROUPS.into_iter().skip(FIRST).take(4) {
            v[c] = v[c].add(v[d]);
            v[b] = in_order(v[b].xor(v[c]).rotate::<ROTATE_B>());
        }
    }

    /// `a += b + word`; a word that is zero is not added.
    #[inline(always)]
    fn sum(&mut self, [a, b, ..]: [usize; 4], word: usize) {
        if word <= NONCE_WORD {
            self.v[a] = self.v[a].add(self.words[word]);
        }
        self.v[a] = self.v[a].add(self.v[b]);
    }

    /// Four `G`s side by side: the columns (`FIRST` 0) or the diagonals (`FIRST` 4) of a round.
    #[inline(always)]
    fn four<const ROUND: usize, const FIRST: usize>(&mut self) {
        for i in FIRST..FIRST + 4 {
            self.sum(GROUPS[i], SCHEDULE[ROUND][2 * i]);
        }
        self.mix_four::<16, 12, FIRST>();
        self.second_halves::<ROUND, FIRST>();
    }

    #[inline(always)]
    fn second_halves<const ROUND: usize, const FIRST: usize>(&mut self) {
        for i in FIRST..FIRST + 4 {
            self.sum(GROUPS[i], SCHEDULE[ROUND][2 * i + 1]);
        }
        self.mix_four::<8, 7, FIRST>();
    }

    #[inline(always)]
    fn round<const ROUND: usize>(&mut self) {
        self.four::<ROUND, 0>();
        self.four::<ROUND, 4>();
    }

    /// The output's word 7, from what it needs of round 6's diagonals: of diagonal 0 up to its last
    /// `d`, all of diagonal 2.
    #[inline(always)]
    fn last_diagonals(&mut self) -> V {
        let ([a, .., d], [_, b, ..]) = (GROUPS[4], GROUPS[6]);
        for i in [4, 6] {
            self.sum(GROUPS[i], SCHEDULE[6][2 * i]);
            self.mix::<16, 12>(GROUPS[i]);
            self.sum(GROUPS[i], SCHEDULE[6][2 * i + 1]);
        }
        self.v[d] = self.v[d].xor(self.v[a]).rotate::<8>();
        self.mix::<8, 7>(GROUPS[6]);
        self.v[b].xor(self.v[d])
    }
}

/// The most significant word of the digests of these nonces, as a number.
#[inline(always)]
pub(super) fn top_word<V: Lanes>(cpu: V::Cpu, prepared: &Prepared, nonces: V) -> V {
    // Loops, because the closure of an array's `map` would not be part of the kernel's function.
    let mut state = State {
        v: [nonces; 16],
        words: [nonces; NONCE_WORD + 1],
    };
    for (lanes, word) in state.v.iter_mut().zip(prepared.state) {
        *lanes = V::splat(cpu, word);
    }
    for (lanes, word) in state.words.iter_mut().zip(prepared.words) {
        *lanes = V::splat(cpu, word);
    }
    // Round 0 from where the nonce enters.
    state.v[1] = state.v[1].add(nonces);
    state.mix::<8, 7>(GROUPS[1]);
    state.sum(GROUPS[4], SCHEDULE[0][8]);
    state.sum(GROUPS[5], SCHEDULE[0][10]);
    state.mix::<16, 12>(GROUPS[4]);
    state.mix::<16, 12>(GROUPS[5]);
    state.mix::<16, 12>(GROUPS[6]);
    let [_, b, c, d] = GROUPS[7];
    state.v[c] = state.v[c].add(state.v[d]);
    state.v[b] = state.v[b].xor(state.v[c]).rotate::<12>();
    state.second_halves::<0, 4>();

    state.round::<1>();
    state.round::<2>();
    state.round::<3>();
    state.round::<4>();
    state.round::<5>();
    state.four::<6, 0>();
    state.last_diagonals()
}

/// Reports candidates of BLAKE3, one nonce at a time.
pub(super) fn scan_scalar(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    scan_vectors((), start, count, candidate, |nonce: u32| {
        top_word((), work.blake3(), nonce).at_most(work.top)
    });
}
