//! What each cell is called on the page: etcd 2.3's names, those of 3.4 that dashboards ask for, and our own.

use super::cell::{Counter, Gauge, Timer};
use super::labels::{Family, Label};
use super::text::{Kind, LabelPair, Page};
use super::{CoreMetrics, Merged, ProcessStats, ScrubStats, ShardMetrics, peers};

/// The quantiles shown of a [`Timer`].
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Writes the page for `/metrics`.
pub(crate) fn encode(merged: &Merged, process: &ProcessStats, scrub: &ScrubStats) -> Vec<u8> {
    let mut page = Page::default();
    http(&mut page, &merged.total);
    store(&mut page, &merged.total);
    server(&mut page, &merged.total, process);
    disk(&mut page, &merged.total);
    scrubbed(&mut page, scrub);
    transport(&mut page, &merged.total);
    peers::export(&mut page, &merged.total.traffic);
    cores(&mut page, &merged.cores);
    shards(&mut page, &merged.total.shards);
    process_stats(&mut page, process);
    page.finish()
}

fn http(page: &mut Page, total: &CoreMetrics) {
    family(
        page,
        "etcd_http_received_total",
        "method",
        "Counter of requests received into the system.",
        &total.requests,
    );
    let mut failed = page.metric("etcd_http_failed_total", Kind::Counter, "Counter of handle failures of requests.");
    for (method, status, count) in total.failures.iter() {
        failed.labelled(&[("code", &status), ("method", &method.text())], count);
    }
    let help = "Bucketed histogram of processing time of successfully handled requests.";
    let mut buckets = page.metric("etcd_http_successful_duration_second", Kind::Histogram, help);
    for (method, timer) in total.latency.iter().filter(|(_, timer)| timer.buckets().count() > 0) {
        buckets.histogram(&[("method", &method.text())], timer.buckets());
    }
    let methods: Vec<(&str, &Timer)> = total.latency.iter().map(|(method, timer)| (method.text(), timer)).collect();
    quantiles(page, "uetcd_http_duration_seconds", "Time of successfully handled requests.", "method", &methods);
    counter(page, "uetcd_http_malformed_total", "Requests that were no HTTP or above a limit.", total.malformed.get());
}

fn store(page: &mut Page, total: &CoreMetrics) {
    let reads = "Total number of reads action by (get/getRecursive), local to this member.";
    let writes = "Total number of writes (e.g. set/compareAndDelete) seen by this member.";
    for name in ["etcd_store_reads_total", "etcd_debugging_store_reads_total"] {
        family(page, name, "action", reads, &total.reads);
    }
    for name in ["etcd_store_writes_total", "etcd_debugging_store_writes_total"] {
        family(page, name, "action", writes, &total.writes);
    }
    for name in ["etcd_store_expires_total", "etcd_debugging_store_expires_total"] {
        counter(page, name, "Total number of expired keys.", total.expires.get());
    }
    for name in ["etcd_store_watch_requests_total", "etcd_debugging_store_watch_requests_total"] {
        counter(page, name, "Total number of incoming watch requests.", total.watch_requests.get());
    }
    for name in ["etcd_store_watchers", "etcd_debugging_store_watchers"] {
        gauge(page, name, "Count of currently active watchers.", total.watchers);
    }
    counter(page, "uetcd_watch_events_total", "Events handed to watchers.", total.watch_events.get());
    counter(page, "uetcd_watchers_cut_total", "Watches ended: the client did not keep up.", total.watchers_cut.get());
    gauge(
        page,
        "uetcd_watch_events_waiting",
        "Events that watchers have not been sent yet.",
        total.watch_events_waiting,
    );
    gauge(
        page,
        "uetcd_watch_events_bytes",
        "Memory of events that wait for watchers or are being sent, but for small ones.",
        total.watch_events_bytes,
    );
    let paused = "How often writes had to wait for watchers to take their events.";
    counter(page, "uetcd_writes_paused_total", paused, total.writes_paused.get());
}

