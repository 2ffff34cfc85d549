//! A disk that is older than what its member has promised: a copy that was put back. The member learns it from the others,
//! before it can vote.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::api::{added, wait_count};
use super::members::{Cluster, Setup, impatient};
use crate::harness::{Client, PATIENCE, copy_dir, eventually, load, uetcd_only};

const NOTICED: &str = "an older one was put in its place. This member starts again";
const VOTES: &str = "it votes from now on";

/// Writes of each half, before the copy and after it.
const WRITES: u64 = 200;

fn write(cluster: &Cluster, half: &str) {
    load(cluster.server(cluster.primary()), WRITES, |n| (format!("/d{}/{half}{n}", n % 32), format!("value={n}")));
    cluster.wait_converged();
}

/// Three members, a follower among them with a copy of its disk, and what was written after that was made.
fn start() -> (Cluster, usize, PathBuf) {
    let mut cluster = Setup::new().args(&["--cores", "2"]).start(3);
    write(&cluster, "before");
    let member = cluster.followers()[0];
    cluster.kill(member);
    let copy = cluster.data(member).with_extension("copy");
    copy_dir(cluster.data(member), &copy);
    cluster.restart(member);
    cluster.wait_converged();
    write(&cluster, "after");
    cluster.swap_disks();
    (cluster, member, copy)
}

/// Waits until the others know what its disk holds.
fn wait_told(cluster: &Cluster, member: usize) {
    let (index, id) = (cluster.client(member).get("/v2/keys/").index(), cluster.id(member, member));
    let sample = format!("uetcd_peer_disk_index{{From=\"{id}\"}} ");
    for other in cluster.up().into_iter().filter(|other| *other != member) {
        eventually("the others know what it holds", PATIENCE, || {
            let page = cluster.client(other).get("/metrics").text();
            let held = page.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok());
            held.filter(|held: &u64| *held >= index)
        });
    }
}

/// Whether the metrics say of some shard that it has lost what it promised.
fn is_forgetful(page: &str) -> bool {
    page.lines().any(|line| line.starts_with("uetcd_shard_is_forgetful{") && line.ends_with(" 1"))
}

fn put_back(copy: &Path, data: &Path) {
    std::fs::remove_dir_all(data).expect("removable");
    copy_dir(copy, data);
}

fn count(cluster: &Cluster, nth: usize) -> u64 {
    let listed = cluster.client(nth).get("/v2/keys/?recursive=true&quorum=true").text();
    ["before", "after"].map(|half| listed.matches(half).count() as u64).iter().sum()
}

#[test]
fn an_older_disk_has_no_vote_until_it_has_caught_up() {
    uetcd_only!("etcd does not notice");
    let (mut cluster, member, copy) = start();
    wait_told(&cluster, member);
    cluster.kill(member);
    put_back(&copy, cluster.data(member));
    cluster.restart(member);
    cluster.server(member).wait_for_log(NOTICED);
    cluster.server(member).wait_for_log(VOTES);
    cluster.wait_converged();
    let log = cluster.server(member).log();
    assert!(log.contains("the older log is now"), "{log}");
    // Its vote counts again, and it has what it is asked for.
    cluster.kill(cluster.primary());
    cluster.wait_writable();
    assert_eq!(count(&cluster, member), 2 * WRITES);
    // The next start is one like any other.
    cluster.kill(member);
    cluster.restart(member);
    cluster.wait_writable();
    let log = cluster.server(member).log();
    assert!(!log.contains(NOTICED) && !log.contains(VOTES), "{log}");
}

