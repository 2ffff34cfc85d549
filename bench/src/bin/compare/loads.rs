//! The table of loads, and the goals that stand beside them.

use serde::Serialize;

use crate::goals::Goal;
use crate::who::Who;

/// One load, the same for every server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    /// What `--loads` calls it.
    pub(crate) name: String,
    pub(crate) title: String,
    /// As `uetcd-loadgen --workload` has it.
    pub(crate) workload: &'static str,
    pub(crate) connections: u32,
    pub(crate) pipeline: u32,
    /// The load generator's own choice unless given.
    pub(crate) keys: Option<u64>,
    pub(crate) directories: Option<u64>,
    /// Of a fan-out: what counts is then the delivered events.
    pub(crate) watchers: u32,
    /// Also measured beside uetcd and etcd: the bare responder, durable or not, with GETs over as many connections; Redis, with SETs over as many; a uetcd
    /// that looks before it sleeps, for one request at a time is mostly waiting.
    pub(crate) also: Vec<Who>,
    /// Also measured: a durable write of the disk itself.
    pub(crate) disk: bool,
    pub(crate) goals: Vec<Goal>,
}

/// What a load's figures are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counted {
    Requests,
    /// Of a fan-out: delivered events.
    Events,
    /// Compare-and-swaps, successful or too late; the reads that they need are part of them.
    Swaps,
}

/// The loads of an ordinary run, in the order in which they are measured.
pub(crate) const STANDARD: [&str; 11] = [
    "get-64",
    "get-64x16",
    "put-64",
    "put-512",
    "put-64x16",
    "put-1",
    "quorum-get-64",
    "cas-64",
    "list-10000",
    "watch-1000",
    "watch-10000",
];

/// Keys of a listing, and watchers of a fan-out, that a name may ask for.
const SIZE_MAX: u32 = 1_000_000;

impl Load {
    /// Reads a name: `get-64`, `put-64x16` (pipelined 16 deep), `quorum-get-8`, `cas-64`, `list-10000` (keys), `watch-1000` (watchers).
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let wrong = || format!("there is no load {name:?}; loads are like get-64, put-64x16, list-10000 (see --help)");
        let (kind, size) = name.rsplit_once('-').ok_or_else(wrong)?;
        let (size, pipeline) = size.split_once('x').unwrap_or((size, "1"));
        let number = |text: &str| text.parse().ok().filter(|number| (1..=SIZE_MAX).contains(number)).ok_or_else(wrong);
        let (size, pipeline) = (number(size)?, number(pipeline)?);
        let load = match kind {
            "get" => Self::requests("get", size, pipeline).beside(Who::Responder, true),
            "put" => Self { disk: (size, pipeline) == (1, 1), ..Self::requests("put", size, pipeline) }
                .beside(Who::Responder, size > 1)
                .beside(Who::DurableResponder, size > 1)
                .beside(Who::Redis, size > 1 && pipeline == 1),
            "quorum-get" => Self::requests("quorum-get", size, pipeline),
            "cas" => Self::requests("cas", size, pipeline),
            "list" if pipeline == 1 => Self::list(size),
            "watch" if pipeline == 1 => Self::watch(size),
            _ => return Err(wrong()),
        };
        Ok(Self { name: name.to_owned(), goals: goals_of(name), ..load })
    }

    fn requests(workload: &'static str, connections: u32, pipeline: u32) -> Self {
        let what = match workload {
            "get" => "GET",
            "put" => "durable PUT of 64 bytes",
            "quorum-get" => "quorum GET",
            _ => "compare-and-swap",
        };
        let deep = if pipeline > 1 { format!(", pipelined {pipeline} deep") } else { String::new() };
        let plural = if connections == 1 { "" } else { "s" };
        Self {
            name: String::new(),
            title: format!("{what}, {connections} connection{plural}{deep}"),
            workload,
            connections,
            pipeline,
            keys: None,
            directories: None,
            watchers: 0,
            also: Vec::new(),
            disk: false,
            goals: Vec::new(),
        }
        .beside(Who::Polling, (connections, pipeline) == (1, 1))
    }

    /// This server is measured, too, if it says anything about the load.
    fn beside(mut self, who: Who, tells: bool) -> Self {
        self.also.extend(tells.then_some(who));
        self
    }

    /// Eight connections: enough to keep a core busy, few enough that whole answers fit in what a server buffers.
    fn list(keys: u32) -> Self {
        let title = format!("recursive list of {keys} keys, 8 connections");
        Self { title, keys: Some(keys.into()), directories: Some(1), ..Self::requests("list", 8, 1) }
    }

    fn watch(watchers: u32) -> Self {
        let title = format!("watch fan-out, 1 writer and {watchers} watchers (events delivered)");
        Self { title, watchers, also: Vec::new(), ..Self::requests("watch", 1, 1) }
    }

    /// Whether keys must be written before the load.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.workload, "get" | "quorum-get" | "list")
    }

    pub(crate) fn counted(&self) -> Counted {
        match self.workload {
            "watch" => Counted::Events,
            "cas" => Counted::Swaps,
            _ => Counted::Requests,
        }
    }
}

/// What was promised of a load.
fn goals_of(name: &str) -> Vec<Goal> {
    match name {
        "get-64" => vec![Goal::OverResponder(0.90), Goal::OverEtcd(2.7), Goal::CpuAtMost(9.5)],
        "get-64x16" => vec![Goal::OverResponder(0.60), Goal::OverEtcd(10.0)],
        "put-64" => vec![Goal::OverResponder(0.65), Goal::OverEtcd(3.5), Goal::OverRedis(1.0), Goal::CpuAtMost(14.0)],
        "put-512" => vec![Goal::OverResponder(0.65), Goal::OverEtcd(4.0), Goal::OverRedis(1.0)],
        "put-64x16" => vec![Goal::OverEtcd(15.0)],
        "put-1" => vec![Goal::AboveDisk(Who::Uetcd, 80.0), Goal::AboveDisk(Who::Polling, 80.0)],
        "quorum-get-64" | "cas-64" | "list-10000" | "watch-1000" | "watch-10000" => vec![Goal::OverEtcd(3.0)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_asked() {
        let load = Load::parse("put-64x16").expect("a load");
        assert_eq!((load.workload, load.connections, load.pipeline), ("put", 64, 16));
        assert_eq!(load.title, "durable PUT of 64 bytes, 64 connections, pipelined 16 deep");
        assert!(load.also == [Who::Responder, Who::DurableResponder] && !load.disk && !load.reads());
        let load = Load::parse("quorum-get-8").expect("a load");
        assert_eq!((load.workload, load.connections, load.reads()), ("quorum-get", 8, true));
        let load = Load::parse("watch-1000").expect("a load");
        assert_eq!((load.connections, load.watchers, load.counted()), (1, 1000, Counted::Events));
        let load = Load::parse("put-1").expect("a load");
        assert!(load.disk && load.also == [Who::Polling]);
        assert_eq!(Load::parse("put-2").expect("a load").also, [Who::Responder, Who::DurableResponder, Who::Redis]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for name in
            ["", "get", "get-", "get-0", "get-64x0", "get-64x", "list-10x2", "delete-64", "get-1000001", "get--1"]
        {
            assert!(Load::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_standard_load_has_a_goal() {
        for name in STANDARD {
            let load = Load::parse(name).expect(name);
            assert!(!load.goals.is_empty(), "{name}");
            assert_eq!(load.name, name);
        }
    }
}