fn server(page: &mut Page, total: &CoreMetrics, process: &ProcessStats) {
    let sum = |of: fn(&ShardMetrics) -> i64| total.shards.iter().map(of).sum::<i64>();
    let all = |of: fn(&ShardMetrics) -> bool| u8::from(!total.shards.is_empty() && total.shards.iter().all(of));
    let pending = sum(|shard| shard.pending.get());
    let mut timer =
        |name, help, timer: &Timer| page.metric(name, Kind::Histogram, help).histogram(&[], timer.buckets());
    timer(
        "etcd_server_proposal_durations_seconds",
        "The latency distributions of committing proposal.",
        &total.proposals,
    );
    let mut value = |name, kind, help, value: i64| page.metric(name, kind, help).value(value);
    value("etcd_server_pending_proposal_total", Kind::Gauge, "The total number of pending proposals.", pending);
    value("etcd_server_proposals_pending", Kind::Gauge, "The current number of pending proposals to commit.", pending);
    let committed = sum(|shard| shard.committed.get() as i64);
    value("etcd_server_proposals_committed_total", Kind::Gauge, "The total number of proposals committed.", committed);
    let applied = sum(|shard| shard.applied.get() as i64);
    value("etcd_server_proposals_applied_total", Kind::Gauge, "The total number of proposals applied.", applied);
    let failed = total.proposals_failed.get() as i64;
    value("etcd_server_proposal_failed_total", Kind::Counter, "The total number of failed proposals.", failed);
    value("etcd_server_proposals_failed_total", Kind::Counter, "The total number of failed proposals seen.", failed);
    let fds = process.open_fds as i64;
    value("etcd_server_file_descriptors_used_total", Kind::Gauge, "The total number of file descriptors used.", fds);
    let has_leader = i64::from(all(|shard| shard.has_leader));
    value("etcd_server_has_leader", Kind::Gauge, "Whether every raft group has a leader. 1 is existence.", has_leader);
    let is_leader = i64::from(all(|shard| shard.is_leader));
    value("etcd_server_is_leader", Kind::Gauge, "Whether this member leads every raft group. 1 if it does.", is_leader);
    let changes = total.leader_changes.get() as i64;
    value("etcd_server_leader_changes_seen_total", Kind::Counter, "The number of leader changes seen.", changes);
    let regimes = total.regimes.get() as i64;
    value("uetcd_regimes_total", Kind::Counter, "How often this member became the primary of all shards.", regimes);
    let visible = total.visible.get();
    value("uetcd_visible_index", Kind::Gauge, "The newest index that is shown to clients.", visible);
    let lag = (total.sequence.get() - visible).max(0);
    value("uetcd_visible_lag", Kind::Gauge, "Indices taken and not yet shown to clients.", lag);
    let timers = [("", &total.proposals)];
    quantiles(page, "uetcd_proposal_duration_seconds", "From the batch of a command to its application.", "", &timers);
}

fn disk(page: &mut Page, total: &CoreMetrics) {
    let fsync = "The latency distributions of fsync called by wal.";
    for name in ["etcd_wal_fsync_durations_seconds", "etcd_disk_wal_fsync_duration_seconds"] {
        page.metric(name, Kind::Histogram, fsync).histogram(&[], total.fsync.buckets());
    }
    quantiles(page, "uetcd_log_write_duration_seconds", "Time of one durable log write.", "", &[("", &total.fsync)]);
    page.metric("uetcd_log_batch_commands", Kind::Histogram, "Commands in one log write.").histogram(&[], &total.batch);
    counter(
        page,
        "uetcd_log_written_bytes_total",
        "Bytes written to the log, padding included.",
        total.log_bytes.get(),
    );
    let last = total.shards.iter().map(|shard| shard.last_index.get()).max().unwrap_or_default();
    page.metric("etcd_wal_last_index_saved", Kind::Gauge, "The index of the last entry saved by wal.").value(last);
    for (name, help, histogram) in [
        (
            "etcd_snapshot_save_total_durations_seconds",
            "The total latency distributions of save called by snapshot.",
            &total.snapshot_save,
        ),
        (
            "etcd_snapshot_save_marshalling_durations_seconds",
            "The marshalling cost distributions of save called by snapshot.",
            &total.snapshot_marshal,
        ),
    ] {
        page.metric(name, Kind::Histogram, help).histogram(&[], histogram);
    }
}

fn scrubbed(page: &mut Page, scrub: &ScrubStats) {
    counter(page, "uetcd_scrub_bytes_total", "Bytes of log and snapshots read again.", scrub.bytes());
    counter(page, "uetcd_scrub_damage_total", "Damaged files that were found by it.", scrub.damage());
    let help = "Starts of this process without its log, which was damaged: the other members stood in for it.";
    counter(page, "uetcd_log_repairs_total", help, scrub.repairs());
    if let Some(at) = scrub.last_round() {
        let help = "When everything had been read again, in seconds since the epoch.";
        page.metric("uetcd_scrub_last_round_timestamp_seconds", Kind::Gauge, help).value(at);
    }
}

