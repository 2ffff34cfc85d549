//! What a core counts of its traffic with the other members: for `/metrics`, and for `/v2/stats/self` and `/v2/stats/leader`
//! as etcd shows them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::cell::{Counter, Gauge};
use super::text::{Kind, Page};

/// The traffic of one core, by member, and in sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// By the member's id.
    pub(crate) peers: BTreeMap<u64, PeerMetrics>,
    /// Frames with entries that were sent.
    pub(crate) sent: Rate,
    /// Frames with entries that were received.
    pub(crate) received: Rate,
    /// Data of entries that were read again from the log for members that lag.
    pub(crate) log_read_bytes: Counter,
    /// Requests for entries that the log did not have any more.
    pub(crate) log_misses: Counter,
}

/// One core's traffic with one member.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerMetrics {
    /// Bytes of raft's messages that were sent to it.
    pub(crate) sent_bytes: Counter,
    /// Bytes of raft's messages that came from it.
    pub(crate) received_bytes: Counter,
    /// Frames that found no stream, or a full one.
    pub(crate) failed: Counter,
    /// Frames with entries that it was sent.
    pub(crate) appends: Counter,
    /// From an entry's way out to the news that it is durable there.
    pub(crate) round_trip: Latency,
    /// Shards' states that it was sent whole.
    pub(crate) snapshots_sent: Counter,
    /// Shards' states that did not reach it.
    pub(crate) snapshots_failed: Counter,
    /// Shards' states that came from it.
    pub(crate) snapshots_received: Counter,
    /// Entries of the groups led here that it is not known to have.
    pub(crate) lag: Gauge,
    /// The index up to which its disk has noted what is visible, as it says itself.
    pub(crate) disk: Gauge,
}

/// How long something took, as etcd reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    count: u64,
    sum: f64,
    squares: f64,
    last: f64,
    least: f64,
    most: f64,
}

/// How many frames, and bytes of them, went by: in all, and per second over the last few.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    total: Counter,
    last: VecDeque<(Instant, usize)>,
}

/// Frames that the rate per second is taken from: etcd's number.
const RATE_FRAMES: usize = 200;
/// How long the last frame may be ago for a rate to be shown.
const RATE_SILENCE: Duration = Duration::from_secs(1);

impl Traffic {
    pub(super) fn absorb(&mut self, other: &Self) {
        for (member, theirs) in &other.peers {
            self.peers.entry(*member).or_default().absorb(theirs);
        }
        self.sent.absorb(&other.sent);
        self.received.absorb(&other.received);
        self.log_read_bytes.absorb(other.log_read_bytes);
        self.log_misses.absorb(other.log_misses);
    }
}

impl PeerMetrics {
    fn absorb(&mut self, other: &Self) {
        let Self {
            sent_bytes,
            received_bytes,
            failed,
            appends,
            round_trip,
            snapshots_sent,
            snapshots_failed,
            snapshots_received,
            lag,
            disk,
        } = other;
        self.sent_bytes.absorb(*sent_bytes);
        self.received_bytes.absorb(*received_bytes);
        self.failed.absorb(*failed);
        self.appends.absorb(*appends);
        self.round_trip.absorb(round_trip);
        self.snapshots_sent.absorb(*snapshots_sent);
        self.snapshots_failed.absorb(*snapshots_failed);
        self.snapshots_received.absorb(*snapshots_received);
        self.lag.absorb(*lag);
        self.disk.absorb(*disk);
    }
}

impl Latency {
    /// Counts one.
    pub(crate) fn observe(&mut self, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        self.least = if self.count == 0 { ms } else { self.least.min(ms) };
        self.most = self.most.max(ms);
        self.count += 1;
        self.sum += ms;
        self.squares += ms * ms;
        self.last = ms;
    }

    fn absorb(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.least = if self.count == 0 { other.least } else { self.least.min(other.least) };
        self.most = self.most.max(other.most);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.last = other.last;
    }

    fn average_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// etcd's object, in milliseconds; without any, its least is the most that Go has.
    pub(crate) fn json(&self) -> String {
        let Self { last, most, .. } = self;
        let average = self.average_ms();
        let variance = if self.count == 0 { 0.0 } else { self.squares / self.count as f64 - average * average };
        let deviation = variance.max(0.0).sqrt();
        let least = if self.count == 0 { i64::MAX as f64 } else { self.least };
        format!(
            "{{\"current\":{last},\"average\":{average},\"standardDeviation\":{deviation},\"minimum\":{least},\"maximum\":{most}}}"
        )
    }
}

impl Rate {
    /// Counts a frame of so many bytes.
    pub(crate) fn observe(&mut self, now: Instant, bytes: usize) {
        self.total.inc();
        if self.last.len() == RATE_FRAMES {
            self.last.pop_front();
        }
        self.last.push_back((now, bytes));
    }

