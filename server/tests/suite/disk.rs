//! A full disk: reads go on, writes are refused with a v2 error, and once there is space again writes go on, without a restart.

use std::time::{Duration, Instant};

use crate::harness::{Client, Flavor, PATIENCE, Plan, Response, SmallDisk, env_number, eventually};
use crate::watch_limits::open_watch;

/// The file system's size: room for the segments that a fresh node prepares, and for little more.
const DISK_BYTES: u64 = 160 << 20;
/// One write of the load that fills what is left.
const VALUE_BYTES: usize = 100_000;
/// How soon after space came back writes must work again.
const RECOVERY: Duration = Duration::from_secs(5);

/// How often it is full, unless `SUITE_FULL` says otherwise.
const CYCLES: u64 = 3;

fn write(client: &mut Client, key: &str, n: usize) -> std::io::Result<Response> {
    client.attempt("PUT", &format!("/v2/keys{key}"), Some(&format!("value={n}.{}", "v".repeat(VALUE_BYTES))))
}

#[test]
fn a_full_disk_stops_writes_but_not_reads_until_there_is_space_again() {
    let plan = Plan::new().uetcd_args(["--cores", "1"]);
    let disk = SmallDisk::mount(&plan.home().join("disk"), DISK_BYTES);
    let plan = plan.data_dir(&disk.data());
    let mut server = plan.start();
    let mut client = server.client();
    let mut watch = open_watch(&server, "/v2/keys/again?wait=true&stream=true");
    let mut acknowledged = Vec::new();
    let (cycles, mut slowest) = (env_number("SUITE_FULL", CYCLES), Duration::ZERO);
    for cycle in 0..cycles {
        client.set("/before", &cycle.to_string());
        disk.fill();
        let refusal = write_until_refused(&mut client, cycle, &mut acknowledged);
        if server.flavor() == Flavor::Etcd {
            // etcd 3.4 ends with "no space left on device".
            assert!(refusal.is_none(), "etcd survived a full disk");
            assert!(server.wait().stderr.contains("no space left on device"));
            return;
        }
        let refusal = refusal.expect("the server answers");
        assert!(refusal.status >= 500, "{refusal:?}");
        assert_eq!((refusal.json()["errorCode"].as_u64(), refusal.json()["index"].as_u64()), (Some(300), Some(0)));

        assert_eq!(client.value("/before"), Some(cycle.to_string()), "reads go on");
        let asked = Instant::now();
        let small = client.put("/v2/keys/small", &[("value", "refused")]);
        assert!(small.status >= 500 && asked.elapsed() < Duration::from_secs(2), "refused at once: {small:?}");
        assert!(server.alive());

        disk.free();
        let freed = Instant::now();
        eventually("writes work again", RECOVERY, || {
            client.attempt("PUT", "/v2/keys/again", Some("value=1")).is_ok_and(|r| r.status < 300).then_some(())
        });
        slowest = slowest.max(freed.elapsed());
        let event = watch.event().expect("a watch from before goes on");
        assert_eq!(event["node"]["key"], "/again");
        assert_eq!(client.value("/small"), None, "a refused write appeared");
    }
    println!("full: {cycles} times, writes worked again after {slowest:?} at most, {} keys kept", acknowledged.len());
    let server = server.kill().start();
    let mut client = server.client();
    for (key, start) in acknowledged {
        let value = client.value(&key).unwrap_or_else(|| panic!("{key} was acknowledged and is gone"));
        assert!(value.starts_with(&start) && value.len() > VALUE_BYTES, "{key}");
    }
    assert_eq!(client.value("/small"), None, "a refused write appeared after a restart");
}

/// Writes to a few keys over and over until an answer is an error; `None` when the connection breaks instead.
fn write_until_refused(client: &mut Client, cycle: u64, acknowledged: &mut Vec<(String, String)>) -> Option<Response> {
    let deadline = Instant::now() + 3 * PATIENCE;
    for n in 0.. {
        assert!(Instant::now() < deadline, "the disk never filled up");
        let key = format!("/full{}-{cycle}", n % 4);
        let answer = write(client, &key, n).ok()?;
        if answer.status >= 300 {
            return Some(answer);
        }
        acknowledged.retain(|(known, _)| *known != key);
        acknowledged.push((key, format!("{n}.")));
    }
    None
}
