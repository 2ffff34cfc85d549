//! Members that die, hang or are not there, behind a proxy that is in use.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::plan;
use crate::cluster::{Cluster, Setup};
use crate::harness::{Client, Connection, Flavor, PATIENCE, Server, eventually, need, uetcd_only};

/// Clients at a time.
const CLIENTS: usize = 8;
/// Answers that they wait for before and after a death.
const MORE: u64 = 1000;
/// The same of members of etcd, which sync for each write.
const MORE_OF_ETCD: u64 = 200;
/// The longest until a member that hangs is found out, and the others are asked.
const FOUND_OUT: Duration = Duration::from_secs(10);

fn in_front_of_all(cluster: &Cluster) -> Server {
    let peers: Vec<String> = (0..cluster.len()).map(|nth| cluster.peer_url(nth)).collect();
    plan(&peers).start()
}

/// The member that the proxy asks first.
fn first_asked(proxy: &Server, cluster: &Cluster) -> usize {
    let listed = proxy.client().get("/v2/config/local/proxy").json();
    let first = listed["endpoints"][0].as_str().expect("an endpoint");
    let is_first = |nth: &usize| first == format!("http://{}", cluster.address(*nth));
    (0..cluster.len()).find(is_first).expect("one of the members")
}

/// Chooses a member; the other argument is the one that is asked first.
type Choice = fn(&Cluster, usize) -> usize;

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Of each connection.
    failed: Mutex<Vec<Vec<String>>>,
}

impl Seen {
    /// Writes and reads over one connection until the end. Whatever is no success is a failure, whoever is to blame.
    fn use_proxy(&self, address: SocketAddr, nth: usize) {
        let (mut failed, mut client) = (Vec::new(), Client::new(address));
        let target = format!("/v2/keys/load{nth}");
        let methods = [("PUT", Some("value=1")), ("GET", None)];
        for (method, form) in methods.into_iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            match client.attempt(method, &target, form) {
                Ok(answer) if answer.status < 300 => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Ok(answer) => failed.push(format!("{method}: {} {}", answer.status, answer.text())),
                Err(error) => failed.push(format!("{method}: {error}")),
            }
        }
        self.failed.lock().expect("no panic").push(failed);
    }

    fn wait_for_more(&self, more: u64) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("requests are answered", PATIENCE, || {
            (self.answered.load(Ordering::Relaxed) >= before + more).then_some(())
        });
    }
}

#[test]
fn the_death_of_any_member_costs_a_connection_one_request_at_most() {
    uetcd_only!("proxy-repeats: etcd's repeats writes that may have been executed");
    let victims: [(&str, Choice); 3] = [
        ("the one that is asked first", |_, first| first),
        ("the primary", |cluster, _| cluster.primary()),
        ("one that is asked later", |cluster, first| (first + 1) % cluster.len()),
    ];
    for (who, choose) in victims {
        let mut cluster = Cluster::of(3);
        let proxy = in_front_of_all(&cluster);
        let first = first_asked(&proxy, &cluster);
        let dead = choose(&cluster, first);
        let address = proxy.address();
        let mut stream = Connection::open(address).expect("it accepts");
        stream.request("GET", "/v2/keys/load0?wait=true&stream=true", None).expect("it reads");
        assert_eq!(stream.head().expect("the head comes at once").status, 200);
        under_load(who, address, |seen| {
            let index = first_event(&mut stream);
            seen.wait_for_more(MORE);
            cluster.kill(dead);
            resume(&mut stream, address, index, dead == first);
            seen.wait_for_more(MORE);
        });
    }
}

/// A member that stops answers what it has read, but may end a connection on which the next request has just come.
#[test]
fn so_does_the_stop_of_the_member_that_is_asked() {
    let mut cluster = Cluster::of(3);
    let proxy = in_front_of_all(&cluster);
    for _ in 0..3 {
        let first = first_asked(&proxy, &cluster);
        under_load("the one that is asked first", proxy.address(), |seen| {
            seen.wait_for_more(MORE);
            cluster.terminate(first);
            seen.wait_for_more(MORE);
        });
        cluster.restart(first);
        cluster.wait_writable();
        eventually("it is asked again", PATIENCE, || (first_asked(&proxy, &cluster) == first).then_some(()));
    }
}

/// A member of etcd that has not noticed that its leader is dead takes writes and loses them: so whoever was asked first must not
/// be followed by such a one.
#[test]
fn and_the_death_of_etcds_leader() {
    uetcd_only!("proxy-leader: etcd's sends writes to members that lose them");
    need("etcd");
    let mut cluster = Setup::new().flavor(Flavor::Etcd).start(3);
    let leader = cluster.primary();
    // Each proxy has an order of its own.
    let proxy = (0..40).map(|_| in_front_of_all(&cluster)).find(|proxy| first_asked(proxy, &cluster) == leader);
    let proxy = proxy.expect("one of forty asks the leader first");
    let address = proxy.address();
    under_load("etcd's leader", address, |seen| {
        seen.wait_for_more(MORE_OF_ETCD);
        let index = current_index(address);
        cluster.kill(leader);
        poll_past(address, index);
        seen.wait_for_more(MORE_OF_ETCD);
    });
}

/// Uses a proxy from all sides while something happens, which may cost each connection one request.
fn under_load(who: &str, address: SocketAddr, happens: impl FnOnce(&Seen)) {
    let seen = Seen::default();
    thread::scope(|scope| {
        for nth in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || seen.use_proxy(address, nth));
        }
        happens(&seen);
        seen.stop.store(true, Ordering::Relaxed);
    });
    let (answered, failed) = (seen.answered.into_inner(), seen.failed.into_inner().expect("no panic"));
    println!("{who} ended: {answered} answers, {failed:?}");
    assert!(failed.iter().all(|failed| failed.len() <= 1), "{who} ended: {failed:?}");
}

