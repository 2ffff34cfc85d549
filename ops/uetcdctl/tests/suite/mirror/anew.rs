//! Clusters that begin anew, without their data and with the same flags, so with the same ids; and those that only restart.

use std::path::PathBuf;
use std::thread;

use serde_json::Value;

use super::{Mirror, PATIENCE, same};
use crate::harness::{Client, Flavor, Plan, Server, copy_dir, eventually, signal};

const PAIRS: [(Flavor, Flavor); 2] = [(Flavor::Etcd, Flavor::Uetcd), (Flavor::Uetcd, Flavor::Etcd)];

/// A source with some keys, a copy, and where the state is.
fn start((source, copy): (Flavor, Flavor)) -> (Server, Server, tempfile::TempDir) {
    let (source, copy) = (Plan::of(source).start(), Plan::of(copy).start());
    for number in 0..20 {
        source.client().set(&format!("/old/{number}"), "1");
    }
    (source, copy, tempfile::tempdir().expect("a directory"))
}

fn mirror(source: &Server, copy: &Server, home: &tempfile::TempDir) -> Mirror {
    let state = state_in(home);
    Mirror::start(source, copy, &["--state", state.to_str().expect("UTF-8")])
}

/// The same once it is copied, and the mirror that follows.
fn follow(pair: (Flavor, Flavor)) -> (Server, Server, tempfile::TempDir, Mirror) {
    let (source, copy, home) = start(pair);
    let mirror = mirror(&source, &copy, &home);
    same(&source, &copy);
    (source, copy, home, mirror)
}

/// The same when the mirror was ended.
fn followed(pair: (Flavor, Flavor)) -> (Server, Server, tempfile::TempDir) {
    let (source, copy, home, mirror) = follow(pair);
    eventually("the state is kept", PATIENCE, || state_in(&home).exists().then_some(()));
    mirror.interrupt();
    (source, copy, home)
}

fn state_in(home: &tempfile::TempDir) -> PathBuf {
    home.path().join("state")
}

/// Ends a node, and starts it without its data.
fn begin_anew(server: Server) -> Server {
    let number = server.pid().to_string();
    let plan = server.kill();
    let empty = plan.data().with_extension(number);
    plan.data_dir(&empty).start()
}

/// Writes until the node is further than `index`.
fn pass(server: &Server, index: u64) {
    let mut client = server.client();
    while client.set("/new/k", "1") <= index {}
    client.set("/new/last", "1");
}

fn index(server: &Server) -> u64 {
    server.client().get("/v2/keys/").index()
}

fn assert_noticed(said: &str, which: &str) {
    assert!(said.contains(&format!("the {which} is not what it was: compares everything again")), "{said}");
}

#[test]
fn a_source_that_begins_anew_is_noticed_while_it_is_behind() {
    for pair in PAIRS {
        let (source, copy, _home, mirror) = follow(pair);
        let source = begin_anew(source);
        source.client().set("/anew", "1");
        same(&source, &copy);
        source.client().set("/further", "1");
        same(&source, &copy);
        assert_noticed(&mirror.interrupt(), "source");
    }
}

#[test]
fn a_source_that_begins_anew_is_noticed_when_it_has_come_further() {
    for pair in PAIRS {
        let (source, copy, home, first) = follow(pair);
        source.client().set("/old/followed", "1");
        same(&source, &copy);
        // It hears nothing of what happens, as if it were cut off.
        signal(&first.0, libc::SIGSTOP);
        let before = index(&source);
        let source = begin_anew(source);
        pass(&source, before);
        signal(&first.0, libc::SIGCONT);
        same(&source, &copy);
        assert_noticed(&first.interrupt(), "source");

        let before = index(&source);
        let source = begin_anew(source);
        source.client().set("/third", "1");
        pass(&source, before);
        let second = mirror(&source, &copy, &home);
        same(&source, &copy);
        assert_noticed(&second.interrupt(), "source");
    }
}

#[test]
fn a_copy_that_begins_anew_is_noticed_while_it_is_followed() {
    for pair in PAIRS {
        for next in [None, Some("/event")] {
            let (source, copy, _home, mirror) = follow(pair);
            let copy = begin_anew(copy);
            if let Some(key) = next {
                source.client().set(key, "1");
            }
            same(&source, &copy);
            assert_noticed(&mirror.interrupt(), "copy");
        }
    }
}

#[test]
fn a_copy_that_began_anew_is_noticed_when_it_has_come_further() {
    for pair in PAIRS {
        let (source, copy, home) = followed(pair);
        let before = index(&copy);
        let copy = begin_anew(copy);
        pass(&copy, before);
        let second = mirror(&source, &copy, &home);
        same(&source, &copy);
        assert_noticed(&second.interrupt(), "copy");
    }
}

/// The mark came back with the backup, but it is an older one.
#[test]
fn a_copy_that_came_back_from_a_backup_is_noticed_when_it_has_come_further() {
    for pair in PAIRS {
        let (source, copy, home) = followed(pair);
        let plan = copy.kill();
        let backup = plan.data().with_extension("backup");
        copy_dir(plan.data(), &backup);
        let copy = plan.start();

        let marked = mark(&home);
        let second = mirror(&source, &copy, &home);
        source.client().set("/lost", "1");
        same(&source, &copy);
        eventually("the copy is marked again", PATIENCE, || (mark(&home) > marked).then_some(()));
        second.interrupt();
        let before = index(&copy);
        copy.kill();
        let copy = plan.data_dir(&backup).start();
        pass(&copy, before);
        let third = mirror(&source, &copy, &home);
        same(&source, &copy);
        assert_noticed(&third.interrupt(), "copy");
    }
}

