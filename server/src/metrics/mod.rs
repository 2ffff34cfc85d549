//! What the server counts, and how it is shown on `/metrics`.
//!
//! Every core owns one [`CoreMetrics`] and bumps its plain cells; nothing is shared and nothing is locked. For a scrape
//! each core sends a clone of its part to the core that answers, which adds them up ([`Merged`]) and writes the page
//! ([`encode`]). Names are those of etcd 2.3 and the best known of 3.4, so that dashboards keep working; what etcd has
//! no word for is called `uetcd_*`. There is no Go runtime here, hence no `go_*`.

mod cell;
mod export;
pub(crate) mod labels;
mod peers;
mod process;
pub(crate) mod proxy;
mod scrub;
mod text;

pub(crate) use cell::{Counter, Gauge, Histogram, Timer};
pub(crate) use export::encode;
pub(crate) use labels::{Failures, Family, Method, ReadAction, WriteAction};
pub(crate) use peers::{Rate, Traffic};
pub(crate) use process::ProcessStats;
pub(crate) use scrub::ScrubStats;

use cell::{BATCH_BOUNDS, DISK_BOUNDS, HTTP_BOUNDS};

/// The part of one core. Fields are public: bump them where the thing happens.
#[derive(Clone, Debug)]
pub(crate) struct CoreMetrics {
    /// Requests on the key space that were parsed and authorised, watches excluded.
    pub(crate) requests: Family<Method, Counter>,
    /// Those of [`Self::requests`] that the store or the raft group refused.
    pub(crate) failures: Failures,
    /// How long those took that succeeded, from the parsed head to the queued answer.
    pub(crate) latency: Family<Method, Timer>,
    /// Requests that were not well-formed HTTP, or exceeded a limit.
    pub(crate) malformed: Counter,

    /// Reads of the store, internal ones included.
    pub(crate) reads: Family<ReadAction, Counter>,
    /// Writes to the store, failed ones included.
    pub(crate) writes: Family<WriteAction, Counter>,
    /// Nodes that ran out of time.
    pub(crate) expires: Counter,
    /// Watches that were asked for.
    pub(crate) watch_requests: Counter,
    /// Watches open now.
    pub(crate) watchers: Gauge,
    /// Events handed to watchers.
    pub(crate) watch_events: Counter,
    /// Watches ended by the server because the client did not keep up.
    pub(crate) watchers_cut: Counter,
    /// Events that wait for watchers.
    pub(crate) watch_events_waiting: Gauge,
    /// Bytes of events that wait for watches or are being sent, of all executors.
    pub(crate) watch_events_bytes: Gauge,
    /// How often writes had to wait until watchers had taken some of theirs.
    pub(crate) writes_paused: Counter,

    /// How long a proposal took from the batch to its application.
    pub(crate) proposals: Timer,
    /// Proposals that ran into a timeout or lost their leader.
    pub(crate) proposals_failed: Counter,
    /// How often this core saw a raft group change its leader.
    pub(crate) leader_changes: Counter,

    /// How long one durable write of the log took.
    pub(crate) fsync: Timer,
    /// Commands in one log write.
    pub(crate) batch: Histogram,
    /// Bytes written to the log, padding included.
    pub(crate) log_bytes: Counter,
    /// How long a snapshot of one shard took, from its cut to its rename.
    pub(crate) snapshot_save: Histogram,
    /// How long its encoding took.
    pub(crate) snapshot_marshal: Histogram,

    /// Client connections open now.
    pub(crate) connections: Gauge,
    /// Client connections accepted.
    pub(crate) accepted: Counter,
    /// Client connections refused because of a limit.
    pub(crate) refused: Counter,
    /// Bytes received from clients.
    pub(crate) bytes_in: Counter,
    /// Bytes sent to clients.
    pub(crate) bytes_out: Counter,

    /// Turns of the core's loop.
    pub(crate) turns: Counter,
    /// Requests that wait for this core in the queues from its siblings.
    pub(crate) queue_depth: Gauge,
    /// Requests handed back because such a queue was full.
    pub(crate) queue_full: Counter,

    /// Bytes of memory that the requests of its connections take.
    pub(crate) request_memory: Gauge,
    /// Requests refused because they would take more than they may.
    pub(crate) no_room: Counter,
    /// Clients cut off because they took nothing of their answers while there was no memory for more of these.
    pub(crate) clients_cut: Counter,

    /// The newest index taken, as this core saw it last.
    pub(crate) sequence: Gauge,
    /// The newest index that is visible, as this core saw it last.
    pub(crate) visible: Gauge,

    /// Regimes that were opened: this member became the primary of all shards.
    pub(crate) regimes: Counter,
    /// What went to and came from the other members.
    pub(crate) traffic: Traffic,

    /// The shards of this core.
    pub(crate) shards: Vec<ShardMetrics>,
}

/// The part of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardMetrics {
    /// Its number.
    pub(crate) shard: u32,
    /// Commands committed.
    pub(crate) committed: Counter,
    /// Commands applied.
    pub(crate) applied: Counter,
    /// Commands proposed and not yet committed.
    pub(crate) pending: Gauge,
    /// The newest index in its log.
    pub(crate) last_index: Gauge,
    /// Events in its history.
    pub(crate) history_events: Gauge,
    /// Bytes of its history.
    pub(crate) history_bytes: Gauge,
    /// Whether its raft group has a leader.
    pub(crate) has_leader: bool,
    /// Whether this node is that leader.
    pub(crate) is_leader: bool,
    /// Whether this node has lost what it promised there, and has no vote until it has caught up.
    pub(crate) is_forgetful: bool,
}

