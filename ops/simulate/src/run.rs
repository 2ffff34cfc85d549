//! One run of one seed, whatever becomes of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;

use crate::counts::Counts;
use crate::plan::Plan;
use crate::world::World;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened in it.
    pub counts: Counts,
    /// Equal for two runs of one seed and plan.
    pub trace_hash: u64,
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
}

/// Panics are violations here: they are reported, not printed.
fn catch_quietly() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        set_hook(Box::new(|panic| SAID.with_borrow_mut(|said| *said = panic.to_string())));
    });
}

/// Runs a seed with a plan; `readable` keeps a trace for a reader, which takes longer.
pub fn run(seed: u64, plan: &Plan, readable: bool) -> Result<Outcome, Box<Failure>> {
    catch_quietly();
    let mut world = World::new(seed, plan.clone(), readable);
    let done = catch_unwind(AssertUnwindSafe(|| world.run()));
    if done.is_err() {
        let mut trace: Vec<String> = world.trace.lines().map(str::to_owned).collect();
        // The world is as the violation left it: describing it may fail, too.
        let state = catch_unwind(AssertUnwindSafe(|| world.describe())).unwrap_or_default();
        let what = SAID.take();
        trace.extend(state.lines().map(str::to_owned));
        return Err(Box::new(Failure { what, trace }));
    }
    world.counts.merge(&world.net.counts);
    Ok(Outcome { counts: world.counts, trace_hash: world.trace.hash() })
}