/// The index of the copy's mark, as the state says it.
fn mark(home: &tempfile::TempDir) -> u64 {
    state(home)["mark"]["index"].as_u64().expect("a mark")
}

fn state(home: &tempfile::TempDir) -> Value {
    let text = std::fs::read_to_string(state_in(home)).expect("a state");
    serde_json::from_str(&text).expect("JSON")
}

/// Waits until the mirror has looked at this node since it was started.
fn wait_for_look(server: &Server, home: &tempfile::TempDir) {
    let stats = server.client().get("/v2/stats/self").json();
    let process =
        format!("{} since {}", stats["id"].as_str().expect("an id"), stats["startTime"].as_str().expect("a time"));
    let is_known =
        || state(home)["life"]["processes"].as_array().is_some_and(|all| all.contains(&Value::from(&*process)));
    eventually("the new process is known", PATIENCE, || is_known().then_some(()));
}

fn assert_followed_on(said: &str) {
    assert!(!said.contains("compares everything") && said.matches("the copy is complete").count() <= 1, "{said}");
}

#[test]
fn a_restart_is_no_new_beginning() {
    for pair in PAIRS {
        let (source, copy, home, first) = follow(pair);
        for (key, ttl) in [("/old/followed", None), ("/old/leased", Some(("ttl", "5000"))), ("/dir?dir=true", None)] {
            source
                .client()
                .put(&format!("/v2/keys{key}"), &[Some(("value", "1")), ttl].into_iter().flatten().collect::<Vec<_>>());
        }
        source.client().delete("/v2/keys/old/3");
        same(&source, &copy);
        wait_for_look(&source, &home);
        let source = source.kill().start();
        wait_for_look(&source, &home);
        source.client().set("/then", "1");
        same(&source, &copy);

        let marked = mark(&home);
        let copy = copy.kill().start();
        source.client().set("/then", "2");
        same(&source, &copy);
        eventually("the copy is marked again", PATIENCE, || (mark(&home) > marked).then_some(()));
        assert_followed_on(&first.interrupt());

        // Both, while nobody looks.
        let (source, copy) = (source.kill().start(), copy.kill().start());
        let second = mirror(&source, &copy, &home);
        source.client().set("/then", "3");
        same(&source, &copy);
        let said = second.interrupt();
        assert!(said.contains("goes on at index"), "{said}");
        assert_followed_on(&said);
    }
}

/// Three members.
fn cluster(flavor: Flavor) -> Vec<Server> {
    let plans: Vec<_> = ["a", "b", "c"].map(|name| Plan::of(flavor).named(name).on_quiet_ports()).into();
    let members: Vec<_> =
        ["a", "b", "c"].iter().zip(&plans).map(|(name, plan)| format!("{name}={}", plan.peer_url())).collect();
    let start = |plan: Plan| plan.bootstrapped_by("--initial-cluster", &members.join(",")).start();
    thread::scope(|scope| {
        let started: Vec<_> = plans.into_iter().map(|plan| scope.spawn(|| start(plan))).collect();
        started.into_iter().map(|thread| thread.join().expect("it starts")).collect()
    })
}

fn urls(members: &[Server]) -> String {
    members.iter().map(|member| member.url("")).collect::<Vec<_>>().join(",")
}

/// Ends the leader, and starts it again when the others have another one.
fn change_leader(members: &mut Vec<Server>) {
    let leads = |client: &mut Client| client.get("/v2/stats/self").json()["state"] == "StateLeader";
    let leader =
        eventually("there is a leader", PATIENCE, || members.iter().position(|member| leads(&mut member.client())));
    let plan = members.remove(leader).kill();
    let mut client = members[0].client().patient(PATIENCE);
    let serves = |client: &mut Client| client.get("/v2/keys/?quorum=true").status == 200;
    eventually("there is another leader", PATIENCE, || serves(&mut client).then_some(()));
    members.push(plan.start());
}

#[test]
fn a_change_of_leader_is_no_new_beginning() {
    for (source, copy) in PAIRS {
        let (mut source, mut copy) = (cluster(source), cluster(copy));
        let home = tempfile::tempdir().expect("a directory");
        source[0].client().set("/k", "1");
        let (from, to, path) = (urls(&source), urls(&copy), state_in(&home));
        let words = ["--from", &from, "--state", path.to_str().expect("UTF-8")];
        let mut command = crate::harness::bare(crate::harness::UETCDCTL);
        command.args(["--endpoints", &to, "mirror"]).args(words).stderr(std::process::Stdio::piped());
        let mirror = Mirror(command.spawn().expect("uetcdctl starts"));
        same(&source[0], &copy[0]);
        eventually("the state is kept", PATIENCE, || path.exists().then_some(()));

        change_leader(&mut source);
        source[0].client().set("/then", "1");
        same(&source[0], &copy[0]);
        wait_for_look(source.last().expect("three"), &home);
        let marked = mark(&home);
        change_leader(&mut copy);
        source[0].client().set("/k", "2");
        same(&source[0], &copy[0]);
        eventually("the copy is marked again", PATIENCE, || (mark(&home) > marked).then_some(()));
        assert_followed_on(&mirror.interrupt());
    }
}
