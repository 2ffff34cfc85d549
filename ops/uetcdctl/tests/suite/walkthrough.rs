//! What a newcomer does first, from one node to a cluster of six that has lost a member: with our programs only, with Debian's
//! `etcdctl` as the client, and with a real etcd as the discovery service.

use std::collections::BTreeMap;
use std::process::Output;

use crate::harness::{Flavor, PATIENCE, Plan, Server, UETCDCTL, bare, eventually, need};

/// Members that the registry has room for.
const SIZE: usize = 5;

#[test]
fn with_our_programs_only() {
    walk(Flavor::Uetcd, UETCDCTL);
}

#[test]
fn with_debians_etcdctl() {
    need("etcdctl");
    walk(Flavor::Uetcd, "etcdctl");
}

#[test]
fn with_etcd_as_the_discovery_service() {
    walk(Flavor::Etcd, UETCDCTL);
}

fn walk(service: Flavor, program: &'static str) {
    let alone = Plan::of(Flavor::Uetcd).start();
    let ctl = Ctl::to(program, &[&alone]);
    ctl.says(&["set", "/message", "Hello world"], "Hello world\n");
    ctl.says(&["get", "/message"], "Hello world\n");
    drop(alone);

    let service = Plan::of(service).start();
    let token = "/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    Ctl::to(program, &[&service]).says(&["set", &format!("{token}/_config/size"), &SIZE.to_string()], "5\n");
    let discovery = service.url(&format!("/v2/keys{token}"));

    let mut members: Vec<Server> = (1..=SIZE).map(|n| discovered(&format!("test{n}"), &discovery).launch()).collect();
    let ctl = Ctl::to(program, &members.iter().collect::<Vec<_>>());
    ctl.wait_members(SIZE);
    ctl.says(&["set", "/message", "Hello cluster"], "Hello cluster\n");

    let proxy = discovered("overflow", &discovery).launch();
    proxy.wait_for_log("discovery cluster full, falling back to proxy");
    let through = Ctl::to(program, &[&proxy]).without_sync();
    through.comes_to_say(&["get", "/message"], "Hello cluster\n");
    through.says(&["set", "/proxied", "through the proxy"], "through the proxy\n");
    ctl.says(&["get", "--quorum", "/proxied"], "through the proxy\n");

    members.push(ctl.grow("test6"));
    ctl.wait_members(SIZE + 1);

    members.remove(0).kill();
    let ctl = Ctl::to(program, &members.iter().collect::<Vec<_>>());
    for member in &members {
        let one = Ctl::to(program, &[member]).without_sync();
        one.comes_to_say(&["get", "--quorum", "/message"], "Hello cluster\n");
        one.says(&["get", "/proxied"], "through the proxy\n");
    }
    through.comes_to_say(&["get", "/message"], "Hello cluster\n");
    ctl.comes_to_say(&["set", "/after", "five of six"], "five of six\n");
    drop(service);
    ctl.says(&["get", "/after"], "five of six\n");
}

/// A member to be that asks the discovery service.
fn discovered(name: &str, url: &str) -> Plan {
    Plan::of(Flavor::Uetcd).named(name).on_quiet_ports().bootstrapped_by("--discovery", url)
}

/// A command line client with its endpoints.
struct Ctl {
    program: &'static str,
    flags: Vec<String>,
}

impl Ctl {
    fn to(program: &'static str, servers: &[&Server]) -> Self {
        let endpoints: Vec<_> = servers.iter().map(|server| server.url("")).collect();
        Self { program, flags: vec!["--endpoints".into(), endpoints.join(",")] }
    }

    /// Stays with the endpoints it was given.
    fn without_sync(mut self) -> Self {
        self.flags.push("--no-sync".into());
        self
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = bare(self.program);
        command.env("ETCDCTL_API", "2").args(&self.flags).args(words);
        command.output().unwrap_or_else(|e| panic!("{}: {e}", self.program))
    }

    /// Standard output of a command that succeeds.
    fn output(&self, words: &[&str]) -> Result<String, Output> {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(output) }
    }

    fn says(&self, words: &[&str], want: &str) {
        assert_eq!(self.output(words).as_deref(), Ok(want), "{words:?}");
    }

    /// Says so within a while: a cluster is in the making, or has just lost its leader.
    fn comes_to_say(&self, words: &[&str], want: &str) {
        eventually(&format!("{words:?} says {want:?}"), PATIENCE, || {
            self.output(words).is_ok_and(|said| said == want).then_some(())
        });
    }

    /// Waits until `member list` shows so many members, all started and one of them leading, and `cluster-health` is content.
    fn wait_members(&self, count: usize) {
        eventually(&format!("there are {count} members"), PATIENCE, || {
            let list = self.output(&["member", "list"]).ok()?;
            let lines: Vec<_> = list.lines().collect();
            let started = lines.iter().all(|line| line.contains(": name=test") && line.contains(" clientURLs=http"));
            let leaders = lines.iter().filter(|line| line.ends_with("isLeader=true")).count();
            (lines.len() == count && started && leaders == 1).then_some(())
        });
        eventually("the cluster is healthy", PATIENCE, || {
            let health = self.output(&["cluster-health"]).ok()?;
            assert_eq!(health.matches("is healthy: got healthy result from http://").count(), count, "{health}");
            health.ends_with("cluster is healthy\n").then_some(())
        });
    }

    /// Adds a member and starts it as the answer says.
    fn grow(&self, name: &str) -> Server {
        let plan = Plan::of(Flavor::Uetcd).named(name).on_quiet_ports();
        let answer = self.output(&["member", "add", name, &plan.peer_url()]).expect("added");
        assert!(answer.starts_with(&format!("Added member named {name} with ID ")), "{answer}");
        let told: BTreeMap<_, _> = answer.lines().filter_map(|line| line.split_once('=')).collect();
        let value = |key: &str| told.get(key).unwrap_or_else(|| panic!("{key} in {answer}")).trim_matches('"');
        assert_eq!(value("ETCD_NAME"), name);
        let plan = plan.bootstrapped_by("--initial-cluster", value("ETCD_INITIAL_CLUSTER"));
        plan.args(["--initial-cluster-state", value("ETCD_INITIAL_CLUSTER_STATE")]).launch()
    }
}