impl Default for CoreMetrics {
    fn default() -> Self {
        Self {
            requests: Family::new(Counter::default),
            failures: Failures::default(),
            latency: Family::new(|| Timer::new(HTTP_BOUNDS)),
            malformed: Counter::default(),
            reads: Family::new(Counter::default),
            writes: Family::new(Counter::default),
            expires: Counter::default(),
            watch_requests: Counter::default(),
            watchers: Gauge::default(),
            watch_events: Counter::default(),
            watchers_cut: Counter::default(),
            watch_events_waiting: Gauge::default(),
            watch_events_bytes: Gauge::default(),
            writes_paused: Counter::default(),
            proposals: Timer::new(DISK_BOUNDS),
            proposals_failed: Counter::default(),
            leader_changes: Counter::default(),
            fsync: Timer::new(DISK_BOUNDS),
            batch: Histogram::new(BATCH_BOUNDS),
            log_bytes: Counter::default(),
            snapshot_save: Histogram::new(DISK_BOUNDS),
            snapshot_marshal: Histogram::new(DISK_BOUNDS),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            turns: Counter::default(),
            queue_depth: Gauge::default(),
            queue_full: Counter::default(),
            request_memory: Gauge::default(),
            no_room: Counter::default(),
            clients_cut: Counter::default(),
            sequence: Gauge::default(),
            visible: Gauge::default(),
            regimes: Counter::default(),
            traffic: Traffic::default(),
            shards: Vec::new(),
        }
    }
}

/// The parts of all cores, and their sum.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    total: CoreMetrics,
    cores: Vec<CoreMetrics>,
}

impl Merged {
    /// What all cores exchanged with the other members.
    pub(crate) const fn traffic(&self) -> &Traffic {
        &self.total.traffic
    }
}

/// Adds up the parts; the position of each is its core's number. Of the indices the largest counts, not the sum.
pub(crate) fn merge(cores: Vec<CoreMetrics>) -> Merged {
    let mut total = CoreMetrics::default();
    for core in &cores {
        total.absorb(core);
    }
    total.shards.sort_unstable_by_key(|shard| shard.shard);
    Merged { total, cores }
}

impl CoreMetrics {
    /// The part of a core that has these shards, in the order of its seats.
    pub(crate) fn with_shards(shards: impl IntoIterator<Item = u32>) -> Self {
        let part = |shard| ShardMetrics { shard, ..ShardMetrics::default() };
        Self { shards: shards.into_iter().map(part).collect(), ..Self::default() }
    }

    /// Taken apart field by field, so that a new metric does not compile until it is added up.
    fn absorb(&mut self, other: &Self) {
        let Self {
            requests,
            failures,
            latency,
            malformed,
            reads,
            writes,
            expires,
            watch_requests,
            watchers,
            watch_events,
            watchers_cut,
            watch_events_waiting,
            watch_events_bytes,
            writes_paused,
            proposals,
            proposals_failed,
            leader_changes,
            fsync,
            batch,
            log_bytes,
            snapshot_save,
            snapshot_marshal,
            connections,
            accepted,
            refused,
            bytes_in,
            bytes_out,
            turns,
            queue_depth,
            queue_full,
            request_memory,
            no_room,
            clients_cut,
            sequence,
            visible,
            regimes,
            traffic,
            shards,
        } = other;
        let add = |mine: &mut Counter, theirs: &Counter| mine.absorb(*theirs);
        self.requests.absorb(requests, add);
        self.failures.absorb(failures);
        self.latency.absorb(latency, Timer::absorb);
        self.malformed.absorb(*malformed);
        self.reads.absorb(reads, add);
        self.writes.absorb(writes, add);
        self.expires.absorb(*expires);
        self.watch_requests.absorb(*watch_requests);
        self.watchers.absorb(*watchers);
        self.watch_events.absorb(*watch_events);
        self.watchers_cut.absorb(*watchers_cut);
        self.watch_events_waiting.absorb(*watch_events_waiting);
        self.watch_events_bytes.absorb(*watch_events_bytes);
        self.writes_paused.absorb(*writes_paused);
        self.proposals.absorb(proposals);
        self.proposals_failed.absorb(*proposals_failed);
        self.leader_changes.absorb(*leader_changes);
        self.fsync.absorb(fsync);
        self.batch.absorb(batch);
        self.log_bytes.absorb(*log_bytes);
        self.snapshot_save.absorb(snapshot_save);
        self.snapshot_marshal.absorb(snapshot_marshal);
        self.connections.absorb(*connections);
        self.accepted.absorb(*accepted);
        self.refused.absorb(*refused);
        self.bytes_in.absorb(*bytes_in);
        self.bytes_out.absorb(*bytes_out);
        self.turns.absorb(*turns);
        self.queue_depth.absorb(*queue_depth);
        self.queue_full.absorb(*queue_full);
        self.request_memory.absorb(*request_memory);
        self.no_room.absorb(*no_room);
        self.clients_cut.absorb(*clients_cut);
        self.sequence.raise(*sequence);
        self.visible.raise(*visible);
        self.regimes.absorb(*regimes);
        self.traffic.absorb(traffic);
        self.shards.extend(shards.iter().cloned());
    }
}
