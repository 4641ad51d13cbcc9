//! libFuzzer runs `store::segment_log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::store::segment_log(data));
