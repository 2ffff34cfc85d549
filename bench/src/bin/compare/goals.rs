//! What was promised, and whether it was kept.

use serde::Serialize;

use crate::results::{LoadResult, Sample};
use crate::stats::{Spread, median};
use crate::who::Who;

/// A promise about one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At least so many times etcd's rate.
    OverEtcd(f64),
    /// At least this share of the bare responder's rate.
    OverResponder(f64),
    /// At least so many times Redis's rate.
    OverRedis(f64),
    /// At most so many microseconds of CPU for a request.
    CpuAtMost(f64),
    /// Half of this server's requests take no longer than half of the disk's own durable writes, and so many microseconds.
    AboveDisk(Who, f64),
}

/// How a promise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Met,
    NotMet,
    /// What it would be compared with was not there.
    NotMeasured,
}

impl Verdict {
    pub(crate) fn of(is_met: Option<bool>) -> Self {
        match is_met {
            Some(true) => Self::Met,
            Some(false) => Self::NotMet,
            None => Self::NotMeasured,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "NOT met",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A promise, what was measured, and what follows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Judged {
    pub(crate) goal: String,
    /// The median decides.
    pub(crate) measured: Option<Spread>,
    pub(crate) verdict: Verdict,
}

impl Judged {
    /// A figure that must not be below `least`.
    pub(crate) fn at_least(goal: String, measured: Option<Spread>, least: f64) -> Self {
        Self { goal, measured, verdict: Verdict::of(measured.map(|spread| spread.median >= least)) }
    }

    /// A figure that must not be above `most`.
    pub(crate) fn at_most(goal: String, measured: Option<Spread>, most: f64) -> Self {
        Self { goal, measured, verdict: Verdict::of(measured.map(|spread| spread.median <= most)) }
    }
}

impl Goal {
    pub(crate) fn judge(self, result: &LoadResult) -> Judged {
        let ratio = |to| result.ratio(Who::Uetcd, to);
        match self {
            Self::OverEtcd(least) => Judged::at_least(format!("≥ {least} x etcd"), ratio(Who::Etcd), least),
            Self::OverResponder(least) => {
                let goal = format!("≥ {:.0} % of the bare responder", least * 100.0);
                Judged::at_least(goal, ratio(Who::Responder), least)
            }
            Self::OverRedis(least) => Judged::at_least("≥ Redis, appendfsync always".into(), ratio(Who::Redis), least),
            Self::CpuAtMost(most) => {
                Judged::at_most(format!("CPU ≤ {most} µs"), result.spread(Who::Uetcd, Sample::cpu_us), most)
            }
            Self::AboveDisk(who, most) => above_disk(result, who, most),
        }
    }
}

/// The margin of each round is that over the disk's own time in the same round.
fn above_disk(result: &LoadResult, who: Who, most: f64) -> Judged {
    let waits = result.values(who, Sample::p50_us);
    let disk = result.disk_p50_us.get(&who).map_or(&[][..], Vec::as_slice);
    let margins = waits.iter().zip(disk).map(|(p50, disk)| p50 - disk);
    let disk = median(disk.iter().copied()).map_or(String::new(), |disk| format!(" ({disk:.0} µs)"));
    let with = if who == Who::Uetcd { String::new() } else { format!("{}: ", who.name()) };
    Judged::at_most(format!("{with}p50 ≤ {most} µs above the disk's own write{disk}"), Spread::of(margins), most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loads::Load;

    fn sample(rate: f64, cpu_us: f64, p50_us: f64) -> Sample {
        Sample { rate, requests: 1, seconds: 1.0, cpu_us, p50_us, p99_us: p50_us, others: 0.0, client: 0.0, resumed: 0 }
    }

    fn result(etcd: &[f64]) -> LoadResult {
        let mut result = LoadResult::new(&Load::parse("get-64").expect("a load"));
        for (rate, p50) in [(300.0, 250.0), (310.0, 300.0), (290.0, 260.0)] {
            result.add(Who::Uetcd, sample(rate, 9.0, p50));
        }
        for &rate in etcd {
            result.add(Who::Etcd, sample(rate, 20.0, 0.0));
        }
        result
    }

    #[test]
    fn the_median_of_the_ratios_decides() {
        for (etcd, verdict) in [
            (&[100.0, 100.0, 100.0][..], Verdict::Met),
            (&[100.0, 200.0, 100.0], Verdict::NotMet),
            (&[], Verdict::NotMeasured),
        ] {
            assert_eq!(Goal::OverEtcd(3.0).judge(&result(etcd)).verdict, verdict, "{etcd:?}");
        }
    }

    #[test]
    fn a_limit_itself_is_kept() {
        assert_eq!(Goal::CpuAtMost(9.0).judge(&result(&[])).verdict, Verdict::Met);
        assert_eq!(Goal::CpuAtMost(8.9).judge(&result(&[])).verdict, Verdict::NotMet);
        assert_eq!(Goal::OverRedis(1.0).judge(&result(&[])).verdict, Verdict::NotMeasured);
    }

    #[test]
    fn waits_are_measured_from_what_the_disk_took_in_the_same_round() {
        let mut result = result(&[]);
        result.disk_p50_us.insert(Who::Uetcd, vec![200.0, 200.0, 190.0]);
        let judged = Goal::AboveDisk(Who::Uetcd, 80.0).judge(&result);
        assert_eq!(judged.measured, Some(Spread { median: 70.0, min: 50.0, max: 100.0 }));
        assert_eq!(judged.verdict, Verdict::Met);
        assert_eq!(judged.goal, "p50 ≤ 80 µs above the disk's own write (200 µs)");
        let polling = Goal::AboveDisk(Who::Polling, 80.0).judge(&result);
        assert_eq!(polling.verdict, Verdict::NotMeasured);
        assert!(polling.goal.starts_with("uetcd --spin-us 200: p50"), "{}", polling.goal);
    }
}
