//! How many vector operations a hash takes at least, counted from the kernels' own source.
//!
//! [`Traced`] runs a kernel without computing anything: it notes which value came from which. Then
//! those that the result needs and that differ between nonces are counted, as an instruction set
//! with rotations and three-operand logic (AVX-512) would execute them.

use std::cell::RefCell;

use super::lanes::Lanes;
use super::{blake3, sha256d};
use cairn_protocol::pow::PowFunction;

/// A value: its place in the trace.
#[derive(Clone, Copy)]
struct Traced(usize);

/// Where a value came from. Only values that depend on the nonce have operands.
type Operands = Vec<usize>;

thread_local! {
    static TRACE: RefCell<Vec<Operands>> = const { RefCell::new(Vec::new()) };
}

fn note(operands: Operands) -> Traced {
    TRACE.with_borrow_mut(|trace| {
        trace.push(operands);
        Traced(trace.len() - 1)
    })
}

/// An operation: counted only if one of its operands depends on the nonce.
fn operation(operands: &[Traced]) -> Traced {
    let varies = |value: &&Traced| TRACE.with_borrow(|trace| !trace[value.0].is_empty());
    note(
        operands
            .iter()
            .filter(varies)
            .map(|value| value.0)
            .collect(),
    )
}

impl Lanes for Traced {
    const COUNT: u32 = 1;
    type Cpu = ();

    fn splat((): (), _: u32) -> Self {
        note(Vec::new())
    }
    fn counting((): (), _: u32) -> Self {
        // The nonces: the root of the trace, its own operand.
        let root = TRACE.with_borrow(Vec::len);
        note(vec![root])
    }
    fn add(self, other: Self) -> Self {
        operation(&[self, other])
    }
    fn xor(self, other: Self) -> Self {
        operation(&[self, other])
    }
    fn rotate<const N: i32>(self) -> Self {
        operation(&[self])
    }
    fn shift<const N: i32>(self) -> Self {
        operation(&[self])
    }
    fn xor3(self, b: Self, c: Self) -> Self {
        operation(&[self, b, c])
    }
    fn choose(self, f: Self, g: Self) -> Self {
        operation(&[self, f, g])
    }
    fn majority(self, b: Self, c: Self, _: Self) -> (Self, Self) {
        (operation(&[self, b, c]), self)
    }
    fn swap_bytes(self) -> Self {
        operation(&[self])
    }
    fn in_order(self) -> Self {
        self
    }
    fn at_most(self, _: Self) -> u32 {
        0
    }
}

/// Operations of one nonce's hash.
pub(crate) fn operations(function: PowFunction) -> usize {
    TRACE.with_borrow_mut(Vec::clear);
    let nonces = Traced::counting((), 0);
    let header = &[0; 80];
    let result = match function {
        PowFunction::Sha256d => sha256d::top_word((), &sha256d::Prepared::new(header), nonces),
        PowFunction::Blake3 => blake3::top_word((), &blake3::Prepared::new(header), nonces),
    };
    TRACE.with_borrow(|trace| {
        let mut is_needed = vec![false; trace.len()];
        is_needed[result.0] = true;
        // Operands come before what is made of them.
        for value in (0..trace.len()).rev().filter(|&value| value != nonces.0) {
            if is_needed[value] {
                trace[value]
                    .iter()
                    .for_each(|&operand| is_needed[operand] = true);
            }
        }
        let varying = |value: &usize| is_needed[*value] && !trace[*value].is_empty();
        (0..trace.len()).filter(varying).count() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sixteenth of each falls to one lane: 178 and 38.7. A change of the kernels shows here.
    #[test]
    fn the_counts_are_those_of_the_kernels() {
        assert_eq!(operations(PowFunction::Sha256d), 2848);
        assert_eq!(operations(PowFunction::Blake3), 619);
    }
}
