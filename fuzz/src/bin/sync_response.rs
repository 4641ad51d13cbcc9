//! libFuzzer runs `wire::sync_response`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::sync_response(data));
