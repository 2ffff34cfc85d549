//! See `ops/fuzz/src/flags.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("flags").expect("a target has this name").check(input));
