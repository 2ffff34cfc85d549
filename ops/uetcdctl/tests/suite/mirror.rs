//! `mirror`: from real etcd into `uetcd`, beside a writer, through interruptions and lost history.
//!
//! `SUITE_MIRROR_KEYS` sets the size of the source.

mod anew;
mod clusters;
mod resume;
mod root;

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Flavor, Plan, Server, env_number, etcd, eventually, in_memory, signal, uetcdctl};

/// Longest wait for the copy to become what the source is.
const PATIENCE: Duration = Duration::from_secs(200);

/// Value and whether there is a time to live, of every key; directories have no value.
type Tree = BTreeMap<String, (Option<String>, bool)>;

fn tree(server: &Server, key: &str) -> Tree {
    let answer = server.client().patient(PATIENCE).get(&format!("/v2/keys{key}?recursive=true&quorum=true"));
    let mut tree = Tree::new();
    collect(&answer.json()["node"], &mut tree);
    tree
}

fn collect(node: &Value, into: &mut Tree) {
    if let Some(key) = node["key"].as_str() {
        into.insert(key.to_owned(), (node["value"].as_str().map(str::to_owned), node["ttl"].is_number()));
    }
    for child in node["nodes"].as_array().into_iter().flatten() {
        collect(child, into);
    }
}

fn keys_of(server: &Server) -> usize {
    tree(server, "/").len()
}

struct Mirror(Child);

impl Mirror {
    fn start(source: &Server, copy: &Server, words: &[&str]) -> Self {
        let mut command = uetcdctl(copy);
        command.args(["mirror", "--from", &source.url("")]).args(words).stderr(Stdio::piped());
        Self(command.spawn().expect("uetcdctl starts"))
    }

    /// Ends it as an operator does, and gives what it said.
    fn interrupt(self) -> String {
        signal(&self.0, libc::SIGINT);
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let complete = !text.contains("ended before the copy was complete");
        assert_eq!(output.status.code(), Some(i32::from(!complete)), "{text}");
        text
    }

    /// Ends it as a power cut does.
    fn kill(mut self) {
        self.0.kill().expect("own child");
        self.0.wait().expect("it ends");
    }
}

