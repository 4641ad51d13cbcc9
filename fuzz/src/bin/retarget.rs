//! libFuzzer runs `ledger::retarget`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::ledger::retarget(data));
