//! libFuzzer runs `text::chain_spec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::text::chain_spec(data));
