//! libFuzzer runs `wire::compact_block`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::compact_block(data));
