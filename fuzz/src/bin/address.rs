//! libFuzzer runs `text::address`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::text::address(data));