/// Polls for every change of a key, in order, until they are from after this moment. Streams of etcd begin in no past.
fn poll_past(address: SocketAddr, mut index: u64) {
    let mut client = Client::new(address);
    let begun = Instant::now();
    let mut events = 0;
    while events < 10 || current_index(address) > index + 200 {
        assert!(begun.elapsed() < PATIENCE, "the watch does not go on");
        let target = format!("/v2/keys/load0?wait=true&waitIndex={}", index + 1);
        // A poll that ends without an event, or with its member, is begun again.
        let Some(answer) = client.attempt("GET", &target, None).ok().filter(|answer| !answer.body.is_empty()) else {
            continue;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let next = answer.json()["node"]["modifiedIndex"].as_u64().expect("a number");
        assert!(next > index, "{next} after {index}");
        (index, events) = (next, events + 1);
    }
}

fn first_event(stream: &mut Connection) -> u64 {
    stream.event().expect("an event")["node"]["modifiedIndex"].as_u64().expect("a number")
}

/// Reads events until the cluster has surely gone on; a stream that ends is begun again where it ended.
fn resume(stream: &mut Connection, address: SocketAddr, mut index: u64, ends: bool) {
    let mut again: Option<Connection> = None;
    let mut resumed = !ends;
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the watch does not go on");
        let current = again.as_mut().unwrap_or(stream);
        match current.chunk() {
            Ok(Some(event)) => {
                let event: serde_json::Value = serde_json::from_slice(&event).expect("one event");
                let next = event["node"]["modifiedIndex"].as_u64().expect("a number");
                assert!(next > index, "{next} after {index}");
                let is_live = resumed && current_index(address) <= next + 200;
                index = next;
                if is_live {
                    return;
                }
            }
            Ok(None) => {
                let mut connection = Connection::open(address).expect("it accepts");
                let target = format!("/v2/keys/load0?wait=true&stream=true&waitIndex={}", index + 1);
                connection.request("GET", &target, None).expect("it reads");
                assert_eq!(connection.head().expect("an answer").status, 200);
                (again, resumed) = (Some(connection), true);
            }
            Err(error) => panic!("the watch was cut off: {error}"),
        }
    }
}

fn current_index(address: SocketAddr) -> u64 {
    Client::new(address).get("/v2/keys/load0").index()
}

#[test]
fn a_member_that_hangs_is_found_out_and_asked_again_when_it_answers() {
    uetcd_only!("proxy-hung: etcd's waits for ever");
    let mut cluster = Cluster::of(3);
    let proxy = in_front_of_all(&cluster);
    let hung = first_asked(&proxy, &cluster);
    let mut client = proxy.client();
    client.set("/a", "1");
    let mut polling = Connection::open(proxy.address()).expect("it accepts");
    polling.request("GET", "/v2/keys/quiet?wait=true", None).expect("it reads");
    assert_eq!(polling.head().expect("the head comes at once").status, 200);
    cluster.pause(hung);
    let paused = Instant::now();
    let mut writer = proxy.client();
    writer.send("PUT", "/v2/keys/b", Some("value=1")).expect("it reads");
    assert_eq!(client.value("/a"), Some("1".to_owned()), "a read is asked of the next member");
    println!("a read took {:?} past a member that hangs", paused.elapsed());
    assert!(paused.elapsed() < FOUND_OUT, "it took {:?}", paused.elapsed());
    assert_eq!(polling.chunk().expect("an orderly end"), None);
    // It may be executed yet, so nobody else is asked to.
    assert_eq!(writer.receive("PUT").expect("an answer").status, 502);
    // From now on nobody waits for it, refreshes or not.
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(client.value("/a"), Some("1".to_owned()));
        assert!(asked.elapsed() < Duration::from_secs(1), "a read took {:?}", asked.elapsed());
    }
    assert_ne!(first_asked(&proxy, &cluster), hung);
    cluster.resume(hung);
    eventually("it is asked again", PATIENCE, || (first_asked(&proxy, &cluster) == hung).then_some(()));
    cluster.wait_writable();
}

/// Takes connections as long as the kernel does, and never answers.
#[test]
fn a_client_url_where_nobody_answers_is_passed_over() {
    uetcd_only!("proxy-hung: etcd's waits for ever");
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let refusing = {
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        gone.local_addr().expect("bound")
    };
    let own = crate::harness::Plan::new().on_quiet_ports();
    let urls = format!("http://{},http://{},http://{refusing}", own.address(), deaf.local_addr().expect("bound"));
    let server = own.args(["--advertise-client-urls", &urls]).start();
    let mut seen = BTreeSet::new();
    // Each proxy has an order of its own.
    for _ in 0..12 {
        let proxy = super::in_front_of(&server).launch();
        let mut client = proxy.client();
        let answer = eventually("the proxy listens", PATIENCE, || client.attempt("GET", "/v2/keys/", None).ok());
        assert_eq!(answer.status, 200, "{}", answer.text());
        // To its last line.
        let log = proxy.terminate(libc::SIGTERM).stderr;
        seen.extend(["does not answer", "connection refused"].into_iter().filter(|text| log.contains(text)));
        if seen.len() == 2 {
            return;
        }
    }
    panic!("in 12 orders only these were met: {seen:?}");
}
