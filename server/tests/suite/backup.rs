//! Backups of one node, taken while it runs and when it does not, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Connection, Ended, PATIENCE, Plan, Server, eventually, uetcd_only};

const PATH: &str = "/uetcd/backup";

/// A node with something of everything in it; the last index.
fn filled() -> (Server, u64) {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    for n in 0..200 {
        client.set(&format!("/d{}/{n}", n % 20), &format!("v{n}"));
    }
    client.set("/large", &"x".repeat(2 << 20));
    client.put("/v2/keys/short", &[("value", "1"), ("ttl", "500")]);
    client.delete("/v2/keys/d3/3");
    let last = client.set("/last", "1");
    (server, last)
}

/// Takes a backup into a file of the node's own directory; the file, and its index.
fn take(server: &Server) -> (PathBuf, u64) {
    let answer = server.client().get(PATH);
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/octet-stream")));
    let file = server.plan().home().join("backup");
    fs::write(&file, &answer.body).expect("written");
    (file, answer.index())
}

fn restoring(file: &Path) -> Plan {
    Plan::new().named("restored").args(["--restore-backup", file.to_str().expect("text")])
}

/// It ended because of the backup, and says so in one line.
fn assert_refused(ended: &Ended, why: &str) {
    assert_eq!(ended.code(), 1, "{ended:?}");
    let critical: Vec<&str> = ended.stderr.lines().filter(|line| line.contains(" C ")).collect();
    assert!(critical.len() == 1 && critical[0].contains(why), "{why:?} in {}", ended.stderr);
}

fn assert_same_state(server: &Server, restored: &Server, index: u64) {
    let listing = |server: &Server| server.client().get("/v2/keys/?recursive=true&sorted=true");
    let strip = |server: &Server| {
        // What is left of a time to live is another a moment later.
        let text = listing(server).text();
        text.split("\"ttl\":").next().expect("something").split("\"expiration\":").next().map(str::to_owned)
    };
    assert_eq!(strip(server), strip(restored));
    let mut client = restored.client();
    let short = client.get("/v2/keys/short").json();
    let ttl = short["node"]["ttl"].as_u64().expect("it still has one");
    assert!((400..=500).contains(&ttl), "{short}");
    assert!(client.set("/more", "1") > index);
    let past = client.get("/v2/keys/d3/3?wait=true&waitIndex=1").json();
    assert_eq!(past["action"], "set", "the history is there: {past}");
}

#[test]
fn a_backup_of_a_running_node_begins_a_new_cluster() {
    uetcd_only!("it is no endpoint of etcd");
    let (server, last) = filled();
    let (file, index) = take(&server);
    assert!(index >= last, "{index} < {last}");
    let restored = restoring(&file).start();
    assert!(restored.log().contains(&format!("at index {index}")), "{}", restored.log());
    assert_same_state(&server, &restored, index);
    let members = |server: &Server| server.client().get("/v2/members").json();
    let (old, new) = (members(&server), members(&restored));
    assert_eq!((new["members"].as_array().map(Vec::len), &new["members"][0]["name"]), (Some(1), &"restored".into()));
    assert_ne!(old["members"][0]["id"], new["members"][0]["id"]);
    let cluster = |server: &Server| server.client().get(PATH).header("X-Etcd-Cluster-Id").map(str::to_owned);
    assert_ne!(cluster(&server), cluster(&restored));
    // It is a node like any other from then on, also with every newest snapshot of a shard damaged.
    let plan = restored.kill().without_last_args(2);
    for file in fs::read_dir(plan.data().join("member/snap")).expect("there").map(|file| file.expect("read").path()) {
        if !file.to_string_lossy().ends_with(".copy.snap") {
            let mut bytes = fs::read(&file).expect("read");
            bytes[50] ^= 1;
            fs::write(&file, bytes).expect("written");
        }
    }
    let restored = plan.start();
    assert_eq!(restored.client().value("/last").as_deref(), Some("1"));
    assert_eq!(members(&restored), new);
}

#[test]
fn what_is_not_whole_is_refused_and_changes_nothing() {
    uetcd_only!("it is no endpoint of etcd");
    let (server, _) = filled();
    let (file, _) = take(&server);
    let good = fs::read(&file).expect("just written");
    let plan = restoring(&file);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, why) in [
        (&good[..good.len() / 2], "can not be restored: damaged at offset"),
        (&good[..good.len() - 1], "can not be restored: damaged at offset"),
        (&flipped, "can not be restored: damaged at offset"),
        (b"", "can not be restored: damaged at offset 0"),
    ] {
        fs::write(&file, bytes).expect("written");
        assert_refused(&plan.try_start().err().expect("refused"), why);
    }
    fs::remove_file(&file).expect("removed");
    assert_refused(&plan.try_start().err().expect("refused"), "can not be restored: no such file or directory");
    fs::write(&file, &good).expect("written");
    let other = plan.clone().args(["--shards", "3"]);
    assert_refused(
        &other.try_start().err().expect("refused"),
        "--shards=3 was given, but this cluster was born with 16",
    );
    // The directory is as good as new; and is not, after that.
    let plan = plan.start().kill();
    assert_refused(&plan.try_start().err().expect("refused"), "there is data in");
}

#[test]
fn one_backup_at_a_time_and_a_client_that_is_gone_ends_its_own() {
    uetcd_only!("it is no endpoint of etcd");
    let (server, _) = filled();
    // More than the sockets' buffers hold.
    for n in 0..12 {
        server.client().set(&format!("/large{n}"), &"x".repeat(2 << 20));
    }
    let mut slow = Connection::open(server.address()).expect("accepts");
    slow.send(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
    let head = slow.head().expect("a head");
    assert_eq!(head.status, 200);
    let second = server.client().get(PATH);
    assert_eq!((second.status, second.json()["message"].as_str()), (503, Some("uetcd: another backup is being taken")));
    let later = server.client().set("/later", "1");
    assert!(later > head.index(), "writes go on");
    drop(slow);
    let whole = eventually("the backup is over", PATIENCE, || {
        Some(server.client().get(PATH)).filter(|answer| answer.status == 200)
    });
    assert!(whole.index() >= later && whole.body.len() > 24 << 20);
    assert_eq!(server.client().request("PUT", PATH, Some("")).status, 405);
}

#[test]
fn a_node_that_does_not_run_is_backed_up_from_its_directory() {
    uetcd_only!("etcdctl does that for etcd");
    let (server, last) = filled();
    let file = server.plan().home().join("offline");
    let write = |plan: &Plan| {
        let data = plan.data().to_owned().into_os_string();
        plan.run_to_exit(["--data-dir".into(), data, "--write-backup".into(), file.clone().into_os_string()])
    };
    let elsewhere = Plan::new();
    assert_refused(&write(&elsewhere), "there is no data of a member in");
    let plan = server.plan().clone();
    let running =
        elsewhere.run_to_exit(["--data-dir".into(), plan.data().into(), "--write-backup".into(), file.clone()]);
    assert_refused(&running, "file already locked");
    let plan = server.kill();
    let ended = write(&plan);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stderr.contains("written to"), "{ended:?}");
    assert_refused(&write(&plan), "file exists");
    let (server, restored) = (plan.start(), restoring(&file).start());
    assert_same_state(&server, &restored, last);
}
