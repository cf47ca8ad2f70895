//! libFuzzer's entry to [`drawgate_fuzz::jwe`].
#![no_main]
#![allow(unsafe_code, reason = "libfuzzer_sys exports its entry points by name")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drawgate_fuzz::run_bounded("jwe", data));
