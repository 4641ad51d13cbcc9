//! Every kernel gives the same answer: the lowest hit, as the plain crates find it.
//!
//! The property is tried on random headers, targets and ranges; golden lowest nonces and genuine
//! Bitcoin headers pin the answers themselves, so that all kernels being wrong together shows too.

use std::ops::Range;

use proptest::prelude::*;
use ruint::aliases::U256;

use super::{Kernel, Search, Work, blake3, sha256d, top_of};
use crate::template::with_nonce;
use cairn_protocol::pow::PowFunction;

/// What each kernel of this processor finds.
fn answers(
    function: PowFunction,
    header: &[u8; 80],
    target: U256,
    range: &Range<u64>,
) -> Vec<(Kernel, Option<u32>)> {
    let work = Work::new(function, *header, target);
    let searches = Kernel::ALL
        .into_iter()
        .filter_map(|kernel| Search::new(kernel, function));
    searches
        .map(|search| (search.kernel, search.lowest(&work, range.clone())))
        .collect()
}

fn lowest_by_hand(
    function: PowFunction,
    header: &[u8; 80],
    target: U256,
    mut range: Range<u64>,
) -> Option<u32> {
    let solves = |nonce: &u64| {
        let mut header = *header;
        header[76..].copy_from_slice(&(*nonce as u32).to_le_bytes());
        function.digest(&header) <= target
    };
    range.find(solves).map(|nonce| nonce as u32)
}

/// The portable lane computes the plain crates' top words, bit for bit.
#[test]
fn one_lane_computes_the_top_word_of_the_digest() {
    for seed in 0..40u8 {
        let header: [u8; 80] = std::array::from_fn(|i| (i as u8).wrapping_mul(seed) ^ seed);
        let nonce = u32::from_le_bytes([seed, 1, seed.rotate_left(3), 0xf0]);
        let solved = with_nonce(header, nonce);
        let top_of_digest = |function: PowFunction| top_of(function.digest(&solved));
        let sha256d = sha256d::top_word::<u32>((), &sha256d::Prepared::new(&header), nonce);
        assert_eq!(sha256d, top_of_digest(PowFunction::Sha256d), "seed {seed}");
        let blake3 = blake3::top_word::<u32>((), &blake3::Prepared::new(&header), nonce);
        assert_eq!(blake3, top_of_digest(PowFunction::Blake3), "seed {seed}");
    }
}

fn any_header() -> impl Strategy<Value = [u8; 80]> {
    prop::collection::vec(any::<u8>(), 80).prop_map(|bytes| bytes.try_into().unwrap())
}

/// Ranges of odd lengths all over the nonces, also up to the very last.
fn any_range() -> impl Strategy<Value = Range<u64>> {
    let length = prop_oneof![0..20u64, 0..700u64, 4090..4110u64, 16_380..16_390u64];
    let start = prop_oneof![0..64u64, 0..1u64 << 32, (1u64 << 32) - 2000..1u64 << 32];
    (start, length).prop_map(|(start, length)| start..(start + length).min(1 << 32))
}

/// Targets from "everything" down to one hit in some thousands, with any lower digits, so that
/// candidates by the top word alone are often no hits.
fn any_target() -> impl Strategy<Value = U256> {
    (any::<[u64; 4]>(), 0..14usize).prop_map(|(limbs, shift)| U256::from_limbs(limbs) >> shift)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_kernel_finds_the_lowest_hit(
        header in any_header(),
        target in any_target(),
        range in any_range(),
    ) {
        for function in PowFunction::ALL {
            let expected = lowest_by_hand(function, &header, target, range.clone());
            for (kernel, answer) in answers(function, &header, target, &range) {
                prop_assert_eq!(answer, expected, "{} {}", function, kernel);
            }
        }
    }

    /// A target that equals a digest is met; one less is not.
    #[test]
    fn the_target_itself_is_a_hit(header in any_header(), nonce in any::<u32>()) {
        for function in PowFunction::ALL {
            let mut solved = header;
            solved[76..].copy_from_slice(&nonce.to_le_bytes());
            let digest = function.digest(&solved);
            let range = u64::from(nonce)..u64::from(nonce) + 1;
            for (kernel, answer) in answers(function, &header, digest, &range) {
                prop_assert_eq!(answer, Some(nonce), "{} {}", function, kernel);
            }
            for (kernel, answer) in answers(function, &header, digest - U256::ONE, &range) {
                prop_assert_eq!(answer, None, "{} {}", function, kernel);
            }
        }
    }
}

/// The lowest nonces of a header of the bytes 0 to 75 at one hit in 2^16.
#[test]
fn golden_lowest_nonces() {
    let header = std::array::from_fn(|i| if i < 76 { i as u8 } else { 0 });
    let golden = [
        (PowFunction::Sha256d, GOLDEN_SHA256D),
        (PowFunction::Blake3, GOLDEN_BLAKE3),
    ];
    for (function, nonce) in golden {
        let answers = answers(function, &header, U256::MAX >> 16, &(0..1 << 20));
        assert!(answers.len() >= 2);
        for (kernel, answer) in answers {
            assert_eq!(answer, Some(nonce), "{function} {kernel}");
        }
    }
}

const GOLDEN_SHA256D: u32 = 223_781;
const GOLDEN_BLAKE3: u32 = 10_088;

/// Headers of Bitcoin's main chain as they are on the wire, with their heights.
const BITCOIN: [(u32, &str); 3] = [
    (
        0,
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2\
         7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
    ),
    (
        1,
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744\
         bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
    ),
    (
        125_552,
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d75\
         0423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
    ),
];

/// Bitcoin's compact form of a target.
fn target_of(bits: u32) -> U256 {
    U256::from(bits & 0x00ff_ffff) << (8 * (bits as usize >> 24) - 24)
}

#[test]
fn bitcoins_own_nonces_are_found() {
    for (height, hex) in BITCOIN {
        let header: [u8; 80] =
            std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (target, nonce) = (target_of(word(72)), word(76));
        assert!(
            PowFunction::Sha256d.digest(&header) <= target,
            "block {height}"
        );
        let range = u64::from(nonce) - 3333..u64::from(nonce) + 3333;
        for (kernel, answer) in answers(PowFunction::Sha256d, &header, target, &range) {
            assert_eq!(answer, Some(nonce), "block {height} {kernel}");
        }
    }
}
