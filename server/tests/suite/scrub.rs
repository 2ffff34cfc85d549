//! Rot under a running server: it is noticed, named, and what has rotted is done without before anybody needs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::cluster::Setup;
use crate::harness::{Client, PATIENCE, Plan, Server, SlowDisk, eventually, flip, uetcd_only};

const KEYS: usize = 100;
/// Rounds follow each other at once.
const EAGER: [&str; 4] = ["--scrub-rate", "1000", "--scrub-interval", "1"];

fn key(n: usize) -> String {
    format!("/scrub{n}/k")
}

fn marker(n: usize) -> String {
    format!("marker-{n:03}-marker")
}

/// Longer than a few sectors, so that one can rot and the head of the entry still say whose it is.
fn value(n: usize) -> String {
    marker(n) + &"v".repeat(2000)
}

fn write_all(client: &mut Client) {
    for n in 0..KEYS {
        client.set(&key(n), &value(n));
    }
}

fn all_is_there(server: &Server) {
    let mut client = server.client();
    for n in 0..KEYS {
        assert_eq!(client.value(&key(n)), Some(value(n)), "{}", key(n));
    }
}

/// The first line of the server's log that has all of these in it.
fn line_with(server: &Server, parts: &[&str]) -> String {
    eventually(&format!("a line with {parts:?}"), PATIENCE, || {
        let log = server.log();
        log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
    })
}

fn metric(server: &Server, name: &str) -> u64 {
    server.client().metric(name)
}

