//! See `ops/fuzz/src/snapshot.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("snapshot").expect("a target has this name").check(input));
