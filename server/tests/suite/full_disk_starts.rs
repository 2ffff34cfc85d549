//! Starts on a full disk: the server serves what it has or says in one line why it can not, and is whole again when there is space.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Ended, PATIENCE, Plan, Server, SmallDisk, eventually, load, uetcd_only};

/// Room for the segments that a fresh node prepares, and for little more.
const DISK_BYTES: u64 = 160 << 20;
/// The lifetime of a key that outlives the stop.
const TTL: Duration = Duration::from_secs(3);
/// How soon after space came back writes must work again.
const RECOVERY: Duration = Duration::from_secs(5);

fn start_or_say_why(plan: &Plan) -> Option<Server> {
    match plan.try_start() {
        Ok(server) => Some(server),
        Err(ended) => {
            check_refusal(&ended);
            None
        }
    }
}

fn check_refusal(ended: &Ended) {
    assert_ne!(ended.code(), 0, "{ended:?}");
    let lines = ended.stderr.lines().filter(|line| line.to_lowercase().contains("no space left on device"));
    assert_eq!(lines.count(), 1, "one clear line: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

fn writes_work_again(client: &mut Client) {
    eventually("writes work again", RECOVERY, || {
        client.attempt("PUT", "/v2/keys/again", Some("value=1")).is_ok_and(|r| r.status < 300).then_some(())
    });
}

fn members(client: &mut Client) -> serde_json::Value {
    client.get("/v2/members").json()["members"].clone()
}

fn restart_on_a_full_disk(signal: i32) {
    let plan = Plan::new().args(["--cores", "1", "--snapshot-count", "100"]);
    let disk = SmallDisk::mount(&plan.home().join("disk"), DISK_BYTES);
    let server = plan.data_dir(&disk.data()).start();
    let mut client = server.client();
    load(&server, 2_000, |n| (format!("/d{}/k{}", n % 16, n % 50), format!("value={n}")));
    let known = client.get("/v2/keys/?recursive=true&sorted=true").json();
    let named = members(&mut client);
    let set = Instant::now();
    for (key, ttl) in [("/short", TTL.as_secs()), ("/long", 1_000)] {
        assert_eq!(client.put(&format!("/v2/keys{key}"), &[("value", "v"), ("ttl", &ttl.to_string())]).status, 201);
    }
    let plan = server.plan().clone();
    disk.fill();
    server.terminate(signal);
    let lived = set.elapsed();
    thread::sleep(TTL);

    let started = Instant::now();
    if let Some(server) = start_or_say_why(&plan) {
        println!("serves on a full disk");
        let mut client = server.client();
        let there = client.value("/short").is_some();
        // A kill may lose up to a second of what had been lived.
        assert!(there || started.elapsed() + lived >= TTL, "/short went early");
        assert!((990..=1_000).contains(&client.get("/v2/keys/long").json()["node"]["ttl"].as_u64().unwrap_or(0)));
        assert_eq!(members(&mut client), named);
        let refused = client.put("/v2/keys/refused", &[("value", "v")]);
        // What the server had set aside may suffice for it.
        let error = refused.json()["errorCode"].as_u64();
        assert!(refused.status < 300 || (refused.status, error) == (500, Some(300)), "{refused:?}");
        disk.free();
        writes_work_again(&mut client);
        check_whole(&server, &known, &named, started);
    } else {
        println!("refuses to start on a full disk");
        disk.free();
        let started = Instant::now();
        let server = plan.start();
        writes_work_again(&mut server.client());
        check_whole(&server, &known, &named, started);
    }
}

#[test]
fn a_restart_on_a_full_disk_after_a_stop_loses_nothing_and_recovers() {
    uetcd_only!("etcd ends on a full disk (full-disk)");
    restart_on_a_full_disk(libc::SIGTERM);
}

#[test]
fn a_restart_on_a_full_disk_after_a_kill_loses_nothing_and_recovers() {
    uetcd_only!("etcd ends on a full disk (full-disk)");
    restart_on_a_full_disk(libc::SIGKILL);
}

/// Everything is as it was, and the short lifetime ends: it was not lost.
fn check_whole(server: &Server, known: &serde_json::Value, named: &serde_json::Value, started: Instant) {
    let mut client = server.client();
    let listed = client.get("/v2/keys/?recursive=true&sorted=true").json();
    let below = |tree: &serde_json::Value| -> Vec<serde_json::Value> {
        let nodes = tree["node"]["nodes"].as_array().cloned().unwrap_or_default();
        nodes.into_iter().filter(|node| node["key"].as_str().is_some_and(|key| key.starts_with("/d"))).collect()
    };
    assert!(below(&listed) == below(known), "the keys are not what they were");
    assert_eq!(&members(&mut client), named);
    let limit = (started + TTL + Duration::from_secs(2)).saturating_duration_since(Instant::now()).max(PATIENCE / 4);
    eventually("/short goes", limit, || client.value("/short").is_none().then_some(()));
    assert!((980..=1_000).contains(&client.get("/v2/keys/long").json()["node"]["ttl"].as_u64().unwrap_or(0)));
}

#[test]
fn a_first_start_on_a_full_disk_is_refused_clearly_or_recovers() {
    uetcd_only!("etcd ends on a full disk (full-disk)");
    let plan = Plan::new().args(["--cores", "1"]);
    let disk = SmallDisk::mount(&plan.home().join("disk"), 32 << 20);
    let plan = plan.data_dir(&disk.data());
    disk.fill();
    if let Some(server) = start_or_say_why(&plan) {
        println!("serves on a full disk");
        disk.free();
        writes_work_again(&mut server.client());
    } else {
        println!("refuses to start on a full disk");
        disk.free();
        // What the first start left behind must not be in the way of the next.
        let server = plan.start();
        let mut client = server.client();
        writes_work_again(&mut client);
        assert_eq!(members(&mut client).as_array().map(Vec::len), Some(1));
    }
}
