//! libFuzzer runs `wire::status`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::status(data));
