//! Every start becomes ready, also on a busy machine: an executor that falls asleep with work to do shows here first.

use std::thread;

use crate::harness::{Flavor, Plan, env_number};

/// Starts of one run unless `SUITE_STARTS` says otherwise. A start that hung one time in 300 was found with 300 and more.
const STARTS: u64 = 100;
/// Starts at once: more than a small machine has cores, so that executors are preempted at awkward moments.
const AT_ONCE: u64 = 4;

#[test]
fn every_start_becomes_ready_on_a_busy_machine() {
    let plan = Plan::new();
    let starts = if plan.flavor() == Flavor::Uetcd { env_number("SUITE_STARTS", STARTS) } else { 2 * AT_ONCE };
    thread::scope(|scope| {
        for starter in 0..AT_ONCE {
            scope.spawn(move || {
                for n in (starter..starts).step_by(AT_ONCE as usize) {
                    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
                    server.client().set(&format!("/start{n}"), "1");
                    // The second start finds what the first has written.
                    let server = server.kill().start();
                    assert!(server.client().value(&format!("/start{n}")).is_some(), "start {n}");
                }
            });
        }
    });
}
