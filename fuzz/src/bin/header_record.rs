//! libFuzzer runs `ledger::header_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::ledger::header_record(data));
