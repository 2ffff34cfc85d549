//! Members that die, hang or are not there, behind a proxy that is in use.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::plan;
use crate::cluster::Cluster;
use crate::harness::{Client, Connection, PATIENCE, Server, eventually, uetcd_only};

/// Clients at a time.
const CLIENTS: usize = 8;
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

/// What one connection has seen.
#[derive(Debug, Default)]
struct Seen {
    answered: u64,
    failed: Vec<String>,
}

/// Writes and reads over one connection until `stop`; an answer of 500 is the cluster's, which elects a leader.
fn use_it(address: SocketAddr, nth: usize, stop: &AtomicBool) -> Seen {
    let (mut seen, mut client) = (Seen::default(), Client::new(address));
    let target = format!("/v2/keys/load{nth}");
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let form = format!("value={n}");
        let (method, body) = if n % 2 == 0 { ("PUT", Some(form.as_str())) } else { ("GET", None) };
        match client.attempt(method, &target, body) {
            Ok(answer) if answer.status < 300 => seen.answered += 1,
            Ok(answer) if answer.status == 500 => {}
            Ok(answer) => seen.failed.push(format!("{method}: {} {}", answer.status, answer.text())),
            Err(error) => seen.failed.push(format!("{method}: {error}")),
        }
    }
    seen
}

#[test]
fn the_death_of_any_member_costs_a_connection_one_request_at_most() {
    uetcd_only!("etcd's proxy repeats writes that may have been executed");
    for dead in 0..3 {
        let mut cluster = Cluster::of(3);
        let proxy = in_front_of_all(&cluster);
        let (address, stop) = (proxy.address(), AtomicBool::new(false));
        let mut stream = Connection::open(address).expect("it accepts");
        stream.request("GET", "/v2/keys/load0?wait=true&stream=true", None).expect("it reads");
        assert_eq!(stream.head().expect("the head comes at once").status, 200);
        let was_first = first_asked(&proxy, &cluster) == dead;
        let seen: Vec<Seen> = thread::scope(|scope| {
            let users: Vec<_> = (0..CLIENTS)
                .map(|nth| {
                    scope.spawn({
                        let stop = &stop;
                        move || use_it(address, nth, stop)
                    })
                })
                .collect();
            let index = first_event(&mut stream);
            cluster.kill(dead);
            cluster.wait_writable();
            resume(&mut stream, address, index, was_first);
            stop.store(true, Ordering::Relaxed);
            users.into_iter().map(|user| user.join().expect("no panic")).collect()
        });
        println!("member {dead} died, asked first: {was_first}: {seen:?}");
        for one in &seen {
            assert!(one.answered > 0 && one.failed.len() <= 1, "member {dead} died: {one:?}");
        }
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
    uetcd_only!("etcd's proxy waits for ever");
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
    assert_eq!(client.value("/a"), Some("1".to_owned()), "a read is asked of the next member");
    println!("a read took {:?} past a member that hangs", paused.elapsed());
    assert!(paused.elapsed() < FOUND_OUT, "it took {:?}", paused.elapsed());
    assert_eq!(polling.chunk().expect("an orderly end"), None);
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
    uetcd_only!("etcd's proxy waits for ever");
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
        let log = proxy.log();
        seen.extend(["does not answer", "connection refused"].into_iter().filter(|text| log.contains(text)));
        if seen.len() == 2 {
            return;
        }
    }
    panic!("in 12 orders only these were met: {seen:?}");
}
