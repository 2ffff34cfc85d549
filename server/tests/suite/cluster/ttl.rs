//! Lifetimes while primaries change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::load::modified;
use super::members::Cluster;
use crate::harness::{Client, Connection, PATIENCE, eventually};
use crate::mass_expiry::Crowd;

/// The most that an expiry may be late over a fail-over of the usual length: etcd looks every 500 ms, and the time without a primary, and up to a
/// second before it, does not count.
const LATE: Duration = Duration::from_millis(2500);

/// Sets keys with lifetimes of 1 to 6 seconds through all members; when each may go at the earliest and at the latest in a calm cluster.
fn set_all(cluster: &Cluster, prefix: &str) -> BTreeMap<String, (Instant, Instant)> {
    let mut clients: Vec<Client> = (0..cluster.len()).map(|nth| cluster.client(nth)).collect();
    let mut set = |n: u64| {
        let (key, ttl) = (format!("/{prefix}{}/k{n}", n % 16), 1 + n % 6);
        let before = Instant::now();
        let nth = n as usize % clients.len();
        let answer = clients[nth].put(&format!("/v2/keys{key}"), &[("value", "v"), ("ttl", &ttl.to_string())]);
        assert!(answer.status < 300, "{answer:?}");
        let ttl = Duration::from_secs(ttl);
        (key, (before + ttl, Instant::now() + ttl))
    };
    (0..36).map(&mut set).collect()
}

/// The expiries that a stream shows, in order, with the time of each, until `count` were there.
fn expiries(address: std::net::SocketAddr, count: usize) -> std::thread::JoinHandle<Vec<(Instant, u64, String)>> {
    let mut stream = Connection::open(address).expect("the member accepts");
    stream.request("GET", "/v2/keys/?wait=true&recursive=true&stream=true", None).expect("the member reads");
    assert_eq!(stream.head().expect("the head comes at once").status, 200);
    stream.set_patience(PATIENCE);
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < count {
            let event = stream.event().expect("an event");
            if event["action"] == "expire" {
                let key = event["node"]["key"].as_str().expect("a key").to_owned();
                seen.push((Instant::now(), modified(&event), key));
            }
        }
        seen
    })
}

/// Each key went when its time was over, and no later than `late` after that.
fn judge(due: &BTreeMap<String, (Instant, Instant)>, seen: &[(Instant, u64, String)], late: Duration) -> Duration {
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "expiries out of order");
    let mut latest = Duration::ZERO;
    for (when, _, key) in seen {
        let (earliest, last) = due[key];
        assert!(*when >= earliest, "{key} expired {:?} early", earliest - *when);
        latest = latest.max(*when - last.min(*when));
    }
    assert_eq!(seen.len(), due.len());
    assert!(latest <= late, "a key expired {latest:?} late, {late:?} allowed");
    latest
}

#[test]
fn keys_expire_on_all_members_at_the_same_index() {
    let cluster = Cluster::of(3);
    let watchers: Vec<_> = (0..3).map(|nth| expiries(cluster.address(nth), 36)).collect();
    let due = set_all(&cluster, "calm");
    let seen: Vec<_> = watchers.into_iter().map(|watcher| watcher.join().expect("all expire")).collect();
    let order = |seen: &[(Instant, u64, String)]| -> Vec<_> {
        seen.iter().map(|(_, index, key)| (*index, key.clone())).collect()
    };
    for seen in &seen {
        let latest = judge(&due, seen, Duration::from_secs(1) + Duration::from_millis(500));
        println!("the latest was {latest:?} late");
    }
    assert!(seen.iter().all(|other| order(other) == order(&seen[0])), "members disagree");
}

#[test]
fn a_fail_over_shortens_no_lifetime_and_lengthens_none_by_much() {
    let mut cluster = Cluster::of(3);
    let primary = cluster.primary();
    let watchers: Vec<_> = cluster.followers().into_iter().map(|nth| expiries(cluster.address(nth), 36)).collect();
    let due = set_all(&cluster, "over");
    let killed = Instant::now();
    cluster.kill(primary);
    cluster.wait_writable();
    let outage = killed.elapsed();
    cluster.restart(primary);
    let late = LATE.max(outage + Duration::from_secs(2));
    let mut orders = Vec::new();
    for watcher in watchers {
        let seen = watcher.join().expect("all expire");
        println!("outage {outage:?}; the latest was {:?} late", judge(&due, &seen, late));
        orders.push(seen.into_iter().map(|(_, index, key)| (index, key)).collect::<Vec<_>>());
    }
    assert_eq!(orders[0], orders[1], "members disagree");
    cluster.wait_writable();
    cluster.wait_converged();
}

/// Followers show each expiry as soon as a node of its own does.
#[test]
fn a_crowd_of_lifetimes_ends_in_time_in_a_cluster() {
    let cluster = Cluster::of(3);
    let crowd = Crowd::load(cluster.server(cluster.primary()));
    let late = crowd.watch(cluster.server(cluster.followers()[0]), |_| {});
    late.assert(&crowd, "in a cluster", Duration::ZERO);
}

#[test]
fn a_crowd_of_lifetimes_is_not_shortened_by_a_fail_over() {
    let mut cluster = Cluster::of(3);
    let (primary, follower) = (cluster.primary(), cluster.followers()[0]);
    let crowd = Crowd::load(cluster.server(primary));
    let mut killed = false;
    let late = crowd.watch(cluster.server(follower), |gone| {
        if gone == crowd.len() / 4 {
            cluster.server(primary).signal(libc::SIGKILL);
            killed = true;
        }
    });
    cluster.kill(primary);
    cluster.restart(primary);
    assert!(killed, "the primary was to be killed while they end");
    // Without a primary nothing ends.
    late.assert(&crowd, "through a fail-over", 3 * cluster.election() + LATE);
    cluster.wait_converged();
}

#[test]
fn members_agree_on_what_is_left_of_a_lifetime() {
    let mut cluster = Cluster::of(3);
    for n in 0..8_u8 {
        let ttl = (100 + n).to_string();
        cluster.client(usize::from(n % 3)).put(&format!("/v2/keys/left{n}"), &[("value", "v"), ("ttl", &ttl)]);
    }
    let set = Instant::now();
    for round in 0..2 {
        if round == 1 {
            let primary = cluster.primary();
            cluster.kill(primary);
            cluster.wait_writable();
            cluster.restart(primary);
            cluster.wait_writable();
        }
        for n in 0..8_u8 {
            let key = format!("/v2/keys/left{n}");
            let left: Vec<i64> = eventually("all members have it", PATIENCE, || {
                (0..3).map(|nth| cluster.client(nth).get(&key).json()["node"]["ttl"].as_i64()).collect()
            });
            let due = 100 + i64::from(n) - set.elapsed().as_secs() as i64;
            assert!(left.iter().all(|left| (due - 2..=due + 6).contains(left)), "key {n}: {left:?}, due {due}");
            let spread = left.iter().max().zip(left.iter().min()).map(|(max, min)| max - min);
            assert!(spread <= Some(1), "members disagree about key {n}: {left:?}");
        }
    }
}
