//! What was measured, as it is put into JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::goals::Judged;
use crate::loads::{Counted, Load};
use crate::stats::Spread;
use crate::who::Who;

/// One server under one load, once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Requests per second; of a fan-out, delivered events per second.
    pub(crate) rate: f64,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// The server's, user and system, for each request (or event).
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The share of the server's CPUs that other programs took meanwhile.
    pub(crate) others: f64,
    /// The share of its CPUs that the client took: near 1, it is the client that was measured.
    pub(crate) client: f64,
    /// Watches that the server ended and the client took up again.
    pub(crate) resumed: u64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_us
    }

    pub(crate) fn p50_us(&self) -> f64 {
        self.p50_us
    }

    pub(crate) fn others_percent(&self) -> f64 {
        self.others * 100.0
    }

    pub(crate) fn client_percent(&self) -> f64 {
        self.client * 100.0
    }

    pub(crate) fn p99_us(&self) -> f64 {
        self.p99_us
    }
}

/// One load: every server, every round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadResult {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) counted: Counted,
    /// In the order of the rounds.
    pub(crate) samples: BTreeMap<Who, Vec<Sample>>,
    /// The disk's own durable write of 4 KiB, in each round before and after these servers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) disk_p50_us: BTreeMap<Who, Vec<f64>>,
    pub(crate) goals: Vec<Judged>,
}

impl LoadResult {
    pub(crate) fn new(load: &Load) -> Self {
        Self {
            name: load.name.clone(),
            title: load.title.clone(),
            counted: load.counted(),
            samples: BTreeMap::new(),
            disk_p50_us: BTreeMap::new(),
            goals: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, who: Who, sample: Sample) {
        self.samples.entry(who).or_default().push(sample);
    }

    /// One figure of one server, round by round.
    pub(crate) fn values(&self, who: Who, figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.get(&who).into_iter().flatten().map(figure).collect()
    }

    pub(crate) fn spread(&self, who: Who, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.values(who, figure))
    }

    /// How the rates of two servers compare, round by round.
    pub(crate) fn ratio(&self, of: Who, to: Who) -> Option<Spread> {
        Spread::of_ratios(&self.values(of, Sample::rate), &self.values(to, Sample::rate))
    }
}

/// What stored keys cost one server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) server: String,
    pub(crate) keys: u64,
    /// Resident, with no keys.
    pub(crate) empty_bytes: u64,
    /// Resident, some seconds after the last key.
    pub(crate) full_bytes: u64,
    /// The most that was ever resident.
    pub(crate) peak_bytes: u64,
}

/// How cost grows with what is stored.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    /// `get` or `put`.
    pub(crate) workload: &'static str,
    pub(crate) keys: u64,
    pub(crate) directories: u64,
    /// Requests per second, round by round.
    pub(crate) rates: Vec<f64>,
    pub(crate) cpu_us: Vec<f64>,
    /// The share of the server's CPU that other programs took.
    pub(crate) others: Vec<f64>,
}

/// One number of executors.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SweepPoint {
    pub(crate) workload: &'static str,
    pub(crate) executors: usize,
    pub(crate) connections: u32,
    /// The load generator had no CPU of its own.
    pub(crate) shared: bool,
    pub(crate) rates: Vec<f64>,
    pub(crate) cpu_us: Vec<f64>,
    /// The share of its CPUs that the load generator took.
    pub(crate) client: Vec<f64>,
    /// The share of the server's CPUs that other programs took; where they are shared, the load generator is one of them.
    pub(crate) others: Vec<f64>,
}

/// Instructions for one request, without any I/O.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Instructions {
    pub(crate) request: &'static str,
    pub(crate) count: u64,
}

/// Everything of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) loads: Vec<LoadResult>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) memory_goals: Vec<Judged>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) growth_goals: Vec<Judged>,
    pub(crate) sweep: Vec<SweepPoint>,
    pub(crate) instructions: Vec<Instructions>,
    /// What was not measured, and why.
    pub(crate) left_out: Vec<String>,
}
