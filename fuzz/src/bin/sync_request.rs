//! libFuzzer runs `wire::sync_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::wire::sync_request(data));
