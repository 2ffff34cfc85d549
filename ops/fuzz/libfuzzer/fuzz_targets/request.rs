//! See `ops/fuzz/src/request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("request").expect("a target has this name").check(input));
