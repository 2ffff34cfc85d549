//! A corpus, and mutations of it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::memory::Held;
use crate::mutate::mutate;
use crate::{Counting, Target};

/// No input may take longer.
const SLOW: Duration = Duration::from_secs(1);

/// When to stop: whatever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Mutations.
    pub inputs: u64,
    /// Time.
    pub time: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Inputs of the corpus.
    pub corpus: usize,
    /// Mutations of them.
    pub inputs: u64,
    /// The most memory that one took.
    pub memory_bytes: usize,
}

thread_local! {
    /// What is looked at: a panic that ends the process must leave it behind.
    static UNDER_WAY: RefCell<Option<(&'static str, Vec<u8>)>> = const { RefCell::new(None) };
}

/// The inputs of a target that are kept.
pub(crate) fn kept(target: &Target) -> Vec<Vec<u8>> {
    inputs_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name))
}

/// The files in a folder, in the order of their names; none if there is no folder.
pub fn inputs_in(dir: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().filter_map(|file| std::fs::read(file).ok()).collect()
}

/// Looks at the corpus of a target and at `more` inputs, then at mutations of all that `seed` draws. An input that fails is written to a file.
pub fn fuzz(target: &'static Target, seed: u64, more: impl IntoIterator<Item = Vec<u8>>, budget: Budget) -> Done {
    keep_what_fails();
    let mut corpus = (target.seeds)();
    corpus.extend(kept(target));
    corpus.extend(more);
    assert!(!corpus.is_empty(), "{} has no corpus", target.name);
    let mut done = Done { corpus: corpus.len(), inputs: 0, memory_bytes: 0 };
    for input in &corpus {
        done.memory_bytes = done.memory_bytes.max(look(target, input));
    }
    let begun = Instant::now();
    let mut random = Rng::with_seed(seed);
    while done.inputs < budget.inputs && begun.elapsed() < budget.time {
        let (one, other) = (random.usize(0..corpus.len()), random.usize(0..corpus.len()));
        let input = mutate(&corpus[one], &corpus[other], target.words, &mut random);
        done.memory_bytes = done.memory_bytes.max(look(target, &input));
        done.inputs += 1;
    }
    done
}

/// Returns the memory that it took.
fn look(target: &'static Target, input: &[u8]) -> usize {
    UNDER_WAY.set(Some((target.name, input.to_vec())));
    let begun = Instant::now();
    let Held { most: bytes, left } = Counting::held_by(|| target.check(input));
    if begun.elapsed() >= SLOW {
        // Or the machine stood still.
        let again = std::iter::repeat_with(|| time(|| target.check(input)));
        let took = again.take(2).min().unwrap_or_default();
        assert!(took < SLOW, "{}: {} bytes took {took:?}", target.name, input.len());
    }
    let allowed = target.memory_bytes + target.memory_per_byte * input.len();
    assert!(bytes <= allowed, "{}: {} bytes took {bytes} bytes of memory", target.name, input.len());
    // What is kept for the next time does not grow, what is lost does.
    let again = || Counting::held_by(|| (0..4).for_each(|_| target.check(input)));
    assert!(left == 0 || again().left < 3 * left, "{}: {} bytes leave memory behind", target.name, input.len());
    UNDER_WAY.set(None);
    bytes
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn keep_what_fails() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some((name, input)) = UNDER_WAY.take() {
                let file = std::env::temp_dir().join(format!("fuzz-{name}-{:08x}", crc32c::crc32c(&input)));
                match std::fs::write(&file, input) {
                    Ok(()) => eprintln!("the input is in {}: it belongs to ops/fuzz/corpus/{name}", file.display()),
                    Err(error) => eprintln!("the input can not be kept in {}: {error}", file.display()),
                }
            }
            before(panic);
        }));
    });
}
