//! What the members take of the machine, looked at over and over: it must not grow.

use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::cluster::members::Cluster;
use crate::harness::files_below;

/// Not looked at more often.
const INTERVAL: Duration = Duration::from_secs(10);
/// From then on a run is long enough to tell what grows from what is not full yet.
const LONG: Duration = Duration::from_hours(1);
/// How much the medians of two quarters may differ, in percent.
const FLAT: u64 = 5;
/// So many of a member's descriptors come and go with the faults: connections of the soak's own writers, which try another member when
/// one does not answer, and go on there.
const WANDERING: u64 = super::WRITERS;
/// What no member ever takes, however short the run: megabytes in memory and on the disk, descriptors.
const CAPS: [u64; 3] = [1000, 1500, 300];

/// What one member took at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    resident: u64,
    disk: u64,
    descriptors: u64,
    threads: u64,
}

/// All that was seen of all members, oldest first.
pub(super) struct Samples {
    every: Duration,
    next: Instant,
    seen: Vec<Vec<Sample>>,
}

impl Samples {
    /// For a run of so many members and this length.
    pub(super) fn of(members: usize, length: Duration) -> Self {
        let every = (length / 100).clamp(Duration::from_millis(200), INTERVAL);
        Self { every, next: Instant::now(), seen: vec![Vec::new(); members] }
    }

    /// Looks at the members that run, if it is time.
    pub(super) fn look(&mut self, cluster: &Cluster) {
        if Instant::now() < self.next {
            return;
        }
        for nth in cluster.up() {
            let server = cluster.server(nth);
            let sizes = files_below(cluster.data(nth)).into_iter().filter_map(|file| fs::metadata(file).ok());
            self.seen[nth].push(Sample {
                resident: server.resident_bytes(),
                disk: sizes.map(|file| file.len()).sum(),
                descriptors: server.descriptors(),
                threads: server.threads(),
            });
        }
        self.next = Instant::now() + self.every;
    }

    /// What they take now, on one line.
    pub(super) fn now(&self) -> String {
        let newest = |(nth, seen): (usize, &Vec<Sample>)| {
            let last = seen.last()?;
            Some(format!(
                "m{nth} {:.1} MiB, {} fds, {} threads, {} MiB on disk",
                mib(last.resident),
                last.descriptors,
                last.threads,
                last.disk >> 20
            ))
        };
        self.seen.iter().enumerate().filter_map(newest).collect::<Vec<_>>().join("; ")
    }

    /// How it developed: medians of the first quarter after the warm-up and of the last one, and the most in either half.
    pub(super) fn table(&self, warm_up: Duration) -> String {
        let row = |(nth, seen): (usize, &Vec<Sample>)| {
            let [resident, descriptors, threads] = self.quarters(seen, warm_up);
            let warm = &seen[self.warm(seen, warm_up)];
            let ([early, late], most) = (peaks(warm, |sample| sample.disk), peaks(warm, |sample| sample.resident));
            format!(
                "m{nth} RSS {:.1} to {:.1} MiB (at most {:.1} and {:.1}), fds {} to {}, threads {} to {}, disk at most {} and {} MiB",
                mib(resident.0),
                mib(resident.1),
                mib(most[0]),
                mib(most[1]),
                descriptors.0,
                descriptors.1,
                threads.0,
                threads.1,
                early >> 20,
                late >> 20
            )
        };
        self.seen.iter().enumerate().map(row).collect::<Vec<_>>().join("; ")
    }

    /// Fails if anything has grown. In a short run nothing is full yet: then only what no member ever takes counts. What a process takes depends
    /// on its age: only `survivor` is never killed.
    pub(super) fn assert_flat(&self, length: Duration, warm_up: Duration, survivor: usize) {
        for (nth, seen) in self.seen.iter().enumerate() {
            for sample in seen {
                let taken = [sample.resident >> 20, sample.disk >> 20, sample.descriptors];
                assert!(taken.iter().zip(CAPS).all(|(taken, cap)| *taken < cap), "member {nth} took {sample:?}");
            }
            if length < LONG {
                continue;
            }
            let names = [("memory", 0), ("descriptors", WANDERING), ("threads", 0)];
            for ((what, wandering), (early, late)) in names.into_iter().zip(self.quarters(seen, warm_up)) {
                let flat = early.abs_diff(late) <= early * FLAT / 100 + wandering;
                assert!(flat || nth != survivor, "{what} of member {nth} went from {early} to {late}");
            }
            let warm = &seen[self.warm(seen, warm_up)];
            let [early, late] = peaks(warm, |sample| sample.disk);
            assert!(late <= early + early / 10, "the disk of member {nth} went from {early} to {late}");
            // Of a member that is killed now and then, what it takes at most when it has caught up says more than any middle.
            let [early, late] = peaks(warm, |sample| sample.resident);
            assert!(late <= early + early / 5, "the memory of member {nth} went from {early} to {late} at most");
        }
    }

    /// The medians of memory, descriptors and threads, in the first quarter after the warm-up and in the last.
    fn quarters(&self, seen: &[Sample], warm_up: Duration) -> [(u64, u64); 3] {
        let seen = &seen[self.warm(seen, warm_up)];
        let quarter = seen.len().div_ceil(4);
        let (first, last) = (&seen[..quarter], &seen[seen.len() - quarter..]);
        let both = |what: fn(&Sample) -> u64| (median(first, what), median(last, what));
        [both(|sample| sample.resident), both(|sample| sample.descriptors), both(|sample| sample.threads)]
    }

    /// The samples after the warm-up.
    fn warm(&self, seen: &[Sample], warm_up: Duration) -> Range<usize> {
        let begin = (warm_up.as_millis() / self.every.as_millis()) as usize;
        begin.min(seen.len() / 2)..seen.len()
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The most in the first half and in the second.
fn peaks(seen: &[Sample], what: fn(&Sample) -> u64) -> [u64; 2] {
    let (early, late) = seen.split_at(seen.len() / 2);
    [early, late].map(|half| half.iter().map(what).max().unwrap_or(0))
}

fn median(seen: &[Sample], what: fn(&Sample) -> u64) -> u64 {
    let mut all: Vec<u64> = seen.iter().map(what).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}
