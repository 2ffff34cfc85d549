//! The corpus of every target, and mutations of it: a bounded number, in a bounded time. `FUZZ_SECONDS=60`: for so long.

use std::time::Duration;

use fuzz::{Budget, Counting, Done, fuzz, named};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Mutations of every commit, and the time after which a slow machine has done enough.
const EACH_COMMIT: Budget = Budget { inputs: 20_000, time: Duration::from_secs(2) };

fn look_at(name: &str) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|text| text.parse().expect("FUZZ_SECONDS is a number"));
    let longer = |seconds| Budget { inputs: u64::MAX, time: Duration::from_secs(seconds) };
    let target = named(name).expect("a target has this name");
    let Done { corpus, inputs, memory_bytes } = fuzz(target, 1, [], seconds.map_or(EACH_COMMIT, longer));
    println!("{name}: {corpus} inputs of the corpus, {inputs} mutations, at most {memory_bytes} bytes of memory");
    assert!(inputs > 100, "{name}: only {inputs} mutations");
}

#[test]
fn request_heads_and_bodies() {
    look_at("request");
}

#[test]
fn forms_paths_and_documents() {
    look_at("keys");
}

#[test]
fn frames_of_peers() {
    look_at("peer");
}

#[test]
fn archives_in_entries() {
    look_at("archive");
}

#[test]
fn segments() {
    look_at("segment");
}

#[test]
fn snapshots() {
    look_at("snapshot");
}

#[test]
fn replies_of_a_discovery_service() {
    look_at("discovery");
}

#[test]
fn flags_variables_and_configuration_files() {
    look_at("flags");
}