/// The rounds that begin from now on have ended once this has returned.
fn a_whole_round(server: &Server) {
    let ended = || metric(server, "uetcd_scrub_last_round_timestamp_seconds");
    for _ in 0..2 {
        let before = ended();
        eventually("a round of the scrub", PATIENCE, || (ended() > before).then_some(()));
    }
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// The part of a snapshot's name that grows with what it covers.
fn position(snapshot: &Path) -> &str {
    name(snapshot).split('.').next().unwrap_or_default()
}

/// Where the file holds these bytes, which no stamp cuts in two.
fn find(path: &Path, wanted: &[u8]) -> Option<u64> {
    let bytes = fs::read(path).expect("a readable file");
    bytes.windows(wanted.len()).position(|window| window == wanted).map(|at| at as u64)
}

#[test]
fn a_rotten_segment_is_named_and_outgrown() {
    uetcd_only!("etcd reads its log at a start only");
    outgrows_a_rotten_segment(&Plan::new(), |file, at| flip(file, at, 0x10));
}

/// What the device gives back is not what the file system has written to it.
#[test]
fn a_segment_that_rots_below_its_file_system_is_named_and_outgrown() {
    uetcd_only!("etcd reads its log at a start only");
    let home = tempfile::tempdir().expect("a directory");
    let disk = SlowDisk::mount(&home.path().join("0"), 512 << 20);
    outgrows_a_rotten_segment(&Plan::new().data_dir(&disk.data()), |path, at| disk.rot(path, at));
}

fn outgrows_a_rotten_segment(plan: &Plan, rot: impl Fn(&Path, u64)) {
    let server = plan.clone().args(["--cores", "1"]).start();
    write_all(&mut server.client());
    // What an earlier start has written is not written to any more.
    let server = server.kill().args(EAGER).start();
    let wal = server.plan().data().join("member/wal/0");
    a_whole_round(&server);
    assert_eq!(metric(&server, "uetcd_scrub_damage_total"), 0, "{}", server.log());
    assert!(metric(&server, "uetcd_scrub_bytes_total") > 1 << 20);

    let place =
        |n| files(&wal, ".log").into_iter().find_map(|file| Some((find(&file, marker(n).as_bytes())? + 1024, file)));
    let (at, file) = (40..60).find_map(place).expect("a marker in one piece");
    rot(&file, at);
    let line = line_with(&server, &["C | wal:", name(&file), "is damaged"]);
    let offset = format!("offset {}", at / 512 * 512);
    for part in [offset.as_str(), "(group ", ", index ", "new snapshots"] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    line_with(&server, &[name(&file), "is not needed any more"]);
    eventually("the file is gone", PATIENCE, || (!file.exists()).then_some(()));
    a_whole_round(&server);
    assert_eq!(metric(&server, "uetcd_scrub_damage_total"), 1, "{}", server.log());
    server.client().set("/afterwards", "1");

    let server = server.kill().start();
    all_is_there(&server);
    assert_eq!(server.client().value("/afterwards").as_deref(), Some("1"));
    a_whole_round(&server);
    assert_eq!(metric(&server, "uetcd_scrub_damage_total"), 0, "{}", server.log());
}

#[test]
fn a_segment_that_other_executors_need_is_outgrown_too() {
    uetcd_only!("etcd reads its log at a start only");
    let server = Plan::new().args(["--cores", "1"]).start();
    write_all(&mut server.client());
    let server = server.kill().without_last_args(2).args(["--cores", "2"]).args(EAGER).start();
    let file = files(&server.plan().data().join("member/wal/0"), ".log").swap_remove(0);
    // The first batch's first sector.
    flip(&file, 4096 + 100, 0x10);
    line_with(&server, &["C | wal:", name(&file), "is damaged"]);
    line_with(&server, &[name(&file), "is not needed any more"]);
    let server = server.kill().start();
    all_is_there(&server);
}

/// A server of one shard that has made all snapshots that are due, and where they are.
fn with_snapshots() -> (Server, PathBuf) {
    let server = Plan::new().args(["--cores", "1", "--shards", "1", "--snapshot-count", "30"]).args(EAGER).start();
    write_all(&mut server.client());
    let snap = server.plan().data().join("member/snap");
    a_whole_round(&server);
    (server, snap)
}

#[test]
fn a_rotten_snapshot_is_put_aside_and_written_anew() {
    uetcd_only!("etcd reads its snapshots at a start only");
    let (server, snap) = with_snapshots();
    let rotten = files(&snap, ".snap").pop().expect("a snapshot");
    flip(&rotten, File::open(&rotten).and_then(|file| file.metadata()).expect("it is there").len() / 2, 0x10);
    let line = line_with(&server, &["C | snap:", name(&rotten), "is damaged at offset"]);
    assert!(line.contains("(group 0, index ") && line.contains(".broken"), "{line}");
    assert_eq!(files(&snap, ".broken").len(), 1);
    eventually("two newer ones", PATIENCE, || {
        let good = files(&snap, ".snap");
        (good.iter().filter(|file| position(file) >= position(&rotten)).count() >= 2).then_some(())
    });
    a_whole_round(&server);
    assert_eq!(metric(&server, "uetcd_scrub_damage_total"), 1, "{}", server.log());
    let server = server.kill().start();
    all_is_there(&server);
}

/// What somebody has put beside the snapshots is nobody's.
#[test]
fn snapshots_of_shards_that_there_are_not_are_passed_over() {
    uetcd_only!("etcd's snapshots are named differently");
    let (server, snap) = with_snapshots();
    let plan = server.kill();
    let own = files(&snap, ".snap").pop().expect("a snapshot");
    let strangers = ["99-0000000000000017.snap", "99-0000000000000008.snap"].map(|name| snap.join(name));
    for stranger in &strangers {
        fs::copy(&own, stranger).expect("writable");
    }
    let server = plan.start();
    a_whole_round(&server);
    assert_eq!(metric(&server, "uetcd_scrub_damage_total"), 0, "{}", server.log());
    assert!(strangers.iter().all(|stranger| stranger.exists()));
    all_is_there(&server);
}

/// A member without a majority serves nobody, and its disk can rot all the same.
#[test]
fn a_member_that_waits_for_the_others_reads_its_disk_as_well() {
    uetcd_only!("etcd reads its log at a start only");
    let mut cluster = Setup::new().args(&EAGER).start(3);
    (0..3).for_each(|nth| cluster.kill(nth));
    let metrics = cluster.next_plan().peer_url();
    cluster.restart_with(0, &["--listen-metrics-urls", &metrics]);
    let mut scraper = Client::at(&metrics);
    eventually("it is there", PATIENCE, || scraper.attempt("GET", "/metrics", None).ok());
    let mut ended = || scraper.metric("uetcd_scrub_last_round_timestamp_seconds");
    eventually("a round of the scrub", PATIENCE, || (ended() > 0).then_some(()));
    assert!(!cluster.server(0).log().contains("ready to serve"));
}
