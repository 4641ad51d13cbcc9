//! libFuzzer runs `ledger::block`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::ledger::block(data));
