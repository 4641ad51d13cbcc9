//! libFuzzer runs `text::node_config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::text::node_config(data));
