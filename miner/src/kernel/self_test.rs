//! No kernel is trusted before it has agreed with the plain crates on this processor.
//!
//! Vector code has been wrong on some processors only (RUSTSEC-2021-0100), so a test at build time
//! is not enough.

use std::ops::Range;

use ruint::aliases::U256;

use super::{Kernel, Search, Work};
use cairn_protocol::pow::PowFunction;

/// Nonces of each trial: odd starts and lengths, and the last nonce of the space.
const TRIALS: [Range<u64>; 3] = [
    0..131,
    0x1234_5677..0x1234_5677 + 97,
    (1 << 32) - 75..1 << 32,
];

/// A target that one nonce in eight meets.
fn target() -> U256 {
    U256::MAX >> 3
}

/// Why a kernel is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kernel {kernel} for {function} is refused: from nonce {start} it gave {got:?}, \
     the plain crate gives {expected:?}"
)]
pub struct Refusal {
    /// The kernel.
    pub kernel: Kernel,
    /// The function.
    pub function: PowFunction,
    /// The first nonce of the range that it got wrong.
    pub start: u64,
    /// The lowest hit it found.
    pub got: Option<u32>,
    /// The lowest hit.
    pub expected: Option<u32>,
}

/// Compares all hits of a search on a few headers with those of the plain crate.
pub(crate) fn self_test(search: &Search) -> Result<(), Refusal> {
    let naive = Search::new(Kernel::Naive, search.function).expect("naive runs everywhere");
    for (seed, nonces) in TRIALS.into_iter().enumerate() {
        let header = std::array::from_fn(|i| (i * 7 + seed * 31) as u8);
        let work = Work::new(search.function, header, target());
        let mut start = nonces.start;
        while start < nonces.end {
            let got = search.lowest(&work, start..nonces.end);
            let expected = naive.lowest(&work, start..nonces.end);
            if got != expected {
                let (kernel, function) = (search.kernel, search.function);
                return Err(Refusal {
                    kernel,
                    function,
                    start,
                    got,
                    expected,
                });
            }
            start = expected.map_or(nonces.end, |nonce| u64::from(nonce) + 1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_this_processor_passes() {
        for kernel in Kernel::ALL {
            for search in PowFunction::ALL
                .into_iter()
                .filter_map(|f| Search::new(kernel, f))
            {
                assert_eq!(self_test(&search), Ok(()));
            }
        }
    }

    #[test]
    fn a_broken_kernel_is_refused_with_a_message() {
        for function in PowFunction::ALL {
            let refusal = self_test(&Search::broken(function)).unwrap_err();
            assert_eq!(
                refusal
                    .expected
                    .map(|nonce| (u64::from(nonce) - refusal.start) % 8),
                Some(3)
            );
            let message = refusal.to_string();
            assert!(message.starts_with(&format!("kernel scalar for {function} is refused: from")));
        }
    }

    #[test]
    fn the_trials_hold_several_hits_each() {
        for function in PowFunction::ALL {
            let search = Search::new(Kernel::Naive, function).unwrap();
            let work = Work::new(function, [3; 80], target());
            let mut hits = 0;
            let mut start = 0;
            while let Some(nonce) = search.lowest(&work, start..131) {
                (hits, start) = (hits + 1, u64::from(nonce) + 1);
            }
            assert!(
                (5..40).contains(&hits),
                "{hits} hits of 131 nonces at one in eight"
            );
        }
    }
}
