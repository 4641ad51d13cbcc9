//! The kernels: ways to hash many nonces of one header.
//!
//! A kernel only proposes candidates: nonces whose digest's most significant word may be at or
//! below the target's. [`Search::lowest`] asks the plain crates about each, in ascending order, so
//! every kernel gives the same answer. Which kernels a processor can run is found at run time, and
//! none is used before it has agreed with the plain crates ([`self_test`]).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blake3;
#[cfg(test)]
mod equality;
mod lanes;
mod naive;
pub(crate) mod operations;
mod scalar;
pub(crate) mod self_test;
mod sha256d;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use ruint::aliases::U256;
use serde::{Deserialize, Serialize};

use crate::template::{HEADER_BYTES, with_nonce};
use cairn_protocol::pow::PowFunction;

/// A way to hash many nonces of one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kernel {
    /// The plain crate, one whole header after another: the yardstick, never chosen by itself.
    #[serde(rename = "naive")]
    Naive,
    /// One header at a time, its first block hashed once.
    #[serde(rename = "scalar")]
    Scalar,
    /// Eight lanes.
    #[serde(rename = "avx2")]
    Avx2,
    /// The processor's SHA-256 instructions, four nonces interleaved.
    #[serde(rename = "sha-ni")]
    ShaNi,
    /// Sixteen lanes.
    #[serde(rename = "avx512")]
    Avx512,
}

/// Receives candidates, as offsets from the first nonce in ascending order; true ends the scan.
type Candidate<'a> = &'a mut dyn FnMut(u32) -> bool;

/// Hashes `count` nonces from `start` (wrapping at 2^32) and reports the candidates. It may report
/// offsets at or beyond `count`.
type Scan = fn(work: &Work, start: u32, count: u32, candidate: Candidate<'_>);

impl Kernel {
    /// All kernels, the slowest first.
    pub const ALL: [Self; 5] = [
        Self::Naive,
        Self::Scalar,
        Self::Avx2,
        Self::ShaNi,
        Self::Avx512,
    ];

    /// The name in reports, flags and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::ShaNi => "sha-ni",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this kernel exists for a function, on whatever processor.
    pub fn implements(self, function: PowFunction) -> bool {
        self.scan(function).is_some()
    }

    /// Whether this processor has the instructions that the kernel needs.
    pub fn is_available(self) -> bool {
        match self {
            Self::Naive | Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Cpu::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => sha_ni::Cpu::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Cpu::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::ShaNi | Self::Avx512 => false,
        }
    }

    /// The code. `None` where the kernel does not exist for this function or architecture.
    pub(crate) fn scan(self, function: PowFunction) -> Option<Scan> {
        match (self, function) {
            (Self::Naive, _) => Some(naive::scan),
            (Self::Scalar, PowFunction::Sha256d) => Some(scalar::scan),
            (Self::Scalar, PowFunction::Blake3) => Some(blake3::scan_scalar),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, PowFunction::Sha256d) => Some(avx2::scan_sha256d),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, PowFunction::Blake3) => Some(avx2::scan_blake3),
            #[cfg(target_arch = "x86_64")]
            (Self::ShaNi, PowFunction::Sha256d) => Some(sha_ni::scan),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, PowFunction::Sha256d) => Some(avx512::scan_sha256d),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, PowFunction::Blake3) => Some(avx512::scan_blake3),
            _ => None,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.name() == name)
            .ok_or_else(|| UnknownKernel(name.to_owned()))
    }
}

/// A name that no kernel has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kernel {0:?}: expected one of {names}", names = Kernel::ALL.map(Kernel::name).join(", "))]
pub struct UnknownKernel(pub String);

