//! Lifetimes: never too short, at most a second too long, and unchanged by restarts.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, Server, eventually};

/// The most that an expiry may be late: etcd looks every 500 ms.
const LATE: Duration = Duration::from_secs(1);

/// Sets a key with a lifetime; the earliest and the latest instant at which it may go.
fn set(client: &mut Client, key: &str, ttl: u64) -> (Instant, Instant) {
    let before = Instant::now();
    let answer = client.put(&format!("/v2/keys{key}"), &[("value", "v"), ("ttl", &ttl.to_string())]);
    assert!(answer.status < 300, "{answer:?}");
    (before + Duration::from_secs(ttl), Instant::now() + Duration::from_secs(ttl) + LATE)
}

fn root_stream(server: &Server) -> Connection {
    let mut stream = Connection::open(server.address()).expect("the server accepts");
    stream.request("GET", "/v2/keys/?wait=true&recursive=true&stream=true", None).expect("the server reads");
    assert_eq!(stream.head().expect("the head comes at once").status, 200);
    stream.set_patience(PATIENCE);
    stream
}

/// The next expire event and when it came.
fn next_expiry(stream: &mut Connection) -> (Instant, Value) {
    loop {
        let event = stream.event().expect("an event");
        if event["action"] == "expire" {
            return (Instant::now(), event);
        }
    }
}

#[test]
fn keys_expire_not_early_and_at_most_a_second_late() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    let mut stream = root_stream(&server);
    let mut due = std::collections::BTreeMap::new();
    for n in 0..60 {
        let key = format!("/t{}/k{n}", n % 20);
        due.insert(key.clone(), set(&mut client, &key, 1 + n % 3));
        thread::sleep(Duration::from_millis(7));
    }
    let mut last = 0;
    while !due.is_empty() {
        let (now, event) = next_expiry(&mut stream);
        let key = event["node"]["key"].as_str().expect("a key").to_owned();
        let (earliest, latest) = due.remove(&key).unwrap_or_else(|| panic!("{key} expired twice"));
        assert!(now >= earliest, "{key} expired {:?} early", earliest - now);
        assert!(now <= latest, "{key} expired {:?} late", now - latest + LATE);
        let index = event["node"]["modifiedIndex"].as_u64().expect("an index");
        assert!(index > last, "expiries take indices of their own, in order");
        last = index;
        assert_eq!(event["prevNode"]["value"], "v");
        assert_eq!(event["node"].get("value"), None);
        assert_eq!(client.value(&key), None);
    }
    assert_eq!(client.get("/v2/stats/store").json()["expireCount"], 60);
}

#[test]
fn expiry_does_not_wait_for_the_heartbeat() {
    for heartbeat in ["3000", "1"] {
        let args = ["--heartbeat-interval", heartbeat, "--election-timeout", "15000"];
        let server = Plan::new().args(args).start();
        let mut client = server.client();
        let mut stream = root_stream(&server);
        let (earliest, latest) = set(&mut client, "/soon", 1);
        let (seen, event) = next_expiry(&mut stream);
        assert_eq!(event["node"]["key"], "/soon");
        assert!(earliest <= seen && seen <= latest, "heartbeat {heartbeat}: {:?} after the earliest", seen - earliest);
    }
}

#[test]
fn an_expired_directory_takes_all_below_with_one_event() {
    let server = Server::start();
    let mut client = server.client();
    let before = Instant::now();
    assert_eq!(client.put("/v2/keys/d", &[("dir", "true"), ("ttl", "1")]).status, 201);
    client.set("/d/a", "1");
    client.put("/v2/keys/d/b/c", &[("value", "1"), ("ttl", "1000")]);
    let mut below = Connection::open(server.address()).expect("the server accepts");
    below.request("GET", "/v2/keys/d/b/c?wait=true", None).expect("the server reads");
    below.head().expect("the head comes at once");
    let mut stream = root_stream(&server);
    let (now, event) = next_expiry(&mut stream);
    let lived = now - before;
    assert!(lived >= Duration::from_secs(1) && lived <= Duration::from_secs(1) + LATE + LATE / 10, "lived {lived:?}");
    assert_eq!((&event["node"]["key"], &event["node"]["dir"]), (&Value::from("/d"), &Value::Bool(true)));
    assert_eq!(event["prevNode"]["dir"], true);
    assert_eq!(event["prevNode"].get("nodes"), None);
    assert_eq!(below.event().expect("a watcher below is told"), event);
    assert_eq!(client.value("/d/b/c"), None);
    client.set("/end", "1");
    assert_eq!(stream.event().expect("an event")["node"]["key"], "/end", "the children had events of their own");
}

