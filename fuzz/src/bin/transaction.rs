//! libFuzzer runs `ledger::transaction`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::ledger::transaction(data));
