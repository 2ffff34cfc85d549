//! See `ops/fuzz/src/keys.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("keys").expect("a target has this name").check(input));
