//! Both tools on one running cluster of three, each with keys and names of its own; one after the other where they would be in each
//! other's way.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use super::{Observed, Side};
use crate::harness::{DropIn, Flavor, PATIENCE, Plan, Server, eventually, in_memory, need};

fn cluster(flavor: Flavor, home: &Path) -> Vec<Server> {
    let plan = |nth: u8| {
        let name = format!("m{nth}");
        Plan::of(flavor).named(&name).on_quiet_ports().data_dir(&home.join(name))
    };
    let plans: Vec<Plan> = (0..3).map(plan).collect();
    let pieces: Vec<String> = (0..).zip(&plans).map(|(nth, plan)| format!("m{nth}={}", plan.peer_url())).collect();
    let initial = pieces.join(",");
    let plan = |plan: &Plan| {
        // etcd 3.4 refuses members for a while after its start.
        let plan = plan.clone().bootstrapped_by("--initial-cluster", &initial).args(["--strict-reconfig-check=false"]);
        plan.uetcd_args(["--cores", "1", "--shards", "4"])
    };
    let members: Vec<Server> = plans.iter().map(|each| plan(each).launch()).collect();
    for member in &members {
        let mut client = member.client();
        eventually("a member is healthy and published", PATIENCE, || {
            let healthy = client.attempt("GET", "/health", None).is_ok_and(|answer| answer.status == 200);
            let listed = client.attempt("GET", "/v2/members", None).ok().filter(|_| healthy)?.json();
            let published = |nth: usize| listed["members"][nth]["clientURLs"][0].is_string();
            (0..3).all(published).then_some(())
        });
    }
    members
}

/// A tool's own words, each as long as the other's.
struct Own {
    key: &'static str,
    name: &'static str,
    peer: &'static str,
}

const OWN: [Own; 2] = [
    Own { key: "/qaz", name: "ann", peer: "http://127.0.0.1:7101" },
    Own { key: "/wsx", name: "bob", peer: "http://127.0.0.1:7202" },
];

/// Words of lines that change, or count, what is everybody's.
const SHARING: [&str; 3] = ["member", "auth", "watching"];

/// Runs a line with a tool; its own words and all indices replaced.
fn run(side: &Side<'_>, own: &Own, line: &str) -> Observed {
    let Own { key, name, peer } = own;
    let Observed { code, stdout, stderr } = side.run(&format!("K={key}; N={name}; P={peer}\n{line}"));
    let plain = |text: String| {
        let text = text.replace(key, "KEY").replace(&key[1..], "KEY").replace(name, "NAME").replace(peer, "URL");
        without_indices(&text)
    };
    Observed { code, stdout: plain(stdout), stderr: plain(stderr) }
}

/// Indices stand in brackets or behind their name; names that the server gives have twenty digits.
fn without_indices(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let (digits, after) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
        out.push_str(before);
        let is_index =
            ["[", "[N != ", "Index: ", "Index\":"].iter().any(|mark| out.ends_with(mark)) || digits.len() == 20;
        out.push_str(if is_index { "N" } else { digits });
        rest = after;
    }
    out + rest
}

fn compare(flavor: Flavor) {
    need("etcdctl");
    need("curl");
    let ours = DropIn::new();
    let home = in_memory();
    let cluster = cluster(flavor, home.path());
    let tools = [Path::new("etcdctl").to_owned(), ours.path()];
    let [etcdctl, uetcdctl] = tools.map(|tool| Side::new(&tool, &cluster[0], ""));
    let mut failures = String::new();
    let lines = include_str!("../../tables/one_cluster.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [first, second] =
            [(&etcdctl, &OWN[0]), (&uetcdctl, &OWN[1])].map(|(side, own)| move || run(side, own, line));
        let (want, got) = if SHARING.iter().any(|word| line.contains(word)) {
            (first(), second())
        } else {
            thread::scope(|scope| {
                let got = scope.spawn(second);
                (first(), got.join().expect("no panic"))
            })
        };
        if got != want {
            let _ = writeln!(failures, "{line}\n want\n{want}\n got\n{got}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn of_etcd() {
    compare(Flavor::Etcd);
}

#[test]
fn of_uetcd() {
    compare(Flavor::Uetcd);
}

#[test]
fn only_indices_are_replaced() {
    assert_eq!(
        without_indices("Key not found (/k1) [12]\nIndex: 7\n{\"createdIndex\":9,\"ttl\":5} /q/00000000000000000012"),
        "Key not found (/k1) [N]\nIndex: N\n{\"createdIndex\":N,\"ttl\":5} /q/N"
    );
}
