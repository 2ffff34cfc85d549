//! See `ops/fuzz/src/discovery.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("discovery").expect("a target has this name").check(input));
