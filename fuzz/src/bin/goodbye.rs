//! libFuzzer runs `wire::goodbye`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::goodbye(data));
