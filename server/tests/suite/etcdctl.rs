//! Debian's `etcdctl` cannot tell the server under test from real etcd: same output, same exit status.

use std::fmt::Write as _;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::harness::{Flavor, PATIENCE, Plan, Server, etcdctl, eventually, need, shell};

const COMMANDS: &str = include_str!("../etcdctl/commands.txt");

/// What a command did, with what no two servers share replaced.
#[derive(PartialEq, Eq)]
struct Observed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Observed {
    fn of(server: &Server, output: &Output) -> Self {
        let member =
            server.client().get("/v2/members").json()["members"][0]["id"].as_str().unwrap_or("none").to_owned();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(&server.address().to_string(), "CLIENT");
            without_times(&text.replace(&server.peer_address().to_string(), "PEER").replace(&member, "MEMBER"))
        };
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

fn without_times(text: &str) -> String {
    let mut parts = text.split("\"expiration\":\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('"').map_or("", |(_, rest)| rest);
        let _ = write!(out, "\"expiration\":\"T\"{rest}");
    }
    out
}

impl std::fmt::Display for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  exit {:?}\n  stdout {:?}\n  stderr {:?}", self.code, self.stdout, self.stderr)
    }
}

fn run(server: &Server, line: &str) -> Observed {
    let script = format!("ctl() {{ ETCDCTL_API=2 timeout 20 etcdctl --endpoints {} \"$@\"; }}\n{line}", server.url(""));
    Observed::of(server, &shell(&script))
}

#[test]
fn every_command_does_and_says_what_it_does_with_real_etcd() {
    need("etcdctl");
    let (tested, real) = (Plan::new().start(), Plan::of(Flavor::Etcd).start());
    let mut failures = String::new();
    let lines: Vec<_> = COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines.len() > 100, "only {} commands", lines.len());
    for line in lines {
        let (got, want) = (run(&tested, line), run(&real, line));
        if got != want {
            let _ = writeln!(failures, "{line}\n want\n{want}\n got\n{got}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Starts a watching etcdctl and returns when the server has its watcher.
fn watching(server: &Server, arguments: &[&str]) -> Child {
    let mut command = etcdctl(server);
    let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("etcdctl starts");
    let mut client = server.client();
    eventually("etcdctl's watch is registered", PATIENCE, || (client.watchers() == 1).then_some(()));
    child
}

fn end(child: Child, signal: i32) -> Output {
    let pid = i32::try_from(child.id()).expect("a pid fits an i32");
    // SAFETY: kill(2) touches no memory; the pid is that of our own child, which has not been waited for.
    unsafe { libc::kill(pid, signal) };
    child.wait_with_output().expect("own child")
}

/// What each server's watcher said about the same story.
fn compare_stories(tell: impl Fn(&Server) -> Output) {
    let observe = |server: Server| Observed::of(&server, &tell(&server));
    let (got, want) = (observe(Plan::new().start()), observe(Plan::of(Flavor::Etcd).start()));
    assert!(got == want, "want\n{want}\ngot\n{got}");
    assert!(!want.stdout.is_empty(), "the story told nothing: {want}");
}

#[test]
fn watch_shows_the_next_event_in_every_format() {
    for format in ["simple", "extended", "json"] {
        compare_stories(|server| {
            let child = watching(server, &["-o", format, "watch", "/w"]);
            server.client().set("/w", "seen");
            child.wait_with_output().expect("own child")
        });
    }
}

#[test]
fn watch_forever_misses_nothing_until_interrupted() {
    compare_stories(|server| {
        let mut client = server.client();
        let child = watching(server, &["watch", "--forever", "--recursive", "/w"]);
        for n in 0..20 {
            client.set(&format!("/w/{n}"), &format!("value {n}"));
        }
        client.delete("/v2/keys/w/7");
        client.set("/w/last", "end");
        // Each event costs etcdctl a new request; the last one is out when its next wait is registered and quiet.
        eventually("etcdctl waits again", PATIENCE, || {
            let waiting = client.watchers() == 1;
            std::thread::sleep(Duration::from_millis(100));
            (waiting && client.watchers() == 1).then_some(())
        });
        end(child, libc::SIGINT)
    });
}

#[test]
fn exec_watch_runs_the_command_with_the_event_in_its_environment() {
    compare_stories(|server| {
        let script = "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX";
        let child = watching(server, &["exec-watch", "--recursive", "/w", "--", "sh", "-c", script]);
        let mut client = server.client();
        for (key, value) in [("/w/a", "1"), ("/w/b", "2")] {
            client.set(key, value);
            // Commands run in the background, in no order: give each its time.
            std::thread::sleep(Duration::from_millis(200));
            eventually("etcdctl waits again", PATIENCE, || (client.watchers() == 1).then_some(()));
        }
        end(child, libc::SIGINT)
    });
}

#[test]
fn a_server_that_is_not_there_is_reported_alike() {
    let server = Plan::new().start();
    let (address, script) = (server.address(), format!("ETCDCTL_API=2 etcdctl --endpoints {} get /a", server.url("")));
    drop(server);
    let output = shell(&script);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains(&format!("dial tcp {address}: connect: connection refused")), "{stderr}");
}
