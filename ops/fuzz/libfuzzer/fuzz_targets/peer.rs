//! See `ops/fuzz/src/peer.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::named("peer").expect("a target has this name").check(input));
