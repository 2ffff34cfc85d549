//! What all these stories begin with and must end with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::load::{Load, assert_kept, assert_ordered, files};
use crate::cluster::members::{Cluster, Setup, impatient};
use crate::cluster::minority::{assert_no_quorum, timed};
use crate::cluster::netns::Net;
use crate::cluster::tail::{Seen, Tail, assert_contains, assert_grows, assert_same, tails};
use crate::harness::{Client, Flavor, Response, SetOnDrop, eventually};

/// How long after the links are whole again every member must take writes. A stream that TCP has given up on is noticed after five seconds.
const HEALED_WITHIN: Duration = Duration::from_secs(10);
/// Groups of a cluster that is started without `--shards`.
const SHARDS: usize = 16;

/// A listing of everything: its index, and key to (modified index, value).
pub(super) struct Shown {
    at: u64,
    files: BTreeMap<String, (u64, String)>,
}

impl Shown {
    fn of(answer: &Response) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { at: answer.index(), files: files(&answer.json()) }
    }
}

/// A cluster whose links can be cut, watchers of everything on every member, and clients that write at all of them.
pub(super) struct Scene {
    tails: Vec<(usize, Tail)>,
    base: Shown,
    pub(super) load: Load,
    pub(super) cluster: Cluster,
    pub(super) net: Arc<Net>,
}

impl Scene {
    /// etcd's default timeouts.
    pub(super) fn of(members: usize) -> Self {
        Self::with(Setup::new(), members)
    }

    pub(super) fn with(setup: Setup, members: usize) -> Self {
        let net = Net::of(members);
        let cluster = setup.on(&net).start(members);
        cluster.wait_converged();
        let tails = tails(&cluster);
        let base = Shown::of(&list(&mut cluster.client(0)));
        let load = Load::on(&cluster, "p").patient(Duration::from_millis(200));
        Self { tails, base, load, cluster, net }
    }

    /// How long the majority may be without a primary: a fail-over, on a busy machine.
    pub(super) fn outage(&self) -> Duration {
        2 * self.cluster.election() + Duration::from_millis(1500)
    }

    /// Waits until a write that was sent after `since` is acknowledged; how long that took. It must not be longer than `limit`.
    pub(super) fn wait_acknowledged(&self, since: Instant, limit: Duration) -> Duration {
        let what = "writes are acknowledged again";
        let acknowledged = eventually(what, limit + Duration::from_secs(10), || self.load.first_after(since));
        let took = acknowledged - since;
        println!("a write was acknowledged after {took:?}");
        assert!(took <= limit, "writes were acknowledged after {took:?} only, not {limit:?}");
        took
    }

