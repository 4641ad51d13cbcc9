//! libFuzzer runs `ledger::signatures`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::ledger::signatures(data));