fn transport(page: &mut Page, total: &CoreMetrics) {
    gauge(page, "uetcd_connections", "Client connections open now.", total.connections);
    counter(page, "uetcd_connections_accepted_total", "Client connections accepted.", total.accepted.get());
    counter(page, "uetcd_connections_refused_total", "Client connections refused: limit reached.", total.refused.get());
    gauge(page, "uetcd_request_memory_bytes", "Memory that requests under way take.", total.request_memory);
    counter(page, "uetcd_requests_without_room_total", "Requests refused for want of room.", total.no_room.get());
    let help = "Clients cut off that took none of their answers while there was no memory for more.";
    counter(page, "uetcd_clients_cut_total", help, total.clients_cut.get());
    counter(page, "uetcd_client_received_bytes_total", "Bytes received from clients.", total.bytes_in.get());
    counter(page, "uetcd_client_sent_bytes_total", "Bytes sent to clients.", total.bytes_out.get());
}

fn cores(page: &mut Page, cores: &[CoreMetrics]) {
    type Column = (&'static str, Kind, &'static str, fn(&CoreMetrics) -> i64);
    let columns: [Column; 5] = [
        ("uetcd_core_turns_total", Kind::Counter, "Turns of the loop.", |core| core.turns.get() as i64),
        ("uetcd_core_queue_depth", Kind::Gauge, "Requests waiting from siblings.", |core| core.queue_depth.get()),
        ("uetcd_core_queue_full_total", Kind::Counter, "Requests handed back: queue full.", |core| {
            core.queue_full.get() as i64
        }),
        ("uetcd_core_connections", Kind::Gauge, "Client connections open now.", |core| core.connections.get()),
        ("uetcd_core_requests_total", Kind::Counter, "Requests on the key space.", |core| {
            core.requests.iter().map(|(_, count)| count.get() as i64).sum()
        }),
    ];
    for (name, kind, help, of) in columns {
        let mut samples = page.metric(name, kind, help);
        for (number, core) in cores.iter().enumerate() {
            samples.labelled(&[("core", &number)], of(core));
        }
    }
}

fn shards(page: &mut Page, shards: &[ShardMetrics]) {
    type Column = (&'static str, Kind, &'static str, fn(&ShardMetrics) -> i64);
    let columns: [Column; 9] = [
        ("uetcd_shard_committed_total", Kind::Counter, "Commands committed.", |shard| shard.committed.get() as i64),
        ("uetcd_shard_applied_total", Kind::Counter, "Commands applied.", |shard| shard.applied.get() as i64),
        ("uetcd_shard_pending", Kind::Gauge, "Commands proposed and not committed.", |shard| shard.pending.get()),
        ("uetcd_shard_last_index", Kind::Gauge, "The newest index in the log.", |shard| shard.last_index.get()),
        ("uetcd_shard_history_events", Kind::Gauge, "Events kept.", |shard| shard.history_events.get()),
        ("uetcd_shard_history_bytes", Kind::Gauge, "Bytes of the events kept.", |shard| shard.history_bytes.get()),
        ("uetcd_shard_has_leader", Kind::Gauge, "Whether there is a leader.", |shard| i64::from(shard.has_leader)),
        ("uetcd_shard_is_leader", Kind::Gauge, "Whether this member leads.", |shard| i64::from(shard.is_leader)),
        (
            "uetcd_shard_is_forgetful",
            Kind::Gauge,
            "Whether this member lost what it promised, and has no vote until it has caught up.",
            |shard| i64::from(shard.is_forgetful),
        ),
    ];
    for (name, kind, help, of) in columns {
        let mut samples = page.metric(name, kind, help);
        for shard in shards {
            samples.labelled(&[("shard", &shard.shard)], of(shard));
        }
    }
}

