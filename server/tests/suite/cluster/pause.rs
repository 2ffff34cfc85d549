//! A primary that stands still for longer than the election timeout, and goes on as if nothing had happened.

use std::time::{Duration, Instant};

use super::load::{Load, assert_kept, assert_ordered};
use super::members::Cluster;
use super::tail::{assert_grows, assert_same, tails};
use crate::harness::{Connection, PATIENCE, Response, Rng, env_number, eventually};

/// How long it stands still.
const PAUSE: Duration = Duration::from_secs(10);

/// A request that is on its way into a paused member: the kernel takes it, the process does not.
struct Waiting {
    connection: Connection,
    method: &'static str,
}

impl Waiting {
    fn send(mut connection: Connection, method: &'static str, target: &str, form: Option<&str>) -> Self {
        connection.request(method, target, form).expect("the kernel takes it");
        Self { connection, method }
    }

    fn answer(mut self) -> Response {
        self.connection.response(self.method).expect("an answer, if only an error")
    }
}

fn connections(cluster: &Cluster, nth: usize, count: usize) -> Vec<Connection> {
    let open = |_| {
        let mut connection = Connection::open(cluster.address(nth)).expect("the member accepts");
        // One request before the pause, so that the member has accepted the connection.
        connection.request("GET", "/v2/keys/", None).expect("it reads");
        assert_eq!(connection.response("GET").expect("an answer").status, 200);
        connection
    };
    (0..count).map(open).collect()
}

/// An error by which a member says that it can not know.
fn is_unknown(answer: &Response) -> bool {
    answer.status == 500 && answer.json()["errorCode"] == 300
}

/// So many primaries are stopped, unless `SUITE_PAUSES` says otherwise.
const PAUSES: u64 = 2;
/// The longest that one of many stands still, in seconds.
const LONGEST: u64 = 60;

/// How long the primary stands still in each round: a few times for long, many times for anything between a second and a minute.
fn pauses() -> Vec<Duration> {
    let (count, mut rng) = (env_number("SUITE_PAUSES", PAUSES), Rng::new(env_number("SUITE_CLUSTER_SEED", 1)));
    let random = |_| Duration::from_secs(1 + rng.below(LONGEST));
    if count > PAUSES { (0..count).map(random).collect() } else { vec![PAUSE; count as usize] }
}

/// Stops the primary for so long, and asks it for what others have done meanwhile. How many reads and writes it has answered.
fn pause_primary(cluster: &mut Cluster, load: &Load, round: usize, length: Duration) -> [usize; 2] {
    let old = cluster.primary();
    let mut ready = connections(cluster, old, 24).into_iter();
    let mut next = || ready.next().expect("enough connections");
    cluster.pause(old);
    let paused = Instant::now();
    let led = eventually("the others take writes, or it is over", length + PATIENCE, || {
        let first = load.first_after(paused);
        (first.is_some() || paused.elapsed() > length).then_some(first)
    });
    println!("round {round}: member {old} stands still for {length:?}, writable after {:?}", led.map(|at| at - paused));
    // Written with the others while it stands still, and asked for at the old one, which still thinks that it leads.
    let (mut asked, mut writes) = (Vec::new(), Vec::new());
    let other = (old + 1) % cluster.len();
    if led.is_some() {
        let via = cluster.primary();
        for n in 0..12 {
            let (fresh, own) = (format!("/fresh{n}"), format!("/own{n}"));
            cluster.client(via).set(&fresh, &round.to_string());
            asked.push(Waiting::send(next(), "GET", &format!("/v2/keys{fresh}?quorum=true"), None));
            writes.push((own.clone(), Waiting::send(next(), "PUT", &format!("/v2/keys{own}"), Some("value=old"))));
        }
    }
    std::thread::sleep(length.saturating_sub(paused.elapsed()));
    cluster.resume(old);
    let (shown, acknowledged) = (judge_reads(asked, round), judge_writes(cluster, other, writes));
    println!("round {round}: the old one answered {shown} reads and {acknowledged} writes of 12 each");
    cluster.wait_writable();
    [shown, acknowledged]
}

/// Each read was refused, or shows what was written before it was sent. How many do.
fn judge_reads(asked: Vec<Waiting>, round: usize) -> usize {
    let answers = asked.into_iter().map(Waiting::answer).filter(|answer| !is_unknown(answer));
    let stale = |answer: &Response| {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["node"]["value"], round.to_string(), "a stale quorum read: {answer:?}");
    };
    answers.inspect(stale).count()
}

/// Each write was refused, or is there. How many are.
fn judge_writes(cluster: &Cluster, via: usize, writes: Vec<(String, Waiting)>) -> usize {
    let mut acknowledged = 0;
    for (key, write) in writes {
        let answer = write.answer();
        if answer.status < 300 {
            acknowledged += 1;
            let kept = cluster.client(via).get(&format!("/v2/keys{key}?quorum=true")).json();
            assert_eq!(kept["node"]["modifiedIndex"], answer.json()["node"]["modifiedIndex"], "{answer:?}");
        } else {
            assert!(is_unknown(&answer), "{answer:?}");
        }
    }
    acknowledged
}

#[test]
fn a_paused_primary_serves_no_stale_quorum_read_and_acknowledges_nothing_of_its_own() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(&cluster, "p").patient(Duration::from_millis(200));
    let tails = tails(&cluster);
    let pauses = pauses();
    let answered: Vec<[usize; 2]> = load.during(3, || {
        pauses.iter().enumerate().map(|(round, &length)| pause_primary(&mut cluster, &load, round, length)).collect()
    });
    let marker = cluster.client(0).set("/marker", "");
    let seen: Vec<_> = tails.iter().map(|(_, tail)| (tail.since, tail.up_to(marker))).collect();
    for (since, events) in &seen {
        assert_grows(events);
        assert_same((seen[0].0, &seen[0].1), (*since, events));
    }
    assert_ordered(&load.acked());
    assert_kept(&load.acked(), &cluster.wait_converged());
    println!(
        "pauses: {} of the primary, {} s in all, {} writes acknowledged meanwhile; it answered {} quorum reads and {} writes, none from the past",
        pauses.len(),
        pauses.iter().sum::<Duration>().as_secs(),
        load.acked().len(),
        answered.iter().map(|[reads, _]| reads).sum::<usize>(),
        answered.iter().map(|[_, writes]| writes).sum::<usize>(),
    );
}

#[test]
fn a_paused_follower_costs_nothing_and_catches_up() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(&cluster, "s");
    load.during(3, || {
        let primary = cluster.primary();
        let follower = cluster.followers()[0];
        let paused = Instant::now();
        cluster.pause(follower);
        let mut client = cluster.client(primary);
        let mut slowest = Duration::ZERO;
        while paused.elapsed() < PAUSE {
            let begun = Instant::now();
            client.set("/steady", "1");
            slowest = slowest.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
        cluster.resume(follower);
        println!("slowest write at the primary meanwhile: {slowest:?}");
        assert!(slowest < cluster.election(), "a write took {slowest:?}");
        assert_eq!(cluster.primary(), primary, "the primary keeps its place");
        eventually("it takes writes", PATIENCE, || {
            let answer = cluster.client(follower).attempt("PUT", "/v2/keys/back", Some("value=1"));
            answer.is_ok_and(|answer| answer.status < 300).then_some(())
        });
    });
    assert_kept(&load.acked(), &cluster.wait_converged());
}