#[test]
fn refreshing_and_rewriting_move_the_deadline() {
    let server = Server::start();
    let mut client = server.client();
    for key in ["/refreshed", "/rewritten", "/cleared", "/lengthened"] {
        set(&mut client, key, 1);
    }
    thread::sleep(Duration::from_millis(300));
    let refreshed = Instant::now();
    let answer = client.put("/v2/keys/refreshed", &[("refresh", "true"), ("ttl", "3"), ("prevExist", "true")]);
    assert_eq!((answer.status, &answer.json()["node"]["value"]), (200, &Value::from("v")));
    set(&mut client, "/rewritten", 3);
    client.set("/cleared", "v");
    client.put("/v2/keys/lengthened", &[("prevExist", "true"), ("value", "v"), ("ttl", "1000")]);
    while refreshed.elapsed() < Duration::from_millis(2900) {
        for key in ["/refreshed", "/rewritten", "/cleared", "/lengthened"] {
            assert!(client.value(key).is_some(), "{key} was gone after {:?}", refreshed.elapsed());
        }
        thread::sleep(Duration::from_millis(50));
    }
    for key in ["/refreshed", "/rewritten"] {
        let rest = (Duration::from_secs(3) + LATE).saturating_sub(refreshed.elapsed());
        eventually(key, rest + LATE / 2, || client.value(key).is_none().then_some(()));
    }
    assert!(client.value("/cleared").is_some() && client.value("/lengthened").is_some());
}

#[test]
fn the_shown_lifetime_is_the_ceiling_of_what_is_left() {
    let server = Server::start();
    let mut client = server.client();
    let set_at = Instant::now();
    let shown = client.put("/v2/keys/t", &[("value", "v"), ("ttl", "5")]).json();
    assert_eq!(shown["node"]["ttl"], 5);
    assert!(shown["node"]["expiration"].as_str().is_some_and(|text| text.ends_with('Z')));
    let mut seen = std::collections::BTreeSet::new();
    while set_at.elapsed() < Duration::from_millis(2500) {
        let (early, node) = (set_at.elapsed(), client.get("/v2/keys/t").json()["node"].clone());
        let late = set_at.elapsed() + Duration::from_millis(20);
        let ttl = node["ttl"].as_u64().expect("a lifetime");
        let ceiling = |elapsed: Duration| 5 - elapsed.as_secs();
        // The node's own start lies up to a few milliseconds after ours.
        assert!(
            ttl >= ceiling(late).min(ceiling(early))
                && ttl <= ceiling(early.saturating_sub(Duration::from_millis(200))),
            "{ttl} after {early:?}"
        );
        assert_eq!(node["expiration"], shown["node"]["expiration"]);
        seen.insert(ttl);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn zero_seconds_are_over_at_once_but_not_before_the_next_look() {
    let server = Server::start();
    let mut client = server.client();
    let node = client.put("/v2/keys/z", &[("value", "v"), ("ttl", "0")]).json()["node"].clone();
    assert_eq!(node.get("ttl"), None);
    assert!(node.get("expiration").is_some());
    eventually("it goes", LATE + LATE / 2, || client.value("/z").is_none().then_some(()));
}

#[test]
fn a_restart_shortens_no_lifetime_and_lengthens_none_by_more_than_the_time_without_a_primary() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let server = Server::start();
        let mut client = server.client();
        let mut due = Vec::new();
        for n in 0..8 {
            let key = format!("/r{n}/k");
            due.push((key.clone(), set(&mut client, &key, 3 + n % 3)));
        }
        set(&mut client, "/while-down", 1);
        client.put("/v2/keys/directory", &[("dir", "true"), ("ttl", "1000")]);
        let plan = server.plan().clone();
        let stopped = Instant::now();
        server.terminate(signal);
        thread::sleep(Duration::from_millis(1100));
        let server = plan.start();
        let ready = Instant::now();
        let mut client = server.client();
        let left = client.get("/v2/keys/directory").json()["node"]["ttl"].as_u64();
        assert!(left.is_some_and(|left| (990..=1000).contains(&left)), "{left:?}");
        // etcd looks again only after an election. uetcd does not count the time in which no primary was there, and
        // after a kill may have lost up to a second of its clock (documented as ttl-stands-still).
        let slack = if server.flavor() == Flavor::Etcd { LATE } else { ready - stopped + Duration::from_secs(1) };
        eventually("what expired meanwhile goes", 2 * LATE + slack, || {
            client.value("/while-down").is_none().then_some(())
        });
        while let Some((key, (earliest, latest))) = due.pop() {
            let seen = Instant::now();
            let there = client.value(&key).is_some();
            let asked = Instant::now();
            assert!(there || asked >= earliest, "{key} was gone {:?} early", earliest.saturating_duration_since(asked));
            let limit = latest.max(ready + LATE) + slack;
            assert!(
                !there || seen <= limit,
                "{key} was there {:?} after its end",
                seen.saturating_duration_since(limit)
            );
            if there {
                due.insert(0, (key, (earliest, latest)));
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
