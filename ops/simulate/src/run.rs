//! One run of one seed, whatever becomes of it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::counts::Counts;
use crate::plan::{ELECTION_TICKS, Plan};
use crate::world::World;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened in it.
    pub counts: Counts,
    /// Equal for two runs of one seed and plan.
    pub trace_hash: u64,
    /// Election timeouts (the shortest ones) that the healed cluster took to come to rest.
    pub rest_after: f64,
}

/// A rule was violated.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which, and where in the code that is said.
    pub what: String,
    /// The last lines of the trace, if one was kept, and the state of every node.
    pub trace: Vec<String>,
}

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
    /// A run is under way on this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Calls something of a run. Panics are violations there: they are noted, not printed.
fn catch_quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if RUNS.get() {
                SAID.with_borrow_mut(|said| *said = panic.to_string());
            } else {
                usual(panic);
            }
        }));
    });
    RUNS.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    RUNS.set(false);
    done
}

/// Runs a seed with a plan; `readable` keeps a trace for a reader, which takes longer.
pub fn run(seed: u64, plan: &Plan, readable: bool) -> Result<Outcome, Box<Failure>> {
    let mut world = World::new(seed, plan.clone(), readable);
    let done = catch_quietly(|| world.run());
    if done.is_err() {
        let what = SAID.take();
        let mut trace: Vec<String> = world.trace.lines().map(str::to_owned).collect();
        // The world is as the violation left it: describing it may fail, too.
        let state = catch_quietly(|| world.describe()).unwrap_or_default();
        trace.extend(state.lines().map(str::to_owned));
        return Err(Box::new(Failure { what, trace }));
    }
    world.counts.merge(&world.net.counts);
    let rest_after = world.rest_after as f64 / ELECTION_TICKS as f64;
    Ok(Outcome { counts: world.counts, trace_hash: world.trace.hash(), rest_after })
}