    /// Asks a member that reaches no quorum for what needs one.
    pub(super) fn ask_in_vain(&self, nth: usize) -> Refusals {
        let ask = |method: &'static str, target: &'static str, form: Option<&'static str>| {
            let client = self.cluster.client(nth);
            (format!("{method} {target} at member {nth}"), thread::spawn(move || timed(client, method, target, form)))
        };
        let asked = vec![
            ask("PUT", "/v2/keys/vain/put", Some("value=1")),
            ask("POST", "/v2/keys/vain/queue", Some("value=1")),
            ask("DELETE", "/v2/keys/ready", None),
            ask("GET", "/v2/keys/ready?quorum=true", None),
            ask("GET", "/v2/keys/?quorum=true", None),
        ];
        Refusals { asked, limit: self.cluster.request_timeout() }
    }

    /// Reads everything at a member, over and over: default reads must be answered at once. What was shown.
    pub(super) fn read_for(&self, nth: usize, time: Duration) -> Vec<Shown> {
        let (mut client, begun, mut shown) = (self.cluster.client(nth), Instant::now(), Vec::new());
        while begun.elapsed() < time {
            let asked = Instant::now();
            shown.push(Shown::of(&list(&mut client)));
            let took = asked.elapsed();
            assert!(took < Duration::from_secs(1), "a default read took {took:?}");
            thread::sleep(Duration::from_millis(100));
        }
        shown
    }

    /// Writes at a member, one after the other, while `story` runs. None may take as long as an election would.
    pub(super) fn steady_while<T>(&self, nth: usize, story: impl FnOnce() -> T) -> T {
        let (stop, limit) = (AtomicBool::new(false), 2 * self.cluster.election());
        thread::scope(|scope| {
            let (mut client, stop) = (self.cluster.client(nth), &stop);
            let writer = scope.spawn(move || {
                let mut slowest = Duration::ZERO;
                while !stop.load(Ordering::SeqCst) {
                    let asked = Instant::now();
                    client.set("/steady", "1");
                    slowest = slowest.max(asked.elapsed());
                    thread::sleep(Duration::from_millis(10));
                }
                slowest
            });
            let end = SetOnDrop(stop);
            let told = story();
            drop(end);
            let slowest = writer.join().expect("the member takes writes");
            println!("the slowest write at member {nth} took {slowest:?}");
            assert!(slowest < limit, "a write took {slowest:?}");
            told
        })
    }

    /// Mends all links: then every member takes writes within a bound, and one of them leads all groups. Returns it.
    pub(super) fn heal(&self) -> usize {
        self.net.heal();
        let healed = Instant::now();
        self.cluster.wait_writable();
        let primary = self.cluster.primary();
        self.wait_one_leader();
        let took = healed.elapsed();
        println!("all members took writes, led by member {primary}, {took:?} after the links were mended");
        assert!(took < HEALED_WITHIN, "all was well only {took:?} after the links were mended");
        primary
    }

    /// The groups that each member leads, by member.
    pub(super) fn led(&self) -> Vec<usize> {
        let led = |nth| {
            let answer = impatient(self.cluster.address(nth)).attempt("GET", "/metrics", None);
            let text = answer.map(|answer| answer.text()).unwrap_or_default();
            text.lines().filter(|line| line.starts_with("uetcd_shard_is_leader{") && line.ends_with(" 1")).count()
        };
        (0..self.cluster.len()).map(led).collect()
    }

    fn wait_one_leader(&self) {
        if Flavor::under_test() == Flavor::Etcd {
            return;
        }
        eventually("one member leads all groups and nobody else any", Duration::from_secs(10), || {
            let led = self.led();
            (led.iter().sum::<usize>() == SHARDS && led.contains(&SHARDS)).then_some(())
        });
    }

    /// As [`heal`](Self::heal), and it is this member that leads still.
    pub(super) fn heal_under(&self, primary: usize) {
        let found = self.heal();
        // etcd 3.4 has no pre-vote unless it is told to: who comes back deposes whoever leads.
        assert!(found == primary || Flavor::under_test() == Flavor::Etcd, "{found} deposed {primary}");
    }

    /// Since when a member is the primary: another time means that it was not for a moment.
    pub(super) fn leads_since(&self, nth: usize) -> String {
        let own = self.cluster.client(nth).get("/v2/stats/self").json();
        assert_eq!(own["state"], "StateLeader", "{own}");
        own["leaderInfo"]["startTime"].as_str().expect("a time").to_owned()
    }

    /// All links are whole: all members show the same, their watchers saw the same, nothing acknowledged is lost, and what was `shown` meanwhile
    /// was at every moment what the order had up to its index.
    pub(super) fn finish(self, shown: &[Shown]) {
        self.cluster.wait_writable();
        let listing = self.cluster.wait_converged();
        let marker = self.cluster.client(0).set("/marker", "");
        let acked = self.load.acked();
        println!("{} writes, the longest wait of a client {:?}", acked.len(), self.load.longest_wait());
        let seen: Vec<_> = self.tails.iter().map(|(_, tail)| (tail.since, tail.up_to(marker))).collect();
        for (since, events) in &seen {
            assert_grows(events);
            assert_same((seen[0].0, &seen[0].1), (*since, events));
            assert_contains(*since, events, &acked);
        }
        assert_ordered(&acked);
        assert_kept(&acked, &listing);
        self.assert_prefixes(shown, &seen[0].1);
    }

    fn assert_prefixes(&self, shown: &[Shown], events: &[Seen]) {
        let mut indices = BTreeSet::new();
        for shown in shown {
            let want = replay(&self.base, events, shown.at);
            let differs: Vec<_> = want
                .keys()
                .chain(shown.files.keys())
                .map(|key| (key, want.get(key), shown.files.get(key)))
                .filter(|(_, want, got)| want != got)
                .take(5)
                .collect();
            assert!(differs.is_empty(), "shown at {} (key, in the order, shown): {differs:?}", shown.at);
            indices.insert(shown.at);
        }
        println!("{} listings at {} indices were prefixes", shown.len(), indices.len());
    }
}

/// What there was at an index.
fn replay(base: &Shown, events: &[Seen], at: u64) -> BTreeMap<String, (u64, String)> {
    let mut files = base.files.clone();
    for event in events.iter().filter(|event| event.index > base.at && event.index <= at) {
        if event.action == "delete" {
            files.remove(&event.key);
        } else {
            files.insert(event.key.clone(), (event.index, event.value.clone()));
        }
    }
    files
}

fn list(client: &mut Client) -> Response {
    client.get("/v2/keys/?recursive=true&sorted=true")
}

/// Requests that must be refused, each with etcd's error and in time.
pub(super) struct Refusals {
    asked: Vec<(String, JoinHandle<(Response, Duration)>)>,
    limit: Duration,
}

impl Refusals {
    /// Waits for all of them; the longest time that one took.
    pub(super) fn wait(self) -> Duration {
        let mut longest = Duration::ZERO;
        for (what, asked) in self.asked {
            let answer = asked.join().unwrap_or_else(|_| panic!("{what} was not answered"));
            println!("{what}: {} after {:?}", answer.0.text().trim(), answer.1);
            assert_no_quorum(&what, &answer, self.limit);
            longest = longest.max(answer.1);
        }
        longest
    }
}

/// A member that reaches no quorum says so.
pub(super) fn assert_unhealthy(cluster: &Cluster, nth: usize) {
    let answer = cluster.client(nth).get("/health");
    let health: Value = answer.json();
    assert_eq!((answer.status, &health["health"]), (503, &"false".into()), "{answer:?}");
}
