//! See `ops/fuzz/src/archive.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("archive").expect("a target has this name").check(input));
