//! libFuzzer runs `wire::tx_batch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::tx_batch(data));