/// Vector operations per second of the calling thread's processor time, and lanes of a vector, where
/// the fastest kernels run; measured in a few milliseconds.
pub(crate) fn vector_speed() -> Option<(f64, u32)> {
    #[cfg(target_arch = "x86_64")]
    return avx512::speed();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// A header and a target, with what all nonces share computed once.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    function: PowFunction,
    header: [u8; HEADER_BYTES],
    target: U256,
    /// The most significant word of the target.
    top: u32,
    prepared: Prepared,
}

/// What a function's kernels share between the nonces of one header.
#[derive(Clone, Debug)]
enum Prepared {
    Sha256d(Box<sha256d::Prepared>),
    Blake3(Box<blake3::Prepared>),
}

impl Work {
    pub(crate) fn new(function: PowFunction, header: [u8; HEADER_BYTES], target: U256) -> Self {
        let prepared = match function {
            PowFunction::Sha256d => Prepared::Sha256d(Box::new(sha256d::Prepared::new(&header))),
            PowFunction::Blake3 => Prepared::Blake3(Box::new(blake3::Prepared::new(&header))),
        };
        let top = top_of(target);
        Self {
            function,
            header,
            target,
            top,
            prepared,
        }
    }

    fn sha256d(&self) -> &sha256d::Prepared {
        match &self.prepared {
            Prepared::Sha256d(prepared) => prepared,
            Prepared::Blake3(_) => unreachable!("a sha256d kernel is looked up by its function"),
        }
    }

    fn blake3(&self) -> &blake3::Prepared {
        match &self.prepared {
            Prepared::Blake3(prepared) => prepared,
            Prepared::Sha256d(_) => unreachable!("a blake3 kernel is looked up by its function"),
        }
    }

    /// Whether the plain crate accepts this nonce.
    fn is_solved_by(&self, nonce: u32) -> bool {
        self.function.digest(&with_nonce(self.header, nonce)) <= self.target
    }
}

/// The most significant word of a digest or target.
fn top_of(number: U256) -> u32 {
    (number >> 224usize).to::<u32>()
}

/// The code of one kernel for one function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub(crate) function: PowFunction,
    pub(crate) kernel: Kernel,
    scan: Scan,
}

impl Search {
    /// `None` where the kernel does not exist for the function or cannot run here.
    pub(crate) fn new(kernel: Kernel, function: PowFunction) -> Option<Self> {
        let scan = kernel.scan(function).filter(|_| kernel.is_available())?;
        Some(Self {
            function,
            kernel,
            scan,
        })
    }

    /// The lowest nonce of the range that solves the work. The range ends at 2^32 or below.
    pub(crate) fn lowest(&self, work: &Work, nonces: Range<u64>) -> Option<u32> {
        assert!(
            nonces.end <= 1 << 32,
            "nonces end at {} beyond 2^32",
            nonces.end
        );
        assert_eq!(
            work.function, self.function,
            "work is for the search's function"
        );
        let mut at = nonces.start;
        let mut found = None;
        while at < nonces.end && found.is_none() {
            let (start, count) = (
                at as u32,
                u32::try_from(nonces.end - at).unwrap_or(u32::MAX),
            );
            (self.scan)(work, start, count, &mut |offset| {
                let nonce = start.wrapping_add(offset);
                if offset < count && work.is_solved_by(nonce) {
                    found = Some(nonce);
                }
                found.is_some()
            });
            at += u64::from(count);
        }
        found
    }
}

#[cfg(test)]
impl Search {
    /// A search that overlooks one candidate in eight.
    pub(crate) fn broken(function: PowFunction) -> Self {
        let scan: Scan = |work, start, count, candidate| {
            naive::scan(work, start, count, &mut |offset| {
                offset % 8 != 3 && candidate(offset)
            });
        };
        Self {
            function,
            kernel: Kernel::Scalar,
            scan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.name().parse(), Ok(kernel));
            assert_eq!(serde_json::to_value(kernel).unwrap(), kernel.name());
        }
        let error = "gpu".parse::<Kernel>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown kernel \"gpu\": expected one of naive, scalar"),
            "{error}"
        );
    }
}