pub(super) fn process_stats(page: &mut Page, process: &ProcessStats) {
    page.metric("process_cpu_seconds_total", Kind::Counter, "Total user and system CPU time spent in seconds.")
        .value(process.cpu_seconds);
    page.metric("process_start_time_seconds", Kind::Gauge, "Start time of the process since unix epoch in seconds.")
        .value(process.start_seconds);
    for (name, help, value) in [
        ("process_open_fds", "Number of open file descriptors.", process.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors.", process.max_fds),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_bytes),
    ] {
        page.metric(name, Kind::Gauge, help).value(value);
    }
    let dropped = process.log_lines_dropped;
    counter(page, "uetcd_log_lines_dropped_total", "Log lines dropped: the output did not keep up.", dropped);
}

fn counter(page: &mut Page, name: &'static str, help: &str, value: u64) {
    page.metric(name, Kind::Counter, help).value(value);
}

fn gauge(page: &mut Page, name: &'static str, help: &str, value: Gauge) {
    page.metric(name, Kind::Gauge, help).value(value.get());
}

/// One counter for each label value, as far as it occurred: etcd shows no zeros.
fn family<L: Label>(page: &mut Page, name: &'static str, label: &str, help: &str, family: &Family<L, Counter>) {
    let mut samples = page.metric(name, Kind::Counter, help);
    for (value, count) in family.iter().filter(|(_, count)| count.get() > 0) {
        samples.labelled(&[(label, &value.text())], count.get());
    }
}

/// A summary of each timer that saw anything, told apart by `label` (none if empty).
fn quantiles(page: &mut Page, name: &'static str, help: &str, label: &str, timers: &[(&str, &Timer)]) {
    let mut samples = page.metric(name, Kind::Summary, help);
    for (value, timer) in timers.iter().filter(|(_, timer)| timer.buckets().count() > 0) {
        let own: &[LabelPair<'_>] = if label.is_empty() { &[] } else { &[(label, value)] };
        for quantile in QUANTILES {
            let Some(duration) = timer.quantile(quantile) else { continue };
            let labels: Vec<LabelPair<'_>> = own.iter().copied().chain([("quantile", &quantile as _)]).collect();
            samples.labelled(&labels, duration.as_secs_f64());
        }
        samples.totals(own, timer.buckets().sum(), timer.buckets().count());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::metrics::{Method, ReadAction, WriteAction, merge};

    /// Two cores that each did a bit of everything.
    fn page() -> String {
        let mut core = CoreMetrics::default();
        core.requests[Method::QGet].inc();
        core.latency[Method::QGet].observe(Duration::from_millis(3));
        core.failures.inc(Method::Put, 412);
        core.reads[ReadAction::GetRecursive].add(2);
        core.writes[WriteAction::CompareAndSwap].inc();
        core.watchers.inc();
        core.fsync.observe(Duration::from_micros(250));
        core.sequence.set(9);
        core.visible.set(7);
        core.turns.add(5);
        let mut sibling = core.clone();
        sibling.visible.set(8);
        let shard = |shard| ShardMetrics { shard, has_leader: true, is_leader: true, ..ShardMetrics::default() };
        sibling.shards.push(shard(1));
        core.shards.push(shard(2));
        core.shards.push(shard(0));
        core.shards[0].pending.set(4);
        core.shards[1].last_index.set(8);
        let scrub = ScrubStats::default();
        scrub.read(3);
        scrub.found_damage();
        scrub.round_ended(UNIX_EPOCH + Duration::from_secs(5));
        let page = encode(&merge(vec![core, sibling]), &ProcessStats::default(), &scrub);
        String::from_utf8(page).expect("text")
    }

    #[test]
    fn cores_are_added_up_under_the_names_of_etcd() {
        let page = page();
        for want in [
            "etcd_http_received_total{method=\"QGET\"} 2",
            "etcd_http_failed_total{code=\"412\",method=\"PUT\"} 2",
            "etcd_http_successful_duration_second_bucket{method=\"QGET\",le=\"0.002\"} 0",
            "etcd_http_successful_duration_second_bucket{method=\"QGET\",le=\"0.004\"} 2",
            "etcd_http_successful_duration_second_bucket{method=\"QGET\",le=\"+Inf\"} 2",
            "etcd_http_successful_duration_second_count{method=\"QGET\"} 2",
            "etcd_store_reads_total{action=\"getRecursive\"} 4",
            "etcd_store_writes_total{action=\"compareAndSwap\"} 2",
            "etcd_store_watchers 2",
            "etcd_server_pending_proposal_total 4",
            "etcd_server_has_leader 1",
            "etcd_wal_fsync_durations_seconds_bucket{le=\"0.001\"} 2",
            "etcd_wal_fsync_durations_seconds_sum 0.0005",
            "etcd_wal_last_index_saved 8",
            "uetcd_visible_index 8",
            "uetcd_visible_lag 1",
            "uetcd_core_turns_total{core=\"1\"} 5",
            "uetcd_shard_pending{shard=\"2\"} 4",
            "uetcd_scrub_bytes_total 3",
            "uetcd_scrub_damage_total 1",
            "uetcd_scrub_last_round_timestamp_seconds 5",
            "uetcd_http_duration_seconds_count{method=\"QGET\"} 2",
        ] {
            assert!(page.lines().any(|line| line == want), "{want} is not in\n{page}");
        }
        assert!(!page.contains("method=\"GET\""), "etcd shows no zeros");
        let shards = page.lines().filter(|line| line.starts_with("uetcd_shard_history_events{"));
        assert!(shards.eq(["0", "1", "2"].map(|shard| format!("uetcd_shard_history_events{{shard=\"{shard}\"}} 0"))));
    }

    #[test]
    fn metrics_are_sorted_by_name_and_every_sample_has_a_type() {
        let page = page();
        let typed: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert!(typed.is_sorted() && typed.len() > 40, "{typed:?}");
        let mut current = "";
        for line in page.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(about) => current = about.split(' ').next().unwrap_or_default(),
                None => assert!(line.starts_with("# HELP ") || line.starts_with(current), "{line}"),
            }
        }
        assert!(page.ends_with('\n'));
    }
}
