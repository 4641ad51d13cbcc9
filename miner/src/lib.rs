//! The nonce search: kernels, jobs, hash rate.