fn same(source: &Server, copy: &Server) {
    let what = "the copy is what the source is";
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let (there, here) = (tree(source, "/"), tree(copy, "/"));
        if there == here {
            return;
        }
        if std::time::Instant::now() > deadline {
            let missing: Vec<_> = there.iter().filter(|(key, node)| here.get(*key) != Some(node)).take(10).collect();
            let extra: Vec<_> = here.iter().filter(|(key, node)| there.get(*key) != Some(node)).take(10).collect();
            panic!("not: {what}: {missing:?} against {extra:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Some keys of every kind, by several writers at a time.
fn fill(server: &Server, keys: u64) {
    thread::scope(|scope| {
        for writer in 0..16 {
            let mut client = server.client().patient(PATIENCE);
            scope.spawn(move || {
                for number in (writer..keys).step_by(16) {
                    let key = format!("/v2/keys/d{}/s{}/k{number}", number % 20, number % 7);
                    let value = format!("value {number} <&> ü");
                    match number % 100 {
                        0 => client.put(&key, &[("value", &value), ("ttl", "5000")]),
                        1 => client.put(&format!("{key}?dir=true"), &[]),
                        2 => client.put(&format!("{key}?dir=true"), &[("ttl", "5000")]),
                        _ => client.put(&key, &[("value", &value)]),
                    };
                }
            });
        }
    });
}

/// Writes, removes and replaces until it is told to stop.
fn write_until(stop: &AtomicBool, mut client: Client) -> u64 {
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("/v2/keys/live{}/k{}", number % 5, number * 7 % 40);
        let value = number.to_string();
        match number % 11 {
            3 => client.delete(&format!("{key}?recursive=true")),
            5 => client.put(&format!("/v2/keys/live{}/dir/k{}", number % 5, number % 3), &[("value", &value)]),
            7 => client.delete(&format!("/v2/keys/live{}/dir?recursive=true", number % 5)),
            9 => client.put(&key, &[("value", &value), ("ttl", "5000")]),
            // Of a file these make a directory; directories they refuse.
            1 => client.put(&format!("{key}?dir=true"), &[]),
            8 => client.put(&format!("{key}?dir=true"), &[("ttl", "5000")]),
            _ => client.put(&key, &[("value", &value)]),
        };
        number += 1;
        thread::sleep(Duration::from_millis(2));
    }
    number
}

#[test]
fn a_living_cluster_is_copied_through_two_interruptions_and_lost_history() {
    let keys = env_number("SUITE_MIRROR_KEYS", 3_000);
    let home = in_memory();
    let source = Plan::of(Flavor::Etcd).data_dir(&home.path().join("source")).start();
    let copy = Plan::of(Flavor::Uetcd).start();
    copy.client().set("/only/here", "goes");
    copy.client().set("/d1", "a file in the way");
    fill(&source, keys);
    let state = home.path().join("state.json");
    let words = ["--state", state.to_str().expect("UTF-8")];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&stop, source.client()));

        let first = Mirror::start(&source, &copy, &words);
        eventually("a part is copied", PATIENCE, || (keys_of(&copy) as u64 > keys / 4).then_some(()));
        first.kill();
        assert!(!state.exists(), "killed before it was complete");

        let second = Mirror::start(&source, &copy, &words);
        eventually("the state is kept", PATIENCE, || state.exists().then_some(()));
        let before = copy.client().get("/v2/keys/").index();
        eventually("changes are followed", PATIENCE, || {
            (copy.client().get("/v2/keys/").index() > before + 50).then_some(())
        });
        let said = second.interrupt();
        assert!(said.contains("the copy is complete at index"), "{said}");

        let third = Mirror::start(&source, &copy, &words);
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("no panic") > 50);
        same(&source, &copy);
        let said = third.interrupt();
        assert!(said.contains("goes on at index"), "{said}");
    });

    // More events than etcd keeps, while nobody reads them.
    for number in 0..1100u32 {
        source.client().set(&format!("/lost/k{}", number % 10), &number.to_string());
    }
    source.client().delete("/v2/keys/d3?recursive=true");
    let fourth = Mirror::start(&source, &copy, &words);
    same(&source, &copy);
    let said = fourth.interrupt();
    assert!(said.contains("compares everything again"), "{said}");
    assert_eq!(tree(&copy, "/").get("/only/here"), None);
}

#[test]
fn a_directory_takes_the_place_of_a_file() {
    for flavor in [Flavor::Etcd, Flavor::Uetcd] {
        let (source, copy) = (etcd(), Plan::of(flavor).start());
        for key in ["/a", "/leased", "/sub/deep/a", "/filled", "/again"] {
            source.client().set(key, "a file");
        }
        source.client().put("/v2/keys/short", &[("value", "a file"), ("ttl", "5000")]);
        let mirror = Mirror::start(&source, &copy, &[]);
        same(&source, &copy);
        let replace = |key: &str, form: &[(&str, &str)]| {
            let answer = source.client().put(&format!("/v2/keys{key}?dir=true"), form);
            assert_eq!(answer.json()["node"]["dir"], true, "{answer:?}");
        };
        for key in ["/a", "/sub/deep/a", "/filled", "/short"] {
            replace(key, &[]);
        }
        replace("/leased", &[("ttl", "5000")]);
        source.client().set("/filled/k", "v");
        replace("/again", &[]);
        source.client().delete("/v2/keys/again?recursive=true");
        source.client().set("/again", "a file");
        // Directories that are there get another time to live, or none.
        source.client().put("/v2/keys/a?dir=true&prevExist=true", &[("ttl", "5000")]);
        source.client().put("/v2/keys/sub?dir=true&prevExist=true", &[("ttl", "5000")]);
        source.client().put("/v2/keys/leased?dir=true&prevExist=true", &[]);
        replace("/again", &[("ttl", "5000")]);
        same(&source, &copy);
        mirror.interrupt();
    }
}

