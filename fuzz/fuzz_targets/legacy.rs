#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agent_session_store_fuzz::fuzz::legacy::run(data));
