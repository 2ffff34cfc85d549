//! What a client reads, whichever member it asks.

use serde_json::Value;

use super::members::{Cluster, Setup};
use crate::harness::{Client, Rng, etcdctl, load};

/// Writes through a random member; the same member shows it at once, every member by `quorum=true`.
fn write_and_read(members: usize, writes: u64) {
    let cluster = Cluster::of(members);
    let mut clients: Vec<Client> = (0..members).map(|nth| cluster.client(nth)).collect();
    let mut newest = vec![0; members];
    let mut rng = Rng::new(members as u64);
    let mut see = |nth: usize, index: u64| {
        assert!(index >= newest[nth], "member {nth} showed {} and then {index}", newest[nth]);
        newest[nth] = index;
    };
    for n in 0..writes {
        let (via, key, value) = (rng.below(members as u64) as usize, format!("/r{}/k", n % 40), n.to_string());
        let written = clients[via].set(&key, &value);
        see(via, written);
        let own = clients[via].get(&format!("/v2/keys{key}"));
        assert_eq!(own.json()["node"]["value"], value, "member {via} does not show its own write");
        assert_eq!(own.json()["node"]["modifiedIndex"], written);
        assert!(own.index() >= written, "read at {} after a write at {written}", own.index());
        see(via, own.index());
        for (nth, client) in clients.iter_mut().enumerate() {
            let answer = client.get(&format!("/v2/keys{key}?quorum=true"));
            assert_eq!(answer.json()["node"]["value"], value, "member {nth}, quorum read of write {n} by member {via}");
            assert!(answer.index() >= written, "a quorum read at {} after {written}", answer.index());
            see(nth, answer.index());
            let local = client.get(&format!("/v2/keys{key}"));
            see(nth, local.index());
        }
    }
    cluster.wait_converged();
}

#[test]
fn three_members_show_a_write_at_once_where_it_was_made_and_everywhere_by_quorum() {
    write_and_read(3, 200);
}

#[test]
fn five_members_show_a_write_at_once_where_it_was_made_and_everywhere_by_quorum() {
    write_and_read(5, 80);
}

#[test]
fn every_kind_of_write_works_through_every_member() {
    let cluster = Cluster::of(3);
    for nth in 0..3 {
        let mut client = cluster.client(nth);
        let at = |key: &str| format!("/v2/keys/w{nth}{key}");
        let created = client.put(&at("/a"), &[("value", "1"), ("prevExist", "false")]);
        assert_eq!((created.status, &created.json()["action"]), (201, &Value::from("create")));
        let index = created.index().to_string();
        assert_eq!(client.put(&at("/a"), &[("value", "2"), ("prevExist", "false")]).json()["errorCode"], 105);
        assert_eq!(client.put(&at("/a"), &[("value", "2"), ("prevIndex", &index)]).json()["action"], "compareAndSwap");
        let refused = client.put(&at("/a"), &[("value", "3"), ("prevIndex", &index)]);
        assert_eq!((refused.status, &refused.json()["errorCode"]), (412, &Value::from(101)));
        assert_eq!(client.put(&at("/a"), &[("value", "3"), ("prevExist", "true")]).json()["prevNode"]["value"], "2");
        let posted = client.request("POST", &at("/queue"), Some("value=x"));
        assert_eq!(posted.json()["node"]["key"], format!("/w{nth}/queue/{:020}", posted.index()));
        assert_eq!(client.put(&at("/dir"), &[("dir", "true")]).status, 201);
        assert_eq!(client.delete(&at("/dir")).json()["errorCode"], 102);
        assert_eq!(client.delete(&at("/dir?dir=true")).json()["action"], "delete");
        assert_eq!(client.delete(&at("/a?prevValue=2")).json()["errorCode"], 101);
        assert_eq!(client.delete(&at("/a?prevValue=3")).json()["action"], "compareAndDelete");
        assert_eq!(client.delete(&at("?recursive=true")).json()["action"], "delete");
        assert_eq!(client.delete(&at("/a")).json()["errorCode"], 100);
    }
    cluster.wait_converged();
}

#[test]
fn etcdctl_sees_one_healthy_cluster_from_every_member() {
    let cluster = Setup::new().start(3);
    let primary = cluster.primary();
    let mut lists = Vec::new();
    for nth in 0..3 {
        let run = |args: &[&str]| {
            let output = etcdctl(cluster.server(nth)).args(args).output().expect("etcdctl runs");
            assert!(output.status.success(), "{args:?} at member {nth}: {output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let health = run(&["cluster-health"]);
        assert_eq!(health.matches("got healthy result from").count(), 3, "{health}");
        assert!(health.ends_with("cluster is healthy\n"), "{health}");
        lists.push(run(&["member", "list"]));
        run(&["set", &format!("/ctl{nth}"), "x"]);
    }
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
    let leader: Vec<_> = lists[0].lines().filter(|line| line.ends_with("isLeader=true")).collect();
    assert_eq!(leader.len(), 1, "{}", lists[0]);
    assert!(leader[0].contains(&format!("name=m{primary} ")), "{leader:?}");
    assert_eq!(lists[0].lines().count(), 3);
}

#[test]
fn a_follower_forwards_without_end() {
    // Many times what may be under way: whatever was answered must make room.
    let cluster = Setup::new().args(&["--cores", "2"]).start(3);
    let follower = cluster.followers()[0];
    let value = "v".repeat(4096);
    let begun = std::time::Instant::now();
    let indices =
        load(cluster.server(follower), 24_000, |n| (format!("/m{}/k{}", n % 64, n % 500), format!("value={value}")));
    println!("{} writes of 4 KiB through a follower took {:?}", indices.len(), begun.elapsed());
    assert_eq!(indices.iter().collect::<std::collections::BTreeSet<_>>().len(), indices.len());
    cluster.wait_converged();
}

#[test]
fn members_tell_the_same_about_themselves() {
    let cluster = Cluster::of(3);
    let primary = cluster.primary();
    let pages: Vec<_> = (0..3).map(|nth| cluster.client(nth).get("/v2/members").body).collect();
    assert!(pages.iter().all(|page| *page == pages[0]));
    let machines: Vec<_> = (0..3).map(|nth| cluster.client(nth).get("/v2/machines").text()).collect();
    assert!(machines.iter().all(|page| *page == machines[0]));
    let leader = cluster.id(0, primary);
    for nth in 0..3 {
        let mut client = cluster.client(nth);
        let stats = client.get("/v2/stats/self").json();
        assert_eq!(stats["state"], if nth == primary { "StateLeader" } else { "StateFollower" }, "member {nth}");
        assert_eq!(stats["leaderInfo"]["leader"], leader, "member {nth}");
        let followers = client.get("/v2/stats/leader");
        assert_eq!(followers.status, if nth == primary { 200 } else { 403 }, "member {nth}: {followers:?}");
        let health = client.get("/health");
        assert!(health.status == 200 && health.text().contains("\"true\""), "member {nth}: {health:?}");
    }
    let followers = cluster.client(primary).get("/v2/stats/leader").json();
    assert_eq!(followers["followers"].as_object().map(serde_json::Map::len), Some(2), "{followers}");
}