    /// Frames so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total.get()
    }

    /// Frames and bytes per second; none after a silence, or with too few to tell.
    pub(crate) fn per_second(&self, now: Instant) -> Option<(f64, f64)> {
        let (first, last) = (self.last.front()?.0, self.last.back()?.0);
        let time = last.saturating_duration_since(first).as_secs_f64();
        if now.saturating_duration_since(last) > RATE_SILENCE || time <= 0.0 {
            return None;
        }
        let bytes: usize = self.last.iter().map(|(_, bytes)| bytes).sum();
        Some((self.last.len() as f64 / time, bytes as f64 / time))
    }

    fn absorb(&mut self, other: &Self) {
        self.total.absorb(other.total);
        self.last.extend(&other.last);
        let frames = self.last.make_contiguous();
        frames.sort_unstable_by_key(|frame| frame.0);
        let surplus = self.last.len().saturating_sub(RATE_FRAMES);
        self.last.drain(..surplus);
    }
}

/// The part of `/metrics`, under etcd 3.4's names where it has one.
pub(super) fn export(page: &mut Page, traffic: &Traffic) {
    type Column = (&'static str, Kind, &'static str, &'static str, fn(&PeerMetrics) -> i64);
    let columns: [Column; 8] = [
        (
            "etcd_network_peer_sent_bytes_total",
            Kind::Counter,
            "To",
            "Bytes of raft's messages sent to a member.",
            |peer| peer.sent_bytes.get() as i64,
        ),
        (
            "etcd_network_peer_received_bytes_total",
            Kind::Counter,
            "From",
            "Bytes of raft's messages received from a member.",
            |peer| peer.received_bytes.get() as i64,
        ),
        (
            "etcd_network_peer_sent_failures_total",
            Kind::Counter,
            "To",
            "Frames that found no stream to a member, or a full one.",
            |peer| peer.failed.get() as i64,
        ),
        ("etcd_network_snapshot_send_success", Kind::Counter, "To", "Shards' states sent to a member.", |peer| {
            peer.snapshots_sent.get() as i64
        }),
        (
            "etcd_network_snapshot_send_failures",
            Kind::Counter,
            "To",
            "Shards' states that did not reach a member.",
            |peer| peer.snapshots_failed.get() as i64,
        ),
        (
            "etcd_network_snapshot_receive_success",
            Kind::Counter,
            "From",
            "Shards' states received from a member.",
            |peer| peer.snapshots_received.get() as i64,
        ),
        (
            "uetcd_replication_lag_entries",
            Kind::Gauge,
            "To",
            "Entries of the groups led here that a member is not known to have.",
            |peer| peer.lag.get(),
        ),
        (
            "uetcd_peer_disk_index",
            Kind::Gauge,
            "From",
            "The index up to which a member's disk has noted what is visible. Once it had more than it has, it has no vote.",
            |peer| peer.disk.get(),
        ),
    ];
    for (name, kind, label, help, of) in columns {
        let mut samples = page.metric(name, kind, help);
        for (member, peer) in &traffic.peers {
            samples.labelled(&[(label, &format!("{member:x}"))], of(peer));
        }
    }
    for (name, help, count) in [
        (
            "uetcd_log_reread_bytes_total",
            "Data of entries read again from the log on disk, for members that lag.",
            traffic.log_read_bytes,
        ),
        ("uetcd_log_reread_misses_total", "Entries that a member lacked and the log had no more.", traffic.log_misses),
    ] {
        page.metric(name, Kind::Counter, help).value(count.get());
    }
    let help = "From an entry's way out to the news that a member has it on its disk: the average of all.";
    let mut samples = page.metric("uetcd_replication_seconds_average", Kind::Gauge, help);
    for (member, peer) in traffic.peers.iter().filter(|(_, peer)| peer.round_trip.count > 0) {
        let average = peer.round_trip.average_ms() / 1000.0;
        samples.labelled(&[("To", &format!("{member:x}"))], average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_those_of_all_cores() {
        let mut one = Latency::default();
        assert_eq!(
            one.json(),
            "{\"current\":0,\"average\":0,\"standardDeviation\":0,\"minimum\":9223372036854776000,\"maximum\":0}"
        );
        one.observe(Duration::from_millis(2));
        let mut other = Latency::default();
        other.observe(Duration::from_millis(4));
        one.absorb(&other);
        one.absorb(&Latency::default());
        assert_eq!(one.json(), "{\"current\":4,\"average\":3,\"standardDeviation\":1,\"minimum\":2,\"maximum\":4}");
    }

    #[test]
    fn a_rate_needs_two_frames_and_ends_with_a_silence() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        rate.observe(start, 100);
        assert_eq!(rate.per_second(start), None);
        rate.observe(start + Duration::from_millis(500), 300);
        let now = start + Duration::from_secs(1);
        assert_eq!(rate.per_second(now), Some((4.0, 800.0)));
        assert_eq!(rate.per_second(now + RATE_SILENCE), None);
        for nth in 0..1000 {
            rate.observe(start + Duration::from_secs(nth), 1);
        }
        assert_eq!((rate.total(), rate.last.len()), (1002, RATE_FRAMES));
    }
}