/// It holds what it needs for a vote that would elect one who lacks acknowledged writes: only that it has held more keeps it from that.
#[test]
fn an_older_disk_elects_nobody_who_lacks_what_its_member_has_acknowledged() {
    uetcd_only!("etcd does not notice");
    let (mut cluster, member, copy) = start();
    let others: Vec<usize> = (0..3).filter(|nth| *nth != member).collect();
    let primary = cluster.primary();
    let (lags, keeps) = if others[0] == primary { (others[1], others[0]) } else { (others[0], others[1]) };
    wait_told(&cluster, member);
    // A stop writes down what others hold, a kill within half a minute may lose it.
    cluster.terminate(lags);
    cluster.wait_writable();
    let via = cluster.primary_among(&[member, keeps]);
    load(cluster.server(via), WRITES, |n| (format!("/d{}/last{n}", n % 32), format!("value={n}")));
    cluster.kill(keeps);
    cluster.kill(member);
    put_back(&copy, cluster.data(member));
    let url = cluster.next_plan().peer_url();
    cluster.restart(lags);
    cluster.restart_with(member, &["--listen-metrics-urls", &url]);
    cluster.server(member).wait_for_log(NOTICED);
    // A majority runs, and has no right to be one.
    let mut clients = [lags, member].map(|nth| impatient(cluster.address(nth)));
    let begun = Instant::now();
    while begun.elapsed() < 10 * cluster.election() {
        for client in &mut clients {
            let answer = client.attempt("PUT", "/v2/keys/elected", Some("value=1"));
            assert!(!answer.is_ok_and(|answer| answer.status < 300), "a majority of two was made of an older disk");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut scraper = Client::at(&url);
    let page = scraper.get("/metrics").text();
    assert!(is_forgetful(&page), "{page}");
    assert!(!cluster.server(member).log().contains(VOTES));
    cluster.restart(keeps);
    cluster.server(member).wait_for_log(VOTES);
    cluster.wait_writable();
    for nth in 0..3 {
        let listed = cluster.client(nth).get("/v2/keys/?recursive=true&quorum=true").text();
        assert_eq!(
            (listed.matches("/last").count() as u64, count(&cluster, nth)),
            (WRITES, 2 * WRITES),
            "member {nth}"
        );
    }
}

/// While one that lost its data can not get it back, it serves no clients, and says so to whoever looks after it.
#[test]
fn a_member_without_data_is_to_be_seen_while_it_waits_for_the_others() {
    uetcd_only!("etcd does not notice");
    let mut cluster = Setup::new().start(3);
    write(&cluster, "before");
    let (member, away) = (cluster.followers()[0], cluster.followers()[1]);
    cluster.kill(member);
    cluster.kill(away);
    cluster.swap_disks();
    std::fs::remove_dir_all(cluster.data(member)).expect("removable");
    let url = cluster.next_plan().peer_url();
    cluster.restart_with(member, &["--initial-cluster-state", "existing", "--listen-metrics-urls", &url]);
    let mut scraper = Client::at(&url);
    eventually("it is there", PATIENCE, || scraper.attempt("GET", "/metrics", None).ok());
    let page = scraper.get("/metrics").text();
    assert!(is_forgetful(&page), "{page}");
    assert_eq!(scraper.get("/health").json()["health"], "false");
    cluster.restart(away);
    cluster.wait_converged();
    assert!(!is_forgetful(&scraper.get("/metrics").text()));
}

#[test]
fn an_older_disk_is_known_by_members_that_were_away_themselves() {
    uetcd_only!("etcd does not notice");
    let (mut cluster, member, copy) = start();
    wait_told(&cluster, member);
    for nth in 0..3 {
        cluster.terminate(nth);
    }
    put_back(&copy, cluster.data(member));
    for nth in 0..3 {
        cluster.restart(nth);
    }
    cluster.server(member).wait_for_log(NOTICED);
    cluster.server(member).wait_for_log(VOTES);
    cluster.wait_writable();
    assert_eq!(count(&cluster, member), 2 * WRITES);
}

#[test]
fn a_disk_is_not_taken_for_an_older_one_however_often_its_member_is_killed() {
    uetcd_only!("etcd does not look");
    // The logs of two executors end at different moments.
    let mut cluster = Setup::new().args(&["--cores", "2"]).start(3);
    for round in 0..4 {
        load(cluster.server(cluster.primary()), WRITES, |n| {
            (format!("/d{}/{round}.{n}", n % 32), format!("value={n}"))
        });
        for nth in 0..3 {
            cluster.kill(nth);
        }
        cluster.restart(0);
        cluster.restart(1);
        // Once it shows something again, and notes it, before it has caught up with what it had noted before.
        cluster.server(1).wait_for_log("became active");
        std::thread::sleep(Duration::from_millis(150 * (1 + round)));
        cluster.kill(1);
        cluster.restart(1);
        cluster.restart(2);
        cluster.wait_writable();
    }
}

#[test]
fn an_older_disk_finds_members_that_it_does_not_know() {
    uetcd_only!("etcd does not notice");
    let mut cluster = Setup::new().start(1);
    let copy = cluster.data(0).with_extension("copy");
    cluster.kill(0);
    copy_dir(cluster.data(0), &copy);
    cluster.restart(0);
    cluster.wait_writable();
    for _ in 0..2 {
        let plan = cluster.next_plan();
        let url = plan.peer_url();
        added(&cluster, 0, &url);
        wait_count(&cluster, cluster.len() + 1);
        let new = cluster.join(&cluster.up(), plan);
        cluster.wait_voter(new);
    }
    write(&cluster, "after");
    cluster.swap_disks();
    wait_told(&cluster, 0);
    cluster.kill(0);
    put_back(&copy, cluster.data(0));
    cluster.restart(0);
    cluster.server(0).wait_for_log(NOTICED);
    cluster.server(0).wait_for_log(VOTES);
    cluster.wait_converged();
    assert_eq!(count(&cluster, 0), WRITES);
}
