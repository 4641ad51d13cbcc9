//! libFuzzer runs `text::keystore_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::text::keystore_file(data));
