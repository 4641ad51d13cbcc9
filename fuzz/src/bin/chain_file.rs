//! libFuzzer runs `store::chain_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::store::chain_file(data));
