//! See `ops/fuzz/src/segment.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("segment").expect("a target has this name").check(input));