#[test]
fn once_copies_one_directory_elsewhere_and_keeps_what_else_is_there() {
    let (source, copy) = (etcd(), etcd());
    source.client().set("/app/a", "1");
    source.client().set("/app/sub/b", "2");
    source.client().set("/other/c", "3");
    copy.client().set("/new/app/mine", "kept");
    copy.client().set("/new/app/a", "old");
    let words = ["mirror", "--from", &source.url(""), "--once", "--keep", "--to", "/new/app", "/app"];
    let output = uetcdctl(&copy).args(words).output().expect("uetcdctl starts");
    assert!(output.status.success(), "{output:?}");
    let files: Vec<_> = tree(&copy, "/").into_iter().filter_map(|(key, (value, _))| Some((key, value?))).collect();
    let want = [("/new/app/a", "1"), ("/new/app/mine", "kept"), ("/new/app/sub/b", "2")];
    assert_eq!(files, want.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn a_directory_goes_with_the_one_that_it_is_in() {
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    source.client().set("/x/app/a", "1");
    let mirror = Mirror::start(&source, &copy, &["--to", "/new", "/x/app"]);
    eventually("it is copied", PATIENCE, || copy.client().value("/new/a"));
    source.client().delete("/v2/keys/x?recursive=true");
    source.client().set("/x/app/b", "2");
    eventually("its successor is copied", PATIENCE, || copy.client().value("/new/b"));
    assert_eq!(copy.client().value("/new/a"), None);
    mirror.interrupt();
}

#[test]
fn lifetimes_end_and_are_prolonged_as_in_the_source() {
    let source = etcd();
    let copy = Plan::of(Flavor::Uetcd).start();
    source.client().put("/v2/keys/lease", &[("value", "held"), ("ttl", "5")]);
    source.client().put("/v2/keys/short", &[("value", "x"), ("ttl", "2")]);
    let mirror = Mirror::start(&source, &copy, &[]);
    eventually("both are there", PATIENCE, || (copy.client().value("/short").is_some()).then_some(()));
    // Refreshes notify nobody, so nothing but the mirror's own look at the source keeps the copy's key.
    let until = std::time::Instant::now() + Duration::from_secs(9);
    while std::time::Instant::now() < until {
        let form = [("ttl", "5"), ("refresh", "true"), ("prevExist", "true")];
        assert_eq!(source.client().put("/v2/keys/lease", &form).status, 200);
        assert_eq!(copy.client().value("/lease").as_deref(), Some("held"));
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(copy.client().value("/short"), None);
    eventually("it ends in both", PATIENCE, || (copy.client().value("/lease").is_none()).then_some(()));
    same(&source, &copy);
    mirror.interrupt();
}

#[test]
fn what_can_not_work_is_said() {
    let copy = etcd();
    let run = |words: &[&str]| uetcdctl(&copy).arg("mirror").args(words).output().expect("uetcdctl starts");
    assert_eq!(run(&[]).status.code(), Some(1));
    let dead = run(&["--from", "http://127.0.0.1:9", "--once"]);
    assert_eq!(dead.status.code(), Some(4));
    let hint = String::from_utf8_lossy(&dead.stderr).into_owned();
    assert!(hint.contains("hint: nothing serves at http://127.0.0.1:9") && hint.contains("with --from http"), "{hint}");
    let itself = run(&["--from", &copy.url(""), "/a"]);
    assert!(String::from_utf8_lossy(&itself.stderr).contains("in both clusters"), "{itself:?}");
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    std::fs::write(&state, "{\"from\":\"/x\",\"to\":\"/y\"}").expect("written");
    let output = run(&["--from", "http://127.0.0.1:9", "--state", state.to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("another mirror"), "{said}");
}
