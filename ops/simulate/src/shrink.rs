//! From a plan that fails to a smaller one that still does.

use crate::plan::Plan;
use crate::run::run;

/// Makes the plan of a failing seed smaller, one number at a time, for as long as it still fails; tries at most `tries` runs.
///
/// A number that is 0 is a fault that is not needed; one that is smaller is a smaller cluster or a shorter run.
pub fn shrink(seed: u64, plan: &Plan, tries: usize) -> Plan {
    let mut best = plan.clone();
    let mut left = tries;
    loop {
        let before = best.clone();
        for knob in 0..best.knobs().len() {
            for smaller in candidates(&mut best, knob) {
                if left == 0 {
                    return best;
                }
                left -= 1;
                let mut plan = best.clone();
                *plan.knobs()[knob].1 = smaller;
                if run(seed, &plan, false).is_err() {
                    best = plan;
                    break;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}

/// Smaller values for a number, the smallest first. Of some there must be one, and a segment has a least size.
fn candidates(plan: &mut Plan, knob: usize) -> Vec<usize> {
    let (name, value) = plan.knobs().swap_remove(knob);
    let least = match name {
        "founders" | "shards" | "cores_max" | "reorder" => 1,
        "segment_blocks" | "segments_max" => 4,
        "keep" => 2,
        "disk_speed" | "log_read_entries" | "tail_bytes" | "value_bytes" => return Vec::new(),
        _ => 0,
    };
    let value = *value;
    let mut smaller: Vec<usize> = [least, value / 2, value * 9 / 10].into_iter().filter(|v| *v < value).collect();
    smaller.retain(|v| *v >= least);
    smaller.dedup();
    smaller
}
