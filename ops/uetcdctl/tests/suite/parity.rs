//! Debian's `etcdctl` and ours, called `etcdctl`: same output, same exit status.
//!
//! Lines that change nothing run on one server, both tools at a time. Those that do run on two servers that are kept alike, so that all indices can be
//! compared; and [`on_one_cluster`] has every command change one running cluster.

mod on_one_cluster;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use crate::harness::{Canned, DropIn, Flavor, Plan, Server, document, need, shell};

/// What a command line did, with what no two servers share replaced.
#[derive(PartialEq, Eq)]
struct Observed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl std::fmt::Display for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  exit {:?}\n  stdout {:?}\n  stderr {:?}", self.code, self.stdout, self.stderr)
    }
}

/// A tool and the server that it is to use.
struct Side<'a> {
    server: &'a Server,
    member: String,
    prelude: String,
}

impl<'a> Side<'a> {
    fn new(program: &Path, server: &'a Server, servers: &str) -> Self {
        let member = server.client().get("/v2/members").json()["members"][0]["id"].as_str().expect("an id").to_owned();
        let (program, url, peer) = (program.display(), server.url(""), server.peer_address());
        let prelude = format!(
            "unset ${{!ETCDCTL_@}}; export ETCDCTL_API=2 TOOL={program} URL={url}; PEER=http://{peer}; MEMBER={member}\n{servers}\n\
             bare() {{ timeout ${{LIMIT:-20}} {program} \"$@\"; }}\n\
             # A busy machine is no reason to differ.\n\
             ctl() {{ bare --timeout 9s --total-timeout 18s --endpoints $URL \"$@\"; }}\n\
             # Runs `ctl` beside what follows, and waits until its watch is there.\n\
             watching() {{ {program} --endpoints $URL \"$@\" & watcher=$!\n\
             for i in $(seq 2000); do curl -s $URL/v2/stats/store | grep -q '\"watchers\":1' && break; sleep 0.01; done; }}\n\
             # Interrupts that watch when a file has so many lines.\n\
             end_after() {{ for i in $(seq 2000); do [ $(wc -l < $1) -ge $2 ] && break; sleep 0.01; done; kill -INT $watcher; wait $watcher; echo \"ended $?\"; cat $1; }}\n\
             out=$(mktemp); trap 'rm -f $out' EXIT\n"
        );
        Self { server, member, prelude }
    }

    fn run(&self, line: &str) -> Observed {
        self.observed(&shell(&format!("{}{line}", self.prelude)))
    }

    fn observed(&self, output: &Output) -> Observed {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(&self.server.address().to_string(), "CLIENT");
            let text = text.replace(&self.server.peer_address().to_string(), "PEER").replace(&self.member, "MEMBER");
            without_times(&text)
        };
        Observed { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

fn without_times(text: &str) -> String {
    let mut parts = text.split("\"expiration\":\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let _ = write!(out, "\"expiration\":\"T\"{}", part.split_once('"').map_or("", |(_, rest)| rest));
    }
    out
}

/// Shell variables with the URLs of servers that misbehave.
fn misbehaving() -> String {
    let json = "Content-Type: application/json\r\n";
    let servers = [
        ("DEAD", "http://127.0.0.1:9".to_owned()),
        ("SILENT", Canned::Silent.serve()),
        ("CLOSING", Canned::Closing.serve()),
        ("CUT", Canned::Answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()).serve()),
        ("HTML", Canned::http("200 OK", "", "<html>hello</html>").serve()),
        ("EMPTY", Canned::http("200 OK", "", "").serve()),
        ("NOLEADER", Canned::http("503 Service Unavailable", json, "{\"message\":\"x\"}").serve()),
        ("BROKEN", Canned::http("500 Internal Server Error", json, "{\"message\":\"x\"}").serve()),
        ("GATEWAY", Canned::http("502 Bad Gateway", "", "").serve()),
        ("TIMEOUT", Canned::http("504 Gateway Timeout", "", "").serve()),
        ("NOCLIENTS", Canned::http("200 OK", json, "{\"members\":[{\"id\":\"1\",\"name\":\"\",\"peerURLs\":[\"http://a:1\"],\"clientURLs\":[]}]}").serve()),
        ("MISADVERTISED", Canned::http("200 OK", json, "{\"members\":[{\"id\":\"1\",\"name\":\"a\",\"peerURLs\":[\"http://a:1\"],\"clientURLs\":[\"http://127.0.0.1:9\"]}]}").serve()),
    ];
    servers.iter().map(|(name, url)| format!("{name}={url}; ")).collect::<Vec<_>>().concat()
}

/// Words of lines that change a server, or count who watches it.
const CHANGING: [&str; 19] = [
    "set",
    "mk",
    "mkdir",
    "setdir",
    "update",
    "updatedir",
    "rm",
    "rmdir",
    "add",
    "remove",
    "grant",
    "revoke",
    "passwd",
    "enable",
    "disable",
    "watching",
    "import",
    "backup",
    "exec-watch",
];

/// Runs every line of a table with both tools, on servers of this kind. `~name line` is one whose answers differ, as that entry of the differences says.
fn compare(flavor: Flavor, table: &str, least: usize) {
    need("etcdctl");
    need("curl");
    need("script");
    let documented = document("docs/differences.md");
    let ours = DropIn::new();
    let servers = misbehaving();
    let [first, second] = [(); 2].map(|()| Plan::of(flavor).start());
    let etcdctl = Side::new(Path::new("etcdctl"), &first, &servers);
    let [on_the_same, on_another] = [&first, &second].map(|server| Side::new(&ours.path(), server, &servers));
    let mut failures = String::new();
    let lines: Vec<_> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines.len() >= least, "only {} lines", lines.len());
    for line in lines {
        let (difference, line) = match line.strip_prefix('~').and_then(|rest| rest.split_once(' ')) {
            Some((name, line)) => (Some(name), line),
            None => (None, line),
        };
        let changes = line.split_whitespace().any(|word| CHANGING.contains(&word));
        // What differed before shows in the state.
        let uetcdctl = if changes || difference.is_some() { &on_another } else { &on_the_same };
        let (got, want) = std::thread::scope(|scope| {
            let want = scope.spawn(|| etcdctl.run(line));
            (uetcdctl.run(line), want.join().expect("no panic"))
        });
        match difference {
            None if got != want => {
                let _ = writeln!(failures, "{line}\n want\n{want}\n got\n{got}");
            }
            Some(name) if got == want => {
                let _ = writeln!(failures, "{line}\n does not differ, against {name}:\n{got}");
            }
            Some(name) if !documented.contains(&format!("### {name}\n")) => {
                let _ = writeln!(failures, "{line}\n {name} is not in docs/differences.md");
            }
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn keys_as_the_server_suite_uses_them() {
    compare(Flavor::Etcd, include_str!("../../../../server/tests/etcdctl/commands.txt"), 100);
}

#[test]
fn keys_and_members() {
    compare(Flavor::Etcd, include_str!("../tables/keys.txt"), 100);
}

#[test]
fn keys_and_members_of_uetcd() {
    compare(Flavor::Uetcd, include_str!("../tables/keys.txt"), 100);
}

#[test]
fn help_and_misuse() {
    compare(Flavor::Etcd, include_str!("../tables/help.txt"), 150);
}

#[test]
fn servers_that_misbehave() {
    compare(Flavor::Etcd, include_str!("../tables/failures.txt"), 40);
}

#[test]
fn authentication() {
    compare(Flavor::Etcd, include_str!("../tables/auth.txt"), 70);
}
